//! Never in after revoked: three replicas, clients that check without pause, and everything that can be taken is taken, while
//! Redis, the replicas and what is between them fail in every way. Afterwards nobody may be found who was let in too late.

mod away;
mod fleet;
mod load;
mod parted;
mod takings;
mod topologies;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use self::fleet::{Crowd, Fleet, REPLICAS, STALENESS};
use self::load::Load;
use self::takings::Takings;
use crate::support::faulty::{Faulty, Flow};
use crate::support::history::{Answer, Check, Outcome, Taken, violations};
use crate::support::programs::wait_until;
use crate::support::redis::{Program, Server};

const CLIENTS: usize = 64;
/// Not noticed, or hardly.
const SHORT: Duration = Duration::from_millis(200);
/// Longer than anything may be remembered.
const LONG: Duration = Duration::from_millis(1200);

fn lasting_redis() -> Server {
    Server::start_with(Program::Redis, &["--appendonly", "yes", "--appendfsync", "always"])
}

fn last(time: Duration) {
    wait_until(Instant::now() + time);
}

type Fault = fn(&mut Server, &mut Fleet);

/// What goes wrong, one after the other.
const FAULTS: [(&str, Fault); 16] = [
    ("Redis stops for a moment", |server, _| {
        server.freeze();
        last(SHORT);
        server.thaw();
    }),
    ("Redis stops for long", |server, _| {
        server.freeze();
        last(LONG);
        server.thaw();
    }),
    ("a replica stops for a moment", |_, fleet| stop_replica(fleet, 0, SHORT)),
    ("a replica stops for long", |_, fleet| stop_replica(fleet, 1, LONG)),
    ("Redis kills all connections", |server, _| {
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }),
    ("a tracking connection is cut", |_, fleet| fleet.ways[2].cut_tracking()),
    ("pushes come late", |_, fleet| while_told(fleet, 0, Flow::Late(SHORT))),
    ("pushes come later than the bound", |_, fleet| while_told(fleet, 1, Flow::Late(LONG))),
    ("pushes are lost", |_, fleet| while_told(fleet, 2, Flow::Lost)),
    ("what a replica says on its tracking connection is lost", |_, fleet| {
        fleet.ways[0].said(Flow::Lost);
        last(LONG);
        fleet.ways[0].said(Flow::Free);
    }),
    ("answers to single reads come late", |_, fleet| {
        for delay in [50, 100, 400] {
            for way in &fleet.ways {
                way.delay_next_read(Duration::from_millis(delay));
            }
            last(SHORT);
        }
    }),
    ("everything is cut", |_, fleet| fleet.ways.iter().for_each(Faulty::cut_all)),
    ("a replica is cut off", |_, fleet| {
        fleet.ways[1].refuse(true);
        fleet.ways[1].cut_all();
        last(LONG);
        fleet.ways[1].refuse(false);
    }),
    ("Redis is killed, and has everything again", |server, _| {
        server.kill();
        last(SHORT);
        server.restart();
    }),
    ("Redis is away for long, and has everything again", |server, _| {
        server.kill();
        last(LONG);
        server.restart();
    }),
    ("Redis has no memory left", |server, _| {
        assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
        last(LONG);
        assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    }),
];

fn stop_replica(fleet: &mut Fleet, number: usize, time: Duration) {
    fleet.replicas[number].program().signal("STOP");
    last(time);
    fleet.replicas[number].program().signal("CONT");
}

fn while_told(fleet: &Fleet, number: usize, flow: Flow) {
    fleet.ways[number].told(flow);
    last(LONG);
    fleet.ways[number].told(Flow::Free);
}

/// Everything that was seen, and whom it accuses.
fn judge(fleet: &Fleet, checks: &[Check], taken: &[Taken]) {
    let of = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let counts = [Outcome::Allowed, Outcome::Refused, Outcome::Unavailable, Outcome::Lost].map(of);
    println!(
        "{} checks: {} allowed, {} refused, {} unavailable, {} lost",
        checks.len(),
        counts[0],
        counts[1],
        counts[2],
        counts[3]
    );
    let mut kinds: BTreeMap<(&str, bool), [usize; 3]> = BTreeMap::new();
    for taking in taken {
        let place = match taking.answer {
            Answer::Done(_) => 0,
            Answer::Unconfirmed => 1,
            Answer::Lost => 2,
        };
        kinds.entry((taking.what, taking.waits)).or_default()[place] += 1;
    }
    for ((what, waits), [done, unconfirmed, lost]) in &kinds {
        println!("{what}, {} waiting: {done}, {unconfirmed} unconfirmed, {lost} given up", if *waits { "with" } else { "without" });
    }
    let mut found = violations(checks, taken, STALENESS);
    found.sort_by_key(|violation| (violation.taken.began, violation.check.began));
    // Of each thing that was taken, the first time that it was let in too late.
    let of_each: Vec<_> =
        found.chunk_by(|one, other| one.taken.began == other.taken.began).map(|chunk| (&chunk[0], chunk.len())).collect();
    let start = checks.iter().map(|check| check.began).min().expect("there were checks");
    let told = of_each.iter().map(|(first, count)| {
        let asked = first.taken.began - start;
        format!("asked for {asked:.2?} after the start, {count} times, first: {first}")
    });
    let told: Vec<_> = told.take(40).collect();
    let logs: Vec<_> = fleet.replicas.iter().map(|replica| replica.folder.path().display().to_string()).collect();
    assert!(found.is_empty(), "{} were let in too late:\n{}\nlogs in {logs:?}", found.len(), told.join("\n"));
}

fn is_full() -> bool {
    std::env::var_os("KEYGATE_TEST_FULL").is_some()
}

/// Clients that check, and everything that is taken meanwhile.
struct Run {
    load: Load,
    taken: Vec<Taken>,
}

impl Run {
    /// Lets things happen while all that can be taken is taken, in about so much time, from all but some that are named; then
    /// whoever lives gets in again, everywhere and without anything being done for it. The clients go on.
    async fn through(fleet: &mut Fleet, lasting: Duration, happens: impl FnOnce(&mut Fleet, &[usize])) -> Self {
        let mut taken = fleet.add_expiring(lasting).await;
        let load = Load::start(fleet, CLIENTS);
        let takings = Takings::start(fleet, lasting, 1);
        let expiring = taken.iter().flat_map(|taking| taking.from.clone());
        let doomed: HashSet<usize> = takings.doomed.iter().copied().chain(expiring).collect();
        let live: Vec<usize> = (0..fleet.credentials.len()).filter(|index| !doomed.contains(index)).collect();
        assert!(live.len() > 20, "{} stay", live.len());
        tokio::task::block_in_place(|| happens(fleet, &live));
        taken.extend(takings.end().await);
        tokio::task::block_in_place(|| fleet.wait_until_all_get_in(&live));
        Self { load, taken }
    }
}

fn assert_each_replica_let_in(checks: &[Check]) {
    for replica in 0..REPLICAS {
        let of_it = checks.iter().filter(|check| check.replica == replica && check.outcome == Outcome::Allowed);
        assert!(of_it.count() > 500, "replica {replica} let in too few to judge");
    }
}

fn assert_acknowledged(taken: &[Taken], kinds: &[&str]) {
    for what in kinds {
        let done = |taking: &Taken| taking.what == *what && matches!(taking.answer, Answer::Done(_));
        assert!(taken.iter().any(done), "{what}: never acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_after_what_he_shows_was_taken_away() {
    let (lasting, rounds) = if is_full() { (Duration::from_secs(70), 3) } else { (Duration::from_secs(14), 1) };
    let mut server = lasting_redis();
    let mut fleet = Fleet::start(server.port());
    fleet.furnish(Crowd { services: 50, tokens_of_each: 17, people: 15, sessions_of_each: 6 }).await;
    let began = Instant::now();
    let Run { load, mut taken } = Run::through(&mut fleet, lasting, |fleet, _| {
        for round in 1.. {
            for (what, fault) in FAULTS {
                println!("{:>6.2} s: {what}", began.elapsed().as_secs_f64());
                fault(&mut server, fleet);
                last(SHORT * 2);
            }
            if round >= rounds && began.elapsed() >= lasting {
                break;
            }
        }
    })
    .await;
    assert_eq!(fleet.credentials.len(), 1000);

    let flushing = Instant::now();
    assert_eq!(server.command(&["FLUSHALL"]), "+OK");
    let everybody = (0..fleet.credentials.len()).collect();
    let answer = Answer::Done(Instant::now());
    taken.push(Taken { what: "everything is deleted", from: everybody, began: flushing, waits: false, answer });
    tokio::task::block_in_place(|| last(STALENESS * 3));
    let checks = load.end();
    judge(&fleet, &checks, &taken);

    // Enough has happened for that to mean something.
    assert_each_replica_let_in(&checks);
    let kinds = ["a token is revoked", "a token is rotated", "a session is ended", "an account is disabled"];
    assert_acknowledged(&taken, &kinds);
    assert_acknowledged(&taken, &["a token expires", "access is withdrawn", "everything is revoked"]);
    let after_the_end = checks.iter().filter(|check| check.outcome == Outcome::Refused && check.began > flushing + STALENESS);
    assert!(after_the_end.count() > 100, "nobody was refused after everything had been deleted");
    assert!(fleet.ways.iter().all(|way| way.reads_delayed() > 0 || is_full()), "no answer was late");
}
