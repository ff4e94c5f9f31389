//! The same over masters that come and go: a Sentinel trio and a cluster. What takes away waits for a replica of the store, so
//! that no master that was replaced can vouch for what it has not heard of.

use std::time::{Duration, Instant};

use super::fleet::{Crowd, Fleet, REPLICAS};
use super::{LONG, Run, SHORT, assert_acknowledged, assert_each_replica_let_in, is_full, judge, last};
use crate::support::programs::wait_for;
use crate::support::redis::{Program, Server};
use crate::support::redis_cluster::Cluster;
use crate::support::redis_sentinel::Sentinels;

pub(super) const CROWD: Crowd = Crowd { services: 24, tokens_of_each: 8, people: 6, sessions_of_each: 4 };
const LASTING: Duration = Duration::from_secs(12);

pub(super) fn programs(short: Program) -> Vec<Program> {
    if is_full() { vec![Program::Redis, Program::Valkey] } else { vec![short] }
}

async fn run(url: String, wait_replicas: u32, happens: impl FnOnce()) {
    let mut fleet = Fleet::on(&vec![url; REPLICAS], &format!("wait_replicas = {wait_replicas}\n"));
    fleet.furnish(CROWD).await;
    let Run { load, taken } = Run::through(&mut fleet, LASTING, |_, _| happens()).await;
    let checks = load.end();
    judge(&fleet, &checks, &taken);
    assert_each_replica_let_in(&checks);
    assert_acknowledged(&taken, &["a token is revoked", "a token is rotated", "a session is ended", "a token expires"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_by_a_master_that_sentinels_have_replaced() {
    for program in programs(Program::Redis) {
        let mut sentinels = Sentinels::start(program);
        run(sentinels.url(), 1, || {
            let began = Instant::now();
            last(LONG);
            say(&began, "a master is frozen over a failover, and goes on");
            let frozen = sentinels.master();
            sentinels.servers[frozen].freeze();
            sentinels.wait_for_another(frozen);
            last(LONG);
            sentinels.servers[frozen].thaw();
            last(LONG);
            wait_for("the old master to follow the new one", || (role(&sentinels.servers[frozen]) == "slave").then_some(()));
            say(&began, "a master is killed");
            let killed = sentinels.master();
            sentinels.servers[killed].kill();
            sentinels.wait_for_another(killed);
            last(LONG);
        })
        .await;
    }
}

/// While one replica is being made the master, the other one still confirms what the old master takes, and that is lost. So
/// where nothing acknowledged may be lost, all replicas have to confirm it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_by_all_replicas_is_lost_by_a_failover_in_good_order() {
    for program in programs(Program::Redis) {
        let sentinels = Sentinels::start(program);
        run(sentinels.url(), 2, || {
            let began = Instant::now();
            for _ in 0..3 {
                last(LONG);
                say(&began, "a failover in good order");
                sentinels.failover();
                say(&began, "it is over");
                last(LONG);
            }
        })
        .await;
    }
}

pub(super) fn say(began: &Instant, what: &str) {
    println!("{:>6.2} s: {what}", began.elapsed().as_secs_f64());
}

pub(super) fn role(server: &Server) -> String {
    server.says(&["INFO", "replication"], "role")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_by_a_master_that_a_cluster_has_replaced() {
    for program in programs(Program::Valkey) {
        let mut cluster = Cluster::start(program);
        run(cluster.url(), 1, || {
            let began = Instant::now();
            last(LONG);
            let (slot, from) = (cluster.slot_of("d"), cluster.master_of("d"));
            let to = (from + 1) % 3;
            say(&began, &format!("the directory moves from {from} to {to}"));
            cluster.begin_to_move(slot, from, to);
            while cluster.move_keys(slot, from, to, 20) > 0 {
                last(SHORT / 4);
            }
            cluster.end_of_move(slot, from, to);
            last(LONG);
            say(&began, "its master is frozen over a failover, and goes on");
            let heir = to + 3;
            cluster.servers[to].freeze();
            wait_for("its replica to take over", || (role(&cluster.servers[heir]) == "master").then_some(()));
            last(LONG);
            cluster.servers[to].thaw();
            last(LONG);
            wait_for("the old master to follow the new one", || (role(&cluster.servers[to]) == "slave").then_some(()));
            wait_for("it to be in step", || {
                (cluster.servers[to].says(&["INFO", "replication"], "master_link_status") == "up").then_some(())
            });
            say(&began, "its master is killed");
            cluster.servers[heir].kill();
            wait_for("its replica to take over", || (role(&cluster.servers[to]) == "master").then_some(()));
            last(LONG);
            // Nothing that is taken away from a master without replicas is acknowledged, and no canary of it counts.
            cluster.servers[heir].restart();
            last(LONG);
        })
        .await;
    }
}
