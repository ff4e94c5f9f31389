//! A list that is hardly ever long: as many as `N` lie in place, and only more ask for memory.

use std::ops::Deref;

use arrayvec::ArrayVec;

#[derive(Clone, Debug)]
pub enum Few<T, const N: usize> {
    InPlace(ArrayVec<T, N>),
    Many(Vec<T>),
}

/// The values of a header that may be given several times, and hardly ever is, in the order in which they came.
pub type Values<'a> = Few<&'a [u8], 1>;

impl<T, const N: usize> Few<T, N> {
    pub fn push(&mut self, item: T) {
        match self {
            Self::Many(items) => items.push(item),
            Self::InPlace(items) => {
                if let Err(full) = items.try_push(item) {
                    let items = items.drain(..).chain([full.element()]).collect();
                    *self = Self::Many(items);
                }
            }
        }
    }
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self::InPlace(ArrayVec::new())
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::InPlace(items) => items,
            Self::Many(items) => items,
        }
    }
}

impl<T, const N: usize> Extend<T> for Few<T, N> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a Few<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_kept_in_their_order() {
        let mut few = Few::<_, 2>::default();
        assert!(few.is_empty());
        for (count, item) in ["a", "b", "c", "d"].into_iter().enumerate() {
            few.push(item);
            assert_eq!(few.len(), count + 1);
        }
        assert_eq!(*few, ["a", "b", "c", "d"]);
    }
}
