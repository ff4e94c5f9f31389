//! What only the embedded store can be asked: its directory, its one file, and who else opens them.

use std::{
    path::Path,
    process::Command,
    task::{Context, Waker},
};

use keygate::{
    domain::time::Timestamp,
    store::{
        Change, Entry, Index, Order, Step, Store, Trail,
        embedded::{EmbeddedStore, OpenError},
    },
};
use tempfile::TempDir;

use super::{add, get, members, name, put, record, steps, version};

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
    raise(3);
    let before = std::fs::read(&path).unwrap();
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Future { found: 3, .. }), "{error}");
    assert!(error.to_string().ends_with("keygate.db has schema version 3, this version of Keygate knows up to 2"), "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
    raise(2);
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
        let entry = Entry { at: Timestamp::from_millis(1), json: "{}".to_owned() };
        store.commit(Change { entries: vec![entry], ..Change::default() }).await.unwrap();
        assert_eq!(store.entries(Trail::Changes, None, Order::default(), 10).await.unwrap().len(), opening);
        drop(store);
        assert_eq!(version(), 2);
    }
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
