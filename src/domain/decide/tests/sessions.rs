//! The truth table of sessions: a cookie that passes, and everything that stops it; then the token that goes with it.

use super::*;
use crate::domain::{
    id::test_rng,
    session::{Secret, SessionId},
};

fn minutes(before_now: i64) -> Timestamp {
    Timestamp::from_millis(NOW - before_now * 60_000)
}

fn session_world() -> World {
    let mut world = world();
    world.token = None;
    world.via = Via::Session;
    world.session = Some(Session {
        v: Format,
        id: SessionId::generate(&mut test_rng()),
        account: world.account.as_ref().unwrap().id.clone(),
        secret: Secret::generate(&mut test_rng()).digest(),
        generation: 3,
        session_generation: 0,
        created_at: minutes(90),
        seen_at: minutes(30),
        address: None,
        browser: None,
        remembered: false,
        confirmed_at: minutes(90),
        awaits_code: false,
        version: 1,
    });
    world
}

fn run(start: fn() -> World, rows: &[Row]) {
    for (index, (expected, change)) in rows.iter().enumerate() {
        let mut world = start();
        change(&mut world);
        assert_eq!(world.outcome(), *expected, "row {index}");
    }
}

fn session(world: &mut World) -> &mut Session {
    world.session.as_mut().unwrap()
}

/// The caller may write here, and the request does.
fn writes(world: &mut World) {
    world.account().superuser = true;
    world.method = "POST";
}

#[test]
fn every_guard_of_a_session_stands_alone() {
    let rows: &[Row] = &[
        ("allow", |_| {}),
        ("403 credential_kind", |w| w.demand().credentials = CredentialKinds::new(&[Via::Bearer])),
        // Whether it lives.
        ("401 session_ended", |w| w.finding = Some(Finding::Unknown)),
        ("401 session_ended", |w| w.finding = Some(Finding::Malformed)),
        ("400 ambiguous_credential", |w| w.finding = Some(Finding::Ambiguous)),
        ("503 store_unavailable", |w| w.finding = Some(Finding::Unavailable(Reason::StoreUnavailable))),
        ("401 session_ended", |w| w.account = None),
        ("401 session_ended", |w| session(w).account = AccountId::generate(&mut test_rng())),
        ("401 session_ended", |w| w.account().generation = 4),
        ("401 session_ended", |w| w.account().session_generation = 1),
        ("401 account_disabled", |w| w.account().disabled = true),
        ("401 session_ended", |w| session(w).seen_at = minutes(60)),
        ("allow", |w| session(w).seen_at = minutes(59)),
        ("401 session_ended", |w| (session(w).created_at, session(w).seen_at) = (minutes(720), minutes(1))),
        ("allow", |w| {
            session(w).remembered = true;
            (session(w).created_at, session(w).seen_at) = (minutes(7200), minutes(7200));
        }),
        // It is the account itself: no ceiling, no scope, no limit for tokens.
        ("allow", |w| w.demand().max_token_access = Level::View),
        ("allow", |w| w.demand().scope = Some(Scope::parse("reporting").unwrap())),
        ("403 site_access", |w| w.method = "POST"),
        ("403 site_unknown", |w| w.sites = None),
        // Whose page has sent it.
        ("allow", writes),
        ("allow", |w| {
            writes(w);
            w.headers = vec![("sec-fetch-site", "same-origin"), ("origin", "https://elsewhere.example")];
        }),
        ("403 cross_site", |w| {
            writes(w);
            w.headers = vec![("sec-fetch-site", "cross-site")];
        }),
        ("403 cross_site", |w| {
            writes(w);
            w.headers = vec![("sec-fetch-site", "same-site")];
        }),
        ("403 cross_site", |w| {
            writes(w);
            w.headers = vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        }),
        ("403 cross_site", |w| {
            writes(w);
            w.headers = vec![("origin", "https://elsewhere.example")];
        }),
        ("403 cross_site", |w| {
            writes(w);
            w.headers = vec![("origin", "https://h:8443")];
        }),
        ("allow", |w| {
            writes(w);
            w.headers = vec![("origin", "https://h")];
        }),
        ("allow", |w| w.headers = vec![("sec-fetch-site", "cross-site")]),
        ("403 cross_site", |w| w.headers = vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "websocket")]),
        ("403 cross_site", |w| w.headers = vec![("origin", "https://elsewhere.example"), ("sec-websocket-version", "13")]),
        ("403 cross_site", |w| w.headers = vec![("sec-fetch-site", "cross-site"), ("x-http-method-override", "POST")]),
        ("allow", |w| {
            writes(w);
            w.demand().allows_cross_site = true;
            w.headers = vec![("sec-fetch-site", "cross-site")];
        }),
        // A token proves by itself that nobody's page has made it up.
        ("allow", |w| {
            *w = world();
            writes(w);
            w.headers = vec![("sec-fetch-site", "cross-site")];
        }),
    ];
    run(session_world, rows);
}

#[test]
fn the_token_of_a_session_reads_what_may_be_viewed_and_changes_by_post() {
    let start = || {
        let mut world = session_world();
        (world.via, world.place) = (Via::SessionToken, Some(Via::Bearer));
        world
    };
    let rows: &[Row] = &[
        ("allow", |_| {}),
        ("401 session_ended", |w| w.finding = Some(Finding::Unknown)),
        ("401 mismatch", |w| w.finding = Some(Finding::Mismatch)),
        ("401 account_disabled", |w| w.account().disabled = true),
        ("403 credential_kind", |w| w.demand().credentials = CredentialKinds::new(&[Via::Bearer])),
        ("403 credential_kind", |w| w.demand().credentials = CredentialKinds::new(&[Via::Session])),
        ("403 credential_kind", |w| {
            w.place = Some(Via::Basic);
            w.demand().credentials = CredentialKinds::new(&[Via::Basic, Via::Session]);
        }),
        ("allow", |w| {
            w.place = Some(Via::Body);
            w.demand().credentials = CredentialKinds::new(&[Via::Body, Via::Session]);
        }),
        ("403 credential_kind", |w| {
            w.account().superuser = true;
            w.demand().read = Level::Write;
        }),
        ("allow", writes),
        ("403 credential_kind", |w| {
            writes(w);
            w.method = "DELETE";
        }),
        ("403 credential_kind", |w| {
            writes(w);
            w.method = "PUT";
        }),
        ("allow", |w| {
            w.place = Some(Via::Query);
            w.allow_in_url = true;
            w.demand().credentials = CredentialKinds::new(&[Via::Query, Via::Session]);
        }),
        ("403 url_token_refused", |w| w.place = Some(Via::Query)),
        ("403 url_token_refused", |w| {
            writes(w);
            w.place = Some(Via::Query);
            w.allow_in_url = true;
            w.demand().credentials = CredentialKinds::new(&[Via::Query, Via::Session]);
        }),
        // A page of another site has no way to know it.
        ("allow", |w| {
            writes(w);
            w.headers = vec![("sec-fetch-site", "cross-site")];
        }),
    ];
    run(start, rows);
}

#[test]
fn only_a_browser_that_can_come_back_is_sent_to_sign_in() {
    let page = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")].to_vec();
    let sent = |change: fn(&mut World)| {
        let mut world = session_world();
        (world.via, world.finding) = (Via::None, Some(Finding::NotPresented));
        world.headers.clone_from(&page);
        world.demand().otherwise = Otherwise::Login;
        change(&mut world);
        world.decide(|decision| matches!(decision, Decision::Challenge(Challenge { sign_in: true, .. })))
    };
    assert!(sent(|_| {}));
    assert!(sent(|w| w.headers = vec![("accept", "text/html,*/*;q=0.8")]));
    assert!(sent(|w| (w.via, w.finding) = (Via::Session, Some(Finding::Unknown))));
    assert!(sent(|w| {
        (w.via, w.finding) = (Via::Session, None);
        session(w).seen_at = minutes(60);
    }));
    let stays: [fn(&mut World); 9] = [
        |w| w.demand().otherwise = Otherwise::Challenge,
        |w| w.headers.clear(),
        |w| w.headers = vec![("sec-fetch-mode", "cors"), ("accept", "text/html")],
        |w| w.headers = vec![("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        |w| w.method = "POST",
        |w| w.method = "HEAD",
        |w| w.origin = None,
        |w| (w.via, w.finding) = (Via::Bearer, Some(Finding::Unknown)),
        |w| {
            (w.via, w.finding) = (Via::Session, None);
            w.account().disabled = true;
        },
    ];
    for (index, change) in stays.into_iter().enumerate() {
        assert!(!sent(change), "{index}");
    }
}

#[test]
fn a_grant_by_session_names_the_session() {
    let world = session_world();
    world.decide(|decision| {
        let Decision::Allow(grant) = decision else { panic!("{decision:?}") };
        assert_eq!(grant.credential(), world.session.as_ref().map(|session| session.id.as_str()));
        assert_eq!((grant.via(), grant.account(), grant.access()), (Via::Session, Some("vera"), Some(Level::View)));
    });
}
