//! The last hour of a process, in steps of ten seconds. Steps are numbered since 1970, so that those of several processes are
//! known to be the same ones.

use std::collections::VecDeque;

use super::{STEP_MILLIS, STEPS, busiest::Busiest, latency::Histogram, shard::Totals};
use crate::domain::time::Timestamp;

/// For how long names are counted together.
const NAMES_MILLIS: i64 = 600_000;
/// How many such counts make the last hour, the one that is going on among them.
const NAMES: usize = 6;

/// Keys and sites that were seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub keys: Busiest,
    pub sites: Busiest,
}

impl Names {
    pub fn add_all(&mut self, other: &Self) {
        self.keys.add_all(&other.keys);
        self.sites.add_all(&other.sites);
    }

    pub fn clear(&mut self) {
        self.keys.clear();
        self.sites.clear();
    }
}

/// What was counted in one step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub number: i64,
    pub counted: Totals,
}

#[derive(Default)]
pub(super) struct History {
    before: Totals,
    steps: VecDeque<Step>,
    names: VecDeque<(i64, Names)>,
}

/// The number of the step that a time is in.
pub(super) fn step_of(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(STEP_MILLIS)
}

impl History {
    /// Adds what was counted in the step that ends about now: all totals, less those of the last time.
    pub fn add(&mut self, now: Timestamp, totals: &Totals) {
        let ends = Timestamp::from_millis(now.as_millis().saturating_sub(STEP_MILLIS / 2));
        // Where somebody has set the clock back, the last step goes on.
        let number = self.steps.back().map_or(i64::MIN, |last| last.number).max(step_of(ends));
        if self.steps.back().is_none_or(|last| last.number < number) {
            self.steps.push_back(Step { number, counted: Totals::default() });
        }
        let before = std::mem::replace(&mut self.before, totals.clone());
        if let Some(Step { counted, .. }) = self.steps.back_mut() {
            let add = |to: &mut [u64], now: &[u64], before: &[u64]| {
                for ((to, now), before) in to.iter_mut().zip(now).zip(before) {
                    *to += now.wrapping_sub(*before);
                }
            };
            add(&mut counted.outcomes, &totals.outcomes, &before.outcomes);
            add(&mut counted.reasons, &totals.reasons, &before.reasons);
            add(&mut counted.latencies, &totals.latencies, &before.latencies);
        }
        let oldest = number - i64::try_from(STEPS).unwrap_or(i64::MAX) + 1;
        while self.steps.front().is_some_and(|first| first.number < oldest) {
            self.steps.pop_front();
        }
    }

    /// Where names that are seen now belong.
    pub fn names_at(&mut self, now: Timestamp) -> &mut Names {
        let number = now.as_millis().div_euclid(NAMES_MILLIS);
        if self.names.back().is_none_or(|(last, _)| *last < number) {
            self.names.push_back((number, Names::default()));
            let oldest = number - i64::try_from(NAMES).unwrap_or(i64::MAX) + 1;
            self.names.retain(|(number, _)| *number >= oldest);
        }
        let last = self.names.len() - 1;
        &mut self.names[last].1
    }

    /// The names of the last hour.
    pub fn names(&self) -> Names {
        let mut all = Names::default();
        self.names.iter().for_each(|(_, names)| all.add_all(names));
        all
    }

    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> + Clone {
        self.steps.iter()
    }

    /// The number of the last step.
    pub fn last(&self) -> Option<i64> {
        self.steps.back().map(|last| last.number)
    }
}

/// Adds one histogram to another.
pub(super) fn add_histogram(to: &mut Histogram, more: &[u64]) {
    to.iter_mut().zip(more).for_each(|(to, more)| *to = to.saturating_add(*more));
}
