//! When and from where sessions were last seen: gathered in memory beside the checks, and written into their records in the
//! background, now and then. What waits here counts already when this process judges whether a session is idle. Nothing
//! here can make a session, or bring one back that has ended: a record is written only over the very one that was read.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    domain::{
        session::{Session, SessionId, SessionRules},
        time::Timestamp,
    },
    store::{Change, CommitError, Expect, Key, Record, Step, Store, StoreError},
};

/// Sessions that may wait: some 10 MB.
const MOST: usize = 100_000;
/// How often a record is read again that somebody else has changed meanwhile. After that the next sighting will do.
const ATTEMPTS: usize = 4;

/// When and from where a session was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub at: Timestamp,
    /// The client's, where it is known.
    pub address: Option<IpAddr>,
}

/// Sessions whose records lag behind.
#[derive(Default)]
pub struct SeenSessions {
    waiting: Mutex<HashMap<SessionId, Sighting>>,
    dropped: AtomicU64,
}

impl SeenSessions {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note. Where there is no more room it is dropped, and counted: such a session may end early and never late.
    pub fn note(&self, session: &SessionId, sighting: Sighting) {
        let mut waiting = self.waiting();
        if let Some(known) = waiting.get_mut(session) {
            if sighting.at > known.at {
                *known = sighting;
            }
        } else if waiting.len() < MOST {
            waiting.insert(session.clone(), sighting);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were dropped since this was last asked.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// When a session was seen, if that waits to be written.
    #[must_use]
    pub fn last(&self, session: &SessionId) -> Option<Timestamp> {
        self.waiting().get(session).map(|sighting| sighting.at)
    }

    /// Writes what waits. It goes on to count until it is written; what the store cannot take for the moment waits on.
    ///
    /// # Errors
    /// Why not everything could be written.
    pub async fn write(&self, store: &dyn Store, rules: &SessionRules) -> Result<(), StoreError> {
        let waiting: Vec<_> = self.waiting().iter().map(|(session, sighting)| (session.clone(), *sighting)).collect();
        let mut refused = None;
        for (session, sighting) in waiting {
            match write_one(store, rules, &session, sighting).await {
                Err(error) if error.transient => return Err(error),
                Err(error) => refused = Some(error),
                Ok(()) => {}
            }
            let mut waiting = self.waiting();
            if waiting.get(&session) == Some(&sighting) {
                waiting.remove(&session);
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Whatever panicked, the notes in it are whole.
    fn waiting(&self) -> MutexGuard<'_, HashMap<SessionId, Sighting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_one(store: &dyn Store, rules: &SessionRules, id: &SessionId, sighting: Sighting) -> Result<(), StoreError> {
    let key = Key::Session(id.clone());
    for _ in 0..ATTEMPTS {
        let stored = store.read(std::slice::from_ref(&key)).await?.pop().flatten();
        // It has ended meanwhile.
        let Some(stored) = stored else { return Ok(()) };
        let known = Session::decode(&key, &stored)?;
        if known.seen_at >= sighting.at {
            return Ok(());
        }
        let address = sighting.address.or(known.address);
        let seen = Session { seen_at: sighting.at, address, version: known.version + 1, ..known };
        let change = Change {
            expect: vec![(key.clone(), Expect::Version(stored.version))],
            steps: vec![Step::PutUntil(key.clone(), seen.encode()?, seen.kept_until(rules))],
            ..Change::default()
        };
        match store.commit(change).await {
            Ok(()) => return Ok(()),
            Err(CommitError::Conflict(_) | CommitError::Miscounted(_)) => {}
            Err(CommitError::Store(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
