//! What is counted, in the `OpenMetrics` text format.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, OnceLock, PoisonError, RwLock, atomic::Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        info::Info,
    },
    registry::Registry,
};

use crate::tally::Tally;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    dialect: &'static str,
    decision: &'static str,
    /// Empty for an allow.
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SubjectLabels {
    subject: &'static str,
}

/// What somebody else counts, as it is when it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub name: &'static str,
    pub help: &'static str,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// It only grows.
    Counter(u64),
    Gauge(f64),
    /// One for each value of a label.
    Gauges(&'static str, Vec<(&'static str, f64)>),
}

type Reader = Box<dyn Fn() -> Vec<Reading> + Send + Sync>;

/// Those who count for themselves.
#[derive(Clone, Default)]
struct Readers(Arc<RwLock<Vec<Reader>>>);

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers(…)")
    }
}

impl Collector for Readers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let readers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for Reading { name, help, value } in readers.iter().flat_map(|reader| reader()) {
            let kind = if let Value::Counter(_) = value { MetricType::Counter } else { MetricType::Gauge };
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            match value {
                Value::Counter(count) => ConstCounter::new(count).encode(metric)?,
                Value::Gauge(value) => ConstGauge::new(value).encode(metric)?,
                Value::Gauges(label, values) => {
                    for (of, value) in values {
                        ConstGauge::new(value).encode(metric.encode_family(&[(label, of)])?)?;
                    }
                }
            }
        }
        Ok(())
    }
}
/// How many were allowed by dialect, each in the first place that was free when it was first asked for. What is counted
/// most is found without a lock, and no thread waits for what another writes.
#[derive(Default)]
struct Allows([OnceLock<(&'static str, Tally)>; 16]);

impl Allows {
    /// `None` when there are more dialects than places.
    fn of(&self, dialect: &'static str) -> Option<&Tally> {
        let mut places = self.0.iter().map(|place| place.get_or_init(|| (dialect, Tally::default())));
        places.find(|(known, _)| *known == dialect).map(|(_, tally)| tally)
    }

    /// Brings the counters up to date.
    fn tell(&self, checks: &Family<CheckLabels, Counter>) {
        for (dialect, tally) in self.0.iter().filter_map(OnceLock::get) {
            let labels = CheckLabels { dialect, decision: ALLOW, reason: "" };
            checks.get_or_create(&labels).inner().store(tally.sum(), Ordering::Relaxed);
        }
    }
}

/// The word for a request that passes.
const ALLOW: &str = "allow";

/// All counters of one process.
pub struct Metrics {
    registry: Registry,
    readers: Readers,
    checks: Family<CheckLabels, Counter>,
    allows: Allows,
    store_answers: Gauge,
    policy_rules: Gauge,
    policy_reloads: Family<OutcomeLabels, Counter>,
    token_uses_dropped: Counter,
    sightings_dropped: Counter,
    token_leaks: Counter,
    token_leaks_dropped: Counter,
    failures_dropped: Counter,
    notices: Family<OutcomeLabels, Counter>,
    sign_ins: Family<OutcomeLabels, Counter>,
    codes: Family<OutcomeLabels, Counter>,
    blocks: Family<SubjectLabels, Counter>,
    reports_lost: Counter,
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("keygate");
        let checks = Family::default();
        registry.register("checks", "Checks answered, by dialect, decision and reason", checks.clone());
        let store_answers = Gauge::default();
        registry.register("store_answers", "1 while the store answers, else 0", store_answers.clone());
        let policy_rules = Gauge::default();
        registry.register("policy_rules", "Rules of the policy in force", policy_rules.clone());
        let policy_reloads = Family::default();
        registry.register("policy_reloads", "Readings of a changed configuration file, by outcome", policy_reloads.clone());
        let token_uses_dropped = Counter::default();
        let help = "Last uses of tokens that were not written down, as the store did not take them";
        registry.register("token_uses_dropped", help, token_uses_dropped.clone());
        let sightings_dropped = Counter::default();
        let help = "Times at which sessions were seen that found no room to be written down";
        registry.register("session_sightings_dropped", help, sightings_dropped.clone());
        let token_leaks = Counter::default();
        registry.register("token_leaks", "Reports of a rotated token that was used after its grace", token_leaks.clone());
        let token_leaks_dropped = Counter::default();
        registry.register("token_leaks_dropped", "Signs of a leak that found no room to be reported", token_leaks_dropped.clone());
        let failures_dropped = Counter::default();
        let help = "Failed attempts that found no room to be counted";
        registry.register("failures_dropped", help, failures_dropped.clone());
        let notices = Family::default();
        registry.register("notices", "Events for the webhook, by outcome", notices.clone());
        let sign_ins = Family::default();
        registry.register("sign_ins", "Passwords given to sign in, by outcome", sign_ins.clone());
        let codes = Family::default();
        registry.register("codes", "Codes brought back from signing in, by outcome", codes.clone());
        let blocks = Family::default();
        registry.register("blocks", "Blocks that have begun, by what too many attempts came from or were for", blocks.clone());
        let reports_lost = Counter::default();
        registry.register("reports_lost", "Times at which what this server counts could not be published", reports_lost.clone());
        let readers = Readers::default();
        registry.register_collector(Box::new(readers.clone()));
        registry.register("build", "What is running", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            registry,
            readers,
            checks,
            allows: Allows::default(),
            store_answers,
            policy_rules,
            policy_reloads,
            token_uses_dropped,
            sightings_dropped,
            token_leaks,
            token_leaks_dropped,
            failures_dropped,
            notices,
            sign_ins,
            codes,
            blocks,
            reports_lost,
        }
    }

    /// From now on asks `reader`, too, each time the metrics are asked for.
    pub fn read_from(&self, reader: impl Fn() -> Vec<Reading> + Send + Sync + 'static) {
        self.readers.0.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(reader));
    }

    pub fn count_check(&self, dialect: &'static str, decision: &'static str, reason: &'static str) {
        let often = if decision == ALLOW { self.allows.of(dialect) } else { None };
        match often {
            Some(tally) => tally.add(1),
            None => _ = self.checks.get_or_create(&CheckLabels { dialect, decision, reason }).inc(),
        }
    }

    pub fn store_answers(&self, answers: bool) {
        self.store_answers.set(i64::from(answers));
    }

    pub fn policy_is(&self, rules: usize) {
        self.policy_rules.set(i64::try_from(rules).unwrap_or(i64::MAX));
    }

    /// `outcome` is `done` or `mistakes`.
    pub fn count_reload(&self, outcome: &'static str) {
        self.policy_reloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub fn count_dropped_uses(&self, uses: u64) {
        self.token_uses_dropped.inc_by(uses);
    }

    pub fn count_dropped_sightings(&self, sightings: u64) {
        self.sightings_dropped.inc_by(sightings);
    }

    pub fn count_leaks(&self, leaks: u64) {
        self.token_leaks.inc_by(leaks);
    }

    pub fn count_dropped_leaks(&self, leaks: u64) {
        self.token_leaks_dropped.inc_by(leaks);
    }

    pub fn count_dropped_failures(&self, failures: u64) {
        self.failures_dropped.inc_by(failures);
    }

    /// `outcome` is `delivered`, `failed` or `dropped`.
    pub fn count_notice(&self, outcome: &'static str) {
        self.notices.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// `outcome` is `done`, `code_awaited`, `refused`, `blocked`, `busy` or `unavailable`.
    pub fn count_sign_in(&self, outcome: &'static str) {
        self.sign_ins.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// `outcome` is `opened`, `already_open` or `refused`.
    pub fn count_code(&self, outcome: &'static str) {
        self.codes.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// `subject` is `address` or `login` for passwords, `code` for codes of a login, and `token` for tokens from an address.
    pub fn count_block(&self, subject: &'static str) {
        self.blocks.get_or_create(&SubjectLabels { subject }).inc();
    }

    pub fn count_lost_report(&self) {
        self.reports_lost.inc();
    }

    /// The whole of it as text.
    #[must_use]
    pub fn render(&self) -> String {
        self.allows.tell(&self.checks);
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            text.clear();
            let _infallible = writeln!(text, "# the metrics could not be written: {error}");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_count_is_read_when_it_is_asked_for() {
        let metrics = Metrics::new();
        metrics.read_from(|| {
            vec![
                Reading { name: "a", help: "A", value: Value::Counter(7) },
                Reading { name: "b_seconds", help: "B", value: Value::Gauges("of", vec![("x", 0.5), ("y", f64::INFINITY)]) },
                Reading { name: "c", help: "C", value: Value::Gauge(1.0) },
            ]
        });
        let text = metrics.render();
        for line in
            ["keygate_a_total 7", "keygate_b_seconds{of=\"x\"} 0.5", "keygate_b_seconds{of=\"y\"} inf", "keygate_c 1.0", "# EOF"]
        {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
