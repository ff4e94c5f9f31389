//! A request that is sent again under its `Idempotency-Key` is carried out once, and a secret is told once.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use super::code;
use crate::support::{
    control::{Answer, CONFIG, Control},
    keygate::Keygate,
    redis::{Program, Server},
};

/// The log at its loudest: what it does not say then, it never says.
fn config() -> String {
    format!("{CONFIG}\n[log]\nlevel = \"trace\"\n")
}

async fn post(control: &Control, path: &str, key: &str, body: &Value) -> Answer {
    control.answer(control.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
}

fn assert_replayed(first: &Answer, again: &Answer) {
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    for name in ["location", "etag"] {
        assert_eq!(first.header(name), again.header(name), "{name}");
    }
    assert_eq!(first.status, again.status);
}

#[tokio::test]
async fn the_same_request_under_the_same_key_is_carried_out_once() {
    let control = Control::start();
    let vera = json!({ "login": "vera", "password": "correct horse" });
    let first = post(&control, "/accounts", "a", &vera).await;
    let again = post(&control, "/accounts", "a", &vera).await;
    assert_eq!((first.status, &first.body), (201, &again.body));
    assert_replayed(&first, &again);
    let without = control.send(Method::POST, "/accounts", &vera).await;
    assert_eq!((without.status, code(&without.body)), (409, "login_taken"));

    for (path, body) in [
        ("/accounts", json!({ "login": "vera", "password": "battery staple" })),
        ("/accounts", json!({ "login": "wera" })),
        ("/sites", json!({ "id": "shop" })),
    ] {
        let other = post(&control, path, "a", &body).await;
        let told = (other.status, code(&other.body), &other.body["field"]);
        assert_eq!(told, (422, "idempotency_key_reused", &json!("Idempotency-Key")), "{path} {body}");
    }

    let shop = json!({ "id": "shop" });
    let first = post(&control, "/sites", "b", &shop).await;
    assert_replayed(&first, &post(&control, "/sites", "b", &shop).await);
    // Of the record it is the state of now that is told.
    control.send(Method::PATCH, "/sites/shop", &json!({ "name": "Shop" })).await;
    let later = post(&control, "/sites", "b", &shop).await;
    assert_eq!((later.status, &later.body["name"], later.header("etag")), (201, &json!("Shop"), "\"2\""));
    control.send(Method::DELETE, "/sites/shop", &json!({})).await;
    let gone = post(&control, "/sites", "b", &shop).await;
    assert_eq!((gone.status, code(&gone.body)), (404, "site_not_found"));

    let (first, again) = (
        post(&control, "/accounts/vera/revoke-all", "c", &json!({})).await,
        post(&control, "/accounts/vera/revoke-all", "c", &json!({})).await,
    );
    assert_eq!((first.status, &first.body["version"]), (200, &again.body["version"]));
    assert_replayed(&first, &again);
}

#[tokio::test]
async fn what_was_refused_may_be_sent_again_under_its_key() {
    let control = Control::start();
    let token = json!({ "account": "vera", "name": "x" });
    assert_eq!(post(&control, "/tokens", "a", &token).await.status, 404);
    control.send(Method::POST, "/accounts", &json!({ "login": "vera" })).await;
    let made = post(&control, "/tokens", "a", &token).await;
    assert_eq!((made.status, made.header("idempotency-replayed")), (201, ""));
}

#[tokio::test]
async fn the_key_of_another_caller_is_another_key() {
    let control = Control::start();
    control.send(Method::POST, "/accounts", &json!({ "login": "ada", "superuser": true })).await;
    let manage = |name: &str| json!({ "account": "ada", "name": name, "scopes": ["manage"] });
    let mut tokens = Vec::new();
    for name in ["one", "two"] {
        let made = control.send(Method::POST, "/tokens", &manage(name)).await.body;
        tokens.push(made["token"].as_str().unwrap().to_owned());
    }
    let ask = |token: &str, id: &str| {
        let request = control.request(Method::POST, "/sites").bearer_auth(token).header("Idempotency-Key", "a");
        control.answer(request.json(&json!({ "id": id })))
    };
    assert_eq!(ask(&tokens[0], "one").await.status, 201);
    assert_eq!(post(&control, "/sites", "a", &json!({ "id": "control" })).await.status, 201);
    let other_account = control.send(Method::POST, "/accounts", &json!({ "login": "eve", "superuser": true })).await;
    assert_eq!(other_account.status, 201);
    let eve = json!({ "account": "eve", "name": "x", "scopes": ["manage"] });
    let eve = control.send(Method::POST, "/tokens", &eve).await.body["token"].as_str().unwrap().to_owned();
    assert_eq!(ask(&eve, "eve").await.status, 201);
    // Nobody learns from it what another did.
    let taken = ask(&eve, "one").await;
    assert_eq!((taken.status, code(&taken.body)), (422, "idempotency_key_reused"));
    assert_eq!(ask(&tokens[0], "one").await.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn two_at_once_under_one_key_make_one() {
    let control = Control::start();
    control.send(Method::POST, "/accounts", &json!({ "login": "vera" })).await;
    for round in 0..5 {
        let (key, body) = (format!("key-{round}"), json!({ "account": "vera", "name": format!("round {round}") }));
        let answers = futures_util::future::join_all((0..4).map(|_| post(&control, "/tokens", &key, &body))).await;
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        let told = answers.iter().filter(|answer| answer.body["token"].is_string()).count();
        let ids: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.body["record"]["id"].to_string()).collect();
        assert_eq!((told, ids.len()), (1, 1), "{answers:?}");
    }
    assert_eq!(control.get("/tokens?account=vera").await.body["items"].as_array().unwrap().len(), 5);
}

/// Makes and replaces a token, each twice under one key, with a crash in between; gives back the secrets that were told.
async fn told_once(mut control: Control) -> (Control, Vec<String>) {
    control.send(Method::POST, "/accounts", &json!({ "login": "vera" })).await;
    let mut secrets = Vec::new();
    let mut path = "/tokens".to_owned();
    let mut body = json!({ "account": "vera", "name": "x" });
    for key in ["mint", "rotate"] {
        let first = post(&control, &path, key, &body).await;
        secrets.push(first.body["token"].as_str().unwrap().to_owned());
        // At once after the answer.
        control.keygate.kill();
        control.keygate.restart();
        control = Control::of(control.keygate);
        let again = post(&control, &path, key, &body).await;
        assert_replayed(&first, &again);
        assert_eq!((&again.body["token"], &again.body["record"]), (&Value::Null, &first.body["record"]));
        path = format!("/tokens/{}/rotate", first.body["record"]["id"].as_str().unwrap());
        body = json!({ "grace": "1h" });
    }
    (control, secrets)
}

fn assert_nowhere(secrets: &[String], place: &str, bytes: &[u8]) {
    assert!(!bytes.is_empty(), "{place} is empty: nothing was looked through");
    for secret in secrets {
        let found = bytes.windows(32).any(|part| part == &secret.as_bytes()[17..49]);
        assert!(!found, "a secret is in {place}");
    }
}

#[tokio::test]
async fn a_replay_after_a_crash_finds_the_token_but_not_its_secret_in_the_embedded_store() {
    let (mut control, secrets) = told_once(Control::of(Keygate::start(&config()))).await;
    control.keygate.stop();
    assert_nowhere(&secrets, "the log", control.keygate.log().as_bytes());
    for entry in fs::read_dir(control.data_dir()).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            if !bytes.is_empty() {
                assert_nowhere(&secrets, &entry.path().display().to_string(), &bytes);
            }
        }
    }
}

#[tokio::test]
async fn a_replay_after_a_crash_finds_the_token_but_not_its_secret_in_redis() {
    let server = Server::start_with(Program::Redis, &["--rdbcompression", "no", "--dbfilename", "dump.rdb"]);
    let mut keygate = Keygate::prepare_on_redis(&config(), &server.url());
    keygate.restart();
    let (control, secrets) = told_once(Control::of(keygate)).await;
    assert_nowhere(&secrets, "the log", control.keygate.log().as_bytes());
    server.command(&["SAVE"]);
    assert_nowhere(&secrets, "the dump", &fs::read(server.directory().join("dump.rdb")).unwrap());
}
