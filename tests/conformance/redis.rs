//! What only a store that is a server can be asked: it goes away, hangs, fills up, and wants a password.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use keygate::{
    domain::time::Timestamp,
    store::{
        Change, CommitError, Expect, Index, Key, Order, Step, Store, StoreError, Stored, Trail, Trouble,
        redis::{InvalidOptions, RedisOptions, RedisStore},
    },
};

use super::{
    add, entry,
    families::family,
    lines, members, name, options, patient, put, record, remove, steps,
    trail::goes_on_only_where_rights_are_taken_away,
    uses::{at, token},
    version,
};
use crate::support::redis::{Program, Server, command};

/// Gives up as soon as a server would in production.
fn hasty(server: &Server) -> RedisStore {
    RedisStore::new(&options(&server.url(), Duration::from_millis(150))).unwrap()
}

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
                ..Change::default()
            };
            store.commit(change).await.unwrap();
            assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
        }
    }
}

#[tokio::test]
async fn a_frozen_redis_is_a_time_out_and_a_change_is_left_open() {
    let server = Server::start(Program::Redis);
    // Canaries are rare, so that it is not a canary that notices.
    let rare = Duration::from_hours(1);
    let hasty_options = options(&server.url(), Duration::from_millis(150));
    let store = RedisStore::new(&RedisOptions { max_staleness: rare, ..hasty_options }).unwrap();
    let key = name("a");
    eventually(&store, &key, |stored| stored.is_none().then_some(())).await;
    // The script is known to Redis from here on; else the change would only be sent with the second question.
    patient(&server).commit(steps([put(&name("b"), 1)])).await.unwrap();
    server.freeze();
    let error = store.read(std::slice::from_ref(&key)).await.unwrap_err();
    assert!(error.transient, "{error}");
    let change = Change {
        expect: vec![(key.clone(), Expect::Absent)],
        steps: vec![put(&key, 1), add(&Index::Sites, "a")],
        ..Change::default()
    };
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
    let uses: Vec<_> = (0..100).map(|n| (token(n), at(1, ""))).collect();
    let error = store.note_uses(&uses).await.unwrap_err();
    assert!(error.transient && error.message.matches("BUSY").count() == 1, "{error}");
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
async fn a_full_redis_still_takes_rights_away() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let (store, key) = (patient(&server), name("a"));
        store.commit(steps([put(&key, 1), add(&Index::Sites, "a")])).await.unwrap();
        assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
        for round in 1..4 {
            let change = Change {
                expect: vec![(key.clone(), Expect::Version(round))],
                counts: vec![(Index::Sites, round)],
                steps: vec![put(&key, round + 1), add(&Index::Sites, &round.to_string())],
                entries: vec![entry("revoked")],
                takes_away: false,
                must_hold: false,
            };
            let error = store_error(store.commit(change.clone()).await);
            assert!(!error.transient && !says_that_it_is_open(&error) && error.message.contains("OOM"), "{error}");
            assert_eq!(error.trouble, Trouble::Full);
            assert_eq!(version(&store, &key).await, Some(round));
            assert_eq!(lines(&store).await.len() as u64, round - 1);
            store.commit(Change { takes_away: true, ..change }).await.unwrap();
            assert_eq!(version(&store, &key).await, Some(round + 1));
            assert_eq!(lines(&store).await.len() as u64, round);
            // A script that comes again in full is let in too.
            assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
        }
        assert_eq!(members(&store, &Index::Sites).await, ["1", "2", "3", "a"]);
        // The rest can wait for memory.
        assert!(!store.note_uses(&[(token(1), at(1, ""))]).await.unwrap_err().transient);
        assert!(!store.append(Trail::Refused, entry("refused"), 9).await.unwrap_err().transient);
        store.forget_entries(Trail::Changes, Timestamp::from_millis(i64::MAX)).await.unwrap();
        assert_eq!(lines(&store).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_broken_trail_stops_only_what_gives_rights() {
    let last = "18446744073709551615-18446744073709551615";
    let damages: [&[&str]; 3] = [
        &["SET", "kg:a:{d}:changes", "x"],
        &["ZADD", "kg:a:{d}:changes", "0", "x"],
        &["XADD", "kg:a:{d}:changes", last, "json", "x"],
    ];
    for program in [Program::Redis, Program::Valkey] {
        for damage in damages {
            let server = Server::start(program);
            let store = patient(&server);
            assert!(!server.command(damage).starts_with('-'));
            goes_on_only_where_rights_are_taken_away(&store).await;
        }
    }
}

#[tokio::test]
async fn what_is_damaged_is_named() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let store = patient(&server);
        assert_eq!(server.command(&["SET", "kg:r:{d}:name:anna", "not JSON"]), "+OK");
        let error = store.read(&[name("otto"), name("anna")]).await.unwrap_err();
        assert!(!error.transient && error.message.contains("name:anna"), "{error}");
        let change = Change { expect: vec![(name("anna"), Expect::Version(1))], ..Change::default() };
        let error = store_error(store.commit(change).await);
        assert!(!error.transient && error.message.contains("name:anna"), "{error}");

        for damaged in ["", "5", "x -", "5 nowhere", "5 - -"] {
            assert_eq!(server.command(&["SET", "kg:u:{s1}:000000000001", damaged]), "+OK");
            let error = store.uses(&[token(2), token(1)]).await.unwrap_err();
            assert!(!error.transient && error.message.contains("kg:u:{s1}:000000000001"), "{error}");
        }
        // It heals with the next use.
        store.note_uses(&[(token(1), at(6, ""))]).await.unwrap();
        assert_eq!(store.uses(&[token(1)]).await, Ok(vec![Some(at(6, ""))]));

        for fields in [["x", "y"].as_slice(), &["json", "x", "y", "z"]] {
            let added = server.command(&[["XADD", "kg:a:{d}:refused", "7-1"].as_slice(), fields].concat());
            assert!(added.starts_with('$'), "{added}");
            let error = store.entries(Trail::Refused, None, Order::NewestFirst, 1).await.unwrap_err();
            assert!(!error.transient && error.message.contains("7-1") && error.message.contains("refused"), "{error}");
            assert_eq!(server.command(&["DEL", "kg:a:{d}:refused"]), ":1");
        }
    }
}

#[tokio::test]
async fn a_script_flush_is_not_noticed_by_last_uses() {
    let server = Server::start(Program::Redis);
    let store = patient(&server);
    for round in 1..5 {
        let uses: Vec<_> = (0..5).map(|n| (token(n), at(round, "192.0.2.1"))).collect();
        store.note_uses(&uses).await.unwrap();
        assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
        assert_eq!(server.command(&["STRLEN", "kg:u:{s4}:000000000004"]), ":11");
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
        let change = Change { expect: vec![(name("hash"), Expect::Version(1))], steps: vec![put(&key, 1)], ..Change::default() };
        assert!(!store_error(store.commit(change).await).transient);
        assert_eq!(version(&store, &key).await, None);
    }
}

#[tokio::test]
async fn a_user_that_may_not_do_all_of_a_change_does_nothing_of_it() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let rights = [
            "+@connection",
            "+info",
            "+eval",
            "+evalsha",
            "+get",
            "+mget",
            "+hmget",
            "+hsetnx",
            "+hincrby",
            "+type",
            "+set",
            "+zrange",
            "+xrange",
        ];
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
        let change = Change { steps: vec![put(&name("a"), 2)], entries: vec![entry("entry")], ..Change::default() };
        let error = store_error(store.commit(change.clone()).await);
        assert!(!error.transient && error.message.contains("kg:a:{d}:changes"), "{error}");
        assert_eq!(version(&store, &name("a")).await, Some(1));
        // Rights are taken away all the same.
        store.commit(Change { takes_away: true, ..change.clone() }).await.unwrap();
        assert_eq!(version(&store, &name("a")).await, Some(2));
        assert_eq!(lines(&store).await, [""; 0]);
        // What a user needs, and no more; the README says so.
        let rest = ["+del", "+zadd", "+zrem", "+zcard", "+xadd", "+xrevrange", "+xtrim"];
        let readme = include_str!("../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(readme.contains(&[rights.as_slice(), &rest].concat().join(" ")));
        let mut denied = store.live().await.servers.remove(0).denied;
        denied.sort_unstable();
        assert_eq!(denied, ["DEL", "XADD", "XREVRANGE", "XTRIM", "ZADD", "ZCARD", "ZREM"]);
        assert_eq!(server.command(&[["ACL", "SETUSER", "half"].as_slice(), &rest].concat()), "+OK");
        assert_eq!(store.live().await.servers.remove(0).denied, [""; 0]);
        store.commit(Change { counts: vec![(Index::Sites, 0)], ..change }).await.unwrap();
        store.append(Trail::Refused, entry("entry"), 10).await.unwrap();
        store.forget_entries(Trail::Refused, Timestamp::from_millis(0)).await.unwrap();
        assert_eq!(store.entries(Trail::Changes, None, Order::NewestFirst, 10).await.unwrap().len(), 1);
        store.note_uses(&[(token(1), at(1, ""))]).await.unwrap();
        assert_eq!(store.uses(&[token(1)]).await, Ok(vec![Some(at(1, ""))]));
        store.forget_uses(&[token(1)]).await.unwrap();
        store
            .commit(steps([put(&name("a"), 2), add(&Index::Sites, "b"), remove(&Index::Sites, "c"), Step::Delete(name("b"))]))
            .await
            .unwrap();
        assert_eq!(members(&store, &Index::Sites).await, ["b"]);
        let [session, check, _] = family("AbCdEfGh0123");
        let far = Timestamp::from_millis(4_000_000_000_000);
        let step = |key: &Key| Step::PutUntil(key.clone(), record(1, ""), far);
        store.commit(steps([step(&session), step(&check), Step::Delete(check.clone())])).await.unwrap();
        store.forget_expired(far).await.unwrap();
        assert_eq!(version(&store, &session).await, Some(1));
    }
}

/// In a cluster all of a family lies on one node, and families lie on all of them, by sixteen hash tags. What has a time ends by Redis itself.
#[tokio::test]
async fn a_family_has_one_hash_tag() {
    let server = Server::start(Program::Redis);
    let store = patient(&server);
    let [session, check, code] = family("AbCdEfGh0123");
    let far = Timestamp::from_millis(4_000_000_000_000);
    let until = Step::PutUntil(session, record(1, ""), far);
    store.commit(steps([until, put(&check, 1), put(&code, 1)])).await.unwrap();
    let names = ["session:AbCdEfGh0123", "check:AbCdEfGh0123:shop.example.com", &format!("code:AbCdEfGh0123:{}", "0".repeat(64))];
    let keys = names.map(|name| format!("kg:r:{{sa}}:{name}"));
    let slots: BTreeSet<_> = keys.iter().map(|key| server.command(&["CLUSTER", "KEYSLOT", key])).collect();
    assert_eq!(slots.len(), 1);
    assert_eq!(keys.each_ref().map(|key| server.command(&["EXISTS", key])), [":1"; 3]);
    assert_eq!(server.command(&["PEXPIRETIME", &keys[0]]), ":4000000000000");
    assert_eq!(server.command(&["PEXPIRETIME", &keys[1]]), ":-1");
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
    // It tries again by itself.
    while let Err(error) = store.ping().await {
        assert!(!error.transient, "{error}");
        tokio::task::yield_now().await;
    }
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
    assert_eq!(server.command(&["CONFIG", "SET", "maxclients", "2"]), "+OK");
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
        let options = options(&format!("{}{database}", server.url()), Duration::from_secs(30));
        RedisStore::new(&RedisOptions { prefix: prefix.to_owned(), ..options }).unwrap()
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
    assert_eq!(server.command(&["EXISTS", "kg:r:{d}:meta", "kg:i:{d}:sites", "other:r:{d}:meta", "other:i:{d}:sites"]), ":4");
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
