//! The audit trail as a running Keygate keeps it: every change, every refused attempt, in the store and in the log.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    control::{Answer, CONFIG, Control},
    keygate::Keygate,
    redis::{Program, Server},
};

const JSON_LOG: &str = "[log]\nformat = \"json\"\n\n[audit]\nrefused_entries = 1000\n";

/// All events, page by page.
async fn events(control: &Control, query: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = control.get(&format!("/audit?limit=7&{query}{cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let items = page.body["items"].as_array().unwrap().clone();
        let is_last = items.is_empty();
        events.extend(items);
        match page.body["next"].as_str() {
            Some(next) if !(is_last && query.contains("oldest")) => cursor = format!("&cursor={next}"),
            _ => return events,
        }
    }
}

fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let [action, outcome] = ["action", "outcome"].map(|name| text(&event[name]));
    format!("{} {action} {} {outcome}", text(&event["actor"]["account"]).split(':').next().unwrap(), text(&event["target"]["id"]))
}

/// Some changes, and attempts that are refused. Gives back all secrets that were shown.
async fn do_things(control: &Control) -> Vec<String> {
    let secret = |answer: &Answer| answer.body["token"].as_str().unwrap().to_owned();
    control.send(Method::POST, "/sites", &json!({ "id": "shop" })).await;
    let password = "correct horse battery";
    control.send(Method::POST, "/accounts", &json!({ "login": "vera", "password": password })).await;
    control.send(Method::PATCH, "/accounts/vera", &json!({ "name": "Vera", "password": "another one of them" })).await;
    control.send(Method::PUT, "/access/vera/shop", &json!({ "level": "write" })).await;
    let manage = control.send(Method::POST, "/tokens", &json!({ "account": "vera", "name": "job", "scopes": ["manage"] })).await;
    let id = manage.body["record"]["id"].as_str().unwrap().to_owned();
    let rotated = control.send(Method::POST, &format!("/tokens/{id}/rotate"), &json!({ "grace": "1h" })).await;
    let bearer = |method, path: &str| control.request(method, path).bearer_auth(secret(&manage));
    assert_eq!(control.answer(bearer(Method::DELETE, "/sites/shop")).await.status, 403);
    assert_eq!(control.answer(bearer(Method::POST, "/accounts").json(&json!({ "login": "zoe" }))).await.status, 403);
    assert_eq!(control.answer(bearer(Method::DELETE, "/tokens/AbCdEfGh0123")).await.status, 404);
    control.answer(control.request(Method::DELETE, &format!("/tokens/{id}"))).await;
    control.answer(control.request(Method::DELETE, "/access/vera/shop")).await;
    vec![secret(&manage), secret(&rotated), password.to_owned(), "another one of them".to_owned()]
}

const DONE: &str = "\
control site.create shop done
control account.create vera done
control account.update vera done
control access.set vera/shop done
control token.create ID done
control token.rotate ID done
vera site.delete shop refused
vera account.create zoe refused
vera token.revoke ID refused
control token.revoke ID done
control access.set vera/shop done";

fn without_ids(lines: &[String]) -> String {
    let without = |line: &String| {
        let words = line.split(' ').map(|word| if word.len() == 12 && !word.contains(['.', '/']) { "ID" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    lines.iter().map(without).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_change_and_every_refused_attempt_is_in_the_trail_and_in_the_log() {
    let mut control = Control::with(JSON_LOG);
    let secrets = do_things(&control).await;
    let trail = events(&control, "order=oldest").await;
    let lines: Vec<_> = trail.iter().map(line).collect();
    let in_parts = |text: &str| {
        let (refused, done): (Vec<_>, Vec<_>) = text.lines().map(str::to_owned).partition(|line| line.ends_with("refused"));
        (done, refused)
    };
    // Of two in one millisecond, one done and one refused, nobody can say which was first.
    assert_eq!(in_parts(&without_ids(&lines)), in_parts(DONE));

    let mut newest = events(&control, "order=newest").await;
    newest.reverse();
    assert_eq!(newest, trail);
    let of = async |query: &str| events(&control, &format!("order=oldest&{query}")).await.iter().map(line).collect::<Vec<_>>();
    assert_eq!(of("outcome=refused").await.len(), 3);
    assert_eq!(of("outcome=done").await.len(), 8);
    assert_eq!(of("action=token.create").await.len(), 1);
    assert_eq!(of("account=vera").await.len(), 10, "all but the making of the site");
    assert_eq!(of("account=nobody").await.len(), 0);
    assert_eq!(of("since=2100-01-01T00:00:00Z").await.len(), 0);
    assert_eq!(of("since=2020-01-01T00:00:00Z").await.len(), 11);

    // Only what changed, and no secret.
    let update = trail.iter().find(|event| event["action"] == "account.update").unwrap();
    assert_eq!(update["before"], json!({ "name": null, "version": 1 }));
    assert_eq!(update["after"], json!({ "name": "Vera", "version": 2, "password": "changed" }));
    let refused = trail.iter().find(|event| event["action"] == "site.delete").unwrap();
    assert_eq!(refused["reason"], "superuser_required");
    assert!(refused["actor"]["credential"].is_string() && refused["request_id"].is_string(), "{refused}");

    control.keygate.stop();
    let log = control.keygate.log();
    let told: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told: Vec<&Value> = told.iter().filter(|line: &&Value| line["target"] == "audit").collect();
    assert_eq!(told.len(), trail.len());
    let by_outcome = |outcome: &'static str| {
        let told = told.iter().filter(move |line| line["event"]["outcome"] == outcome);
        told.zip(trail.iter().filter(move |event| event["outcome"] == outcome))
    };
    for (told, event) in by_outcome("done").chain(by_outcome("refused")) {
        // The store gives it its id.
        let mut told = told["event"].clone();
        told["id"] = event["id"].clone();
        assert_eq!(&told, event);
    }
    let everything = format!("{}{log}", Value::Array(trail));
    for secret in secrets {
        assert!(!everything.contains(&secret), "a secret is in the trail or in the log");
    }
}

#[tokio::test]
async fn a_flood_of_refused_attempts_pushes_no_change_out() {
    let server = Server::start(Program::Redis);
    for keygate in [Keygate::prepare(&config()), Keygate::prepare_on_redis(&config(), &server.url())] {
        let mut keygate = keygate;
        keygate.restart();
        let control = Control::of(keygate);
        do_things(&control).await;
        for n in 0..1500 {
            let refused = control.answer(control.request(Method::DELETE, &format!("/sites/nothing{n}"))).await;
            assert_eq!(refused.status, 404);
        }
        assert_eq!(events(&control, "order=oldest&outcome=done").await.len(), 8);
        let refused = events(&control, "order=oldest&outcome=refused").await;
        assert!((1000..1400).contains(&refused.len()), "{}", refused.len());
        assert_eq!(refused.last().unwrap()["target"]["id"], "nothing1499");
    }
}

fn config() -> String {
    format!("{CONFIG}\n{JSON_LOG}")
}

#[tokio::test]
async fn what_takes_rights_away_does_not_fail_for_want_of_the_trail() {
    let server = Server::start(Program::Redis);
    let mut keygate = Keygate::prepare_on_redis(&config(), &server.url());
    keygate.restart();
    let control = Control::of(keygate);
    control.send(Method::POST, "/sites", &json!({ "id": "shop" })).await;
    control.send(Method::POST, "/accounts", &json!({ "login": "vera", "superuser": true })).await;
    control.send(Method::POST, "/accounts", &json!({ "login": "ada", "superuser": true })).await;
    control.send(Method::POST, "/accounts", &json!({ "login": "ci", "kind": "service" })).await;
    control.send(Method::PUT, "/access/ci/shop", &json!({ "level": "write" })).await;
    let token = control.send(Method::POST, "/tokens", &json!({ "account": "ci", "name": "job" })).await;
    let id = token.body["record"]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.command(&["DEL", "kg:a:{d}:changes"]), ":1");
    assert_eq!(server.command(&["SET", "kg:a:{d}:changes", "not a stream"]), "+OK");

    // Nothing is given without a word in the trail.
    for (method, path, body) in [
        (Method::POST, "/tokens".to_owned(), json!({ "account": "ci", "name": "another" })),
        (Method::POST, "/accounts".to_owned(), json!({ "login": "zoe" })),
        (Method::PUT, "/access/ci/shop".to_owned(), json!({ "level": "admin" })),
        (Method::POST, format!("/tokens/{id}/rotate"), json!({})),
    ] {
        let refused = control.send(method, &path, &body).await;
        assert_eq!(refused.status, 500, "{path}: {refused:?}");
    }
    assert_eq!(control.get("/accounts/zoe").await.status, 404);
    for (method, path, body) in [
        (Method::PUT, "/access/ci/shop".to_owned(), json!({ "level": "view" })),
        (Method::DELETE, format!("/tokens/{id}"), Value::Null),
        (Method::POST, "/accounts/ci/revoke-all".to_owned(), json!({})),
        (Method::PATCH, "/accounts/ci".to_owned(), json!({ "disabled": true })),
        (Method::PATCH, "/accounts/vera".to_owned(), json!({ "superuser": false })),
        (Method::DELETE, "/sites/shop".to_owned(), Value::Null),
        (Method::DELETE, "/accounts/ci".to_owned(), Value::Null),
    ] {
        let done = control.send(method, &path, &body).await;
        assert!(done.status < 300, "{path}: {done:?}");
    }
    assert!(control.keygate.log().contains("kg:a:{d}:changes") || control.keygate.log().contains("trail"), "the log tells of it");
}
