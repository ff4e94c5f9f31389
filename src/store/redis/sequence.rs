//! How often something has been taken away in each partition, as far as this process has seen: so that it notices a store
//! that has come back without it.
//!
//! Redis keeps the number beside a random id, and raises it in the script that takes away. A store that was emptied and used
//! again has another id; one that was restored from a backup, or a replica that was promoted too early, a lower number. Such
//! a one may have caught up by the time it is seen: so beside the number lie the last few telltales, one for each time it was
//! raised, which are random and lead another way from where something was lost.

use std::sync::Mutex;

use redis::{Cmd, FromRedisValue as _, RedisError, Value};

use crate::store::Partition;

/// How many telltales there are: the one of number `n` lies at `n % PLACES`.
pub(super) const PLACES: u64 = 8;

/// What Redis holds of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    id: String,
    number: u64,
    /// By their places. There is none of what a version of Keygate has raised that knew of none.
    telltales: Vec<Option<u64>>,
}

impl Sequence {
    /// Asks for the sequence under this key.
    pub(super) fn question(key: &str) -> Cmd {
        let mut question = redis::cmd("HMGET");
        question.arg(key).arg("id").arg("n");
        for place in 0..PLACES {
            question.arg(format!("t{place}"));
        }
        question
    }

    /// The answer to [`Self::question`]; `None` where nothing has been taken away yet.
    pub(super) fn read(answer: Value) -> Result<Option<Self>, RedisError> {
        let mut fields = Vec::<Value>::from_redis_value(answer)?.into_iter();
        let mut next = || fields.next().unwrap_or(Value::Nil);
        let (id, number) = (Option::<String>::from_redis_value(next())?, Option::<u64>::from_redis_value(next())?);
        let telltales = fields.map(Option::<u64>::from_redis_value).collect::<Result<_, _>>()?;
        Ok(id.zip(number).map(|(id, number)| Self { id, number, telltales }))
    }

    /// Whether a store that holds `now` can be the one that held this.
    fn goes_on_as(&self, now: Option<&Self>) -> bool {
        now.is_some_and(|now| {
            let is_raised_from_here = |by| by >= PLACES || now.telltale(self.number) == self.telltale(self.number);
            now.id == self.id && now.number.checked_sub(self.number).is_some_and(is_raised_from_here)
        })
    }

    fn telltale(&self, number: u64) -> Option<u64> {
        usize::try_from(number % PLACES).ok().and_then(|place| *self.telltales.get(place)?)
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
        Sequence { id: id.to_owned(), number, telltales: Vec::new() }
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

    #[test]
    fn a_store_that_has_caught_up_in_another_way_is_one_that_went_back() {
        let of = |number, telltales: [u64; 8]| Sequence {
            telltales: telltales.map(|told| (told > 0).then_some(told)).to_vec(),
            ..sequence("a", number)
        };
        let seen = of(10, [8, 9, 10, 3, 4, 5, 6, 7]);
        for (goes_on, now) in [
            (true, seen.clone()),
            (true, of(12, [8, 9, 10, 11, 12, 5, 6, 7])),
            (false, of(10, [8, 9, 99, 3, 4, 5, 6, 7])),
            (false, of(12, [8, 9, 99, 11, 12, 5, 6, 7])),
            // The place is another one's by now.
            (true, of(18, [16, 17, 18, 11, 12, 13, 14, 15])),
            (false, of(10, [0; 8])),
        ] {
            assert_eq!(seen.goes_on_as(Some(&now)), goes_on, "{now:?}");
        }
        // Of what was raised without one, no more is known than its number.
        assert!(of(10, [0; 8]).goes_on_as(Some(&of(11, [0, 0, 0, 11, 0, 0, 0, 0]))));
    }

    #[test]
    fn what_redis_answers_is_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(Sequence::read(Value::Array(vec![Value::Nil; 10])).unwrap(), None);
        let answer = [vec![text("a"), text("2"), Value::Nil, text("5"), text("7")], vec![Value::Nil; 5]].concat();
        let read = Sequence::read(Value::Array(answer)).unwrap().unwrap();
        assert_eq!(
            (read.id.as_str(), read.number, read.telltale(1), read.telltale(2), read.telltale(3)),
            ("a", 2, Some(5), Some(7), None)
        );
    }
}
