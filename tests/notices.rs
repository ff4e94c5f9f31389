//! Tokens that need somebody's care: the trail has it, the metrics count it, and the webhook is told.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::dialects::{DIALECTS, PROXY};
use crate::support::house::CLIENT;
use crate::support::http::Request;
use crate::support::keygate::Keygate;
use crate::support::portal::Portal;
use crate::support::programs::wait_for;
use crate::support::redis::{Program, Server};
use crate::support::shop::{CONFIG, Shop, bearing};

/// As some services have it: whoever knows the URL may post.
const SECRET: &str = "hook-key-7d1f";

/// A receiver that answers so in turn, and the last for ever after.
fn receiver(answers: &'static [u16]) -> Portal {
    let asked = AtomicU32::new(0);
    Portal::start(move |_| {
        let turn = asked.fetch_add(1, Ordering::Relaxed) as usize;
        (answers[turn.min(answers.len() - 1)], "Location: /elsewhere\r\n", String::new())
    })
}

fn config(receiver: &Portal, tokens: &str) -> String {
    format!(
        "{CONFIG}\n[tokens]\n{tokens}\n[log]\nlevel = \"trace\"\n[notify]\nwebhook = \"{}/hook/{SECRET}?key={SECRET}\"\n",
        receiver.url()
    )
}

fn id(token: &str) -> &str {
    &token[5..17]
}

fn trail(keygate: &Keygate, action: &str) -> Vec<Value> {
    let audit: Vec<Value> = serde_json::from_str(&keygate.must(&["audit", "--json"])).unwrap();
    audit.into_iter().filter(|event| event["action"] == action).collect()
}

/// What the webhook was told of this action, once it is.
fn told(receiver: &Portal, action: &str) -> Vec<Value> {
    wait_for(action, || {
        let bodies: Vec<_> = receiver.asked().into_iter().map(|asked| asked.body).filter(|body| body["action"] == action).collect();
        Some(bodies).filter(|bodies| !bodies.is_empty())
    })
}

#[test]
fn a_leak_is_reported_once_and_ends_the_family() {
    let receiver = receiver(&[500, 204]);
    one_report(&Shop::start(&config(&receiver, "leak = \"revoke_family\"")), &receiver);
}

#[test]
fn a_leak_is_reported_from_redis_too() {
    let (receiver, server) = (receiver(&[500, 204]), Server::start(Program::Redis));
    one_report(&Shop::on_redis(&config(&receiver, "leak = \"revoke_family\""), &server), &receiver);
}

fn one_report(shop: &Shop, receiver: &Portal) {
    let keygate = &shop.keygate;
    let other = keygate.must(&["token", "create", "robot", "--name", "other"]);
    let successor = keygate.must(&["token", "rotate", id(&shop.token)]);
    for request in [bearing(&successor), bearing(&other)] {
        assert_eq!(shop.ask("nginx", &request).status, 200);
    }
    assert_eq!(keygate.metric("keygate_token_leaks_total"), Some(0));
    for dialect in DIALECTS {
        let refused = shop.ask(dialect, &shop.request());
        assert_eq!((refused.status, refused.reason()), (401, "superseded"), "{dialect}");
    }
    wait_for("the family to end", || (shop.ask("nginx", &bearing(&successor)).status == 401).then_some(()));
    assert_eq!(shop.ask("nginx", &bearing(&successor)).reason(), "revoked");
    assert_eq!(shop.ask("nginx", &bearing(&other)).status, 200);

    // Told again because the first answer was an error, and the same: the line of the trail.
    wait_for("the second try", || (keygate.metric("keygate_notices_total{outcome=\"delivered\"}") == Some(1)).then_some(()));
    let asked = receiver.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].line, format!("POST /hook/{SECRET}?key={SECRET}"));
    assert_eq!(asked[0].content_type.as_deref(), Some("application/json"));
    let events = trail(keygate, "token.leak");
    assert_eq!(events.len(), 1);
    assert_eq!([&asked[0].body, &asked[1].body], [&events[0], &events[0]]);
    let event = &events[0];
    assert_eq!(event["actor"], json!({ "account": "robot", "credential": id(&shop.token), "address": CLIENT }));
    assert_eq!(event["target"], json!({ "type": "token", "id": id(&shop.token) }));
    assert_eq!(event["after"], json!({ "account": "robot", "successor": id(&successor), "revoked_family": true }));
    let shown: Value = serde_json::from_str(&keygate.must(&["token", "show", id(&successor), "--json"])).unwrap();
    assert_eq!(shown["revoked_by"], json!("system:leak"));
    assert_eq!(shown["revoked_because"], json!(format!("leak of {}", id(&shop.token))));
    assert_eq!(keygate.metric("keygate_token_leaks_total"), Some(1));
    assert!(!keygate.log().contains(SECRET));
}

#[test]
fn a_leak_at_the_api_is_one_too_and_a_receiver_that_refuses_is_asked_once() {
    let receiver = receiver(&[307]);
    let shop = Shop::start(&config(&receiver, ""));
    let keygate = &shop.keygate;
    let old = keygate.must(&["token", "create", "robot", "--name", "manager", "--scope", "manage"]);
    let new = keygate.must(&["token", "rotate", id(&old)]);
    let me = |token: &str| {
        let request = Request::new("GET", "/api/v1/me").header("Host", "localhost");
        request.header("Authorization", &format!("Bearer {token}")).send(PROXY, keygate.portal).unwrap().status
    };
    assert_eq!((me(&old), me(&old)), (401, 401));
    wait_for("the failure to be counted", || {
        (keygate.metric("keygate_notices_total{outcome=\"failed\"}") == Some(1)).then_some(())
    });
    assert_eq!(receiver.asked().len(), 1);
    assert_eq!(me(&new), 200);
    let events = trail(keygate, "token.leak");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["after"]["revoked_family"], json!(false));
    let log = keygate.log();
    assert!(log.contains("a notice could not be delivered") && log.contains("it answered 307"), "{log}");
    assert!(!log.contains(SECRET) && !log.contains("/hook"));
}

#[test]
fn tokens_that_end_or_rest_are_told_of() {
    let receiver = receiver(&[200]);
    let mut shop = Shop::start(&config(&receiver, "unused_after = \"10m\"\nwarn_before = \"2d\""));
    let ending = shop.keygate.must(&["token", "create", "robot", "--name", "ending", "--expires", "1d"]);
    let lasting = shop.keygate.must(&["token", "create", "robot", "--name", "lasting", "--expires", "3d"]);
    let expiring = told(&receiver, "token.expiring");
    assert_eq!(expiring, trail(&shop.keygate, "token.expiring"));
    assert_eq!(expiring[0]["target"]["id"], json!(id(&ending)));
    assert_eq!(expiring[0]["after"]["name"], json!("ending"));
    assert_eq!(expiring[0]["actor"]["account"], json!("system:upkeep"));

    // Under other rules another start finds others; what was told is not told again.
    shop.keygate.stop();
    shop.keygate.write_config(&config(&receiver, "unused_after = \"1s\"\nwarn_before = \"2d\""));
    shop.keygate.restart();
    let both = wait_for("all to be told of", || Some(trail(&shop.keygate, "token.unused")).filter(|events| events.len() == 3));
    for token in [&ending, &lasting, &shop.token] {
        assert!(both.iter().any(|event| event["target"]["id"] == json!(id(token))), "{token}");
    }
    wait_for("all to be sent", || (receiver.asked().len() == 4).then_some(()));
    assert_eq!(trail(&shop.keygate, "token.expiring").len(), 1);
}
