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
    (info.token.judged.id, acting(text.expose_secret()))
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
    fixture.directory.revoke_token(&ADMIN, &root, false, None, None).await.unwrap();
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
    fixture.directory.revoke_token(&ADMIN, &parent, true, None, None).await.unwrap();
    assert_eq!(fixture.state(&child).await, TokenState::Active);
    // Asked again without that, it goes too.
    fixture.directory.revoke_token(&ADMIN, &parent, false, None, None).await.unwrap();
    assert_eq!(fixture.state(&child).await, TokenState::Revoked);
}

#[tokio::test]
async fn what_a_predecessor_minted_stays_too_where_that_is_asked_for() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let (old, by_old) = manager(&fixture, &ADMIN, "ada").await;
    let (child, _) = manager(&fixture, &by_old, "ada").await;
    let new = fixture.directory.rotate_token(&ADMIN, &old, HOUR).await.unwrap().1.token.judged.id;
    fixture.directory.revoke_token(&ADMIN, &new, true, None, None).await.unwrap();
    fixture.directory.look_after_tokens(None).await.unwrap();
    assert_eq!(fixture.state(&old).await, TokenState::Revoked);
    assert_eq!(fixture.state(&child).await, TokenState::Active);
}

#[tokio::test]
async fn a_successor_outlives_its_predecessor_and_not_the_reverse() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let rotate = async |id: &TokenId| fixture.directory.rotate_token(&ADMIN, id, HOUR).await.unwrap().1.token.judged.id;
    let old = fixture.token("ada").await.token.judged.id;
    let new = rotate(&old).await;
    fixture.directory.revoke_token(&ADMIN, &old, false, None, None).await.unwrap();
    assert_eq!((fixture.state(&old).await, fixture.state(&new).await), (TokenState::Revoked, TokenState::Active));

    let old = fixture.token("ada").await.token.judged.id;
    let new = rotate(&old).await;
    let newest = rotate(&new).await;
    fixture.directory.revoke_token(&ADMIN, &newest, false, None, None).await.unwrap();
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
    fixture.directory.revoke_token(&ADMIN, &new.token.id, false, None, None).await.unwrap();
    assert_eq!(fixture.state(&minted).await, TokenState::Superseded);
    for id in [minted_later, rotated.token.judged.id] {
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
                directory.create_token(&actor, new).await.map(|(_, info)| info.token.judged.id)
            })
        };
        let mints: Vec<_> = (0..8).map(mint).collect();
        fixture.directory.revoke_token(&ADMIN, &minter, false, None, None).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_never_stops_minting_is_revoked_all_the_same() {
    use std::sync::atomic::AtomicBool;

    let fixture = fixture().await;
    fixture.account("ada").await;
    let (minter, by_minter) = manager(&fixture, &ADMIN, "ada").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mint = |_| {
        let (directory, actor, stop) = (fixture.directory.clone(), by_minter.clone(), stop.clone());
        tokio::spawn(async move {
            let mut made = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let new = NewToken {
                    scopes: vec![Scope::parse("manage").unwrap()],
                    ..NewToken::new(login("ada"), fields::token_name("minted").unwrap())
                };
                match directory.create_token(&actor, new).await {
                    Ok((_, info)) => made.push(info.token.judged.id),
                    Err(DirectoryError::Contended) => {}
                    Err(_) => break,
                }
            }
            made
        })
    };
    let mints: Vec<_> = (0..8).map(mint).collect();
    // Only once it has begun.
    while fixture.members(Index::MintedBy(minter.clone())).await.is_empty() {
        tokio::task::yield_now().await;
    }
    fixture.directory.revoke_token(&ADMIN, &minter, false, None, None).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let made: Vec<_> = join_all(mints).await.into_iter().flat_map(Result::unwrap).collect();
    for id in made {
        assert_eq!(fixture.state(&id).await, TokenState::Revoked, "{id}");
    }
}

#[tokio::test]
async fn a_revocation_that_was_cut_off_is_finished_by_the_upkeep() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let (parent, by_parent) = manager(&fixture, &ADMIN, "ada").await;
    let (child, by_child) = manager(&fixture, &by_parent, "ada").await;
    let (grandchild, _) = manager(&fixture, &by_child, "ada").await;
    let (kept, by_kept) = manager(&fixture, &ADMIN, "ada").await;
    let (stays, _) = manager(&fixture, &by_kept, "ada").await;
    fixture.directory.revoke_token(&ADMIN, &kept, true, None, None).await.unwrap();
    // As if the rest had not come to pass.
    let key = Key::Token(parent.clone());
    let stored = fixture.store.read(std::slice::from_ref(&key)).await.unwrap().pop().flatten().unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&stored.json).unwrap();
    record["revoked"] = serde_json::json!({ "at": fixture.clock.now(), "by": "somebody" });
    let json = record.to_string();
    let steps = vec![crate::store::Step::Put(key, crate::store::Stored { json, ..stored })];
    fixture.store.commit(crate::store::Change { steps, ..crate::store::Change::default() }).await.unwrap();

    fixture.directory.look_after_tokens(None).await.unwrap();
    for id in [parent, child, grandchild] {
        assert_eq!(fixture.state(&id).await, TokenState::Revoked);
    }
    assert_eq!(fixture.state(&stays).await, TokenState::Active);
}

#[tokio::test]
async fn what_an_account_minted_for_others_ends_with_it() {
    for delete in [false, true] {
        let fixture = fixture().await;
        fixture.superuser("evil").await;
        fixture.superuser("root").await;
        fixture.account("ada").await;
        let (_, by_evil) = manager(&fixture, &ADMIN, "evil").await;
        let (door, by_door) = manager(&fixture, &by_evil, "ada").await;
        let (inner, _) = manager(&fixture, &by_door, "ada").await;
        let (other, _) = manager(&fixture, &ADMIN, "ada").await;
        if delete {
            // Also where he does it to himself, by a token that dies of it.
            fixture.directory.delete_account(&by_evil, &login("evil"), None).await.unwrap();
            assert_eq!(code(fixture.directory.account(&ADMIN, &login("evil")).await), "not_found");
        } else {
            fixture.directory.revoke_all(&ADMIN, &login("evil"), false, None).await.unwrap();
        }
        for id in [&door, &inner] {
            assert_eq!(fixture.state(id).await, TokenState::Revoked);
        }
        assert_eq!(fixture.state(&other).await, TokenState::Active);
    }
}

#[tokio::test]
async fn what_was_revoked_stays_revoked_by_whom_it_was() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let first = fixture.token("ada").await.token.judged.id;
    let why = fields::reason("the laptop is lost").unwrap();
    fixture.directory.revoke_all(&ADMIN, &login("ada"), false, Some(&why)).await.unwrap();
    let ended = fixture.directory.token(&ADMIN, &first).await.unwrap().revoked.unwrap();
    fixture.pass(HOUR);
    let second = fixture.token("ada").await.token.judged.id;
    fixture.directory.revoke_all(&Actor::control(7), &login("ada"), false, None).await.unwrap();
    assert_eq!(fixture.directory.token(&ADMIN, &first).await.unwrap().revoked.unwrap(), ended);
    assert_eq!((ended.by.as_str(), ended.why.as_deref()), ("control:1000", Some("the laptop is lost")));
    assert_eq!(fixture.directory.token(&ADMIN, &second).await.unwrap().revoked.unwrap().by, "control:7");
}

#[tokio::test]
async fn a_token_in_the_place_of_a_name_is_refused_and_not_written_down() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let (text, _) =
        fixture.directory.create_token(&ADMIN, NewToken::new(login("ada"), fields::token_name("a").unwrap())).await.unwrap();
    let secret = text.expose_secret();
    let named = fields::token_name(&format!("was {secret}!")).unwrap();
    assert_eq!(code(fixture.directory.create_token(&ADMIN, NewToken::new(login("ada"), named)).await), "holds_a_token");
    let new = NewAccount::new(login(secret), AccountKind::Human);
    assert_eq!(code(fixture.directory.create_account(&ADMIN, new).await), "holds_a_token");
    assert_eq!(code(fixture.directory.revoke_all(&ADMIN, &login(secret), false, None).await), "not_found");
    let trail = fixture.directory.trail(&ADMIN, &TrailFilter::default(), &Window::default()).await.unwrap();
    assert!(trail.items.len() > 2 && !format!("{trail:?}").contains(&secret[20..40]));
}
