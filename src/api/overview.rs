//! `/overview`: what all servers of the store have decided in the last hour, and how they are.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    extract::{Caller, NoQuery, Query},
    operations::Operations,
};
use crate::{
    counts::{Outcome, Overview, Percentiles, Replica},
    directory::Lately,
    domain::{
        text::{Label, Login},
        time::Timestamp,
    },
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_show, show);
}

/// The last hour of all servers. Each of them publishes its part every ten seconds.
#[derive(Serialize, ToSchema)]
#[schema(as = Overview)]
struct OverviewView {
    /// The end of that hour.
    until: Timestamp,
    /// How checks were answered. Exact.
    decisions: Decisions,
    /// The same in steps of ten seconds, the oldest first.
    steps: Vec<Decisions>,
    /// Why checks were refused, the most frequent first. Exact.
    refusals: Vec<Refusals>,
    /// How long checks took. Of a sample; `null` where there were none.
    #[schema(required)]
    latency: Option<Latency>,
    /// The same in steps of a minute, the oldest first.
    minutes: Vec<Option<Latency>>,
    /// The keys that most requests were let in with, and about how many that were. Of a sample.
    busiest_keys: Vec<BusyKey>,
    /// The sites that most requests were let in to. Of a sample.
    busiest_sites: Vec<Busy>,
    replicas: Vec<ReplicaView>,
}

#[derive(Serialize, ToSchema)]
struct Decisions {
    allow: u64,
    challenge: u64,
    deny: u64,
    unavailable: u64,
}

#[derive(Serialize, ToSchema)]
struct Refusals {
    reason: String,
    count: u64,
}

/// From reading the request's description to its answer, in microseconds.
#[derive(Serialize, ToSchema)]
struct Latency {
    p50_micros: f64,
    p99_micros: f64,
}

#[derive(Serialize, ToSchema)]
struct Busy {
    id: String,
    count: u64,
}

/// What it is called and whose it is; `null` of one that is gone.
#[derive(Serialize, ToSchema)]
struct BusyKey {
    id: String,
    #[schema(required)]
    name: Option<Label>,
    #[schema(required)]
    account: Option<Login>,
    count: u64,
}

/// A server. One that is gone stays in the list as long as what it has counted is a part of the last hour.
#[derive(Serialize, ToSchema)]
#[schema(as = Replica)]
struct ReplicaView {
    id: String,
    version: String,
    started_at: Timestamp,
    /// When it was last heard of.
    published_at: Timestamp,
    /// Nothing was heard of it for more than 35 seconds.
    gone: bool,
    /// Whether the store answers it.
    store_answers: bool,
    /// For how long changes of accounts, sites, access and tokens may have gone unnoticed by it. `null` where that is not
    /// known.
    #[schema(required)]
    directory_age_ms: Option<u64>,
    /// The same of sessions.
    #[schema(required)]
    sessions_age_ms: Option<u64>,
    /// How many records it remembers.
    remembered: u64,
    /// How many checks it has answered in the last hour.
    checks: u64,
    /// Servers with the same rules say the same here.
    policy: String,
}

/// Show what was decided lately
///
/// By all servers of this store, in the last hour. For superusers.
#[utoipa::path(get, path = "/v1/overview", responses((status = 200, body = OverviewView)))]
async fn show(state: web::Data<ApiState>, caller: Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(OverviewView::from(state.directory.overview(&caller.0).await?)))
}

impl From<Lately> for OverviewView {
    fn from(Lately { counted: overview, keys: mut named }: Lately) -> Self {
        let decisions = Decisions::from(overview.totals());
        let Overview { until, decisions: by_outcome, refusals, latencies, latency, keys, sites, replicas } = overview;
        let steps = by_outcome.first().map_or(0, Vec::len);
        let step = |at: usize| Decisions::from(by_outcome.each_ref().map(|counts| counts.get(at).copied().unwrap_or_default()));
        let key = |(id, count): (String, u64)| {
            let (name, account) = named.remove(&id).unzip();
            BusyKey { id, name, account, count }
        };
        Self {
            until,
            decisions,
            steps: (0..steps).map(step).collect(),
            refusals: refusals.into_iter().map(|(reason, count)| Refusals { reason, count }).collect(),
            latency: latency.map(Latency::from),
            minutes: latencies.into_iter().map(|minute| minute.map(Latency::from)).collect(),
            busiest_keys: keys.into_iter().map(key).collect(),
            busiest_sites: sites.into_iter().map(|(id, count)| Busy { id, count }).collect(),
            replicas: replicas.into_iter().map(ReplicaView::from).collect(),
        }
    }
}

impl From<[u64; Outcome::ALL.len()]> for Decisions {
    fn from([allow, challenge, deny, unavailable]: [u64; Outcome::ALL.len()]) -> Self {
        Self { allow, challenge, deny, unavailable }
    }
}

impl From<Percentiles> for Latency {
    fn from(Percentiles { p50, p99 }: Percentiles) -> Self {
        Self { p50_micros: p50, p99_micros: p99 }
    }
}

impl From<Replica> for ReplicaView {
    fn from(Replica { id, version, started_at, said_at, gone, state, checks, policy }: Replica) -> Self {
        let [directory_age_ms, sessions_age_ms] = state.ages_ms;
        Self {
            id: id.to_string(),
            version,
            started_at,
            published_at: said_at,
            gone,
            store_answers: state.store_answers,
            directory_age_ms,
            sessions_age_ms,
            remembered: state.remembered,
            checks,
            policy,
        }
    }
}
