//! What a store promises, asked of every store there is. A new one is one more line in [`conformance!`].
//!
//! What only one kind of store can be asked is in a file of its own.

mod counts;
mod embedded;
mod redis;
mod trail;
mod uses;

use std::{any::Any, collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use keygate::{
    domain::{account::Format, id::AccountId, time::Timestamp},
    store::{
        Change, CommitError, Entry, Expect, Index, Key, Order, Record as _, Step, Store, StoreError, Stored, Trail,
        embedded::EmbeddedStore,
        record::{HostClaim, NameClaim},
        redis::{RedisOptions, RedisStore},
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    counts::{a_conflict_is_named_before_a_count, a_count_that_is_not_so_stops_all_of_a_change, who_has_counted_misses_nobody},
    trail::{
        a_bounded_trail_keeps_the_newest_and_touches_no_other, a_change_and_its_entries_happen_together,
        a_change_may_have_two_thousand_entries_and_members, entries_are_paged_from_both_ends_without_a_gap,
        entries_are_read_in_the_order_in_which_they_were_written, of_concurrent_changes_every_entry_is_there_once,
        what_is_forgotten_is_what_was_written_before,
    },
    uses::{
        a_token_that_was_not_used_has_no_last_use, forgotten_uses_are_gone_and_no_others,
        the_later_use_stays_in_whatever_order_they_arrive, two_thousand_uses_are_noted_and_read_at_once,
    },
};
use crate::support::redis::{Program, Server};

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
                a_count_that_is_not_so_stops_all_of_a_change,
                a_conflict_is_named_before_a_count,
                who_has_counted_misses_nobody,
                entries_are_read_in_the_order_in_which_they_were_written,
                entries_are_paged_from_both_ends_without_a_gap,
                a_change_and_its_entries_happen_together,
                of_concurrent_changes_every_entry_is_there_once,
                a_bounded_trail_keeps_the_newest_and_touches_no_other,
                what_is_forgotten_is_what_was_written_before,
                a_change_may_have_two_thousand_entries_and_members,
                the_later_use_stays_in_whatever_order_they_arrive,
                a_token_that_was_not_used_has_no_last_use,
                forgotten_uses_are_gone_and_no_others,
                two_thousand_uses_are_noted_and_read_at_once,
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
    Change { steps: steps.into_iter().collect(), ..Change::default() }
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

fn entry(text: &str) -> Entry {
    Entry { at: Timestamp::from_millis(1_000), json: serde_json::json!({ "v": 1, "text": text }).to_string() }
}

/// All of the trail of changes, the oldest first.
async fn lines(store: &dyn Store) -> Vec<String> {
    let entries = store.entries(Trail::Changes, None, Order::OldestFirst, usize::MAX).await.unwrap();
    entries.into_iter().map(|(_, json)| json).collect()
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
        (&absent, Expect::Version(5)),
        (&absent, Expect::Version(0)),
    ];
    for (key, expect) in failing {
        let change = Change {
            expect: vec![(victim.clone(), Expect::Version(1)), (key.clone(), expect)],
            steps: vec![put(&present, 9), put(&absent, 9), Step::Delete(victim.clone()), add(&index, "new"), remove(&index, "old")],
            ..Change::default()
        };
        assert_eq!(store.commit(change).await, Err(CommitError::Conflict(key.clone())), "{expect:?}");
        assert_eq!(version(&*store, &present).await, Some(5), "{expect:?}");
        assert_eq!(version(&*store, &absent).await, None, "{expect:?}");
        assert_eq!(version(&*store, &victim).await, Some(1), "{expect:?}");
        assert_eq!(members(&*store, &index).await, ["old"], "{expect:?}");
    }

    for (key, expect) in [(&absent, Expect::Absent), (&present, Expect::Version(5))] {
        let change =
            Change { expect: vec![(key.clone(), expect)], steps: vec![add(&index, &format!("{expect:?}"))], ..Change::default() };
        assert_eq!(store.commit(change).await, Ok(()), "{expect:?}");
    }
    assert_eq!(members(&*store, &index).await.len(), 3);
}

async fn the_conflict_names_the_first_key_that_was_not_as_expected(store: Arc<dyn Store>) {
    let keys: Vec<Key> = (0..5).map(|n| name(n.to_string())).collect();
    store.commit(steps([put(&keys[1], 1), put(&keys[3], 1)])).await.unwrap();
    let change = Change { expect: keys.iter().map(|key| (key.clone(), Expect::Absent)).collect(), ..Change::default() };
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
        ..Change::default()
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
                    ..Change::default()
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
                    let change = Change {
                        expect: vec![(key.clone(), Expect::Version(before))],
                        steps: vec![put(&key, before + 1)],
                        ..Change::default()
                    };
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
        store.commit(Change {
            expect: vec![expect],
            steps: vec![put(&key, 1), add(&Index::Accounts, &format!("{n:03}"))],
            ..Change::default()
        })
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
    let change = Change { expect: vec![(keys[0].clone(), Expect::Version(7))], steps: vec![put(&keys[0], 8)], ..Change::default() };
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
        store
            .commit(Change { expect, steps: keys.iter().map(|key| put(key, version)).collect(), ..Change::default() })
            .await
            .unwrap();
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
    NameClaim::decode(key, &stored)
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
        assert!(!error.transient && error.message.contains("name:claimed"), "{json:?}: {error}");
        let taken = Change { expect: vec![(key.clone(), Expect::Absent)], steps: vec![put(&key, 1)], ..Change::default() };
        assert_eq!(store.commit(taken).await, Err(CommitError::Conflict(key.clone())), "{json:?}");
    }
    // It is of another kind, and still not taken for it.
    assert!(HostClaim::decode(&key, &whole).is_err());
}

async fn a_record_of_a_future_format_is_an_error_and_not_absent(store: Arc<dyn Store>) {
    let key = name("future");
    let future = Stored { version: 3, json: r#"{"v":2,"owner":{"account":"acc_anonymous"},"version":3}"#.to_owned() };
    store.commit(steps([Step::Put(key.clone(), future)])).await.unwrap();
    let error = decode(&*store, &key).await.unwrap_err();
    assert!(!error.transient && error.message.contains("name:future") && error.message.contains("NameClaim"), "{error}");
}

async fn a_damaged_record_can_be_replaced(store: Arc<dyn Store>) {
    let key = name("damaged");
    store.commit(steps([Step::Put(key.clone(), Stored { version: 1, json: "not JSON".to_owned() })])).await.unwrap();
    store.commit(steps([put(&key, 2)])).await.unwrap();
    assert_eq!(version(&*store, &key).await, Some(2));
}

async fn versions_are_exact_up_to_their_limit(store: Arc<dyn Store>) {
    let key = name("old and busy");
    let last = Stored::VERSION_LIMIT - 1;
    store.commit(steps([put(&key, last)])).await.unwrap();
    assert_eq!(version(&*store, &key).await, Some(last));
    for wrong in [last - 1, last + 1, last + 2, u64::MAX] {
        let change = Change { expect: vec![(key.clone(), Expect::Version(wrong))], ..Change::default() };
        assert_eq!(store.commit(change).await, Err(CommitError::Conflict(key.clone())), "{wrong}");
    }
    let change = Change { expect: vec![(key.clone(), Expect::Version(last))], ..Change::default() };
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
    lines: Vec<String>,
}

impl Model {
    fn commit(&mut self, change: &Change) -> Result<(), CommitError> {
        for (key, expect) in &change.expect {
            let version = self.records.get(&key.name()).map(|stored| stored.version);
            let holds = match expect {
                Expect::Absent => version.is_none(),
                Expect::Version(expected) => version == Some(*expected),
            };
            if !holds {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        for (index, expected) in &change.counts {
            if self.members.iter().filter(|(name, _)| *name == index.name()).count() as u64 != *expected {
                return Err(CommitError::Miscounted(index.clone()));
            }
        }
        self.lines.extend(change.entries.iter().map(|entry| entry.json.clone()));
        for step in change.steps.iter().cloned() {
            match step {
                Step::Put(key, stored) | Step::PutUntil(key, stored, _) => drop(self.records.insert(key.name(), stored)),
                Step::Delete(key) => drop(self.records.remove(&key.name())),
                Step::AddTo(index, member) => drop(self.members.insert((index.name(), member))),
                Step::RemoveFrom(index, member) => drop(self.members.remove(&(index.name(), member))),
                Step::Clear(index) => self.members.retain(|(name, _)| *name != index.name()),
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
    let (mut conflicts, mut miscounts) = (0, 0);
    for n in 0..500 {
        let key = |rng: &mut StdRng| keys[rng.random_range(0..keys.len())].clone();
        let expect = (0..rng.random_range(0..3))
            .map(|_| {
                let expect = match rng.random_range(0..3) {
                    0 => Expect::Absent,
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
        let counts = (0..rng.random_range(0..2))
            .map(|_| (indexes[rng.random_range(0..indexes.len())].clone(), rng.random_range(0..5)))
            .collect();
        let entries = (0..rng.random_range(0..3)).map(|line| entry(&format!("{n}/{line}"))).collect();
        let change = Change { expect, counts, steps, entries, takes_away: rng.random() };
        let expected = model.commit(&change);
        conflicts += u32::from(matches!(expected, Err(CommitError::Conflict(_))));
        miscounts += u32::from(matches!(expected, Err(CommitError::Miscounted(_))));
        assert_eq!(store.commit(change.clone()).await, expected, "{change:?}");
        let records: Vec<_> = keys.iter().map(|key| model.records.get(&key.name()).cloned()).collect();
        assert_eq!(store.read(&keys).await.unwrap(), records, "{change:?}");
        for index in &indexes {
            let of_index: Vec<_> =
                model.members.iter().filter(|(name, _)| *name == index.name()).map(|(_, member)| member.clone()).collect();
            assert_eq!(members(&*store, index).await, of_index, "{change:?}");
        }
    }
    assert!((50..350).contains(&conflicts) && (50..350).contains(&miscounts), "{conflicts} conflicts, {miscounts} miscounts");
    assert_eq!(lines(&*store).await, model.lines);
}

async fn answers_a_ping(store: Arc<dyn Store>) {
    assert_eq!(store.ping().await, Ok(()));
}
