//! The embedded store: `SQLite` in the data directory, for one process.
//!
//! Owns the directory, the lock on it and the schema; `writer` holds the one connection that changes
//! anything, `readers` the ones that look, `beside` the statements for what is no record,
//! `board` what is not written down at all. A record is a key, a
//! version and a text here; what it means is not known. An operator reads `keygate.db` with `sqlite3` while the server runs.

mod beside;
mod board;
mod readers;
mod writer;

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use self::{
    board::Board,
    readers::Readers,
    writer::{Note, Writer},
};
use super::{
    Change, Coherence, CommitError, Direction, Entry, EntryId, Index, Key, Live, Memory, Order, Page, Store, StoreError, Stored,
    Trail, coherence::Listener,
};
use crate::domain::{
    id::ReplicaId,
    time::Timestamp,
    token::{LastUse, TokenId},
};

const DATABASE: &str = "keygate.db";
const LOCK: &str = "keygate.lock";

/// What makes each schema version of the one before. Never edited once released: a new version is one more text.
///
/// Text compares by its UTF-8 bytes (collation BINARY), which is the order that [`Store::page`] promises.
const MIGRATIONS: [&str; 4] = [
    "
    CREATE TABLE record (
        key TEXT NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        json TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE member (
        idx TEXT NOT NULL,
        member TEXT NOT NULL,
        PRIMARY KEY (idx, member)
    ) STRICT, WITHOUT ROWID;
    ",
    // `forgotten` has the last id that a trail has let go of: the next one is greater also when no entry is left.
    "
    CREATE TABLE entry (
        trail TEXT NOT NULL,
        millis INTEGER NOT NULL,
        count INTEGER NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (trail, millis, count)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE forgotten (
        trail TEXT NOT NULL PRIMARY KEY,
        millis INTEGER NOT NULL,
        count INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE last_use (
        token TEXT NOT NULL PRIMARY KEY,
        at INTEGER NOT NULL,
        address TEXT
    ) STRICT, WITHOUT ROWID;
    ",
    "
    ALTER TABLE record ADD COLUMN until INTEGER;
    CREATE INDEX record_until ON record (until) WHERE until IS NOT NULL;
    ",
    "
    CREATE INDEX last_use_at ON last_use (at, token);
    ",
];
const SCHEMA_VERSION: usize = MIGRATIONS.len();

/// How long a statement waits for a lock that another program (`sqlite3`, a backup) holds on the file.
/// Readers wait inside an async task and hardly ever have to: in WAL mode a writer is not in their way.
const WRITER_PATIENCE: Duration = Duration::from_secs(2);
const READER_PATIENCE: Duration = Duration::from_millis(100);

/// How often it is looked whether somebody else has changed the file, with `sqlite3`.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two writers would each believe to be alone.
    #[error("data directory {} is held by another process", .0.display())]
    Held(PathBuf),
    /// A newer Keygate has been here; guessing at its tables could destroy them.
    #[error("{} has schema version {found}, this version of Keygate knows up to {SCHEMA_VERSION}", path.display())]
    Future { path: PathBuf, found: i64 },
    #[error("data directory: {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("database {}: {source}", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
}

/// `SQLite` in a data directory that no other process uses meanwhile.
#[derive(Debug)]
pub struct EmbeddedStore {
    // In this order: the writer connection closes last and so folds the log into the database file, and
    // the directory is let go only when nothing writes to it any more.
    readers: Readers,
    writer: Writer,
    listener: Listener,
    board: Board,
    _lock: Lock,
}

impl EmbeddedStore {
    /// Opens the store in `directory`, and makes both (the directory for its owner only) where they are missing.
    ///
    /// Dropping the store waits for the changes that were handed to it.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed then, except that the directory may have been made.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let directory_error = |source| OpenError::Directory { path: directory.to_owned(), source };
        let made: Vec<&Path> = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(directory_error)?;
        let lock = hold(directory)?;

        let path = directory.join(DATABASE);
        let database_error = |source| OpenError::Database { path: path.clone(), source };
        // SQLite would make it readable for everybody; its log and index take over the mode of the file.
        private_file(&path).map_err(|source| OpenError::Directory { path: path.clone(), source })?;
        let connection = writing_connection(&path).map_err(database_error)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database_error)?;
        let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
        match missing {
            None => return Err(OpenError::Future { path, found }),
            Some([]) => {}
            Some(missing) => migrate(&connection, missing).map_err(database_error)?,
        }
        // A file whose name is not on the disk is lost with everything in it.
        sync_directory(directory).map_err(directory_error)?;
        for path in made {
            path.parent().map_or(Ok(()), sync_directory).map_err(directory_error)?;
        }

        let readers = Readers::open(&path).map_err(database_error)?;
        let listener = Listener::default();
        let writer = Writer::start(connection, listener.clone()).map_err(directory_error)?;
        Ok(Self { readers, writer, listener, board: Board::default(), _lock: lock })
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        self.listener.set(memory);
        self.writer.look_around_every(LOOK_AROUND);
        Arc::new(Coherence::always())
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.readers.read(keys)
    }

    async fn page_in(&self, index: &Index, direction: Direction, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.readers.page(index, direction, after, limit)
    }

    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        change.check_family()?;
        self.writer.commit(change).await
    }

    async fn append(&self, trail: Trail, entry: Entry, at_most: u64) -> Result<(), StoreError> {
        self.writer.note(Note::Append { trail, entry, at_most }).await
    }

    async fn entries(
        &self,
        trail: Trail,
        past: Option<EntryId>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        self.readers.entries(trail, past, order, limit)
    }

    async fn forget_entries(&self, trail: Trail, time: Timestamp) -> Result<(), StoreError> {
        self.writer.note(Note::ForgetEntries { trail, time }).await
    }

    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        self.writer.note(Note::Uses(uses.to_vec())).await
    }

    async fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        self.readers.uses(tokens)
    }

    async fn by_last_use(
        &self,
        direction: Direction,
        after: Option<&(Timestamp, TokenId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError> {
        self.readers.by_last_use(direction, after, limit)
    }

    async fn forget_uses(&self, tokens: &[TokenId]) -> Result<(), StoreError> {
        self.writer.note(Note::ForgetUses(tokens.to_vec())).await
    }

    async fn publish(&self, replica: &ReplicaId, said: &str, keep: Duration) -> Result<(), StoreError> {
        self.board.put(replica, said, keep);
        Ok(())
    }

    async fn published(&self) -> Result<Vec<(ReplicaId, String)>, StoreError> {
        Ok(self.board.read())
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writer.note(Note::ForgetExpired(now)).await
    }

    async fn live(&self) -> Live {
        Live::embedded()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.readers.ping()?;
        self.writer.ping()
    }
}

/// The lock on the directory. The system takes it from a process that ends, however it ends.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is just being started has it open for a moment.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the data directory's lock is held until this process ends");
        }
    }
}

fn hold(directory: &Path) -> Result<Lock, OpenError> {
    let path = directory.join(LOCK);
    let in_directory = |source| OpenError::Directory { path: path.clone(), source };
    let file = private_file(&path).map_err(in_directory)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Held(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(in_directory(source)),
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    let here = Path::new(".");
    File::open(if directory.as_os_str().is_empty() { here } else { directory })?.sync_all()
}

fn writing_connection(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(WRITER_PATIENCE)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // Each commit reaches the disk before it is answered.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// All of them or none.
fn migrate(connection: &Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let migrations = migrations.concat();
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {migrations} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))
}

/// `doing` completes "cannot …".
fn store_error(doing: &str, error: &rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    let transient = matches!(
        code,
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed
        )
    );
    let message = format!("the embedded store cannot {doing}: {error}");
    if transient { StoreError::transient(message) } else { StoreError::permanent(message) }
}
