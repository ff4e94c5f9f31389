//! The values of a header that may be given several times, and hardly ever is: one is held without asking for memory.

use std::ops::Deref;

/// In the order in which they came.
#[derive(Clone, Debug, Default)]
pub enum Values<'a> {
    #[default]
    None,
    One(&'a [u8]),
    Many(Vec<&'a [u8]>),
}

impl<'a> Values<'a> {
    pub fn push(&mut self, value: &'a [u8]) {
        match self {
            Self::None => *self = Self::One(value),
            Self::One(first) => *self = Self::Many(vec![first, value]),
            Self::Many(values) => values.push(value),
        }
    }
}

impl<'a> Deref for Values<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::None => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_values_are_kept_in_their_order() {
        let mut values = Values::default();
        assert!(values.is_empty());
        for (count, value) in [b"a", b"b", b"c"].iter().enumerate() {
            values.push(*value);
            assert_eq!(values.len(), count + 1);
        }
        assert_eq!(*values, [b"a", b"b", b"c"]);
    }
}
