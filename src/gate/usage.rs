//! When and from where each token was last used: gathered in memory beside the checks, and written to the store now and
//! then. A check pays one short lock for it and never waits for the store. Knows nothing of what a token may do.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    domain::token::{LastUse, TokenId},
    store::{Store, StoreError},
};

/// So that checks on all cores hardly ever wait for one another.
const SHARDS: usize = 16;
/// Tokens in all shards whose last use may wait to be written: some 20 MB.
const MOST: usize = 200_000;
/// Tokens in one call to the store.
const PER_CALL: usize = 500;

type Shard = HashMap<TokenId, LastUse>;

/// The last uses that are not written yet.
pub struct Usage {
    shards: [Mutex<Shard>; SHARDS],
    /// How many tokens one shard takes.
    per_shard: usize,
    filling: Notify,
    dropped: AtomicU64,
}

impl Usage {
    #[must_use]
    pub fn new() -> Self {
        Self::with_room_for(MOST)
    }

    fn with_room_for(most: usize) -> Self {
        Self { shards: Default::default(), per_shard: most.div_ceil(SHARDS), filling: Notify::new(), dropped: AtomicU64::new(0) }
    }

    /// Takes note of a use. Where there is no more room it is dropped, and counted.
    pub fn note(&self, token: &TokenId, last: LastUse) {
        if self.keep(token, last) == Some(self.per_shard.div_ceil(2)) {
            self.filling.notify_one();
        }
    }

    /// Of two uses the later one stays. With how many tokens there are in the shard, if this one is new.
    fn keep(&self, token: &TokenId, last: LastUse) -> Option<usize> {
        // Ids are random, and only those come here that were made.
        let sum: usize = token.as_str().bytes().map(usize::from).sum();
        let mut shard = lock(&self.shards[sum % SHARDS]);
        let kept = shard.len();
        match shard.entry(token.clone()) {
            Entry::Occupied(mut known) => {
                if last.at >= known.get().at {
                    known.insert(last);
                }
                None
            }
            Entry::Vacant(_) if kept >= self.per_shard => {
                drop(shard);
                self.drop_uses(1);
                None
            }
            Entry::Vacant(new) => {
                new.insert(last);
                Some(kept + 1)
            }
        }
    }

    /// Until there is so much that it should be written at once.
    pub async fn filling(&self) {
        self.filling.notified().await;
    }

    /// Writes what has been gathered. Uses that come meanwhile are for the next time, and so is what the store cannot take
    /// for the moment.
    ///
    /// # Errors
    /// Why not everything could be written. What the store refuses for good is dropped, and counted.
    pub async fn write(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut refused = None;
        // One after the other, so that hardly anything of them is in memory twice.
        for shard in &self.shards {
            // As many are likely to come again.
            let room = HashMap::with_capacity(lock(shard).len());
            let gathered: Vec<_> = mem::replace(&mut *lock(shard), room).into_iter().collect();
            let mut calls = gathered.chunks(PER_CALL);
            while let Some(uses) = calls.next() {
                match store.note_uses(uses).await {
                    Ok(()) => {}
                    Err(error) if error.transient => {
                        for (token, last) in uses.iter().chain(calls.flatten()) {
                            self.keep(token, last.clone());
                        }
                        return Err(error);
                    }
                    Err(error) => {
                        self.drop_uses(uses.len());
                        refused = Some(error);
                    }
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn drop_uses(&self, uses: usize) {
        self.dropped.fetch_add(uses as u64, Ordering::Relaxed);
    }

    /// How many were dropped since this was last asked.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self::new()
    }
}

/// Whatever panicked, the notes in it are whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
