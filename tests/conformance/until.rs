//! Records with a time: there before it, gone some time after it, and otherwise like any other. By the real clock, as a
//! store has one of its own.

use std::{sync::Arc, time::Duration};

use keygate::{
    clock::{Clock as _, SystemClock},
    domain::time::Timestamp,
    store::{Change, CommitError, Expect, Key, Step, Store},
};

use super::{get, name, put, record, steps, version};
use crate::support::programs::wait_for_async;

const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_hours(1);

fn after(duration: Duration) -> Timestamp {
    SystemClock.now().checked_add(duration).unwrap()
}

fn put_until(key: &Key, version: u64, time: Timestamp) -> Step {
    Step::PutUntil(key.clone(), record(version, "with a time"), time)
}

/// Whether the record has gone, where the store does not do that by itself too.
async fn has_gone(store: &dyn Store, key: &Key) -> Option<()> {
    store.forget_expired(SystemClock.now()).await.unwrap();
    get(store, key).await.is_none().then_some(())
}

/// Until a record that was to go at this time has gone.
async fn pass(store: &dyn Store, time: Timestamp) {
    let witness = name("witness");
    store.commit(steps([put_until(&witness, 1, time)])).await.unwrap();
    wait_for_async("a record to go", async || has_gone(store, &witness).await).await;
}

pub async fn a_record_with_a_time_is_like_any_other_until_then(store: Arc<dyn Store>) {
    let key = name("session");
    for number in 1..10 {
        let expect = if number == 1 { Expect::Absent } else { Expect::Version(number - 1) };
        let steps = vec![put_until(&key, number, after(LATE))];
        store.commit(Change { expect: vec![(key.clone(), expect)], steps, ..Change::default() }).await.unwrap();
        store.forget_expired(SystemClock.now()).await.unwrap();
        assert_eq!(get(&*store, &key).await, Some(record(number, "with a time")));
    }
    let stale = Change { expect: vec![(key.clone(), Expect::Version(1))], ..Change::default() };
    assert_eq!(store.commit(stale).await, Err(CommitError::Conflict(key.clone())));
    store.commit(steps([Step::Delete(key.clone())])).await.unwrap();
    assert_eq!(get(&*store, &key).await, None);
}

pub async fn a_record_goes_some_time_after_its_time(store: Arc<dyn Store>) {
    let (key, other) = (name("short"), name("long"));
    store.commit(steps([put_until(&key, 7, after(SOON)), put_until(&other, 1, after(LATE))])).await.unwrap();
    wait_for_async("the record to go", async || has_gone(&*store, &key).await).await;
    assert_eq!(version(&*store, &other).await, Some(1));
    // As if it had never been there.
    let gone = Change { expect: vec![(key.clone(), Expect::Version(7))], ..Change::default() };
    assert_eq!(store.commit(gone).await, Err(CommitError::Conflict(key.clone())));
    let anew = Change { expect: vec![(key.clone(), Expect::Absent)], steps: vec![put(&key, 1)], ..Change::default() };
    assert_eq!(store.commit(anew).await, Ok(()));
    assert_eq!(version(&*store, &key).await, Some(1));
}

pub async fn a_record_without_a_time_stays(store: Arc<dyn Store>) {
    let key = name("kept");
    let time = after(SOON);
    store.commit(steps([put_until(&key, 1, time), put(&key, 2)])).await.unwrap();
    let (one, two) = (name("one"), name("two"));
    store.commit(steps([put_until(&one, 1, after(LATE)), put(&two, 1)])).await.unwrap();
    store.commit(steps([put(&one, 2)])).await.unwrap();
    pass(&*store, time).await;
    store.forget_expired(after(LATE * 2)).await.unwrap();
    for (key, number) in [(&key, 2), (&one, 2), (&two, 1)] {
        assert_eq!(version(&*store, key).await, Some(number), "{key:?}");
    }
}

pub async fn a_time_replaces_another(store: Arc<dyn Store>) {
    let (longer, shorter) = (name("longer"), name("shorter"));
    let time = after(SOON);
    store.commit(steps([put_until(&longer, 1, time), put_until(&longer, 2, after(LATE))])).await.unwrap();
    store.commit(steps([put_until(&shorter, 1, after(LATE)), put(&shorter, 2), put_until(&shorter, 3, time)])).await.unwrap();
    wait_for_async("the record to go", async || has_gone(&*store, &shorter).await).await;
    pass(&*store, time).await;
    assert_eq!(version(&*store, &longer).await, Some(2));
}
