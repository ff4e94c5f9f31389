//! The one thread that changes the database. It takes every change that waits, commits them in one
//! transaction and answers them all: the disk is asked once for many. Each change has a savepoint of its
//! own, so that one that conflicts takes nothing else with it.

use std::{
    fmt, io,
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::store_error;
use crate::store::{Change, CommitError, Expect, Key, Step, StoreError, Stored};

/// Changes in one transaction: bounds how long the first of them waits for the last.
const BATCH: usize = 256;
/// Changes that wait for the thread; who comes after waits for room.
const QUEUE: usize = 1024;

type Outcome = Result<(), CommitError>;

struct Request {
    change: Change,
    answer: oneshot::Sender<Outcome>,
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
    pub(super) fn start(connection: Connection) -> io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("keygate-store".to_owned()).spawn(move || run(&connection, requests))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn commit(&self, change: Change) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Request { change, answer }).await.map_err(|_| stopped())?;
        outcome.await.unwrap_or_else(|_| {
            let message = "the embedded store's writer ended before it answered; the change may or may not have been applied";
            Err(StoreError::permanent(message).into())
        })
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

fn run(connection: &Connection, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.blocking_recv_many(&mut batch, BATCH) > 0 {
        // Whoever no longer waits for the answer has lost it; the change was still made.
        match commit_batch(connection, &batch) {
            Ok(outcomes) => {
                for (request, outcome) in batch.drain(..).zip(outcomes) {
                    let _ = request.answer.send(outcome);
                }
            }
            Err(error) => {
                for request in batch.drain(..) {
                    let _ = request.answer.send(Err(error.clone().into()));
                }
            }
        }
    }
}

/// An error concerns every change of the batch, also those with a conflict: they were judged by what is now undone.
fn commit_batch(connection: &Connection, batch: &[Request]) -> Result<Vec<Outcome>, StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
        .map_err(|error| store_error("begin a transaction", &error))?;
    let outcomes = batch.iter().map(|request| apply(&transaction, &request.change)).collect::<Result<Vec<_>, _>>()?;
    transaction.commit().map_err(|error| store_error("commit; the change may or may not have been applied", &error))?;
    Ok(outcomes)
}

/// The inner result is this change's own, the outer error is the end of the whole transaction.
fn apply(transaction: &Transaction<'_>, change: &Change) -> Result<Outcome, StoreError> {
    let run = |sql| transaction.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    let savepoint = |sql| run(sql).map_err(|error| store_error("keep a savepoint", &error));
    savepoint("SAVEPOINT change")?;
    let outcome = check(transaction, change).and_then(|()| Ok(take_steps(transaction, change)?));
    if outcome.is_err() {
        // SQLite ends the transaction by itself on some errors (a full disk); then there is no savepoint left.
        savepoint("ROLLBACK TO change")?;
    }
    savepoint("RELEASE change")?;
    Ok(outcome)
}

fn check(transaction: &Transaction<'_>, change: &Change) -> Outcome {
    let mut statement = transaction.prepare_cached("SELECT version FROM record WHERE key = ?1").map_err(|error| failed(&error))?;
    for (key, expect) in &change.expect {
        let version: Option<i64> =
            statement.query_row([key.name()], |row| row.get(0)).optional().map_err(|error| failed(&error))?;
        let holds = match expect {
            Expect::Absent => version.is_none(),
            Expect::Present => version.is_some(),
            Expect::Version(expected) => version.is_some_and(|version| u64::try_from(version) == Ok(*expected)),
        };
        if !holds {
            return Err(CommitError::Conflict(key.clone()));
        }
    }
    Ok(())
}

fn take_steps(transaction: &Transaction<'_>, change: &Change) -> Result<(), StoreError> {
    change.steps.iter().try_for_each(|step| match step {
        Step::Put(key, stored) => put(transaction, key, stored),
        Step::Delete(key) => execute(transaction, "DELETE FROM record WHERE key = ?1", [key.name()]),
        Step::AddTo(index, member) => {
            execute(transaction, "INSERT OR IGNORE INTO member (idx, member) VALUES (?1, ?2)", (index.name(), member))
        }
        Step::RemoveFrom(index, member) => {
            execute(transaction, "DELETE FROM member WHERE idx = ?1 AND member = ?2", (index.name(), member))
        }
    })
}

fn put(transaction: &Transaction<'_>, key: &Key, stored: &Stored) -> Result<(), StoreError> {
    stored.check_version()?;
    let sql = "INSERT INTO record (key, version, json) VALUES (?1, ?2, ?3)
        ON CONFLICT (key) DO UPDATE SET version = excluded.version, json = excluded.json";
    execute(transaction, sql, (key.name(), stored.version.cast_signed(), &stored.json))
}

fn execute(transaction: &Transaction<'_>, sql: &str, parameters: impl rusqlite::Params) -> Result<(), StoreError> {
    let done = transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters));
    done.map(|_| ()).map_err(|error| failed(&error))
}

fn failed(error: &rusqlite::Error) -> StoreError {
    store_error("apply a change", error)
}
