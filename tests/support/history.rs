//! What happened: checks, and what was taken from whom. Afterwards it finds everybody who was let in though he must not.
//!
//! All instants are of one clock of this process, and a check counts from before its request was sent; so nobody is accused
//! who was asked about before the time.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Which of the credentials of a test.
pub type Credential = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    /// A definite no.
    Refused,
    /// "The store cannot be asked".
    Unavailable,
    /// No answer at all.
    Lost,
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Before the request was sent.
    pub began: Instant,
    /// After the answer was read.
    pub ended: Instant,
    pub replica: usize,
    pub credential: Credential,
    pub outcome: Outcome,
}

/// What came of taking something away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was acknowledged, then.
    Done(Instant),
    /// It was done, and the store's replicas may lose it; it says so.
    Unconfirmed,
    /// Nobody knows whether it was done.
    Lost,
}

/// Something that was taken away for good.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Such as "a token is revoked".
    pub what: &'static str,
    pub from: Vec<Credential>,
    pub began: Instant,
    /// The answer was to come when it holds everywhere.
    pub waits: bool,
    pub answer: Answer,
}

/// Somebody was let in.
#[derive(Debug)]
pub struct Violation {
    pub check: Check,
    pub taken: Taken,
    /// For how long it had been true that he must not.
    pub late_by: Duration,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, taken, late_by } = self;
        let kind = if taken.waits { "with" } else { "without" };
        write!(f, "replica {} let credential {} in, {late_by:?} too late: ", check.replica, check.credential)?;
        let (took, since) = (check.ended - check.began, check.began - taken.began);
        write!(f, "{}, {kind} waiting, had been asked for {since:?} before the check, which took {took:?}", taken.what)
    }
}

/// Every allow that began after it was to hold everywhere: from the answer on, for who has waited; else `max_staleness` later.
pub fn violations(checks: &[Check], taken: &[Taken], max_staleness: Duration) -> Vec<Violation> {
    let mut since: HashMap<Credential, (Instant, &Taken)> = HashMap::new();
    for taking in taken {
        let Answer::Done(answered) = taking.answer else { continue };
        let holds = if taking.waits { answered } else { answered + max_staleness };
        for &credential in &taking.from {
            let first = since.entry(credential).or_insert((holds, taking));
            if holds < first.0 {
                *first = (holds, taking);
            }
        }
    }
    let allowed = checks.iter().filter(|check| check.outcome == Outcome::Allowed);
    let late = allowed.filter_map(|check| {
        let (holds, taking) = since.get(&check.credential)?;
        let late_by = check.began.checked_duration_since(*holds).filter(|late| !late.is_zero())?;
        Some(Violation { check: *check, taken: (*taking).clone(), late_by })
    });
    late.collect()
}

mod tests {
    use super::*;

    const STALENESS: Duration = Duration::from_secs(1);

    /// A history told in milliseconds.
    struct Told {
        start: Instant,
        checks: Vec<Check>,
        taken: Vec<Taken>,
    }

    impl Told {
        fn new() -> Self {
            Self { start: Instant::now(), checks: Vec::new(), taken: Vec::new() }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn check(mut self, credential: Credential, began: u64, outcome: Outcome) -> Self {
            let (began, ended) = (self.at(began), self.at(began + 5000));
            self.checks.push(Check { began, ended, replica: 0, credential, outcome });
            self
        }

        fn taken(mut self, from: &[Credential], waits: bool, answered: u64) -> Self {
            let answer = Answer::Done(self.at(answered));
            self.taken.push(Taken { what: "it is taken", from: from.to_vec(), began: self.start, waits, answer });
            self
        }

        fn unsure(mut self, from: &[Credential], answer: Answer) -> Self {
            self.taken.push(Taken { what: "it is perhaps taken", from: from.to_vec(), began: self.start, waits: true, answer });
            self
        }

        /// By how many milliseconds somebody was let in too late.
        fn late(&self) -> Vec<u128> {
            violations(&self.checks, &self.taken, STALENESS).iter().map(|violation| violation.late_by.as_millis()).collect()
        }
    }

    #[test]
    fn who_has_waited_is_owed_the_very_next_check() {
        let told = Told::new().taken(&[1, 2], true, 100);
        assert_eq!(told.check(1, 101, Outcome::Allowed).check(2, 150, Outcome::Allowed).late(), [1, 50]);
    }

    #[test]
    fn who_has_not_waited_is_owed_those_after_the_bound() {
        let told = Told::new().taken(&[1], false, 100);
        let told = told.check(1, 500, Outcome::Allowed).check(1, 1100, Outcome::Allowed);
        assert_eq!(told.check(1, 1101, Outcome::Allowed).late(), [1]);
    }

    #[test]
    fn the_first_time_that_it_holds_counts() {
        let told = Told::new().taken(&[1], false, 100).taken(&[1], true, 400).taken(&[1], true, 5000);
        assert_eq!(told.check(1, 410, Outcome::Allowed).late(), [10]);
    }

    #[test]
    fn a_check_counts_from_when_it_began() {
        let told = Told::new().taken(&[1], true, 100);
        assert!(told.check(1, 99, Outcome::Allowed).check(1, 100, Outcome::Allowed).late().is_empty());
    }

    #[test]
    fn nothing_is_said_of_others_nor_of_refusals_nor_of_what_nobody_promised() {
        let told = Told::new().taken(&[1], true, 100);
        let told = told.unsure(&[2], Answer::Unconfirmed).unsure(&[3], Answer::Lost);
        let told = [Outcome::Refused, Outcome::Unavailable, Outcome::Lost]
            .into_iter()
            .fold(told, |told, outcome| told.check(1, 9000, outcome));
        assert!((2..5).fold(told, |told, credential| told.check(credential, 9000, Outcome::Allowed)).late().is_empty());
    }
}
