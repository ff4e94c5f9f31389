//! Publishes every ten seconds what this server has counted, at the ends of the steps of its history. What cannot be published
//! is counted, and is a part of what is published the next time.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::reached::ReachedStore;
use crate::{
    clock::Clock,
    counts::{Counts, STEP_MILLIS, State},
    domain::policy::Policy,
    gate::records::Records,
    metrics::Metrics,
    store::Store,
};

/// What a server has counted stays as long as it is a part of the last hour.
const KEEP: Duration = Duration::from_hours(1);

/// What is published, and where it comes from.
pub(super) struct Publishing {
    counts: Arc<Counts>,
    records: Arc<Records>,
    policy: Arc<ArcSwap<Policy>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Publishing {
    pub(super) fn new(
        counts: &Arc<Counts>,
        records: &Arc<Records>,
        policy: &Arc<ArcSwap<Policy>>,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (counts, records, policy) = (counts.clone(), records.clone(), policy.clone());
        Self { counts, records, policy, clock: clock.clone(), metrics: metrics.clone() }
    }

    pub(super) async fn run(self, store: Arc<ReachedStore>) {
        loop {
            self.publish(&store).await;
            let left = STEP_MILLIS - self.clock.now().as_millis().rem_euclid(STEP_MILLIS);
            tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or_default())).await;
        }
    }

    async fn publish(&self, store: &ReachedStore) {
        let now = self.clock.now();
        self.counts.collect(now);
        let ages = self.records.coherence().ages().map(|(_, age)| age);
        let state = State::new(store.answers(), ages, self.records.counts().remembered);
        let said = self.counts.report(now, &self.policy.load(), state).to_text();
        if let Err(error) = store.publish(self.counts.replica(), &said, KEEP).await {
            tracing::debug!(%error, "what was counted could not be published");
            self.metrics.count_lost_report();
        }
    }
}
