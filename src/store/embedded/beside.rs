//! The statements for what is kept beside the records: the audit trail, and the last uses of tokens. Knows the tables
//! of both; in which transaction a statement runs is its caller's business.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension as _, Row, types::Type};

use crate::{
    domain::{
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    store::{Direction, Entry, EntryId, Order, Trail},
};

/// An id as the table has it. `SQLite` has no unsigned numbers; no clock comes near the difference.
type Position = (i64, i64);

fn position(id: EntryId) -> Position {
    (i64::try_from(id.millis).unwrap_or(i64::MAX), i64::try_from(id.count).unwrap_or(i64::MAX))
}

fn read_position(row: &Row<'_>) -> rusqlite::Result<Position> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Adds to the end of a trail, also where the clock has gone back since.
pub(super) fn add_entry(connection: &Connection, trail: Trail, entry: &Entry) -> rusqlite::Result<()> {
    let mut last =
        connection.prepare_cached("SELECT millis, count FROM entry WHERE trail = ?1 ORDER BY millis DESC, count DESC LIMIT 1")?;
    let mut last = last.query_row([trail.name()], read_position).optional()?;
    if last.is_none() {
        let mut forgotten = connection.prepare_cached("SELECT millis, count FROM forgotten WHERE trail = ?1")?;
        last = forgotten.query_row([trail.name()], read_position).optional()?;
    }
    let now = entry.at.as_millis().max(0);
    let (millis, count) = match last {
        Some((millis, count)) if millis >= now => (millis, count + 1),
        _ => (now, 0),
    };
    let mut insert = connection.prepare_cached("INSERT INTO entry (trail, millis, count, json) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute((trail.name(), millis, count, &entry.json)).map(drop)
}

/// Keeps trails short. To find the oldest entry that may stay is to count all of them, so this is done only now and then.
#[derive(Debug, Default)]
pub(super) struct Trimmer {
    /// How often entries were added to each trail since this process began.
    added: [u64; Trail::ALL.len()],
}

impl Trimmer {
    /// Called after every entry that is added: leaves at most a sixteenth more than `at_most`.
    pub(super) fn trim(&mut self, connection: &Connection, trail: Trail, at_most: u64) -> rusqlite::Result<()> {
        let added = &mut self.added[trail as usize];
        let is_due = added.is_multiple_of(at_most / 16 + 1);
        *added += 1;
        if !is_due {
            return Ok(());
        }
        let mut newest_beyond = connection.prepare_cached(
            "SELECT millis, count FROM entry WHERE trail = ?1 ORDER BY millis DESC, count DESC LIMIT 1 OFFSET ?2",
        )?;
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let newest_beyond = newest_beyond.query_row((trail.name(), at_most), read_position).optional()?;
        newest_beyond.map_or(Ok(()), |last| forget_up_to(connection, trail, last))
    }
}

pub(super) fn forget_entries(connection: &Connection, trail: Trail, time: Timestamp) -> rusqlite::Result<()> {
    let mut last_before = connection.prepare_cached(
        "SELECT millis, count FROM entry WHERE trail = ?1 AND millis < ?2 ORDER BY millis DESC, count DESC LIMIT 1",
    )?;
    let last = last_before.query_row((trail.name(), time.as_millis()), read_position).optional()?;
    last.map_or(Ok(()), |last| forget_up_to(connection, trail, last))
}

/// With the entry at `last`, which there is.
fn forget_up_to(connection: &Connection, trail: Trail, last: Position) -> rusqlite::Result<()> {
    let parameters = (trail.name(), last.0, last.1);
    let mut delete = connection.prepare_cached("DELETE FROM entry WHERE trail = ?1 AND (millis, count) <= (?2, ?3)")?;
    delete.execute(parameters)?;
    let mut mark = connection.prepare_cached("INSERT OR REPLACE INTO forgotten (trail, millis, count) VALUES (?1, ?2, ?3)")?;
    mark.execute(parameters).map(drop)
}

pub(super) fn entries(
    connection: &Connection,
    trail: Trail,
    past: Option<EntryId>,
    order: Order,
    limit: usize,
) -> rusqlite::Result<Vec<(EntryId, String)>> {
    let (sql, from_the_end) = match order {
        Order::OldestFirst => (
            "SELECT millis, count, json FROM entry WHERE trail = ?1 AND (millis, count) > (?2, ?3)
             ORDER BY millis, count LIMIT ?4",
            (i64::MIN, i64::MIN),
        ),
        Order::NewestFirst => (
            "SELECT millis, count, json FROM entry WHERE trail = ?1 AND (millis, count) < (?2, ?3)
             ORDER BY millis DESC, count DESC LIMIT ?4",
            (i64::MAX, i64::MAX),
        ),
    };
    let (millis, count) = past.map_or(from_the_end, position);
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((trail.name(), millis, count, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
        let (millis, count) = read_position(row)?;
        Ok((EntryId { millis: unsigned(0, millis)?, count: unsigned(1, count)? }, row.get(2)?))
    })?;
    rows.collect()
}

fn unsigned(column: usize, value: i64) -> rusqlite::Result<u64> {
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn note_uses(connection: &Connection, uses: &[(TokenId, LastUse)]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO last_use (token, at, address) VALUES (?1, ?2, ?3)
         ON CONFLICT (token) DO UPDATE SET at = excluded.at, address = excluded.address WHERE excluded.at > last_use.at",
    )?;
    uses.iter().try_for_each(|(token, last)| {
        let address = last.address.map(|address| address.to_string());
        statement.execute((token.as_str(), last.at.as_millis(), address)).map(drop)
    })
}

pub(super) fn last_use(connection: &Connection, token: &TokenId) -> rusqlite::Result<Option<LastUse>> {
    let mut statement = connection.prepare_cached("SELECT at, address FROM last_use WHERE token = ?1")?;
    statement.query_row([token.as_str()], read_use).optional()
}

fn read_use(row: &Row<'_>) -> rusqlite::Result<LastUse> {
    let address: Option<String> = row.get(1)?;
    let parse = |text: String| {
        let damaged = |error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error));
        text.parse::<IpAddr>().map_err(damaged)
    };
    Ok(LastUse { at: Timestamp::from_millis(row.get(0)?), address: address.map(parse).transpose()? })
}

pub(super) fn by_last_use(
    connection: &Connection,
    direction: Direction,
    after: Option<&(Timestamp, TokenId)>,
    limit: usize,
) -> rusqlite::Result<Vec<(Timestamp, TokenId)>> {
    let (sql, from_the_end) = match direction {
        Direction::Ascending => {
            ("SELECT at, token FROM last_use WHERE (at, token) > (?1, ?2) ORDER BY at, token LIMIT ?3", (i64::MIN, ""))
        }
        Direction::Descending => {
            ("SELECT at, token FROM last_use WHERE (at, token) < (?1, ?2) ORDER BY at DESC, token DESC LIMIT ?3", (i64::MAX, "~"))
        }
    };
    let (at, token) = after.map_or(from_the_end, |(at, token)| (at.as_millis(), token.as_str()));
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((at, token, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
        Ok((Timestamp::from_millis(row.get(0)?), row.get::<_, String>(1)?))
    })?;
    // What is no id is of nobody.
    rows.filter_map(|row| row.map(|(at, id)| Some((at, TokenId::parse(&id)?))).transpose()).collect()
}

pub(super) fn forget_uses(connection: &Connection, tokens: &[TokenId]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM last_use WHERE token = ?1")?;
    tokens.iter().try_for_each(|token| statement.execute([token.as_str()]).map(drop))
}
