//! One part of a sorted list, while it is gathered: where it stands, what it has, and when it is enough. Knows places as texts
//! that are compared; what stands there is its caller's.

use std::cmp::Ordering;

use crate::{
    directory::{Listing, READ_AT_ONCE, Window},
    store::Direction,
};

/// What is looked at for one part, however little of it is wanted.
pub(super) const LOOKS: usize = 2_000;

/// Of an order, the places from one on and up to another, both included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::directory) struct Range {
    pub from: Option<String>,
    pub to: Option<String>,
}

impl Range {
    /// What begins with this text.
    pub fn of_beginning(text: String) -> Self {
        Self { to: Some(format!("{text}\u{10ffff}")), from: Some(text) }
    }
}

pub(in crate::directory) struct Part<T> {
    items: Vec<T>,
    limit: usize,
    direction: Direction,
    position: Option<String>,
    end: Option<String>,
    looks: usize,
}

impl<T> Part<T> {
    pub fn new(window: &Window, direction: Direction, range: Range) -> Self {
        let (begin, end) = match direction {
            Direction::Ascending => (range.from, range.to),
            Direction::Descending => (range.to, range.from),
        };
        let limit = window.limit.clamp(1, Window::MAX_LIMIT);
        Self { items: Vec::new(), limit, direction, position: window.after.clone().or(begin), end, looks: 0 }
    }

    /// After which place the next ones are to be read.
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// How many are to be read. One more than are wanted, so that it is known whether there are more; `narrow` says that
    /// few of them may be wanted.
    pub fn at_once(&self, narrow: bool) -> usize {
        if narrow { READ_AT_ONCE } else { self.limit - self.items.len() + 1 }
    }

    /// Takes what was read: each place, and what stands there. The part, once it is whole; `more`: there are more places.
    pub fn take(&mut self, found: Vec<(String, Option<T>)>, more: bool, wanted: impl Fn(&str, &T) -> bool) -> Option<Listing<T>> {
        for (place, item) in found {
            let is_past = |end: &String| self.direction.compare(&place, end).is_gt();
            let next = if self.end.as_ref().is_some_and(is_past) {
                None
            } else if self.items.len() >= self.limit || self.looks >= LOOKS {
                self.position.take()
            } else {
                self.looks += 1;
                self.items.extend(item.filter(|item| wanted(&place, item)));
                self.position = Some(place);
                continue;
            };
            return Some(Listing { items: std::mem::take(&mut self.items), next });
        }
        (!more).then(|| Listing { items: std::mem::take(&mut self.items), next: None })
    }
}

impl Direction {
    /// In this direction.
    pub(in crate::directory) fn compare(self, one: &str, other: &str) -> Ordering {
        match self {
            Self::Ascending => one.cmp(other),
            Self::Descending => other.cmp(one),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(limit: usize, direction: Direction, range: Range) -> Part<u8> {
        Part::new(&Window { after: None, limit }, direction, range)
    }

    fn places(texts: &[&str]) -> Vec<(String, Option<u8>)> {
        texts.iter().map(|text| ((*text).to_owned(), Some(text.as_bytes()[0]))).collect()
    }

    fn listing(items: &[u8], next: Option<&str>) -> Listing<u8> {
        Listing { items: items.to_vec(), next: next.map(str::to_owned) }
    }

    #[test]
    fn a_part_ends_when_it_is_full_and_says_where_the_next_one_begins() {
        let any = |_: &str, _: &u8| true;
        let new = || part(2, Direction::Ascending, Range::default());
        assert_eq!(new().at_once(false), 3);
        assert_eq!(new().take(places(&["a", "b", "c"]), true, any), Some(listing(b"ab", Some("b"))));
        assert_eq!(new().take(places(&["a", "b"]), false, any), Some(listing(b"ab", None)));
        assert_eq!(new().take(places(&[]), false, any), Some(listing(b"", None)));
        let mut half = new();
        assert_eq!(half.take(places(&["a", "b", "c"]), true, |place, _| place != "b"), None);
        assert_eq!((half.position(), half.at_once(false)), (Some("c"), 1));
        assert_eq!(half.take(places(&["d"]), true, any), Some(listing(b"ac", Some("c"))));
    }

    #[test]
    fn a_part_ends_with_its_range_in_both_directions() {
        let range = || Range { from: Some("b".to_owned()), to: Some("d".to_owned()) };
        let any = |_: &str, _: &u8| true;
        let mut forward = part(9, Direction::Ascending, range());
        assert_eq!(forward.position(), Some("b"));
        assert_eq!(forward.take(places(&["c", "d", "e"]), true, any), Some(listing(b"cd", None)));
        let mut backward = part(9, Direction::Descending, range());
        assert_eq!(backward.position(), Some("d"));
        assert_eq!(backward.take(places(&["c", "b", "a"]), true, any), Some(listing(b"cb", None)));
        // Full just where the range ends, it is the last.
        assert_eq!(part(2, Direction::Ascending, range()).take(places(&["c", "d", "e"]), true, any), Some(listing(b"cd", None)));
    }

    #[test]
    fn a_part_looks_at_so_many_and_no_more() {
        let mut narrow = part(9, Direction::Ascending, Range::default());
        let some: Vec<_> = (0..=LOOKS).map(|number| (format!("{number:05}"), Some(0))).collect();
        let last = some[LOOKS - 1].0.clone();
        assert_eq!(narrow.take(some, true, |_, _| false), Some(listing(b"", Some(&last))));
    }
}
