//! How often something has been taken away in each partition, as far as this process has seen: so that it notices a store
//! that has come back without it.
//!
//! Redis keeps the number beside a random id, and raises it in the script that takes away. A store that was emptied and used
//! again has another id; one that was restored from a backup, or a replica that was promoted too early, a lower number.

use std::sync::Mutex;

use redis::{FromRedisValue as _, RedisError, Value};

use crate::store::Partition;

/// What Redis holds of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    id: String,
    number: u64,
}

impl Sequence {
    /// The answer to `HMGET <key> id n`; `None` where nothing has been taken away yet.
    pub(super) fn read(answer: Value) -> Result<Option<Self>, RedisError> {
        let (id, number): (Option<String>, Option<u64>) = <_>::from_redis_value(answer)?;
        Ok(id.zip(number).map(|(id, number)| Self { id, number }))
    }

    /// Whether a store that holds `now` can be the one that held this.
    fn goes_on_as(&self, now: Option<&Self>) -> bool {
        now.is_some_and(|now| now.id == self.id && now.number >= self.number)
    }
}

/// What was seen, for the life of the process.
#[derive(Debug, Default)]
pub(super) struct Sequences(Mutex<[Option<Sequence>; Partition::COUNT]>);

impl Sequences {
    pub(super) fn seen(&self, partition: Partition) -> Option<Sequence> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[partition.index()].clone()
    }

    /// Takes note of an answer to a question that was sent when `before` had been seen. Says whether the store went back.
    ///
    /// Answers may overtake each other, so it is not compared with what has been seen by now.
    pub(super) fn note(&self, partition: Partition, before: Option<&Sequence>, now: Option<Sequence>) -> bool {
        let went_back = before.is_some_and(|before| !before.goes_on_as(now.as_ref()));
        let mut seen = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seen = &mut seen[partition.index()];
        let is_behind = !went_back && seen.as_ref().is_some_and(|seen| !seen.goes_on_as(now.as_ref()));
        if !is_behind {
            *seen = now;
        }
        went_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(id: &str, number: u64) -> Sequence {
        Sequence { id: id.to_owned(), number }
    }

    #[test]
    fn a_lower_number_another_id_or_none_is_going_back() {
        let sequences = Sequences::default();
        let went_back =
            |now: Option<Sequence>| sequences.note(Partition::DIRECTORY, sequences.seen(Partition::DIRECTORY).as_ref(), now);
        let answers =
            [None, Some(("a", 3)), Some(("a", 3)), Some(("a", 7)), Some(("a", 6)), Some(("a", 6)), Some(("b", 9)), None, None];
        let found = answers.map(|answer| went_back(answer.map(|(id, number)| sequence(id, number))));
        // Whatever it went back to is what counts from then on.
        assert_eq!(found, [false, false, false, false, true, false, true, true, false]);
    }

    #[test]
    fn answers_that_overtake_each_other_are_not() {
        let sequences = Sequences::default();
        let before = sequence("a", 1);
        assert!(!sequences.note(Partition::DIRECTORY, None, Some(before.clone())));
        for number in [5, 2] {
            assert!(!sequences.note(Partition::DIRECTORY, Some(&before), Some(sequence("a", number))));
        }
        assert_eq!(sequences.seen(Partition::DIRECTORY), Some(sequence("a", 5)));
    }
}
