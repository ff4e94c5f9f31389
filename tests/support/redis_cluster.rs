//! A cluster of three masters and three replicas, all real, on loopback.

use super::programs::wait_for;
use super::{
    programs::free_address,
    redis::{Program, Server},
};

const SLOTS: u16 = 16_384;

pub struct Cluster {
    /// At the start the first three are masters, and each of the others replicates the one three before it.
    pub servers: Vec<Server>,
}

impl Cluster {
    pub fn start(program: Program) -> Self {
        let servers: Vec<(Server, String)> = (0..6).map(|_| node(program)).collect();
        let (first, _) = &servers[0];
        for (number, (server, bus)) in servers.iter().enumerate() {
            let epoch = (number + 1).to_string();
            assert_eq!(server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]), "+OK");
            let port = server.port().to_string();
            assert_eq!(first.command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]), "+OK");
        }
        let cluster = Self { servers: servers.into_iter().map(|(server, _)| server).collect() };
        for (number, bounds) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].into_iter().enumerate() {
            assert_eq!(cluster.servers[number].command(&["CLUSTER", "ADDSLOTSRANGE", bounds.0, bounds.1]), "+OK");
        }
        cluster.wait_until_all_say("cluster_known_nodes", "6");
        cluster.wait_until_all_say("cluster_slots_assigned", "16384");
        for number in 3..6 {
            let master = cluster.id(number - 3);
            let is_done = || cluster.servers[number].command(&["CLUSTER", "REPLICATE", &master]) == "+OK";
            wait_for("a replica to be one", || is_done().then_some(()));
        }
        cluster.wait_until_all_say("cluster_state", "ok");
        for master in &cluster.servers[..3] {
            wait_for("each master to have a replica", || {
                (master.text(&["INFO", "replication"]).contains("state=online")).then_some(())
            });
        }
        for replica in &cluster.servers[3..] {
            wait_for("a replica to be in step", || {
                (replica.says(&["INFO", "replication"], "master_link_status") == "up").then_some(())
            });
        }
        cluster
    }

    fn wait_until_all_say(&self, name: &str, value: &str) {
        for server in &self.servers {
            wait_for(&format!("{name} to be {value}"), || (server.says(&["CLUSTER", "INFO"], name) == value).then_some(()));
        }
    }

    /// Two of its nodes, as one would write it.
    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", self.servers[0].port(), self.servers[4].port())
    }

    fn id(&self, number: usize) -> String {
        self.servers[number].text(&["CLUSTER", "MYID"])
    }

    pub fn slot_of(&self, tag: &str) -> u16 {
        self.running().command(&["CLUSTER", "KEYSLOT", tag]).trim_start_matches(':').parse().unwrap()
    }

    fn running(&self) -> &Server {
        self.servers.iter().find(|server| server.is_running()).unwrap()
    }

    /// Which of the servers says that it is the master of this hash tag, and owns its slot.
    pub fn master_of(&self, tag: &str) -> usize {
        let slot = self.slot_of(tag);
        wait_for("a master", || (0..self.servers.len()).find(|&number| self.owns(number, slot)))
    }

    fn owns(&self, number: usize, slot: u16) -> bool {
        let server = &self.servers[number];
        if !server.is_running() {
            return false;
        }
        // The line of its own: id, address, flags, ..., and from the ninth word on its slots.
        let nodes = server.text(&["CLUSTER", "NODES"]);
        let own = nodes.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
        own.split(' ').skip(8).filter(|word| !word.starts_with('[')).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse::<u16>().unwrap() <= slot && slot <= last.parse::<u16>().unwrap()
        })
    }

    /// Has this replica become master in good order.
    pub fn failover(&self, replica: usize) {
        assert_eq!(self.servers[replica].command(&["CLUSTER", "FAILOVER"]), "+OK");
        let server = &self.servers[replica];
        wait_for("a failover", || (server.says(&["INFO", "replication"], "role") == "master").then_some(()));
    }

    /// From now on what is not in the slot is looked for, and made, with the master `to`.
    pub fn begin_to_move(&self, slot: u16, from: usize, to: usize) {
        assert!(slot < SLOTS);
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from), self.id(to));
        assert_eq!(self.servers[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]), "+OK");
        assert_eq!(self.servers[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]), "+OK");
    }

    /// Takes up to `at_most` keys of the slot over. Returns how many.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, at_most: usize) -> usize {
        let keys = self.servers[from].list(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &at_most.to_string()]);
        let port = self.servers[to].port().to_string();
        for key in &keys {
            let moved = self.servers[from].command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            assert!(matches!(moved.as_str(), "+OK" | "+NOKEY"), "{moved}");
        }
        keys.len()
    }

    /// All keys have been taken over.
    pub fn end_of_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to));
        let others = (0..self.servers.len()).filter(|number| ![to, from].contains(number));
        for number in [to, from].into_iter().chain(others) {
            if self.servers[number].is_running() && self.servers[number].says(&["INFO", "replication"], "role") == "master" {
                assert_eq!(self.servers[number].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]), "+OK");
            }
        }
    }

    /// Moves a slot with all that is in it.
    pub fn migrate_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_to_move(slot, from, to);
        while self.move_keys(slot, from, to, 100) > 0 {}
        self.end_of_move(slot, from, to);
    }
}

/// One node, and the port at which the others reach it.
fn node(program: Program) -> (Server, String) {
    let bus = free_address().port().to_string();
    let usual = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
    let quick = ["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"];
    (Server::start_with(program, &[usual.as_slice(), &quick].concat()), bus)
}
