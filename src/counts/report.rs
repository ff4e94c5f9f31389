//! What a server publishes of itself: one text of a bounded size, read by servers of this version and of the next.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    MINUTES, Outcome, STEPS_IN_MINUTE,
    history::{History, add_histogram},
    latency::RANGES,
    reason_word,
};
use crate::domain::{
    policy::{Policy, Rule},
    time::Timestamp,
};

/// The version of the text.
const VERSION: u8 = 1;
/// The longest text, in bytes. What does not fit is the older half of the hour.
const MAX_BYTES: usize = 16 * 1024;
/// How many keys and sites are named.
const NAMED: usize = 20;
/// Of so many rules at most it is said how often they are hit: the first ones.
const RULES: usize = 1_000;

/// How a server finds its store, and what it remembers of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Whether the store answers it.
    pub store_answers: bool,
    /// For how many milliseconds changes of the directory, and of sessions, may have gone unnoticed; `None` where that is
    /// not known.
    pub ages_ms: [Option<u64>; 2],
    /// How many records it remembers.
    pub remembered: u64,
}

impl State {
    #[must_use]
    pub fn new(store_answers: bool, ages: [Option<Duration>; 2], remembered: usize) -> Self {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self { store_answers, ages_ms: ages.map(|age| age.map(millis)), remembered: remembered as u64 }
    }
}

/// What a server has counted, and how it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub(super) v: u8,
    pub(super) version: String,
    pub(super) started_at: Timestamp,
    pub(super) at: Timestamp,
    pub(super) state: State,
    /// The last step of `decisions`.
    pub(super) step: i64,
    /// By outcome, in the order of [`Outcome::ALL`], and by step, the oldest first.
    pub(super) decisions: [Vec<u64>; Outcome::ALL.len()],
    /// In the last hour.
    pub(super) refusals: BTreeMap<String, u64>,
    /// By minute, the oldest first: the first range that is said, and how many checks were in it and in those after it.
    pub(super) latencies: Vec<(usize, Vec<u64>)>,
    pub(super) keys: Vec<(String, u64)>,
    pub(super) sites: Vec<(String, u64)>,
    /// The rules in force, as [`fingerprint`] knows them.
    pub(super) policy: String,
    /// How often each of them was hit since the start; `None` where there were too many to count.
    pub(super) rules: Option<Vec<u64>>,
}

impl Report {
    pub(super) fn new(
        history: &History,
        started_at: Timestamp,
        at: Timestamp,
        policy: &Policy,
        hits: Option<&HashMap<String, u64>>,
        state: State,
    ) -> Self {
        let step = history.last().unwrap_or_default();
        let first = history.steps().next().map_or(step, |first| first.number);
        let mut decisions: [Vec<u64>; Outcome::ALL.len()] = Default::default();
        let mut refusals = BTreeMap::new();
        let mut minutes = BTreeMap::new();
        let mut expected = first;
        for known in history.steps() {
            for (outcome, counts) in decisions.iter_mut().enumerate() {
                // Nobody counted in between: the machine slept.
                counts.extend((expected..known.number).map(|_| 0));
                counts.push(known.counted.outcomes[outcome]);
            }
            expected = known.number + 1;
            for (reason, count) in known.counted.reasons.iter().enumerate().filter(|(_, count)| **count > 0) {
                *refusals.entry(reason_word(reason).to_owned()).or_default() += count;
            }
            let minute = known.number.div_euclid(STEPS_IN_MINUTE);
            add_histogram(minutes.entry(minute).or_insert([0; RANGES]), &known.counted.latencies);
        }
        let last = step.div_euclid(STEPS_IN_MINUTE);
        let first = minutes.keys().next().copied().unwrap_or(last).max(last - i64::try_from(MINUTES).unwrap_or(i64::MAX) + 1);
        let short = |minute| minutes.get(&minute).map_or_else(|| (0, Vec::new()), |histogram| shortened(histogram));
        let names = history.names();
        let hit = |rule: &Rule| hits.and_then(|hits| hits.get(&rule.name)).copied().unwrap_or_default();
        Self {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            at,
            state,
            step,
            decisions,
            refusals,
            latencies: (first..=last).map(short).collect(),
            keys: names.keys.top(NAMED),
            sites: names.sites.top(NAMED),
            policy: fingerprint(policy),
            rules: hits.map(|_| policy.rules().iter().take(RULES).map(hit).collect()),
        }
    }

    /// As it is published.
    #[must_use]
    pub fn to_text(mut self) -> String {
        loop {
            let text = serde_json::to_string(&self).unwrap_or_default();
            if text.len() <= MAX_BYTES || self.decisions.iter().all(Vec::is_empty) && self.latencies.is_empty() {
                return text;
            }
            let halve = |length: usize| length - length / 2;
            for counts in &mut self.decisions {
                counts.drain(..halve(counts.len()));
            }
            self.latencies.drain(..halve(self.latencies.len()));
        }
    }

    /// `None` for what is none, or of a version that is not known here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|report: &Self| report.v == VERSION)
    }
}

/// Without the empty ranges at both ends.
fn shortened(histogram: &[u64]) -> (usize, Vec<u64>) {
    let first = histogram.iter().position(|count| *count > 0).unwrap_or_default();
    let end = histogram.iter().rposition(|count| *count > 0).map_or(first, |last| last + 1);
    (first, histogram[first..end].to_vec())
}

/// Tells rules from others. Replicas that have the same ones have hits that can be added up.
pub(super) fn fingerprint(policy: &Policy) -> String {
    let digest = Sha256::digest(format!("{:?}", policy.rules()));
    digest[..8].iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
