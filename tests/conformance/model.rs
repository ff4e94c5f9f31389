//! Random changes, one after the other, on a store and on the trait in its simplest form.

use std::{collections::BTreeSet, sync::Arc};

use keygate::{
    domain::time::Timestamp,
    store::{Change, CommitError, Expect, Index, Step, Store, Stored},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{entry, lines, members, name, put, record};

/// The trait in its simplest form.
#[derive(Default)]
struct Model {
    records: std::collections::BTreeMap<String, Stored>,
    members: BTreeSet<(String, String)>,
    lines: Vec<String>,
}

impl Model {
    fn commit(&mut self, change: &Change) -> Result<(), CommitError> {
        for (key, expect) in &change.expect {
            let version = self.records.get(&key.name()).map(|stored| stored.version);
            let holds = match expect {
                Expect::Absent => version.is_none(),
                Expect::Version(expected) => version == Some(*expected),
            };
            if !holds {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        for (index, expected) in &change.counts {
            if self.members.iter().filter(|(name, _)| *name == index.name()).count() as u64 != *expected {
                return Err(CommitError::Miscounted(index.clone()));
            }
        }
        self.lines.extend(change.entries.iter().map(|entry| entry.json.clone()));
        for step in change.steps.iter().cloned() {
            match step {
                Step::Put(key, stored) | Step::PutUntil(key, stored, _) => drop(self.records.insert(key.name(), stored)),
                Step::Delete(key) => drop(self.records.remove(&key.name())),
                Step::AddTo(index, member) => drop(self.members.insert((index.name(), member))),
                Step::RemoveFrom(index, member) => drop(self.members.remove(&(index.name(), member))),
                Step::Clear(index) => self.members.retain(|(name, _)| *name != index.name()),
            }
        }
        Ok(())
    }
}

pub async fn random_changes_agree_with_a_model(store: Arc<dyn Store>) {
    let mut rng = StdRng::seed_from_u64(2026);
    let mut model = Model::default();
    let keys = ["a", "b", "c", "d"].map(name);
    let indexes = [Index::Accounts, Index::Sites];
    let far = Timestamp::from_millis(4_000_000_000_000);
    let (mut conflicts, mut miscounts) = (0, 0);
    for n in 0..500 {
        let key = |rng: &mut StdRng| keys[rng.random_range(0..keys.len())].clone();
        let expect = (0..rng.random_range(0..3))
            .map(|_| {
                let expect = match rng.random_range(0..3) {
                    0 => Expect::Absent,
                    _ => Expect::Version(rng.random_range(0..3)),
                };
                (key(&mut rng), expect)
            })
            .collect();
        let steps = (0..rng.random_range(0..6))
            .map(|_| {
                let index = indexes[rng.random_range(0..indexes.len())].clone();
                let member = rng.random_range(0..6).to_string();
                match rng.random_range(0..6) {
                    // Far ahead, so that it is there at each look.
                    5 => Step::PutUntil(key(&mut rng), record(rng.random_range(0..3), "with a time"), far),
                    0 => Step::Delete(key(&mut rng)),
                    1 => Step::AddTo(index, member),
                    2 => Step::RemoveFrom(index, member),
                    _ => put(&key(&mut rng), rng.random_range(0..3)),
                }
            })
            .collect();
        let counts = (0..rng.random_range(0..2))
            .map(|_| (indexes[rng.random_range(0..indexes.len())].clone(), rng.random_range(0..5)))
            .collect();
        let entries = (0..rng.random_range(0..3)).map(|line| entry(&format!("{n}/{line}"))).collect();
        let change = Change { expect, counts, steps, entries, takes_away: rng.random(), must_hold: rng.random() };
        let expected = model.commit(&change);
        conflicts += u32::from(matches!(expected, Err(CommitError::Conflict(_))));
        miscounts += u32::from(matches!(expected, Err(CommitError::Miscounted(_))));
        assert_eq!(store.commit(change.clone()).await, expected, "{change:?}");
        store.forget_expired(Timestamp::from_millis(3_000_000_000_000)).await.unwrap();
        let records: Vec<_> = keys.iter().map(|key| model.records.get(&key.name()).cloned()).collect();
        assert_eq!(store.read(&keys).await.unwrap(), records, "{change:?}");
        for index in &indexes {
            let of_index: Vec<_> =
                model.members.iter().filter(|(name, _)| *name == index.name()).map(|(_, member)| member.clone()).collect();
            assert_eq!(members(&*store, index).await, of_index, "{change:?}");
        }
    }
    assert!((50..350).contains(&conflicts) && (50..350).contains(&miscounts), "{conflicts} conflicts, {miscounts} miscounts");
    assert_eq!(lines(&*store).await, model.lines);
}
