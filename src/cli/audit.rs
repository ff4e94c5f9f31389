//! `keygate audit`: the audit trail, up to now or as it is written.

use std::{collections::HashSet, time::Duration};

use clap::Args;
use serde_json::{Map, Value};

use super::{
    Failure, Session,
    client::Call,
    output::{Flow, note, or_dash},
};
use crate::{
    api::dto::{EventView, ListBody},
    clock::{Clock, SystemClock},
    domain::{
        event::Outcome,
        text::printable,
        time::{Timestamp, parse_duration},
    },
};

/// Events that are shown where nothing else is said.
const RECENT: usize = 1000;
/// Between two looks at what was written since.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How much of the past a follower begins with, unless told.
const PAST: usize = 10;
/// As much of the trail as one answer may hold.
const PAGE: usize = 1000;
/// What of a change is shown; all of it is in the JSON.
const CHANGE_WIDTH: usize = 100;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate audit --since 1d
  keygate audit --account vera --refused
  keygate audit --follow --json | tee -a audit.jsonl")]
pub(super) struct Audit {
    /// Only what this account did, or what was done to it
    #[arg(long, value_name = "LOGIN")]
    account: Option<String>,
    /// Only from this time on: a time ago such as 1d, or an RFC 3339 time
    #[arg(long, value_name = "DURATION|TIME")]
    since: Option<String>,
    /// Go on with what happens, until interrupted; begins with the last 10, or as --since or --limit say
    #[arg(long)]
    follow: bool,
    /// Only attempts that were refused
    #[arg(long, conflicts_with = "done")]
    refused: bool,
    /// Only what was done
    #[arg(long)]
    done: bool,
    /// Only the last so many [default: 1000, or all from --since on]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl Audit {
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let since = self.since.as_deref().map(since).transpose()?;
        let outcome = if self.refused { Some("refused") } else { self.done.then_some("done") };
        let limit = self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let trail = Trail { session: &session, account: self.account.as_deref(), outcome };
        if !self.follow {
            // A trail goes back for a year; who wants all of it says since when.
            let events = match limit.or_else(|| since.is_none().then_some(RECENT)) {
                Some(limit) => trail.last(since.as_deref(), limit).await?,
                None => trail.all(since.as_deref()).await?,
            };
            session.output.list(&events, &COLUMNS, row);
            return Ok(());
        }
        let told = async { drop(tokio::signal::ctrl_c().await) };
        tokio::select! {
            () = told => Ok(()),
            ended = trail.follow(since, limit) => ended,
        }
    }
}

/// The part of the trail that is asked for.
struct Trail<'a> {
    session: &'a Session,
    account: Option<&'a str>,
    outcome: Option<&'a str>,
}

impl Trail<'_> {
    async fn page(
        &self,
        order: &str,
        since: Option<&str>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<ListBody<EventView>, Failure> {
        let limit = limit.to_string();
        let filters = [("account", self.account), ("outcome", self.outcome), ("since", since), ("cursor", cursor)];
        let mut query = vec![("order", order), ("limit", limit.as_str())];
        query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
        self.session.client.call(Call::get(&["audit"]).query(&query)).await
    }

    /// All there is, oldest first.
    async fn all(&self, since: Option<&str>) -> Result<Vec<EventView>, Failure> {
        let mut events = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.page("oldest", since, PAGE, cursor.as_deref()).await?;
            // There is always somewhere to go on from; the end is where that leads nowhere.
            let ended = page.items.is_empty() && page.next == cursor;
            events.extend(page.items);
            cursor = page.next;
            if ended || cursor.is_none() {
                return Ok(events);
            }
        }
    }

    /// The last `limit`, oldest first.
    async fn last(&self, since: Option<&str>, limit: usize) -> Result<Vec<EventView>, Failure> {
        let mut events: Vec<EventView> = Vec::new();
        let mut cursor: Option<String> = None;
        while events.len() < limit {
            let page = self.page("newest", since, PAGE.min(limit - events.len()), cursor.as_deref()).await?;
            events.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        events.reverse();
        Ok(events)
    }

    /// Ends only where the answer cannot be had any more, or nobody reads it.
    async fn follow(&self, since: Option<String>, limit: Option<usize>) -> Result<(), Failure> {
        let mut flow = Flow::new(self.session.output, &COLUMNS);
        // What is shown first, and from when on to look for more. That is a time of the server's own clock wherever
        // there is an event yet.
        let (mut from, mut shown) = (since, HashSet::new());
        if from.is_none() || limit.is_some() {
            let events = self.last(from.as_deref(), limit.unwrap_or(PAST)).await?;
            if !flow.show(&events, row) {
                return Ok(());
            }
            from = events.last().map(|last| last.event.at.to_string()).or(from);
            shown = events.into_iter().map(|event| event.id).collect();
        }
        let mut cursor: Option<String> = None;
        let mut away = false;
        loop {
            let page = match self.page("oldest", from.as_deref(), PAGE, cursor.as_deref()).await {
                Ok(page) => page,
                Err(Failure::Unreachable(sentence)) => {
                    if !std::mem::replace(&mut away, true) {
                        note(&format!("keygate: {sentence}; this goes on when it is back"));
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            away = false;
            // A page may also hold nothing because nothing on a long way was asked for.
            let more = if page.items.is_empty() { page.next != cursor } else { page.items.len() >= PAGE };
            let new: Vec<_> = page.items.into_iter().filter(|event| !shown.contains(&event.id)).collect();
            if !flow.show(&new, row) {
                return Ok(());
            }
            cursor = page.next.or(cursor);
            if !more {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// As the API takes it.
fn since(text: &str) -> Result<String, Failure> {
    if let Some(ago) = parse_duration(text) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_millis(SystemClock.now().as_millis().saturating_sub(ago).max(0)).to_string());
    }
    Timestamp::parse(text).map(|time| time.to_string()).ok_or_else(|| {
        let text = printable(text);
        Failure::Usage(format!("`{text}` is neither a duration such as 1d nor a time such as 2030-01-31T12:00:00Z"))
    })
}

const COLUMNS: [&str; 7] = ["AT", "ACTOR", "ACTION", "TARGET", "OUTCOME", "FROM", "CHANGE"];

fn row(EventView { event, .. }: &EventView) -> Vec<String> {
    let nothing = Map::new();
    let [before, after] = [&event.before, &event.after].map(|object| object.as_ref().unwrap_or(&nothing));
    vec![
        event.at.to_string(),
        or_dash(event.actor.account.as_deref().map(printable)),
        printable(&event.action).into_owned(),
        printable(&format!("{} {}", event.target.kind, event.target.id)).into_owned(),
        if event.outcome == Outcome::Done { "done" } else { "refused" }.to_owned(),
        or_dash(event.actor.address),
        event.reason.as_deref().map_or_else(|| change(before, after), |reason| printable(reason).into_owned()),
    ]
}

/// What was one thing before and is another after, member by member. Of a new record, what was chosen for it; of one
/// that is gone the target has the name.
fn change(before: &Map<String, Value>, after: &Map<String, Value>) -> String {
    let changed = after.iter().filter(|(name, new)| *name != "version" && before.get(*name) != Some(*new));
    let parts = changed.filter_map(|(name, new)| match (before.get(name).and_then(plain), plain(new)) {
        (None, None) => None,
        (None, Some(new)) if before.is_empty() => {
            (!MADE.contains(&name.as_str()) && new != "false").then(|| format!("{name}: {new}"))
        }
        (old, new) => Some(format!("{name}: {} → {}", or_dash(old), or_dash(new))),
    });
    let text = parts.collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(CHANGE_WIDTH) {
        _ if text.is_empty() => "-".to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Members of a new record that nobody chose.
const MADE: [&str; 5] = ["created_at", "created_by", "created_with", "id", "state"];

/// A value in short, without quotes; nothing for one that says nothing.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(printable(text).into_owned()),
        Value::Array(list) if list.is_empty() => None,
        Value::Array(list) => Some(list.iter().filter_map(plain).collect::<Vec<_>>().join(" ")),
        other => Some(printable(&other.to_string()).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_what_differs() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        for (before, after, text) in [
            (json!({ "level": "view", "version": 1 }), json!({ "level": "write", "version": 2 }), "level: view → write"),
            (json!(null), json!({ "id": "acc_x", "login": "ci", "name": null, "hosts": [], "disabled": false }), "login: ci"),
            (json!({ "login": "ci" }), json!(null), "-"),
            (json!(null), json!(null), "-"),
            (json!({ "name": null }), json!({ "name": "A\u{1b}[2J" }), "name: - → A\\u{1b}[2J"),
            (json!({ "hosts": ["a"] }), json!({ "hosts": ["a", "b"], "disabled": true }), "disabled: - → true, hosts: a → a b"),
        ] {
            assert_eq!(change(&object(before), &object(after)), text);
        }
        let long = object(json!({ "name": "ü".repeat(300) }));
        assert_eq!(change(&Map::new(), &long).chars().count(), CHANGE_WIDTH + 1);
    }

    #[test]
    fn since_is_a_time_ago_or_a_time() {
        assert_eq!(since("2026-11-22T05:00:00+01:00").unwrap(), "2026-11-22T04:00:00Z");
        assert!(Timestamp::parse(&since("1d").unwrap()).unwrap() < SystemClock.now());
        assert_eq!(since("9999y").unwrap(), "1970-01-01T00:00:00Z");
        assert!(since("yesterday").is_err());
    }
}
