//! What a store promises, asked of every store there is. A new one is one more line in [`conformance!`].
//!
//! What only one kind of store can be asked is in a file of its own.

mod changes;
mod counts;
mod embedded;
mod families;
mod indexes;
mod model;
mod published;
mod races;
mod records;
mod redis;
mod telling;
mod topologies;
mod trail;
mod until;
mod uses;

use std::{
    any::Any,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use keygate::{
    domain::{id::AccountId, time::Timestamp},
    store::{
        Change, Entry, Index, Key, Order, Step, Store, Stored, Trail,
        embedded::EmbeddedStore,
        redis::{RedisOptions, RedisStore},
    },
};
use rand::{SeedableRng as _, rngs::StdRng};

use self::{
    changes::{
        a_change_without_expectations_or_steps_is_applied, a_key_without_a_record_is_none_in_its_place,
        every_kind_of_expectation_holds_or_stops_all_of_a_change, one_change_puts_deletes_and_indexes, reads_its_own_writes,
        steps_are_taken_in_their_order, the_conflict_names_the_first_key_that_was_not_as_expected,
    },
    counts::{a_conflict_is_named_before_a_count, a_count_that_is_not_so_stops_all_of_a_change, who_has_counted_misses_nobody},
    families::{a_change_is_for_one_family_or_for_none, families_do_not_mix},
    indexes::{
        adding_twice_is_adding_once, an_index_is_read_in_both_directions, indexes_do_not_mix, members_sort_by_their_bytes,
        pages_have_an_order_a_cursor_and_an_end, ten_thousand_members_are_paged_once_each,
    },
    model::random_changes_agree_with_a_model,
    published::{what_a_server_publishes_is_forgotten_in_time, what_servers_publish_is_read_by_all},
    races::{
        conflicts_take_nothing_else_with_them, no_increment_is_lost_between_concurrent_writers,
        of_concurrent_writers_exactly_one_wins, readers_never_see_half_a_change,
    },
    records::{
        a_damaged_record_can_be_replaced, a_damaged_record_is_an_error_and_not_absent,
        a_record_of_a_future_format_is_an_error_and_not_absent, keys_and_members_may_have_odd_characters,
        large_records_come_back_whole, versions_are_exact_up_to_their_limit,
    },
    telling::what_is_vouched_for_has_been_told,
    trail::{
        a_bounded_trail_keeps_the_newest_and_touches_no_other, a_change_and_its_entries_happen_together,
        a_change_may_have_two_thousand_entries_and_members, entries_are_paged_from_both_ends_without_a_gap,
        entries_are_read_in_the_order_in_which_they_were_written, of_concurrent_changes_every_entry_is_there_once,
        what_is_forgotten_is_what_was_written_before,
    },
    until::{
        a_record_goes_some_time_after_its_time, a_record_with_a_time_is_like_any_other_until_then, a_record_without_a_time_stays,
        a_time_replaces_another,
    },
    uses::{
        a_token_that_was_not_used_has_no_last_use, forgotten_uses_are_gone_and_no_others,
        the_later_use_stays_in_whatever_order_they_arrive, tokens_are_listed_by_their_last_uses_in_both_directions,
        two_thousand_uses_are_noted_and_read_at_once,
    },
};
use crate::support::{
    redis::{Program, Server},
    redis_cluster::Cluster,
    redis_sentinel::Sentinels,
};

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

/// Starting them takes so long that tests that run at the same time share them, each under a prefix of its own.
fn shared<T: Any + Send + Sync>(running: &Mutex<Weak<T>>, start: impl Fn() -> T, url: impl Fn(&T) -> String) -> Fixture {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut running = running.lock().unwrap();
    let servers = running.upgrade().unwrap_or_else(|| {
        let started = Arc::new(start());
        *running = Arc::downgrade(&started);
        started
    });
    let prefix = format!("test{}:", NUMBER.fetch_add(1, Ordering::Relaxed));
    let options = RedisOptions { prefix, ..options(&url(&servers), Duration::from_secs(30)) };
    Fixture { store: Arc::new(RedisStore::new(&options).unwrap()), _medium: Box::new(servers) }
}

fn watched_by_sentinels() -> Fixture {
    static RUNNING: Mutex<Weak<Sentinels>> = Mutex::new(Weak::new());
    shared(&RUNNING, || Sentinels::start(Program::Redis), Sentinels::url)
}

fn in_a_cluster(program: Program) -> Fixture {
    static RUNNING: [Mutex<Weak<Cluster>>; 2] = [const { Mutex::new(Weak::new()) }; 2];
    shared(&RUNNING[program as usize], || Cluster::start(program), Cluster::url)
}

fn options(url: &str, timeout: Duration) -> RedisOptions {
    RedisOptions::at(url, timeout)
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
                an_index_is_read_in_both_directions,
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
                tokens_are_listed_by_their_last_uses_in_both_directions,
                what_servers_publish_is_read_by_all,
                what_a_server_publishes_is_forgotten_in_time,
                a_record_with_a_time_is_like_any_other_until_then,
                a_record_goes_some_time_after_its_time,
                a_record_without_a_time_stays,
                a_time_replaces_another,
                a_change_is_for_one_family_or_for_none,
                families_do_not_mix,
                what_is_vouched_for_has_been_told,
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
    with_sentinels: watched_by_sentinels();
    in_cluster: in_a_cluster(Program::Redis);
    in_valkey_cluster: in_a_cluster(Program::Valkey);
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

async fn answers_a_ping(store: Arc<dyn Store>) {
    assert_eq!(store.ping().await, Ok(()));
}
