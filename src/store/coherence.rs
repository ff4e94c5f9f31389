//! How whoever remembers records learns that they have changed, and up to when he may rely on having learnt it.
//!
//! A store tells its [`Memory`] of every record that changes, whoever changed it, and says of each [`Partition`] up to which
//! instant everything acknowledged has been told ([`Coherence::verified_at`]). Who uses what he remembers looks at the clock
//! and at that instant *before* he looks the record up: looked up first, the record may be older than what he learns of it
//! afterwards.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Key;
use crate::clock::BootTime;

/// Records that lie together, on one server, wherever that is: those of the directory, and sixteen of sessions. What is
/// known of one says nothing of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// How many there are.
    pub const COUNT: usize = 17;
    /// Accounts, sites, access, tokens, and whatever changes together with them.
    pub const DIRECTORY: Self = Self(0);

    pub fn all() -> impl Iterator<Item = Self> {
        (0..17).map(Self)
    }

    /// All that [`Self::of_id`] can be.
    pub fn of_ids() -> impl Iterator<Item = Self> {
        Self::all().filter(|partition| *partition != Self::DIRECTORY)
    }

    /// Of what belongs to an id of letters and digits: all sixteen are about equally full.
    #[must_use]
    pub fn of_id(id: &str) -> Self {
        let sum = id.bytes().fold(0_u8, u8::wrapping_add);
        Self(1 + sum % 16)
    }

    /// Below [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What remembers records. It is told from whatever thread, and must not block.
pub trait Memory: Send + Sync + 'static {
    /// This record has changed, or may have.
    fn changed(&self, key: &Key);

    /// Changes of these partitions may have gone by untold. When this returns, nothing is remembered of them, and what was
    /// being read is not going to be.
    fn lost(&self, partitions: &[Partition]);
}

/// How far a store vouches for what its memory has been told. All of it may be read at any time; only the store writes.
#[derive(Debug)]
pub struct Coherence {
    verified_at: [AtomicU64; Partition::COUNT],
    losses: AtomicU64,
    pub pushes: AtomicU64,
    pub canaries: AtomicU64,
    pub reconnects: AtomicU64,
    /// Whether the store has come back without something that this process has seen in it.
    pub went_back: AtomicBool,
}

impl Coherence {
    /// Of a store that vouches for nothing yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self::starting(0)
    }

    /// Of a store that tells of a change before it acknowledges it.
    #[must_use]
    pub fn always() -> Self {
        Self::starting(u64::MAX)
    }

    fn starting(value: u64) -> Self {
        Self {
            verified_at: std::array::from_fn(|_| AtomicU64::new(value)),
            losses: AtomicU64::new(0),
            pushes: AtomicU64::new(0),
            canaries: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            went_back: AtomicBool::new(false),
        }
    }

    /// Everything that was acknowledged of this partition before this instant has been told.
    #[must_use]
    pub fn verified_at(&self, partition: Partition) -> BootTime {
        BootTime::from_nanos(self.verified_at[partition.index()].load(Ordering::Acquire))
    }

    /// Whether what is read of the partition from `began` on may be used: the store was in order at most `max_staleness` before.
    /// Whoever asks after he has read asks for [`Self::losses`] as well.
    #[must_use]
    pub fn vouches(&self, partition: Partition, began: BootTime, max_staleness: Duration) -> bool {
        let verified_at = self.verified_at(partition);
        // A machine may be up for less than that.
        verified_at.as_nanos() > 0 && began.since(verified_at) <= max_staleness
    }

    /// How often another server may have taken over, whose word says nothing of what was read before.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Whether a change is told before it is acknowledged, so that what was acknowledged holds.
    #[must_use]
    pub fn is_immediate(&self) -> bool {
        self.verified_at(Partition::DIRECTORY).as_nanos() == u64::MAX
    }

    /// For how long changes of the directory, and of any sessions, may have gone untold; `None` where nothing is known of
    /// that.
    #[must_use]
    pub fn ages(&self) -> [(&'static str, Option<Duration>); 2] {
        let now = BootTime::now();
        let age = |oldest: Option<BootTime>| oldest.filter(|at| at.as_nanos() > 0).map(|at| now.since(at));
        let sessions = Partition::all().filter(|partition| *partition != Partition::DIRECTORY);
        let oldest = sessions.map(|partition| self.verified_at(partition)).min();
        [("directory", age(Some(self.verified_at(Partition::DIRECTORY)))), ("sessions", age(oldest))]
    }

    /// Everything acknowledged before `at` has been told, and the memory has handled it.
    pub(crate) fn verify(&self, partition: Partition, at: BootTime) {
        self.verified_at[partition.index()].store(at.as_nanos(), Ordering::Release);
    }

    /// To be counted before anything is vouched for again.
    pub(crate) fn lose(&self) {
        self.losses.fetch_add(1, Ordering::AcqRel);
    }

    /// Nothing is vouched for any more.
    pub(super) fn withdraw(&self, partition: Partition) {
        self.verify(partition, BootTime::from_nanos(0));
    }
}

/// The memory that a store tells, once there is one.
#[derive(Clone, Default)]
pub(super) struct Listener(Arc<OnceLock<Arc<dyn Memory>>>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.0.get().is_some()).finish()
    }
}

impl Listener {
    /// The first one stays.
    pub(super) fn set(&self, memory: Arc<dyn Memory>) {
        let _already_one = self.0.set(memory);
    }

    pub(super) fn changed(&self, key: &Key) {
        if let Some(memory) = self.0.get() {
            memory.changed(key);
        }
    }

    pub(super) fn lost(&self, partitions: &[Partition]) {
        if let Some(memory) = self.0.get() {
            memory.lost(partitions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_sessions_counts_and_what_was_never_verified_has_no_age() {
        let coherence = Coherence::unknown();
        assert_eq!(coherence.ages(), [("directory", None), ("sessions", None)]);
        let now = BootTime::now();
        Partition::all().skip(1).for_each(|partition| coherence.verify(partition, now));
        let [(_, directory), (_, sessions)] = coherence.ages();
        assert!(directory.is_none() && sessions.is_some());
        coherence.withdraw(Partition::of_id("AbCdEfGh0123"));
        assert_eq!(coherence.ages()[1], ("sessions", None));
        assert!(Coherence::always().is_immediate() && !coherence.is_immediate());
        assert_eq!(Coherence::always().ages()[0].1, Some(Duration::ZERO));
    }
}
