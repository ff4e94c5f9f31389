//! What all servers say together. One that has not been heard of for a while is gone; what it has counted stays as long as it
//! is a part of the last hour.

use std::collections::{BTreeMap, HashMap};

use super::{
    MINUTES, Outcome, STEP_MILLIS, STEPS, STEPS_IN_MINUTE,
    history::{add_histogram, step_of},
    latency::{RANGES, percentile},
    report::{Report, State, fingerprint},
};
use crate::domain::{id::ReplicaId, policy::Policy, time::Timestamp};

/// Who has said nothing for so long is gone: some words may get lost.
const GONE_MILLIS: i64 = 35_000;
/// Servers that are a little late are waited for this long.
const LATE_STEPS: i64 = 3;
/// How many keys and sites are named.
const NAMED: usize = 10;

/// The last hour of all servers.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Where the last step ends, and the hour with it.
    pub until: Timestamp,
    /// By outcome, in the order of [`Outcome::ALL`]: in each of the [`STEPS`], the oldest first.
    pub decisions: [Vec<u64>; Outcome::ALL.len()],
    /// The most frequent first.
    pub refusals: Vec<(String, u64)>,
    /// In each of the [`MINUTES`], the oldest first; `None` where there was no check. Sampled.
    pub latencies: Vec<Option<Percentiles>>,
    /// Over the whole hour.
    pub latency: Option<Percentiles>,
    /// Ids of keys that let requests in most often, and about how often. Sampled.
    pub keys: Vec<(String, u64)>,
    /// The same of sites.
    pub sites: Vec<(String, u64)>,
    /// In the order of their start.
    pub replicas: Vec<Replica>,
}

/// In microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: ReplicaId,
    pub version: String,
    pub started_at: Timestamp,
    /// When it was last heard of.
    pub said_at: Timestamp,
    pub gone: bool,
    pub state: State,
    /// How many checks it has answered in the last hour.
    pub checks: u64,
    /// Tells servers with other rules apart.
    pub policy: String,
}

/// How often the rules were hit, since the servers started that have these rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHits {
    /// For each rule; `None` where nobody knows.
    pub hits: Vec<Option<u64>>,
    /// Since when; `None` where no server has counted yet.
    pub since: Option<Timestamp>,
    /// How many servers have these rules,
    pub counted: usize,
    /// and how many living ones have others.
    pub others: usize,
}

impl Overview {
    #[must_use]
    pub fn new(reports: &[(ReplicaId, Report)], now: Timestamp) -> Self {
        let current = step_of(now) - 1;
        let reported = reports.iter().map(|(_, report)| report.step).filter(|step| (current - LATE_STEPS..=current).contains(step));
        let last = reported.min().unwrap_or(current);
        let mut decisions: [Vec<u64>; Outcome::ALL.len()] = std::array::from_fn(|_| vec![0; STEPS]);
        let mut refusals = BTreeMap::new();
        let mut minutes = vec![[0_u64; RANGES]; MINUTES];
        let (mut keys, mut sites) = (HashMap::new(), HashMap::new());
        let mut replicas = Vec::new();
        for (id, report) in reports {
            let mut checks: u64 = 0;
            for (counts, of_one) in decisions.iter_mut().zip(&report.decisions) {
                for (ago, count) in of_one.iter().rev().enumerate() {
                    if let Some(place) = place(STEPS, last, report.step, ago) {
                        counts[place] = counts[place].saturating_add(*count);
                        checks = checks.saturating_add(*count);
                    }
                }
            }
            let minute = |step: i64| step.div_euclid(STEPS_IN_MINUTE);
            for (ago, (first, counts)) in report.latencies.iter().rev().enumerate() {
                if let Some(place) = place(MINUTES, minute(last), minute(report.step), ago)
                    && let Some(histogram) = minutes[place].get_mut(*first..)
                {
                    histogram.iter_mut().zip(counts).for_each(|(to, count)| *to = to.saturating_add(*count));
                }
            }
            if checks > 0 {
                for (to, names) in [(&mut keys, &report.keys), (&mut sites, &report.sites)] {
                    for (name, count) in names {
                        add(to, name, *count);
                    }
                }
                report.refusals.iter().for_each(|(reason, count)| *refusals.entry(reason.clone()).or_default() += count);
            }
            replicas.push(Replica {
                id: id.clone(),
                version: report.version.clone(),
                started_at: report.started_at,
                said_at: report.at,
                gone: is_gone(report, now),
                state: report.state.clone(),
                checks,
                policy: report.policy.clone(),
            });
        }
        replicas.sort_by_key(|replica| (replica.gone, replica.started_at));
        let mut all = [0; RANGES];
        for minute in &minutes {
            add_histogram(&mut all, minute);
        }
        Self {
            until: Timestamp::from_millis((last + 1).saturating_mul(STEP_MILLIS)),
            decisions,
            refusals: most(refusals, usize::MAX),
            latencies: minutes.iter().map(Percentiles::of).collect(),
            latency: Percentiles::of(&all),
            keys: most(keys, NAMED),
            sites: most(sites, NAMED),
            replicas,
        }
    }

    /// How often each outcome came in the last hour.
    #[must_use]
    pub fn totals(&self) -> [u64; Outcome::ALL.len()] {
        std::array::from_fn(|outcome| self.decisions[outcome].iter().fold(0, |sum: u64, count| sum.saturating_add(*count)))
    }
}

impl RuleHits {
    #[must_use]
    pub fn new(reports: &[(ReplicaId, Report)], policy: &Policy, now: Timestamp) -> Self {
        let own = fingerprint(policy);
        let (same, others): (Vec<_>, Vec<_>) = reports.iter().map(|(_, report)| report).partition(|report| report.policy == own);
        let hit = |place: usize| {
            let of_one = |report: &&Report| report.rules.as_ref().and_then(|rules| rules.get(place)).copied();
            same.iter().map(of_one).try_fold(0, |sum: u64, hits| Some(sum.saturating_add(hits?))).filter(|_| !same.is_empty())
        };
        Self {
            hits: (0..policy.rules().len()).map(hit).collect(),
            since: same.iter().map(|report| report.started_at).min(),
            counted: same.len(),
            others: others.into_iter().filter(|report| !is_gone(report, now)).count(),
        }
    }
}

impl Percentiles {
    fn of(histogram: &[u64; RANGES]) -> Option<Self> {
        Some(Self { p50: percentile(histogram, 0.5)?, p99: percentile(histogram, 0.99)? })
    }
}

fn is_gone(report: &Report, now: Timestamp) -> bool {
    now.as_millis().saturating_sub(report.at.as_millis()) > GONE_MILLIS
}

/// Where something belongs that is `ago` before `from`, in a list that ends with `last`.
fn place(length: usize, last: i64, from: i64, ago: usize) -> Option<usize> {
    let before = last.checked_sub(from)?.checked_add(i64::try_from(ago).ok()?)?;
    length.checked_sub(1)?.checked_sub(usize::try_from(before).ok()?)
}

fn add(to: &mut HashMap<String, u64>, name: &str, count: u64) {
    let known = to.entry(name.to_owned()).or_default();
    *known = known.saturating_add(count);
}

fn most(counts: impl IntoIterator<Item = (String, u64)>, named: usize) -> Vec<(String, u64)> {
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by(|(name, count), (other, than)| than.cmp(count).then_with(|| name.cmp(other)));
    all.truncate(named);
    all
}
