//! What servers have counted, as people read it.

use askama::Template;

use super::super::super::{
    chart::{Chart, Series, bar},
    times::Shown,
};
use crate::{
    counts::{Outcome, Overview, Percentiles, Replica},
    directory::Lately,
    domain::time::Timestamp,
};

/// Steps of ten seconds in one point of the picture.
const STEPS_IN_POINT: usize = 3;
const SECONDS_IN_POINT: f64 = 30.0;
/// How many reasons are shown.
const REASONS: usize = 8;
/// Somebody who has learnt of nothing for longer is behind.
const BEHIND_MS: u64 = 1_000;

/// All pictures of the page: the part of it that follows by itself.
#[derive(Template)]
#[template(path = "portal/admin/overview/pictures.html")]
pub(super) struct Pictures {
    until: Shown,
    checks: String,
    allowed: String,
    latency: Option<(String, String)>,
    living: usize,
    store: Mark,
    decisions: Chart,
    latencies: Chart,
    refusals: Vec<Bar>,
    keys: Vec<KeyBar>,
    sites: Vec<Bar>,
    replicas: Vec<ReplicaShown>,
    is_idle: bool,
}

/// A name and how often it comes.
struct Bar {
    name: String,
    count: String,
    /// In hundredths of the longest.
    length: u64,
}

/// A key, and how often it comes.
struct KeyBar {
    bar: Bar,
    /// What it is called and whose it is, unless it is gone.
    named: Option<(String, String)>,
}

/// How something is.
#[derive(Clone, Copy)]
struct Mark {
    /// Of a tag.
    class: &'static str,
    text: &'static str,
}

struct ReplicaShown {
    id: String,
    version: String,
    mark: Mark,
    directory: String,
    sessions: String,
    said: Shown,
    started: Shown,
    remembered: String,
    checks: String,
    share: String,
    /// The same in hundredths.
    length: u64,
}

impl Pictures {
    pub fn new(Lately { counted: overview, keys: mut named }: Lately, now: Timestamp) -> Self {
        let totals = overview.totals();
        let all = totals.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
        let (decisions, latencies) = (decisions(&overview, totals, all), latencies(&overview));
        let Overview { until, refusals, latency, keys, sites, replicas, .. } = overview;
        let key = |bar: Bar| {
            let named = named.remove(&bar.name).map(|(name, account)| (name.as_str().to_owned(), account.to_string()));
            KeyBar { bar, named }
        };
        let away = replicas.iter().any(|replica| !replica.gone && !replica.state.store_answers);
        Self {
            until: Shown::new(until, now),
            checks: grouped(all),
            allowed: percent(totals[0], all),
            latency: latency.map(|Percentiles { p50, p99 }| (micros(p50), micros(p99))),
            living: replicas.iter().filter(|replica| !replica.gone).count(),
            store: if away { Mark { class: "bad", text: "away from some" } } else { Mark { class: "", text: "answers all" } },
            decisions,
            latencies,
            refusals: bars(refusals.into_iter().take(REASONS).collect(), ""),
            keys: bars(keys, "about ").into_iter().map(key).collect(),
            sites: bars(sites, "about "),
            replicas: replicas.into_iter().map(|replica| ReplicaShown::new(replica, all, now)).collect(),
            is_idle: all == 0,
        }
    }
}

impl ReplicaShown {
    fn new(replica: Replica, all: u64, now: Timestamp) -> Self {
        let Replica { id, version, started_at, said_at, gone, state, checks, .. } = replica;
        let is_behind = state.ages_ms.iter().any(|age| age.is_none_or(|age| age > BEHIND_MS));
        let mark = match (gone, state.store_answers, is_behind) {
            (true, ..) => Mark { class: "off", text: "Gone" },
            (false, false, _) => Mark { class: "bad", text: "Store away" },
            (false, true, true) => Mark { class: "warn", text: "Behind" },
            (false, true, false) => Mark { class: "", text: "Fresh" },
        };
        let [directory, sessions] = state.ages_ms.map(age);
        Self {
            id: id.to_string(),
            version,
            mark,
            directory,
            sessions,
            said: Shown::new(said_at, now),
            started: Shown::new(started_at, now),
            remembered: grouped(state.remembered),
            checks: grouped(checks),
            share: percent(checks, all),
            length: bar(checks, all.max(1)),
        }
    }
}

/// Up to when all changes are known.
fn age(age_ms: Option<u64>) -> String {
    match age_ms {
        None => "unknown".to_owned(),
        Some(0) => "now".to_owned(),
        Some(age) => format!("{} ago", duration(age)),
    }
}

fn duration(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format!("{} minutes", millis / 60_000),
    }
}

fn decisions(overview: &Overview, totals: [u64; Outcome::ALL.len()], all: u64) -> Chart {
    let words = [("Allowed", "allow"), ("Challenged", "challenge"), ("Denied", "deny"), ("Unavailable", "unavailable")];
    let series = words.into_iter().zip(&overview.decisions).zip(totals).map(|(((label, class), counts), total)| {
        let points = counts.chunks(STEPS_IN_POINT).map(|steps| Some(float(steps.iter().sum()) / SECONDS_IN_POINT));
        Series { label, class, values: points.collect(), sum: grouped(total) }
    });
    let description = format!(
        "Stacked areas over the last hour: of {} checks, {} were allowed, {} challenged, {} denied, and {} found no answer.",
        grouped(all),
        grouped(totals[0]),
        grouped(totals[1]),
        grouped(totals[2]),
        grouped(totals[3])
    );
    Chart::areas("decisions", "Decisions per second", description, series.collect(), rate)
}

/// One of both percentiles.
type Pick = fn(&Percentiles) -> f64;

fn latencies(overview: &Overview) -> Chart {
    let of = |pick: Pick| overview.latencies.iter().map(|minute| minute.as_ref().map(pick)).collect();
    let sum = |pick: Pick| overview.latency.as_ref().map_or_else(|| "none".to_owned(), |of| micros(pick(of)));
    let (half, most): (Pick, Pick) = (|took| took.p50, |took| took.p99);
    let description = format!(
        "Two lines over the last hour: half of all checks took at most {}, and 99 of 100 at most {}.",
        sum(half),
        sum(most)
    );
    let series = vec![
        Series { label: "99 of 100 within", class: "most", values: of(most), sum: sum(most) },
        Series { label: "Half within", class: "half", values: of(half), sum: sum(half) },
    ];
    Chart::lines("latencies", "How long checks took", description, series, micros)
}

fn bars(counts: Vec<(String, u64)>, about: &str) -> Vec<Bar> {
    let longest = counts.first().map_or(0, |(_, count)| *count);
    let bar = |(name, count): (String, u64)| Bar { count: format!("{about}{}", grouped(count)), length: bar(count, longest), name };
    counts.into_iter().map(bar).collect()
}

#[expect(clippy::cast_precision_loss, reason = "to an eye, these are round figures")]
fn float(count: u64) -> f64 {
    count as f64
}

/// `1,234,567`.
pub(in crate::portal) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn percent(part: u64, all: u64) -> String {
    if all == 0 {
        return "–".to_owned();
    }
    // All is said of all of them only.
    let tenths = (float(part) / float(all) * 1000.0).floor() / 10.0;
    format!("{tenths} %")
}

fn rate(per_second: f64) -> String {
    let text = if per_second >= 10.0 { grouped(rounded(per_second)) } else { short(per_second) };
    format!("{text}/s")
}

fn micros(micros: f64) -> String {
    let (number, unit) = match micros {
        ..1_000.0 => (micros, "µs"),
        1_000.0..1_000_000.0 => (micros / 1_000.0, "ms"),
        _ => (micros / 1_000_000.0, "s"),
    };
    let number = if number >= 10.0 { rounded(number).to_string() } else { short(number) };
    format!("{number} {unit}")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is counted or measured is none of that")]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

/// With two digits behind the point at most.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([percent(0, 0), percent(2, 3), percent(7, 7), percent(9_999, 10_000)], ["–", "66.6 %", "100 %", "99.9 %"]);
        assert_eq!([0.0, 0.025, 0.5, 5.0, 12.0, 5_000.0].map(rate), ["0/s", "0.03/s", "0.5/s", "5/s", "12/s", "5,000/s"]);
        assert_eq!([0.768, 9.99, 400.2, 1_500.0, 2_000_000.0].map(micros), ["0.77 µs", "9.99 µs", "400 µs", "1.5 ms", "2 s"]);
        assert_eq!(
            [None, Some(0), Some(120), Some(2_340), Some(200_000)].map(age),
            ["unknown", "now", "120 ms ago", "2.3 s ago", "3 minutes ago"]
        );
    }
}
