//! Sessions: who gets one, who a browser is by it, how it comes to a protected host, and that it ends.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    domain::{
        key::Digest,
        origin::{Origin, ReturnTo},
        password::Password,
        session::{CheckSession, Secret, Session, SessionSecret},
        site::Host,
    },
    gate::hasher::Hasher,
};

const PASSWORD: &str = "correct horse";
const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

fn ask(login: &str, password: &str) -> SignIn {
    let password = Password::presented(password.as_bytes()).unwrap();
    SignIn { login: login.to_owned(), password, remember: false, browser: Some("Firefox on Linux".to_owned()) }
}

fn shop() -> Origin {
    Origin::parse("https://shop.example.com").unwrap()
}

fn stats() -> Origin {
    Origin::parse("https://stats.example.org:8443").unwrap()
}

fn to(url: &str) -> ReturnTo {
    hosts().return_to(url).unwrap()
}

impl Fixture {
    async fn person(&self, name: &str) -> Account {
        let new = NewAccount {
            password: Some(Password::chosen(PASSWORD).unwrap()),
            email: Some(Email::parse(&format!("{name}@example.com")).unwrap()),
            ..NewAccount::new(login(name), AccountKind::Human)
        };
        self.directory.create_account(&ADMIN, new).await.unwrap()
    }

    async fn try_sign_in(&self, ask: SignIn) -> Result<SessionCookie, SignInError> {
        self.directory.sign_in(HERE, Some("request".to_owned()), ask).await
    }

    async fn sign_in(&self, name: &str) -> SessionSecret {
        self.try_sign_in(ask(name, PASSWORD)).await.unwrap().secret
    }

    async fn is_living(&self, cookie: &SessionSecret) -> bool {
        self.directory.visitor(cookie).await.unwrap().is_some()
    }

    async fn record<R: Record>(&self, key: Key) -> Option<R> {
        let stored = self.store.read(std::slice::from_ref(&key)).await.unwrap().remove(0)?;
        Some(R::decode(&key, &stored).unwrap())
    }

    /// A code for the shop, and what the shop has set in the browser.
    async fn code(&self, cookie: &SessionSecret) -> (SessionSecret, Secret) {
        let nonce = Secret::generate(&mut rng());
        let code = self.directory.hand_over(cookie, &to("https://shop.example.com/a?b=c"), nonce.digest()).await.unwrap();
        (code, nonce)
    }

    async fn redeem(&self, code: &SessionSecret, nonce: &Secret) -> Redeemed {
        self.directory.redeem(code, &shop(), Some(nonce), None).await.unwrap()
    }

    async fn is_child_living(&self, cookie: &SessionSecret, host: &Host) -> bool {
        let child: Option<CheckSession> = self.record(Key::CheckSession(cookie.session.clone(), host.clone())).await;
        let session: Option<Session> = self.record(Key::Session(cookie.session.clone())).await;
        child.is_some_and(|child| cookie.verifies(&child.secret)) && session.is_some()
    }

    async fn refused(&self) -> Vec<Event> {
        let filter = TrailFilter { outcome: Some(Outcome::Refused), ..TrailFilter::default() };
        let listing = self.directory.trail(&ADMIN, &filter, &Window::default()).await.unwrap();
        listing.items.into_iter().map(|recorded| recorded.event).collect()
    }
}

fn opened(redeemed: Redeemed) -> SessionSecret {
    match redeemed {
        Redeemed::Opened { cookie, .. } => cookie,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn login_or_address_and_password_begin_a_session_and_a_new_one_each_time() {
    let fixture = fixture().await;
    let vera = fixture.person("vera").await;
    let first = fixture.sign_in("vera").await;
    let second = fixture.try_sign_in(ask("VERA@example.com", PASSWORD)).await.unwrap().secret;
    assert_ne!(first.session, second.session);
    for cookie in [&first, &second] {
        let visitor = fixture.directory.visitor(cookie).await.unwrap().unwrap();
        assert_eq!((visitor.account.id, visitor.session.browser.as_deref()), (vera.id.clone(), Some("Firefox on Linux")));
        assert_eq!(visitor.session.address, HERE);
        assert!(fixture.members(Index::Sessions).await.contains(&Index::session(&vera.id, &cookie.session)));
    }
    let other = SessionSecret::generate(first.session.clone(), &mut rng());
    assert!(!fixture.is_living(&other).await, "the secret decides");
    let done = fixture.done_since(fixture.clock.now()).await;
    let event = done.iter().find(|event| event.target.id == first.session.as_str()).unwrap();
    assert_eq!((event.action.as_str(), event.actor.account.as_deref()), ("session.sign_in", Some("vera")));
    assert_eq!(event.actor.credential.as_deref(), Some(first.session.as_str()));
    assert!(event.concerns("vera"));
}

#[tokio::test]
async fn all_who_cannot_sign_in_are_refused_alike_and_the_trail_knows_why() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    fixture.person("dora").await;
    fixture.patch("dora", AccountPatch { disabled: Some(true), ..AccountPatch::default() }).await.unwrap();
    fixture.account("open").await;
    let service = NewAccount::new(login("ci"), AccountKind::Service);
    fixture.directory.create_account(&ADMIN, service).await.unwrap();
    let minted = fixture.manager("open").await.0;
    let long = "x".repeat(3000);
    for (typed, password, target, reason) in [
        ("vera", "wrong horse", "vera", "mismatch"),
        ("Vera@example.com", "wrong horse", "vera", "mismatch"),
        ("dora", PASSWORD, "dora", "account_disabled"),
        ("open", PASSWORD, "open", "mismatch"),
        ("nobody", PASSWORD, "nobody", "unknown"),
        ("ci", PASSWORD, "ci", "unknown"),
        ("anonymous", PASSWORD, "anonymous", "unknown"),
        ("", PASSWORD, "", "unknown"),
        // Nobody's login; it may be a password in the wrong place.
        ("a\nb", PASSWORD, "", "unknown"),
        ("my pass phrase", PASSWORD, "", "unknown"),
        (minted.expose_secret(), PASSWORD, "", "unknown"),
        (&long, PASSWORD, "", "unknown"),
    ] {
        assert_eq!(fixture.try_sign_in(ask(typed, password)).await, Err(SignInError::Refused), "{typed}");
        let event = fixture.refused().await.remove(0);
        let told = (event.action.as_str(), event.target.kind.as_str(), event.target.id.as_str(), event.reason.as_deref());
        assert_eq!(told, ("session.sign_in", "account", target, Some(reason)), "{typed}");
        assert_eq!((event.actor.account, event.actor.address), (None, HERE));
        fixture.pass(Duration::from_millis(1));
    }
    assert!(fixture.members(Index::Sessions).await.is_empty());
}

#[tokio::test]
async fn a_session_ends_with_its_time_and_slides_while_it_is_seen() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let cookie = fixture.sign_in("vera").await;
    let remembered = fixture.try_sign_in(SignIn { remember: true, ..ask("vera", PASSWORD) }).await.unwrap();
    assert_eq!(remembered.max_age, Some(Duration::from_hours(14 * 24)));
    let remembered = remembered.secret;
    for _ in 0..13 {
        fixture.pass(Duration::from_mins(50));
        assert!(fixture.is_living(&cookie).await);
    }
    let seen = fixture.directory.visitor(&cookie).await.unwrap().unwrap().session;
    assert_eq!(seen.seen_at, fixture.clock.now());
    let version = seen.version;
    fixture.pass(Duration::from_mins(4));
    assert_eq!(fixture.directory.visitor(&cookie).await.unwrap().unwrap().session.version, version, "not at each sight");
    fixture.pass(Duration::from_mins(56));
    assert!(!fixture.is_living(&cookie).await, "nothing was written at the last sight, so the hour counts from before it");
    fixture.pass(Duration::from_hours(13 * 24));
    assert!(fixture.is_living(&remembered).await);
    fixture.pass(Duration::from_hours(24));
    assert!(!fixture.is_living(&remembered).await);
}

#[tokio::test]
async fn a_session_ends_with_what_its_account_was() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let cookie = fixture.sign_in("vera").await;
    let disabled = |disabled| AccountPatch { disabled: Some(disabled), ..AccountPatch::default() };
    fixture.patch("vera", disabled(true)).await.unwrap();
    assert!(!fixture.is_living(&cookie).await);
    fixture.patch("vera", disabled(false)).await.unwrap();
    assert!(!fixture.is_living(&cookie).await, "what has ended does not come back");
    let cookie = fixture.sign_in("vera").await;
    fixture.directory.revoke_all(&ADMIN, &login("vera"), false, None).await.unwrap();
    assert!(!fixture.is_living(&cookie).await);
    let cookie = fixture.sign_in("vera").await;
    fixture.directory.delete_account(&ADMIN, &login("vera"), None).await.unwrap();
    assert!(!fixture.is_living(&cookie).await);
}

#[tokio::test]
async fn a_code_opens_one_session_on_its_host_and_goes() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let cookie = fixture.sign_in("vera").await;
    let (code, nonce) = fixture.code(&cookie).await;
    let redeemed = fixture.redeem(&code, &nonce).await;
    let Redeemed::Opened { cookie: child, max_age: None, target } = redeemed else { panic!("{redeemed:?}") };
    assert_eq!(target.as_str(), "/a?b=c");
    assert_eq!(child.session, cookie.session);
    assert!(fixture.is_child_living(&child, shop().host()).await);
    assert!(!fixture.is_child_living(&child, stats().host()).await, "good at one host");
    assert!(!fixture.is_living(&child).await, "no session of the portal's");
    assert_eq!(fixture.redeem(&code, &nonce).await, Redeemed::Refused(CodeFault::Unknown), "good once");

    // The next hand-over replaces it.
    let (code, nonce) = fixture.code(&cookie).await;
    let next = opened(fixture.redeem(&code, &nonce).await);
    assert!(!fixture.is_child_living(&child, shop().host()).await && fixture.is_child_living(&next, shop().host()).await);

    let remembered = fixture.try_sign_in(SignIn { remember: true, ..ask("vera", PASSWORD) }).await.unwrap().secret;
    fixture.pass(Duration::from_hours(24));
    let (code, nonce) = fixture.code(&remembered).await;
    let redeemed = fixture.redeem(&code, &nonce).await;
    assert!(
        matches!(redeemed, Redeemed::Opened { max_age: Some(left), .. } if left == Duration::from_hours(13 * 24)),
        "{redeemed:?}"
    );
}

#[tokio::test]
async fn a_code_that_is_presented_wrongly_is_gone() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let cookie = fixture.sign_in("vera").await;
    let other = Secret::generate(&mut rng());
    let (late, life) = (true, Duration::from_secs(30));
    for (at, own_nonce, is_late, fault) in [
        (stats(), true, false, CodeFault::OtherHost),
        (shop(), false, false, CodeFault::OtherBrowser),
        (shop(), true, late, CodeFault::Late),
        (Origin::parse("shop.example.com:8443").unwrap(), true, false, CodeFault::OtherHost),
    ] {
        let (code, nonce) = fixture.code(&cookie).await;
        if is_late {
            fixture.pass(life);
        }
        let presented = if own_nonce { &nonce } else { &other };
        assert_eq!(fixture.directory.redeem(&code, &at, Some(presented), None).await.unwrap(), Redeemed::Refused(fault));
        assert_eq!(fixture.redeem(&code, &nonce).await, Redeemed::Refused(CodeFault::Unknown), "{at} {own_nonce} {is_late}");
    }
    let (code, nonce) = fixture.code(&cookie).await;
    assert_eq!(fixture.directory.redeem(&code, &shop(), None, None).await.unwrap(), Redeemed::Refused(CodeFault::OtherBrowser));
    assert_eq!(fixture.redeem(&code, &nonce).await, Redeemed::Refused(CodeFault::Unknown));
    // Nobody burns a code by its family's name alone.
    let (code, nonce) = fixture.code(&cookie).await;
    let guess = SessionSecret::generate(code.session.clone(), &mut rng());
    assert_eq!(fixture.redeem(&guess, &nonce).await, Redeemed::Refused(CodeFault::Unknown));
    fixture.pass(Duration::from_millis(29_999));
    opened(fixture.redeem(&code, &nonce).await);
}

#[tokio::test]
async fn a_second_tab_whose_code_is_refused_goes_where_it_wanted() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let cookie = fixture.sign_in("vera").await;
    let (code, nonce) = fixture.code(&cookie).await;
    let check = opened(fixture.redeem(&code, &nonce).await);
    let again = fixture.sign_in("vera").await;
    let (code, _) = fixture.code(&again).await;
    let redeemed = fixture.directory.redeem(&code, &shop(), None, Some(&check)).await.unwrap();
    assert!(matches!(&redeemed, Redeemed::AlreadyOpen { target } if target.as_str() == "/a?b=c"), "{redeemed:?}");
    let (code, nonce) = fixture.code(&again).await;
    let redeemed = fixture.directory.redeem(&code, &stats(), Some(&nonce), Some(&check)).await.unwrap();
    assert_eq!(redeemed, Redeemed::Refused(CodeFault::OtherHost), "a code for another host leads nowhere");
    fixture.directory.sign_out(&cookie, None, None).await.unwrap();
    let (code, _) = fixture.code(&again).await;
    assert_eq!(
        fixture.directory.redeem(&code, &shop(), None, Some(&check)).await.unwrap(),
        Redeemed::Refused(CodeFault::OtherBrowser)
    );
}

#[tokio::test]
async fn nothing_is_handed_over_by_a_session_that_has_ended_or_to_another_host() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let cookie = fixture.sign_in("vera").await;
    let nonce = Digest::sha256(b"nonce");
    let elsewhere = ReturnTo { origin: Origin::parse("evil.example").unwrap(), ..to("https://shop.example.com/") };
    assert_eq!(code(fixture.directory.hand_over(&cookie, &elsewhere, nonce.clone()).await), "host_not_protected");
    let (handed, nonce_there) = fixture.code(&cookie).await;
    fixture.patch("vera", AccountPatch { disabled: Some(true), ..AccountPatch::default() }).await.unwrap();
    assert_eq!(code(fixture.directory.hand_over(&cookie, &to("https://shop.example.com/"), nonce).await), "session_ended");
    assert_eq!(fixture.redeem(&handed, &nonce_there).await, Redeemed::Refused(CodeFault::SessionEnded));
}

#[tokio::test]
async fn signing_out_anywhere_ends_it_everywhere() {
    let fixture = fixture().await;
    let vera = fixture.person("vera").await;
    for on_a_host in [false, true] {
        let cookie = fixture.sign_in("vera").await;
        let (code, nonce) = fixture.code(&cookie).await;
        let check = opened(fixture.redeem(&code, &nonce).await);
        let (waiting, nonce) = fixture.code(&cookie).await;
        let directory = &fixture.directory;
        assert_eq!(directory.sign_out(&check, HERE, None).await, Ok(None), "the check cookie is none of the portal's");
        assert_eq!(directory.sign_out_at(&check, stats().host(), HERE, None).await, Ok(None));
        assert_eq!(directory.sign_out_at(&cookie, shop().host(), HERE, None).await, Ok(None));
        assert!(fixture.is_living(&cookie).await);
        let ended = if on_a_host {
            directory.sign_out_at(&check, shop().host(), HERE, None).await
        } else {
            directory.sign_out(&cookie, HERE, None).await
        };
        assert_eq!(ended, Ok(Some(cookie.session.clone())));
        assert!(!fixture.is_living(&cookie).await && !fixture.is_child_living(&check, shop().host()).await);
        let child: Option<CheckSession> = fixture.record(Key::CheckSession(cookie.session.clone(), shop().host().clone())).await;
        assert_eq!(child, None);
        assert_eq!(fixture.redeem(&waiting, &nonce).await, Redeemed::Refused(CodeFault::SessionEnded));
        assert!(fixture.members(Index::Sessions).await.is_empty());
        assert_eq!(directory.sign_out(&cookie, HERE, None).await, Ok(None));
        let events = fixture.done_since(fixture.clock.now()).await;
        let event = events.iter().find(|event| event.action == "session.sign_out").unwrap();
        assert_eq!(event.target.id, cookie.session.as_str());
        assert_eq!(event.actor.account.as_deref(), Some(vera.login.as_str()));
        fixture.pass(Duration::from_secs(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sign_out_that_races_a_code_leaves_no_living_child() {
    let fixture = Arc::new(fixture().await);
    fixture.person("vera").await;
    for _ in 0..50 {
        let cookie = fixture.sign_in("vera").await;
        let (code, nonce) = fixture.code(&cookie).await;
        let there = fixture.clone();
        let redeem = tokio::spawn(async move { there.redeem(&code, &nonce).await });
        fixture.directory.sign_out(&cookie, None, None).await.unwrap();
        redeem.await.unwrap();
        let child: Option<CheckSession> = fixture.record(Key::CheckSession(cookie.session.clone(), shop().host().clone())).await;
        assert_eq!(child, None);
        assert!(!fixture.is_living(&cookie).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_present_one_code_one_gets_in() {
    let fixture = Arc::new(fixture().await);
    fixture.person("vera").await;
    let cookie = fixture.sign_in("vera").await;
    for _ in 0..20 {
        let (code, nonce) = fixture.code(&cookie).await;
        let all = (0..8).map(|_| {
            let (there, code, nonce) = (fixture.clone(), code.clone(), nonce.clone());
            tokio::spawn(async move { there.redeem(&code, &nonce).await })
        });
        let redeemed = futures_util::future::join_all(all).await;
        let won = redeemed.into_iter().filter(|redeemed| matches!(redeemed, Ok(Redeemed::Opened { .. }))).count();
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn a_password_is_hashed_anew_when_hashes_have_become_dearer() {
    let fixture = fixture().await;
    let vera = fixture.person("vera").await;
    let before = fixture.sign_in("vera").await;
    let dearer = Arc::new(Hasher::start(Cost::new(16, 1, 1).unwrap()));
    let directory = directory_with(fixture.store.clone(), fixture.clock.clone(), dearer);
    let cost = async || {
        let account: Account = fixture.record(Key::Account(vera.id.clone())).await.unwrap();
        account.password.unwrap().cost().work()
    };
    directory.sign_in(None, None, ask("vera", "wrong horse")).await.unwrap_err();
    assert_eq!(cost().await, 8);
    let after = directory.sign_in(None, None, ask("vera", PASSWORD)).await.unwrap().secret;
    assert_eq!(cost().await, 16);
    fixture.sign_in("vera").await;
    assert_eq!(cost().await, 16, "never a cheaper one");
    assert!(fixture.is_living(&before).await && fixture.is_living(&after).await);
}

impl Fixture {
    fn by_session(cookie: &SessionSecret) -> Actor {
        Actor::session(cookie.clone()).from_address(HERE)
    }

    async fn ids_seen_by(&self, actor: &Actor, of: Option<&str>) -> Vec<String> {
        let mut window = Window { after: None, limit: 2 };
        let mut found = Vec::new();
        loop {
            let of = of.map(login);
            let listing = self.directory.sessions(actor, of.as_ref(), &window).await.unwrap();
            found.extend(listing.items.into_iter().map(|info| format!("{} {}", info.login, info.session.id)));
            window.after = listing.next;
            if window.after.is_none() {
                found.sort();
                return found;
            }
        }
    }
}

#[tokio::test]
async fn people_see_and_end_their_own_sessions_and_superusers_all() {
    let fixture = fixture().await;
    let root = fixture.person("root").await;
    fixture.patch("root", AccountPatch { superuser: Some(true), ..AccountPatch::default() }).await.unwrap();
    let mut all = Vec::new();
    let mut cookies = BTreeMap::new();
    for name in ["vera", "ada", "mia"] {
        fixture.person(name).await;
        for _ in 0..3 {
            let cookie = fixture.sign_in(name).await;
            all.push(format!("{name} {}", cookie.session));
            cookies.insert(name, cookie);
        }
    }
    let of_root = fixture.sign_in("root").await;
    let veras: Vec<_> = all.iter().filter(|line| line.starts_with("vera")).cloned().collect();
    all.push(format!("root {}", of_root.session));
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    let (vera, root_actor) = (Fixture::by_session(&cookies["vera"]), Fixture::by_session(&of_root));
    assert_eq!(fixture.ids_seen_by(&ADMIN, None).await, sorted(all.clone()));
    assert_eq!(fixture.ids_seen_by(&root_actor, None).await, sorted(all.clone()));
    assert_eq!(fixture.ids_seen_by(&root_actor, Some("vera")).await, sorted(veras.clone()));
    assert_eq!(fixture.ids_seen_by(&vera, None).await, sorted(veras.clone()));
    assert_eq!(code(fixture.directory.sessions(&vera, Some(&login("ada")), &Window::default()).await), "not_found");
    // A cursor into somebody else's part of the list leads nowhere.
    let window = Window { after: Some(Index::session(&root.id, &of_root.session)), limit: 100 };
    let listing = fixture.directory.sessions(&vera, None, &window).await.unwrap();
    assert!(listing.items.iter().all(|info| info.login == login("vera")) && listing.next.is_none());
    assert_eq!(listing.items.iter().filter(|info| info.current).count(), 1);

    let directory = &fixture.directory;
    let others = cookies["ada"].session.clone();
    assert_eq!(code(directory.end_session(&vera, &others).await), "not_found");
    directory.end_session(&root_actor, &others).await.unwrap();
    assert!(!fixture.is_living(&cookies["ada"]).await);
    assert_eq!(code(directory.end_session(&root_actor, &others).await), "not_found");
    directory.end_session(&vera, &cookies["vera"].session).await.unwrap();
    assert_eq!(code(directory.end_session(&vera, &cookies["vera"].session).await), "session_ended");
    let events = fixture.done_since(fixture.clock.now()).await;
    let told = events.iter().filter(|event| event.action == "session.end").map(|event| event.target.id.as_str());
    assert_eq!(told.collect::<Vec<_>>(), [cookies["vera"].session.as_str(), others.as_str()]);
}

#[tokio::test]
async fn what_mints_or_grants_needs_a_password_that_was_given_just_now() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    fixture.patch("vera", AccountPatch { superuser: Some(true), ..AccountPatch::default() }).await.unwrap();
    for name in ["ada", "ben"] {
        fixture.account(name).await;
    }
    fixture.site("shop").await;
    let token = fixture.token("vera").await.token.judged.id;
    let doomed = fixture.token("vera").await.token.judged.id;
    let cookie = fixture.sign_in("vera").await;
    let actor = Fixture::by_session(&cookie);
    let directory = &fixture.directory;
    let (ada, shop) = (login("ada"), site_name("shop"));
    let patch = |patch: AccountPatch| directory.update_account(&actor, &ada, patch, None);
    directory.set_access(&actor, &ada, &shop, Level::Write).await.unwrap();

    fixture.pass(Duration::from_mins(16));
    let required = "password_confirmation_required";
    let new = NewToken::new(login("vera"), fields::token_name("new").unwrap());
    assert_eq!(code(directory.create_token(&actor, new.clone()).await), required);
    assert_eq!(code(directory.rotate_token(&actor, &token, Duration::ZERO).await), required);
    let name = TokenPatch { name: Some(fields::token_name("other").unwrap()), device: FieldPatch::Keep };
    assert_eq!(code(directory.update_token(&actor, &token, name, None).await), required);
    assert_eq!(code(directory.create_account(&actor, NewAccount::new(login("eve"), AccountKind::Human)).await), required);
    assert_eq!(code(directory.set_access(&actor, &ada, &shop, Level::Admin).await), required);
    for gives in [
        AccountPatch { superuser: Some(true), ..AccountPatch::default() },
        AccountPatch { login: Some(login("adah")), ..AccountPatch::default() },
        AccountPatch { email: FieldPatch::Set(Email::parse("a@example.com").unwrap()), ..AccountPatch::default() },
        AccountPatch { password: Some(Password::chosen("a new password").unwrap()), ..AccountPatch::default() },
    ] {
        assert_eq!(code(patch(gives).await), required);
    }
    let hosts = SitePatch { hosts: Some(vec![shop_host()]), ..SitePatch::default() };
    assert_eq!(code(directory.update_site(&actor, &shop, hosts, None).await), required);
    let refused = fixture.refused().await;
    assert!(refused.iter().all(|event| event.reason.as_deref() == Some(required)));
    assert_eq!(refused[0].actor.account.as_deref(), Some("vera"));
    assert_eq!(refused[0].actor.credential.as_deref(), Some(cookie.session.as_str()));

    // What takes away, and what gives nothing.
    directory.set_access(&actor, &ada, &shop, Level::View).await.unwrap();
    patch(AccountPatch { may_mint_tokens: Some(false), ..AccountPatch::default() }).await.unwrap();
    assert_eq!(code(patch(AccountPatch { may_mint_tokens: Some(true), ..AccountPatch::default() }).await), required);
    patch(AccountPatch { disabled: Some(true), ..AccountPatch::default() }).await.unwrap();
    assert_eq!(code(patch(AccountPatch { disabled: Some(false), ..AccountPatch::default() }).await), required);
    patch(AccountPatch { name: FieldPatch::Set(fields::account_name("Ada").unwrap()), ..AccountPatch::default() }).await.unwrap();
    directory.revoke_token(&actor, &doomed, false, None, None).await.unwrap();
    directory.delete_account(&actor, &login("ben"), None).await.unwrap();

    let wrong = Password::presented(b"wrong horse").unwrap();
    assert_eq!(code(directory.confirm_password(&actor, wrong, None).await), "wrong_password");
    let confirmed =
        directory.confirm_password(&actor, Password::presented(PASSWORD.as_bytes()).unwrap(), None).await.unwrap().secret;
    assert_eq!((confirmed.session == cookie.session, confirmed.secret == cookie.secret), (true, false));
    assert!(!fixture.is_living(&cookie).await, "the old secret is no good");
    let actor = Fixture::by_session(&confirmed);
    let (_, info) = directory.create_token(&actor, new).await.unwrap();
    assert_eq!(info.token.created_by.credential.as_deref(), Some(cookie.session.as_str()));
    assert!(info.token.minted_with.is_empty());
    let events = fixture.done_since(fixture.clock.now()).await;
    let event = events.iter().find(|event| event.action == "session.confirm").unwrap();
    assert_eq!((event.target.id.as_str(), event.actor.account.as_deref()), (cookie.session.as_str(), Some("vera")));
    assert_eq!(code(directory.confirm_password(&ADMIN, Password::presented(b"x").unwrap(), None).await), "session_required");
}

fn shop_host() -> Host {
    Host::parse("shop.example.com").unwrap()
}

#[tokio::test]
async fn a_new_password_ends_all_sessions_but_the_one_that_begins_by_it() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let (own, other) = (fixture.sign_in("vera").await, fixture.sign_in("vera").await);
    let (code_before, nonce) = fixture.code(&own).await;
    let check = opened(fixture.redeem(&code_before, &nonce).await);
    let directory = &fixture.directory;
    let actor = Fixture::by_session(&own);
    let [old, new] = [PASSWORD, "a new password"].map(|text| Password::chosen(text).unwrap());
    let wrong = Password::presented(b"wrong horse").unwrap();
    assert_eq!(code(directory.change_password(&actor, wrong, new.clone()).await), "wrong_password");
    let name = Password::chosen("vera@example.com").unwrap();
    assert_eq!(code(directory.change_password(&actor, old.clone(), name).await), "password_too_common");
    assert!(fixture.is_living(&own).await && fixture.is_living(&other).await);
    let begun = directory.change_password(&actor, old, new).await.unwrap().secret;
    assert_ne!(begun.session, own.session);
    assert!(fixture.is_living(&begun).await && !fixture.is_living(&own).await && !fixture.is_living(&other).await);
    assert!(!fixture.is_child_living(&check, shop().host()).await);
    assert_eq!(fixture.ids_seen_by(&ADMIN, None).await, [format!("vera {}", begun.session)]);
    assert_eq!(fixture.try_sign_in(ask("vera", PASSWORD)).await, Err(SignInError::Refused));
    fixture.try_sign_in(ask("vera", "a new password")).await.unwrap();
    // By somebody else: none is left.
    let patch = AccountPatch { password: Some(Password::chosen(PASSWORD).unwrap()), ..AccountPatch::default() };
    fixture.patch("vera", patch).await.unwrap();
    assert!(fixture.ids_seen_by(&ADMIN, None).await.is_empty());
}

#[tokio::test]
async fn what_a_session_does_holds_only_while_it_goes_on() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let cookie = fixture.sign_in("vera").await;
    let actor = Fixture::by_session(&cookie);
    let standing = fixture.directory.standing(&actor).await.unwrap();
    let edit = || {
        let mut edit = standing.edit();
        edit.add_to(Index::Sites, "shop");
        Plan::Commit(edit, ())
    };
    fixture.pass(Duration::from_mins(10));
    assert!(fixture.is_living(&cookie).await, "it was seen, and its record is another version");
    assert_eq!(fixture.directory.settle(edit()).await, Ok(Some(())));
    fixture.directory.sign_out(&cookie, None, None).await.unwrap();
    assert_eq!(fixture.directory.settle(edit()).await, Ok(None));
}

#[tokio::test]
async fn the_list_lets_go_of_sessions_that_are_over() {
    let fixture = fixture().await;
    let vera = fixture.person("vera").await;
    let [over, alive] = [fixture.sign_in("vera").await, fixture.sign_in("vera").await];
    let dangling = Index::session(
        &vera.id,
        &SessionSecret::generate(crate::domain::session::SessionId::generate(&mut rng()), &mut rng()).session,
    );
    let mut edit = Edit::default();
    edit.add_to(Index::Sessions, &dangling);
    fixture.directory.settle(Plan::Commit(edit, ())).await.unwrap();
    let sweep = async || {
        let mut after = None;
        while let Some(next) = fixture.directory.look_after_sessions(after.take()).await.unwrap() {
            after = Some(next);
        }
        fixture.directory.look_after_the_rest().await.unwrap();
        fixture.members(Index::Sessions).await.len()
    };
    assert_eq!(sweep().await, 2);
    for _ in 0..3 {
        fixture.pass(Duration::from_mins(45));
        assert!(fixture.is_living(&alive).await);
    }
    assert!(!fixture.is_living(&over).await);
    assert_eq!(sweep().await, 1, "an hour after its end");
    assert_eq!(fixture.record::<Session>(Key::Session(over.session.clone())).await, None);
    fixture.directory.revoke_all(&ADMIN, &login("vera"), false, None).await.unwrap();
    let after = fixture.sign_in("vera").await;
    assert_eq!(sweep().await, 1, "at once, as its generation has ended");
    assert!(fixture.is_living(&after).await);
    fixture.directory.delete_account(&ADMIN, &login("vera"), None).await.unwrap();
    assert_eq!(sweep().await, 0);
}

#[tokio::test]
async fn wherever_a_password_is_asked_for_guessing_ends() {
    let fixture = fixture().await;
    fixture.person("vera").await;
    let actor = Fixture::by_session(&fixture.sign_in("vera").await);
    let directory = &fixture.directory;
    let [right, wrong, new] = [PASSWORD, "wrong horse", "a new password"].map(|text| Password::chosen(text).unwrap());
    for round in 0..=20 {
        let refused = match round % 3 {
            0 => fixture.try_sign_in(ask("vera", "wrong horse")).await.is_err_and(|error| error == SignInError::Refused),
            1 => code(directory.confirm_password(&actor, wrong.clone(), None).await) == "wrong_password",
            _ => code(directory.change_password(&actor, wrong.clone(), new.clone()).await) == "wrong_password",
        };
        assert!(refused, "{round}");
    }
    let told = fixture.refused().await.len();
    let blocked = fixture.try_sign_in(ask("vera", PASSWORD)).await;
    assert!(matches!(blocked, Err(SignInError::Blocked { until: Some(_) })), "{blocked:?}");
    assert_eq!(code(directory.confirm_password(&actor, right.clone(), None).await), "blocked");
    assert_eq!(code(directory.change_password(&actor, right, new).await), "blocked");
    assert_eq!(fixture.refused().await.len(), told, "who is blocked does not fill the trail");
}

/// That nobody can tell by the time it takes whether there is a login. Of many pairs, one right after the other, so that
/// whatever else the machine does hits both alike.
#[tokio::test]
async fn an_unknown_login_takes_as_long_as_a_wrong_password() {
    const PAIRS: usize = 300;
    let fixture = fixture().await;
    // Dear enough that a hash left out would be seen.
    let hasher = Arc::new(Hasher::start(Cost::new(1024, 1, 1).unwrap()));
    let new =
        NewAccount { password: Some(Password::chosen(PASSWORD).unwrap()), ..NewAccount::new(login("vera"), AccountKind::Human) };
    let directory = directory_with(fixture.store.clone(), fixture.clock.clone(), hasher);
    directory.create_account(&ADMIN, new).await.unwrap();
    let mut times = [Vec::new(), Vec::new()];
    for pair in 0..PAIRS {
        for turn in 0..2 {
            // Which of the two is first changes.
            let which = (pair + turn) % 2;
            // Blocks are by the address and the login, so each attempt comes from elsewhere, and few are for one login.
            let from = IpAddr::V4(Ipv4Addr::from(u32::try_from(pair * 2 + turn).unwrap()));
            let began = std::time::Instant::now();
            let refused = directory.sign_in(Some(from), None, ask(["vera", "nobody"][which], "wrong horse")).await;
            times[which].push(began.elapsed());
            assert_eq!(refused, Err(SignInError::Refused));
        }
        fixture.pass(Duration::from_mins(5));
    }
    let [wrong, unknown] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    });
    let ratio = unknown / wrong;
    assert!((0.8..1.25).contains(&ratio), "an unknown login takes {ratio} times as long as a wrong password");
}
