//! A cluster of three masters and three replicas, all real, on loopback; or one whose network can be parted.

use std::collections::BTreeSet;

use super::{
    network::{Network, Party, client, node},
    programs::{free_address, wait_for},
    redis::{Program, Server},
};

const SLOTS: u16 = 16_384;

pub struct Cluster {
    /// At the start the first three are masters, each of the next three replicates the one three before it, and a seventh the
    /// third.
    pub servers: Vec<Server>,
}

/// One node, and where the others reach it.
struct Node {
    server: Server,
    address: Party,
    bus: u16,
}

impl Cluster {
    pub fn start(program: Program) -> Self {
        Self::of((0..6).map(|_| Node::start(program, Party::LOCALHOST, &["--cluster-node-timeout", "1000"])))
    }

    /// With two replicas for the third master, so that whichever takes over has one. Each node has its own place in the
    /// network; clients are told to go on to the same address, which is their own.
    pub fn start_in(network: &mut Network, program: Program, clients: usize) -> Self {
        Self::of((0..7).map(|number| {
            let address = node(number);
            let own = address.to_string();
            let places = ["--cluster-announce-ip", &own, "--bind-source-addr", &own];
            let way = ["--cluster-preferred-endpoint-type", "unknown-endpoint", "--cluster-node-timeout", "2000"];
            let started = Node::start(program, address, &[places, way].concat());
            network.open_doors(address, started.bus, [address]);
            network.open_doors(address, started.server.port(), std::iter::once(address).chain((0..clients).map(client)));
            started
        }))
    }

    fn of(nodes: impl Iterator<Item = Node>) -> Self {
        let nodes: Vec<Node> = nodes.collect();
        for (number, Node { server, address, bus }) in nodes.iter().enumerate() {
            let epoch = (number + 1).to_string();
            assert_eq!(server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]), "+OK");
            let (port, bus) = (server.port().to_string(), bus.to_string());
            assert_eq!(nodes[0].server.command(&["CLUSTER", "MEET", &address.to_string(), &port, &bus]), "+OK");
        }
        let cluster = Self { servers: nodes.into_iter().map(|node| node.server).collect() };
        let count = cluster.servers.len();
        for (number, bounds) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].into_iter().enumerate() {
            assert_eq!(cluster.servers[number].command(&["CLUSTER", "ADDSLOTSRANGE", bounds.0, bounds.1]), "+OK");
        }
        cluster.wait_until_all_say("cluster_known_nodes", &count.to_string());
        cluster.wait_until_all_say("cluster_slots_assigned", "16384");
        for number in 3..count {
            let master = cluster.id((number - 3).min(2));
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
        self.url_at(Party::LOCALHOST)
    }

    pub fn url_at(&self, address: Party) -> String {
        format!("redis+cluster://{address}:{},{address}:{}", self.servers[0].port(), self.servers[4].port())
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
        self.servers[number].is_running() && self.slots(number).contains(&slot)
    }

    /// What a server says that it owns.
    fn slots(&self, number: usize) -> BTreeSet<u16> {
        // The line of its own: id, address, flags, ..., and from the ninth word on its slots.
        let nodes = self.servers[number].text(&["CLUSTER", "NODES"]);
        let own = nodes.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
        let ranges = own.split(' ').skip(8).filter(|word| !word.starts_with('[')).map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse::<u16>().unwrap()..=last.parse().unwrap()
        });
        ranges.flatten().collect()
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

    /// Takes all slots but these away from a master, without what is in them.
    pub fn give_all_slots_but(&self, kept: &BTreeSet<u16>, from: usize, to: usize) {
        let before = self.slots(from);
        let given: Vec<u16> = before.iter().copied().filter(|slot| !kept.contains(slot)).collect();
        let runs = given.chunk_by(|one, next| one + 1 == *next);
        let bounds: Vec<String> = runs.flat_map(|run| [run[0], run[run.len() - 1]]).map(|slot| slot.to_string()).collect();
        let ask = |number: usize, name: &str| {
            let words: Vec<&str> = ["CLUSTER", name].into_iter().chain(bounds.iter().map(String::as_str)).collect();
            assert_eq!(self.servers[number].command(&words), "+OK", "{name}");
        };
        // Whoever has the higher epoch is believed.
        self.servers[to].command(&["CLUSTER", "BUMPEPOCH"]);
        ask(from, "DELSLOTSRANGE");
        ask(to, "DELSLOTSRANGE");
        ask(to, "ADDSLOTSRANGE");
        self.wait_until_all_say("cluster_slots_assigned", "16384");
        self.wait_until_all_say("cluster_state", "ok");
        assert_eq!(self.slots(from).len(), before.len() - given.len());
    }

    /// Moves a slot with all that is in it.
    pub fn migrate_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_to_move(slot, from, to);
        while self.move_keys(slot, from, to, 100) > 0 {}
        self.end_of_move(slot, from, to);
    }
}

impl Node {
    fn start(program: Program, address: Party, arguments: &[&str]) -> Self {
        let bus = free_address().port();
        let port = bus.to_string();
        let usual = ["--cluster-enabled", "yes", "--cluster-port", &port];
        let quick = ["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"];
        let server = Server::start_with(program, &[usual.as_slice(), &quick, arguments].concat());
        Self { server, address, bus }
    }
}
