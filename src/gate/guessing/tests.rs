//! The limits within one process, on a store that is written as the directory writes it.

use std::{num::NonZeroU32, sync::atomic::AtomicI64, time::Duration};

use super::*;
use crate::store::{Change, Step, Stored, embedded::EmbeddedStore};

/// Stands still until it is told to go on.
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

struct Fixture {
    guessing: Arc<Guessing>,
    clock: Arc<TestClock>,
    store: Arc<dyn Store>,
    _medium: tempfile::TempDir,
}

const ADDRESS: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)));

fn fixture(rules: GuessingRules) -> Fixture {
    let medium = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(medium.path()).unwrap());
    let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000)));
    let guessing = Arc::new(Guessing::new(store.clone(), clock.clone(), rules));
    Fixture { guessing, clock, store, _medium: medium }
}

impl Fixture {
    async fn fails(&self, login: &str) -> Result<(), Refusal> {
        self.guessing.attempt(ADDRESS, login).await.map(Attempt::failed)
    }

    /// As the server does it in the background.
    async fn write_one(&self) -> bool {
        let Some(writing) = self.guessing.next() else { return false };
        let key = Key::Failures(writing.subject().name());
        let old = self.store.read(std::slice::from_ref(&key)).await.unwrap().pop().flatten();
        let old = old.map(|old| Failures::decode(&key, &old).unwrap());
        if let Some(recorded) = self.guessing.rules().record(writing.subject(), old.as_ref(), writing.times()) {
            let step = Step::PutUntil(key, recorded.failures.encode().unwrap(), recorded.until);
            self.store.commit(Change { steps: vec![step], ..Change::default() }).await.unwrap();
        }
        writing.done();
        true
    }
}

fn is_blocked<T>(result: &Result<T, Refusal>) -> bool {
    matches!(result, Err(Refusal::Blocked { until: Some(_) }))
}

#[tokio::test]
async fn a_limit_holds_whether_failures_are_written_or_not() {
    for write in [false, true] {
        let fixture = fixture(GuessingRules::default());
        for number in 0..21 {
            assert_eq!(fixture.fails(&format!("login{number}")).await, Ok(()), "{number}");
            while write && fixture.write_one().await {}
        }
        let refused = fixture.fails("login").await;
        let until = Timestamp::from_millis(1_800_000_000_000).checked_add(Duration::from_hours(1));
        assert_eq!(refused, Err(Refusal::Blocked { until }));
        assert!(fixture.guessing.attempt(None, "login").await.is_ok(), "only that address");
        while fixture.write_one().await {}
        fixture.clock.0.fetch_add(3_600_000, Ordering::Relaxed);
        assert_eq!(fixture.fails("login").await, Ok(()), "the block has decayed");
    }
}

#[tokio::test]
async fn a_login_is_blocked_whoever_tries_it() {
    let fixture = fixture(GuessingRules { per_address: None, ..GuessingRules::default() });
    for _ in 0..61 {
        assert_eq!(fixture.fails("Vera").await, Ok(()));
    }
    assert!(is_blocked(&fixture.guessing.attempt(None, "vera").await.map(drop)));
    assert!(fixture.guessing.attempt(ADDRESS, "ben").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_guesses_at_once_pass_no_limit() {
    let fixture = Arc::new(fixture(GuessingRules::default()));
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let fixture = fixture.clone();
            tokio::spawn(async move {
                let Ok(attempt) = fixture.guessing.attempt(ADDRESS, &format!("login{number}")).await else { return false };
                tokio::task::yield_now().await;
                attempt.failed();
                // Beside those that are still on their way.
                while fixture.write_one().await {}
                true
            })
        })
        .collect();
    let mut tried = 0;
    for task in tasks {
        tried += usize::from(task.await.unwrap());
    }
    assert_eq!(tried, 21);
    while fixture.write_one().await {}
    assert!(is_blocked(&fixture.fails("login").await));
    assert!(fixture.guessing.lock().counters.is_empty(), "nothing is kept that is written");
}

#[tokio::test]
async fn attempts_that_go_on_count_as_if_they_were_going_to_fail() {
    let fixture = fixture(GuessingRules { per_address: NonZeroU32::new(2), ..GuessingRules::default() });
    let mut going_on = Vec::new();
    for _ in 0..3 {
        going_on.push(fixture.guessing.attempt(ADDRESS, "vera").await.map_err(|_| ()).unwrap());
    }
    assert_eq!(fixture.fails("vera").await, Err(Refusal::Busy));
    going_on.pop();
    assert_eq!(fixture.fails("vera").await, Ok(()), "a good password makes room");
    assert_eq!(fixture.fails("vera").await, Err(Refusal::Busy));
    going_on.clear();
    assert_eq!(fixture.fails("vera").await, Ok(()));
}

#[tokio::test]
async fn nobody_is_let_through_while_a_failure_is_on_its_way() {
    let fixture = fixture(GuessingRules::default());
    fixture.fails("vera").await.unwrap();
    let writing = fixture.guessing.next().unwrap();
    let mut attempt = Box::pin(fixture.guessing.attempt(ADDRESS, "vera"));
    let waits = tokio::select! {
        biased;
        _ = &mut attempt => false,
        () = std::future::ready(()) => true,
    };
    assert!(waits);
    // The store has not taken it: it waits, and counts as before.
    drop(writing);
    assert!(attempt.await.is_ok());
    assert_eq!(fixture.guessing.lock().queue.len(), 2);
}

#[tokio::test]
async fn tokens_are_counted_apart_from_passwords_and_only_where_that_is_wanted() {
    let mut rules = GuessingRules { per_address: NonZeroU32::new(1), ..GuessingRules::default() };
    let silent = fixture(rules.clone());
    for _ in 0..100 {
        silent.guessing.token_failed(ADDRESS);
    }
    assert!(!silent.guessing.tokens_blocked(ADDRESS).await);
    assert!(silent.guessing.next().is_none());
    rules.tokens_per_address = NonZeroU32::new(3);
    let fixture = fixture(rules);
    for _ in 0..2 {
        fixture.fails("vera").await.unwrap();
    }
    assert!(is_blocked(&fixture.fails("vera").await));
    assert!(!fixture.guessing.tokens_blocked(ADDRESS).await);
    for _ in 0..4 {
        assert!(!fixture.guessing.tokens_blocked(ADDRESS).await);
        fixture.guessing.token_failed(ADDRESS);
    }
    assert!(fixture.guessing.tokens_blocked(ADDRESS).await);
    while fixture.write_one().await {}
    assert!(fixture.guessing.tokens_blocked(ADDRESS).await);
    assert!(!fixture.guessing.tokens_blocked(None).await);
}

#[tokio::test]
async fn what_finds_no_room_is_counted() {
    let mut fixture = fixture(GuessingRules { tokens_per_address: NonZeroU32::new(3), ..GuessingRules::default() });
    Arc::get_mut(&mut fixture.guessing).unwrap().most = 3;
    for number in 0..5 {
        fixture.guessing.token_failed(Some(std::net::Ipv4Addr::new(203, 0, 113, number).into()));
    }
    assert_eq!(fixture.guessing.take_dropped(), 2);
    assert_eq!(fixture.fails("vera").await, Err(Refusal::Busy));
    while fixture.write_one().await {}
    assert_eq!(fixture.fails("vera").await, Ok(()));
}

#[tokio::test]
async fn nobody_is_let_through_by_a_record_that_cannot_be_read() {
    let fixture = fixture(GuessingRules::default());
    let key = Key::Failures(Subject::login("vera").unwrap().name());
    let stored = Stored { version: 1, json: "{\"version\":1}".to_owned() };
    fixture.store.commit(Change { steps: vec![Step::Put(key, stored)], ..Change::default() }).await.unwrap();
    let refused = fixture.guessing.attempt(None, "vera").await.map(drop);
    assert!(matches!(refused, Err(Refusal::Store(error)) if !error.transient));
    assert!(fixture.guessing.lock().counters.is_empty());
}
