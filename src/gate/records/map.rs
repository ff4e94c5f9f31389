//! The map: which records there are, and which there are not, as far as that is remembered. Bounded, told of changes from
//! any thread, and proof against a value that was read before a change and comes after it.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::{Weighter, sync::Cache};

use super::value::Value;
use crate::store::{Key, Memory, Partition};

/// So many keys share a count; what is being read is read again for nothing when another one of them changes.
const STRIPES: usize = 1024;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub entries: u64,
    /// About how many bytes, with everything that belongs to them.
    pub bytes: u64,
}

pub(super) struct Map {
    kept: Cache<Key, Of<Value>, Weigh>,
    /// Where there is no record. Whoever makes up ids fills this, and nothing else.
    absent: Cache<Key, Of<()>, WeighKey>,
    /// How many losses each partition has had. What was put in before the last of them is not there, and goes when somebody
    /// puts in something else: to look for it all would hold up whoever tells of the loss.
    ages: [AtomicU64; Partition::COUNT],
    /// How many changes were told of each stripe's keys. Held while something is put in or taken out.
    stripes: Box<[Mutex<u64>]>,
    chance: RandomState,
    /// How many changes and losses were told of each partition, counted once the map knows of them.
    changes: [AtomicU64; Partition::COUNT],
    losses: AtomicU64,
    stale: AtomicU64,
}

/// Something, and the age of its partition when it was put in.
#[derive(Clone)]
struct Of<T>(u64, T);

/// An entry weighs its bytes, and never so little that there could be more entries than are wanted.
#[derive(Clone, Copy)]
struct Weigh {
    least: u64,
}

/// A key without a record weighs more where it is long: it is as long as somebody likes.
#[derive(Clone, Copy)]
struct WeighKey;

impl Weighter<Key, Of<()>> for WeighKey {
    fn weight(&self, key: &Key, _: &Of<()>) -> u64 {
        match key {
            Key::Name(name) => 1 + name.len() as u64 / 64,
            _ => 1,
        }
    }
}

impl Weighter<Key, Of<Value>> for Weigh {
    fn weight(&self, _: &Key, Of(_, value): &Of<Value>) -> u64 {
        u64::from(value.bytes()).max(self.least)
    }
}

/// How many changes had been told of a key when its record began to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(u64);

/// What is known of a key.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Record(Value),
    Absent,
}

impl Map {
    pub fn new(bounds: Bounds) -> Self {
        let entries = bounds.entries.max(1);
        let weigh = Weigh { least: bounds.bytes.div_ceil(entries).max(1) };
        let capacity = usize::try_from(entries).unwrap_or(usize::MAX);
        let absent = (capacity / 16).clamp(1000, 100_000);
        Self {
            kept: Cache::with_weighter(capacity, bounds.bytes.max(1), weigh),
            absent: Cache::with_weighter(absent, absent as u64, WeighKey),
            ages: [const { AtomicU64::new(0) }; Partition::COUNT],
            stripes: (0..STRIPES).map(|_| Mutex::new(0)).collect(),
            chance: RandomState::new(),
            changes: [const { AtomicU64::new(0) }; Partition::COUNT],
            losses: AtomicU64::new(0),
            stale: AtomicU64::new(0),
        }
    }

    pub fn get(&self, key: &Key) -> Option<Known> {
        let age = self.age(key);
        let kept = self.kept.get(key).and_then(|kept| kept.at(age)).map(Known::Record);
        kept.or_else(|| self.absent.get(key)?.at(age).map(|()| Known::Absent))
    }

    /// To be asked before the record begins to be read.
    pub fn count(&self, key: &Key) -> Count {
        Count(*self.stripe(key))
    }

    /// Keeps what was read, unless a change was told since the reading began: then it may be from before that change.
    pub fn keep(&self, key: &Key, known: &Known, began: Count) {
        let count = self.stripe(key);
        if *count != began.0 {
            self.stale.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // A loss counts in this stripe before it counts here: this is no later than the reading.
        let age = self.age(key);
        match known {
            Known::Record(value) => self.kept.insert(key.clone(), Of(age, value.clone())),
            Known::Absent => self.absent.insert(key.clone(), Of(age, ())),
        }
    }

    /// How many records are remembered, and how many keys without one; those that a loss has left behind among them.
    pub fn len(&self) -> (usize, usize) {
        (self.kept.len(), self.absent.len())
    }

    /// About how many bytes.
    pub fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    /// How many values came too late to be kept.
    pub fn stale(&self) -> u64 {
        self.stale.load(Ordering::Relaxed)
    }

    /// How often something of the partition has gone out of the map because it was told to have changed. Who asks before he
    /// looks anything up, and gets the same number later, knows that all of it is still as it was.
    pub fn changes(&self, partition: Partition) -> u64 {
        self.changes[partition.index()].load(Ordering::SeqCst)
    }

    /// How often something may have gone by untold.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn age(&self, key: &Key) -> u64 {
        self.ages[key.partition().index()].load(Ordering::SeqCst)
    }

    /// A count is whole, whatever panicked.
    fn stripe(&self, key: &Key) -> MutexGuard<'_, u64> {
        let index = self.chance.hash_one(key) % STRIPES as u64;
        lock(&self.stripes[usize::try_from(index).unwrap_or_default()])
    }
}

impl Memory for Map {
    fn changed(&self, key: &Key) {
        let mut count = self.stripe(key);
        *count += 1;
        self.kept.remove(key);
        self.absent.remove(key);
        // Last: who sees the new number finds nothing old any more.
        self.changes[key.partition().index()].fetch_add(1, Ordering::SeqCst);
    }

    fn lost(&self, partitions: &[Partition]) {
        // First nothing more is kept, or joined, that began to be read before this. Then whoever is reading learns of the loss:
        // in this order, for who begins after he could learn of it must not join what began before. Then what is there goes.
        for stripe in &self.stripes {
            *lock(stripe) += 1;
        }
        self.losses.fetch_add(1, Ordering::AcqRel);
        for partition in partitions {
            self.ages[partition.index()].fetch_add(1, Ordering::SeqCst);
            self.changes[partition.index()].fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl<T> Of<T> {
    fn at(self, age: u64) -> Option<T> {
        (self.0 == age).then_some(self.1)
    }
}

fn lock(stripe: &Mutex<u64>) -> MutexGuard<'_, u64> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}
