//! What one thread counts. Only it writes here, so it waits for nobody; who collects reads.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::FixedState;

use super::{
    Outcome, REASONS,
    history::Names,
    latency::{self, Histogram, RANGES},
    lock,
};
use crate::domain::{decide::Grant, decision::Via};

/// So many checks of a thread are looked at closely in each step,
pub(super) const IN_FULL: u64 = 64;
/// and then one in so many.
pub(super) const ONE_IN: u64 = 64;
/// Rules that one thread counts; who has more is not told of any.
const RULES: usize = 1024;

/// A number that one thread writes.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What all threads have counted since they began.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    pub outcomes: [u64; Outcome::ALL.len()],
    pub reasons: [u64; REASONS],
    pub latencies: Histogram,
}

impl Default for Totals {
    fn default() -> Self {
        Self { outcomes: [0; Outcome::ALL.len()], reasons: [0; REASONS], latencies: [0; RANGES] }
    }
}

/// The counters of one thread, on lines of the processor's cache of their own.
#[repr(align(128))]
pub(super) struct Shard {
    checks: Count,
    /// How many there had been when it was last collected; written by who collects.
    collected: AtomicU64,
    outcomes: [Count; Outcome::ALL.len()],
    reasons: [Count; REASONS],
    latencies: [Count; RANGES],
    rules: Box<[Count]>,
    /// Of `rules`, in the same order. Written when a rule is first hit.
    names: Mutex<Vec<Box<str>>>,
    /// Written with samples, if nobody is just reading.
    seen: Mutex<Names>,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            checks: Count::default(),
            collected: AtomicU64::new(0),
            outcomes: Default::default(),
            reasons: std::array::from_fn(|_| Count::default()),
            latencies: std::array::from_fn(|_| Count::default()),
            rules: (0..RULES).map(|_| Count::default()).collect(),
            names: Mutex::default(),
            seen: Mutex::default(),
        }
    }
}

impl Shard {
    /// Adds what has been counted, and takes the names out.
    pub fn collect(&self, totals: &mut Totals, names: &mut Names) {
        let add = |to: &mut [u64], counts: &[Count]| to.iter_mut().zip(counts).for_each(|(to, count)| *to += count.get());
        add(&mut totals.outcomes, &self.outcomes);
        add(&mut totals.reasons, &self.reasons);
        add(&mut totals.latencies, &self.latencies);
        self.collected.store(self.checks.get(), Ordering::Relaxed);
        let mut seen = lock(&self.seen);
        names.add_all(&seen);
        seen.clear();
    }

    /// Adds how often each rule was hit. `false` where some were not counted.
    pub fn add_hits(&self, hits: &mut HashMap<String, u64>) -> bool {
        let names = lock(&self.names);
        for (name, count) in names.iter().zip(&self.rules) {
            *hits.entry(name.to_string()).or_default() += count.get();
        }
        names.len() <= RULES
    }
}

/// A thread's own way to its counters.
pub(super) struct Own {
    of: u64,
    shard: Option<Arc<Shard>>,
    /// Where the counter of each rule is.
    rules: HashMap<Box<str>, usize, FixedState>,
}

impl Own {
    pub const fn nobodys() -> Self {
        Self { of: 0, shard: None, rules: HashMap::with_hasher(FixedState::with_seed(0)) }
    }

    pub fn new(of: u64, shard: Arc<Shard>) -> Self {
        Self { of, shard: Some(shard), ..Self::nobodys() }
    }

    pub fn is_of(&self, counts: u64) -> bool {
        self.of == counts
    }

    /// For how many checks the next one stands; `None` where it is one of those that others stand for.
    pub fn stands_for(&self) -> Option<u64> {
        let shard = self.shard.as_ref()?;
        let checks = shard.checks.get();
        if checks.wrapping_sub(shard.collected.load(Ordering::Relaxed)) < IN_FULL {
            return Some(1);
        }
        // Not each 64th: clients that come in turn would always be the same ones.
        (checks.wrapping_mul(0x9e37_79b9_7f4a_7c15) < u64::MAX / ONE_IN).then_some(ONE_IN)
    }

    pub fn count(&mut self, outcome: Outcome, reason: Option<usize>, rule: Option<&str>) {
        let Some(shard) = &self.shard else { return };
        shard.checks.add(1);
        shard.outcomes[outcome as usize].add(1);
        if let Some(count) = reason.and_then(|reason| shard.reasons.get(reason)) {
            count.add(1);
        }
        if let Some(rule) = rule {
            let place = self.rules.get(rule).copied();
            let place = place.unwrap_or_else(|| {
                let place = self.rules.len();
                // One more than there is room for, to know it by.
                if place <= RULES {
                    lock(&shard.names).push(rule.into());
                    self.rules.insert(rule.into(), place);
                }
                place
            });
            if let Some(count) = shard.rules.get(place) {
                count.add(1);
            }
        }
    }

    pub fn took(&self, took: Duration, stands_for: u64) {
        if let Some(shard) = &self.shard {
            shard.latencies[latency::range(took)].add(stands_for);
        }
    }

    /// Notes whose key let the request in, and to which sites.
    pub fn saw(&self, grant: &Grant<'_>, stands_for: u64) {
        let Some(Ok(mut seen)) = self.shard.as_ref().map(|shard| shard.seen.try_lock()) else { return };
        let is_key = !matches!(grant.via(), Via::Session | Via::SessionToken);
        if let Some(key) = grant.credential().filter(|_| is_key) {
            seen.keys.add(key, stands_for);
        }
        if let Some(sites) = grant.site() {
            sites.split(',').for_each(|site| seen.sites.add(site, stands_for));
        }
    }
}
