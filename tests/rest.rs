//! The management API as a client of the control socket sees it.

mod document;
mod fuzz;
mod idempotency;
mod limits;

use std::time::Duration;

use keygate::clock::{Clock, SystemClock};
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
        "may_mint_tokens": true, "second_factor": false, "must_have_second_factor": false, "version": 1
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

/// One member of all items of a list, `limit` at a time.
async fn listed(control: &Control, path: &str, member: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = control.get(&format!("{path}&limit=2{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        all.extend(page.body["items"].as_array().unwrap().iter().map(|item| item[member].as_str().unwrap().to_owned()));
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// The next millisecond: what is made now, was made after what was made before. In one millisecond the ids decide.
async fn later() {
    let now = SystemClock.now();
    while SystemClock.now() <= now {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn lists_are_sorted_in_both_directions_and_filtered() {
    let control = Control::start();
    for (login, kind) in [("ci", "service"), ("Bo", "human")] {
        later().await;
        control.send(Method::POST, "/accounts", &json!({ "login": login, "kind": kind })).await;
        control.send(Method::POST, "/sites", &json!({ "id": format!("{}-1", login.to_lowercase()) })).await;
    }
    for (account, name, expires) in [("ci", "b", "30d"), ("Bo", "C", "2d"), ("ci", "a", "never")] {
        later().await;
        let made = control.send(Method::POST, "/tokens", &json!({ "account": account, "name": name, "expires_in": expires })).await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
    for (order, mut expected) in
        [("created", ["b", "C", "a"]), ("name", ["a", "b", "C"]), ("expires", ["C", "b", "a"]), ("used", ["b", "C", "a"])]
    {
        assert_eq!(listed(&control, &format!("/tokens?sort={order}"), "name").await, expected, "{order}");
        expected.reverse();
        assert_eq!(listed(&control, &format!("/tokens?sort=-{order}"), "name").await, expected, "{order}");
        expected.reverse();
        let of_one: Vec<_> = expected.into_iter().filter(|name| *name != "C").collect();
        assert_eq!(listed(&control, &format!("/tokens?sort={order}&account=ci"), "name").await, of_one, "{order}");
    }
    assert_eq!(listed(&control, "/tokens?expiring=10d", "name").await, ["C"]);
    assert_eq!(listed(&control, "/tokens?state=active&name=*b*", "name").await, ["b"]);
    assert_eq!(listed(&control, "/tokens?creator=nobody", "name").await, [""; 0]);
    assert_eq!(listed(&control, "/accounts?sort=-login", "login").await, ["ci", "Bo", "anonymous"]);
    assert_eq!(listed(&control, "/accounts?sort=-created", "login").await, ["Bo", "ci", "anonymous"]);
    assert_eq!(listed(&control, "/accounts?login=B*&kind=human&disabled=false", "login").await, ["Bo"]);
    assert_eq!(listed(&control, "/sites?sort=-id", "id").await, ["ci-1", "bo-1"]);
    for bad in ["/tokens?sort=colour", "/tokens?sort=--name", "/accounts?sort=name", "/sites?sort=login", "/tokens?sort="] {
        let answer = control.get(bad).await;
        assert_eq!((answer.status, code(&answer.body), &answer.body["field"]), (422, "query_invalid", &json!("sort")), "{bad}");
    }
    // A cursor of another list leads nowhere.
    let cursor = control.get("/tokens?sort=name&limit=1").await.body["next"].as_str().unwrap().to_owned();
    assert_eq!(control.get(&format!("/tokens?sort=used&cursor={cursor}")).await.status, 422);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let control = Control::start();
    control.send(Method::POST, "/accounts", &json!({ "login": "ci", "kind": "service" })).await;
    let long = "x".repeat(101);
    for (method, path, body, status, expected, field, limit) in [
        (Method::POST, "/accounts", json!({}), 422, "body_invalid", Some("login"), None),
        (Method::POST, "/accounts", json!({ "login": "a", "pass": 1 }), 422, "body_invalid", Some("pass"), None),
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
        (Method::GET, "/accounts?colour=red", json!({}), 422, "query_invalid", Some("colour"), None),
        (Method::GET, "/tokens/short", json!({}), 404, "token_not_found", None, None),
        (Method::DELETE, "/sessions/AbCdEfGh0123", json!({}), 404, "session_not_found", None, None),
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
    ] {
        let answer = control.answer(request).await;
        assert_eq!((answer.status, code(&answer.body)), (status, expected));
    }
    assert_eq!(control.get("/accounts").await.body["items"].as_array().unwrap().len(), 1);
}

const RULES: &str = r#"
[[rules]]
name = "health"
match = { path = "/healthz" }
public = true

[[rules]]
name = "orders"
match = { host = "shop.example.com", path = "/orders/{id}/{*rest}", methods = ["GET", "HEAD"] }
site = "shop"
access = "view"

[[rules]]
name = "reporting API"
match = { host = "*.stats.example.com", path = "/index.php", query = { module = "API" } }
site = { query = "idSite" }
access = { read = "view", write = "write" }
scope = "reporting"
credentials = ["bearer", "basic"]
max_token_access = "admin"
otherwise = "anonymous"

[[rules]]
name = "by path"
match = { path = "/sites/{site}/{*rest}" }
site = { path = "site" }
access = "view"

[[rules]]
name = "by host"
site = { host = true }
access = "admin"
"#;

#[tokio::test]
async fn the_policy_is_shown_by_the_keys_of_its_file() {
    let control = Control::with(RULES);
    let policy = control.get("/policy").await;
    assert_eq!((policy.status, &policy.body["next"]), (200, &Value::Null));
    let items = policy.body["items"].as_array().unwrap();
    let names: Vec<_> = items.iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["health", "orders", "reporting API", "by path", "by host"]);
    assert_eq!(
        items[0],
        json!({
            "name": "health", "match": { "host": null, "path": "/healthz", "methods": null, "query": {} }, "public": true,
            "hits": items[0]["hits"]
        })
    );
    let orders = &items[1];
    assert_eq!(
        orders["match"],
        json!({ "host": "shop.example.com", "path": "/orders/{id}/{*rest}", "methods": ["GET", "HEAD"], "query": {} })
    );
    assert_eq!(orders["access"], json!({ "read": "view", "write": "view" }));
    for (rule, key, value) in [
        (1, "public", json!(false)),
        (1, "site", json!("shop")),
        (1, "scope", Value::Null),
        (1, "credentials", json!(["bearer", "session"])),
        (1, "otherwise", json!("challenge")),
        (2, "site", json!({ "query": "idSite" })),
        (2, "access", json!({ "read": "view", "write": "write" })),
        (2, "scope", json!("reporting")),
        (2, "credentials", json!(["bearer", "basic"])),
        (2, "max_token_access", json!("admin")),
        (2, "otherwise", json!("anonymous")),
        (3, "site", json!({ "path": "site" })),
        (4, "site", json!({ "host": true })),
        (4, "access", json!({ "read": "admin", "write": "admin" })),
    ] {
        assert_eq!(items[rule][key], value, "{} {key}", names[rule]);
    }
    assert_eq!(items[2]["match"]["query"], json!({ "module": "API" }));
    let changed = control.send(Method::PUT, "/policy", &json!({})).await;
    assert_eq!((changed.status, code(&changed.body)), (405, "method_not_allowed"));
}

#[tokio::test]
async fn a_decision_is_explained_rule_by_rule() {
    let control = Control::with(RULES);
    control.send(Method::POST, "/sites", &json!({ "id": "shop" })).await;
    control.send(Method::POST, "/accounts", &json!({ "login": "vera" })).await;
    control.send(Method::PUT, "/access/vera/shop", &json!({ "level": "view" })).await;
    let near = json!({ "account": "vera", "name": "near", "networks": ["192.0.2.0/24"] });
    let made = control.send(Method::POST, "/tokens", &near).await.body;
    let (token, id) = (&made["token"], &made["record"]["id"]);
    let url = "http://shop.example.com/orders/7/";

    let told = control.send(Method::POST, "/explain", &json!({ "url": url, "token": token, "from": "192.0.2.7" })).await;
    assert_eq!(told.status, 200);
    let rule = |rule: &str, verdict: &str| json!({ "rule": rule, "verdict": verdict });
    let mut rules = vec![rule("health", "path_differs"), rule("orders", "matches")];
    rules.extend(["reporting API", "by path", "by host"].map(|name| rule(name, "not_reached")));
    assert_eq!(told.body["rules"], json!(rules));
    assert_eq!(
        without(told.body.clone(), &["request_id", "because"]),
        json!({
            "path": "/orders/7/", "host": "shop.example.com", "rules": rules, "decision": "allow", "status": 200,
            "reason": null, "rule": "orders", "account": "vera", "kind": "human", "site": "shop", "access": "view",
            "via": "bearer", "credential": id, "sign_in": null
        })
    );
    assert!(!told.body.to_string().contains(&token.as_str().unwrap()[17..]));

    for (ask, decision, status, reason) in [
        (json!({ "url": url, "token": token, "from": "198.51.100.1" }), "deny", 403, "network"),
        (json!({ "url": url, "token": token }), "deny", 403, "network"),
        (json!({ "url": url }), "challenge", 401, "no_credential"),
        (json!({ "url": url, "token": "kg_u_x" }), "challenge", 401, "malformed"),
        (json!({ "url": url, "cookie": "x" }), "challenge", 401, "session_ended"),
        (json!({ "url": "http://shop.example.com/a/../b" }), "deny", 400, "ambiguous_path"),
        (json!({ "url": "http://x.stats.example.com/index.php?module=API", "token": token }), "deny", 403, "network"),
        // Anonymous may not, and is asked who he is.
        (json!({ "url": "http://x.stats.example.com/index.php?module=API&idSite=shop" }), "challenge", 401, "no_credential"),
    ] {
        let told = control.send(Method::POST, "/explain", &ask).await.body;
        assert_eq!(
            (&told["decision"], &told["status"], &told["reason"]),
            (&json!(decision), &json!(status), &json!(reason)),
            "{ask}"
        );
        assert!(told["because"].as_str().is_some_and(|why| !why.is_empty()), "{told}");
    }
    // Its id is enough.
    let by_id = control.send(Method::POST, "/explain", &json!({ "url": url, "token_id": id, "from": "192.0.2.9" })).await.body;
    assert_eq!(without(by_id, &["request_id"]), without(told.body, &["request_id"]));
    for (ask, reason) in [
        (json!({ "url": url, "token_id": id, "from": "198.51.100.1" }), "network"),
        (json!({ "url": "http://shop.example.com/a/../b", "token_id": id }), "ambiguous_path"),
    ] {
        assert_eq!(control.send(Method::POST, "/explain", &ask).await.body["reason"], reason, "{ask}");
    }
    for nobodys in ["AbCdEfGh0123", token.as_str().unwrap()] {
        let refused = control.send(Method::POST, "/explain", &json!({ "url": url, "token_id": nobodys })).await;
        assert_eq!((refused.status, code(&refused.body)), (404, "token_not_found"));
        assert!(!refused.body.to_string().contains("kg_u_A") && !refused.body.to_string().contains(&token.as_str().unwrap()[17..]));
    }
    for (ask, expected, field) in [
        (json!({ "url": url, "token_id": id, "token": token }), "credential_twice", json!("token_id")),
        (json!({ "url": url, "token_id": id, "cookie": "x" }), "credential_twice", json!("token_id")),
        (json!({}), "body_invalid", json!("url")),
        (json!({ "url": "shop.example.com/" }), "url_malformed", json!("url")),
        (json!({ "url": url, "from": "home" }), "address_malformed", json!("from")),
        (json!({ "url": url, "cookies": "x" }), "body_invalid", json!("cookies")),
    ] {
        let refused = control.send(Method::POST, "/explain", &ask).await;
        assert_eq!((refused.status, code(&refused.body), &refused.body["field"]), (422, expected, &field), "{ask}");
    }
}
