//! Counting, collecting, publishing and reading, as threads and servers do it; each part by itself is tested beside it.

use super::*;
use crate::domain::{
    decision::Challenge,
    policy::{Matcher, Rule},
};

const NO_RULE: Decision<'static> = Decision::Deny(Reason::NoRule);
const CHALLENGE: Decision<'static> =
    Decision::Challenge(Challenge { reason: Reason::NoCredential, invalid_token: false, basic: false, sign_in: false });

fn at(step: i64) -> Timestamp {
    Timestamp::from_millis((200_000_000 + step) * STEP_MILLIS)
}

fn policy(names: &[&str]) -> Policy {
    let rule = |name: &&str| Rule { name: (*name).to_owned(), matcher: Matcher::default(), demand: None, body_ignored: false };
    Policy::new(names.iter().map(rule).collect())
}

fn state() -> State {
    State { store_answers: true, ages_ms: [Some(3), None], remembered: 7 }
}

fn said(counts: &Counts, now: Timestamp, policy: &Policy) -> (ReplicaId, Report) {
    let text = counts.report(now, policy, state()).to_text();
    (counts.replica().clone(), Report::parse(&text).unwrap_or_else(|| panic!("{text}")))
}

fn check(counts: &Counts, decision: &Decision<'_>, rule: Option<&str>) {
    let sample = counts.sample();
    counts.count(decision, rule, sample);
}

#[test]
fn the_reasons_are_counted_at_the_places_of_their_names() {
    for (place, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!((reason as usize, reason_word(place)), (place, reason.code()));
    }
    assert_eq!(reason_word(REASONS - 1), CODE_REFUSED);
}

#[test]
fn what_threads_and_servers_count_adds_up() {
    let servers = [Counts::new(at(0)), Counts::new(at(1))];
    let rules = policy(&["first", "second", "never"]);
    std::thread::scope(|scope| {
        for counts in &servers {
            for _ in 0..3 {
                scope.spawn(|| {
                    for number in 0..1_000 {
                        check(counts, &CHALLENGE, Some("first"));
                        if number % 10 == 0 {
                            check(counts, &NO_RULE, None);
                        }
                    }
                    check(counts, &Decision::Unavailable(Reason::Busy), Some("second"));
                    counts.count_code_refused();
                });
            }
        }
    });
    for counts in &servers {
        counts.collect(at(2));
    }
    let reports = servers.each_ref().map(|counts| said(counts, at(2), &rules));
    let overview = Overview::new(&reports, at(2));
    assert_eq!(overview.until, at(2));
    assert_eq!(overview.totals(), [0, 6_000, 606, 6]);
    assert_eq!(overview.decisions[1][STEPS - 1], 6_000, "all in the last step");
    let refusals = [("no_credential", 6_000), ("no_rule", 600), ("busy", 6), ("code_refused", 6)];
    assert_eq!(overview.refusals, refusals.map(|(reason, count)| (reason.to_owned(), count)));
    assert_eq!(overview.replicas.iter().map(|replica| replica.checks).collect::<Vec<_>>(), [3_306; 2]);
    assert!(overview.latencies[MINUTES - 1].is_some_and(|took| took.p50 <= took.p99));
    let RuleHits { hits, since, counted, others } = RuleHits::new(&reports, &rules, at(2));
    assert_eq!((hits, since, counted, others), (vec![Some(6_000), Some(6), Some(0)], Some(at(0)), 2, 0));
    let changed = RuleHits::new(&reports, &policy(&["other"]), at(2));
    assert_eq!((changed.hits, changed.counted, changed.others), (vec![None], 0, 2), "nobody has these rules");
}

#[test]
fn a_check_is_counted_in_its_step_and_for_an_hour() {
    let counts = Counts::new(at(0));
    let rules = Policy::default();
    let steps = i64::try_from(STEPS).unwrap();
    counts.collect(at(0));
    check(&counts, &NO_RULE, None);
    // A timer is never quite right.
    counts.collect(Timestamp::from_millis(at(1).as_millis() + 20));
    for _ in 0..5 {
        check(&counts, &NO_RULE, None);
    }
    counts.collect(at(4));
    let denied = |now| Overview::new(&[said(&counts, now, &rules)], now).decisions[2].clone();
    assert_eq!(denied(at(4))[STEPS - 4..], [1, 0, 0, 5]);
    // Not yet published: what is missing at others is waited for, and then it is missing.
    assert_eq!(denied(at(6))[STEPS - 4..], [1, 0, 0, 5]);
    assert_eq!(denied(at(8))[STEPS - 8..], [1, 0, 0, 5, 0, 0, 0, 0]);
    // Somebody sets the clock back: nothing is lost.
    check(&counts, &NO_RULE, None);
    counts.collect(at(2));
    assert_eq!(denied(at(4))[STEPS - 4..], [1, 0, 0, 6]);
    counts.collect(at(steps));
    assert_eq!(denied(at(steps))[..4], [1, 0, 0, 6]);
    counts.collect(at(steps + 1));
    assert_eq!(denied(at(steps + 1))[..4], [0, 0, 6, 0]);
    assert_eq!(denied(at(9 * steps)), [0; STEPS]);
}

#[test]
fn who_has_not_been_heard_of_is_gone_and_what_it_counted_stays() {
    let (here, gone) = (Counts::new(at(1)), Counts::new(at(0)));
    let rules = policy(&["a"]);
    check(&gone, &NO_RULE, Some("a"));
    gone.collect(at(1));
    here.collect(at(1));
    let last_words = said(&gone, at(1), &rules);
    for (now, is_gone) in [(at(3), false), (at(9), true)] {
        here.collect(now);
        let reports = [last_words.clone(), said(&here, now, &rules)];
        let overview = Overview::new(&reports, now);
        let gone: Vec<_> = overview.replicas.iter().filter(|replica| replica.gone).map(|replica| replica.id.clone()).collect();
        assert_eq!(gone, if is_gone { vec![last_words.0.clone()] } else { Vec::new() });
        assert_eq!((overview.totals()[2], overview.replicas.len()), (1, 2));
        assert_eq!(RuleHits::new(&reports, &rules, now).hits, [Some(1)]);
    }
}

#[test]
fn a_report_stays_small_whatever_was_counted() {
    let counts = Counts::new(at(0));
    let names: Vec<_> = (0..1_100).map(|number| format!("rule {number} {}", "x".repeat(80))).collect();
    let rules = policy(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let steps = i64::try_from(STEPS).unwrap();
    let mut history = lock(&counts.history);
    let mut totals = Totals::default();
    for step in 0..=steps {
        totals.outcomes.iter_mut().chain(&mut totals.reasons).chain(&mut totals.latencies).for_each(|count| *count += 123_456_789);
        for number in 0..100 {
            history.names_at(at(step)).keys.add(&format!("{:012}", number % 30), u64::from(u32::MAX));
            history.names_at(at(step)).sites.add(&format!("{number:064}"), u64::from(u32::MAX));
        }
        history.add(at(step), &totals);
    }
    drop(history);
    let text = counts.report(at(steps), &rules, state()).to_text();
    assert!(text.len() <= 16 * 1024, "{}", text.len());
    let overview = Overview::new(&[(counts.replica().clone(), Report::parse(&text).unwrap())], at(steps));
    let [allowed, ..] = &overview.decisions;
    assert_eq!((allowed[0], allowed[STEPS - 1]), (0, 123_456_789), "the newest is kept");
    assert_eq!(Report::parse(&text.replace("{\"v\":1", "{\"v\":2")).map(drop), None);
    assert_eq!(Report::parse("{}").map(drop), None);
}

#[test]
fn a_strange_report_does_no_harm() {
    let counts = Counts::new(at(0));
    let (replica, report) = said(&counts, at(0), &Policy::default());
    for step in [i64::MIN, -1, 0, i64::MAX] {
        let odd = Report {
            step,
            decisions: std::array::from_fn(|_| vec![u64::MAX; 1_000]),
            latencies: vec![(usize::MAX, vec![u64::MAX; 100]), (0, vec![u64::MAX; 100])],
            keys: vec![("x".to_owned(), u64::MAX); 2],
            ..report.clone()
        };
        let overview = Overview::new(&[(replica.clone(), odd.clone()), (replica.clone(), odd)], at(0));
        assert_eq!(overview.decisions[0].len(), STEPS);
    }
}

#[test]
fn of_many_checks_one_in_so_many_is_looked_at() {
    let counts = Counts::new(at(0));
    let look = |checks: u64| {
        let samples = (0..checks).filter_map(|_| {
            let sample = counts.sample();
            counts.count(&NO_RULE, None, sample);
            sample.map(|sample| sample.stands_for)
        });
        samples.collect::<Vec<_>>()
    };
    assert_eq!(look(shard::IN_FULL), vec![1; usize::try_from(shard::IN_FULL).unwrap()]);
    let stood_for: u64 = look(640_000).iter().sum();
    assert!((600_000..680_000).contains(&stood_for), "{stood_for}");
    counts.collect(at(1));
    assert_eq!(look(3), [1; 3]);
}
