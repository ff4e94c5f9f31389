//! What many do at once, and what replicas on one Redis know of one another.

use serde_json::Value;

use super::attacks::{returning, send};
use crate::support::{
    cases_to_run,
    dialects::ask,
    keygate::Keygate,
    programs::wait_for,
    visitor::{Browser, POLICY, Portal},
};

const SHOP: &str = "shop.example.com";
const CHECK: &str = "__Host-keygate-check";

/// Another Keygate on the same Redis.
fn replica(portal: &Portal, policy: &str) -> Keygate {
    let mut keygate = Keygate::prepare_on_redis(policy, &portal.server.url());
    keygate.restart();
    keygate
}

#[test]
fn of_many_who_present_one_code_one_gets_in() {
    let portal = Portal::new();
    let second = replica(&portal, POLICY);
    let replicas = [portal.keygate(), &second];
    let session = portal.sign_in("vera");
    for _ in 0..cases_to_run(20, 300) {
        let (browser, callback) = returning(&portal, &session);
        let request = browser.navigation(SHOP, &callback);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|number| {
                    let (keygate, request) = (replicas[number % 2], &request);
                    scope.spawn(move || ask(keygate, ["caddy", "traefik"][number / 2 % 2], request).unwrap().status)
                })
                .collect();
            asking.into_iter().map(|each| each.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 7, "{statuses:?}");
    }
}

#[test]
fn a_sign_out_that_races_a_code_leaves_nothing_alive() {
    let portal = Portal::new();
    for round in 0..cases_to_run(30, 500) {
        let session = portal.sign_in("vera");
        let (mut browser, callback) = returning(&portal, &session);
        let (keygate, request) = (portal.keygate(), browser.navigation(SHOP, &callback));
        let back = std::thread::scope(|scope| {
            let redeem = scope.spawn(|| ask(keygate, "caddy", &request).unwrap());
            // So that now the one is faster and now the other.
            for _ in 0..round % 4 {
                portal.server.command(&["PING"]);
            }
            portal.sign_out(&session);
            redeem.join().unwrap()
        });
        assert!(matches!(back.status, 303 | 403), "{back:?}");
        browser.keep(SHOP, &back.headers);
        let now = ask(keygate, "nginx", &browser.fetch("GET", SHOP, "/pages/7")).unwrap();
        let reason = if back.status == 303 { "session_ended" } else { "no_credential" };
        assert_eq!((now.status, now.reason()), (401, reason), "{now:?}");
        let left = portal.server.command(&["KEYS", &format!("kg:*{}*", session.session)]);
        assert_eq!(left, "*0", "round {round}");
    }
}

#[test]
fn a_session_in_use_on_one_replica_is_not_idle_on_another() {
    let policy = format!("{POLICY}\n[sessions]\nidle = \"20s\"\n");
    let portal = Portal::with(&policy);
    let second = replica(&portal, &policy);
    let [(used, session), (unused, other)] = [(), ()].map(|()| {
        let session = portal.sign_in("vera");
        let (mut browser, callback) = returning(&portal, &session);
        assert_eq!(send(&portal, &mut browser, "caddy", "GET", &callback).status, 303);
        assert!(browser.cookie(SHOP, CHECK).is_some());
        (browser, session)
    });
    let asked = |keygate: &Keygate, browser: &Browser| {
        let verdict = ask(keygate, "nginx", &browser.fetch("GET", SHOP, "/pages/7")).unwrap();
        (verdict.status, verdict.reason().to_owned())
    };
    let passes = (200, String::new());
    let told = |id: &str, member: &str| {
        let list: Value = serde_json::from_str(&second.must(&["session", "list", "--json"])).unwrap();
        let session = list.as_array().unwrap().iter().find(|session| session["id"] == id).cloned();
        session.and_then(|session| session[member].as_str().map(str::to_owned))
    };
    let end = told(other.session.as_str(), "expires_at").unwrap();
    // Until the one was seen when the other had ended already, and the second replica knows it.
    wait_for("a session to have ended without the requests", || {
        assert_eq!(asked(portal.keygate(), &used), passes);
        (told(session.session.as_str(), "last_seen").unwrap() > end).then_some(())
    });
    assert_eq!(asked(&second, &used), passes);
    assert_eq!(asked(&second, &unused), (401, "session_ended".to_owned()));
}
