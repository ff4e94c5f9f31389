//! What a store promises about the audit trail: nothing is done without its entry, and entries keep their order.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use keygate::{
    domain::time::Timestamp,
    store::{Change, CommitError, Entry, EntryId, Expect, Index, Order, Store, StoreError, Trail},
};

use super::{add, entry, index_of, lines, members, name, put, version};

const FIRST: EntryId = EntryId { millis: 0, count: 0 };
const LAST: EntryId = EntryId { millis: u64::MAX, count: u64::MAX };

async fn all(store: &dyn Store, trail: Trail) -> Vec<(EntryId, String)> {
    store.entries(trail, None, Order::OldestFirst, usize::MAX).await.unwrap()
}

fn entry_at(at: i64, text: &str) -> Entry {
    Entry { at: Timestamp::from_millis(at), ..entry(text) }
}

fn with_entries(entries: impl IntoIterator<Item = Entry>) -> Change {
    Change { entries: entries.into_iter().collect(), ..Change::default() }
}

fn assert_ascending(entries: &[(EntryId, String)]) {
    assert!(entries.is_sorted_by(|(left, _), (right, _)| left < right), "{entries:?}");
}

/// Several to a change and to a millisecond, with a clock that goes back.
async fn written(store: &dyn Store) -> Vec<(EntryId, String)> {
    let mut expected = Vec::new();
    for change in 0..30_i64 {
        let texts: Vec<String> = (0..change % 4).map(|n| format!("{change}/{n} käse 漢 😀 \u{0}")).collect();
        let at = 5_000 - (change / 5) * 1_000 + change % 2;
        store.commit(with_entries(texts.iter().map(|text| entry_at(at, text)))).await.unwrap();
        expected.extend(texts.iter().map(|text| entry(text).json));
    }
    let entries = all(store, Trail::Changes).await;
    assert_ascending(&entries);
    assert_eq!(entries.iter().map(|(_, json)| json.clone()).collect::<Vec<_>>(), expected);
    entries
}

pub async fn entries_are_read_in_the_order_in_which_they_were_written(store: Arc<dyn Store>) {
    assert_eq!(store.entries(Trail::Changes, None, Order::NewestFirst, 10).await, Ok(Vec::new()));
    let entries = written(&*store).await;
    let reversed: Vec<_> = entries.iter().rev().cloned().collect();
    assert_eq!(store.entries(Trail::Changes, None, Order::NewestFirst, 1_000).await.unwrap(), reversed);
    assert_eq!(store.entries(Trail::Changes, None, Order::NewestFirst, 3).await.unwrap(), reversed[..3]);
    assert_eq!(store.entries(Trail::Changes, None, Order::OldestFirst, 3).await.unwrap(), entries[..3]);
    assert_eq!(store.entries(Trail::Changes, None, Order::OldestFirst, 0).await, Ok(Vec::new()));
    assert_eq!(store.entries(Trail::Refused, None, Order::OldestFirst, 9).await, Ok(Vec::new()));
}

pub async fn entries_are_paged_from_both_ends_without_a_gap(store: Arc<dyn Store>) {
    let entries = written(&*store).await;
    for (order, entries) in [(Order::OldestFirst, entries.clone()), (Order::NewestFirst, entries.iter().rev().cloned().collect())] {
        for limit in [1, 7, entries.len(), 1_000] {
            let (mut paged, mut past) = (Vec::new(), None);
            loop {
                let page = store.entries(Trail::Changes, past, order, limit).await.unwrap();
                let Some((last, _)) = page.last() else { break };
                past = Some(*last);
                paged.extend(page);
            }
            assert_eq!(paged, entries, "{order:?} {limit}");
        }
        // The bound itself is left out, and need not be an entry.
        for (n, (id, _)) in entries.iter().enumerate() {
            let page = store.entries(Trail::Changes, Some(*id), order, 1).await.unwrap();
            assert_eq!(page.first(), entries.get(n + 1), "{order:?} {id}");
        }
        let (start, end) = if order == Order::OldestFirst { (FIRST, LAST) } else { (LAST, FIRST) };
        assert_eq!(store.entries(Trail::Changes, Some(start), order, 1_000).await.unwrap(), entries);
        assert_eq!(store.entries(Trail::Changes, Some(end), order, 1_000).await, Ok(Vec::new()));
    }
}

pub async fn a_change_and_its_entries_happen_together(store: Arc<dyn Store>) {
    let (key, taken) = (name("a"), name("taken"));
    store.commit(Change { steps: vec![put(&taken, 1)], ..with_entries([entry("first")]) }).await.unwrap();
    for takes_away in [false, true] {
        let conflict = Change {
            expect: vec![(taken.clone(), Expect::Absent)],
            steps: vec![put(&key, 1)],
            takes_away,
            ..with_entries([entry("never")])
        };
        assert_eq!(store.commit(conflict).await, Err(CommitError::Conflict(taken.clone())));
        assert_eq!(version(&*store, &key).await, None);
        assert_eq!(lines(&*store).await, [entry("first").json]);
    }
    let away = Change { steps: vec![put(&key, 2)], takes_away: true, ..with_entries([entry("second"), entry("third")]) };
    store.commit(away).await.unwrap();
    assert_eq!(version(&*store, &key).await, Some(2));
    assert_eq!(lines(&*store).await, ["first", "second", "third"].map(|text| entry(text).json));
}

pub async fn of_concurrent_changes_every_entry_is_there_once(store: Arc<dyn Store>) {
    let changes = (0..600).map(|n| {
        // Every third one conflicts: only one of them can be the first.
        let expect = if n % 3 == 0 { name("once") } else { name(n.to_string()) };
        let steps = vec![put(&expect, 1), add(&Index::Accounts, &entry(&n.to_string()).json)];
        let change = Change { expect: vec![(expect, Expect::Absent)], steps, ..with_entries([entry(&n.to_string())]) };
        store.commit(change)
    });
    let applied = join_all(changes).await.into_iter().flatten().count();
    assert_eq!(applied, 401);
    let entries = all(&*store, Trail::Changes).await;
    assert_ascending(&entries);
    assert_eq!(entries.len(), applied);
    let lines: BTreeSet<String> = entries.into_iter().map(|(_, json)| json).collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), members(&*store, &Index::Accounts).await);
}

pub async fn a_bounded_trail_keeps_the_newest_and_touches_no_other(store: Arc<dyn Store>) {
    let kept = written(&*store).await;
    let texts: Vec<String> = (0..1_000).map(|n| entry(&n.to_string()).json).collect();
    for json in &texts {
        let entry = Entry { at: Timestamp::from_millis(0), json: json.clone() };
        store.append(Trail::Refused, entry, 300).await.unwrap();
    }
    let refused = all(&*store, Trail::Refused).await;
    assert_ascending(&refused);
    // A medium lets go of a block at a time.
    assert!((300..=500).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().map(|(_, json)| json).eq(&texts[texts.len() - refused.len()..]));
    assert_eq!(all(&*store, Trail::Changes).await, kept);
    // The other way round.
    for n in 0..500 {
        store.append(Trail::Changes, entry(&n.to_string()), 1).await.unwrap();
    }
    assert_eq!(all(&*store, Trail::Changes).await.last().unwrap().1, entry("499").json);
    assert!(all(&*store, Trail::Changes).await.len() < 250);
    assert_eq!(all(&*store, Trail::Refused).await, refused);
}

pub async fn what_is_forgotten_is_what_was_written_before(store: Arc<dyn Store>) {
    // Some stores have a clock of their own.
    let mut instants = HashSet::new();
    for n in 0.. {
        store.commit(with_entries([entry_at(n / 3, &n.to_string())])).await.unwrap();
        store.append(Trail::Refused, entry_at(n / 3, "refused"), 1_000_000).await.unwrap();
        let newest = store.entries(Trail::Changes, None, Order::NewestFirst, 1).await.unwrap();
        instants.insert(newest[0].0.millis);
        if instants.len() == 5 {
            break;
        }
    }
    let refused = all(&*store, Trail::Refused).await;
    let entries = all(&*store, Trail::Changes).await;
    store.forget_entries(Trail::Changes, Timestamp::from_millis(-1)).await.unwrap();
    assert_eq!(all(&*store, Trail::Changes).await, entries);

    let mut instants: Vec<u64> = instants.into_iter().collect();
    instants.sort_unstable();
    let time = Timestamp::from_millis(instants[2].cast_signed());
    let since: Vec<_> = entries.iter().filter(|(id, _)| id.millis >= instants[2]).cloned().collect();
    let page = store.entries(Trail::Changes, Some(EntryId::before(time)), Order::OldestFirst, 1_000_000).await;
    assert_eq!(page.as_ref(), Ok(&since));
    store.forget_entries(Trail::Changes, time).await.unwrap();
    assert_eq!(all(&*store, Trail::Changes).await, since);
    // Who reads on from what has gone begins with what there is.
    assert_eq!(store.entries(Trail::Changes, Some(entries[0].0), Order::OldestFirst, 1_000_000).await, Ok(since.clone()));
    assert_eq!(store.entries(Trail::Changes, Some(entries[0].0), Order::NewestFirst, 9).await, Ok(Vec::new()));
    assert_eq!(all(&*store, Trail::Refused).await, refused);

    let beyond = Timestamp::from_millis(instants[4].cast_signed() + 1);
    store.forget_entries(Trail::Changes, beyond).await.unwrap();
    assert_eq!(all(&*store, Trail::Changes).await, []);
    store.commit(with_entries([entry_at(0, "the clock has gone back")])).await.unwrap();
    let next = all(&*store, Trail::Changes).await;
    assert!(next.len() == 1 && next[0].0 > since.last().unwrap().0, "{next:?}");
}

pub async fn a_change_may_have_two_thousand_entries_and_members(store: Arc<dyn Store>) {
    let index = index_of("large");
    let texts: Vec<String> = (0..2_000).map(|n| format!("{n:04} é")).collect();
    let change = Change {
        counts: vec![(index.clone(), 0)],
        steps: texts.iter().map(|text| add(&index, text)).collect(),
        ..with_entries(texts.iter().map(|text| entry(text)))
    };
    store.commit(change).await.unwrap();
    assert!(members(&*store, &index).await == texts);
    assert!(lines(&*store).await.into_iter().eq(texts.iter().map(|text| entry(text).json)));
    let long = entry(&"é".repeat(100_000));
    store.commit(with_entries([long.clone()])).await.unwrap();
    assert!(lines(&*store).await.last() == Some(&long.json));
}

/// Asked of a store whose trail of changes has been broken by force.
pub async fn goes_on_only_where_rights_are_taken_away(store: &dyn Store) {
    let (key, index) = (name("a"), index_of("broken"));
    let change = |version: u64, takes_away: bool| Change {
        expect: vec![(key.clone(), if version == 1 { Expect::Absent } else { Expect::Version(version - 1) })],
        counts: vec![(index.clone(), version - 1)],
        steps: vec![put(&key, version), add(&index, &version.to_string())],
        entries: vec![entry("one"), entry("two")],
        takes_away,
        must_hold: false,
    };
    for version in 1..4 {
        let refused = store.commit(change(version, false)).await;
        assert!(matches!(refused, Err(CommitError::Store(StoreError { transient: false, .. }))), "{refused:?}");
        assert_eq!(members(store, &index).await.len() as u64, version - 1);
        assert_eq!(self::version(store, &key).await, (version > 1).then(|| version - 1));

        assert_eq!(store.commit(change(version, true)).await, Ok(()));
        assert_eq!(members(store, &index).await.len() as u64, version);
        assert_eq!(self::version(store, &key).await, Some(version));
        // Its conditions are as strict as ever.
        assert!(store.commit(change(version, true)).await.is_err());
    }
    // What has no entries is not concerned.
    let silent = Change { entries: Vec::new(), ..change(4, false) };
    assert_eq!(store.commit(silent).await, Ok(()));
}
