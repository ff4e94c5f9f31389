//! A master that is another one from time to time, and partitions that move: nothing is vouched for that is not known.

use std::{collections::BTreeSet, sync::atomic::Ordering::SeqCst, time::Duration};

use keygate::{
    clock::BootTime,
    store::{
        Change, CommitError, Key, Partition, Step, Store, StoreError, Trouble,
        live::Answer,
        redis::{RedisOptions, RedisStore},
    },
};

use super::{
    families::family,
    get, name, options, put, steps,
    telling::{Heard, until, until_verified},
    uses::{at, token},
    version,
};
use crate::support::programs::wait_for_async;
use crate::support::redis::{Program, Server};
use crate::support::{
    network::{Network, client},
    redis_cluster::Cluster,
    redis_sentinel::Sentinels,
};

/// As in production.
fn store_at(url: &str) -> RedisStore {
    RedisStore::new(&options(url, Duration::from_millis(150))).unwrap()
}

fn store_error(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        other => panic!("{other}"),
    }
}

/// Tries until it is done; all that stands in its way must be of the kind that goes away.
async fn commit(store: &RedisStore, change: Change) {
    wait_for_async("a change to be taken", async || match store.commit(change.clone()).await {
        Ok(()) => Some(()),
        Err(error) => {
            let error = store_error(error);
            assert!(error.transient, "{error}");
            None
        }
    })
    .await;
}

async fn version_in_time(store: &RedisStore, key: &Key) -> Option<u64> {
    wait_for_async("an answer", async || match store.read(std::slice::from_ref(key)).await {
        Ok(mut read) => Some(read.remove(0).map(|stored| stored.version)),
        Err(error) => {
            assert!(error.transient, "{error}");
            None
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_follows_the_master_that_sentinels_name() {
    for program in [Program::Redis, Program::Valkey] {
        let mut redis = Sentinels::start(program);
        let store = store_at(&redis.url());
        let (heard, coherence) = Heard::of(&store);
        commit(&store, steps([put(&name("anna"), 1)])).await;
        until_verified(&coherence).await;
        for killed in [false, true] {
            heard.forget();
            let old = redis.master();
            let new = if killed {
                redis.servers[old].kill();
                redis.wait_for_another(old)
            } else {
                redis.failover()
            };
            // The old one may take itself for the master for a while longer.
            until(|| heard.has_lost_all()).await;
            until_verified(&coherence).await;
            assert!(version_in_time(&store, &name("anna")).await.is_some());
            commit(&store, steps([put(&name("anna"), 7)])).await;
            assert!(!redis.servers[new].text(&["GET", "kg:r:{d}:name:anna"]).is_empty());
            until_verified(&coherence).await;
            assert!(heard.has(&name("anna")));
        }
        assert_eq!(store.live().await.servers[0].address, format!("127.0.0.1:{}", redis.servers[redis.master()].port()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_is_behind_is_not_believed_while_the_others_are_slow() {
    let mut redis = Sentinels::start(Program::Redis);
    let store = store_at(&redis.url());
    let (_, coherence) = Heard::of(&store);
    until_verified(&coherence).await;
    redis.sentinels[2].kill();
    let old = redis.master();
    let new = redis.failover();
    let address = format!("127.0.0.1:{}", redis.servers[new].port());
    let is_followed = async || (store.live().await.servers[0].address == address).then_some(());
    wait_for_async("the new master to be followed", is_followed).await;
    until_verified(&coherence).await;
    // It has slept through that, and nobody tells it.
    redis.sentinels[..2].iter().for_each(Server::freeze);
    redis.sentinels[2].restart();
    let behind = &redis.sentinels[2];
    assert_eq!(Sentinels::master_of(behind), redis.servers[old].port());
    let (reconnects, mut looks) = (coherence.reconnects.load(SeqCst), 0);
    let asked = || behind.says(&["INFO", "stats"], "total_connections_received").parse::<u64>().unwrap();
    let before = asked();
    wait_for_async("it to be asked", async || {
        looks += 1;
        (asked() - before - looks > 3).then_some(())
    })
    .await;
    until_verified(&coherence).await;
    assert_eq!(Sentinels::master_of(behind), redis.servers[old].port());
    assert!(is_followed().await.is_some());
    assert_eq!(coherence.reconnects.load(SeqCst), reconnects);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_do_not_confirm_is_applied_and_said_to_be_unconfirmed() {
    for program in [Program::Redis, Program::Valkey] {
        let master = Server::start_with(program, &["--repl-diskless-sync-delay", "0"]);
        let port = master.port().to_string();
        let replica = Server::start_with(program, &["--replicaof", "127.0.0.1", &port]);
        until(|| master.text(&["INFO", "replication"]).contains("state=online")).await;
        // A part of it is for the replicas, and the rest for a busy machine.
        let options = options(&master.url(), Duration::from_secs(4));
        let store = RedisStore::new(&RedisOptions { wait_replicas: 1, ..options }).unwrap();
        let (_, coherence) = Heard::of(&store);
        until_verified(&coherence).await;
        let taking = |version| Change { takes_away: true, ..steps([put(&name("anna"), version)]) };
        store.commit(taking(1)).await.unwrap();
        replica.freeze();
        let unconfirmed = store_error(store.commit(taking(2)).await.unwrap_err());
        assert_eq!((unconfirmed.transient, &unconfirmed.trouble), (true, &Trouble::Unconfirmed), "{unconfirmed}");
        assert_eq!(version(&store, &name("anna")).await, Some(2));
        // What gives rights does not wait, and nothing is vouched for.
        store.commit(steps([put(&name("anna"), 3)])).await.unwrap();
        until(|| coherence.verified_at(Partition::DIRECTORY) == BootTime::from_nanos(0)).await;
        replica.thaw();
        until_verified(&coherence).await;
        // A script that Redis has forgotten is sent again, and waited for again.
        assert_eq!(master.command(&["SCRIPT", "FLUSH"]), "+OK");
        store.commit(taking(4)).await.unwrap();
        let Answer::Told(facts) = store.live().await.servers.remove(0).answer else { panic!("it is there") };
        let set_up = (facts.role.as_str(), facts.replicas, facts.eviction.as_str(), facts.append_only);
        assert_eq!(set_up, ("master", 1, "noeviction", false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_spread_over_a_cluster() {
    let cluster = Cluster::start(Program::Redis);
    let tags = ["d", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "sa", "sb", "sc", "sd", "se", "sf"];
    let masters: BTreeSet<_> = tags.map(|tag| cluster.master_of(tag)).into_iter().collect();
    assert_eq!(masters.len(), 3);
    let store = store_at(&cluster.url());
    let (_, coherence) = Heard::of(&store);
    until_verified(&coherence).await;
    // Last uses of all partitions at once.
    let uses: Vec<_> = (0..100).map(|number| (token(number), at(7, ""))).collect();
    store.note_uses(&uses).await.unwrap();
    let tokens: Vec<_> = uses.iter().map(|(token, _)| token.clone()).collect();
    assert!(store.uses(&tokens).await.unwrap().iter().all(|last| *last == Some(at(7, ""))));
    store.forget_uses(&tokens).await.unwrap();
    assert!(store.uses(&tokens).await.unwrap().iter().all(Option::is_none));
    assert_eq!(store.live().await.servers.len(), 3);
}

/// With what the README says that a user needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_a_cluster_needs_a_few_commands_more() {
    let readme = include_str!("../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, rights) = readme.split_once("A Redis user of its own").expect("the README says so");
    let (rights, _) = rights.split_once("as well.").expect("the README says so");
    let rights: Vec<&str> = rights.split([' ', '`', ';']).filter(|word| word.starts_with('+')).collect();
    let cluster = Cluster::start(Program::Redis);
    for server in &cluster.servers {
        let user = [["ACL", "SETUSER", "keygate", "on", ">p@w", "~kg:*"].as_slice(), &rights].concat();
        assert_eq!(server.command(&user), "+OK");
    }
    let store = store_at(&cluster.url().replace("://", "://keygate:p%40w@"));
    let (_, coherence) = Heard::of(&store);
    for key in [name("anna"), family("AbCdEfGh0123")[0].clone(), family("AbCdEfGh0124")[0].clone()] {
        commit(&store, Change { takes_away: true, ..steps([put(&key, 1)]) }).await;
        assert_eq!(version(&store, &key).await, Some(1));
    }
    until_verified(&coherence).await;
    assert!(store.live().await.servers.iter().all(|server| server.denied.is_empty()));
    // Who does not give a password is told so, and what is wrong is not of the kind that goes away.
    for server in &cluster.servers {
        assert_eq!(server.command(&["ACL", "SETUSER", "default", "off"]), "+OK");
    }
    let stranger = store_at(&cluster.url());
    wait_for_async("to be refused", async || {
        let refused = stranger.ping().await;
        refused.is_err_and(|error| !error.transient).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_follows_a_slot_that_moves() {
    for program in [Program::Redis, Program::Valkey] {
        let cluster = Cluster::start(program);
        let store = store_at(&cluster.url());
        let (heard, coherence) = Heard::of(&store);
        let keys: Vec<Key> = (0..40).map(|number| name(format!("n{number}"))).collect();
        for key in &keys {
            commit(&store, Change { takes_away: true, ..steps([put(key, 1)]) }).await;
        }
        until_verified(&coherence).await;
        heard.forget();
        let slot = cluster.slot_of("d");
        let from = cluster.master_of("d");
        let to = (from + 1) % 3;
        cluster.begin_to_move(slot, from, to);
        // What is not there may be made elsewhere from now on.
        until_verified(&coherence).await;
        until_verified(&coherence).await;
        assert_eq!(heard.lost.lock().unwrap().as_slice(), [Partition::DIRECTORY]);
        assert_eq!(version(&store, &name("nobody")).await, None);
        assert!(heard.has(&name("nobody")), "it was asked for elsewhere, and must not be kept");
        // Some are here, some there; each is read as it is, and what came from there is not kept.
        cluster.move_keys(slot, from, to, 20);
        heard.forget();
        let read = store.read(&keys).await.unwrap();
        assert!(read.iter().all(|stored| stored.as_ref().is_some_and(|stored| stored.version == 1)));
        for key in &keys {
            let record = format!("kg:r:{{d}}:{}", key.name());
            let is_here = cluster.servers[from].command(&["EXISTS", &record]) == ":1";
            assert!(is_here || heard.has(key), "{key:?}");
        }
        // A change of what is on both sides cannot be made before the end.
        for key in &keys {
            if let Err(error) = store.commit(steps([put(key, 2), Step::Delete(name("nobody"))])).await {
                let error = store_error(error);
                assert!(error.transient && error.trouble != Trouble::Unconfirmed, "{error}");
            }
        }
        while cluster.move_keys(slot, from, to, 20) > 0 {}
        cluster.end_of_move(slot, from, to);
        for key in &keys {
            commit(&store, steps([put(key, 3)])).await;
        }
        until_verified(&coherence).await;
        assert!(heard.lost.lock().unwrap().contains(&Partition::DIRECTORY));
        for key in &keys {
            assert_eq!(version(&store, key).await, Some(3));
        }
        assert_eq!(get(&store, &name("nobody")).await, None);
        assert!(!coherence.went_back.load(SeqCst));
        cluster.migrate_slot(slot, to, from);
        until_verified(&coherence).await;
        assert_eq!(version_in_time(&store, &keys[0]).await, Some(3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_follows_the_masters_of_a_cluster() {
    for program in [Program::Redis, Program::Valkey] {
        let mut cluster = Cluster::start(program);
        let store = store_at(&cluster.url());
        let (heard, coherence) = Heard::of(&store);
        let [session, ..] = family("AbCdEfGh0123");
        commit(&store, steps([put(&name("anna"), 1)])).await;
        commit(&store, steps([put(&session, 1)])).await;
        until_verified(&coherence).await;
        heard.forget();
        let old = cluster.master_of("d");
        cluster.failover(old + 3);
        until_verified(&coherence).await;
        assert!(heard.lost.lock().unwrap().contains(&Partition::DIRECTORY));
        assert_eq!(version_in_time(&store, &name("anna")).await, Some(1));
        cluster.servers[old + 3].kill();
        // The others go on meanwhile.
        let elsewhere = ["sa", "sb", "s0"].into_iter().find(|tag| cluster.master_of(tag) != old + 3);
        assert!(elsewhere.is_some());
        commit(&store, steps([put(&name("anna"), 2)])).await;
        until_verified(&coherence).await;
        assert_eq!(cluster.master_of("d"), old);
        assert_eq!(version_in_time(&store, &session).await, Some(1));
    }
}

/// A canary needs a slot of its master: it has to learn which are left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_vouches_for_a_master_that_has_lost_all_slots_but_ours() {
    let cluster = Cluster::start(Program::Redis);
    let store = store_at(&cluster.url());
    let (_, coherence) = Heard::of(&store);
    until_verified(&coherence).await;
    let from = cluster.master_of("d");
    let tags = ["d", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "sa", "sb", "sc", "sd", "se", "sf"];
    let ours: BTreeSet<u16> = tags.map(|tag| cluster.slot_of(tag)).into_iter().collect();
    cluster.give_all_slots_but(&ours, from, (from + 1) % 3);
    until_verified(&coherence).await;
    assert_eq!(cluster.master_of("d"), from);
    commit(&store, Change { takes_away: true, ..steps([put(&name("anna"), 1)]) }).await;
    assert_eq!(version_in_time(&store, &name("anna")).await, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_do_not_know_their_host_are_sought_at_the_one_that_was_asked() {
    let mut network = Network::default();
    let cluster = Cluster::start_in(&mut network, Program::Redis, 1);
    let store = store_at(&cluster.url_at(client(0)));
    commit(&store, steps([put(&name("anna"), 1)])).await;
    let (slot, from) = (cluster.slot_of("d"), cluster.master_of("d"));
    let to = (from + 1) % 3;
    cluster.begin_to_move(slot, from, to);
    commit(&store, steps([put(&name("bert"), 1)])).await;
    assert_eq!(cluster.servers[to].command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]), ":1");
    assert_eq!(version_in_time(&store, &name("bert")).await, Some(1));
}
