//! What a store promises, asked of every store there is. A new one is one more line in [`conformance!`].
//!
//! Below the suite is what only one kind of store can be asked: servers that go away, files that are opened twice.

use std::{
    any::Any,
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::Arc,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use keygate::{
    domain::{account::Format, id::AccountId},
    store::{
        Change, CommitError, Expect, Index, Key, Record as _, Step, Store, StoreError, Stored,
        embedded::{EmbeddedStore, OpenError},
        record::{HostClaim, NameClaim},
        redis::{InvalidOptions, RedisOptions, RedisStore},
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

use crate::support::redis::{Program, Server, command};

/// A store, and what must live as long as it does.
struct Fixture {
    store: Arc<dyn Store>,
    _medium: Box<dyn Any + Send>,
}

fn embedded() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    Fixture { store: Arc::new(EmbeddedStore::open(directory.path()).unwrap()), _medium: Box::new(directory) }
}

fn served_by(program: Program) -> Fixture {
    let server = Server::start(program);
    Fixture { store: Arc::new(patient(&server)), _medium: Box::new(server) }
}

fn options(url: &str, timeout: Duration) -> RedisOptions {
    RedisOptions { url: url.into(), prefix: "kg:".to_owned(), timeout }
}

/// Waits so long that a busy machine is no failure.
fn patient(server: &Server) -> RedisStore {
    RedisStore::new(&options(&server.url(), Duration::from_secs(30))).unwrap()
}

/// Gives up as soon as a server would in production.
fn hasty(server: &Server) -> RedisStore {
    RedisStore::new(&options(&server.url(), Duration::from_millis(150))).unwrap()
}

macro_rules! conformance {
    ($($store:ident: $fixture:expr;)+) => {
        $(mod $store {
            use super::*;
            conformance!(@cases $fixture;
                reads_its_own_writes,
                a_key_without_a_record_is_none_in_its_place,
                every_kind_of_expectation_holds_or_stops_all_of_a_change,
                the_conflict_names_the_first_key_that_was_not_as_expected,
                one_change_puts_deletes_and_indexes,
                steps_are_taken_in_their_order,
                a_change_without_expectations_or_steps_is_applied,
                of_concurrent_writers_exactly_one_wins,
                no_increment_is_lost_between_concurrent_writers,
                conflicts_take_nothing_else_with_them,
                pages_have_an_order_a_cursor_and_an_end,
                members_sort_by_their_bytes,
                ten_thousand_members_are_paged_once_each,
                adding_twice_is_adding_once,
                indexes_do_not_mix,
                large_records_come_back_whole,
                keys_and_members_may_have_odd_characters,
                readers_never_see_half_a_change,
                a_damaged_record_is_an_error_and_not_absent,
                a_record_of_a_future_format_is_an_error_and_not_absent,
                a_damaged_record_can_be_replaced,
                versions_are_exact_up_to_their_limit,
                random_changes_agree_with_a_model,
                answers_a_ping,
            );
        })+
    };
    (@cases $fixture:expr; $($case:ident,)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let fixture = $fixture;
            super::$case(Arc::clone(&fixture.store)).await;
        })+
    };
}

conformance! {
    in_embedded: embedded();
    in_redis: served_by(Program::Redis);
    in_valkey: served_by(Program::Valkey);
}

fn name(text: impl Into<String>) -> Key {
    Key::Name(text.into())
}

fn record(version: u64, text: &str) -> Stored {
    Stored { version, json: serde_json::json!({ "v": 1, "text": text, "version": version }).to_string() }
}

fn steps(steps: impl IntoIterator<Item = Step>) -> Change {
    Change { expect: Vec::new(), steps: steps.into_iter().collect() }
}

fn put(key: &Key, version: u64) -> Step {
    Step::Put(key.clone(), record(version, ""))
}

fn add(index: &Index, member: &str) -> Step {
    Step::AddTo(index.clone(), member.to_owned())
}

fn remove(index: &Index, member: &str) -> Step {
    Step::RemoveFrom(index.clone(), member.to_owned())
}

async fn get(store: &dyn Store, key: &Key) -> Option<Stored> {
    store.read(std::slice::from_ref(key)).await.unwrap().remove(0)
}

async fn version(store: &dyn Store, key: &Key) -> Option<u64> {
    get(store, key).await.map(|stored| stored.version)
}

async fn members(store: &dyn Store, index: &Index) -> Vec<String> {
    store.page(index, None, 100_000).await.unwrap().members
}

fn index_of(text: &str) -> Index {
    // Account ids are random; these are told apart by a generator that is not.
    let seed = text.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
    Index::TokensOf(AccountId::generate(&mut StdRng::seed_from_u64(seed)))
}

async fn reads_its_own_writes(store: Arc<dyn Store>) {
    let key = name("anna");
    assert_eq!(get(&*store, &key).await, None);
    for version in 1..20 {
        let stored = record(version, "käse");
        store.commit(steps([Step::Put(key.clone(), stored.clone())])).await.unwrap();
        assert_eq!(get(&*store, &key).await, Some(stored));
    }
    store.commit(steps([Step::Delete(key.clone())])).await.unwrap();
    assert_eq!(get(&*store, &key).await, None);
}

async fn a_key_without_a_record_is_none_in_its_place(store: Arc<dyn Store>) {
    let keys: Vec<Key> = (0..300).map(|n| name(n.to_string())).collect();
    store.commit(steps(keys.iter().step_by(3).map(|key| put(key, 1)))).await.unwrap();
    let read = store.read(&keys).await.unwrap();
    assert_eq!(read.len(), keys.len());
    for (n, stored) in read.iter().enumerate() {
        assert_eq!(stored.is_some(), n % 3 == 0, "{n}");
    }
    // The same key twice, and none at all.
    let twice = store.read(&[keys[0].clone(), keys[1].clone(), keys[0].clone()]).await.unwrap();
    assert_eq!(twice, [Some(record(1, "")), None, Some(record(1, ""))]);
    assert_eq!(store.read(&[]).await.unwrap(), []);
}

async fn every_kind_of_expectation_holds_or_stops_all_of_a_change(store: Arc<dyn Store>) {
    let (present, absent) = (name("present"), name("absent"));
    store.commit(steps([put(&present, 5)])).await.unwrap();
    let (victim, index) = (name("victim"), Index::Accounts);
    store.commit(steps([put(&victim, 1), add(&index, "old")])).await.unwrap();

    let failing = [
        (&present, Expect::Absent),
        (&present, Expect::Version(4)),
        (&present, Expect::Version(6)),
        (&present, Expect::Version(0)),
        (&absent, Expect::Present),
        (&absent, Expect::Version(5)),
        (&absent, Expect::Version(0)),
    ];
    for (key, expect) in failing {
        let change = Change {
            expect: vec![(victim.clone(), Expect::Present), (key.clone(), expect)],
            steps: vec![put(&present, 9), put(&absent, 9), Step::Delete(victim.clone()), add(&index, "new"), remove(&index, "old")],
        };
        assert_eq!(store.commit(change).await, Err(CommitError::Conflict(key.clone())), "{expect:?}");
        assert_eq!(version(&*store, &present).await, Some(5), "{expect:?}");
        assert_eq!(version(&*store, &absent).await, None, "{expect:?}");
        assert_eq!(version(&*store, &victim).await, Some(1), "{expect:?}");
        assert_eq!(members(&*store, &index).await, ["old"], "{expect:?}");
    }

    for (key, expect) in [(&absent, Expect::Absent), (&present, Expect::Version(5)), (&present, Expect::Present)] {
        let change = Change { expect: vec![(key.clone(), expect)], steps: vec![add(&index, &format!("{expect:?}"))] };
        assert_eq!(store.commit(change).await, Ok(()), "{expect:?}");
    }
    assert_eq!(members(&*store, &index).await.len(), 4);
}

async fn the_conflict_names_the_first_key_that_was_not_as_expected(store: Arc<dyn Store>) {
    let keys: Vec<Key> = (0..5).map(|n| name(n.to_string())).collect();
    store.commit(steps([put(&keys[1], 1), put(&keys[3], 1)])).await.unwrap();
    let change = Change { expect: keys.iter().map(|key| (key.clone(), Expect::Absent)).collect(), steps: Vec::new() };
    assert_eq!(store.commit(change).await, Err(CommitError::Conflict(keys[1].clone())));
}

async fn one_change_puts_deletes_and_indexes(store: Arc<dyn Store>) {
    let (old, new) = (name("old"), name("new"));
    store.commit(steps([put(&old, 1), add(&Index::Accounts, "old"), add(&Index::Sites, "stays")])).await.unwrap();
    let change = Change {
        expect: vec![(old.clone(), Expect::Version(1)), (new.clone(), Expect::Absent)],
        steps: vec![
            Step::Delete(old.clone()),
            put(&new, 1),
            remove(&Index::Accounts, "old"),
            add(&Index::Accounts, "new"),
            remove(&Index::Tokens, "never there"),
            Step::Delete(name("never there")),
        ],
    };
    store.commit(change).await.unwrap();
    assert_eq!(store.read(&[old, new]).await.unwrap(), [None, Some(record(1, ""))]);
    assert_eq!(members(&*store, &Index::Accounts).await, ["new"]);
    assert_eq!(members(&*store, &Index::Sites).await, ["stays"]);
}

async fn steps_are_taken_in_their_order(store: Arc<dyn Store>) {
    let (kept, gone) = (name("kept"), name("gone"));
    let change = steps([
        put(&kept, 1),
        Step::Delete(kept.clone()),
        put(&kept, 2),
        put(&gone, 1),
        Step::Delete(gone.clone()),
        remove(&Index::Sites, "kept"),
        add(&Index::Sites, "kept"),
        add(&Index::Sites, "gone"),
        remove(&Index::Sites, "gone"),
    ]);
    store.commit(change).await.unwrap();
    assert_eq!(store.read(&[kept, gone]).await.unwrap(), [Some(record(2, "")), None]);
    assert_eq!(members(&*store, &Index::Sites).await, ["kept"]);
}

async fn a_change_without_expectations_or_steps_is_applied(store: Arc<dyn Store>) {
    assert_eq!(store.commit(Change::default()).await, Ok(()));
}

async fn of_concurrent_writers_exactly_one_wins(store: Arc<dyn Store>) {
    let key = name("contested");
    store.commit(steps([put(&key, 1)])).await.unwrap();
    for before in 1..20 {
        let writers = (0..16).map(|writer| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                let stored = record(before + 1, &writer.to_string());
                let change = Change {
                    expect: vec![(key.clone(), Expect::Version(before))],
                    steps: vec![Step::Put(key.clone(), stored.clone())],
                };
                match store.commit(change).await {
                    Ok(()) => Some(stored),
                    Err(CommitError::Conflict(lost)) if lost == key => None,
                    Err(error) => panic!("{error}"),
                }
            })
        });
        let winners: Vec<Stored> = join_all(writers).await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(get(&*store, &key).await.as_ref(), winners.first());
    }
}

async fn no_increment_is_lost_between_concurrent_writers(store: Arc<dyn Store>) {
    let key = name("counter");
    store.commit(steps([put(&key, 0)])).await.unwrap();
    let writers = (0..8).map(|_| {
        let (store, key) = (Arc::clone(&store), key.clone());
        tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let before = version(&*store, &key).await.unwrap();
                    let change =
                        Change { expect: vec![(key.clone(), Expect::Version(before))], steps: vec![put(&key, before + 1)] };
                    match store.commit(change).await {
                        Ok(()) => break,
                        Err(CommitError::Conflict(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    assert_eq!(version(&*store, &key).await, Some(200));
}

async fn conflicts_take_nothing_else_with_them(store: Arc<dyn Store>) {
    let taken = name("taken");
    store.commit(steps([put(&taken, 1)])).await.unwrap();
    let changes = (0..600).map(|n| {
        let key = name(n.to_string());
        let expect = if n % 3 == 0 { (taken.clone(), Expect::Absent) } else { (key.clone(), Expect::Absent) };
        store.commit(Change { expect: vec![expect], steps: vec![put(&key, 1), add(&Index::Accounts, &format!("{n:03}"))] })
    });
    let outcomes = join_all(changes).await;
    let applied: Vec<String> = members(&*store, &Index::Accounts).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let expected = if n % 3 == 0 { Err(CommitError::Conflict(taken.clone())) } else { Ok(()) };
        assert_eq!(outcome, expected);
        assert_eq!(version(&*store, &name(n.to_string())).await.is_some(), n % 3 != 0);
        assert_eq!(applied.contains(&format!("{n:03}")), n % 3 != 0);
    }
}

async fn pages_have_an_order_a_cursor_and_an_end(store: Arc<dyn Store>) {
    let index = Index::Accounts;
    let empty = store.page(&index, None, 10).await.unwrap();
    assert_eq!((empty.members.as_slice(), empty.more), (&[][..], false));

    store.commit(steps(["d", "b", "a", "e", "c"].map(|member| add(&index, member)))).await.unwrap();
    let cases: [(Option<&str>, usize, &[&str], bool); 12] = [
        (None, 10, &["a", "b", "c", "d", "e"], false),
        (None, 5, &["a", "b", "c", "d", "e"], false),
        (None, 4, &["a", "b", "c", "d"], true),
        (None, usize::MAX, &["a", "b", "c", "d", "e"], false),
        (None, 0, &[], true),
        (Some("b"), 2, &["c", "d"], true),
        (Some("b"), 3, &["c", "d", "e"], false),
        (Some("e"), 1, &[], false),
        (Some("e"), 0, &[], false),
        // A cursor need not be a member: it may have been removed since.
        (Some("bb"), 1, &["c"], true),
        (Some(""), 1, &["a"], true),
        (Some("z"), 9, &[], false),
    ];
    for (after, limit, expected, more) in cases {
        let page = store.page(&index, after, limit).await.unwrap();
        assert_eq!((page.members, page.more), (expected.iter().map(|&m| m.to_owned()).collect(), more), "{after:?} {limit}");
    }

    store.commit(steps(["a", "b", "c", "d", "e"].map(|member| remove(&index, member)))).await.unwrap();
    assert_eq!(members(&*store, &index).await, [""; 0]);
}

async fn members_sort_by_their_bytes(store: Arc<dyn Store>) {
    let mut all = [
        "", "a", "A", "b", "aa", "a\u{1}", "Z", "z", "é", "e\u{301}", "ß", "ss", "ж", "漢", "\u{ffff}", "😀", "-", "(", "[", "+",
        "10", "9",
    ];
    store.commit(steps(all.map(|member| add(&Index::Sites, member)))).await.unwrap();
    all.sort_unstable();
    assert_eq!(members(&*store, &Index::Sites).await, all);
    for (n, after) in all.iter().enumerate() {
        let page = store.page(&Index::Sites, Some(after), 1).await.unwrap();
        assert_eq!(page.members.first().map(String::as_str), all.get(n + 1).copied(), "{after:?}");
        assert_eq!(page.more, n + 2 < all.len(), "{after:?}");
    }
}

async fn ten_thousand_members_are_paged_once_each(store: Arc<dyn Store>) {
    let all: Vec<String> = (0..10_000).map(|n| format!("member-{n:05}")).collect();
    for chunk in all.chunks(1000) {
        store.commit(steps(chunk.iter().rev().map(|member| add(&Index::Tokens, member)))).await.unwrap();
    }
    let (mut paged, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = store.page(&Index::Tokens, after.as_deref(), 333).await.unwrap();
        assert!(page.members.len() == 333 || !page.more);
        after = page.members.last().cloned();
        paged.extend(page.members);
        if !page.more {
            break;
        }
    }
    assert!(paged == all);
}

async fn adding_twice_is_adding_once(store: Arc<dyn Store>) {
    let index = Index::Superusers;
    store.commit(steps([add(&index, "x"), add(&index, "x")])).await.unwrap();
    store.commit(steps([add(&index, "x")])).await.unwrap();
    assert_eq!(members(&*store, &index).await, ["x"]);
    store.commit(steps([remove(&index, "x"), remove(&index, "x")])).await.unwrap();
    assert_eq!(members(&*store, &index).await, [""; 0]);
}

async fn indexes_do_not_mix(store: Arc<dyn Store>) {
    let indexes = [Index::Accounts, Index::Sites, Index::Tokens, Index::Superusers, index_of("one"), index_of("two")];
    store.commit(steps(indexes.iter().enumerate().map(|(n, index)| add(index, &n.to_string())))).await.unwrap();
    for (n, index) in indexes.iter().enumerate() {
        assert_eq!(members(&*store, index).await, [n.to_string()]);
    }
    // Nor with records of the same name.
    assert_eq!(get(&*store, &name("accounts")).await, None);
}

async fn large_records_come_back_whole(store: Arc<dyn Store>) {
    let keys: Vec<Key> = (0..10).map(|n| name(n.to_string())).collect();
    let large: Vec<Stored> = (0..10).map(|n| record(7, &format!("{n}é").repeat(34_000))).collect();
    let all = keys.iter().zip(&large).map(|(key, stored)| Step::Put(key.clone(), stored.clone()));
    store.commit(steps(all)).await.unwrap();
    let read = store.read(&keys).await.unwrap();
    assert!(read.into_iter().map(Option::unwrap).eq(large));
    let change = Change { expect: vec![(keys[0].clone(), Expect::Version(7))], steps: vec![put(&keys[0], 8)] };
    store.commit(change).await.unwrap();
    assert_eq!(version(&*store, &keys[0]).await, Some(8));
}

async fn keys_and_members_may_have_odd_characters(store: Arc<dyn Store>) {
    let odd = [
        "",
        " ",
        "a b",
        "a\nb",
        "a\r\nb",
        "'; DROP TABLE record; --",
        "\"",
        "%s",
        "{x}",
        "}",
        "*",
        "a*",
        "\\",
        "é",
        "e\u{301}",
        "😀",
        "a\0b",
        "a",
    ];
    for (n, text) in odd.iter().enumerate() {
        let version = n as u64 + 1;
        let change = steps([Step::Put(name(*text), record(version, text)), add(&Index::Accounts, text)]);
        store.commit(change).await.unwrap();
    }
    for (n, text) in odd.iter().enumerate() {
        assert_eq!(get(&*store, &name(*text)).await, Some(record(n as u64 + 1, text)), "{text:?}");
    }
    assert_eq!(
        members(&*store, &Index::Accounts).await.into_iter().collect::<BTreeSet<_>>(),
        odd.iter().map(|&t| t.to_owned()).collect()
    );
    store.commit(steps(odd.iter().map(|text| Step::Delete(name(*text))))).await.unwrap();
    let keys = odd.map(name);
    assert_eq!(store.read(&keys).await.unwrap(), odd.map(|_| None));
}

async fn readers_never_see_half_a_change(store: Arc<dyn Store>) {
    let keys = [name("left"), name("right"), name("third")];
    store.commit(steps(keys.iter().map(|key| put(key, 0)))).await.unwrap();
    let readers: Vec<_> = (0..32)
        .map(|_| {
            let (store, keys) = (Arc::clone(&store), keys.clone());
            tokio::spawn(async move {
                let mut last = 0;
                while last < 100 {
                    let versions: Vec<u64> =
                        store.read(&keys).await.unwrap().into_iter().map(|stored| stored.unwrap().version).collect();
                    assert!(versions.iter().all(|&version| version == versions[0]), "{versions:?}");
                    assert!(versions[0] >= last, "went back in time");
                    last = versions[0];
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for version in 1..=100 {
        let expect = keys.iter().map(|key| (key.clone(), Expect::Version(version - 1))).collect();
        store.commit(Change { expect, steps: keys.iter().map(|key| put(key, version)).collect() }).await.unwrap();
        // Whoever begins to read now sees it.
        assert_eq!(self::version(&*store, &keys[1]).await, Some(version));
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

/// A store may refuse to read the record, or the record to be decoded: the end is the same.
async fn decode(store: &dyn Store, key: &Key) -> Result<NameClaim, StoreError> {
    let stored = store.read(std::slice::from_ref(key)).await?.remove(0).expect("the record is not absent");
    NameClaim::decode(&stored)
}

async fn a_damaged_record_is_an_error_and_not_absent(store: Arc<dyn Store>) {
    let claim = NameClaim { v: Format, account: AccountId::anonymous(), version: 3 };
    let key = name("claimed");
    let whole = claim.encode().unwrap();
    store.commit(steps([Step::Put(key.clone(), whole.clone())])).await.unwrap();
    assert_eq!(decode(&*store, &key).await, Ok(claim));

    let half = &whole.json[..whole.json.len() / 2];
    for json in [half, "", "null", "[]", "17", r#"{"version":3}"#, r#"{"v":1,"account":"x","version":-3}"#, "\u{0}", "not JSON"] {
        let damaged = Stored { version: 3, json: json.to_owned() };
        store.commit(steps([Step::Put(key.clone(), damaged)])).await.unwrap();
        let error = decode(&*store, &key).await.unwrap_err();
        assert!(!error.transient, "{json:?}: {error}");
        let taken = Change { expect: vec![(key.clone(), Expect::Absent)], steps: vec![put(&key, 1)] };
        assert_eq!(store.commit(taken).await, Err(CommitError::Conflict(key.clone())), "{json:?}");
    }
    // It is of another kind, and still not taken for it.
    assert!(HostClaim::decode(&whole).is_err());
}

async fn a_record_of_a_future_format_is_an_error_and_not_absent(store: Arc<dyn Store>) {
    let key = name("future");
    let future = Stored { version: 3, json: r#"{"v":2,"owner":{"account":"acc_anonymous"},"version":3}"#.to_owned() };
    store.commit(steps([Step::Put(key.clone(), future)])).await.unwrap();
    let error = decode(&*store, &key).await.unwrap_err();
    assert!(!error.transient && error.message.contains("NameClaim"), "{error}");
}

async fn a_damaged_record_can_be_replaced(store: Arc<dyn Store>) {
    let key = name("damaged");
    store.commit(steps([Step::Put(key.clone(), Stored { version: 1, json: "not JSON".to_owned() })])).await.unwrap();
    store.commit(Change { expect: vec![(key.clone(), Expect::Present)], steps: vec![put(&key, 2)] }).await.unwrap();
    assert_eq!(version(&*store, &key).await, Some(2));
}

async fn versions_are_exact_up_to_their_limit(store: Arc<dyn Store>) {
    let key = name("old and busy");
    let last = Stored::VERSION_LIMIT - 1;
    store.commit(steps([put(&key, last)])).await.unwrap();
    assert_eq!(version(&*store, &key).await, Some(last));
    for wrong in [last - 1, last + 1, last + 2, u64::MAX] {
        let change = Change { expect: vec![(key.clone(), Expect::Version(wrong))], steps: Vec::new() };
        assert_eq!(store.commit(change).await, Err(CommitError::Conflict(key.clone())), "{wrong}");
    }
    let change = Change { expect: vec![(key.clone(), Expect::Version(last))], steps: Vec::new() };
    assert_eq!(store.commit(change).await, Ok(()));

    let too_far = store.commit(steps([add(&Index::Sites, "not applied"), put(&key, last + 1)])).await;
    assert!(matches!(too_far, Err(CommitError::Store(StoreError { transient: false, .. }))), "{too_far:?}");
    assert_eq!(version(&*store, &key).await, Some(last));
    assert_eq!(members(&*store, &Index::Sites).await, [""; 0]);
}

/// The trait in its simplest form.
#[derive(Default)]
struct Model {
    records: std::collections::BTreeMap<String, Stored>,
    members: BTreeSet<(String, String)>,
}

impl Model {
    fn commit(&mut self, change: &Change) -> Result<(), CommitError> {
        for (key, expect) in &change.expect {
            let version = self.records.get(&key.name()).map(|stored| stored.version);
            let holds = match expect {
                Expect::Absent => version.is_none(),
                Expect::Present => version.is_some(),
                Expect::Version(expected) => version == Some(*expected),
            };
            if !holds {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        for step in change.steps.iter().cloned() {
            match step {
                Step::Put(key, stored) => drop(self.records.insert(key.name(), stored)),
                Step::Delete(key) => drop(self.records.remove(&key.name())),
                Step::AddTo(index, member) => drop(self.members.insert((index.name(), member))),
                Step::RemoveFrom(index, member) => drop(self.members.remove(&(index.name(), member))),
            }
        }
        Ok(())
    }
}

async fn random_changes_agree_with_a_model(store: Arc<dyn Store>) {
    let mut rng = StdRng::seed_from_u64(2026);
    let mut model = Model::default();
    let keys = ["a", "b", "c", "d"].map(name);
    let indexes = [Index::Accounts, Index::Sites];
    let mut conflicts = 0;
    for _ in 0..400 {
        let key = |rng: &mut StdRng| keys[rng.random_range(0..keys.len())].clone();
        let expect = (0..rng.random_range(0..3))
            .map(|_| {
                let expect = match rng.random_range(0..4) {
                    0 => Expect::Absent,
                    1 => Expect::Present,
                    _ => Expect::Version(rng.random_range(0..3)),
                };
                (key(&mut rng), expect)
            })
            .collect();
        let steps = (0..rng.random_range(0..6))
            .map(|_| {
                let index = indexes[rng.random_range(0..indexes.len())].clone();
                let member = rng.random_range(0..6).to_string();
                match rng.random_range(0..5) {
                    0 => Step::Delete(key(&mut rng)),
                    1 => Step::AddTo(index, member),
                    2 => Step::RemoveFrom(index, member),
                    _ => put(&key(&mut rng), rng.random_range(0..3)),
                }
            })
            .collect();
        let change = Change { expect, steps };
        let expected = model.commit(&change);
        conflicts += u32::from(expected.is_err());
        assert_eq!(store.commit(change.clone()).await, expected, "{change:?}");
        let records: Vec<_> = keys.iter().map(|key| model.records.get(&key.name()).cloned()).collect();
        assert_eq!(store.read(&keys).await.unwrap(), records, "{change:?}");
        for index in &indexes {
            let of_index: Vec<_> =
                model.members.iter().filter(|(name, _)| *name == index.name()).map(|(_, member)| member.clone()).collect();
            assert_eq!(members(&*store, index).await, of_index, "{change:?}");
        }
    }
    assert!((50..350).contains(&conflicts), "{conflicts} conflicts");
}

async fn answers_a_ping(store: Arc<dyn Store>) {
    assert_eq!(store.ping().await, Ok(()));
}

// Only of a store that is a server.

/// Asks until the error is not of the kind that goes away.
async fn eventually<T>(store: &RedisStore, key: &Key, is_there: impl Fn(&Option<Stored>) -> Option<T>) -> T {
    loop {
        match store.read(std::slice::from_ref(key)).await {
            Ok(read) => {
                if let Some(found) = is_there(&read[0]) {
                    return found;
                }
            }
            Err(error) => assert!(error.transient, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

fn store_error(outcome: Result<(), CommitError>) -> StoreError {
    match outcome {
        Err(CommitError::Store(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn says_that_it_is_open(error: &StoreError) -> bool {
    error.message.contains("may or may not have been applied")
}

#[tokio::test]
async fn redis_away_is_a_transient_error_and_back_again_it_works() {
    let mut server = Server::start(Program::Redis);
    let (store, key) = (hasty(&server), name("anna"));
    eventually(&store, &key, |stored| stored.is_none().then_some(())).await;
    store.commit(steps([put(&key, 1)])).await.unwrap();
    for _ in 0..3 {
        server.kill();
        assert!(store.read(std::slice::from_ref(&key)).await.unwrap_err().transient);
        let error = store_error(store.commit(steps([put(&key, 2)])).await);
        assert!(error.transient, "{error}");
        assert!(store.page(&Index::Sites, None, 1).await.unwrap_err().transient);
        assert!(store.ping().await.unwrap_err().transient);
        server.restart();
        // It comes back with nothing, also without the script.
        eventually(&store, &key, |stored| stored.is_none().then_some(())).await;
        store.commit(steps([put(&key, 3)])).await.unwrap();
        assert_eq!(version(&store, &key).await, Some(3));
    }
}

#[tokio::test]
async fn redis_may_be_away_at_the_start() {
    let mut server = Server::start(Program::Redis);
    server.kill();
    let store = hasty(&server);
    let error = store_error(store.commit(steps([put(&name("a"), 1)])).await);
    assert!(error.transient && !says_that_it_is_open(&error), "nothing listens, so nothing was sent: {error}");
    server.restart();
    eventually(&store, &name("a"), |stored| stored.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_script_flush_is_not_noticed() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let store = patient(&server);
        for version in 1..10 {
            let change = Change {
                expect: vec![(name("a"), if version == 1 { Expect::Absent } else { Expect::Version(version - 1) })],
                steps: vec![put(&name("a"), version)],
            };
            store.commit(change).await.unwrap();
            assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
        }
    }
}

#[tokio::test]
async fn a_frozen_redis_is_a_time_out_and_a_change_is_left_open() {
    let server = Server::start(Program::Redis);
    let (store, key) = (hasty(&server), name("a"));
    eventually(&store, &key, |stored| stored.is_none().then_some(())).await;
    // The script is known to Redis from here on; else the change would only be sent with the second question.
    patient(&server).commit(steps([put(&name("b"), 1)])).await.unwrap();
    server.freeze();
    let error = store.read(std::slice::from_ref(&key)).await.unwrap_err();
    assert!(error.transient, "{error}");
    let change = Change { expect: vec![(key.clone(), Expect::Absent)], steps: vec![put(&key, 1), add(&Index::Sites, "a")] };
    let error = store_error(store.commit(change).await);
    assert!(error.transient && says_that_it_is_open(&error), "{error}");
    // Nobody can connect either.
    let late = hasty(&server);
    assert!(late.ping().await.unwrap_err().transient);
    server.thaw();
    // It was sent, and is applied now: once, and whole.
    assert_eq!(eventually(&store, &key, Clone::clone).await.version, 1);
    assert_eq!(members(&store, &Index::Sites).await, ["a"]);
    eventually(&late, &key, Clone::clone).await;
}

#[tokio::test]
async fn a_busy_redis_is_transient_and_applies_nothing() {
    let server = Server::start_with(Program::Redis, &["--busy-reply-threshold", "1"]);
    let (store, key) = (patient(&server), name("a"));
    let port = server.port();
    let script = thread::spawn(move || command(port, &["EVAL", "while true do end", "0"]));
    let error = loop {
        if let Err(error) = store.read(std::slice::from_ref(&key)).await {
            break error;
        }
    };
    assert!(error.transient && error.message.contains("BUSY"), "{error}");
    let error = store_error(store.commit(steps([put(&key, 1)])).await);
    assert!(error.transient && !says_that_it_is_open(&error), "{error}");
    assert_eq!(server.command(&["SCRIPT", "KILL"]), "+OK");
    script.join().unwrap().unwrap();
    eventually(&store, &key, |stored| stored.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_replica_refuses_a_change_for_a_moment() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let (store, key) = (patient(&server), name("a"));
        store.commit(steps([put(&key, 1)])).await.unwrap();
        assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", "1"]), "+OK");
        let error = store_error(store.commit(steps([put(&key, 2), add(&Index::Sites, "a")])).await);
        assert!(error.transient && !says_that_it_is_open(&error), "{error}");
        assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
        assert_eq!(version(&store, &key).await, Some(1));
        store.commit(steps([put(&key, 2)])).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_redis_refuses_for_good_and_applies_nothing() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let (store, key) = (patient(&server), name("a"));
        store.commit(steps([put(&key, 1)])).await.unwrap();
        assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
        let error = store_error(store.commit(steps([Step::Delete(key.clone()), put(&name("b"), 2)])).await);
        assert!(!error.transient && !says_that_it_is_open(&error), "{error}");
        assert_eq!(version(&store, &key).await, Some(1));
    }
}

#[tokio::test]
async fn a_key_of_the_wrong_type_stops_all_of_a_change() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let (store, key) = (patient(&server), name("a"));
        assert_eq!(server.command(&["SET", "kg:i:{d}:sites", "x"]), "+OK");
        for step in [add(&Index::Sites, "a"), remove(&Index::Sites, "a")] {
            let error = store_error(store.commit(steps([put(&key, 1), add(&Index::Accounts, "a"), step])).await);
            assert!(!error.transient && !says_that_it_is_open(&error), "{error}");
            assert_eq!(version(&store, &key).await, None);
            assert_eq!(members(&store, &Index::Accounts).await, [""; 0]);
        }
        assert!(!store.page(&Index::Sites, None, 1).await.unwrap_err().transient);

        assert_eq!(server.command(&["HSET", "kg:r:{d}:name:hash", "x", "y"]), ":1");
        let change = Change { expect: vec![(name("hash"), Expect::Present)], steps: vec![put(&key, 1)] };
        assert!(!store_error(store.commit(change).await).transient);
        assert_eq!(version(&store, &key).await, None);
    }
}

#[tokio::test]
async fn a_user_that_may_not_do_all_of_a_change_does_nothing_of_it() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let rights = ["+@connection", "+@scripting", "+get", "+mget", "+type", "+set", "+zrange"];
        let user = [["ACL", "SETUSER", "half", "on", ">p", "~kg:*"].as_slice(), &rights].concat();
        assert_eq!(server.command(&user), "+OK");
        let url = format!("redis://half:p@127.0.0.1:{}", server.port());
        let store = RedisStore::new(&options(&url, Duration::from_secs(30))).unwrap();
        store.commit(steps([put(&name("a"), 1)])).await.unwrap();
        let refused = [add(&Index::Sites, "b"), remove(&Index::Sites, "b"), Step::Delete(name("a"))];
        for step in refused {
            let error = store_error(store.commit(steps([put(&name("a"), 2), step.clone()])).await);
            assert!(!error.transient && !says_that_it_is_open(&error), "{error}");
            assert_eq!(version(&store, &name("a")).await, Some(1), "{step:?}");
        }
        // What a user needs, and no more: this list is for the documentation.
        assert_eq!(server.command(&["ACL", "SETUSER", "half", "+del", "+zadd", "+zrem"]), "+OK");
        store
            .commit(steps([put(&name("a"), 2), add(&Index::Sites, "b"), remove(&Index::Sites, "c"), Step::Delete(name("b"))]))
            .await
            .unwrap();
        assert_eq!(members(&store, &Index::Sites).await, ["b"]);
    }
}

#[tokio::test]
async fn a_wrong_password_is_permanent_until_it_is_right_and_is_never_printed() {
    let server = Server::start(Program::Redis);
    let url = format!("redis://keygate:hunter2secret@127.0.0.1:{}/0", server.port());
    let options = options(&url, Duration::from_secs(30));
    let store = RedisStore::new(&options).unwrap();
    let read = store.read(&[name("a")]).await.unwrap_err();
    let commit = store_error(store.commit(steps([put(&name("a"), 1)])).await);
    assert!(!read.transient && !commit.transient && !says_that_it_is_open(&commit), "{read}, {commit}");
    let printed = format!("{read} {read:?} {commit} {commit:?} {store:?} {options:?}");
    assert!(!printed.contains("hunter2secret"), "{printed}");

    assert_eq!(server.command(&["ACL", "SETUSER", "keygate", "on", ">hunter2secret", "~kg:*", "+@all"]), "+OK");
    store.commit(steps([put(&name("a"), 1)])).await.unwrap();
    assert_eq!(version(&store, &name("a")).await, Some(1));

    for url in
        ["nonsense:hunter2secret", "http://:hunter2secret@host", "redis://:hunter2secret@host:port", "redis://:hunter2secret@h/x"]
    {
        let options = RedisOptions { url: url.into(), ..options.clone() };
        let error = RedisStore::new(&options).unwrap_err();
        assert_eq!(error, InvalidOptions::Url);
        assert!(!format!("{error} {error:?} {options:?}").contains("hunter2secret"));
    }
}

#[tokio::test]
async fn a_redis_with_too_many_clients_is_transient() {
    let server = Server::start(Program::Redis);
    // Commands of the test need a connection too, so the place is taken by another store.
    let first = patient(&server);
    first.ping().await.unwrap();
    assert_eq!(server.command(&["CONFIG", "SET", "maxclients", "1"]), "+OK");
    let second = hasty(&server);
    for _ in 0..3 {
        let error = second.ping().await.unwrap_err();
        assert!(error.transient, "{error}");
    }
    drop(first);
    eventually(&second, &name("a"), |stored| stored.is_none().then_some(())).await;
}

#[tokio::test]
async fn stores_with_other_prefixes_or_databases_do_not_see_each_other() {
    let server = Server::start(Program::Redis);
    let of = |database: &str, prefix: &str| {
        let url = format!("{}{database}", server.url()).as_str().into();
        RedisStore::new(&RedisOptions { url, prefix: prefix.to_owned(), timeout: Duration::from_secs(30) }).unwrap()
    };
    let stores = [of("", "kg:"), of("/3", "kg:"), of("", "other:")];
    for (n, store) in stores.iter().enumerate() {
        assert_eq!(version(store, &Key::Meta).await, None);
        store.commit(steps([put(&Key::Meta, n as u64), add(&Index::Sites, &n.to_string())])).await.unwrap();
    }
    for (n, store) in stores.iter().enumerate() {
        assert_eq!(version(store, &Key::Meta).await, Some(n as u64));
        assert_eq!(members(store, &Index::Sites).await, [n.to_string()]);
    }
    // As an operator sees them.
    assert_eq!(server.command(&["TYPE", "kg:r:{d}:meta"]), "+string");
    assert_eq!(server.command(&["TYPE", "kg:i:{d}:sites"]), "+zset");
    assert_eq!(server.command(&["DBSIZE"]), ":4");
    assert_eq!(
        RedisStore::new(&RedisOptions { prefix: "{a}".to_owned(), ..options(&server.url(), Duration::from_secs(1)) }).unwrap_err(),
        InvalidOptions::Prefix
    );
}

#[test]
fn a_redis_store_is_shared_between_runtimes_and_outlives_the_others() {
    let server = Server::start(Program::Redis);
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let own = runtime();
    let store = own.block_on(async { Arc::new(patient(&server)) });
    for version in 1..=3 {
        // The first of these makes the connection; its runtime's end must not be the connection's.
        let other = runtime();
        other.block_on(async { store.commit(steps([put(&name("a"), version)])).await.unwrap() });
        drop(other);
    }
    assert_eq!(own.block_on(version(&*store, &name("a"))), Some(3));
    assert!(server.command(&["INFO", "stats"]).starts_with('$'));
}

// Only of the embedded store.

fn opened(directory: &TempDir) -> EmbeddedStore {
    EmbeddedStore::open(directory.path()).unwrap()
}

#[tokio::test]
async fn a_data_directory_is_held_by_one_store_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(&directory);
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Held(_)), "{error}");
    assert_eq!(error.to_string(), format!("data directory {} is held by another process", directory.path().display()));
    store.commit(steps([put(&name("a"), 1)])).await.unwrap();
    drop(store);
    assert_eq!(version(&opened(&directory), &name("a")).await, Some(1));
}

#[tokio::test]
async fn a_store_that_is_opened_again_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    for version in 1..10 {
        let store = opened(&directory);
        assert_eq!(self::version(&store, &name("a")).await, (version > 1).then(|| version - 1));
        store.commit(steps([put(&name("a"), version), add(&Index::Sites, &version.to_string())])).await.unwrap();
    }
    assert_eq!(members(&opened(&directory), &Index::Sites).await.len(), 9);
}

#[test]
fn a_dropped_store_has_written_what_it_was_given_and_leaves_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(&directory);
    for n in 0..100 {
        // Polled once, so it is in the queue; then nobody waits for the answer.
        let mut commit = std::pin::pin!(store.commit(steps([add(&Index::Sites, &n.to_string())])));
        let _ = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    drop(store);
    assert!(!directory.path().join("keygate.db-wal").exists());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(members(&opened(&directory), &Index::Sites)).len(), 100);
}

#[tokio::test]
async fn an_operator_reads_the_database_while_it_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(&directory);
    let select = "SELECT key, version, json ->> '$.text' FROM record; SELECT idx, member FROM member";
    for version in 1..5 {
        let stored = record(version, "käse");
        store.commit(steps([Step::Put(name("anna"), stored), add(&Index::Accounts, "anna")])).await.unwrap();
        let output = Command::new("sqlite3")
            .arg("-readonly")
            .arg(directory.path().join("keygate.db"))
            .arg(select)
            .output()
            .expect("sqlite3 is missing: install the package sqlite3 (Debian)");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, format!("name:anna|{version}|käse\naccounts|anna\n"));
    }
}

#[test]
fn a_database_of_the_future_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(opened(&directory));
    let path = directory.path().join("keygate.db");
    let raise = |to: i64| rusqlite::Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA user_version = {to}")).unwrap();
    raise(2);
    let before = std::fs::read(&path).unwrap();
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Future { found: 2, .. }), "{error}");
    assert!(error.to_string().ends_with("keygate.db has schema version 2, this version of Keygate knows up to 1"), "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
    raise(1);
    drop(opened(&directory));
}

#[test]
fn what_is_no_database_or_no_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("keygate.db"), "this is not a database, and longer than its header would be".repeat(100))
        .unwrap();
    assert!(matches!(EmbeddedStore::open(directory.path()), Err(OpenError::Database { .. })));
    let file = directory.path().join("keygate.db");
    assert!(matches!(EmbeddedStore::open(&file), Err(OpenError::Directory { .. })));
}

#[test]
fn a_new_data_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("var/keygate");
    let store = EmbeddedStore::open(&directory).unwrap();
    assert_eq!(mode(&directory), 0o700);
    for file in ["keygate.db", "keygate.db-wal", "keygate.db-shm", "keygate.lock"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
    drop(store);
}
