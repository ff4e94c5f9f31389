//! `keygate store`: what the records are kept in, and how stale a server's memory of them may be.

use clap::Subcommand;
use serde_json::json;

use super::{
    Failure, Session,
    client::Call,
    output::{note, or_dash},
    token::choose::duration,
};
use crate::{
    api::dto::{FreshnessView, ServerView, StoreView},
    domain::text::printable,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what the records are kept in, and whether all is well with it
    Show,
    /// Set the largest `hot_path.max_staleness` that a server of this store may have
    #[command(
        long_about = "\
Set the largest `hot_path.max_staleness` that a server of this store may have. The first server sets its own; one that has \
more refuses to serve.

To use a larger one, set it here first, then configure the servers. To use a smaller one, configure every server and start \
it again, then set it here: from then on nobody waits for longer than that when he takes something away.",
        after_help = "\
Example:
  keygate store max-staleness 2s"
    )]
    MaxStaleness {
        /// 50ms to 1m
        #[arg(value_name = "DURATION", value_parser = duration)]
        bound: String,
    },
}

impl Command {
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        match self {
            Self::Show => show(&session).await,
            Self::MaxStaleness { bound } => {
                let call = Call::patch(&["store"], json!({ "max_staleness": bound })).long();
                let store: StoreView = session.client.call(call).await?;
                session.output.done(&store, &format!("a server may be up to {bound} behind this store"));
                Ok(())
            }
        }
    }
}

async fn show(session: &Session) -> Result<(), Failure> {
    let store: StoreView = session.client.call(Call::get(&["store"])).await?;
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let mut fields = vec![("store", printable(&store.kind).into_owned()), ("reachable", yes_or_no(store.reachable))];
    fields.extend(store.servers.iter().map(|server| ("server", of_server(server))));
    fields.extend(store.freshness.iter().map(|freshness| ("freshness", of_freshness(freshness))));
    let bound = match (&store.max_staleness, &store.lowered_from) {
        (Some(bound), Some(before)) => format!("{bound}, lowered from {before}"),
        (bound, _) => or_dash(bound.as_ref()),
    };
    fields.extend([
        ("max staleness", printable(&bound).into_owned()),
        ("wait replicas", store.wait_replicas.to_string()),
        ("went back", yes_or_no(store.went_back)),
    ]);
    session.output.object(&store, &fields);
    if !session.output.json {
        store.findings.iter().for_each(|finding| note(&format!("keygate: {}", printable(finding))));
    }
    Ok(())
}

fn of_server(server: &ServerView) -> String {
    if !server.reachable {
        return format!("{}: does not answer", printable(&server.address));
    }
    let ServerView { role: Some(role), version: Some(version), replicas: Some(replicas), .. } = server else {
        return format!("{}: answers", printable(&server.address));
    };
    let replicas = if *replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") };
    printable(&format!("{}: {role} {version}, {replicas}", server.address)).into_owned()
}

fn of_freshness(freshness: &FreshnessView) -> String {
    let age = freshness.age_ms.map_or_else(|| "not known".to_owned(), |age| format!("{age} ms behind at most"));
    format!("{}: {age}", printable(&freshness.records))
}
