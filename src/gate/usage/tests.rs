//! A store that takes last uses, or refuses them, and nothing else.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::*;
use crate::{
    domain::{id::ReplicaId, time::Timestamp},
    store::{Change, Coherence, CommitError, Direction, Entry, EntryId, Index, Key, Live, Memory, Order, Page, Stored, Trail},
};

#[derive(Default)]
struct Notes {
    /// What the next calls come to, the first one last.
    failures: Mutex<Vec<StoreError>>,
    written: Mutex<HashMap<TokenId, LastUse>>,
    /// Uses that come while the store is at work.
    meanwhile: Mutex<Vec<(Arc<Usage>, TokenId, i64)>>,
}

#[async_trait]
impl Store for Notes {
    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        for (usage, token, at) in self.meanwhile.lock().unwrap().drain(..) {
            note(&usage, &token, at);
        }
        if let Some(error) = self.failures.lock().unwrap().pop() {
            return Err(error);
        }
        self.written.lock().unwrap().extend(uses.iter().cloned());
        Ok(())
    }

    fn tell(&self, _: Arc<dyn Memory>) -> Arc<Coherence> {
        unreachable!()
    }

    async fn read(&self, _: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        unreachable!()
    }

    async fn page_in(&self, _: &Index, _: Direction, _: Option<&str>, _: usize) -> Result<Page, StoreError> {
        unreachable!()
    }

    async fn commit(&self, _: Change) -> Result<(), CommitError> {
        unreachable!()
    }

    async fn append(&self, _: Trail, _: Entry, _: u64) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn entries(&self, _: Trail, _: Option<EntryId>, _: Order, _: usize) -> Result<Vec<(EntryId, String)>, StoreError> {
        unreachable!()
    }

    async fn forget_entries(&self, _: Trail, _: Timestamp) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn uses(&self, _: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        unreachable!()
    }

    async fn publish(&self, _: &ReplicaId, _: &str, _: Duration) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn published(&self) -> Result<Vec<(ReplicaId, String)>, StoreError> {
        unreachable!()
    }

    async fn forget_expired(&self, _: Timestamp) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn by_last_use(
        &self,
        _: Direction,
        _: Option<&(Timestamp, TokenId)>,
        _: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError> {
        unreachable!()
    }

    async fn forget_uses(&self, _: &[TokenId]) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn live(&self) -> Live {
        Live::embedded()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!()
    }
}

impl Notes {
    fn failing(failures: &[StoreError]) -> Self {
        Self { failures: Mutex::new(failures.to_vec()), ..Self::default() }
    }

    fn at(&self, token: &TokenId) -> Option<i64> {
        self.written.lock().unwrap().get(token).map(|last| last.at.as_millis())
    }
}

fn token(number: usize) -> TokenId {
    TokenId::parse(&format!("{number:012}")).unwrap()
}

fn note(usage: &Usage, token: &TokenId, at: i64) {
    usage.note(token, LastUse { at: Timestamp::from_millis(at), address: None });
}

#[tokio::test]
async fn the_later_use_is_written() {
    let (usage, store) = (Usage::new(), Notes::default());
    for at in [1, 3, 2] {
        note(&usage, &token(1), at);
    }
    usage.write(&store).await.unwrap();
    assert_eq!(store.at(&token(1)), Some(3));
    // Once is enough.
    store.written.lock().unwrap().clear();
    usage.write(&store).await.unwrap();
    assert_eq!(store.at(&token(1)), None);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later_unless_there_is_a_later_use() {
    let usage = Arc::new(Usage::new());
    let store = Notes::failing(&[StoreError::transient("away")]);
    for number in 0..2 * PER_CALL {
        note(&usage, &token(number), 1);
    }
    store.meanwhile.lock().unwrap().push((usage.clone(), token(7), 2));
    assert!(usage.write(&store).await.unwrap_err().transient);
    assert!(store.written.lock().unwrap().is_empty());
    usage.write(&store).await.unwrap();
    assert_eq!((store.written.lock().unwrap().len(), usage.take_dropped()), (2 * PER_CALL, 0));
    assert_eq!((store.at(&token(6)), store.at(&token(7))), (Some(1), Some(2)));
}

#[tokio::test]
async fn what_the_store_refuses_for_good_does_not_hold_up_the_rest() {
    let (usage, store) = (Usage::new(), Notes::failing(&[StoreError::permanent("no")]));
    for number in 0..2 * PER_CALL {
        note(&usage, &token(number), 1);
    }
    assert!(!usage.write(&store).await.unwrap_err().transient);
    let (written, dropped) = (store.written.lock().unwrap().len(), usage.take_dropped());
    assert_eq!(written as u64 + dropped, 2 * PER_CALL as u64);
    assert!((1..=PER_CALL as u64).contains(&dropped), "{dropped} in the call that was refused");
}

#[tokio::test]
async fn there_is_room_for_so_many_and_somebody_is_woken_before_it_is_full() {
    let (usage, store) = (Usage::with_room_for(SHARDS * 4), Notes::default());
    for number in 0..1_000 {
        note(&usage, &token(number), 1);
    }
    usage.filling().await;
    assert_eq!(usage.take_dropped(), 1_000 - SHARDS as u64 * 4);
    // Known tokens have their place.
    usage.write(&store).await.unwrap();
    let kept = store.written.lock().unwrap().len();
    assert_eq!((kept, usage.take_dropped()), (SHARDS * 4, 0));
}
