//! What this process has answered in the last hour, and what all processes of one store have: decisions, refusals, how long
//! checks took, which keys and sites are busiest, which rules are hit. It judges nothing, and keeps nothing that is secret.
//!
//! Each thread counts for itself, in memory that no other thread writes; every ten seconds what all of them have counted is
//! put together, and published as a [`Report`]. An [`Overview`] is what all reports say together.
//!
//! Decisions, refusals and hits of rules are exact. Durations and names come from a sample: of each thread the first
//! [`shard::IN_FULL`] checks of every ten seconds, and of those that follow one in [`shard::ONE_IN`], which stands for as many.

mod busiest;
mod history;
mod latency;
mod overview;
mod report;
mod shard;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{rand_core::UnwrapErr, rngs::SysRng};

use self::{
    history::History,
    shard::{Own, Shard, Totals},
};
pub use self::{
    overview::{Overview, Percentiles, Replica, RuleHits},
    report::{Report, State},
};
use crate::{
    clock::BootTime,
    domain::{decide::Decision, decision::Reason, id::ReplicaId, policy::Policy, time::Timestamp},
};

/// How long one step of the history is, and how often what was counted is published.
pub const STEP_MILLIS: i64 = 10_000;
/// How many steps there are: an hour.
pub const STEPS: usize = 360;
/// How many steps have their durations together: a minute.
pub const STEPS_IN_MINUTE: i64 = 6;
/// How many minutes there are.
pub const MINUTES: usize = 60;

/// What becomes of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allow,
    Challenge,
    Deny,
    Unavailable,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Allow, Self::Challenge, Self::Deny, Self::Unavailable];

    const fn of(decision: &Decision<'_>) -> Self {
        match decision {
            Decision::Allow(_) => Self::Allow,
            Decision::Challenge(_) => Self::Challenge,
            Decision::Deny(_) => Self::Deny,
            Decision::Unavailable(_) => Self::Unavailable,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Challenge => "challenge",
            Self::Deny => "deny",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What there are counters for: all reasons, and after them a code that is refused.
const REASONS: usize = Reason::ALL.len() + 1;
const CODE_REFUSED: &str = "code_refused";

/// The word at a place of the counters of reasons.
fn reason_word(place: usize) -> &'static str {
    Reason::ALL.get(place).map_or(CODE_REFUSED, |reason| reason.code())
}

/// A check that is looked at more closely, and how many it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    began: BootTime,
    stands_for: u64,
}

/// How many there have been in this process, which may have several.
static COUNTS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN: RefCell<Own> = const { RefCell::new(Own::nobodys()) };
}

/// What one server counts.
pub struct Counts {
    id: u64,
    replica: ReplicaId,
    started_at: Timestamp,
    shards: Mutex<Vec<Arc<Shard>>>,
    history: Mutex<History>,
}

impl Counts {
    #[must_use]
    pub fn new(started_at: Timestamp) -> Self {
        Self {
            id: 1 + COUNTS.fetch_add(1, Ordering::Relaxed),
            replica: ReplicaId::generate(&mut UnwrapErr(SysRng)),
            started_at,
            shards: Mutex::default(),
            history: Mutex::default(),
        }
    }

    /// By which others know this server until it ends.
    #[must_use]
    pub fn replica(&self) -> &ReplicaId {
        &self.replica
    }

    /// To be asked when a check begins, and given to [`Self::count`] with what it came to.
    pub fn sample(&self) -> Option<Sample> {
        self.of_thread(|own| own.stands_for()).map(|stands_for| Sample { began: BootTime::now(), stands_for })
    }

    /// Counts what a check came to.
    pub fn count(&self, decision: &Decision<'_>, rule: Option<&str>, sample: Option<Sample>) {
        self.of_thread(|own| {
            own.count(Outcome::of(decision), decision.reason().map(|reason| reason as usize), rule);
            let Some(Sample { began, stands_for }) = sample else { return };
            own.took(BootTime::now().since(began), stands_for);
            if let Decision::Allow(grant) = decision {
                own.saw(grant, stands_for);
            }
        });
    }

    /// Counts a code that came to nothing.
    pub fn count_code_refused(&self) {
        self.of_thread(|own| own.count(Outcome::Deny, Some(REASONS - 1), None));
    }

    /// Puts together what all threads have counted since the last time: it belongs to the step that ends about now.
    pub fn collect(&self, now: Timestamp) {
        let mut history = lock(&self.history);
        let mut totals = Totals::default();
        for shard in lock(&self.shards).iter() {
            shard.collect(&mut totals, history.names_at(now));
        }
        history.add(now, &totals);
    }

    /// What to publish, as it was collected last.
    #[must_use]
    pub fn report(&self, now: Timestamp, policy: &Policy, state: State) -> Report {
        let mut hits = HashMap::new();
        let mut complete = true;
        for shard in lock(&self.shards).iter() {
            complete &= shard.add_hits(&mut hits);
        }
        let hits = complete.then_some(hits);
        Report::new(&lock(&self.history), self.started_at, now, policy, hits.as_ref(), state)
    }

    fn of_thread<T>(&self, then: impl FnOnce(&mut Own) -> T) -> T {
        OWN.with_borrow_mut(|own| {
            if !own.is_of(self.id) {
                let shard = Arc::new(Shard::default());
                lock(&self.shards).push(shard.clone());
                *own = Own::new(self.id, shard);
            }
            then(own)
        })
    }
}

/// Whatever panicked, what was counted is whole.
fn lock<T>(counted: &Mutex<T>) -> MutexGuard<'_, T> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
