//! What only the embedded store can be asked: its directory, its one file, and who else opens them.

use std::{
    path::Path,
    process::Command,
    task::{Context, Waker},
};

use futures_util::future::join_all;
use keygate::{
    domain::time::Timestamp,
    store::{
        Change, Direction, Entry, EntryId, Index, Order, Step, Store, Trail,
        embedded::{EmbeddedStore, OpenError},
    },
};
use tempfile::TempDir;

use super::{
    add, entry, get, lines, members, name, put, record, steps,
    trail::goes_on_only_where_rights_are_taken_away,
    uses::{at, token},
    version,
};

fn opened(directory: &TempDir) -> EmbeddedStore {
    EmbeddedStore::open(directory.path()).unwrap()
}

#[tokio::test]
async fn a_data_directory_is_held_by_one_store_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(&directory);
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Held(_)), "{error}");
    assert_eq!(error.to_string(), format!("data directory {} is held by another process", directory.path().display()));
    store.commit(steps([put(&name("a"), 1)])).await.unwrap();
    drop(store);
    assert_eq!(version(&opened(&directory), &name("a")).await, Some(1));
}

#[tokio::test]
async fn a_store_that_is_opened_again_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    for version in 1..10 {
        let store = opened(&directory);
        assert_eq!(self::version(&store, &name("a")).await, (version > 1).then(|| version - 1));
        store.commit(steps([put(&name("a"), version), add(&Index::Sites, &version.to_string())])).await.unwrap();
    }
    assert_eq!(members(&opened(&directory), &Index::Sites).await.len(), 9);
}

#[test]
fn a_dropped_store_has_written_what_it_was_given_and_leaves_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(&directory);
    for n in 0..100 {
        // Polled once, so it is in the queue; then nobody waits for the answer.
        let mut commit = std::pin::pin!(store.commit(steps([add(&Index::Sites, &n.to_string())])));
        let _ = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    drop(store);
    assert!(!directory.path().join("keygate.db-wal").exists());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(members(&opened(&directory), &Index::Sites)).len(), 100);
}

#[tokio::test]
async fn an_operator_reads_the_database_while_it_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(&directory);
    let select = "SELECT key, version, json ->> '$.text' FROM record; SELECT idx, member FROM member";
    for version in 1..5 {
        let stored = record(version, "käse");
        store.commit(steps([Step::Put(name("anna"), stored), add(&Index::Accounts, "anna")])).await.unwrap();
        let output = Command::new("sqlite3")
            .arg("-readonly")
            .arg(directory.path().join("keygate.db"))
            .arg(select)
            .output()
            .expect("sqlite3 is missing: install the package sqlite3 (Debian)");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, format!("name:anna|{version}|käse\naccounts|anna\n"));
    }
}

#[test]
fn a_database_of_the_future_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(opened(&directory));
    let path = directory.path().join("keygate.db");
    let raise = |to: i64| rusqlite::Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA user_version = {to}")).unwrap();
    raise(5);
    let before = std::fs::read(&path).unwrap();
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Future { found: 5, .. }), "{error}");
    assert!(error.to_string().ends_with("keygate.db has schema version 5, this version of Keygate knows up to 4"), "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
    raise(4);
    drop(opened(&directory));
}

/// As the first release has made it.
const FIRST_SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
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
    PRAGMA user_version = 1;
";

#[tokio::test]
async fn a_database_of_the_first_release_is_opened_with_all_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keygate.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(FIRST_SCHEMA).unwrap();
    let old = record(7, "käse");
    connection.execute("INSERT INTO record VALUES ('name:anna', 7, ?1)", [&old.json]).unwrap();
    connection.execute("INSERT INTO member VALUES ('accounts', 'anna')", []).unwrap();
    drop(connection);
    let version =
        || -> i64 { rusqlite::Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap() };
    assert_eq!(version(), 1);
    // The second time there is nothing left to do.
    for opening in 1..=2 {
        let store = opened(&directory);
        assert_eq!(get(&store, &name("anna")).await, Some(old.clone()));
        assert_eq!(members(&store, &Index::Accounts).await, ["anna"]);
        store.commit(Change { entries: vec![entry("new")], ..Change::default() }).await.unwrap();
        assert_eq!(lines(&store).await.len(), opening);
        store.note_uses(&[(token(opening), at(1, ""))]).await.unwrap();
        let until = Step::PutUntil(name("otto"), record(1, ""), Timestamp::from_millis(1));
        store.commit(steps([until])).await.unwrap();
        store.forget_expired(Timestamp::from_millis(2)).await.unwrap();
        assert_eq!(get(&store, &name("otto")).await, None);
        let used = store.by_last_use(Direction::Ascending, None, 9).await.unwrap();
        assert_eq!(used.len(), opening);
        drop(store);
        assert_eq!(version(), 4);
    }
}

#[tokio::test]
async fn a_broken_trail_stops_only_what_gives_rights() {
    for damage in ["DROP TABLE entry", "ALTER TABLE entry RENAME COLUMN json TO jason"] {
        let directory = tempfile::tempdir().unwrap();
        let store = opened(&directory);
        store.commit(Change { entries: vec![entry("before")], ..Change::default() }).await.unwrap();
        rusqlite::Connection::open(directory.path().join("keygate.db")).unwrap().execute_batch(damage).unwrap();
        goes_on_only_where_rights_are_taken_away(&store).await;
    }
}

#[tokio::test]
async fn a_trail_whose_page_is_damaged_stops_only_what_gives_rights() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keygate.db");
    drop(opened(&directory));
    let select = "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'entry'";
    let connection = rusqlite::Connection::open(&path).unwrap();
    let (page, size): (u32, u32) = connection.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[(page - 1) as usize * size as usize..][..size as usize].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let store = opened(&directory);
    assert!(store.entries(Trail::Changes, None, Order::NewestFirst, 1).await.is_err());
    goes_on_only_where_rights_are_taken_away(&store).await;
    assert!(store.append(Trail::Refused, entry("refused"), 9).await.is_err());
    assert!(store.forget_entries(Trail::Refused, Timestamp::from_millis(9)).await.is_err());
    store.note_uses(&[(token(1), at(1, ""))]).await.unwrap();

    // Nobody suffers who is written in the same transaction.
    let changes = (0..300).map(|n| {
        let entries = if n % 3 == 0 { Vec::new() } else { vec![entry("")] };
        let steps = vec![add(&Index::Sites, &format!("{n:03}"))];
        store.commit(Change { steps, entries, takes_away: n % 3 == 1, ..Change::default() })
    });
    for (n, outcome) in join_all(changes).await.into_iter().enumerate() {
        assert_eq!(outcome.is_ok(), n % 3 != 2, "{n}: {outcome:?}");
    }
    assert_eq!(members(&store, &Index::Sites).await.len(), 200);
}

#[tokio::test]
async fn an_entry_that_cannot_be_written_takes_nothing_else_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(&directory);
    let trigger = "CREATE TRIGGER half BEFORE INSERT ON entry WHEN NEW.json LIKE '%bad%' BEGIN SELECT RAISE(ABORT, 'no'); END";
    rusqlite::Connection::open(directory.path().join("keygate.db")).unwrap().execute_batch(trigger).unwrap();
    let changes = (0..300).map(|n| {
        let second = if n % 3 == 0 { "bad" } else { "good" };
        store.commit(Change {
            steps: vec![add(&Index::Sites, &format!("{n:03}"))],
            entries: vec![entry(&format!("{n:03}")), entry(second)],
            takes_away: n % 2 == 0,
            ..Change::default()
        })
    });
    for (n, outcome) in join_all(changes).await.into_iter().enumerate() {
        assert_eq!(outcome.is_ok(), n % 3 != 0 || n % 2 == 0, "{n}: {outcome:?}");
    }
    let expected = |keep: fn(usize) -> bool| (0..300).filter(|n| keep(*n)).map(|n| format!("{n:03}")).collect::<Vec<_>>();
    assert_eq!(members(&store, &Index::Sites).await, expected(|n| n % 3 != 0 || n % 2 == 0));
    let mut whole: Vec<String> = expected(|n| n % 3 != 0).iter().flat_map(|n| [entry(n).json, entry("good").json]).collect();
    let mut written = lines(&store).await;
    whole.sort_unstable();
    written.sort_unstable();
    assert_eq!(written, whole);
}

#[tokio::test]
async fn ids_of_entries_grow_also_after_all_were_forgotten_and_the_store_was_closed() {
    let directory = tempfile::tempdir().unwrap();
    let written = |at: i64| Change { entries: vec![Entry { at: Timestamp::from_millis(at), ..entry("") }], ..Change::default() };
    let newest = async |store: &EmbeddedStore| store.entries(Trail::Changes, None, Order::NewestFirst, 9).await.unwrap();
    let store = opened(&directory);
    store.commit(written(5_000)).await.unwrap();
    store.commit(written(4_000)).await.unwrap();
    let last = newest(&store).await[0].0;
    assert_eq!(last, EntryId { millis: 5_000, count: 1 });
    store.forget_entries(Trail::Changes, Timestamp::from_millis(6_000)).await.unwrap();
    drop(store);
    let store = opened(&directory);
    assert_eq!(newest(&store).await, []);
    store.commit(written(1)).await.unwrap();
    assert_eq!(newest(&store).await[0].0, EntryId { millis: 5_000, count: 2 });
    store.commit(written(5_001)).await.unwrap();
    assert_eq!(newest(&store).await[0].0, EntryId { millis: 5_001, count: 0 });
}

#[tokio::test]
async fn a_damaged_record_or_last_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(&directory);
    let database = rusqlite::Connection::open(directory.path().join("keygate.db")).unwrap();
    database.execute_batch("INSERT INTO record VALUES ('name:anna', -1, '{}', NULL)").unwrap();
    for keys in [vec![name("anna")], vec![name("otto"), name("anna")]] {
        let error = store.read(&keys).await.unwrap_err();
        assert!(!error.transient && error.message.contains("name:anna"), "{error}");
    }
    database.execute_batch("INSERT INTO last_use VALUES ('000000000001', 5, 'nowhere')").unwrap();
    let error = store.uses(&[token(2), token(1)]).await.unwrap_err();
    assert!(!error.transient && error.message.contains("000000000001"), "{error}");
    // It heals with the next use.
    store.note_uses(&[(token(1), at(6, ""))]).await.unwrap();
    assert_eq!(store.uses(&[token(1)]).await, Ok(vec![Some(at(6, ""))]));
}

#[test]
fn what_is_no_database_or_no_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("keygate.db"), "this is not a database, and longer than its header would be".repeat(100))
        .unwrap();
    assert!(matches!(EmbeddedStore::open(directory.path()), Err(OpenError::Database { .. })));
    let file = directory.path().join("keygate.db");
    assert!(matches!(EmbeddedStore::open(&file), Err(OpenError::Directory { .. })));
}

#[test]
fn a_new_data_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("var/keygate");
    let store = EmbeddedStore::open(&directory).unwrap();
    assert_eq!(mode(&directory), 0o700);
    for file in ["keygate.db", "keygate.db-wal", "keygate.db-shm", "keygate.lock"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
    drop(store);
}
