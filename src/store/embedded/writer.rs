//! The one thread that changes the database. It takes every request that waits, commits them in one
//! transaction and answers them all: the disk is asked once for many. Each request has a savepoint of its
//! own, so that one that conflicts takes nothing else with it.

use std::{
    fmt, io,
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{beside, store_error};
use crate::{
    domain::{
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    store::{Change, CommitError, Entry, Expect, Key, Partition, Step, StoreError, Stored, Trail, Trouble, coherence::Listener},
};

/// Requests in one transaction: bounds how long the first of them waits for the last.
const BATCH: usize = 256;
/// Requests that wait for the thread; who comes after waits for room.
const QUEUE: usize = 1024;

/// Some at a time: whoever writes meanwhile waits for it. The rest goes the next time.
const FORGET_EXPIRED: &str = "DELETE FROM record WHERE key IN (SELECT key FROM record WHERE until < ?1 ORDER BY until LIMIT 10000)";

type Outcome = Result<(), CommitError>;

/// What is written without conditions.
pub(super) enum Note {
    Append { trail: Trail, entry: Entry, at_most: u64 },
    ForgetEntries { trail: Trail, time: Timestamp },
    Uses(Vec<(TokenId, LastUse)>),
    ForgetUses(Vec<TokenId>),
    ForgetExpired(Timestamp),
}

enum Request {
    Change(Change, oneshot::Sender<Outcome>),
    Note(Note, oneshot::Sender<Result<(), StoreError>>),
    /// Whether another program has changed the file; nobody waits for it.
    LookAround,
}

impl Request {
    /// The records that this changes.
    fn written(&self) -> impl Iterator<Item = &Key> {
        let steps = match self {
            Self::Change(change, _) => change.steps.as_slice(),
            Self::Note(..) | Self::LookAround => &[],
        };
        steps.iter().filter_map(Step::record)
    }

    fn answer(self, outcome: Outcome) {
        // Whoever no longer waits for the answer has lost it; the change was still made.
        match self {
            Self::Change(_, answer) => drop(answer.send(outcome)),
            Self::Note(_, answer) => drop(answer.send(outcome.map_err(|error| match error {
                CommitError::Store(error) => error,
                unexpected => StoreError::permanent(unexpected.to_string()),
            }))),
            Self::LookAround => {}
        }
    }
}

pub(super) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, listener: Listener) -> io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let thread =
            thread::Builder::new().name("keygate-store".to_owned()).spawn(move || run(&connection, requests, &listener))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn commit(&self, change: Change) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.send(Request::Change(change, answer)).await?;
        outcome.await.unwrap_or_else(|_| Err(ended().into()))
    }

    pub(super) async fn note(&self, note: Note) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.send(Request::Note(note, answer)).await?;
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn send(&self, request: Request) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(request).await.map_err(|_| stopped())
    }

    /// From now on, as long as there is a runtime and this. Whoever has a hand on the file is slower than the next look.
    pub(super) fn look_around_every(&self, period: Duration) {
        let Some(queue) = self.queue.as_ref().map(mpsc::Sender::downgrade) else { return };
        tokio::spawn(async move {
            let mut every = tokio::time::interval(period);
            loop {
                every.tick().await;
                let Some(queue) = queue.upgrade() else { return };
                // A writer that is busy looks soon enough.
                let _full = queue.try_send(Request::LookAround);
            }
        });
    }

    pub(super) fn ping(&self) -> Result<(), StoreError> {
        match &self.queue {
            Some(queue) if !queue.is_closed() => Ok(()),
            _ => Err(stopped()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without senders the thread ends once the queue is empty.
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the embedded store's writer panicked");
        }
    }
}

fn stopped() -> StoreError {
    StoreError::permanent("the embedded store's writer has stopped")
}

fn ended() -> StoreError {
    let message = "the embedded store's writer ended before it answered; the change may or may not have been applied";
    StoreError::permanent(message).with(Trouble::Open)
}

fn run(connection: &Connection, mut requests: mpsc::Receiver<Request>, listener: &Listener) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut trimmer = beside::Trimmer::default();
    let mut seen = None;
    while requests.blocking_recv_many(&mut batch, BATCH) > 0 {
        // It changes when another connection has changed something, and not by what is done here.
        let version = connection.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).ok();
        if seen.replace(version).is_some_and(|seen| seen != version) {
            listener.lost(&Partition::all().collect::<Vec<_>>());
        }
        batch.retain(|request| !matches!(request, Request::LookAround));
        if batch.is_empty() {
            continue;
        }
        let outcomes = match commit_batch(connection, &mut trimmer, &batch, None) {
            Err(Undone::TrailDamaged(error)) => commit_batch(connection, &mut trimmer, &batch, Some(&error)),
            outcomes => outcomes,
        };
        // Before anybody is answered, and whatever came of it: of a commit that failed nobody knows what it left.
        batch.iter().flat_map(Request::written).for_each(|key| listener.changed(key));
        match outcomes {
            Ok(outcomes) => batch.drain(..).zip(outcomes).for_each(|(request, outcome)| request.answer(outcome)),
            Err(Undone::Failed(error) | Undone::TrailDamaged(error)) => {
                batch.drain(..).for_each(|request| request.answer(Err(error.clone().into())));
            }
        }
    }
}

/// Why nothing of a batch was committed.
enum Undone {
    /// This concerns every request of the batch, also those with a conflict: they were judged by what is now undone.
    Failed(StoreError),
    /// `SQLite` commits no transaction that has come upon a damaged page. Without the trail there may be none.
    TrailDamaged(StoreError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// With `damaged`, what is wrong with the trail, nobody looks at the trail.
fn commit_batch(
    connection: &Connection,
    trimmer: &mut beside::Trimmer,
    batch: &[Request],
    damaged: Option<&StoreError>,
) -> Result<Vec<Outcome>, Undone> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
        .map_err(|error| store_error("begin a transaction", &error))?;
    let outcomes = batch
        .iter()
        .map(|request| {
            in_savepoint(&transaction, || match request {
                Request::Change(change, _) => apply(&transaction, change, damaged),
                Request::LookAround => Ok(Ok(())),
                Request::Note(note, _) => Ok(write(&transaction, trimmer, note, damaged)?.map_err(CommitError::from)),
            })
        })
        .collect::<Result<Vec<_>, Undone>>()?;
    transaction
        .commit()
        .map_err(|error| store_error("commit; the change may or may not have been applied", &error).with(Trouble::Open))?;
    Ok(outcomes)
}

/// Undoes what failed. The inner result is that of the work, the outer error is the end of the whole transaction.
fn in_savepoint<E>(
    transaction: &Transaction<'_>,
    work: impl FnOnce() -> Result<Result<(), E>, Undone>,
) -> Result<Result<(), E>, Undone> {
    let run = |sql| transaction.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    let savepoint = |sql| run(sql).map_err(|error| store_error("keep a savepoint", &error));
    savepoint("SAVEPOINT request")?;
    let outcome = work()?;
    if outcome.is_err() {
        // SQLite ends the transaction by itself on some errors (a full disk); then there is no savepoint left.
        savepoint("ROLLBACK TO request")?;
    }
    savepoint("RELEASE request")?;
    Ok(outcome)
}

fn apply(transaction: &Transaction<'_>, change: &Change, damaged: Option<&StoreError>) -> Result<Outcome, Undone> {
    let applied = check(transaction, change).and_then(|()| Ok(take_steps(transaction, change)?));
    if applied.is_err() || change.entries.is_empty() {
        return Ok(applied);
    }
    let add_entries = || change.entries.iter().try_for_each(|entry| beside::add_entry(transaction, Trail::Changes, entry));
    match in_savepoint(transaction, || on_trail(damaged, add_entries))? {
        Err(error) if change.takes_away => {
            tracing::error!(%error, "the audit trail cannot be written; a change that takes rights away goes on without it");
            Ok(Ok(()))
        }
        written => Ok(written.map_err(CommitError::from)),
    }
}

fn write(
    transaction: &Transaction<'_>,
    trimmer: &mut beside::Trimmer,
    note: &Note,
    damaged: Option<&StoreError>,
) -> Result<Result<(), StoreError>, Undone> {
    match note {
        Note::Append { trail, entry, at_most } => on_trail(damaged, || {
            beside::add_entry(transaction, *trail, entry)?;
            trimmer.trim(transaction, *trail, *at_most)
        }),
        Note::ForgetEntries { trail, time } => on_trail(damaged, || beside::forget_entries(transaction, *trail, *time)),
        Note::Uses(uses) => Ok(beside::note_uses(transaction, uses).map_err(|error| failed(&error))),
        Note::ForgetExpired(now) => Ok(execute(transaction, FORGET_EXPIRED, [now.as_millis()])),
        Note::ForgetUses(tokens) => Ok(beside::forget_uses(transaction, tokens).map_err(|error| failed(&error))),
    }
}

fn on_trail(damaged: Option<&StoreError>, work: impl FnOnce() -> rusqlite::Result<()>) -> Result<Result<(), StoreError>, Undone> {
    if let Some(error) = damaged {
        return Ok(Err(error.clone()));
    }
    match work() {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            Err(Undone::TrailDamaged(store_error("use the audit trail", &error)))
        }
        done => Ok(done.map_err(|error| store_error("use the audit trail", &error))),
    }
}

fn check(transaction: &Transaction<'_>, change: &Change) -> Outcome {
    let mut statement = transaction.prepare_cached("SELECT version FROM record WHERE key = ?1").map_err(|error| failed(&error))?;
    for (key, expect) in &change.expect {
        let version: Option<i64> =
            statement.query_row([key.name()], |row| row.get(0)).optional().map_err(|error| failed(&error))?;
        let holds = match expect {
            Expect::Absent => version.is_none(),
            Expect::Version(expected) => version.is_some_and(|version| u64::try_from(version) == Ok(*expected)),
        };
        if !holds {
            return Err(CommitError::Conflict(key.clone()));
        }
    }
    let mut statement = transaction.prepare_cached("SELECT COUNT(*) FROM member WHERE idx = ?1").map_err(|error| failed(&error))?;
    for (index, expected) in &change.counts {
        let count: i64 = statement.query_row([index.name()], |row| row.get(0)).map_err(|error| failed(&error))?;
        if u64::try_from(count) != Ok(*expected) {
            return Err(CommitError::Miscounted(index.clone()));
        }
    }
    Ok(())
}

fn take_steps(transaction: &Transaction<'_>, change: &Change) -> Result<(), StoreError> {
    change.steps.iter().try_for_each(|step| match step {
        Step::Put(key, stored) => put(transaction, key, stored, None),
        Step::PutUntil(key, stored, time) => put(transaction, key, stored, Some(*time)),
        Step::Delete(key) => execute(transaction, "DELETE FROM record WHERE key = ?1", [key.name()]),
        Step::AddTo(index, member) => {
            execute(transaction, "INSERT OR IGNORE INTO member (idx, member) VALUES (?1, ?2)", (index.name(), member))
        }
        Step::Clear(index) => execute(transaction, "DELETE FROM member WHERE idx = ?1", [index.name()]),
        Step::RemoveFrom(index, member) => {
            execute(transaction, "DELETE FROM member WHERE idx = ?1 AND member = ?2", (index.name(), member))
        }
    })
}

fn put(transaction: &Transaction<'_>, key: &Key, stored: &Stored, until: Option<Timestamp>) -> Result<(), StoreError> {
    stored.check_version()?;
    let sql = "INSERT INTO record (key, version, json, until) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (key) DO UPDATE SET version = excluded.version, json = excluded.json, until = excluded.until";
    execute(transaction, sql, (key.name(), stored.version.cast_signed(), &stored.json, until.map(Timestamp::as_millis)))
}

fn execute(transaction: &Transaction<'_>, sql: &str, parameters: impl rusqlite::Params) -> Result<(), StoreError> {
    let done = transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters));
    done.map(|_| ()).map_err(|error| failed(&error))
}

fn failed(error: &rusqlite::Error) -> StoreError {
    store_error("apply a change", error)
}
