//! Families of sessions: a change is for the records of one of them, or for what lies outside of all.

use std::sync::Arc;

use keygate::{
    domain::{session::SessionId, site::Host, time::Timestamp},
    store::{Change, CommitError, Expect, Index, Key, Step, Store, StoreError},
};

use super::{add, entry, get, lines, members, name, put, record, remove, steps, version};

/// All kinds of records that a family has.
pub fn family(id: &str) -> [Key; 3] {
    let id = SessionId::parse(id).unwrap();
    let host = Host::parse("shop.example.com").unwrap();
    [Key::Session(id.clone()), Key::CheckSession(id.clone(), host), Key::Code(id, "0".repeat(64).into())]
}

pub async fn a_change_is_for_one_family_or_for_none(store: Arc<dyn Store>) {
    let (ours, theirs, outside) = (family("AbCdEfGh0123"), family("ZbCdEfGh0123"), name("vera"));
    let far = Timestamp::from_millis(4_000_000_000_000);
    let expecting = |key: &Key, steps| Change { expect: vec![(key.clone(), Expect::Absent)], steps, ..Change::default() };
    let ours_put = || put(&ours[0], 1);
    for refused in [
        steps([ours_put(), put(&theirs[0], 1)]),
        steps([ours_put(), put(&outside, 1)]),
        steps([put(&outside, 1), Step::PutUntil(ours[1].clone(), record(1, ""), far)]),
        steps([ours_put(), Step::Delete(theirs[2].clone())]),
        steps([ours_put(), add(&Index::Sessions, "x")]),
        steps([ours_put(), remove(&Index::Sessions, "x")]),
        steps([ours_put(), Step::Clear(Index::Sessions)]),
        expecting(&theirs[0], vec![ours_put()]),
        expecting(&outside, vec![ours_put()]),
        expecting(&ours[0], vec![put(&outside, 1)]),
        Change { counts: vec![(Index::Sessions, 0)], steps: vec![ours_put()], ..Change::default() },
        Change { entries: vec![entry("x")], steps: vec![ours_put()], ..Change::default() },
    ] {
        let outcome = store.commit(refused.clone()).await;
        assert!(matches!(outcome, Err(CommitError::Store(StoreError { transient: false, .. }))), "{refused:?}: {outcome:?}");
    }
    for key in ours.iter().chain(&theirs).chain([&outside]) {
        assert_eq!(get(&*store, key).await, None, "{key:?}");
    }
    assert_eq!((members(&*store, &Index::Sessions).await, lines(&*store).await), (Vec::new(), Vec::new()));

    let whole = Change {
        expect: ours.iter().map(|key| (key.clone(), Expect::Absent)).collect(),
        steps: ours.iter().map(|key| Step::PutUntil(key.clone(), record(1, ""), far)).collect(),
        ..Change::default()
    };
    assert_eq!(store.commit(whole.clone()).await, Ok(()));
    assert_eq!(store.commit(whole).await, Err(CommitError::Conflict(ours[0].clone())));
    let beside =
        Change { entries: vec![entry("x")], steps: vec![put(&outside, 1), add(&Index::Sessions, "x")], ..Change::default() };
    assert_eq!(store.commit(beside).await, Ok(()));
}

pub async fn families_do_not_mix(store: Arc<dyn Store>) {
    let (ours, theirs) = (family("AbCdEfGh0123"), family("abCdEfGh0123"));
    for (number, keys) in [(1, &ours), (2, &theirs)] {
        store.commit(steps(keys.iter().map(|key| put(key, number)))).await.unwrap();
    }
    store.commit(steps(ours.iter().map(|key| Step::Delete(key.clone())))).await.unwrap();
    // Read together, with what lies outside.
    let all: Vec<_> = ours.iter().chain(&theirs).cloned().chain([name("vera")]).collect();
    let versions = store.read(&all).await.unwrap().into_iter().map(|stored| stored.map(|stored| stored.version));
    assert_eq!(versions.collect::<Vec<_>>(), [None, None, None, Some(2), Some(2), Some(2), None]);
    for key in &theirs {
        assert_eq!(version(&*store, key).await, Some(2));
    }
}
