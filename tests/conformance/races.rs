//! Several at once: one of them wins, nothing is lost, and nobody sees the half of a change.

use std::sync::Arc;

use futures_util::future::join_all;
use keygate::store::{Change, CommitError, Expect, Index, Step, Store, Stored};

use super::{add, get, members, name, put, record, steps, version};

pub async fn of_concurrent_writers_exactly_one_wins(store: Arc<dyn Store>) {
    let key = name("contested");
    store.commit(steps([put(&key, 1)])).await.unwrap();
    for before in 1..20 {
        let writers = (0..16).map(|writer| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                let stored = record(before + 1, &writer.to_string());
                let change = Change {
                    expect: vec![(key.clone(), Expect::Version(before))],
                    steps: vec![Step::Put(key.clone(), stored.clone())],
                    ..Change::default()
                };
                match store.commit(change).await {
                    Ok(()) => Some(stored),
                    Err(CommitError::Conflict(lost)) if lost == key => None,
                    Err(error) => panic!("{error}"),
                }
            })
        });
        let winners: Vec<Stored> = join_all(writers).await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(get(&*store, &key).await.as_ref(), winners.first());
    }
}

pub async fn no_increment_is_lost_between_concurrent_writers(store: Arc<dyn Store>) {
    let key = name("counter");
    store.commit(steps([put(&key, 0)])).await.unwrap();
    let writers = (0..8).map(|_| {
        let (store, key) = (Arc::clone(&store), key.clone());
        tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let before = version(&*store, &key).await.unwrap();
                    let change = Change {
                        expect: vec![(key.clone(), Expect::Version(before))],
                        steps: vec![put(&key, before + 1)],
                        ..Change::default()
                    };
                    match store.commit(change).await {
                        Ok(()) => break,
                        Err(CommitError::Conflict(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    assert_eq!(version(&*store, &key).await, Some(200));
}

pub async fn conflicts_take_nothing_else_with_them(store: Arc<dyn Store>) {
    let taken = name("taken");
    store.commit(steps([put(&taken, 1)])).await.unwrap();
    let changes = (0..600).map(|n| {
        let key = name(n.to_string());
        let expect = if n % 3 == 0 { (taken.clone(), Expect::Absent) } else { (key.clone(), Expect::Absent) };
        store.commit(Change {
            expect: vec![expect],
            steps: vec![put(&key, 1), add(&Index::Accounts, &format!("{n:03}"))],
            ..Change::default()
        })
    });
    let outcomes = join_all(changes).await;
    let applied: Vec<String> = members(&*store, &Index::Accounts).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let expected = if n % 3 == 0 { Err(CommitError::Conflict(taken.clone())) } else { Ok(()) };
        assert_eq!(outcome, expected);
        assert_eq!(version(&*store, &name(n.to_string())).await.is_some(), n % 3 != 0);
        assert_eq!(applied.contains(&format!("{n:03}")), n % 3 != 0);
    }
}

pub async fn readers_never_see_half_a_change(store: Arc<dyn Store>) {
    let keys = [name("left"), name("right"), name("third")];
    store.commit(steps(keys.iter().map(|key| put(key, 0)))).await.unwrap();
    let readers: Vec<_> = (0..32)
        .map(|_| {
            let (store, keys) = (Arc::clone(&store), keys.clone());
            tokio::spawn(async move {
                let mut last = 0;
                while last < 100 {
                    let versions: Vec<u64> =
                        store.read(&keys).await.unwrap().into_iter().map(|stored| stored.unwrap().version).collect();
                    assert!(versions.iter().all(|&version| version == versions[0]), "{versions:?}");
                    assert!(versions[0] >= last, "went back in time");
                    last = versions[0];
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for version in 1..=100 {
        let expect = keys.iter().map(|key| (key.clone(), Expect::Version(version - 1))).collect();
        store
            .commit(Change { expect, steps: keys.iter().map(|key| put(key, version)).collect(), ..Change::default() })
            .await
            .unwrap();
        // Whoever begins to read now sees it.
        assert_eq!(self::version(&*store, &keys[1]).await, Some(version));
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
