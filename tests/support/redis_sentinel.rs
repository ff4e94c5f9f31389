//! A master with two replicas and three sentinels, all real, on loopback.

use super::programs::wait_for;
use super::redis::{Program, Server};

/// What the sentinels call it.
pub const SERVICE: &str = "keygate";

pub struct Sentinels {
    /// The first is the master at the start.
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    pub fn start(program: Program) -> Self {
        let master = Server::start_with(program, &["--repl-diskless-sync-delay", "0"]);
        let port = master.port().to_string();
        let replica = || Server::start_with(program, &["--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &port]);
        let servers = vec![replica(), replica()];
        let servers: Vec<Server> = std::iter::once(master).chain(servers).collect();
        wait_for("both replicas", || (servers[0].says(&["INFO", "replication"], "connected_slaves") == "2").then_some(()));
        for replica in &servers[1..] {
            let is_in_step = || replica.says(&["INFO", "replication"], "master_link_status") == "up";
            wait_for("a replica to be in step", || is_in_step().then_some(()));
        }
        let configuration = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\nsentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 2000\n"
        );
        let sentinels: Vec<Server> = (0..3).map(|_| Server::sentinel(program, &configuration)).collect();
        let started = Self { servers, sentinels };
        for sentinel in &started.sentinels {
            wait_for("the sentinels to know all", || {
                {
                    let known = sentinel.text(&["INFO", "sentinel"]);
                    known.contains("status=ok") && known.contains("slaves=2,sentinels=3")
                }
                .then_some(())
            });
        }
        started
    }

    pub fn url(&self) -> String {
        let nodes: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis+sentinel://{}/{SERVICE}", nodes.join(","))
    }

    /// The port of the master, as this sentinel has it.
    pub fn master_of(sentinel: &Server) -> u16 {
        sentinel.list(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE])[1].parse().unwrap()
    }

    /// Which of the servers is the master, as the first sentinel has it.
    pub fn master(&self) -> usize {
        let port = Self::master_of(&self.sentinels[0]);
        self.servers.iter().position(|server| server.port() == port).unwrap()
    }

    /// Until all sentinels that run have named another master than this one, and it is one.
    pub fn wait_for_another(&self, old: usize) -> usize {
        wait_for("another master", || {
            let running = self.sentinels.iter().filter(|sentinel| sentinel.is_running());
            let ports: Vec<u16> = running.map(Self::master_of).collect();
            let new = self.servers.iter().position(|server| server.port() == ports[0])?;
            let is_agreed = new != old && ports.iter().all(|port| *port == ports[0]);
            (is_agreed && self.servers[new].says(&["INFO", "replication"], "role") == "master").then_some(new)
        })
    }

    /// Has another master made in good order. Returns which it is.
    pub fn failover(&self) -> usize {
        let old = self.master();
        wait_for("a failover to begin", || (self.sentinels[0].command(&["SENTINEL", "FAILOVER", SERVICE]) == "+OK").then_some(()));
        self.wait_for_another(old)
    }
}
