//! A store that may not have been reached yet, or has gone. Until it has been found to be ours (its server keys, its
//! built-in account), nothing is read from it and nothing written: every check is `unavailable`.
//!
//! Says once when the store stops answering and once when it answers again, however many checks ask meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    directory::{BootstrapError, Directory},
    domain::{
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    metrics::Metrics,
    store::{Change, Coherence, CommitError, Entry, EntryId, Index, Key, Memory, Order, Page, Store, StoreError, Stored, Trail},
};

pub(super) struct ReachedStore {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// It has been found to be ours.
    reached: AtomicBool,
    /// The last call was answered.
    answers: AtomicBool,
}

impl ReachedStore {
    pub(super) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, reached: AtomicBool::new(false), answers: AtomicBool::new(false) }
    }

    /// For the one who finds out whether the store is ours.
    pub(super) fn before_reached(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    pub(super) fn mark_reached(&self) {
        self.reached.store(true, Ordering::Release);
        self.answers.store(true, Ordering::Relaxed);
        self.metrics.store_answers(true);
    }

    /// Reaches the store when it is there, and again after each time it was away: it may have come back as another.
    pub(super) fn watch(self: &Arc<Self>, direct: Directory, every: Duration) {
        let this = self.clone();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(every);
            let mut refused = None;
            loop {
                every.tick().await;
                if this.reached.load(Ordering::Acquire) && this.answers.load(Ordering::Relaxed) {
                    continue;
                }
                match direct.bootstrap().await {
                    Ok(()) => {
                        this.mark_reached();
                        refused = None;
                        tracing::info!("the store answers");
                    }
                    Err(BootstrapError::Store(error)) if error.transient => {}
                    Err(error) => {
                        this.reached.store(false, Ordering::Release);
                        let error = error.to_string();
                        if refused.as_ref() != Some(&error) {
                            tracing::error!(error, "the store cannot be used; every check is refused");
                            refused = Some(error);
                        }
                    }
                }
            }
        });
    }

    fn ready(&self) -> Result<&Arc<dyn Store>, StoreError> {
        if self.reached.load(Ordering::Acquire) {
            Ok(&self.store)
        } else {
            Err(StoreError::transient("it has not been reached yet, or was used with another server key (see the log)"))
        }
    }

    /// Takes note of a failure; [`Self::watch`] takes note of the recovery.
    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && error.transient
            && self.answers.swap(false, Ordering::Relaxed)
        {
            self.metrics.store_answers(false);
            tracing::warn!(%error, "the store has stopped answering; checks that need it are refused");
        }
        result
    }
}

#[async_trait]
impl Store for ReachedStore {
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        self.store.tell(memory)
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.note(self.ready()?.read(keys).await)
    }

    async fn page(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.note(self.ready()?.page(index, after, limit).await)
    }

    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let result = self.ready()?.commit(change).await;
        if let Err(CommitError::Store(error)) = &result {
            let _noted = self.note::<()>(Err(error.clone()));
        }
        result
    }

    async fn append(&self, trail: Trail, entry: Entry, at_most: u64) -> Result<(), StoreError> {
        self.note(self.ready()?.append(trail, entry, at_most).await)
    }

    async fn entries(
        &self,
        trail: Trail,
        past: Option<EntryId>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        self.note(self.ready()?.entries(trail, past, order, limit).await)
    }

    async fn forget_entries(&self, trail: Trail, time: Timestamp) -> Result<(), StoreError> {
        self.note(self.ready()?.forget_entries(trail, time).await)
    }

    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        self.note(self.ready()?.note_uses(uses).await)
    }

    async fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        self.note(self.ready()?.uses(tokens).await)
    }

    async fn forget_uses(&self, tokens: &[TokenId]) -> Result<(), StoreError> {
        self.note(self.ready()?.forget_uses(tokens).await)
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        self.note(self.ready()?.forget_expired(now).await)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.note(self.ready()?.ping().await)
    }
}
