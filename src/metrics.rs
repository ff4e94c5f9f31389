//! What is counted, in the `OpenMetrics` text format.

use std::fmt::Write as _;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    dialect: &'static str,
    decision: &'static str,
    /// Empty for an allow.
    reason: &'static str,
}

/// All counters of one process.
pub struct Metrics {
    registry: Registry,
    checks: Family<CheckLabels, Counter>,
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("keygate");
        let checks = Family::default();
        registry.register("checks", "Checks answered, by dialect, decision and reason", checks.clone());
        Self { registry, checks }
    }

    pub fn count_check(&self, dialect: &'static str, decision: &'static str, reason: &'static str) {
        self.checks.get_or_create(&CheckLabels { dialect, decision, reason }).inc();
    }

    /// The whole of it as text.
    #[must_use]
    pub fn render(&self) -> String {
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
