//! What the embedded store has acknowledged is there after `kill -9`, and nothing is there in part.
//!
//! A child process (this binary again, told to run one test) writes and prints what was acknowledged; the
//! parent kills it at a random moment and looks. This shows what survives the end of a process, not of power.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use keygate::{
    domain::time::Timestamp,
    store::{Change, CommitError, Entry, Expect, Index, Key, Order, Step, Store as _, Stored, Trail, embedded::EmbeddedStore},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const DIRECTORY: &str = "KEYGATE_TEST_CRASH_DIRECTORY";
const ROUND: &str = "KEYGATE_TEST_CRASH_ROUND";
const CHILD: &str = "crash::the_child_that_writes_until_it_is_killed";
/// Enough for several changes in one transaction.
const WRITERS: usize = 8;

/// Sorts by round, then by writer, then by number.
fn id(round: u32, writer: usize, number: u32) -> String {
    format!("{round:05}-{writer}-{number:07}")
}

/// The two records of a change; a change of two shows whether it can be halved.
fn keys(id: &str) -> [Key; 2] {
    ["left", "right"].map(|side| Key::Name(format!("{side}-{id}")))
}

fn change(id: &str, previous: Option<&str>) -> Change {
    let stored = Stored { version: 1, json: format!(r#"{{"v":1,"id":"{id}","version":1}}"#) };
    let [left, right] = keys(id);
    let expect = vec![(left.clone(), Expect::Absent), (right.clone(), Expect::Absent)];
    let mut steps = vec![
        Step::Put(left, stored.clone()),
        Step::AddTo(Index::Accounts, id.to_owned()),
        Step::Put(right, stored),
        Step::AddTo(Index::Sites, id.to_owned()),
    ];
    // At any time one member is the last one of its writer: taken away and put in one change.
    steps.push(Step::AddTo(Index::Tokens, id.to_owned()));
    steps.extend(previous.map(|previous| Step::RemoveFrom(Index::Tokens, previous.to_owned())));
    Change { expect, steps, entries: vec![entry(id)], ..Change::default() }
}

/// By a clock that goes back now and then.
fn entry(id: &str) -> Entry {
    let number: i64 = id[id.len() - 7..].parse().unwrap();
    Entry { at: Timestamp::from_millis(1_000 - number % 7), json: id.to_owned() }
}

/// A change that must conflict, after it has been written beside others in one transaction.
fn ghost(id: &str) -> Change {
    let [left, right] = keys(id);
    Change {
        expect: vec![(left, Expect::Absent)],
        steps: vec![Step::Delete(right), Step::AddTo(Index::Superusers, id.to_owned())],
        entries: vec![entry(id)],
        ..Change::default()
    }
}

/// As the child of the test below it writes until it is killed; by itself, a little, and reads it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_that_writes_until_it_is_killed() {
    let own = tempfile::tempdir().unwrap();
    let directory = env::var_os(DIRECTORY).map_or_else(|| own.path().to_owned(), PathBuf::from);
    let round: u32 = env::var_os(ROUND).map_or(1, |round| round.to_str().unwrap().parse().unwrap());
    let most = if env::var_os(DIRECTORY).is_some() { u32::MAX } else { 20 };
    let store = Arc::new(EmbeddedStore::open(&directory).unwrap());
    // The harness has begun a line.
    println!();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut previous: Option<String> = None;
                for number in 0..most {
                    let id = id(round, writer, number);
                    store.commit(change(&id, previous.as_deref())).await.unwrap();
                    println!("ack {id}");
                    if number % 16 == 0 {
                        assert!(matches!(store.commit(ghost(&id)).await, Err(CommitError::Conflict(_))));
                    }
                    previous = Some(id);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let written = (0..WRITERS).flat_map(|writer| (0..most).map(move |number| id(round, writer, number))).collect();
    verify(&store, round..=round, &written).await;
}

/// Lets the child write for `duration` after its first acknowledged change; returns all it has acknowledged.
fn write_and_kill(directory: &Path, round: u32, duration: Duration) -> BTreeSet<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let (first_seen, first) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut output = BufReader::new(output);
        let (mut acknowledged, mut line) = (BTreeSet::new(), Vec::new());
        while output.read_until(b'\n', &mut line).unwrap() > 0 {
            // A line without its end was cut off, perhaps within the id.
            if let Some(id) = line.strip_suffix(b"\n").and_then(|line| line.strip_prefix(b"ack ")) {
                acknowledged.insert(String::from_utf8(id.to_vec()).unwrap());
                let _ = first_seen.send(());
            }
            line.clear();
        }
        acknowledged
    });
    first.recv().expect("the child acknowledges something");
    // Drains what arrives meanwhile: the time of a kill is the one thing here that is a time.
    let end = Instant::now() + duration;
    while first.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

async fn all_entries(store: &EmbeddedStore) -> Vec<String> {
    let (mut entries, mut past) = (Vec::new(), None);
    loop {
        let page = store.entries(Trail::Changes, past, Order::OldestFirst, 1000).await.unwrap();
        let Some((last, _)) = page.last() else { return entries };
        past = Some(*last);
        entries.extend(page.into_iter().map(|(_, json)| json));
    }
}

async fn all_members(store: &EmbeddedStore, index: &Index) -> BTreeSet<String> {
    let (mut members, mut after) = (BTreeSet::new(), None::<String>);
    loop {
        let page = store.page(index, after.as_deref(), 1000).await.unwrap();
        after = page.members.last().cloned();
        members.extend(page.members);
        if !page.more {
            return members;
        }
    }
}

/// Everything acknowledged is there, and of every change either all of it or nothing.
async fn verify(store: &EmbeddedStore, rounds: std::ops::RangeInclusive<u32>, acknowledged: &BTreeSet<String>) {
    let since = id(*rounds.start(), 0, 0);
    let members = |index| async move { all_members(store, &index).await };
    let accounts: BTreeSet<String> = members(Index::Accounts).await.split_off(&since);
    let sites: BTreeSet<String> = members(Index::Sites).await.split_off(&since);
    let gone: Vec<_> = acknowledged.difference(&accounts).collect();
    assert!(gone.is_empty(), "acknowledged and lost: {gone:?}");
    assert_eq!(accounts, sites, "a change was applied in part");
    assert!(members(Index::Superusers).await.is_empty(), "a conflict was applied");
    let mut entries: Vec<String> = all_entries(store).await.into_iter().filter(|id| *id >= since).collect();
    entries.sort_unstable();
    assert!(entries.iter().eq(&accounts), "a change without its entry, or an entry without its change");

    let newest = |round, writer| accounts.range(id(round, writer, 0)..=id(round, writer, 9_999_999)).next_back().cloned();
    let tokens: BTreeSet<String> = members(Index::Tokens).await.split_off(&since);
    let writers = || rounds.clone().flat_map(|round| (0..WRITERS).map(move |writer| (round, writer)));
    let expected: BTreeSet<String> = writers().filter_map(|(round, writer)| newest(round, writer)).collect();
    assert_eq!(tokens, expected, "a member was moved in part");

    // Each writer goes on one by one, so a record that no index names could only be the next.
    let next = |(round, writer)| {
        let number = newest(round, writer).map_or(0, |last| last[last.len() - 7..].parse::<u32>().unwrap() + 1);
        id(round, writer, number)
    };
    let absent: BTreeSet<String> = writers().map(next).collect();
    let asked: Vec<&String> = accounts.iter().chain(&absent).collect();
    for ids in asked.chunks(200) {
        let keys: Vec<Key> = ids.iter().flat_map(|id| keys(id)).collect();
        let records = store.read(&keys).await.unwrap();
        for (id, sides) in ids.iter().zip(records.chunks(2)) {
            let whole = sides.iter().all(|side| side.as_ref().is_some_and(|record| record.json.contains(id.as_str())));
            let nothing = sides.iter().all(Option::is_none);
            assert!(if absent.contains(*id) { nothing } else { whole }, "{id}: {sides:?}");
        }
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9_whole() {
    let rounds = if env::var_os("KEYGATE_TEST_FULL").is_some() { 300 } else { 25 };
    let seed = env::var_os("KEYGATE_TEST_SEED")
        .map_or_else(|| std::process::id().into(), |seed| seed.to_str().unwrap().parse::<u64>().unwrap());
    println!("KEYGATE_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 1..=rounds {
        let duration = Duration::from_micros(rng.random_range(0..60_000));
        let of_round = write_and_kill(directory.path(), round, duration);
        println!("round {round}: killed after {duration:?}, {} acknowledged", of_round.len());
        let store = EmbeddedStore::open(directory.path()).unwrap();
        verify(&store, round..=round, &of_round).await;
        acknowledged.extend(of_round);
    }
    println!("{} acknowledged in all", acknowledged.len());
    let store = EmbeddedStore::open(directory.path()).unwrap();
    verify(&store, 1..=rounds, &acknowledged).await;
    let database = rusqlite::Connection::open(directory.path().join("keygate.db")).unwrap();
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}
