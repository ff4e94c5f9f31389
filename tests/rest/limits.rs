//! What is too long, too many or too deep is refused, and the problem says where and how much would do.

use reqwest::Method;
use serde_json::{Value, json};

use super::code;
use crate::support::{control::Control, http::Request};

fn text(length: u64) -> String {
    "x".repeat(usize::try_from(length).unwrap())
}

/// A field of a body: what it is too much of, the problem, and where the problem says it is.
fn fields() -> Vec<(Method, &'static str, Value, &'static str, &'static str, u64)> {
    let token = |field: &str, value: Value| {
        let mut body = json!({ "account": "ci", "name": "x" });
        body[field] = value;
        body
    };
    let hosts: Vec<_> = (0..101).map(|number| format!("h{number}.example")).collect();
    let networks: Vec<_> = (0..101).map(|number| format!("192.0.2.{number}")).collect();
    let scopes: Vec<_> = (0..101).map(|number| format!("s{number}")).collect();
    let levels: Value = (0..101).map(|number| (format!("s{number}"), json!("view"))).collect::<serde_json::Map<_, _>>().into();
    let (post, patch, put) = (Method::POST, Method::PATCH, Method::PUT);
    vec![
        (post.clone(), "/accounts", json!({ "login": text(101) }), "login_too_long", "login", 100),
        (post.clone(), "/accounts", json!({ "login": "a", "name": text(101) }), "account_name_too_long", "name", 100),
        (post.clone(), "/accounts", json!({ "login": "a", "email": text(250) + "@a.io" }), "email_too_long", "email", 254),
        (post.clone(), "/accounts", json!({ "login": "a", "password": text(7) }), "password_too_short", "password", 8),
        (post.clone(), "/accounts", json!({ "login": "a", "password": text(1025) }), "password_too_long", "password", 1024),
        (patch.clone(), "/accounts/ci", json!({ "login": text(101) }), "login_too_long", "login", 100),
        (patch.clone(), "/accounts/ci", json!({ "name": text(101) }), "account_name_too_long", "name", 100),
        (patch.clone(), "/accounts/ci", json!({ "email": text(250) + "@a.io" }), "email_too_long", "email", 254),
        (patch.clone(), "/accounts/ci", json!({ "password": text(1025) }), "password_too_long", "password", 1024),
        (post.clone(), "/sites", json!({ "id": text(65) }), "site_id_too_long", "id", 64),
        (post.clone(), "/sites", json!({ "id": "a", "name": text(101) }), "site_name_too_long", "name", 100),
        (post.clone(), "/sites", json!({ "id": "a", "hosts": [text(254)] }), "host_too_long", "hosts", 253),
        (post.clone(), "/sites", json!({ "id": "a", "hosts": hosts }), "too_many_hosts", "hosts", 100),
        (patch.clone(), "/sites/shop", json!({ "name": text(101) }), "site_name_too_long", "name", 100),
        (patch.clone(), "/sites/shop", json!({ "hosts": hosts }), "too_many_hosts", "hosts", 100),
        (put, "/access/ci/shop", json!({ "level": text(65) }), "level_too_long", "level", 64),
        (post.clone(), "/tokens", json!({ "account": text(101), "name": "x" }), "login_too_long", "account", 100),
        (post.clone(), "/tokens", token("name", json!(text(101))), "token_name_too_long", "name", 100),
        (post.clone(), "/tokens", token("device", json!(text(101))), "device_too_long", "device", 100),
        (post.clone(), "/tokens", token("scopes", json!([text(65)])), "scope_too_long", "scopes", 64),
        (post.clone(), "/tokens", token("scopes", json!(scopes)), "too_many_scopes", "scopes", 100),
        (post.clone(), "/tokens", token("networks", json!([text(65)])), "network_too_long", "networks", 64),
        (post.clone(), "/tokens", token("networks", json!(networks)), "too_many_networks", "networks", 100),
        (post.clone(), "/tokens", token("levels", levels), "too_many_sites", "levels", 100),
        (post.clone(), "/tokens", token("levels", json!({ text(65): "view" })), "site_id_too_long", "levels", 64),
        (post.clone(), "/tokens", token("levels", json!({ "shop": text(65) })), "level_too_long", "levels", 64),
        (post.clone(), "/tokens", token("expires_at", json!(text(65))), "time_too_long", "expires_at", 64),
        (post.clone(), "/tokens", token("expires_in", json!(text(25))), "duration_too_long", "expires_in", 24),
        (patch.clone(), "/tokens/AbCdEfGh0123", json!({ "name": text(101) }), "token_name_too_long", "name", 100),
        (patch, "/tokens/AbCdEfGh0123", json!({ "device": text(101) }), "device_too_long", "device", 100),
        (post.clone(), "/tokens/AbCdEfGh0123/rotate", json!({ "grace": text(25) }), "duration_too_long", "grace", 24),
        (post.clone(), "/tokens/AbCdEfGh0123/rotate", json!({ "grace": "31d" }), "grace_too_long", "grace", 2_592_000),
        (post.clone(), "/tokens/revoke", json!({ "name": text(129) }), "text_too_long", "name", 128),
        (post.clone(), "/tokens/revoke", json!({ "unused": text(25) }), "duration_too_long", "unused", 24),
        (post.clone(), "/tokens/revoke", json!({ "older_than": text(25) }), "duration_too_long", "older_than", 24),
        (post.clone(), "/tokens/revoke", json!({ "name": "x", "cursor": text(8193) }), "query_invalid", "cursor", 8192),
        (post.clone(), "/explain", json!({ "url": text(8193) }), "url_too_long", "url", 8192),
        (post.clone(), "/explain", json!({ "url": "http://a/", "method": text(65) }), "method_too_long", "method", 64),
        (post.clone(), "/explain", json!({ "url": "http://a/", "token": text(1025) }), "token_too_long", "token", 1024),
        (post, "/explain", json!({ "url": "http://a/", "from": text(65) }), "address_too_long", "from", 64),
    ]
}

#[tokio::test]
async fn one_too_many_is_refused_with_the_field_and_its_limit() {
    let control = Control::start();
    control.send(Method::POST, "/accounts", &json!({ "login": "ci" })).await;
    control.send(Method::POST, "/sites", &json!({ "id": "shop" })).await;
    for (method, path, body, expected, field, limit) in fields() {
        let answer = control.send(method, path, &body).await;
        let told = (answer.status, code(&answer.body), &answer.body["field"], &answer.body["limit"]);
        assert_eq!(told, (422, expected, &json!(field), &json!(limit)), "{path} {field}: {}", answer.body["detail"]);
    }
    let queries = [
        ("/accounts?limit=1001", "query_invalid", "limit", 1000),
        ("/tokens?expiring=", "duration_too_long", "expiring", 24),
        ("/tokens?unused=", "duration_too_long", "unused", 24),
        ("/audit?account=", "text_too_long", "account", 128),
        ("/audit?action=", "text_too_long", "action", 128),
        ("/audit?since=", "time_too_long", "since", 64),
        ("/audit?cursor=", "query_invalid", "cursor", 8192),
    ];
    for (path, expected, field, limit) in queries {
        let value = if path.ends_with('=') { text(limit + 1) } else { String::new() };
        let answer = control.get(&format!("{path}{value}")).await;
        let told = (answer.status, code(&answer.body), &answer.body["field"], &answer.body["limit"]);
        assert_eq!(told, (422, expected, &json!(field), &json!(limit)), "{path}");
    }
    let key = control.request(Method::POST, "/sites").header("Idempotency-Key", text(256)).json(&json!({ "id": "a" }));
    let answer = control.answer(key).await;
    let told = (answer.status, code(&answer.body), &answer.body["field"], &answer.body["limit"]);
    assert_eq!(told, (422, "idempotency_key_too_long", &json!("Idempotency-Key"), &json!(255)));
}

#[tokio::test]
async fn what_cannot_be_empty_is_not_taken_for_absent() {
    let control = Control::start();
    control.send(Method::POST, "/accounts", &json!({ "login": "ci" })).await;
    control.send(Method::POST, "/sites", &json!({ "id": "shop", "hosts": ["a.example"] })).await;
    for (method, path, field) in [
        (Method::POST, "/accounts", "kind"),
        (Method::POST, "/accounts", "superuser"),
        (Method::POST, "/accounts", "may_mint_tokens"),
        (Method::PATCH, "/accounts/ci", "login"),
        (Method::PATCH, "/accounts/ci", "superuser"),
        (Method::PATCH, "/accounts/ci", "disabled"),
        (Method::PATCH, "/accounts/ci", "may_mint_tokens"),
        (Method::PATCH, "/accounts/ci", "password"),
        (Method::POST, "/sites", "hosts"),
        (Method::PATCH, "/sites/shop", "hosts"),
        (Method::PUT, "/access/ci/shop", "level"),
        (Method::POST, "/tokens", "scopes"),
        (Method::POST, "/tokens", "networks"),
        (Method::POST, "/tokens", "secure_only"),
        (Method::PATCH, "/tokens/AbCdEfGh0123", "name"),
        (Method::POST, "/tokens/revoke", "dry_run"),
    ] {
        let mut body = match path {
            "/accounts" => json!({ "login": "new" }),
            "/sites" => json!({ "id": "new" }),
            "/tokens" => json!({ "account": "ci", "name": "new" }),
            _ => json!({}),
        };
        body[field] = Value::Null;
        let answer = control.send(method, path, &body).await;
        assert_eq!((answer.status, code(&answer.body), &answer.body["field"]), (422, "body_invalid", &json!(field)), "{path}");
    }
    assert_eq!(control.get("/sites/shop").await.body["hosts"], json!(["a.example"]));
}

#[tokio::test]
async fn no_input_is_too_odd_for_a_problem_document() {
    let control = Control::start();
    let deep = "[".repeat(20_000);
    let nested = format!(r#"{{"login":{deep}"#);
    let bodies: [(&[u8], u16, &str); 9] = [
        (nested.as_bytes(), 400, "body_malformed"),
        (deep.as_bytes(), 400, "body_malformed"),
        (b"{\"login\":\"\xff\"}", 400, "body_malformed"),
        (b"{\"login\":\"\\ud800\"}", 422, "body_invalid"),
        (b"{\"login\":\"a\\u0000b\"}", 422, "login_characters"),
        (b"{\"login\":\"a\",\"name\":\"a\\u0000b\"}", 422, "account_name_characters"),
        (b"{\"login\":1e400}", 422, "body_invalid"),
        (b"{\"login\":123456789012345678901234567890}", 422, "body_invalid"),
        (b"null", 422, "body_invalid"),
    ];
    for (body, status, expected) in bodies {
        let request = control.request(Method::POST, "/accounts").header("Content-Type", "application/json").body(body.to_vec());
        let answer = control.answer(request).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
        assert_eq!((answer.status, code(&answer.body)), (status, expected), "{shown}: {}", answer.body["detail"]);
    }
    for (path, status, expected, field) in [
        ("/accounts?limit=99999999999999999999", 422, "query_invalid", "limit"),
        ("/accounts?limit=-1", 422, "query_invalid", "limit"),
        ("/accounts?limit=1&limit=2", 422, "query_invalid", "limit"),
        ("/accounts?colour=red", 422, "query_invalid", "colour"),
        ("/accounts?%ff=1", 422, "query_invalid", "\u{fffd}"),
        ("/audit?outcome=maybe", 422, "query_invalid", "outcome"),
    ] {
        let answer = control.get(path).await;
        assert_eq!((answer.status, code(&answer.body), &answer.body["field"]), (status, expected, &json!(field)), "{path}");
    }
    // Nobody reads it.
    let with_body = control.answer(control.request(Method::GET, "/accounts").body("{")).await;
    assert_eq!(with_body.status, 200);
    for twice in ["If-Match", "Idempotency-Key"] {
        let (method, path) = if twice == "If-Match" { (Method::DELETE, "/accounts/a") } else { (Method::POST, "/accounts") };
        let request = control.request(method, path).header(twice, "\"1\"").header(twice, "\"2\"");
        let answer = control.answer(request).await;
        assert_eq!(answer.status, 400, "{twice}: {}", answer.body);
    }
}

#[test]
fn every_path_and_method_of_the_api_has_an_answer_in_json() {
    let control = Control::start();
    let local = std::net::IpAddr::from([127, 0, 0, 1]);
    for (method, path, status, expected) in [
        ("GET", "/api/v1/accounts/%ff", 404, "not_found"),
        ("GET", "/api/v1/accounts/%zz", 404, "not_found"),
        ("GET", "/api/v1/accounts/a%2", 404, "not_found"),
        ("GET", "/api/v1/accounts/", 404, "not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/v1", 404, "not_found"),
        ("GET", "/api", 404, "not_found"),
        ("GET", "/api/v2/accounts", 404, "not_found"),
        ("POST", "/api/nothing/at/all", 404, "not_found"),
        ("GET", "/api/v1/sessions/x", 405, "method_not_allowed"),
        ("GET", "/api/v1/accounts/a%2Fb", 401, "no_credential"),
        ("BREW", "/api/v1/accounts", 405, "method_not_allowed"),
    ] {
        let answer = Request::new(method, path).header("Host", "localhost").send(local, control.keygate.portal).unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{method} {path}: {answer:?}"));
        assert_eq!((answer.status, code(&body)), (status, expected), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
        assert!(body["request_id"].is_string(), "{method} {path}");
    }
}
