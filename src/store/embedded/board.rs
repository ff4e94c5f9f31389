//! What servers publish of themselves. Nobody but this process has this store, so it stays in the process's memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{clock::BootTime, domain::id::ReplicaId};

#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<ReplicaId, Notice>>);

#[derive(Debug)]
struct Notice {
    said: String,
    at: BootTime,
    keep: Duration,
}

impl Board {
    pub(super) fn put(&self, replica: &ReplicaId, said: &str, keep: Duration) {
        self.current().insert(replica.clone(), Notice { said: said.to_owned(), at: BootTime::now(), keep });
    }

    pub(super) fn read(&self) -> Vec<(ReplicaId, String)> {
        self.current().iter().map(|(replica, notice)| (replica.clone(), notice.said.clone())).collect()
    }

    /// Those whose time is not over.
    fn current(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, Notice>> {
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = BootTime::now();
        notices.retain(|_, notice| now.since(notice.at) < notice.keep);
        notices
    }
}
