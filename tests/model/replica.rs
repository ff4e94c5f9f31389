//! What a replica does with what comes to it: pushes, answers to its reads, and what they mean for its checks.

use super::guards::Guard;
use super::state::{At, Changing, Check, Gathering, KEYS, Push, Read, Replica, Stage};
use super::system::System;

/// What becomes of a check's step.
pub enum Outcome {
    Goes,
    Ends,
    Allows,
}

impl Replica {
    /// As what a check has to know that began when this one did.
    pub fn is_fresh_for(&self, system: &System, check: &Check) -> bool {
        self.verified.is_some_and(|sent| sent <= check.began + system.size.staleness)
    }

    pub fn drop_map(&mut self, system: &System) {
        self.begin_change(system, Changing::Everything);
        self.reads.iter_mut().for_each(|read| read.dropped = true);
        for check in &mut self.checks {
            check.dropped |= check.at != At::Began;
        }
    }

    pub fn handle(&mut self, system: &System, push: Push) {
        match push {
            Push::Tracking if system.has(Guard::DropAfterTracking) => self.link.stage = Stage::Acknowledged,
            Push::Tracking => self.link.stage = Stage::Up,
            Push::Key(key) => {
                self.begin_change(system, Changing::Key(key));
                let in_stripe = |read: &&mut Read| read.key == key || system.size.one_stripe;
                self.reads.iter_mut().filter(in_stripe).for_each(|read| read.pushed = true);
            }
            // The others are only there without their guards.
            Push::Canary | Push::SpentCanary => self.count_canary(system),
            Push::LateCanary => self.verified = self.late.take().map(|canary| canary.sent).or(self.verified),
        }
    }

    /// The first half of a change: it goes out of the map, or is counted, where the guard is off.
    fn begin_change(&mut self, system: &System, what: Changing) {
        self.changing = Some(what);
        if !system.size.gathers {
            return self.end_change(system);
        }
        if system.has(Guard::CountedLast) { self.take_out(what) } else { self.count_change() }
    }

    /// The other half.
    pub fn end_change(&mut self, system: &System) {
        if let Some(what) = self.changing.take() {
            let is_out = system.size.gathers && system.has(Guard::CountedLast);
            if is_out { self.count_change() } else { self.take_out(what) }
        }
    }

    fn take_out(&mut self, what: Changing) {
        match what {
            Changing::Key(key) => self.map[key] = None,
            Changing::Everything => self.map = [None; KEYS],
        }
    }

    fn count_change(&mut self) {
        self.lately = self.lately.map(|_| true);
        if let Some(gathering) = &mut self.gathering {
            gathering.changed = true;
        }
    }

    /// The next record is looked up, or nothing comes of it; in the end all of them are at hand.
    pub fn gather(&mut self, system: &System, Gathering { key, changed }: Gathering) {
        self.gathering = None;
        if key == system.size.keys {
            self.lately = Some(changed && system.has(Guard::CountedFromTheFirst));
        } else if self.map[key] == Some(true) {
            self.gathering = Some(Gathering { key: key + 1, changed });
        }
    }

    /// Whether what was gathered lately would do, but for its freshness.
    pub fn has_at_hand(&self, system: &System) -> bool {
        self.lately.is_some_and(|changed| !changed || !system.has(Guard::NoChangeSince))
    }

    fn count_canary(&mut self, system: &System) {
        if let Some(canary) = self.canary.take() {
            self.verified = Some(canary.sent);
            self.spent = !system.has(Guard::KeyOfItsOwn);
        }
    }

    /// A check learns of the record it has come to.
    pub fn learns(&mut self, system: &System, number: usize, lives: bool) -> Outcome {
        let check = &mut self.checks[number];
        let (At::LooksUp { fresh, key } | At::Reads { fresh, key, .. }) = check.at else { return Outcome::Goes };
        let of_another_link = check.dropped && matches!(check.at, At::Reads { .. }) && system.has(Guard::ProofOfTheSameLink);
        if !lives || of_another_link {
            return Outcome::Ends;
        }
        if key + 1 < system.size.keys {
            check.at = At::LooksUp { fresh, key: key + 1 };
            return Outcome::Goes;
        }
        if fresh || !system.has(Guard::ReadIsProved) {
            return Outcome::Allows;
        }
        check.at = At::WantsProof;
        Outcome::Goes
    }

    /// Whether an allow was one that must never be.
    pub fn settle(&mut self, check: usize, outcome: &Outcome) -> bool {
        if matches!(outcome, Outcome::Goes) {
            return false;
        }
        let ended = self.checks.remove(check);
        ended.must_refuse && matches!(outcome, Outcome::Allows)
    }

    /// Takes a read away, and tells those who wait for it.
    pub fn end_read(&mut self, number: usize, mut tell: impl FnMut(&mut Self, usize) -> Outcome) -> bool {
        self.reads.remove(number);
        let mut violation = false;
        for check in (0..self.checks.len()).rev() {
            if let At::Reads { read, fresh, key } = self.checks[check].at {
                if read == number {
                    let outcome = tell(self, check);
                    violation |= self.settle(check, &outcome);
                } else if read > number {
                    self.checks[check].at = At::Reads { read: read - 1, fresh, key };
                }
            }
        }
        violation
    }
}
