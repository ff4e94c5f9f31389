//! The bounded pool on which passwords are hashed. Its threads run at low priority and its queue is short, so
//! that a flood of logins can slow logins down but never the checks beside it.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use rand::rngs::SysRng;
use tokio::sync::oneshot;

use crate::domain::password::{Cost, Password, PasswordHash, Workspace};

/// Jobs that may wait for each thread. At some 25 hashes a second, more would outlive any client's patience.
const WAITING_PER_THREAD: usize = 16;
/// The lowest priority there is.
const NICE: i32 = 19;

/// The queue is full: come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are waiting to be verified")]
pub struct Busy;

enum Job {
    Verify(PasswordHash, Password, oneshot::Sender<bool>),
    Hash(Password, oneshot::Sender<PasswordHash>),
}

/// Hashes and verifies passwords.
pub struct Hasher {
    jobs: mpsc::SyncSender<Job>,
    /// Jobs that no thread has taken up yet.
    waiting: Arc<AtomicUsize>,
    /// Jobs that found no room.
    turned_away: AtomicU64,
    dummy: PasswordHash,
    cost: Cost,
}

impl Hasher {
    /// Starts the threads: half as many as there are cores.
    ///
    /// # Panics
    /// When the operating system has no random bytes.
    #[must_use]
    pub fn start(cost: Cost) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = (cores / 2).max(1);
        let (jobs, queue) = mpsc::sync_channel(WAITING_PER_THREAD * threads);
        let queue = Arc::new(Mutex::new(queue));
        let waiting = Arc::new(AtomicUsize::new(0));
        for number in 0..threads {
            let (queue, waiting) = (Arc::clone(&queue), Arc::clone(&waiting));
            let work = move || work(&queue, &waiting, cost);
            if let Err(error) = thread::Builder::new().name(format!("hasher-{number}")).spawn(work) {
                tracing::error!(%error, "a thread for password hashing could not be started");
            }
        }
        let dummy = PasswordHash::dummy(cost, &mut rand::rand_core::UnwrapErr(SysRng));
        Self { jobs, waiting, turned_away: AtomicU64::new(0), dummy, cost }
    }

    pub async fn verify(&self, hash: PasswordHash, password: Password) -> Result<bool, Busy> {
        let (answer, result) = oneshot::channel();
        self.submit(Job::Verify(hash, password, answer))?;
        result.await.map_err(|_| Busy)
    }

    /// Takes as long as [`Hasher::verify`], for a login that nobody has. Always `false`.
    pub async fn verify_nobody(&self, password: Password) -> Result<bool, Busy> {
        self.verify(self.dummy.clone(), password).await.map(|_| false)
    }

    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Busy> {
        let (answer, result) = oneshot::channel();
        self.submit(Job::Hash(password, answer))?;
        result.await.map_err(|_| Busy)
    }

    /// Whether hashes cost more today than this one did.
    #[must_use]
    pub fn is_outdated(&self, hash: &PasswordHash) -> bool {
        hash.cost().work() < self.cost.work()
    }

    fn submit(&self, job: Job) -> Result<(), Busy> {
        // Before it is sent: the thread that takes it up counts it off.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            Busy
        })
    }

    /// How many passwords are waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many have found no room since the start.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// One thread: jobs in the order they came, until the pool is dropped. A job whose caller has gone is not done.
fn work(queue: &Mutex<mpsc::Receiver<Job>>, waiting: &AtomicUsize, cost: Cost) {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "password hashing runs at normal priority");
    }
    let mut workspace = Workspace::default();
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        if job.is_ok() {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
        match job {
            Ok(Job::Verify(hash, password, answer)) if !answer.is_closed() => {
                let _gone = answer.send(hash.verify(&password, &mut workspace));
            }
            Ok(Job::Hash(password, answer)) if !answer.is_closed() => {
                let mut rng = rand::rand_core::UnwrapErr(SysRng);
                let _gone = answer.send(PasswordHash::generate(&password, cost, &mut rng, &mut workspace));
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
