//! Clients that check without pause, each over a connection that it keeps, and write down what they were told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::fleet::Fleet;
use crate::support::history::{Check, Outcome};
use crate::support::programs::pause;
use crate::support::steady::Steady;

pub struct Load {
    clients: Vec<JoinHandle<Vec<Check>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// So many clients, each with one replica and all credentials.
    pub fn start(fleet: &Fleet, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let heads: Arc<[Vec<u8>]> = fleet.credentials.iter().map(|credential| credential.head.clone()).collect();
        let clients = (0..clients).map(|number| {
            let replica = number % fleet.replicas.len();
            let client = Client {
                replica,
                address: fleet.replicas[replica].check,
                heads: heads.clone(),
                stop: stop.clone(),
                chance: StdRng::seed_from_u64(number as u64),
            };
            thread::spawn(move || client.run())
        });
        Self { clients: clients.collect(), stop }
    }

    /// Ends them, and collects what they have seen.
    pub fn end(self) -> Vec<Check> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().expect("a client does not panic")).collect()
    }
}

struct Client {
    replica: usize,
    address: SocketAddr,
    heads: Arc<[Vec<u8>]>,
    stop: Arc<AtomicBool>,
    chance: StdRng,
}

impl Client {
    fn run(mut self) -> Vec<Check> {
        let mut checks = Vec::new();
        let mut steady = Steady::new(self.address);
        while !self.stop.load(Ordering::Relaxed) {
            let credential = self.chance.random_range(0..self.heads.len());
            let began = Instant::now();
            let status = steady.status(&self.heads[credential]);
            let outcome = match status {
                Some(200) => Outcome::Allowed,
                Some(503) => Outcome::Unavailable,
                Some(_) => Outcome::Refused,
                None => Outcome::Lost,
            };
            if status.is_none() {
                pause();
            }
            checks.push(Check { began, ended: Instant::now(), replica: self.replica, credential, outcome });
        }
        checks
    }
}
