//! Second factors: what a session is good for until one is shown, that each code is accepted once, and who takes them away.

mod confirming;

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    domain::{
        factor::{FactorId, Factors, PresentedCode, TotpSecret},
        origin::ReturnTo,
        password::Password,
        session::{Secret, Session, SessionSecret, Stage},
    },
    store::Key,
};

const PASSWORD: &str = "correct horse";
const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

fn presented(text: &str) -> PresentedCode {
    PresentedCode::parse(text).unwrap()
}

fn actor(cookie: &SessionCookie) -> Actor {
    Actor::session(cookie.secret.clone()).from_address(HERE)
}

fn shop() -> ReturnTo {
    hosts().return_to("https://shop.example.com/a").unwrap()
}

impl Fixture {
    async fn human(&self, name: &str) -> Account {
        let password = Some(Password::chosen(PASSWORD).unwrap());
        self.directory
            .create_account(&ADMIN, NewAccount { password, ..NewAccount::new(login(name), AccountKind::Human) })
            .await
            .unwrap()
    }

    async fn enter(&self, name: &str) -> SessionCookie {
        let password = Password::presented(PASSWORD.as_bytes()).unwrap();
        self.directory
            .sign_in(HERE, None, SignIn { login: name.to_owned(), password, remember: false, browser: None })
            .await
            .unwrap()
    }

    /// What the app shows, so many steps from now.
    fn shown(&self, secret: &TotpSecret, steps: i64) -> PresentedCode {
        presented(&secret.shown(self.clock.now(), steps))
    }

    async fn add(
        &self,
        actor: &Actor,
        proof: Option<PresentedCode>,
    ) -> Result<(TotpSecret, SessionCookie, Option<Vec<String>>), DirectoryError> {
        let TotpSetup { secret, setup, .. } = self.directory.begin_totp(actor).await?;
        let new = NewTotp { setup, name: fields::factor_name("Phone").unwrap(), code: self.shown(&secret, 0), proof };
        let TotpAdded { session, codes } = handed_over(self.directory.add_totp(actor, &new)).await?.over;
        Ok((secret, session, codes.map(|codes| codes.iter().map(crate::domain::factor::RecoveryCode::to_text).collect())))
    }

    /// Somebody with a factor, and in a session.
    async fn with_factor(&self, name: &str) -> (TotpSecret, SessionCookie, Vec<String>) {
        self.human(name).await;
        let cookie = self.enter(name).await;
        let (secret, cookie, codes) = self.add(&actor(&cookie), None).await.unwrap();
        // The first code is used; that of the next step is not.
        self.pass(Duration::from_secs(30));
        (secret, cookie, codes.unwrap())
    }

    async fn try_code(&self, cookie: &SessionCookie, code: &PresentedCode) -> Result<SessionCookie, DirectoryError> {
        self.directory.show_code(&actor(cookie), code).await
    }

    async fn is_in(&self, cookie: &SessionCookie) -> bool {
        self.directory.visitor(&cookie.secret).await.unwrap().is_some()
    }

    async fn factors_of(&self, account: &Account) -> Option<Factors> {
        self.directory.get(Key::Factors(account.id.clone())).await.unwrap()
    }

    async fn factor_of(&self, cookie: &SessionCookie) -> FactorId {
        self.directory.factors(&actor(cookie)).await.unwrap().factors[0].id.clone()
    }
}

#[tokio::test]
async fn the_password_alone_opens_a_session_that_is_good_for_nothing() {
    let fixture = fixture().await;
    let (secret, _, _) = fixture.with_factor("vera").await;
    let half = fixture.enter("vera").await;
    assert_eq!((half.stage, fixture.is_in(&half).await), (Stage::AwaitsCode, false));
    let actor = actor(&half);
    let directory = &fixture.directory;
    let required = "second_factor_required";
    assert_eq!(code(directory.me(&actor).await), required);
    assert_eq!(code(directory.tokens(&actor, &TokenFilter::default(), &Window::default()).await), required);
    assert_eq!(code(directory.begin_totp(&actor).await), required);
    assert_eq!(code(directory.factors(&actor).await), required);
    let password = || Password::presented(PASSWORD.as_bytes()).unwrap();
    assert_eq!(code(directory.confirm_password(&actor, password(), None).await), required);
    assert_eq!(code(directory.change_password(&actor, password(), Password::chosen("another one").unwrap()).await), required);
    let nonce = Secret::generate(&mut rng()).digest();
    assert_eq!(code(directory.hand_over(&half.secret, &shop(), nonce.clone()).await), "session_ended");
    // It is listed as what it is.
    let listed = directory.sessions(&ADMIN, Some(&login("vera")), &Window::default()).await.unwrap().items;
    let waiting: Vec<_> = listed.iter().filter(|info| info.session.awaits_code).map(|info| &info.session.id).collect();
    assert_eq!((listed.len(), waiting), (2, vec![&half.secret.session]));

    let whole = fixture.try_code(&half, &fixture.shown(&secret, 0)).await.unwrap();
    assert!(whole.secret.session == half.secret.session && whole.secret.secret != half.secret.secret);
    assert_eq!((whole.stage, fixture.is_in(&whole).await, fixture.is_in(&half).await), (Stage::Whole, true, false));
    assert!(directory.hand_over(&whole.secret, &shop(), nonce).await.is_ok());
    let again = fixture.try_code(&whole, &fixture.shown(&secret, 1)).await;
    assert_eq!(code(again), "session_ended", "none is awaited any more");
}

#[tokio::test]
async fn who_takes_too_long_for_the_code_begins_anew() {
    let fixture = fixture().await;
    let (secret, _, _) = fixture.with_factor("vera").await;
    let half = fixture.enter("vera").await;
    fixture.pass(Session::CODE_WITHIN);
    assert_eq!(code(fixture.try_code(&half, &fixture.shown(&secret, 0)).await), "session_ended");
    let half = fixture.enter("vera").await;
    fixture.pass(Session::CODE_WITHIN.checked_sub(Duration::from_millis(1)).unwrap());
    let whole = fixture.try_code(&half, &fixture.shown(&secret, 0)).await.unwrap();
    fixture.pass(Duration::from_mins(50));
    assert!(fixture.is_in(&whole).await, "from then on it lives as long as any");
}

#[tokio::test]
async fn a_code_is_accepted_once_whoever_shows_it() {
    let fixture = fixture().await;
    let (secret, _, _) = fixture.with_factor("vera").await;
    let (one, two) = (fixture.enter("vera").await, fixture.enter("vera").await);
    let code_now = fixture.shown(&secret, 0);
    let (first, second) = tokio::join!(fixture.try_code(&one, &code_now), fixture.try_code(&two, &code_now));
    let accepted = [first.is_ok(), second.is_ok()];
    assert!(accepted == [true, false] || accepted == [false, true], "{accepted:?}");
    for steps in [0, -1] {
        let late = fixture.enter("vera").await;
        assert_eq!(code(fixture.try_code(&late, &fixture.shown(&secret, steps)).await), "wrong_code", "{steps}");
    }
    let next = fixture.enter("vera").await;
    assert_eq!(code(fixture.try_code(&next, &fixture.shown(&secret, 2)).await), "wrong_code", "two steps ahead");
    assert!(fixture.try_code(&next, &fixture.shown(&secret, 1)).await.is_ok(), "one step ahead");
}

#[tokio::test]
async fn recovery_codes_are_good_once_each_and_until_there_are_new_ones() {
    let fixture = fixture().await;
    let (secret, cookie, codes) = fixture.with_factor("vera").await;
    assert_eq!(codes.len(), 10);
    for (used, text) in codes[..3].iter().enumerate() {
        let since = fixture.clock.now();
        let half = fixture.enter("vera").await;
        assert!(fixture.try_code(&half, &presented(text)).await.is_ok());
        assert_eq!(fixture.directory.factors(&actor(&cookie)).await.unwrap().recovery_codes, 9 - used);
        let done = fixture.done_since(since).await;
        assert!(done.iter().any(|event| event.action == "factor.recovery_code_used" && event.target.id == "vera"));
        let half = fixture.enter("vera").await;
        assert_eq!(code(fixture.try_code(&half, &presented(text)).await), "wrong_code");
    }
    let renewed = fixture.directory.renew_recovery_codes(&actor(&cookie), &fixture.shown(&secret, 0)).await.unwrap();
    assert_eq!(renewed.len(), 10);
    let half = fixture.enter("vera").await;
    assert_eq!(code(fixture.try_code(&half, &presented(&codes[5])).await), "wrong_code");
    assert!(fixture.try_code(&half, &presented(&renewed[5].to_text())).await.is_ok());
}

#[tokio::test]
async fn wrong_codes_are_told_of_and_count() {
    let fixture = fixture().await;
    let (secret, _, codes) = fixture.with_factor("vera").await;
    let half = fixture.enter("vera").await;
    for _ in 0..=10 {
        assert_eq!(code(fixture.try_code(&half, &fixture.shown(&secret, 9)).await), "wrong_code");
    }
    assert_eq!(code(fixture.try_code(&half, &fixture.shown(&secret, 0)).await), "blocked");
    // Whoever has the password cannot keep its owner out.
    assert!(fixture.try_code(&fixture.enter("vera").await, &presented(&codes[0])).await.is_ok());
    let filter = TrailFilter { outcome: Some(Outcome::Refused), ..TrailFilter::default() };
    let refused = fixture.directory.trail(&ADMIN, &filter, &Window::default()).await.unwrap().items;
    assert_eq!(refused.len(), 11);
    let event = &refused[0].event;
    assert_eq!((event.action.as_str(), event.reason.as_deref()), ("session.sign_in", Some("wrong_code")));
    assert_eq!((event.actor.account.as_deref(), event.actor.address), (Some("vera"), HERE));
    // Nobody else is shut out, and he himself not from giving his password.
    let (other, _, _) = fixture.with_factor("ada").await;
    let (ada, vera) = (fixture.enter("ada").await, fixture.enter("vera").await);
    assert!(fixture.try_code(&ada, &fixture.shown(&other, 0)).await.is_ok());
    assert_eq!(vera.stage, Stage::AwaitsCode);
    for (hours, then) in [(23, false), (1, true)] {
        fixture.pass(Duration::from_hours(hours));
        let half = fixture.enter("vera").await;
        assert_eq!(fixture.try_code(&half, &fixture.shown(&secret, 0)).await.is_ok(), then, "{hours}");
    }
}

#[tokio::test]
async fn nobody_gets_round_his_own_factor_by_what_he_may_do_for_others() {
    let fixture = fixture().await;
    let (secret, _, _) = fixture.with_factor("ada").await;
    let patch = AccountPatch { superuser: Some(true), ..AccountPatch::default() };
    fixture.directory.update_account(&ADMIN, &Login::parse("ada").unwrap(), patch, None).await.unwrap();
    let half = fixture.enter("ada").await;
    let cookie = fixture.try_code(&half, &fixture.shown(&secret, 1)).await.unwrap();
    let (me, own) = (actor(&cookie), Login::parse("ada").unwrap());
    assert_eq!(code(fixture.directory.reset_factors(&me, &own).await), "own_account");
    let patch = AccountPatch { password: Some(Password::chosen("a new password").unwrap()), ..AccountPatch::default() };
    assert_eq!(code(fixture.directory.update_account(&me, &own, patch, None).await), "own_account");
    assert!(fixture.is_in(&cookie).await);
}

#[tokio::test]
async fn a_factor_comes_with_a_first_code_and_ends_the_other_sessions() {
    let fixture = fixture().await;
    let account = fixture.human("vera").await;
    let (other, cookie) = (fixture.enter("vera").await, fixture.enter("vera").await);
    let me = actor(&cookie);
    let TotpSetup { secret, setup, .. } = fixture.directory.begin_totp(&me).await.unwrap();
    let name = fields::factor_name("Phone").unwrap();
    let with = |setup: &crate::domain::seal::Sealed, code: PresentedCode| NewTotp {
        setup: setup.clone(),
        name: name.clone(),
        code,
        proof: None,
    };
    let wrong = [fixture.shown(&secret, 2), fixture.shown(&secret, -2), presented("0000-0000-0000-0000")];
    for wrong in wrong {
        assert_eq!(code(fixture.directory.add_totp(&me, &with(&setup, wrong)).await), "first_code_wrong");
    }
    let right = with(&setup, fixture.shown(&secret, 0));
    assert_eq!(code(fixture.directory.add_totp(&actor(&other), &right).await), "setup_stale", "it is of one session");
    assert!(fixture.factors_of(&account).await.is_none() && fixture.is_in(&other).await);
    let resumed = fixture.directory.resume_totp(&me, setup.clone()).await.unwrap();
    assert_eq!(resumed.secret, secret);
    let Handed { over: TotpAdded { session: new, codes }, confirmed } =
        handed_over(fixture.directory.add_totp(&me, &right)).await.unwrap();
    assert!(confirmed);
    assert_eq!((codes.map(|codes| codes.len()), new.stage), (Some(10), Stage::Whole));
    assert_eq!([fixture.is_in(&new).await, fixture.is_in(&cookie).await, fixture.is_in(&other).await], [true, false, false]);
    let info = fixture.directory.factors(&actor(&new)).await.unwrap();
    assert_eq!((info.factors.len(), info.recovery_codes, info.required), (1, 10, false));
    assert!(fixture.directory.account(&ADMIN, &login("vera")).await.unwrap().second_factor);
    // The first code is used up.
    let half = fixture.enter("vera").await;
    assert_eq!(code(fixture.try_code(&half, &fixture.shown(&secret, 0)).await), "wrong_code");
}

#[tokio::test]
async fn recovery_codes_are_handed_over_though_nothing_is_confirmed() {
    let (fixture, _) = super::confirm::lonely().await;
    fixture.human("vera").await;
    let me = actor(&fixture.enter("vera").await);
    let TotpSetup { secret, setup, .. } = fixture.directory.begin_totp(&me).await.unwrap();
    let name = fields::factor_name("Phone").unwrap();
    let new = NewTotp { setup, name, code: fixture.shown(&secret, 0), proof: None };
    let added = handed_over(fixture.directory.add_totp(&me, &new)).await.unwrap();
    assert!(!added.confirmed && added.over.codes.is_some_and(|codes| codes.len() == 10));
    assert!(fixture.is_in(&added.over.session).await);
}

#[tokio::test]
async fn who_has_a_factor_shows_it_to_add_or_remove_one() {
    let fixture = fixture().await;
    let (secret, cookie, codes) = fixture.with_factor("vera").await;
    let me = actor(&cookie);
    assert_eq!(code(fixture.add(&me, None).await), "proof_required");
    assert_eq!(code(fixture.add(&me, Some(presented("000000"))).await), "wrong_code");
    let (second, cookie, more) = fixture.add(&me, Some(fixture.shown(&secret, 0))).await.unwrap();
    assert_eq!(more, None, "the recovery codes stay");
    fixture.pass(Duration::from_secs(30));
    // Both are good.
    for secret in [&secret, &second] {
        let half = fixture.enter("vera").await;
        assert!(fixture.try_code(&half, &fixture.shown(secret, 0)).await.is_ok());
    }
    let first = fixture.factor_of(&cookie).await;
    let remove =
        async |cookie: &SessionCookie, id: &FactorId, code| fixture.directory.remove_factor(&actor(cookie), id, &code).await;
    assert_eq!(code(remove(&cookie, &first, presented("000000")).await), "wrong_code");
    let unknown = FactorId::generate(&mut rng());
    assert_eq!(code(remove(&cookie, &unknown, presented(&codes[0])).await), "not_found");
    let cookie = remove(&cookie, &first, presented(&codes[0])).await.unwrap();
    assert_eq!(code(remove(&cookie, &first, presented(&codes[1])).await), "not_found");
    fixture.pass(Duration::from_secs(30));
    let half = fixture.enter("vera").await;
    assert_eq!(code(fixture.try_code(&half, &fixture.shown(&secret, 0)).await), "wrong_code");
    assert!(fixture.try_code(&half, &fixture.shown(&second, 0)).await.is_ok());
    let last = fixture.factor_of(&cookie).await;
    let cookie = remove(&cookie, &last, fixture.shown(&second, 1)).await.unwrap();
    let account = fixture.directory.account(&ADMIN, &login("vera")).await.unwrap();
    assert!(!account.second_factor && fixture.factors_of(&account).await.is_none());
    assert!(fixture.is_in(&cookie).await && fixture.enter("vera").await.stage == Stage::Whole);
}

#[tokio::test]
async fn what_changes_factors_needs_the_password_again() {
    let fixture = fixture().await;
    let (secret, cookie, codes) = fixture.with_factor("vera").await;
    fixture.pass(Duration::from_mins(16));
    let (me, required) = (actor(&cookie), "password_confirmation_required");
    let id = fixture.factor_of(&cookie).await;
    assert_eq!(code(fixture.directory.begin_totp(&me).await), required);
    assert_eq!(code(fixture.directory.remove_factor(&me, &id, &fixture.shown(&secret, 0)).await), required);
    assert_eq!(code(fixture.directory.renew_recovery_codes(&me, &presented(&codes[0])).await), required);
    // No code is used by being refused.
    let password = || Password::presented(PASSWORD.as_bytes()).unwrap();
    let cookie = fixture.directory.confirm_password(&me, password(), Some(&fixture.shown(&secret, 0))).await.unwrap();
    assert!(fixture.directory.remove_factor(&actor(&cookie), &id, &fixture.shown(&secret, 1)).await.is_ok());
}

#[tokio::test]
async fn who_must_have_a_factor_does_nothing_but_set_it_up() {
    let fixture = fixture().await;
    fixture.human("vera").await;
    let cookie = fixture.enter("vera").await;
    let must = |must| AccountPatch { must_have_second_factor: Some(must), ..AccountPatch::default() };
    fixture.patch("vera", must(true)).await.unwrap();
    assert!(!fixture.is_in(&cookie).await, "those who are in, too");
    let (me, required) = (actor(&cookie), "second_factor_required");
    assert_eq!(code(fixture.directory.me(&me).await), required);
    let password = || Password::presented(PASSWORD.as_bytes()).unwrap();
    assert_eq!(code(fixture.directory.change_password(&me, password(), Password::chosen("another one").unwrap()).await), required);
    let nonce = Secret::generate(&mut rng()).digest();
    assert_eq!(code(fixture.directory.hand_over(&cookie.secret, &shop(), nonce).await), "session_ended");
    let later = fixture.enter("vera").await;
    assert_eq!(later.stage, Stage::SetsUp);
    assert_eq!(code(fixture.directory.confirm_password(&actor(&later), password(), None).await), required);
    let (secret, cookie, _) = fixture.add(&actor(&later), None).await.unwrap();
    assert_eq!((cookie.stage, fixture.is_in(&cookie).await), (Stage::Whole, true));
    // And keeps it.
    fixture.pass(Duration::from_secs(30));
    let id = fixture.factor_of(&cookie).await;
    let remove = async |steps| fixture.directory.remove_factor(&actor(&cookie), &id, &fixture.shown(&secret, steps)).await;
    assert_eq!(code(remove(0).await), "last_second_factor");
    fixture.patch("vera", must(false)).await.unwrap();
    assert!(remove(0).await.is_ok(), "the code was not used");
}

#[tokio::test]
async fn services_and_anonymous_have_none() {
    let fixture = fixture().await;
    let new = || NewAccount::new(login("ci"), AccountKind::Service);
    let with = NewAccount { must_have_second_factor: true, ..new() };
    assert_eq!(code(fixture.directory.create_account(&ADMIN, with).await), "service_second_factor");
    fixture.directory.create_account(&ADMIN, new()).await.unwrap();
    let must = || AccountPatch { must_have_second_factor: Some(true), ..AccountPatch::default() };
    assert_eq!(code(fixture.patch("ci", must()).await), "service_second_factor");
    assert_eq!(code(fixture.patch("anonymous", must()).await), "built_in_account");
    assert_eq!(code(fixture.directory.reset_factors(&ADMIN, &login("anonymous")).await), "built_in_account");
    assert_eq!(code(fixture.directory.reset_factors(&ADMIN, &login("ci")).await), "no_second_factor");
}

#[tokio::test]
async fn a_superuser_takes_factors_away_and_with_the_account_they_go() {
    let fixture = fixture().await;
    let (_, cookie, codes) = fixture.with_factor("vera").await;
    let since = fixture.clock.now();
    let account = fixture.directory.reset_factors(&ADMIN, &login("vera")).await.unwrap();
    assert!(!account.second_factor && fixture.factors_of(&account).await.is_none() && !fixture.is_in(&cookie).await);
    let done = fixture.done_since(since).await;
    assert_eq!((done[0].action.as_str(), done[0].target.id.as_str()), ("factor.reset", "vera"));
    assert_eq!(code(fixture.directory.reset_factors(&ADMIN, &login("vera")).await), "no_second_factor");
    assert_eq!(fixture.enter("vera").await.stage, Stage::Whole);
    // Whoever was about to show a code does not come in by it, and neither does an old one later.
    let cookie = fixture.enter("vera").await;
    fixture.add(&actor(&cookie), None).await.unwrap();
    let half = fixture.enter("vera").await;
    assert_eq!(code(fixture.try_code(&half, &presented(&codes[0])).await), "wrong_code");
    fixture.directory.delete_account(&ADMIN, &login("vera"), None).await.unwrap();
    assert!(fixture.factors_of(&account).await.is_none());
}

#[tokio::test]
async fn factors_outlive_the_server_key_that_sealed_them() {
    let fixture = fixture().await;
    let (secret, _, codes) = fixture.with_factor("vera").await;
    let with = |text: String| {
        let directory = directory_on(fixture.store.clone(), fixture.clock.clone(), keys(&text));
        async move |code: &PresentedCode| {
            let password = Password::presented(PASSWORD.as_bytes()).unwrap();
            let ask = SignIn { login: "vera".to_owned(), password, remember: false, browser: None };
            let half: SessionSecret = directory.sign_in(HERE, None, ask).await.unwrap().secret;
            directory.show_code(&Actor::session(half), code).await.is_ok()
        }
    };
    let both = with(format!("{KEY_2}\n{KEY_1}\n"));
    assert!(both(&fixture.shown(&secret, 0)).await && both(&presented(&codes[0])).await);
    let new = with(KEY_2.to_owned());
    assert!(new(&fixture.shown(&secret, 1)).await, "it was sealed anew");
    assert!(!new(&presented(&codes[1])).await && both(&presented(&codes[1])).await);
}
