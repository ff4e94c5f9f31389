//! When and from where a token was last used: by whichever way it let a request pass, and also after the service has ended.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::support::dialects::{DIALECTS, PROXY, call};
use crate::support::house::CLIENT;
use crate::support::http::{Answer, Request};
use crate::support::keygate::Keygate;
use crate::support::programs::wait_for;
use crate::support::redis::{Program, Server};
use crate::support::shop::{CONFIG, Shop, bearing};

/// A token of the shop's service.
fn token(keygate: &Keygate, name: &str, limits: &[&str]) -> String {
    keygate.must(&[&["token", "create", "robot", "--name", name], limits].concat())
}

fn id(token: &str) -> &str {
    &token[5..17]
}

fn last_used(keygate: &Keygate, token: &str) -> Value {
    let shown = keygate.must(&["token", "show", id(token), "--json"]);
    serde_json::from_str::<Value>(&shown).unwrap()["last_used"].clone()
}

/// Waits until the use of a token is seen, and gives back from where it came.
fn seen_from(keygate: &Keygate, token: &str) -> Value {
    let used = wait_for("the use of a token to be seen", || Some(last_used(keygate, token)).filter(|used| !used.is_null()));
    assert!(used["at"].is_string(), "{used}");
    used["address"].clone()
}

fn manage(keygate: &Keygate, token: &str, target: &str) -> Answer {
    let request = Request::new("GET", target).header("Host", "localhost");
    request.header("Authorization", &format!("Bearer {token}")).send(CLIENT, keygate.portal).unwrap()
}

fn every_way_is_seen(shop: &Shop) {
    let keygate = &shop.keygate;
    // What refuses comes first, so that it would be seen by the time that the others are.
    let far = token(keygate, "far", &["--from", "10.0.0.0/8"]);
    assert_eq!(shop.ask("nginx", &bearing(&far)).status, 403);
    assert_eq!(manage(keygate, &far, "/api/v1/me").status, 403);
    let explained = token(keygate, "explained", &[]);
    let explain = ["explain", "--method", "GET", "--url", "http://shop.example.com/orders/7", "--token-stdin"];
    assert!(keygate.must_with(&explain, &explained).contains("allow"));

    let expected = |dialect: &str| match dialect {
        // Over HTTP nobody believes Envoy where it has not been said to be right.
        "envoy" => Value::Null,
        _ => json!(CLIENT),
    };
    let by_dialect: Vec<_> = DIALECTS.into_iter().map(|dialect| (dialect, token(keygate, dialect, &[]))).collect();
    for (dialect, token) in &by_dialect {
        assert_eq!(shop.ask(dialect, &bearing(token)).status, 200, "{dialect}");
    }
    let over_unix = token(keygate, "unix", &[]);
    let mut stream = UnixStream::connect(keygate.folder.path().join("check.sock")).unwrap();
    stream.write_all(&call("nginx", &bearing(&over_unix)).head()).unwrap();
    assert_eq!(Answer::read(&mut stream, false).unwrap().status, 200);
    let manager = token(keygate, "manager", &["--scope", "manage"]);
    assert_eq!(manage(keygate, &manager, "/api/v1/me").status, 200);
    // Whoever is known has used his token, also where he may not.
    let curious = token(keygate, "curious", &["--scope", "manage"]);
    assert_eq!(manage(keygate, &curious, "/api/v1/policy").status, 403);

    for (dialect, token) in &by_dialect {
        assert_eq!(seen_from(keygate, token), expected(dialect), "{dialect}");
    }
    for token in [&over_unix, &manager, &curious] {
        assert_eq!(seen_from(keygate, token), json!(CLIENT));
    }
    for token in [&far, &explained] {
        assert_eq!(last_used(keygate, token), Value::Null);
    }

    // What is refused later changes nothing.
    let (_, token) = &by_dialect[0];
    let before = last_used(keygate, token);
    keygate.must(&["token", "revoke", id(token)]);
    assert_eq!(shop.ask("nginx", &bearing(token)).status, 401);
    assert_eq!(shop.ask("nginx", &bearing(&over_unix)).status, 200);
    let first = last_used(keygate, &over_unix);
    wait_for("a later use to be seen", || (last_used(keygate, &over_unix) != first).then_some(()));
    assert_eq!(last_used(keygate, token), before);
}

fn with_a_unix_socket() -> String {
    CONFIG.replace("[check]\n", "[check]\nunix = \"check.sock\"\n")
}

#[test]
fn a_use_is_seen_by_whichever_way_it_was_made() {
    every_way_is_seen(&Shop::start(&with_a_unix_socket()));
}

#[test]
fn a_use_is_seen_in_redis_too() {
    let server = Server::start(Program::Redis);
    every_way_is_seen(&Shop::on_redis(&with_a_unix_socket(), &server));
}

#[test]
fn a_use_just_before_the_end_is_written_down() {
    let mut shop = Shop::start(CONFIG);
    assert_eq!(shop.status(), 200);
    shop.keygate.stop();
    shop.keygate.restart();
    assert_eq!(last_used(&shop.keygate, &shop.token)["address"], json!(CLIENT));

    // A crash loses only what was not seen yet.
    let late = token(&shop.keygate, "late", &[]);
    assert_eq!(shop.ask("nginx", &bearing(&late)).status, 200);
    seen_from(&shop.keygate, &late);
    shop.keygate.kill();
    shop.keygate.restart();
    assert_eq!(last_used(&shop.keygate, &late)["address"], json!(CLIENT));
}

/// What cannot be written waits until it can.
#[test]
fn a_use_survives_an_outage_of_the_store() {
    let mut server = Server::start_with(Program::Redis, &["--appendonly", "yes", "--appendfsync", "always"]);
    let mut shop = Shop::on_redis(&format!("{CONFIG}\n[log]\nlevel = \"debug\"\n"), &server);
    assert_eq!(shop.status(), 200);
    server.kill();
    wait_for("a try in vain", || shop.keygate.log().contains("uses of tokens could not be written").then_some(()));
    server.restart();
    wait_for("being ready again", || (shop.keygate.ask("/readyz").unwrap().status == 200).then_some(()));
    assert_eq!(seen_from(&shop.keygate, &shop.token), json!(CLIENT));
    // Without the store it ends all the same.
    server.kill();
    shop.keygate.stop();
    assert_eq!(call("nginx", &shop.request()).send(PROXY, shop.keygate.check).ok().map(|answer| answer.status), None);
}
