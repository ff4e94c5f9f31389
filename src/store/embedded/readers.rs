//! The connections that look and never write. A read takes some microseconds, so it runs where it is called,
//! also inside an async task. In WAL mode a new read sees every commit that has returned.

use std::{
    fmt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    thread::available_parallelism,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};

use super::{READER_PATIENCE, beside, store_error};
use crate::{
    domain::{
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    store::{Direction, EntryId, Index, Key, Order, Page, StoreError, Stored, Trail},
};

pub(super) struct Readers(Vec<Mutex<Connection>>);

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readers").field(&self.0.len()).finish()
    }
}

impl Readers {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        // Reads never wait for anything but the processor, so more connections than threads are of no use.
        let count = available_parallelism().map_or(4, usize::from).clamp(2, 16);
        (0..count).map(|_| reading_connection(path).map(Mutex::new)).collect::<rusqlite::Result<_>>().map(Self)
    }

    /// A free connection, or the first one as soon as it is free.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        // Always from the first one: it has the warmest cache.
        for connection in &self.0 {
            match connection.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.0[0].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        let connection = self.connection();
        if keys.len() == 1 {
            return records(&connection, keys);
        }
        in_snapshot(&connection, || records(&connection, keys)).unwrap_or_else(|error| Err(store_error("read records", &error)))
    }

    pub(super) fn page(&self, index: &Index, direction: Direction, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let members = members(&self.connection(), &index.name(), direction, after, limit);
        let mut members = members.map_err(|error| store_error("read an index", &error))?;
        let more = members.len() > limit;
        members.truncate(limit);
        Ok(Page { members, more })
    }

    pub(super) fn entries(
        &self,
        trail: Trail,
        past: Option<EntryId>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        let entries = beside::entries(&self.connection(), trail, past, order, limit);
        entries.map_err(|error| store_error("read the audit trail", &error))
    }

    pub(super) fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        let connection = self.connection();
        let last_use = |token| {
            let last = beside::last_use(&connection, token);
            last.map_err(|error| store_error(&format!("read the last use of {token}"), &error))
        };
        let uses = in_snapshot(&connection, || tokens.iter().map(last_use).collect());
        uses.unwrap_or_else(|error| Err(store_error("read last uses", &error)))
    }

    pub(super) fn by_last_use(
        &self,
        direction: Direction,
        after: Option<&(Timestamp, TokenId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError> {
        let tokens = beside::by_last_use(&self.connection(), direction, after, limit);
        tokens.map_err(|error| store_error("read the order of last uses", &error))
    }

    pub(super) fn ping(&self) -> Result<(), StoreError> {
        let connection = self.connection();
        let answered =
            connection.prepare_cached("SELECT user_version FROM pragma_user_version").and_then(|mut s| s.query_row([], |_| Ok(())));
        answered.map_err(|error| store_error("read", &error))
    }
}

fn reading_connection(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(READER_PATIENCE)?;
    Ok(connection)
}

/// Several reads see one state of the store, as they do where one command asks for all.
fn in_snapshot<T>(connection: &Connection, read: impl FnOnce() -> T) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = read();
    connection.prepare_cached("ROLLBACK")?.execute([])?;
    Ok(result)
}

fn records(connection: &Connection, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
    let statement = connection.prepare_cached("SELECT version, json FROM record WHERE key = ?1");
    let mut statement = statement.map_err(|error| store_error("read records", &error))?;
    let mut read = |key: &Key| {
        let name = key.name();
        let record = statement.query_row([&name], stored).optional();
        record.map_err(|error| store_error(&format!("read the record {name}"), &error))
    };
    keys.iter().map(&mut read).collect()
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let version: i64 = row.get(0)?;
    let version = u64::try_from(version).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, version))?;
    Ok(Stored { version, json: row.get(1)? })
}

/// One more than `limit`, where there is one more.
fn members(
    connection: &Connection,
    index: &str,
    direction: Direction,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<String>> {
    let limit = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let sql = match (direction, after) {
        (Direction::Ascending, Some(_)) => "SELECT member FROM member WHERE idx = ?1 AND member > ?2 ORDER BY member LIMIT ?3",
        (Direction::Ascending, None) => "SELECT member FROM member WHERE idx = ?1 AND member >= ?2 ORDER BY member LIMIT ?3",
        (Direction::Descending, Some(_)) => {
            "SELECT member FROM member WHERE idx = ?1 AND member < ?2 ORDER BY member DESC LIMIT ?3"
        }
        (Direction::Descending, None) => "SELECT member FROM member WHERE idx = ?1 AND member >= ?2 ORDER BY member DESC LIMIT ?3",
    };
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map((index, after.unwrap_or_default(), limit), |row| row.get(0))?.collect()
}
