//! The records that checks read: out of memory where the store vouches for it, else out of the store. Owns the rule by which
//! memory may be used; judges nothing.
//!
//! A check looks at the clock when it begins, then at how far the store vouches for a partition, and only then into the map.
//! What it does not find, or may not use, it reads; several who need the same read it once. Where the store has not shown,
//! by the end, that it was in order at most `max_staleness` before the check began, the check has no answer.

mod flights;
mod map;
mod value;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use map::Bounds;
pub(super) use value::Kept;

use self::{
    flights::{Boarding, Flights, Own},
    map::{Known, Map},
};
use crate::{
    clock::BootTime,
    store::{Coherence, Key, Partition, Store, StoreError},
    tally::Tally,
};

/// How records are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRules {
    /// For so long after the store was last seen to be in order, memory is used.
    pub max_staleness: Duration,
    /// How long the store may take to answer; a read that is older is not joined.
    pub store_timeout: Duration,
    pub bounds: Bounds,
}

impl Default for MemoryRules {
    fn default() -> Self {
        Self {
            max_staleness: Duration::from_secs(1),
            store_timeout: Duration::from_millis(150),
            bounds: Bounds { entries: 2_000_000, bytes: 1 << 30 },
        }
    }
}

/// How many records there have been in this process.
static RECORDS: AtomicU64 = AtomicU64::new(0);

pub struct Records {
    id: u64,
    store: Arc<dyn Store>,
    map: Arc<Map>,
    coherence: Arc<Coherence>,
    flights: Flights,
    max_staleness: Duration,
    join_within: Duration,
    /// How long a check may read.
    pub(super) read_within: Duration,
    hits: Tally,
    misses: AtomicU64,
    coalesced: AtomicU64,
}

/// What has become of the records, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Records that were found in memory, or known not to exist.
    pub hits: u64,
    /// Records that were read from the store.
    pub misses: u64,
    /// Of the misses, those that waited for somebody else's read.
    pub coalesced: u64,
    /// Records that were read and not kept, because they changed meanwhile.
    pub stale: u64,
    pub remembered: usize,
    pub absent: usize,
    /// About how many bytes are remembered.
    pub bytes: u64,
}

/// How many changes had been told of some partitions.
pub(super) struct Stamp {
    directory: u64,
    /// 0 where there is none.
    family: u64,
}

/// Why a look-up goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// Records have to be read first: [`View::fetch`].
    Missing,
    Failed(StoreError),
}

impl Records {
    /// Becomes the memory that the store tells.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, rules: &MemoryRules) -> Self {
        let map = Arc::new(Map::new(rules.bounds));
        let coherence = store.tell(map.clone());
        Self {
            id: 1 + RECORDS.fetch_add(1, Ordering::Relaxed),
            store,
            map,
            coherence,
            flights: Flights::default(),
            max_staleness: rules.max_staleness,
            join_within: rules.store_timeout.min(rules.max_staleness),
            read_within: rules.store_timeout,
            hits: Tally::default(),
            misses: AtomicU64::new(0),
            coalesced: AtomicU64::new(0),
        }
    }

    /// How far the store vouches for what is remembered.
    #[must_use]
    pub fn coherence(&self) -> &Arc<Coherence> {
        &self.coherence
    }

    /// What one check sees, from now on.
    pub(super) fn view(&self) -> View<'_> {
        View { records: self, losses: self.map.losses(), began: BootTime::now(), read: Vec::new(), missing: Vec::new(), hits: 0 }
    }

    /// Tells these from others in the same process. Never 0.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// To be taken before records of the directory, and of a family of sessions, are looked up: [`Self::is_current`].
    pub(super) fn stamp(&self, family: Option<Partition>) -> Stamp {
        let changes = |partition| self.map.changes(partition);
        Stamp { directory: changes(Partition::DIRECTORY), family: family.map_or(0, changes) }
    }

    /// Whether a check that began then may use what was found in memory after the stamp was taken.
    pub(super) fn is_current(&self, stamp: &Stamp, family: Option<Partition>, began: BootTime) -> bool {
        // In this order: what is vouched for has been counted.
        let holds = |partition, changes| self.is_vouched(partition, began) && self.map.changes(partition) == changes;
        holds(Partition::DIRECTORY, stamp.directory) && family.is_none_or(|family| holds(family, stamp.family))
    }

    pub(super) fn count_hits(&self, hits: u64) {
        self.hits.add(hits);
    }

    #[must_use]
    pub fn counts(&self) -> RecordCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (remembered, absent) = self.map.len();
        RecordCounts {
            hits: self.hits.sum(),
            misses: load(&self.misses),
            coalesced: load(&self.coalesced),
            stale: self.map.stale(),
            remembered,
            absent,
            bytes: self.map.bytes(),
        }
    }

    /// Whether the store was in order at most `max_staleness` before `began`.
    fn is_vouched(&self, partition: Partition, began: BootTime) -> bool {
        self.coherence.vouches(partition, began, self.max_staleness)
    }

    /// What there is under the keys, read here or by others.
    async fn bring(&self, mut left: Vec<Key>) -> Result<Vec<(Key, Result<Known, StoreError>)>, StoreError> {
        let mut brought = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let Boarding { mut flights, own } = self.flights.board(&left, &self.map, self.join_within);
            let joined = left.len() - own.as_ref().map_or(0, |own| own.keys.len());
            self.coalesced.fetch_add(joined as u64, Ordering::Relaxed);
            if let Some(own) = own {
                flights.push(own.flight());
                self.read(own).await;
            }
            for mut flight in flights {
                // One that was given up has no answer; what it was to bring is asked for again.
                let Ok(answer) = flight.wait_for(Option::is_some).await.map(|answer| answer.clone()) else { continue };
                let answer = answer.unwrap_or_else(|| Ok(Arc::default()))?;
                brought.extend(answer.iter().filter(|(key, _)| left.contains(key)).cloned());
            }
            left.retain(|key| !brought.iter().any(|(read, _)| read == key));
        }
        Ok(brought)
    }

    async fn read(&self, own: Own<'_>) {
        let keys: Vec<Key> = own.keys.iter().map(|(key, _)| key.clone()).collect();
        let answer = self.store.read(&keys).await.map(|records| {
            let decoded = own.keys.iter().zip(records).map(|((key, count), stored)| {
                let known = stored.map_or(Ok(Known::Absent), |stored| value::Value::decode(key, &stored).map(Known::Record));
                if let Ok(known) = &known {
                    self.map.keep(key, known, *count);
                }
                (key.clone(), known)
            });
            decoded.collect()
        });
        own.land(answer);
    }
}

/// The records as one check sees them.
pub(super) struct View<'r> {
    records: &'r Records,
    /// How often something had been lost when it began.
    losses: u64,
    began: BootTime,
    /// What was read from the store for this check.
    read: Vec<(Key, Result<Known, StoreError>)>,
    missing: Vec<Key>,
    hits: u64,
}

impl View<'_> {
    /// The record under a key, if there is one.
    ///
    /// # Errors
    /// [`Stop::Missing`] where nobody knows yet: it is read with the next [`View::fetch`].
    pub fn get<R: Kept>(&mut self, key: Key) -> Result<Option<Arc<R>>, Stop> {
        if let Some((_, known)) = self.read.iter().find(|(read, _)| *read == key) {
            return known.as_ref().map(record).map_err(|error| Stop::Failed(error.clone()));
        }
        // In this order: looked up first, the record may be older than what is known of it then.
        let is_vouched = self.records.is_vouched(key.partition(), self.began);
        let Some(known) = is_vouched.then(|| self.records.map.get(&key)).flatten() else {
            self.miss(key);
            return Err(Stop::Missing);
        };
        self.hits += 1;
        Ok(record(&known))
    }

    /// Goes on only with a record that was read for this check, and not taken from memory.
    ///
    /// # Errors
    /// [`Stop::Missing`] where it was.
    pub fn insist(&mut self, key: Key) -> Result<(), Stop> {
        if self.has_read(&key) {
            return Ok(());
        }
        self.miss(key);
        Err(Stop::Missing)
    }

    /// Whether it was read for this check.
    pub fn has_read(&self, key: &Key) -> bool {
        self.read.iter().any(|(read, _)| read == key)
    }

    fn miss(&mut self, key: Key) {
        if !self.missing.contains(&key) {
            self.missing.push(key);
        }
    }

    /// Reads what was missing, in one round trip, or waits for those who are reading it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn fetch(&mut self) -> Result<(), StoreError> {
        let missing = std::mem::take(&mut self.missing);
        self.records.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        // Sessions lie elsewhere: where they are away, who needs none must not wait for them.
        let (directory, sessions): (Vec<_>, Vec<_>) = missing.into_iter().partition(|key| key.partition() == Partition::DIRECTORY);
        let (directory, sessions) = tokio::try_join!(self.records.bring(directory), self.records.bring(sessions))?;
        self.read.extend(directory.into_iter().chain(sessions));
        Ok(())
    }

    /// How many records were found in memory: not counted where they come to nothing.
    pub fn take_hits(&mut self) -> u64 {
        std::mem::take(&mut self.hits)
    }

    /// Whether what was read for this check may be used: the store has shown meanwhile that it is in order.
    pub fn is_vouched(&self) -> bool {
        self.read.iter().all(|(key, _)| self.records.is_vouched(key.partition(), self.began))
    }

    /// Whether another server may have taken over since this began, whose word says nothing of what was read before.
    pub fn is_outdated(&self) -> bool {
        !self.read.is_empty() && self.records.map.losses() != self.losses
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        self.records.count_hits(self.hits);
    }
}

fn record<R: Kept>(known: &Known) -> Option<Arc<R>> {
    match known {
        Known::Record(value) => R::of(value).cloned(),
        Known::Absent => None,
    }
}

#[cfg(test)]
mod tests;
