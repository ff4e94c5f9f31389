//! A store that may not have been reached yet, or has gone. Until it has been found to be ours, and fit for it (its server
//! keys, its built-in account, how stale a memory of it may be, how its servers are set up), nothing is read from it and
//! nothing written: every check is `unavailable`. It is looked at again whenever it may have become another.
//!
//! Says once when the store stops answering and once when it answers again, however many checks ask meanwhile; nothing of an
//! answer that was late where the next one is not.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    directory::{BootstrapError, Directory},
    domain::{
        id::ReplicaId,
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    gate::records::MemoryRules,
    metrics::Metrics,
    store::{
        Change, Coherence, CommitError, Direction, Entry, EntryId, Index, Key, Live, Memory, Order, Page, Partition, Store,
        StoreError, Stored, Trail, Trouble, live::Finding,
    },
};

/// How often the store is looked at while all is well: nobody tells of a setting that was changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(super) struct ReachedStore {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    acquaintance: Arc<Acquaintance>,
    /// The last call was answered.
    answers: AtomicBool,
    coherence: OnceLock<Arc<Coherence>>,
    memory: OnceLock<Arc<Doubting>>,
    rules: MemoryRules,
    /// Why it cannot be used, as long as it cannot.
    trouble: Mutex<String>,
    /// What has been said of how the store is set up.
    findings: Mutex<Vec<Finding>>,
}

/// What is known of the store, and since when.
struct Acquaintance {
    now: watch::Sender<Known>,
    doubted: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    state: State,
    /// How often it has been doubted: who finds out that it is ours learns of a doubt that came meanwhile.
    doubts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody knows, or it is not ours, or not fit.
    Unknown,
    /// It may have changed, and is being looked at: who asks it something waits for that.
    Doubted,
    Ours,
}

impl Acquaintance {
    fn doubt(&self) {
        self.now.send_modify(|known| {
            known.doubts += 1;
            if known.state == State::Ours {
                known.state = State::Doubted;
            }
        });
        self.doubted.notify_one();
    }

    /// Whether nobody has doubted it meanwhile.
    fn settle(&self, seen: Known, state: State) -> bool {
        self.now.send_if_modified(|known| {
            let holds = known.doubts == seen.doubts;
            if holds {
                known.state = state;
            }
            holds
        })
    }

    fn known(&self) -> Known {
        *self.now.borrow()
    }
}

/// Passes on what the memory is told, and doubts the store where what was found out of it may not hold any more.
struct Doubting {
    memory: Arc<dyn Memory>,
    acquaintance: Arc<Acquaintance>,
}

impl Doubting {
    /// This server may have to stop serving.
    fn doubt_everything(&self) {
        // In this order: what was being read is not going to be remembered, and nothing else is read before it is found
        // out.
        self.acquaintance.doubt();
        self.memory.lost(&Partition::all().collect::<Vec<_>>());
    }
}

impl Memory for Doubting {
    fn changed(&self, key: &Key) {
        if *key == Key::Meta {
            self.doubt_everything();
        } else {
            self.memory.changed(key);
        }
    }

    fn lost(&self, partitions: &[Partition]) {
        if partitions.contains(&Partition::DIRECTORY) {
            self.acquaintance.doubt();
        }
        self.memory.lost(partitions);
    }
}

impl ReachedStore {
    pub(super) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, rules: MemoryRules) -> Self {
        let now = watch::Sender::new(Known { state: State::Unknown, doubts: 0 });
        Self {
            store,
            metrics,
            acquaintance: Arc::new(Acquaintance { now, doubted: Notify::new() }),
            answers: AtomicBool::new(false),
            coherence: OnceLock::new(),
            memory: OnceLock::new(),
            rules,
            trouble: Mutex::new("nobody has answered yet".to_owned()),
            findings: Mutex::default(),
        }
    }

    /// For the one who finds out whether the store is ours.
    pub(super) fn before_reached(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Finds out whether the store is ours and fit; from then on it is used. `direct` asks it without waiting for that.
    pub(super) async fn reach(&self, direct: &Directory) -> Result<(), BootstrapError> {
        loop {
            let seen = self.acquaintance.known();
            let reached = match self.look_at_settings().await {
                Ok(()) => direct.bootstrap().await,
                unfit => unfit,
            };
            if let Err(error) = reached {
                *lock(&self.trouble) = error.to_string();
                self.acquaintance.settle(seen, State::Unknown);
                return Err(error);
            }
            if self.acquaintance.settle(seen, State::Ours) {
                self.answers.store(true, Ordering::Relaxed);
                self.metrics.store_answers(true);
                return Ok(());
            }
        }
    }

    /// Says what limits what may be claimed, once for as long as it is the same.
    async fn look_at_settings(&self) -> Result<(), BootstrapError> {
        let found = self.store.live().await.findings();
        if let Some(unfit) = found.iter().find(|finding| matches!(finding, Finding::Unfit(_))) {
            return Err(BootstrapError::Unfit(unfit.as_str().to_owned()));
        }
        let mut said = lock(&self.findings);
        for finding in found.iter().filter(|finding| !said.contains(finding)) {
            tracing::warn!("{}", finding.as_str());
        }
        *said = found;
        Ok(())
    }

    /// Whether the store is still set up as it was found.
    async fn look_again(&self) {
        let known = self.acquaintance.known();
        if known.state == State::Ours
            && self.look_at_settings().await.is_err()
            && let Some(memory) = self.memory.get()
        {
            memory.doubt_everything();
        }
    }

    /// Reaches the store when it is there, and again after each time it was away: it may have come back as another.
    pub(super) fn watch(self: &Arc<Self>, direct: Directory, every: Duration) {
        let this = self.clone();
        tokio::spawn(async move {
            let (mut every, mut looks) = (tokio::time::interval(every), tokio::time::interval(LOOK_EVERY));
            let (mut refused, mut is_missed) = (None, !this.answers.load(Ordering::Relaxed));
            loop {
                tokio::select! {
                    _ = every.tick() => {}
                    _ = looks.tick() => this.look_again().await,
                    () = this.acquaintance.doubted.notified() => {}
                }
                let state = this.acquaintance.known().state;
                let answered = this.answers.load(Ordering::Relaxed);
                if state == State::Ours && answered {
                    continue;
                }
                match this.reach(&direct).await {
                    Ok(()) => {
                        refused = None;
                        if std::mem::take(&mut is_missed) || state == State::Unknown {
                            tracing::info!("the store answers");
                        }
                    }
                    Err(BootstrapError::Store(error)) if error.transient => {
                        if !std::mem::replace(&mut is_missed, true) {
                            tracing::warn!(%error, "the store has stopped answering; checks that need it are refused");
                        }
                        let _noted = this.note::<()>(Err(error));
                    }
                    Err(error) => {
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

    /// Whether checks can be answered, or what to do about it.
    pub(super) async fn health(&self) -> Result<(), String> {
        self.ping().await.map_err(|error| format!("the store: {error}"))?;
        let oldest = self
            .coherence
            .get()
            .and_then(|coherence| coherence.ages().into_iter().map(|(_, age)| age).max_by_key(|age| age.unwrap_or(Duration::MAX)));
        if oldest.is_some_and(|age| age.is_none_or(|age| age > self.rules.max_staleness)) {
            return Err(
                "the store answers and has not shown that it takes changes and tells of them: every check is refused until it \
                        does; the log and `keygate store show` say more"
                    .to_owned(),
            );
        }
        if self.went_back() {
            return Err("the store went back in time: it has come back without a change that was seen in it; restart Keygate \
                        once you have restored it, or accepted what it holds now"
                .to_owned());
        }
        Ok(())
    }

    /// Whether the last call was answered.
    pub(super) fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    pub(super) fn went_back(&self) -> bool {
        self.coherence.get().is_some_and(|coherence| coherence.went_back.load(Ordering::Relaxed))
    }

    /// Whoever asks while it is being looked at waits for that, and no longer than the store may take to answer.
    async fn ready(&self) -> Result<&Arc<dyn Store>, StoreError> {
        let mut now = self.acquaintance.now.subscribe();
        let settled = now.wait_for(|known| known.state != State::Doubted);
        match timeout(self.rules.store_timeout, settled).await {
            Ok(Ok(known)) if known.state == State::Ours => Ok(&self.store),
            Ok(_) => Err(StoreError::transient(format!("it cannot be used: {}", lock(&self.trouble)))),
            Err(_) => Err(StoreError::transient("it may be another one than before, and is being looked at")),
        }
    }

    /// The same, where whatever is no damaged record means that nobody can read (a password that was changed, for one).
    fn note_reading<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let is_away = |error: StoreError| {
            let transient = error.transient || error.trouble == Trouble::Plain;
            StoreError { transient, ..error }
        };
        self.note(result.map_err(is_away))
    }

    /// Takes note of a failure; [`Self::watch`] takes note of the recovery.
    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && error.transient
            && error.trouble != Trouble::Unconfirmed
            && self.answers.swap(false, Ordering::Relaxed)
        {
            self.metrics.store_answers(false);
            // Whether it has stopped answering, the next answer shows.
            tracing::debug!(%error, "the store has not answered");
        }
        result
    }
}

/// Whatever panicked, what is said is whole.
fn lock<T>(said: &Mutex<T>) -> MutexGuard<'_, T> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for ReachedStore {
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        let memory = self.memory.get_or_init(|| Arc::new(Doubting { memory, acquaintance: self.acquaintance.clone() }));
        let coherence = self.store.tell(memory.clone());
        self.coherence.get_or_init(|| coherence).clone()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.note_reading(self.ready().await?.read(keys).await)
    }

    async fn page_in(&self, index: &Index, direction: Direction, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.note(self.ready().await?.page_in(index, direction, after, limit).await)
    }

    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let result = self.ready().await?.commit(change).await;
        if let Err(CommitError::Store(error)) = &result {
            let _noted = self.note::<()>(Err(error.clone()));
        }
        result
    }

    async fn append(&self, trail: Trail, entry: Entry, at_most: u64) -> Result<(), StoreError> {
        self.note(self.ready().await?.append(trail, entry, at_most).await)
    }

    async fn entries(
        &self,
        trail: Trail,
        past: Option<EntryId>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        self.note(self.ready().await?.entries(trail, past, order, limit).await)
    }

    async fn forget_entries(&self, trail: Trail, time: Timestamp) -> Result<(), StoreError> {
        self.note(self.ready().await?.forget_entries(trail, time).await)
    }

    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        self.note(self.ready().await?.note_uses(uses).await)
    }

    async fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        self.note(self.ready().await?.uses(tokens).await)
    }

    async fn by_last_use(
        &self,
        direction: Direction,
        after: Option<&(Timestamp, TokenId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError> {
        self.note(self.ready().await?.by_last_use(direction, after, limit).await)
    }

    async fn forget_uses(&self, tokens: &[TokenId]) -> Result<(), StoreError> {
        self.note(self.ready().await?.forget_uses(tokens).await)
    }

    async fn publish(&self, replica: &ReplicaId, said: &str, keep: Duration) -> Result<(), StoreError> {
        self.note(self.ready().await?.publish(replica, said, keep).await)
    }

    async fn published(&self) -> Result<Vec<(ReplicaId, String)>, StoreError> {
        self.note(self.ready().await?.published().await)
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        self.note(self.ready().await?.forget_expired(now).await)
    }

    async fn live(&self) -> Live {
        self.store.live().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.note_reading(self.ready().await?.ping().await)
    }
}
