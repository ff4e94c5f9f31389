//! A Redis that goes away under load and comes back: with everything, and with nothing.

use std::time::Instant;

use super::fleet::{Crowd, Fleet, Kind, STALENESS};
use super::load::Load;
use super::{LONG, SHORT, judge, last, lasting_redis};
use crate::support::history::{Answer, Check, Outcome, Taken};
use crate::support::programs::wait_for;
use crate::support::redis::Server;
use crate::support::steady::Steady;

const FEW: Crowd = Crowd { services: 3, tokens_of_each: 8, people: 2, sessions_of_each: 3 };
const CLIENTS: usize = 12;

async fn start(server: &Server) -> Fleet {
    let mut fleet = Fleet::start(server.port());
    fleet.furnish(FEW).await;
    fleet
}

/// Nobody is told that his session has ended, or that his token is none.
fn assert_all_are_put_off(fleet: &Fleet) {
    for replica in &fleet.replicas {
        let mut steady = Steady::new(replica.check);
        for credential in &fleet.credentials {
            let answer = steady.ask(&credential.head).expect("a replica answers");
            let text = |name| answer.header(name).unwrap_or_default();
            assert_eq!((answer.status, text("X-Auth-Reason")), (503, "store_unavailable"), "{:?}", credential.kind);
            assert_eq!(text("Set-Cookie"), "", "{:?}: the cookie is kept", credential.kind);
        }
    }
}

/// While it is away nobody gets in who began later than `max_staleness` after it was; nobody is refused at any time.
fn while_away(go: impl FnOnce(&mut Server), come_back: impl FnOnce(&mut Server)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    let mut server = lasting_redis();
    let fleet = runtime.block_on(start(&server));
    let all: Vec<usize> = (0..fleet.credentials.len()).collect();
    fleet.wait_until_all_get_in(&all);
    let load = Load::start(&fleet, CLIENTS);
    last(SHORT);
    go(&mut server);
    let gone = Instant::now();
    last(LONG);
    assert_all_are_put_off(&fleet);
    let coming = Instant::now();
    come_back(&mut server);
    let back = Instant::now();
    fleet.wait_until_all_get_in(&all);
    last(SHORT);
    let checks = load.end();

    let allowed = |check: &&Check| check.outcome == Outcome::Allowed;
    let late = checks.iter().filter(allowed).filter(|check| check.began > gone + STALENESS && check.ended < coming);
    assert_eq!(late.count(), 0, "were let in though nobody could know");
    let refused = checks.iter().filter(|check| check.outcome == Outcome::Refused);
    assert_eq!(refused.count(), 0, "were told that they are nobody");
    let on = checks.iter().filter(allowed).filter(|check| check.began > gone && check.began < coming);
    println!("{} were still let in", on.count());
    for replica in 0..fleet.replicas.len() {
        let first = checks.iter().filter(allowed).filter(|check| check.replica == replica && check.ended > back);
        let first = first.map(|check| check.ended - back).min().expect("some are let in again");
        println!("replica {replica} lets in again {first:?} after Redis was back");
    }
}

#[test]
fn a_redis_that_is_killed_and_comes_back_has_cost_nobody_his_session() {
    while_away(Server::kill, Server::restart);
}

#[test]
fn a_redis_that_hangs_and_goes_on_has_cost_nobody_his_session() {
    while_away(|server| server.freeze(), |server| server.thaw());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_by_what_a_store_has_lost() {
    let mut server = lasting_redis();
    let fleet = start(&server).await;
    let load = Load::start(&fleet, CLIENTS);
    tokio::task::block_in_place(|| {
        last(SHORT);
        let began = Instant::now();
        server.kill();
        let answer = Answer::Done(Instant::now());
        std::fs::remove_dir_all(server.directory().join("appendonlydir")).expect("it wrote down what it had");
        server.restart();
        for replica in &fleet.replicas {
            let mut steady = Steady::new(replica.check);
            for credential in fleet.credentials.iter().filter(|credential| credential.kind != Kind::Expiring) {
                wait_for("a definite no", || steady.status(&credential.head).filter(|status| (400..500).contains(status)));
            }
        }
        last(STALENESS);
        let checks = load.end();
        let from = (0..fleet.credentials.len()).collect();
        judge(&fleet, &checks, &[Taken { what: "the store has lost everything", from, began, waits: false, answer }]);
        assert!(checks.iter().any(|check| check.outcome == Outcome::Allowed), "nobody had been let in before");
    });
}
