//! The same over a cluster whose network parts. A master that the others have lost goes on for a while as if it were one, for
//! whoever still reaches it: all replicas of Keygate, or one that is alone with it while the others follow its heir.

use std::time::{Duration, Instant};

use super::fleet::{Fleet, REPLICAS, STALENESS};
use super::topologies::{CROWD, programs, role, say};
use super::{LONG, Run, assert_acknowledged, assert_each_replica_let_in, is_full, judge, last};
use crate::support::history::{Check, Outcome, Taken, violations};
use crate::support::network::{Network, Party, client, node};
use crate::support::programs::wait_for;
use crate::support::redis::Program;
use crate::support::redis_cluster::Cluster;

/// The nodes that may be the master of the directory: it has two replicas, so that whichever takes over has one to confirm.
const THOSE_OF_THE_DIRECTORY: [usize; 3] = [2, 5, 6];

/// A time in which a master was cut off.
struct Parting {
    /// The replica of Keygate that was on its side.
    beside: Option<usize>,
    since: Instant,
    /// Until then at least nobody had taken over from it.
    alone_until: Instant,
    until: Instant,
}

impl Parting {
    /// Cuts the master of the directory off until all replicas of Keygate follow another, but for one that cannot.
    fn make(cluster: &Cluster, network: &Network, fleet: &Fleet, live: &[usize], beside: Option<usize>) -> Self {
        let servers = &cluster.servers;
        let is_master = |&number: &usize| role(&servers[number]) == "master";
        let old = THOSE_OF_THE_DIRECTORY.into_iter().find(is_master).expect("the network is whole");
        let (nodes, clients) = ((0..servers.len()).map(node), (0..REPLICAS).map(client));
        let these: Vec<_> = std::iter::once(node(old)).chain(beside.map(client)).collect();
        let is_other = |party: &Party| !these.contains(party);
        // Where none of them is beside it, all of them reach everybody.
        let clients = clients.filter(|_| beside.is_some());
        network.cut_off(these.clone(), nodes.chain(clients).filter(is_other));
        let since = Instant::now();
        let mut alone_until = since;
        wait_for("one of its replicas to take over", || {
            let looked = Instant::now();
            let heir = THOSE_OF_THE_DIRECTORY.into_iter().filter(|number| *number != old).find(is_master);
            if heir.is_none() {
                alone_until = looked;
            }
            heir
        });
        assert!(is_master(&old), "nobody has told it");
        wait_for("the one that is cut off to see that it is", || {
            (servers[old].says(&["CLUSTER", "INFO"], "cluster_state") == "fail").then_some(())
        });
        for replica in (0..REPLICAS).filter(|replica| Some(*replica) != beside) {
            fleet.wait_until_let_in_by(replica, live);
        }
        last(LONG);
        let until = Instant::now();
        network.heal();
        wait_for("the old master to follow its heir", || (!is_master(&old)).then_some(()));
        wait_for("it to be in step", || (servers[old].says(&["INFO", "replication"], "master_link_status") == "up").then_some(()));
        fleet.wait_until_all_get_in(live);
        last(LONG);
        Self { beside, since, alone_until, until }
    }

    /// Somebody was let in at a time at which no replica of the store could have confirmed that he still may.
    fn is_against_it(&self, check: &Check) -> bool {
        let until = if self.beside == Some(check.replica) { self.until } else { self.alone_until };
        check.outcome == Outcome::Allowed && check.began > self.since + STALENESS && check.ended < until
    }
}

struct Seen {
    fleet: Fleet,
    checks: Vec<Check>,
    taken: Vec<Taken>,
    partings: Vec<Parting>,
}

/// Cuts the master of the directory off, once with each of these beside it.
async fn run(program: Program, wait_replicas: u32, beside: &[Option<usize>], lasting: Duration) -> Seen {
    let mut network = Network::default();
    let cluster = Cluster::start_in(&mut network, program, REPLICAS);
    assert!(THOSE_OF_THE_DIRECTORY.contains(&cluster.master_of("d")));
    let urls: Vec<_> = (0..REPLICAS).map(|number| cluster.url_at(client(number))).collect();
    let mut fleet = Fleet::on(&urls, &format!("wait_replicas = {wait_replicas}\n"));
    fleet.furnish(CROWD).await;
    let mut partings = Vec::new();
    let Run { load, taken } = Run::through(&mut fleet, lasting, |fleet, live| {
        let began = Instant::now();
        last(LONG);
        for &beside in beside {
            say(&began, &format!("a master is cut off, beside it: {beside:?}"));
            partings.push(Parting::make(&cluster, &network, fleet, live, beside));
        }
        say(&began, "the network is whole");
    })
    .await;
    Seen { checks: load.end(), fleet, taken, partings }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_by_a_master_that_is_cut_off_from_its_majority() {
    for program in programs(Program::Redis) {
        let (rounds, lasting) = if is_full() { (3, Duration::from_secs(45)) } else { (1, Duration::from_secs(14)) };
        let beside = [None, Some(0)].repeat(rounds);
        let Seen { fleet, checks, taken, partings } = run(program, 1, &beside, lasting).await;
        judge(&fleet, &checks, &taken);
        assert_each_replica_let_in(&checks);
        assert_acknowledged(&taken, &["a token is revoked", "a token is rotated", "a session is ended", "a token expires"]);
        for parting in partings {
            let against: Vec<_> = checks.iter().filter(|check| parting.is_against_it(check)).collect();
            let (alone, all) = (parting.alone_until - parting.since, parting.until - parting.since);
            println!("parted for {all:.2?}, for {alone:.2?} without another master, beside it: {:?}", parting.beside);
            assert!(against.is_empty(), "{} were let in by a master that is alone: {:?}", against.len(), against[0]);
        }
    }
}

/// Where no replica has to confirm anything; so the run above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_cut_off_loses_what_only_it_was_told() {
    let Seen { checks, taken, .. } = run(Program::Valkey, 0, &[None], Duration::from_secs(6)).await;
    let found = violations(&checks, &taken, STALENESS);
    println!("{} were let in too late", found.len());
    assert!(found.iter().any(|violation| violation.taken.waits), "nobody was let in whose end had been acknowledged");
}
