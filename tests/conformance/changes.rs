//! One change, one writer: what is written is read, conditions stop all of a change, steps are taken in their order.

use std::sync::Arc;

use keygate::store::{Change, CommitError, Expect, Index, Key, Step, Store};

use super::{add, get, members, name, put, record, remove, steps, version};

pub async fn reads_its_own_writes(store: Arc<dyn Store>) {
    let key = name("anna");
    assert_eq!(get(&*store, &key).await, None);
    for version in 1..20 {
        let stored = record(version, "käse");
        store.commit(steps([Step::Put(key.clone(), stored.clone())])).await.unwrap();
        assert_eq!(get(&*store, &key).await, Some(stored));
    }
    store.commit(steps([Step::Delete(key.clone())])).await.unwrap();
    assert_eq!(get(&*store, &key).await, None);
}

pub async fn a_key_without_a_record_is_none_in_its_place(store: Arc<dyn Store>) {
    let keys: Vec<Key> = (0..300).map(|n| name(n.to_string())).collect();
    store.commit(steps(keys.iter().step_by(3).map(|key| put(key, 1)))).await.unwrap();
    let read = store.read(&keys).await.unwrap();
    assert_eq!(read.len(), keys.len());
    for (n, stored) in read.iter().enumerate() {
        assert_eq!(stored.is_some(), n % 3 == 0, "{n}");
    }
    // The same key twice, and none at all.
    let twice = store.read(&[keys[0].clone(), keys[1].clone(), keys[0].clone()]).await.unwrap();
    assert_eq!(twice, [Some(record(1, "")), None, Some(record(1, ""))]);
    assert_eq!(store.read(&[]).await.unwrap(), []);
}

pub async fn every_kind_of_expectation_holds_or_stops_all_of_a_change(store: Arc<dyn Store>) {
    let (present, absent) = (name("present"), name("absent"));
    store.commit(steps([put(&present, 5)])).await.unwrap();
    let (victim, index) = (name("victim"), Index::Accounts);
    store.commit(steps([put(&victim, 1), add(&index, "old")])).await.unwrap();

    let failing = [
        (&present, Expect::Absent),
        (&present, Expect::Version(4)),
        (&present, Expect::Version(6)),
        (&present, Expect::Version(0)),
        (&absent, Expect::Version(5)),
        (&absent, Expect::Version(0)),
    ];
    for (key, expect) in failing {
        let change = Change {
            expect: vec![(victim.clone(), Expect::Version(1)), (key.clone(), expect)],
            steps: vec![put(&present, 9), put(&absent, 9), Step::Delete(victim.clone()), add(&index, "new"), remove(&index, "old")],
            ..Change::default()
        };
        assert_eq!(store.commit(change).await, Err(CommitError::Conflict(key.clone())), "{expect:?}");
        assert_eq!(version(&*store, &present).await, Some(5), "{expect:?}");
        assert_eq!(version(&*store, &absent).await, None, "{expect:?}");
        assert_eq!(version(&*store, &victim).await, Some(1), "{expect:?}");
        assert_eq!(members(&*store, &index).await, ["old"], "{expect:?}");
    }

    for (key, expect) in [(&absent, Expect::Absent), (&present, Expect::Version(5))] {
        let change =
            Change { expect: vec![(key.clone(), expect)], steps: vec![add(&index, &format!("{expect:?}"))], ..Change::default() };
        assert_eq!(store.commit(change).await, Ok(()), "{expect:?}");
    }
    assert_eq!(members(&*store, &index).await.len(), 3);
}

pub async fn the_conflict_names_the_first_key_that_was_not_as_expected(store: Arc<dyn Store>) {
    let keys: Vec<Key> = (0..5).map(|n| name(n.to_string())).collect();
    store.commit(steps([put(&keys[1], 1), put(&keys[3], 1)])).await.unwrap();
    let change = Change { expect: keys.iter().map(|key| (key.clone(), Expect::Absent)).collect(), ..Change::default() };
    assert_eq!(store.commit(change).await, Err(CommitError::Conflict(keys[1].clone())));
}

pub async fn one_change_puts_deletes_and_indexes(store: Arc<dyn Store>) {
    let (old, new) = (name("old"), name("new"));
    store.commit(steps([put(&old, 1), add(&Index::Accounts, "old"), add(&Index::Sites, "stays")])).await.unwrap();
    let change = Change {
        expect: vec![(old.clone(), Expect::Version(1)), (new.clone(), Expect::Absent)],
        steps: vec![
            Step::Delete(old.clone()),
            put(&new, 1),
            remove(&Index::Accounts, "old"),
            add(&Index::Accounts, "new"),
            remove(&Index::Tokens, "never there"),
            Step::Delete(name("never there")),
        ],
        ..Change::default()
    };
    store.commit(change).await.unwrap();
    assert_eq!(store.read(&[old, new]).await.unwrap(), [None, Some(record(1, ""))]);
    assert_eq!(members(&*store, &Index::Accounts).await, ["new"]);
    assert_eq!(members(&*store, &Index::Sites).await, ["stays"]);
}

pub async fn steps_are_taken_in_their_order(store: Arc<dyn Store>) {
    let (kept, gone) = (name("kept"), name("gone"));
    let change = steps([
        put(&kept, 1),
        Step::Delete(kept.clone()),
        put(&kept, 2),
        put(&gone, 1),
        Step::Delete(gone.clone()),
        remove(&Index::Sites, "kept"),
        add(&Index::Sites, "kept"),
        add(&Index::Sites, "gone"),
        remove(&Index::Sites, "gone"),
    ]);
    store.commit(change).await.unwrap();
    assert_eq!(store.read(&[kept, gone]).await.unwrap(), [Some(record(2, "")), None]);
    assert_eq!(members(&*store, &Index::Sites).await, ["kept"]);
}

pub async fn a_change_without_expectations_or_steps_is_applied(store: Arc<dyn Store>) {
    assert_eq!(store.commit(Change::default()).await, Ok(()));
}
