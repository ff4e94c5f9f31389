//! A store that fails while a check is judged: records that cannot be read, and a store that goes away and comes back.

use super::{House, On, SHOP, Signed, at_portal};
use crate::support::{dialects::ask, http::Request, programs::wait_for, visitor::Browser};

const DIALECTS: [&str; 4] = ["nginx", "traefik", "envoy", "grpc"];

fn requests(house: &House) -> Vec<Request> {
    let mut browser = Browser::default();
    browser.cookies.insert((SHOP.to_owned(), "__Host-keygate-check".to_owned()), house.signed.check.to_text());
    vec![browser.fetch("GET", SHOP, "/pages/7"), browser.navigation(SHOP, "/pages/7")]
}

fn me(house: &House) -> Request {
    at_portal("GET", "/api/v1/me").header("Cookie", &format!("__Host-keygate={}", house.signed.vera.to_text()))
}

fn is_good(house: &House) -> bool {
    let passes =
        |request: &Request| DIALECTS.iter().all(|dialect| ask(&house.control.keygate, dialect, request).unwrap().status == 200);
    requests(house).iter().all(passes) && house.send(&me(house)).status == 200
}

/// What was remembered has been forgotten.
fn is_refused(house: &House) -> bool {
    requests(house).iter().all(|request| ask(&house.control.keygate, "nginx", request).unwrap().status != 200)
}

/// Nobody is let in, sent anywhere, or loses a cookie.
fn nothing_is_said(house: &House, what: &str, at_the_portal: bool) {
    for dialect in DIALECTS {
        for request in requests(house) {
            let verdict = ask(&house.control.keygate, dialect, &request).unwrap();
            let told =
                ["X-Auth-Status", "X-Auth-Reason", "Set-Cookie", "Location", "X-Auth-Redirect"].map(|name| verdict.header(name));
            assert_eq!(told, ["503", "store_unavailable", "", "", ""], "{what}, {dialect}: {verdict:?}");
        }
    }
    if at_the_portal {
        let answer = house.send(&me(house));
        assert_eq!((answer.status / 100, answer.header("Set-Cookie")), (5, None), "{what}: {answer:?}");
    }
}

/// What may be done to the store behind a running Keygate.
enum Hand {
    Embedded(rusqlite::Connection),
    Redis(redis::Connection),
}

impl Hand {
    fn new(house: &House) -> Self {
        match &house.redis {
            Some(server) => Self::Redis(redis::Client::open(server.url()).unwrap().get_connection().unwrap()),
            None => Self::Embedded(rusqlite::Connection::open(house.control.data_dir().join("keygate.db")).unwrap()),
        }
    }

    /// Writes something else in the place of a record, and says what was there.
    fn replace(&mut self, record: &str, text: &str) -> String {
        match self {
            Self::Embedded(database) => {
                let was = database.query_row("SELECT json FROM record WHERE key = ?1", [record], |row| row.get(0)).unwrap();
                assert_eq!(database.execute("UPDATE record SET json = ?2 WHERE key = ?1", [record, text]).unwrap(), 1);
                was
            }
            Self::Redis(redis) => {
                let keys: Vec<String> = redis::cmd("KEYS").arg(format!("kg:r:*{record}")).query(redis).unwrap();
                assert_eq!(keys.len(), 1, "{record}: {keys:?}");
                redis::cmd("SET").arg(&keys[0]).arg(text).arg("KEEPTTL").arg("GET").query(redis).unwrap()
            }
        }
    }
}

pub async fn a_store_that_fails_ends_no_session(on: On) {
    let mut house = House::with_shop(on).await;
    assert!(is_good(&house));
    let mut hand = Hand::new(&house);
    let Signed { vera, .. } = &house.signed;
    let (session, child) = (format!("session:{}", vera.session), format!("check:{}:{SHOP}", vera.session));
    for (record, at_the_portal) in [(&session, true), (&child, false)] {
        for damage in ["", "{", "{}", "[]", "null", "{\"v\":9}"] {
            let was = hand.replace(record, damage);
            wait_for("the damage to be noticed", || is_refused(&house).then_some(()));
            nothing_is_said(&house, &format!("{record} is {damage}"), at_the_portal);
            hand.replace(record, &was);
            wait_for("the session to be good again", || is_good(&house).then_some(()));
        }
    }
    // The whole of it.
    match &mut hand {
        Hand::Embedded(database) => database.execute_batch("ALTER TABLE record RENAME TO elsewhere").unwrap(),
        Hand::Redis(_) => house.redis.as_ref().unwrap().freeze(),
    }
    wait_for("the store to be missed", || is_refused(&house).then_some(()));
    nothing_is_said(&house, "the store is away", true);
    match &mut hand {
        Hand::Embedded(database) => database.execute_batch("ALTER TABLE elsewhere RENAME TO record").unwrap(),
        Hand::Redis(_) => house.redis.as_ref().unwrap().thaw(),
    }
    wait_for("the session to be good again", || is_good(&house).then_some(()));
    // And Keygate itself.
    house.control.keygate.restart();
    assert!(is_good(&house));
}
