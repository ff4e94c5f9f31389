//! Who remembers records is told of every change, and up to when he has been told of all.

use std::{
    sync::{
        Arc, Mutex,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use keygate::{
    clock::BootTime,
    domain::time::Timestamp,
    store::{
        Change, Coherence, Index, Key, Memory, Partition, Step, Store,
        redis::{RedisOptions, RedisStore, WentBack},
    },
};

use super::{add, embedded, families::family, get, name, options, patient, put, record, steps};
use crate::support::redis::{Program, Server};

/// Hears what it is told, and forgets nothing.
#[derive(Default)]
pub struct Heard {
    changed: Mutex<Vec<Key>>,
    pub lost: Mutex<Vec<Partition>>,
}

impl Memory for Heard {
    fn changed(&self, key: &Key) {
        self.changed.lock().unwrap().push(key.clone());
    }

    fn lost(&self, partitions: &[Partition]) {
        self.lost.lock().unwrap().extend(partitions);
    }
}

impl Heard {
    pub fn of(store: &dyn Store) -> (Arc<Self>, Arc<Coherence>) {
        let heard = Arc::new(Self::default());
        let coherence = store.tell(heard.clone());
        (heard, coherence)
    }

    pub fn has(&self, key: &Key) -> bool {
        self.changed.lock().unwrap().contains(key)
    }

    pub fn has_lost_all(&self) -> bool {
        let lost = self.lost.lock().unwrap();
        Partition::all().all(|partition| lost.contains(&partition))
    }

    pub fn forget(&self) {
        self.changed.lock().unwrap().clear();
        self.lost.lock().unwrap().clear();
    }
}

pub async fn until(what: impl Fn() -> bool) {
    let looks = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_mins(1), looks).await.is_ok(), "gave up waiting");
}

/// Until the store vouches for all that was acknowledged before now.
pub async fn until_verified(coherence: &Coherence) {
    let now = BootTime::now();
    until(|| Partition::all().all(|partition| coherence.verified_at(partition) >= now)).await;
}

pub async fn what_is_vouched_for_has_been_told(store: Arc<dyn Store>) {
    let (heard, coherence) = Heard::of(&*store);
    let families = ["AbCdEfGh0123", "AbCdEfGh0124", "ZZZZZZZZZZZZ"].map(family);
    let keys = families.into_iter().flatten().filter(|key| !matches!(key, Key::Code(..))).chain([name("anna"), name("odd: {x}")]);
    for (number, key) in keys.enumerate() {
        let changes = [
            vec![put(&key, 1)],
            vec![put(&key, 2)],
            vec![Step::PutUntil(key.clone(), record(3, ""), Timestamp::from_millis(4_000_000_000_000))],
            vec![Step::Delete(key.clone())],
        ];
        for steps in changes {
            heard.forget();
            store.commit(Change { steps, takes_away: number % 2 == 0, ..Change::default() }).await.unwrap();
            until_verified(&coherence).await;
            assert!(heard.has(&key), "{key:?}");
        }
    }
}

#[tokio::test]
async fn what_nobody_remembers_is_not_told() {
    let server = Server::start(Program::Redis);
    let store = patient(&server);
    let (heard, coherence) = Heard::of(&store);
    until_verified(&coherence).await;
    heard.forget();
    let key = Key::Failures("x".to_owned());
    store.commit(steps([put(&key, 1), add(&Index::Sites, "a")])).await.unwrap();
    assert_eq!(get(&store, &key).await.map(|stored| stored.version), Some(1));
    until_verified(&coherence).await;
    assert_eq!(*heard.changed.lock().unwrap(), []);
    assert_eq!(*heard.lost.lock().unwrap(), []);
}

#[tokio::test]
async fn an_embedded_change_is_told_before_it_is_acknowledged() {
    let fixture = embedded();
    let (heard, coherence) = Heard::of(&*fixture.store);
    for version in 1..100 {
        heard.forget();
        fixture.store.commit(steps([put(&name("anna"), version)])).await.unwrap();
        assert!(heard.has(&name("anna")));
    }
    assert!(coherence.verified_at(Partition::DIRECTORY) > BootTime::now());
}

#[tokio::test]
async fn changes_by_others_are_told() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let (store, other) = (patient(&server), patient(&server));
        let (heard, coherence) = Heard::of(&store);
        other.commit(steps([put(&name("anna"), 1)])).await.unwrap();
        assert_eq!(server.command(&["SET", "kg:r:{d}:name:otto", "x"]), "+OK");
        assert_eq!(server.command(&["SET", "kg:r:{d}:name:soon", "x", "PX", "1"]), "+OK");
        until_verified(&coherence).await;
        assert!(heard.has(&name("anna")) && heard.has(&name("otto")));
        // Redis itself lets go of it, when it finds it.
        until(|| server.command(&["EXISTS", "kg:r:{d}:name:soon"]) == ":0").await;
        until_verified(&coherence).await;
        assert!(heard.has(&name("soon")));
        assert!(coherence.pushes.load(Relaxed) > 2 && coherence.canaries.load(Relaxed) > 0);
    }
}

#[tokio::test]
async fn whoever_empties_redis_has_it_told() {
    for (program, command) in [(Program::Redis, "FLUSHALL"), (Program::Valkey, "FLUSHDB")] {
        let server = Server::start(program);
        let store = patient(&server);
        let (heard, coherence) = Heard::of(&store);
        until_verified(&coherence).await;
        heard.forget();
        assert_eq!(server.command(&[command]), "+OK");
        until_verified(&coherence).await;
        assert!(heard.has_lost_all());
        assert!(!coherence.went_back.load(SeqCst), "nothing had been taken away");
    }
}

#[tokio::test]
async fn a_lost_connection_is_a_loss_and_all_is_well_after_it() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program);
        let store = patient(&server);
        let (heard, coherence) = Heard::of(&store);
        for round in 1..4 {
            until_verified(&coherence).await;
            heard.forget();
            server.kill_tracking();
            server.command(&["SET", "kg:r:{d}:name:unheard", "x"]);
            until_verified(&coherence).await;
            assert!(heard.has_lost_all());
            assert_eq!(coherence.reconnects.load(Relaxed), round);
            heard.forget();
            store.commit(steps([put(&name("anna"), round)])).await.unwrap();
            until_verified(&coherence).await;
            assert!(heard.has(&name("anna")));
        }
    }
}

/// A refusal is an answer, and no proof that everything has been told.
#[tokio::test]
async fn a_redis_that_refuses_writes_is_not_vouched_for() {
    let server = Server::start(Program::Redis);
    let other = Server::start(Program::Redis);
    let store = patient(&server);
    let (_, coherence) = Heard::of(&store);
    let vouched = || coherence.verified_at(Partition::DIRECTORY) > BootTime::from_nanos(0);
    let port = other.port().to_string();
    let refusals: [[&[&str]; 2]; 2] = [
        [&["CONFIG", "SET", "min-replicas-to-write", "1"], &["CONFIG", "SET", "min-replicas-to-write", "0"]],
        [&["REPLICAOF", "127.0.0.1", &port], &["REPLICAOF", "NO", "ONE"]],
    ];
    for [refuse, accept] in refusals {
        until_verified(&coherence).await;
        assert_eq!(server.command(refuse), "+OK");
        until(|| !vouched()).await;
        assert_eq!(server.command(accept), "+OK");
        until_verified(&coherence).await;
    }
    // Rights are taken away also where memory is full, and that is told.
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    until_verified(&coherence).await;
}

#[tokio::test]
async fn a_replica_is_not_a_master() {
    let (server, other) = (Server::start(Program::Redis), Server::start(Program::Redis));
    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]), "+OK");
    let store = patient(&server);
    let error = store.read(&[name("a")]).await.unwrap_err();
    assert!(error.transient && error.message.contains("replica"), "{error}");
    assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    while let Err(error) = store.read(&[name("a")]).await {
        assert!(error.transient, "{error}");
        tokio::task::yield_now().await;
    }
}

/// An outage costs some calls their time limit, and no more of them.
#[tokio::test]
async fn a_redis_that_hangs_is_not_asked_again_and_again() {
    let server = Server::start(Program::Redis);
    let store = RedisStore::new(&options(&server.url(), Duration::from_millis(150))).unwrap();
    let (_, coherence) = Heard::of(&store);
    until_verified(&coherence).await;
    server.freeze();
    let stood_at = loop {
        let error = store.ping().await.unwrap_err();
        assert!(error.transient, "{error}");
        if error.message.contains("it has not answered for") {
            break coherence.verified_at(Partition::DIRECTORY);
        }
    };
    for _ in 0..1_000 {
        assert!(store.ping().await.unwrap_err().transient);
    }
    assert_eq!(coherence.verified_at(Partition::DIRECTORY), stood_at);
    server.thaw();
    until_verified(&coherence).await;
    while let Err(error) = store.ping().await {
        assert!(error.transient, "{error}");
    }
}

#[tokio::test]
async fn a_store_that_went_back_in_time_is_noticed() {
    for went_back in [WentBack::Report, WentBack::Refuse] {
        let mut server = Server::start(Program::Redis);
        let store = RedisStore::new(&RedisOptions { went_back, ..options(&server.url(), Duration::from_secs(30)) }).unwrap();
        let (_, coherence) = Heard::of(&store);
        let [session, ..] = family("AbCdEfGh0123");
        store.commit(Change { steps: vec![put(&session, 1)], takes_away: true, ..Change::default() }).await.unwrap();
        assert_eq!(server.command(&["HGET", "kg:m:{sa}", "n"]), "$1");
        until_verified(&coherence).await;
        until_verified(&coherence).await;
        assert!(!coherence.went_back.load(SeqCst));
        // It keeps nothing over a restart.
        server.restart();
        until(|| coherence.went_back.load(SeqCst)).await;
        while let Err(error) = store.ping().await {
            assert!(error.transient, "{error}");
        }
        match went_back {
            WentBack::Report => until_verified(&coherence).await,
            WentBack::Refuse => {
                // Canaries are sent all the same: each of them is an EVAL.
                let sent =
                    || server.text(&["INFO", "commandstats"]).lines().find(|line| line.contains("_eval:")).map(str::to_owned);
                let before = sent();
                until(|| sent() != before).await;
                assert_eq!(coherence.verified_at(Partition::DIRECTORY), BootTime::from_nanos(0));
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_went_back_in_time_and_has_caught_up_is_noticed() {
    let server = Server::start(Program::Redis);
    let store = patient(&server);
    let (_, coherence) = Heard::of(&store);
    for version in 1..=20 {
        let taking = Change { takes_away: true, ..steps([put(&name("anna"), version)]) };
        store.commit(taking).await.unwrap();
        until_verified(&coherence).await;
    }
    assert_eq!(server.command(&["HLEN", "kg:m:{d}"]), ":10");
    assert!(!coherence.went_back.load(SeqCst));
    // As if the twentieth had been another one.
    server.command(&["HINCRBY", "kg:m:{d}", "t4", "7"]);
    until(|| coherence.went_back.load(SeqCst)).await;
}
