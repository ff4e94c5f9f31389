//! Several callers at once, on threads that really run at once.

use futures_util::future::join_all;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creations_of_one_login_one_wins() {
    let fixture = fixture().await;
    for round in 0..20 {
        let create = |index| {
            let directory = fixture.directory.clone();
            let name = if index % 2 == 0 { format!("Vera{round}") } else { format!("vera{round}") };
            tokio::spawn(async move { directory.create_account(&ADMIN, NewAccount::new(login(&name), AccountKind::Human)).await })
        };
        let results = join_all((0..8).map(create)).await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().map(Result::unwrap).partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(lost.into_iter().all(|result| code(result) == "login_taken"));
    }
    assert_eq!(fixture.members(Index::Accounts).await.len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_description_that_races_a_revocation_leaves_it_revoked() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    for round in 0..50 {
        let id = fixture.token("ada").await.token.judged.id;
        let (directory, of) = (fixture.directory.clone(), id.clone());
        let describe = tokio::spawn(async move {
            let patch = TokenPatch { name: Some(fields::token_name(&format!("name {round}")).unwrap()), device: FieldPatch::Keep };
            directory.update_token(&ADMIN, &of, patch, None).await.unwrap();
        });
        let (directory, of) = (fixture.directory.clone(), id.clone());
        let rename = tokio::spawn(async move {
            let patch = AccountPatch { login: Some(login(if round % 2 == 0 { "ADA" } else { "ada" })), ..AccountPatch::default() };
            directory.update_account(&ADMIN, &login("ada"), patch, None).await.unwrap();
        });
        let revoke = fixture.directory.revoke_token(&ADMIN, &of, false, None, None).await;
        describe.await.unwrap();
        rename.await.unwrap();
        revoke.unwrap();
        let info = fixture.directory.token(&ADMIN, &id).await.unwrap();
        assert_eq!((info.state, info.token.name.as_str()), (TokenState::Revoked, format!("name {round}").as_str()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_superusers_that_demote_each_other_one_stays() {
    let fixture = fixture().await;
    for round in 0..20 {
        let names = [format!("a{round}"), format!("b{round}")];
        for name in &names {
            fixture.superuser(name).await;
        }
        if round > 0 {
            // The one that stayed in the round before.
            for name in [format!("a{}", round - 1), format!("b{}", round - 1)] {
                let _ = fixture.directory.delete_account(&ADMIN, &login(&name), None).await;
            }
        }
        let demote = |name: String| {
            let directory = fixture.directory.clone();
            let patch = AccountPatch { superuser: Some(false), ..AccountPatch::default() };
            tokio::spawn(async move { directory.update_account(&ADMIN, &login(&name), patch, None).await })
        };
        let results = join_all(names.map(demote)).await;
        assert_eq!(results.into_iter().filter(|result| result.as_ref().unwrap().is_ok()).count(), 1);
        assert_eq!(fixture.members(Index::Superusers).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_made_beside_revoke_all_or_a_deletion_is_dead_or_newer() {
    let fixture = fixture().await;
    for round in 0..30 {
        let name = format!("ada{round}");
        fixture.account(&name).await;
        let (directory, owner) = (fixture.directory.clone(), login(&name));
        let mint =
            tokio::spawn(
                async move { directory.create_token(&ADMIN, NewToken::new(owner, fields::token_name("x").unwrap())).await },
            );
        if round % 2 == 0 {
            fixture.directory.revoke_all(&ADMIN, &login(&name), false, None).await.unwrap();
            let info = mint.await.unwrap().unwrap().1;
            let alive = fixture.state(&info.token.id).await == TokenState::Active;
            assert_eq!(alive, info.token.generation == 1);
        } else {
            fixture.directory.delete_account(&ADMIN, &login(&name), None).await.unwrap();
            if let Ok((_, info)) = mint.await.unwrap() {
                assert_eq!(code(fixture.directory.token(&ADMIN, &info.token.id).await), "not_found");
            }
        }
    }
    let tokens = fixture.directory.tokens(&ADMIN, &TokenFilter::default(), &Window::default()).await.unwrap().items;
    assert_eq!(tokens.len(), fixture.members(Index::Tokens).await.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn access_given_beside_a_promotion_is_not_left_behind() {
    let fixture = fixture().await;
    fixture.site("shop").await;
    for round in 0..30 {
        let name = format!("ada{round}");
        fixture.account(&name).await;
        let (directory, owner) = (fixture.directory.clone(), login(&name));
        let grant = tokio::spawn(async move { directory.set_access(&ADMIN, &owner, &site_name("shop"), Level::Write).await });
        fixture.patch(&name, AccountPatch { superuser: Some(true), ..AccountPatch::default() }).await.unwrap();
        if let Err(error) = grant.await.unwrap() {
            assert_eq!(code::<()>(Err(error)), "superuser_access");
        }
    }
    assert_eq!(fixture.access(AccessFilter::default()).await, Vec::<String>::new());
}
