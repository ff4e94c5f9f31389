//! A store that has too few replicas: what is to be taken away is taken away to the end, and it is said that it may come back.

use std::sync::{Mutex, atomic::AtomicBool};

use async_trait::async_trait;

use super::*;
use crate::{
    domain::{id::ReplicaId, token::LastUse},
    store::{Change, Direction, Entry, EntryId, Live, Memory, Order, Page, Stored, Trail},
};

/// Applies every change; confirms what takes away or must hold only when it is told to.
pub(super) struct Lonely {
    store: Arc<dyn Store>,
    pub(super) confirms: AtomicBool,
    /// How many steps each change that takes away had.
    taken: Mutex<Vec<usize>>,
}

#[async_trait]
impl Store for Lonely {
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        self.store.tell(memory)
    }
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.store.read(keys).await
    }
    async fn page_in(&self, index: &Index, direction: Direction, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.store.page_in(index, direction, after, limit).await
    }
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let (taken, waits) = (change.takes_away.then_some(change.steps.len()), change.takes_away || change.must_hold);
        self.store.commit(change).await?;
        self.taken.lock().unwrap().extend(taken);
        if !waits || self.confirms.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(StoreError::transient("0 of 1 replicas").with(Trouble::Unconfirmed).into())
    }
    async fn append(&self, trail: Trail, entry: Entry, at_most: u64) -> Result<(), StoreError> {
        self.store.append(trail, entry, at_most).await
    }
    async fn entries(
        &self,
        trail: Trail,
        past: Option<EntryId>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        self.store.entries(trail, past, order, limit).await
    }
    async fn forget_entries(&self, trail: Trail, time: Timestamp) -> Result<(), StoreError> {
        self.store.forget_entries(trail, time).await
    }
    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        self.store.note_uses(uses).await
    }
    async fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        self.store.uses(tokens).await
    }
    async fn by_last_use(
        &self,
        direction: Direction,
        after: Option<&(Timestamp, TokenId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError> {
        self.store.by_last_use(direction, after, limit).await
    }
    async fn forget_uses(&self, tokens: &[TokenId]) -> Result<(), StoreError> {
        self.store.forget_uses(tokens).await
    }
    async fn publish(&self, replica: &ReplicaId, said: &str, keep: Duration) -> Result<(), StoreError> {
        self.store.publish(replica, said, keep).await
    }
    async fn published(&self) -> Result<Vec<(ReplicaId, String)>, StoreError> {
        self.store.published().await
    }
    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        self.store.forget_expired(now).await
    }
    async fn live(&self) -> Live {
        self.store.live().await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

pub(super) async fn lonely() -> (Fixture, Arc<Lonely>) {
    let mut fixture = fixture().await;
    let store = Arc::new(Lonely { store: fixture.store.clone(), confirms: AtomicBool::new(false), taken: Mutex::default() });
    fixture.directory = directory_on(store.clone(), fixture.clock.clone(), keys(KEY_1));
    (fixture, store)
}

fn unconfirmed<T: std::fmt::Debug>(result: Result<T, DirectoryError>) -> bool {
    result.unwrap_err().is_unconfirmed()
}

#[tokio::test]
async fn what_hangs_on_a_token_ends_with_it_though_nothing_is_confirmed() {
    let (fixture, _) = lonely().await;
    fixture.superuser("root").await;
    let (root, info) = fixture.manager("root").await;
    let children = [fixture.minted_with(&root, "root").await, fixture.minted_with(&root, "root").await];
    assert!(unconfirmed(fixture.directory.revoke_token(&ADMIN, &info.token.judged.id, false, None, None).await));
    for token in [&info, &children[0], &children[1]] {
        assert_eq!(fixture.state(&token.token.judged.id).await, TokenState::Revoked);
    }
}

#[tokio::test]
async fn many_are_revoked_to_the_last_before_it_is_said() {
    let (fixture, _) = lonely().await;
    fixture.account("ada").await;
    let tokens = [fixture.token("ada").await, fixture.token("ada").await, fixture.token("ada").await];
    let revoked = fixture.directory.revoke_tokens(&ADMIN, &tokens_of("ada"), &Found::Revoke(None), &Window::default()).await;
    assert!(unconfirmed(revoked));
    for token in &tokens {
        assert_eq!(fixture.state(&token.token.judged.id).await, TokenState::Revoked);
    }
    // The next refusal is nobody's but its own.
    assert!(fixture.directory.token(&ADMIN, &tokens[0].token.judged.id).await.is_ok());
}

#[tokio::test]
async fn several_use_cases_are_carried_out_to_the_last_before_it_is_said() {
    let (fixture, _) = lonely().await;
    fixture.account("ada").await;
    let ids = [fixture.token("ada").await, fixture.token("ada").await].map(|info| info.token.judged.id);
    let both = reported(async {
        for id in &ids {
            fixture.directory.revoke_token(&ADMIN, id, false, None, None).await?;
        }
        Ok::<_, DirectoryError>(())
    });
    assert!(unconfirmed(both.await));
    for id in &ids {
        assert_eq!(fixture.state(id).await, TokenState::Revoked);
    }
}

#[tokio::test]
async fn an_account_is_deleted_and_its_tokens_and_what_they_minted_are_gone() {
    let (fixture, _) = lonely().await;
    fixture.superuser("root").await;
    fixture.account("ada").await;
    let (root, _) = fixture.manager("root").await;
    let child = fixture.minted_with(&root, "ada").await;
    fixture.superuser("other").await;
    assert!(unconfirmed(fixture.directory.revoke_all(&ADMIN, &login("root"), false, None).await));
    assert_eq!(fixture.state(&child.token.judged.id).await, TokenState::Revoked);
    assert!(unconfirmed(fixture.directory.delete_account(&ADMIN, &login("root"), None).await));
    assert_eq!(code(fixture.directory.account(&ADMIN, &login("root")).await), "not_found");
}

#[tokio::test]
async fn who_asks_again_is_answered_when_it_is_confirmed() {
    let (fixture, store) = lonely().await;
    let (site, ada) = (site_name("shop"), login("ada"));
    fixture.site("shop").await;
    fixture.account("ada").await;
    fixture.directory.set_access(&ADMIN, &ada, &site, Level::View).await.unwrap();
    let id = fixture.token("ada").await.token.judged.id;
    let disable = || AccountPatch { disabled: Some(true), ..AccountPatch::default() };
    let before = fixture.clock.now();
    for confirms in [false, false, true] {
        store.confirms.store(confirms, Ordering::Relaxed);
        let done = [
            fixture.directory.revoke_token(&ADMIN, &id, false, None, None).await.map(drop),
            fixture.directory.set_access(&ADMIN, &ada, &site, Level::None).await.map(drop),
            fixture.patch("ada", disable()).await.map(drop),
        ];
        for done in done {
            assert_eq!(done.is_err_and(|error| error.is_unconfirmed()), !confirms);
        }
    }
    let taken = store.taken.lock().unwrap().clone();
    assert!(taken[..3].iter().all(|steps| *steps > 0) && taken[3..] == [0; 6], "{taken:?}");
    let told = fixture.done_since(before).await;
    assert_eq!(told.iter().filter(|event| event.action == "token.revoke").count(), 1);
}

/// He could not be told otherwise: what he asks for is not there any more.
#[tokio::test]
async fn who_asks_again_for_a_deletion_finds_nothing_when_it_is_confirmed() {
    let (fixture, store) = lonely().await;
    fixture.site("shop").await;
    fixture.account("ada").await;
    for (confirms, what) in [(false, "the first time"), (false, "again"), (true, "at last")] {
        store.confirms.store(confirms, Ordering::Relaxed);
        let done = [
            fixture.directory.delete_account(&ADMIN, &login("ada"), None).await,
            fixture.directory.delete_site(&ADMIN, &site_name("shop"), None).await,
        ];
        for done in done {
            match done {
                Err(error) if !confirms => assert!(error.is_unconfirmed(), "{what}: {error}"),
                done => assert_eq!(code(done), "not_found", "{what}"),
            }
        }
    }
    // Nobody else is told anything else.
    assert_eq!(code(fixture.directory.delete_site(&ADMIN, &site_name("never"), None).await), "not_found");
}

#[tokio::test]
async fn what_the_upkeep_ends_it_ends_to_the_last() {
    let (fixture, _) = lonely().await;
    fixture.account("ada").await;
    let tokens = [fixture.token("ada").await, fixture.token("ada").await];
    let rules = TokenRules {
        revoke_unused_after: Some(Duration::from_hours(2)),
        unused_after: Duration::from_hours(1),
        ..TokenRules::default()
    };
    let store: Arc<dyn Store> =
        Arc::new(Lonely { store: fixture.store.clone(), confirms: AtomicBool::new(false), taken: Mutex::default() });
    let directory = directory_by(store, fixture.clock.clone(), keys(KEY_1), rules, None);
    for _ in 0..2 {
        fixture.pass(Duration::from_hours(2));
        let _unconfirmed = directory.look_after_tokens(None).await;
    }
    for token in &tokens {
        assert_eq!(fixture.state(&token.token.judged.id).await, TokenState::Revoked);
    }
}
