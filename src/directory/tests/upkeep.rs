//! What time does to tokens and to what is kept beside them.

use std::collections::BTreeSet;

use super::*;
use crate::{
    domain::token::LastUse,
    store::{Change, Step, Stored},
};

const DAY: Duration = Duration::from_hours(24);
/// But for a second.
const ALMOST_A_DAY: Duration = Duration::from_secs(86_399);

impl Directory {
    /// A whole sweep.
    async fn sweep(&self) {
        let mut after = None;
        loop {
            after = self.look_after_tokens(after).await.unwrap();
            if after.is_none() {
                break;
            }
        }
        self.look_after_the_rest().await.unwrap();
    }
}

impl Fixture {
    async fn ending(&self, name: &str, after: Duration) -> TokenId {
        let new =
            NewToken { expires: Some(Expiry::After(after)), ..NewToken::new(login(name), fields::token_name("ending").unwrap()) };
        self.directory.create_token(&ADMIN, new).await.unwrap().1.token.judged.id
    }

    async fn system(&self, name: &str) -> TokenId {
        let new = NewToken {
            system: true,
            expires: Some(Expiry::After(DAY * 100)),
            ..NewToken::new(login(name), fields::token_name("system").unwrap())
        };
        self.directory.create_token(&ADMIN, new).await.unwrap().1.token.judged.id
    }

    async fn is_used(&self, token: &TokenId) {
        let last = LastUse { at: self.clock.now(), address: None };
        self.store.note_uses(&[(token.clone(), last)]).await.unwrap();
    }

    async fn exists(&self, token: &TokenId) -> bool {
        self.store.read(&[Key::Token(token.clone())]).await.unwrap()[0].is_some()
    }
}

#[tokio::test]
async fn a_token_that_ends_soon_or_rests_is_told_of_once() {
    let fixture = fixture().await;
    let (directory, told) = fixture.by(TokenRules::default());
    fixture.account("ada").await;
    let ending = fixture.ending("ada", DAY * 100).await;
    let resting = fixture.token("ada").await.token.judged.id;
    fixture.system("ada").await;
    directory.sweep().await;
    assert_eq!(told.take(), [""; 0]);

    fixture.pass(DAY * 86);
    fixture.is_used(&ending).await;
    let since = fixture.clock.now();
    for expected in [vec![format!("token.expiring {ending}")], vec![]] {
        directory.sweep().await;
        assert_eq!(told.take(), expected);
    }
    fixture.pass(DAY * 4);
    for expected in [vec![format!("token.unused {resting}")], vec![]] {
        directory.sweep().await;
        assert_eq!(told.take(), expected);
    }
    // It rests again after it was used.
    fixture.is_used(&resting).await;
    directory.sweep().await;
    assert_eq!(told.take(), [""; 0]);
    fixture.pass(DAY * 89);
    directory.sweep().await;
    assert_eq!(told.take(), [""; 0]);
    fixture.pass(DAY);
    directory.sweep().await;
    assert_eq!(told.take(), [format!("token.unused {resting}")]);

    let events = fixture.done_since(since).await;
    let [newest] = &events[..] else { panic!("a day is kept: {events:?}") };
    let after = newest.after.as_ref().unwrap();
    assert_eq!((after["account"].as_str(), after["name"].as_str()), (Some("ada"), Some("job")));
    assert_eq!(newest.actor.account.as_deref(), Some("system:upkeep"));
}

#[tokio::test]
async fn of_several_servers_one_tells() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    for _ in 0..20 {
        fixture.ending("ada", DAY).await;
    }
    let (one, told) = fixture.by(TokenRules::default());
    let (other, told_too) = fixture.by(TokenRules::default());
    tokio::join!(one.sweep(), other.sweep());
    let all: Vec<_> = told.take().into_iter().chain(told_too.take()).collect();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (20, 20), "{all:?}");
    assert_eq!(fixture.done_since(fixture.clock.now()).await.iter().filter(|event| event.action == "token.expiring").count(), 20);
}

#[tokio::test]
async fn a_token_that_rests_too_long_is_revoked_after_a_warning() {
    let fixture = fixture().await;
    let rules = TokenRules { unused_after: DAY, revoke_unused_after: Some(DAY), ..TokenRules::default() };
    let (directory, told) = fixture.by(rules);
    fixture.account("ada").await;
    let (text, manager) = fixture.manager("ada").await;
    let manager = manager.token.judged.id;
    let minted = fixture.minted_with(&text, "ada").await.token.judged.id;
    let system = fixture.system("ada").await;
    fixture.pass(DAY);
    fixture.is_used(&minted).await;
    directory.sweep().await;
    assert_eq!(told.take(), [format!("token.unused {manager}")]);
    assert_eq!(fixture.state(&manager).await, TokenState::Active);

    directory.sweep().await;
    let info = fixture.directory.token(&ADMIN, &manager).await.unwrap();
    let revoked = info.revoked.unwrap();
    assert_eq!((revoked.by.as_str(), revoked.why.as_deref()), ("system:upkeep", Some("unused for 1d")));
    // What it made is in use; and a system token is let be.
    for token in [&minted, &system] {
        assert_eq!(fixture.state(token).await, TokenState::Active);
    }
}

#[tokio::test]
async fn a_use_after_the_warning_saves_a_token() {
    let fixture = fixture().await;
    let rules = TokenRules { unused_after: DAY, revoke_unused_after: Some(DAY), ..TokenRules::default() };
    let (directory, told) = fixture.by(rules);
    fixture.account("ada").await;
    let token = fixture.token("ada").await.token.judged.id;
    fixture.pass(DAY);
    directory.sweep().await;
    assert_eq!(told.take().len(), 1);
    fixture.pass(Duration::from_secs(1));
    fixture.is_used(&token).await;
    directory.sweep().await;
    assert_eq!((fixture.state(&token).await, told.take().len()), (TokenState::Active, 0));
}

#[tokio::test]
async fn the_record_of_an_ended_token_goes_in_time() {
    let fixture = fixture().await;
    let rules = TokenRules { keep_ended: DAY * 10, ..TokenRules::default() };
    let (directory, _) = fixture.by(rules);
    let eve = fixture.account("eve").await;
    fixture.account("ada").await;
    let with_all = fixture.token("eve").await.token.judged.id;
    let expired = fixture.ending("ada", DAY).await;
    let revoked = fixture.token("ada").await.token.judged.id;
    let rotated = fixture.token("ada").await.token.judged.id;
    let alive = fixture.token("ada").await.token.judged.id;
    fixture.is_used(&expired).await;
    directory.revoke_token(&ADMIN, &revoked, false, None, None).await.unwrap();
    let successor = directory.rotate_token(&ADMIN, &rotated, DAY).await.unwrap().1.token.judged.id;
    directory.revoke_all(&ADMIN, &login("eve"), false, None).await.unwrap();

    fixture.pass(DAY * 9 + ALMOST_A_DAY);
    directory.sweep().await;
    for token in [&with_all, &expired, &revoked, &rotated, &successor, &alive] {
        assert!(fixture.exists(token).await);
    }
    fixture.pass(Duration::from_secs(1));
    directory.sweep().await;
    for (token, stays) in [(&with_all, false), (&revoked, false), (&expired, true), (&rotated, true)] {
        assert_eq!(fixture.exists(token).await, stays);
    }
    fixture.pass(DAY);
    let now = fixture.clock.now();
    directory.sweep().await;
    for (token, stays) in [(&expired, false), (&rotated, false), (&successor, true), (&alive, true)] {
        assert_eq!(fixture.exists(token).await, stays);
    }
    let purged: BTreeSet<_> = fixture.done_since(now).await.into_iter().map(|event| (event.action, event.target.id)).collect();
    let expected = [&expired, &rotated].map(|id| ("token.purge".to_owned(), id.to_string()));
    assert_eq!(purged, BTreeSet::from(expected));
    assert_eq!(fixture.members(Index::TokensOf(eve.id)).await, [""; 0]);
    assert_eq!(fixture.members(Index::Tokens).await.len(), 2);
    assert_eq!(fixture.store.uses(&[expired]).await.unwrap(), [None]);
    // Its predecessor is gone, and that is no reason to fail.
    directory.revoke_token(&ADMIN, &successor, false, None, None).await.unwrap();
}

#[tokio::test]
async fn what_a_purged_token_has_minted_ends_with_its_successor() {
    let fixture = fixture().await;
    let rules = TokenRules { keep_ended: DAY, ..TokenRules::default() };
    let (directory, _) = fixture.by(rules);
    fixture.account("ada").await;
    let (text, old) = fixture.manager("ada").await;
    let minted = fixture.minted_with(&text, "ada").await.token.judged.id;
    let dead = fixture.minted_with(&text, "ada").await.token.judged.id;
    directory.revoke_token(&ADMIN, &dead, false, None, None).await.unwrap();
    let new = directory.rotate_token(&ADMIN, &old.token.judged.id, Duration::ZERO).await.unwrap().1.token.judged.id;
    fixture.pass(DAY);
    directory.sweep().await;
    assert!(!fixture.exists(&old.token.id).await && !fixture.exists(&dead).await);
    assert_eq!(fixture.members(Index::MintedBy(old.token.judged.id)).await, [""; 0]);
    assert_eq!(fixture.members(Index::MintedBy(new.clone())).await, [minted.to_string()]);
    // Also when it is rotated only now.
    let rotated = directory.rotate_token(&ADMIN, &minted, Duration::from_hours(1)).await.unwrap().1.token.judged.id;
    directory.revoke_token(&ADMIN, &new, false, None, None).await.unwrap();
    for token in [&minted, &rotated] {
        assert_eq!(fixture.state(token).await, TokenState::Revoked);
    }
}

#[tokio::test]
async fn a_family_goes_from_its_oldest_on() {
    let fixture = fixture().await;
    let rules = TokenRules { keep_ended: DAY, ..TokenRules::default() };
    let (directory, _) = fixture.by(rules);
    fixture.account("ada").await;
    let first = fixture.token("ada").await.token.judged.id;
    let second = directory.rotate_token(&ADMIN, &first, DAY * 30).await.unwrap().1.token.judged.id;
    let third = directory.rotate_token(&ADMIN, &second, Duration::ZERO).await.unwrap().1.token.judged.id;
    fixture.pass(DAY * 2);
    directory.sweep().await;
    assert!(fixture.exists(&first).await && fixture.exists(&second).await);
    fixture.pass(DAY * 29);
    directory.sweep().await;
    directory.sweep().await;
    assert!(!fixture.exists(&first).await && !fixture.exists(&second).await && fixture.exists(&third).await);
}

#[tokio::test]
async fn a_token_without_an_owner_goes_at_once_and_a_damaged_one_is_in_nobodys_way() {
    let fixture = fixture().await;
    let (directory, told) = fixture.by(TokenRules::default());
    let (ada, eve) = (fixture.account("ada").await, fixture.account("eve").await);
    let (orphan, of_damaged) = (fixture.token("ada").await.token.judged.id, fixture.token("eve").await.token.judged.id);
    fixture.account("bob").await;
    let damaged = fixture.token("bob").await.token.judged.id;
    let ending = fixture.ending("bob", DAY).await;
    let junk = || Stored { version: 7, json: "{}".to_owned() };
    let steps = vec![
        Step::Delete(Key::Account(ada.id.clone())),
        Step::Put(Key::Account(eve.id), junk()),
        Step::Put(Key::Token(damaged.clone()), junk()),
    ];
    fixture.store.commit(Change { steps, ..Change::default() }).await.unwrap();
    directory.sweep().await;
    assert!(!fixture.exists(&orphan).await && fixture.exists(&of_damaged).await && fixture.exists(&damaged).await);
    assert_eq!(fixture.members(Index::TokensOf(ada.id)).await, [""; 0]);
    assert_eq!(told.take(), [format!("token.expiring {ending}")]);
}

#[tokio::test]
async fn many_tokens_are_looked_after_in_parts() {
    let fixture = fixture().await;
    let (directory, told) = fixture.by(TokenRules::default());
    fixture.account("ada").await;
    for _ in 0..205 {
        fixture.ending("ada", DAY).await;
    }
    let first = directory.look_after_tokens(None).await.unwrap();
    assert_eq!(told.take().len(), 100);
    let second = directory.look_after_tokens(first).await.unwrap();
    assert_eq!(told.take().len(), 100);
    assert_eq!(directory.look_after_tokens(second).await.unwrap(), None);
    assert_eq!(told.take().len(), 5);
}

#[tokio::test]
async fn what_has_been_kept_for_long_enough_is_forgotten() {
    let fixture = fixture().await;
    let Fixture { directory, .. } = &fixture;
    let make = async |name: &str, key: &str| {
        let key = IdempotencyKey::new(key, &[name.as_bytes()]).unwrap();
        directory.create_account(&ADMIN.once(Some(key)), NewAccount::new(login(name), AccountKind::Human)).await
    };
    for index in 0..150 {
        make(&format!("user{index}"), &format!("key{index}")).await.unwrap();
    }
    assert_eq!(code(directory.account(&Actor::bearer(stranger()), &login("user1")).await), "unknown");
    assert_eq!(code(directory.revoke_all(&Actor::bearer(stranger()), &login("user1"), false, None).await), "unknown");
    fixture.pass(ALMOST_A_DAY);
    make("late", "late").await.unwrap();
    directory.sweep().await;
    assert_eq!(code(make("user1", "key1").await), "replayed");
    assert_eq!(fixture.members(Index::Idempotency).await.len(), 151);

    fixture.pass(Duration::from_secs(2));
    directory.sweep().await;
    assert_eq!(fixture.members(Index::Idempotency).await.len(), 1);
    assert_eq!(code(make("user1", "key1").await), "login_taken");
    assert_eq!(code(make("late", "late").await), "replayed");
    let trail = directory.trail(&ADMIN, &TrailFilter::default(), &Window::default()).await.unwrap().items;
    let actions: Vec<_> =
        trail.iter().map(|recorded| (recorded.event.action.as_str(), recorded.event.target.id.as_str())).collect();
    assert_eq!(actions, [("account.create", "user1"), ("account.create", "late")]);
}

fn stranger() -> crate::domain::token::PresentedToken {
    prefixes().parse(b"kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf").unwrap()
}
