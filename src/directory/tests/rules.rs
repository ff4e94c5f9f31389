//! One caller at a time.

use super::*;
use crate::domain::{password::Password, site::Host};

#[tokio::test]
async fn a_store_begins_with_anonymous_and_knows_its_keys() {
    let fixture = fixture().await;
    let Fixture { directory, store, clock, .. } = &fixture;
    directory.bootstrap().await.unwrap();
    assert!(directory.is_empty().await.unwrap());
    assert_eq!(directory.account(&ADMIN, &login("Anonymous")).await.unwrap().kind, AccountKind::Anonymous);

    let again = |text: &str| directory_on(store.clone(), clock.clone(), keys(text));
    let stranger = again(KEY_2).bootstrap().await;
    assert!(matches!(stranger, Err(BootstrapError::OtherServerKey { .. })), "{stranger:?}");
    let same_name = again(&KEY_2.replace("k2", "k1")).bootstrap().await;
    assert!(matches!(same_name, Err(BootstrapError::OtherServerKey { .. })), "{same_name:?}");
    // A new key beside the old one is added; from then on it alone is enough.
    again(&format!("{KEY_2}\n{KEY_1}")).bootstrap().await.unwrap();
    again(KEY_2).bootstrap().await.unwrap();

    fixture.account("ada").await;
    assert!(!directory.is_empty().await.unwrap());
}

#[tokio::test]
async fn a_login_or_address_that_looks_the_same_is_the_same() {
    let fixture = fixture().await;
    let ada = NewAccount {
        email: Some(Email::parse("Ada@Example.com").unwrap()),
        ..NewAccount::new(login("Straße"), AccountKind::Human)
    };
    fixture.directory.create_account(&ADMIN, ada).await.unwrap();
    for taken in ["STRASSE", "straße", "ｓｔｒａｓｓｅ", "ada@example.COM", "ANONYMOUS"] {
        let result = fixture.directory.create_account(&ADMIN, NewAccount::new(login(taken), AccountKind::Human)).await;
        assert_eq!(code(result), "login_taken", "{taken}");
    }
    fixture.account("eve").await;
    let patch = AccountPatch {
        login: Some(login("eva")),
        email: FieldPatch::Set(Email::parse("strasse@x").unwrap()),
        ..AccountPatch::default()
    };
    fixture.patch("eve", patch).await.unwrap();
    let patch = AccountPatch { email: FieldPatch::Set(Email::parse("ADA@example.com").unwrap()), ..AccountPatch::default() };
    assert_eq!(code(fixture.patch("eva", patch).await), "email_taken");
    // What a rename leaves is free, and an address names no account.
    fixture.account("eve").await;
    assert_eq!(code(fixture.directory.account(&ADMIN, &login("ada@example.com")).await), "not_found");
}

#[tokio::test]
async fn an_account_may_take_the_other_spelling_of_its_own_login() {
    let fixture = fixture().await;
    let before = fixture.account("ada").await;
    let after = fixture.patch("ada", AccountPatch { login: Some(login("Ada")), ..AccountPatch::default() }).await.unwrap();
    assert_eq!((after.id, after.login.as_str(), after.version), (before.id, "Ada", 2));
    assert_eq!(fixture.members(Index::Accounts).await, ["ada", "anonymous"]);
}

#[tokio::test]
async fn a_patch_holds_as_a_whole_or_not_at_all() {
    let fixture = fixture().await;
    fixture.superuser("root").await;
    fixture.account("ada").await;
    let patch = AccountPatch { login: Some(login("ada2")), superuser: Some(false), ..AccountPatch::default() };
    assert_eq!(code(fixture.patch("root", patch).await), "last_superuser");
    let patch = AccountPatch { disabled: Some(true), login: Some(login("ROOT")), ..AccountPatch::default() };
    assert_eq!(code(fixture.patch("ada", patch).await), "login_taken");
    assert!(!fixture.directory.account(&ADMIN, &login("ada")).await.unwrap().disabled);
    assert_eq!(fixture.members(Index::Accounts).await, ["ada", "anonymous", "root"]);
}

#[tokio::test]
async fn services_and_anonymous_are_no_people() {
    let fixture = fixture().await;
    let password = || Password::chosen("correct horse").unwrap();
    let service = || NewAccount::new(login("ci"), AccountKind::Service);
    let with_password = NewAccount { password: Some(password()), ..service() };
    assert_eq!(code(fixture.directory.create_account(&ADMIN, with_password).await), "service_password");
    let with_email = NewAccount { email: Some(Email::parse("a@b").unwrap()), ..service() };
    assert_eq!(code(fixture.directory.create_account(&ADMIN, with_email).await), "service_email");
    fixture.directory.create_account(&ADMIN, service()).await.unwrap();
    let patch = AccountPatch { password: Some(password()), ..AccountPatch::default() };
    assert_eq!(code(fixture.patch("ci", patch.clone()).await), "service_password");

    assert_eq!(code(fixture.patch("anonymous", patch).await), "built_in_account");
    assert_eq!(
        code(fixture.patch("anonymous", AccountPatch { superuser: Some(true), ..AccountPatch::default() }).await),
        "built_in_account"
    );
    assert_eq!(code(fixture.directory.delete_account(&ADMIN, &login("anonymous"), None).await), "built_in_account");
    let token = NewToken::new(login("anonymous"), fields::token_name("x").unwrap());
    assert_eq!(code(fixture.directory.create_token(&ADMIN, token).await), "built_in_account");
}

#[tokio::test]
async fn the_last_enabled_superuser_stays() {
    let fixture = fixture().await;
    fixture.superuser("one").await;
    fixture.superuser("two").await;
    fixture.patch("two", AccountPatch { disabled: Some(true), ..AccountPatch::default() }).await.unwrap();
    for patch in [
        AccountPatch { disabled: Some(true), ..AccountPatch::default() },
        AccountPatch { superuser: Some(false), ..AccountPatch::default() },
    ] {
        assert_eq!(code(fixture.patch("one", patch).await), "last_superuser");
    }
    assert_eq!(code(fixture.directory.delete_account(&ADMIN, &login("one"), None).await), "last_superuser");
    fixture.patch("two", AccountPatch { disabled: Some(false), ..AccountPatch::default() }).await.unwrap();
    fixture.directory.delete_account(&ADMIN, &login("one"), None).await.unwrap();
}

#[tokio::test]
async fn access_is_per_site_and_a_site_made_again_is_another() {
    let fixture = fixture().await;
    let Fixture { directory, .. } = &fixture;
    for name in ["blog", "empty", "shop"] {
        fixture.site(name).await;
    }
    for name in ["ada", "bob", "cyd"] {
        fixture.account(name).await;
        directory.set_access(&ADMIN, &login(name), &site_name("shop"), Level::Write).await.unwrap();
    }
    directory.set_access(&ADMIN, &login("ada"), &site_name("blog"), Level::Admin).await.unwrap();
    directory.set_access(&ADMIN, &login("cyd"), &site_name("shop"), Level::None).await.unwrap();
    directory.set_access(&ADMIN, &login("anonymous"), &site_name("blog"), Level::View).await.unwrap();
    let all = ["ada blog admin", "ada shop write", "anonymous blog view", "bob shop write"];
    assert_eq!(fixture.access(AccessFilter::default()).await, all);
    let of_ada = || AccessFilter { login: Some(login("ADA")), site: None };
    assert_eq!(fixture.access(of_ada()).await, all[..2]);
    let on_shop = || AccessFilter { login: None, site: Some(site_name("shop")) };
    assert_eq!(fixture.access(on_shop()).await, [all[1], all[3]]);

    let before = directory.create_token(&ADMIN, per_site("ada", "shop", Level::View)).await.unwrap().1;
    directory.delete_site(&ADMIN, &site_name("shop"), None).await.unwrap();
    let new_shop = fixture.site("shop").await;
    assert_eq!(fixture.access(of_ada()).await, all[..1]);
    assert_eq!(fixture.access(on_shop()).await, Vec::<String>::new());
    assert_eq!(before.token.ceiling.clamp(&new_shop.id, Level::Admin), Level::None);
    // The dead row is swept out by the next change.
    directory.set_access(&ADMIN, &login("ada"), &site_name("shop"), Level::View).await.unwrap();
    assert_eq!(fixture.access(of_ada()).await, ["ada blog admin", "ada shop view"]);
}

#[tokio::test]
async fn a_row_behind_many_empty_sites_is_found() {
    let fixture = fixture().await;
    for index in 100..220 {
        fixture.site(&format!("s{index}")).await;
    }
    fixture.account("ada").await;
    for site in ["s100", "s219"] {
        fixture.directory.set_access(&ADMIN, &login("ada"), &site_name(site), Level::View).await.unwrap();
    }
    assert_eq!(fixture.access(AccessFilter::default()).await, ["ada s100 view", "ada s219 view"]);
}

#[tokio::test]
async fn some_levels_are_not_to_be_had() {
    let fixture = fixture().await;
    fixture.site("shop").await;
    fixture.superuser("root").await;
    fixture.superuser("boss").await;
    fixture.account("ada").await;
    let set = async |name: &str, level| fixture.directory.set_access(&ADMIN, &login(name), &site_name("shop"), level).await;
    assert_eq!(code(set("anonymous", Level::Write).await), "anonymous_access");
    assert_eq!(code(set("root", Level::View).await), "superuser_access");
    assert_eq!(code(set("ada", Level::Superuser).await), "access_level");
    assert_eq!(code(set("nobody", Level::View).await), "not_found");
    // Who becomes a superuser loses his rows, and begins with none when he is one no more.
    set("ada", Level::Admin).await.unwrap();
    for superuser in [true, false] {
        fixture.patch("ada", AccountPatch { superuser: Some(superuser), ..AccountPatch::default() }).await.unwrap();
        assert_eq!(fixture.access(AccessFilter::default()).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn hosts_belong_to_one_site_and_are_freed() {
    let fixture = fixture().await;
    let host = |text: &str| Host::parse(text).unwrap();
    let site =
        |name: &str, hosts: &[&str]| NewSite { site: site_name(name), name: None, hosts: hosts.iter().map(|h| host(h)).collect() };
    let first = fixture.directory.create_site(&ADMIN, site("shop", &["a.example", "A.example:80", "b.example"])).await.unwrap();
    assert_eq!(first.hosts, [host("a.example"), host("b.example")]);
    assert_eq!(code(fixture.directory.create_site(&ADMIN, site("blog", &["c.example", "b.example"])).await), "host_taken");
    assert_eq!(code(fixture.directory.site(&ADMIN, &site_name("blog")).await), "not_found");
    let patch = SitePatch { name: FieldPatch::Keep, hosts: Some(vec![host("c.example")]) };
    fixture.directory.update_site(&ADMIN, &site_name("shop"), patch, Some(1)).await.unwrap();
    fixture.directory.create_site(&ADMIN, site("blog", &["b.example"])).await.unwrap();
    fixture.directory.delete_site(&ADMIN, &site_name("shop"), None).await.unwrap();
    fixture.directory.create_site(&ADMIN, site("c", &["c.example"])).await.unwrap();
}

#[tokio::test]
async fn a_token_is_what_was_asked_for_and_its_secret_is_nowhere() {
    let fixture = fixture().await;
    let shop = fixture.site("shop").await;
    let ada = fixture.account("ada").await;
    let mut new = per_site("ada", "shop", Level::Write);
    new.expires = Some(Expiry::After(Duration::from_hours(1)));
    new.networks = vec![fields::network("192.0.2.7/24").unwrap(), fields::network("2001:db8::1").unwrap()];
    let (text, info) = fixture.directory.create_token(&ADMIN, new.clone()).await.unwrap();
    assert_eq!(info.token.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.0/24", "2001:db8::1/128"]);
    assert_eq!(info.token.ceiling.clamp(&shop.id, Level::Admin), Level::Write);
    assert_eq!((info.token.account.clone(), info.token.created_by.account.as_str()), (ada.id, "control:1000"));
    let secret = &text.expose_secret()[17..49];
    let listed = fixture.directory.tokens(&ADMIN, &TokenFilter::default(), &Window::default()).await.unwrap();
    let stored = fixture.store.read(&[Key::Token(info.token.id.clone())]).await.unwrap();
    assert!(!format!("{text:?} {info:?} {listed:?} {stored:?} {:?}", fixture.directory).contains(secret));

    fixture.pass(Duration::from_hours(1));
    assert_eq!(fixture.state(&info.token.id).await, TokenState::Expired);
    assert_eq!(code(fixture.directory.rotate_token(&ADMIN, &info.token.id, Duration::ZERO).await), "token_expired");

    let refused = |change: fn(&mut NewToken), expected: &'static str| {
        let mut new = new.clone();
        change(&mut new);
        let directory = fixture.directory.clone();
        async move { assert_eq!(code(directory.create_token(&ADMIN, new).await), expected) }
    };
    refused(|new| new.expires = Some(Expiry::At(Timestamp::from_millis(0))), "expiry_in_the_past").await;
    refused(|new| new.expires = Some(Expiry::After(Duration::ZERO)), "expiry_in_the_past").await;
    refused(|new| new.expires = Some(Expiry::After(Duration::MAX)), "time_out_of_range").await;
    refused(|new| new.ceiling = CeilingAsk::PerSite(BTreeMap::from([(site_name("blog"), Level::View)])), "not_found").await;
    refused(|new| new.ceiling = CeilingAsk::EverySite(Level::None), "token_level").await;
    refused(|new| new.networks = vec![new.networks[0]; 101], "too_many_networks").await;
    fixture.patch("ada", AccountPatch { disabled: Some(true), ..AccountPatch::default() }).await.unwrap();
    refused(|_| {}, "account_disabled").await;
}

#[tokio::test]
async fn a_revoked_token_stays_to_be_seen() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let (one, other) = (fixture.token("ada").await.token.judged.id, fixture.token("ada").await.token.judged.id);
    let first = fixture.directory.revoke_token(&ADMIN, &one, false, None, None).await.unwrap();
    fixture.pass(Duration::from_secs(1));
    let second = fixture.directory.revoke_token(&Actor::system("test"), &one, false, None, None).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(first.token.judged.revoked.unwrap().by, "control:1000");
    assert_eq!(code(fixture.directory.rotate_token(&ADMIN, &one, Duration::ZERO).await), "token_revoked");
    assert_eq!(fixture.state(&other).await, TokenState::Active);

    fixture.directory.revoke_all(&ADMIN, &login("ada"), false, None).await.unwrap();
    assert_eq!(fixture.state(&other).await, TokenState::Revoked);
    let third = fixture.token("ada").await;
    assert_eq!((third.token.generation, third.state), (1, TokenState::Active));
    assert_eq!(fixture.directory.tokens(&ADMIN, &tokens_of("ada"), &Window::default()).await.unwrap().items.len(), 3);
}

#[tokio::test]
async fn a_successor_has_the_same_rights_and_grace_ends() {
    let fixture = fixture().await;
    fixture.site("shop").await;
    fixture.account("ada").await;
    let (text, old) = fixture.directory.create_token(&ADMIN, per_site("ada", "shop", Level::View)).await.unwrap();
    let id = old.token.id.clone();
    let (new_text, new) = fixture.directory.rotate_token(&ADMIN, &id, Duration::from_hours(1)).await.unwrap();
    assert_ne!(text.expose_secret(), new_text.expose_secret());
    assert_eq!(
        (&new.token.ceiling, &new.token.name, new.token.expires_at),
        (&old.token.ceiling, &old.token.name, old.token.expires_at)
    );
    assert_eq!(fixture.state(&id).await, TokenState::Active);
    assert_eq!(code(fixture.directory.rotate_token(&ADMIN, &id, Duration::ZERO).await), "token_superseded");
    fixture.pass(Duration::from_hours(1));
    assert_eq!(fixture.state(&id).await, TokenState::Superseded);
    assert_eq!(fixture.state(&new.token.id).await, TokenState::Active);
    assert_eq!(code(fixture.directory.rotate_token(&ADMIN, &new.token.id, Duration::MAX).await), "grace_too_long");
}

#[tokio::test]
async fn with_an_account_goes_all_that_was_its() {
    let fixture = fixture().await;
    fixture.site("shop").await;
    let ada = fixture.account("ada").await;
    let id = fixture.token("ada").await.token.judged.id;
    fixture.directory.set_access(&ADMIN, &login("ada"), &site_name("shop"), Level::Write).await.unwrap();
    fixture.directory.delete_account(&ADMIN, &login("ada"), Some(1)).await.unwrap();
    assert_eq!(code(fixture.directory.token(&ADMIN, &id).await), "not_found");
    assert_eq!(fixture.store.read(&[Key::Token(id), Key::Access(ada.id.clone())]).await.unwrap(), [None, None]);
    for index in [Index::Tokens, Index::TokensOf(ada.id.clone()), Index::Superusers] {
        assert_eq!(fixture.members(index).await, Vec::<String>::new());
    }
    let again = fixture.account("ada").await;
    assert_ne!(again.id, ada.id);
    assert_eq!(fixture.access(AccessFilter::default()).await, Vec::<String>::new());
    assert_eq!(fixture.directory.tokens(&ADMIN, &tokens_of("ada"), &Window::default()).await.unwrap().items, []);
}

#[tokio::test]
async fn who_has_seen_another_version_changes_nothing() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let patch = || AccountPatch { may_mint_tokens: Some(false), ..AccountPatch::default() };
    assert_eq!(code(fixture.directory.update_account(&ADMIN, &login("ada"), patch(), Some(7)).await), "precondition");
    assert_eq!(code(fixture.directory.delete_account(&ADMIN, &login("ada"), Some(7)).await), "precondition");
    assert_eq!(fixture.directory.update_account(&ADMIN, &login("ada"), patch(), Some(1)).await.unwrap().version, 2);
    // What is so already is no new version.
    assert_eq!(fixture.patch("ada", patch()).await.unwrap().version, 2);
}

fn per_site(account: &str, site: &str, level: Level) -> NewToken {
    let ceiling = CeilingAsk::PerSite(BTreeMap::from([(site_name(site), level)]));
    NewToken { ceiling, ..NewToken::new(login(account), fields::token_name("job").unwrap()) }
}
