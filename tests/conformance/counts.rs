//! What a store promises about counted indexes: who has read all of one misses nobody who is added meanwhile.

use std::sync::Arc;

use futures_util::future::join_all;
use keygate::store::{Change, CommitError, Expect, Index, Step, Store};

use super::{add, entry, get, index_of, lines, members, name, put, record, remove, steps, version};

pub async fn a_count_that_is_not_so_stops_all_of_a_change(store: Arc<dyn Store>) {
    let (key, full, empty) = (name("a"), Index::Superusers, index_of("nobody"));
    store.commit(steps(["a", "b", "é"].map(|member| add(&full, member)))).await.unwrap();
    let counted = |counts: &[(&Index, u64)], version| Change {
        counts: counts.iter().map(|(index, count)| ((*index).clone(), *count)).collect(),
        steps: vec![put(&key, version), add(&Index::Sites, "new")],
        entries: vec![entry("counted")],
        ..Change::default()
    };
    for wrong in [0, 1, 2, 4, 1 << 40, u64::MAX] {
        let outcome = store.commit(counted(&[(&empty, 0), (&full, wrong)], 1)).await;
        assert_eq!(outcome, Err(CommitError::Miscounted(full.clone())), "{wrong}");
    }
    let outcome = store.commit(counted(&[(&empty, 1), (&full, 4)], 1)).await;
    assert_eq!(outcome, Err(CommitError::Miscounted(empty.clone())), "the first of them");
    assert_eq!(version(&*store, &key).await, None);
    assert_eq!((members(&*store, &Index::Sites).await.len(), lines(&*store).await.len()), (0, 0));

    assert_eq!(store.commit(counted(&[(&empty, 0), (&full, 3)], 1)).await, Ok(()));
    // Counted before the first step is taken.
    let last = Change { counts: vec![(full.clone(), 3)], steps: vec![remove(&full, "é")], ..Change::default() };
    assert_eq!(store.commit(last.clone()).await, Ok(()));
    assert_eq!(store.commit(last).await, Err(CommitError::Miscounted(full.clone())));
    assert_eq!(store.commit(counted(&[(&full, 2)], 2)).await, Ok(()));
    assert_eq!(version(&*store, &key).await, Some(2));
}

pub async fn a_conflict_is_named_before_a_count(store: Arc<dyn Store>) {
    let change = Change { expect: vec![(name("a"), Expect::Version(1))], counts: vec![(Index::Sites, 9)], ..Change::default() };
    assert_eq!(store.commit(change).await, Err(CommitError::Conflict(name("a"))));
}

pub async fn who_has_counted_misses_nobody(store: Arc<dyn Store>) {
    for round in 0..10 {
        let (closed, index) = (name(format!("closed-{round}")), index_of(&round.to_string()));
        let adders = (0..40).map(|n| {
            let (store, closed, index) = (Arc::clone(&store), closed.clone(), index.clone());
            tokio::spawn(async move {
                let steps = vec![add(&index, &format!("{n:02}"))];
                store.commit(Change { expect: vec![(closed, Expect::Absent)], steps, ..Change::default() }).await.is_ok()
            })
        });
        let adders = join_all(adders);
        let counting = async {
            loop {
                let seen = members(&*store, &index).await;
                let close = Change {
                    expect: vec![(closed.clone(), Expect::Absent)],
                    counts: vec![(index.clone(), seen.len() as u64)],
                    steps: vec![Step::Put(closed.clone(), record(1, &seen.join(",")))],
                    ..Change::default()
                };
                match store.commit(close).await {
                    Ok(()) => return seen,
                    Err(CommitError::Miscounted(miscounted)) => assert_eq!(miscounted, index),
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let (added, seen) = tokio::join!(adders, counting);
        let added = added.into_iter().filter(|added| *added.as_ref().unwrap()).count();
        assert_eq!(members(&*store, &index).await, seen);
        assert_eq!(added, seen.len());
        assert_eq!(get(&*store, &closed).await, Some(record(1, &seen.join(","))));
    }
}
