//! What ends with a token: its predecessors in their grace, and what was minted with it.

use futures_util::future::join_all;

use super::*;
use crate::domain::token::Scope;

/// A token for management, and how to act by it.
async fn manager(fixture: &Fixture, by: &Actor, owner: &str) -> (TokenId, Actor) {
    let new = NewToken {
        scopes: vec![Scope::parse("manage").unwrap()],
        ..NewToken::new(login(owner), fields::token_name("manager").unwrap())
    };
    let (text, info) = fixture.directory.create_token(by, new).await.unwrap();
    (info.token.id, acting(text.expose_secret()))
}

fn acting(text: &str) -> Actor {
    let prefixes = TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap();
    Actor::bearer(prefixes.parse(text.as_bytes()).unwrap())
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn what_was_minted_ends_with_its_minter() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    fixture.superuser("root").await;
    let (root, by_root) = manager(&fixture, &ADMIN, "root").await;
    let (child, by_child) = manager(&fixture, &by_root, "ada").await;
    let (grandchild, _) = manager(&fixture, &by_child, "ada").await;
    let (other, _) = manager(&fixture, &ADMIN, "ada").await;
    fixture.directory.revoke_token(&ADMIN, &root, false, None).await.unwrap();
    for id in [&root, &child, &grandchild] {
        assert_eq!(fixture.state(id).await, TokenState::Revoked);
    }
    assert_eq!(fixture.state(&other).await, TokenState::Active);
    let why = fixture.directory.token(&ADMIN, &grandchild).await.unwrap().revoked.unwrap().why.unwrap();
    assert!(why.contains(child.as_str()), "{why}");
}

#[tokio::test]
async fn what_was_minted_stays_where_that_is_asked_for() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let (parent, by_parent) = manager(&fixture, &ADMIN, "ada").await;
    let (child, _) = manager(&fixture, &by_parent, "ada").await;
    fixture.directory.revoke_token(&ADMIN, &parent, true, None).await.unwrap();
    assert_eq!(fixture.state(&child).await, TokenState::Active);
    // Asked again without that, it goes too.
    fixture.directory.revoke_token(&ADMIN, &parent, false, None).await.unwrap();
    assert_eq!(fixture.state(&child).await, TokenState::Revoked);
}

#[tokio::test]
async fn a_successor_outlives_its_predecessor_and_not_the_reverse() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let rotate = async |id: &TokenId| fixture.directory.rotate_token(&ADMIN, id, HOUR).await.unwrap().1.token.id;
    let old = fixture.token("ada").await.token.id;
    let new = rotate(&old).await;
    fixture.directory.revoke_token(&ADMIN, &old, false, None).await.unwrap();
    assert_eq!((fixture.state(&old).await, fixture.state(&new).await), (TokenState::Revoked, TokenState::Active));

    let old = fixture.token("ada").await.token.id;
    let new = rotate(&old).await;
    let newest = rotate(&new).await;
    fixture.directory.revoke_token(&ADMIN, &newest, false, None).await.unwrap();
    for id in [old, new, newest] {
        assert_eq!(fixture.state(&id).await, TokenState::Revoked, "both predecessors are in their grace");
    }
}

#[tokio::test]
async fn what_a_predecessor_minted_ends_with_the_successor() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let (old, by_old) = manager(&fixture, &ADMIN, "ada").await;
    let (minted, _) = manager(&fixture, &by_old, "ada").await;
    let (text, new) = fixture.directory.rotate_token(&ADMIN, &old, Duration::ZERO).await.unwrap();
    let (minted_later, _) = manager(&fixture, &acting(text.expose_secret()), "ada").await;
    let rotated = fixture.directory.rotate_token(&ADMIN, &minted, Duration::ZERO).await.unwrap().1;
    fixture.directory.revoke_token(&ADMIN, &new.token.id, false, None).await.unwrap();
    assert_eq!(fixture.state(&minted).await, TokenState::Superseded);
    for id in [minted_later, rotated.token.id] {
        assert_eq!(fixture.state(&id).await, TokenState::Revoked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_is_minted_during_a_revocation_outlives_it() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let mut minted_in_time = 0;
    for _ in 0..30 {
        let (minter, by_minter) = manager(&fixture, &ADMIN, "ada").await;
        let mint = |_| {
            let (directory, actor) = (fixture.directory.clone(), by_minter.clone());
            tokio::spawn(async move {
                let new = NewToken {
                    scopes: vec![Scope::parse("manage").unwrap()],
                    ..NewToken::new(login("ada"), fields::token_name("minted").unwrap())
                };
                directory.create_token(&actor, new).await.map(|(_, info)| info.token.id)
            })
        };
        let mints: Vec<_> = (0..8).map(mint).collect();
        fixture.directory.revoke_token(&ADMIN, &minter, false, None).await.unwrap();
        for minted in join_all(mints).await {
            match minted.unwrap() {
                Ok(id) => {
                    minted_in_time += 1;
                    assert_eq!(fixture.state(&id).await, TokenState::Revoked);
                }
                Err(error) => assert_eq!(code(Err::<(), _>(error)), "revoked"),
            }
        }
    }
    assert!(minted_in_time > 0, "some were faster");
}

#[tokio::test]
async fn what_is_taken_from_the_owner_is_taken_from_his_token_at_once() {
    let fixture = fixture().await;
    fixture.account("boss").await;
    fixture.account("ada").await;
    fixture.site("shop").await;
    let set = async |actor: &Actor, name: &str, level| {
        fixture.directory.set_access(actor, &login(name), &site_name("shop"), level).await.map(drop)
    };
    set(&ADMIN, "boss", Level::Admin).await.unwrap();
    let (_, boss) = manager(&fixture, &ADMIN, "boss").await;
    set(&boss, "ada", Level::Write).await.unwrap();
    set(&ADMIN, "boss", Level::Write).await.unwrap();
    assert_eq!(code(set(&boss, "ada", Level::View).await), "site_admin_required");
    set(&ADMIN, "boss", Level::None).await.unwrap();
    assert_eq!(code(set(&boss, "ada", Level::View).await), "not_found");
}

#[tokio::test]
async fn a_request_with_a_key_is_carried_out_once() {
    let fixture = fixture().await;
    let key = |request: &[u8]| Some(IdempotencyKey::new("key", &[request]).unwrap());
    let create = async |actor: Actor, name: &str| {
        fixture.directory.create_account(&actor, NewAccount::new(login(name), AccountKind::Human)).await
    };
    let made = create(ADMIN.once(key(b"1")), "ada").await.unwrap();
    assert_eq!(create(ADMIN.once(key(b"1")), "ada").await, Err(DirectoryError::Replayed(Made::Account(made.id))));
    assert_eq!(code(create(ADMIN.once(key(b"2")), "zoe").await), "idempotency_key_reused");
    // The same key of somebody else is another one.
    create(Actor::control(7).once(key(b"2")), "zoe").await.unwrap();
    // What was refused may be tried again.
    assert_eq!(code(create(ADMIN.once(IdempotencyKey::new("other", &[]).ok()), "zoe").await), "login_taken");
    create(ADMIN.once(IdempotencyKey::new("other", &[]).ok()), "eve").await.unwrap();
}
