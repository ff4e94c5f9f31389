//! A store that may not have been reached yet. Until it has been found to be ours (its server keys, its built-in
//! account), nothing is read from it and nothing written: every check is `unavailable`.

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
    store::{Change, CommitError, Index, Key, Page, Store, StoreError, Stored},
};

pub(super) struct ReachedStore {
    store: Arc<dyn Store>,
    reached: AtomicBool,
}

impl ReachedStore {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, reached: AtomicBool::new(false) }
    }

    /// For the one who finds out whether the store is ours.
    pub(super) fn before_reached(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    pub(super) fn mark_reached(&self) {
        self.reached.store(true, Ordering::Release);
    }

    /// Tries again until the store answers. A store that is not ours stays unreached for good.
    pub(super) fn reach_later(self: &Arc<Self>, direct: Directory, every: Duration) {
        let this = self.clone();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(every);
            loop {
                every.tick().await;
                match direct.bootstrap().await {
                    Ok(()) => {
                        tracing::info!("the store has been reached");
                        return this.mark_reached();
                    }
                    Err(BootstrapError::Store(error)) if error.transient => {}
                    Err(error) => tracing::error!(%error, "the store cannot be used; every check is refused"),
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
}

#[async_trait]
impl Store for ReachedStore {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.ready()?.read(keys).await
    }

    async fn page(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.ready()?.page(index, after, limit).await
    }

    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        self.ready()?.commit(change).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ready()?.ping().await
    }
}
