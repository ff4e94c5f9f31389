//! The management API as a client sees it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::control::Control;

/// Takes out what differs from run to run.
fn without(mut value: Value, names: &[&str]) -> Value {
    for name in names {
        assert!(value[*name].is_string(), "{name} in {value}");
        value.as_object_mut().unwrap().remove(*name);
    }
    value
}

fn code(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().strip_prefix("about:blank#").unwrap()
}

#[tokio::test]
async fn an_account_from_creation_to_deletion() {
    let control = Control::start();
    let made =
        control.send(Method::POST, "/accounts", &json!({ "login": "vera", "name": "Vera", "password": "correct horse" })).await;
    assert_eq!((made.status, made.header("location"), made.header("etag")), (201, "/api/v1/accounts/vera", "\"1\""));
    assert_eq!(made.header("cache-control"), "no-store");
    assert!(made.body["id"].as_str().unwrap().starts_with("acc_"));
    let vera = json!({
        "login": "vera", "kind": "human", "name": "Vera", "email": null, "superuser": false, "disabled": false,
        "may_mint_tokens": true, "version": 1
    });
    assert_eq!(without(made.body.clone(), &["id", "created_at"]), vera);
    assert_eq!(control.get("/accounts/VERA").await.body, made.body);

    let twice = control.send(Method::POST, "/accounts", &json!({ "login": "Vera" })).await;
    assert_eq!((twice.status, code(&twice.body), &twice.body["field"]), (409, "login_taken", &json!("login")));
    assert_eq!(twice.header("content-type"), "application/problem+json");

    let patch = json!({ "login": "wera", "name": null, "email": "v@example.com", "may_mint_tokens": false });
    let stale = control.answer(control.request(Method::PATCH, "/accounts/vera").header("If-Match", "\"7\"").json(&patch)).await;
    assert_eq!((stale.status, code(&stale.body)), (412, "version_differs"));
    let changed = control.answer(control.request(Method::PATCH, "/accounts/vera").header("If-Match", "\"1\"").json(&patch)).await;
    assert_eq!((changed.status, changed.header("etag"), &changed.body["name"]), (200, "\"2\"", &Value::Null));
    assert_eq!((&changed.body["id"], &changed.body["login"]), (&made.body["id"], &json!("wera")));
    assert_eq!(control.get("/accounts/vera").await.status, 404);

    let gone = control.answer(control.request(Method::DELETE, "/accounts/wera?wait=true")).await;
    assert_eq!((gone.status, gone.body), (204, Value::Null));
    let missing = control.get("/accounts/wera").await;
    let problem = json!({
        "type": "about:blank#account_not_found", "title": "Not Found", "status": 404, "detail": "there is no account `wera`",
        "field": null, "limit": null
    });
    assert_eq!((missing.status, without(missing.body, &["request_id"])), (404, problem));
}

#[tokio::test]
async fn sites_and_access() {
    let control = Control::start();
    let shop = json!({ "id": "shop", "name": "Shop", "hosts": ["shop.example.com"] });
    let made = control.send(Method::POST, "/sites", &shop).await;
    let expected = json!({ "id": "shop", "name": "Shop", "hosts": ["shop.example.com"], "version": 1 });
    assert_eq!((made.status, made.header("location"), &made.body), (201, "/api/v1/sites/shop", &expected));
    let taken = control.send(Method::POST, "/sites", &json!({ "id": "blog", "hosts": ["SHOP.example.com:80"] })).await;
    assert_eq!((taken.status, code(&taken.body)), (409, "host_taken"));

    control.send(Method::POST, "/accounts", &json!({ "login": "ci", "kind": "service" })).await;
    let set = control.send(Method::PUT, "/access/ci/shop", &json!({ "level": "view" })).await;
    let row = json!({ "login": "ci", "site": "shop", "level": "view" });
    assert_eq!((set.status, &set.body), (200, &row));
    for path in ["/access", "/access?login=ci", "/access?site=shop", "/access?login=ci&site=shop"] {
        assert_eq!(control.get(path).await.body, json!({ "items": [row], "next": null }), "{path}");
    }
    for (path, level, status, expected) in [
        ("/access/anonymous/shop", "write", 403, "anonymous_access"),
        ("/access/ci/shop", "superuser", 422, "access_level"),
        ("/access/ci/shop", "root", 422, "access_level"),
        ("/access/ci/nowhere", "view", 404, "site_not_found"),
        ("/access/nobody/shop", "view", 404, "account_not_found"),
    ] {
        let refused = control.send(Method::PUT, path, &json!({ "level": level })).await;
        assert_eq!((refused.status, code(&refused.body)), (status, expected), "{path} {level}");
    }
    assert_eq!(control.answer(control.request(Method::DELETE, "/access/ci/shop")).await.status, 204);
    assert_eq!(control.get("/access").await.body["items"], json!([]));
}

#[tokio::test]
async fn a_token_is_shown_once_and_revoked_for_good() {
    let control = Control::start();
    control.send(Method::POST, "/sites", &json!({ "id": "shop" })).await;
    control.send(Method::POST, "/accounts", &json!({ "login": "ci", "kind": "service" })).await;
    let ask = json!({
        "account": "ci", "name": "nightly job", "levels": { "shop": "view" }, "scopes": ["reporting"],
        "networks": ["192.0.2.1"], "expires_in": "90d"
    });
    let made = control.send(Method::POST, "/tokens", &ask).await;
    assert_eq!(made.status, 201);
    let text = made.body["token"].as_str().unwrap();
    assert!(text.starts_with("kg_s_") && text.len() == 55, "{}", text.len());
    let record = made.body["record"].clone();
    let created_by = record["created_by"].as_str().unwrap().strip_prefix("control:").unwrap();
    assert!(created_by.parse::<u32>().is_ok());
    let expected = json!({
        "account": "ci", "kind": "service", "name": "nightly job", "device": null, "levels": { "shop": "view" },
        "scopes": ["reporting"], "networks": ["192.0.2.1/32"], "secure_only": false, "revoked_at": null, "revoked_by": null,
        "superseded_by": null, "last_used": null, "state": "active", "version": 1
    });
    assert_eq!(without(record.clone(), &["id", "created_at", "created_by", "expires_at"]), expected);

    let id = record["id"].as_str().unwrap();
    let secret = &text[17..];
    for path in [format!("/tokens/{id}"), "/tokens".to_owned(), "/tokens?account=ci".to_owned()] {
        let answer = control.get(&path).await;
        assert!(answer.status == 200 && !answer.body.to_string().contains(secret), "{path}");
    }
    let described = control.send(Method::PATCH, &format!("/tokens/{id}"), &json!({ "device": "rack 7" })).await;
    assert_eq!((described.status, &described.body["device"]), (200, &json!("rack 7")));

    let rotated = control.send(Method::POST, &format!("/tokens/{id}/rotate"), &json!({ "grace": "1h" })).await;
    assert_eq!((rotated.status, &rotated.body["record"]["levels"]), (201, &json!({ "shop": "view" })));
    let old = control.get(&format!("/tokens/{id}")).await.body;
    assert_eq!((&old["state"], &old["superseded_by"]), (&json!("active"), &rotated.body["record"]["id"]));

    for _ in 0..2 {
        let revoked = control.answer(control.request(Method::DELETE, &format!("/tokens/{id}?wait=true"))).await;
        assert_eq!((revoked.status, &revoked.body["state"], &revoked.body["version"]), (200, &json!("revoked"), &json!(4)));
    }
    let all = control.send(Method::POST, "/accounts/ci/revoke-all", &json!({})).await;
    assert_eq!(all.status, 200);
    let tokens = control.get("/tokens?account=ci").await.body;
    assert!(tokens["items"].as_array().unwrap().iter().all(|token| token["state"] == "revoked"));
}

#[tokio::test]
async fn lists_come_in_parts() {
    let control = Control::start();
    for index in 0..5 {
        control.send(Method::POST, "/accounts", &json!({ "login": format!("user{index}") })).await;
    }
    let mut logins = Vec::new();
    let mut path = "/accounts?limit=2".to_owned();
    loop {
        let page = control.get(&path).await.body;
        logins.extend(page["items"].as_array().unwrap().iter().map(|account| account["login"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/accounts?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(logins, ["anonymous", "user0", "user1", "user2", "user3", "user4"]);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let control = Control::start();
    control.send(Method::POST, "/accounts", &json!({ "login": "ci", "kind": "service" })).await;
    let long = "x".repeat(101);
    for (method, path, body, status, expected, field, limit) in [
        (Method::POST, "/accounts", json!({}), 422, "body_invalid", None, None),
        (Method::POST, "/accounts", json!({ "login": "a", "pass": 1 }), 422, "body_invalid", None, None),
        (Method::POST, "/accounts", json!({ "login": "a b" }), 422, "login_characters", Some("login"), None),
        (
            Method::POST,
            "/accounts",
            json!({ "login": "a", "password": "short" }),
            422,
            "password_too_short",
            Some("password"),
            Some(8),
        ),
        (Method::POST, "/accounts", json!({ "login": "a", "kind": "anonymous" }), 422, "account_kind", Some("kind"), None),
        (Method::POST, "/tokens", json!({ "account": "ci", "name": long }), 422, "token_name_too_long", Some("name"), Some(100)),
        (Method::POST, "/tokens", json!({ "account": "ci", "name": " " }), 422, "token_name_empty", Some("name"), None),
        (Method::POST, "/tokens", json!({ "account": "no", "name": "x" }), 404, "account_not_found", None, None),
        (
            Method::POST,
            "/tokens",
            json!({ "account": "ci", "name": "x", "networks": ["x"] }),
            422,
            "network_malformed",
            Some("networks"),
            None,
        ),
        (Method::POST, "/tokens", json!({ "account": "ci", "name": "x", "levels": {} }), 422, "token_level", Some("levels"), None),
        (
            Method::POST,
            "/tokens",
            json!({ "account": "ci", "name": "x", "levels": { "*": "view", "shop": "view" } }),
            422,
            "token_level",
            Some("levels"),
            None,
        ),
        (
            Method::POST,
            "/tokens",
            json!({ "account": "ci", "name": "x", "expires_at": "2020-01-01T00:00:00Z" }),
            422,
            "expiry_in_the_past",
            Some("expires_at"),
            None,
        ),
        (Method::PATCH, "/accounts/anonymous", json!({ "disabled": true }), 403, "built_in_account", None, None),
        (Method::GET, "/accounts?limit=1001", json!({}), 422, "query_invalid", Some("limit"), Some(1000)),
        (Method::GET, "/accounts?cursor=%21", json!({}), 422, "query_invalid", Some("cursor"), None),
        (Method::GET, "/accounts?colour=red", json!({}), 422, "query_invalid", None, None),
        (Method::GET, "/tokens/short", json!({}), 404, "token_not_found", None, None),
        (Method::GET, "/sessions", json!({}), 404, "not_available", None, None),
        (Method::GET, "/audit", json!({}), 404, "not_available", None, None),
        (Method::GET, "/me", json!({}), 404, "not_available", None, None),
        (Method::GET, "/nothing", json!({}), 404, "not_found", None, None),
        (Method::PUT, "/accounts", json!({}), 405, "method_not_allowed", None, None),
    ] {
        let answer = control.send(method, path, &body).await;
        assert_eq!((answer.status, code(&answer.body)), (status, expected), "{path} {body}");
        assert_eq!((&answer.body["field"], &answer.body["limit"]), (&json!(field), &json!(limit)), "{path} {body}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn no_answer_repeats_what_may_be_a_secret() {
    let control = Control::start();
    for body in [json!({ "login": "a", "superuser": "hunter2, expected" }), json!({ "login": "a", "password": { "hunter2": 1 } })] {
        let answer = control.send(Method::POST, "/accounts", &body).await;
        assert_eq!(code(&answer.body), "body_invalid");
        assert!(!answer.body.to_string().contains("hunter2"), "{}", answer.body);
    }
    let whole = "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf";
    let answer = control.get(&format!("/tokens/{whole}")).await;
    assert!(answer.status == 404 && !answer.body.to_string().contains("abcdef"), "{}", answer.body);
}

#[tokio::test]
async fn bodies_are_json_of_a_bounded_size() {
    let control = Control::start();
    let post = || control.request(Method::POST, "/accounts");
    for (request, status, expected) in [
        (post().header("Content-Type", "application/json").body("{"), 400, "body_malformed"),
        (post().header("Content-Type", "application/json").body(r#"{"login":"a","login":"b"}"#), 422, "body_invalid"),
        (post().header("Content-Type", "application/x-www-form-urlencoded").body("login=a"), 415, "not_json"),
        (post().json(&json!({ "login": "x".repeat(70_000) })), 413, "body_too_large"),
        (post().header("Idempotency-Key", "1").json(&json!({ "login": "a" })), 400, "not_available"),
    ] {
        let answer = control.answer(request).await;
        assert_eq!((answer.status, code(&answer.body)), (status, expected));
    }
    assert_eq!(control.get("/accounts").await.body["items"].as_array().unwrap().len(), 1);
}
