//! `keygate overview`: what all servers have decided in the last hour, and how they are.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::{Failure, Session, client::Call};
use crate::domain::text::printable;

#[derive(Debug, Args)]
#[command(
    long_about = "\
What all servers of this store have decided in the last hour, and how they are: how many checks were allowed and refused, why, \
how long they took, and which keys and sites are the busiest.

Decisions and refusals are exact. Durations, keys and sites come from a sample, so their counts are about right. A server \
publishes what it has counted every ten seconds. For superusers.

`keygate token show ID` says what a busy key is, and `keygate explain` why a request is refused.",
    after_help = "\
Examples:
  keygate overview
  keygate overview --json | jq '.refusals[] | select(.count > 100)'"
)]
pub(super) struct Overview;

/// What is shown of the answer.
#[derive(Deserialize)]
struct Told {
    until: String,
    decisions: Decisions,
    refusals: Vec<Refusals>,
    latency: Option<Latency>,
    busiest_keys: Vec<Busy>,
    busiest_sites: Vec<Busy>,
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Decisions {
    allow: u64,
    challenge: u64,
    deny: u64,
    unavailable: u64,
}

#[derive(Deserialize)]
struct Refusals {
    reason: String,
    count: u64,
}

#[derive(Deserialize)]
struct Latency {
    p50_micros: f64,
    p99_micros: f64,
}

#[derive(Deserialize)]
struct Busy {
    id: String,
    name: Option<String>,
    account: Option<String>,
    count: u64,
}

#[derive(Deserialize)]
struct Replica {
    id: String,
    version: String,
    gone: bool,
    store_answers: bool,
    directory_age_ms: Option<u64>,
    checks: u64,
}

pub(super) async fn run(session: Session) -> Result<(), Failure> {
    let answer: Value = session.client.call(Call::get(&["overview"])).await?;
    let told = Told::deserialize(&answer);
    let told = told.map_err(|error| Failure::Unreachable(format!("that is no overview of this version's: {error}")))?;
    session.output.object(&answer, &fields(&told));
    Ok(())
}

fn fields(told: &Told) -> Vec<(&'static str, String)> {
    let Decisions { allow, challenge, deny, unavailable } = told.decisions;
    let all = [allow, challenge, deny, unavailable].into_iter().fold(0, u64::saturating_add);
    let took = |Latency { p50_micros, p99_micros }: &Latency| {
        format!("half within {p50_micros:.0} µs, 99 of 100 within {p99_micros:.0} µs")
    };
    let mut fields = vec![
        ("the hour to", told.until.clone()),
        ("checks", all.to_string()),
        ("allowed", allow.to_string()),
        ("challenged", challenge.to_string()),
        ("denied", deny.to_string()),
        ("unavailable", unavailable.to_string()),
        ("took", told.latency.as_ref().map_or_else(|| "-".to_owned(), took)),
    ];
    fields.extend(told.refusals.iter().map(|of| ("refused", format!("{} {}", of.count, of.reason))));
    fields.extend(told.busiest_keys.iter().map(|busy| ("busiest key", key(busy))));
    fields.extend(told.busiest_sites.iter().map(|busy| ("busiest site", format!("about {} {}", busy.count, busy.id))));
    fields.extend(told.replicas.iter().map(|replica| ("server", server(replica))));
    fields.into_iter().map(|(name, text)| (name, printable(&text).into_owned())).collect()
}

fn key(busy: &Busy) -> String {
    let named = busy.name.as_ref().zip(busy.account.as_ref());
    let named = named.map_or_else(|| "which is gone".to_owned(), |(name, account)| format!("`{name}` of {account}"));
    format!("about {} {}, {named}", busy.count, busy.id)
}

fn server(replica: &Replica) -> String {
    let Replica { id, version, checks, .. } = replica;
    let state = match (replica.gone, replica.store_answers, replica.directory_age_ms) {
        (true, ..) => "gone".to_owned(),
        (false, false, _) => "the store does not answer it".to_owned(),
        (false, true, None) => "how far it is behind is not known".to_owned(),
        (false, true, Some(age)) => format!("{age} ms behind at most"),
    };
    format!("{id}: {state}, {checks} checks, version {version}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_line_says_one_thing() {
        let told = json!({
            "until": "2026-01-02T03:04:05.000Z",
            "decisions": { "allow": 5, "challenge": 1, "deny": 2, "unavailable": 0 },
            "steps": [],
            "refusals": [{ "reason": "no_credential", "count": 3 }],
            "latency": { "p50_micros": 81.4, "p99_micros": 950.0 },
            "minutes": [],
            "busiest_keys": [
                { "id": "AbCdEfGh0123", "name": "nightly job", "account": "vera", "count": 4 },
                { "id": "ZyXwVuTs9876", "name": null, "account": null, "count": 1 },
            ],
            "busiest_sites": [{ "id": "shop", "count": 5 }],
            "replicas": [{
                "id": "r1", "version": "0.1.0", "started_at": "", "published_at": "", "gone": false, "store_answers": true,
                "directory_age_ms": 12, "sessions_age_ms": 12, "remembered": 1, "checks": 8, "policy": "",
            }],
        });
        let lines: Vec<_> =
            fields(&Told::deserialize(told).unwrap()).iter().map(|(name, text)| format!("{name}: {text}")).collect();
        assert_eq!(
            lines,
            [
                "the hour to: 2026-01-02T03:04:05.000Z",
                "checks: 8",
                "allowed: 5",
                "challenged: 1",
                "denied: 2",
                "unavailable: 0",
                "took: half within 81 µs, 99 of 100 within 950 µs",
                "refused: 3 no_credential",
                "busiest key: about 4 AbCdEfGh0123, `nightly job` of vera",
                "busiest key: about 1 ZyXwVuTs9876, which is gone",
                "busiest site: about 5 shop",
                "server: r1: 12 ms behind at most, 8 checks, version 0.1.0",
            ]
        );
    }
}
