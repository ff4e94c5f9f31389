//! The cookie of a protected host, which an application there may read, at every door of the portal.

use keygate::domain::csrf;
use serde_json::{Value, json};

use super::{House, On, PASSWORD, Signed, at_portal};
use crate::support::http::{Answer, Request};

/// Every operation of the API, with something in the place of each parameter.
async fn operations(house: &House) -> Vec<(String, String)> {
    let document = house.control.send_to(reqwest::Method::GET, "/api/openapi.json", &Value::Null).await.body;
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.contains("/v1/")) {
        let vera = house.signed.vera.session.as_str();
        let path = path.replace("{login}", "vera").replace("{site}", "shop").replace("{id}", vera).replace("{value}", "vera");
        assert!(!path.contains('{'), "{path}");
        for method in methods.as_object().unwrap().keys().filter(|name| !matches!(name.as_str(), "parameters" | "summary")) {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(all.len() > 30, "{all:?}");
    all
}

/// What the operation would take.
fn body(method: &str, path: &str) -> Value {
    match (method, path.trim_start_matches("/api/v1/")) {
        ("POST", "accounts") => json!({ "login": "eve" }),
        ("POST", "sites") => json!({ "id": "stats" }),
        ("POST", "tokens/revoke") => json!({ "older_than": "1d" }),
        ("POST", "tokens") => json!({ "account": "vera", "name": "x" }),
        ("POST", "explain") => json!({ "url": "https://shop.example.com/pages/7" }),
        ("POST", "me/confirm") => json!({ "password": PASSWORD }),
        ("POST", "me/password") => json!({ "current": PASSWORD, "new": "another long one" }),
        ("POST", "me/factors") => json!({ "setup": format!("k1.{}", "A".repeat(80)), "name": "Phone", "code": "123456" }),
        ("POST", path) if path.starts_with("me/factors/") && path != "me/factors/totp" => json!({ "code": "123456" }),
        ("PUT", "access/vera/shop") => json!({ "level": "admin" }),
        ("PATCH", "store") => json!({ "max_staleness": "2s" }),
        _ => json!({}),
    }
}

pub async fn the_cookie_of_a_protected_host_is_nobody_at_the_portal(on: On) {
    let house = House::with_shop(on).await;
    let Signed { vera, check, .. } = &house.signed;
    let is_there = || {
        let own = at_portal("GET", "/api/v1/sessions").header("Cookie", &format!("__Host-keygate={}", vera.to_text()));
        let list: Value = serde_json::from_slice(&house.send(&own).body).unwrap();
        list["items"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(is_there(), 4);
    let csrf = csrf::token(&check.secret);
    let names = ["__Host-keygate", "__Host-keygate-check", "keygate", "keygate-check"];
    let with = |request: Request, name: &str| request.header("Cookie", &format!("{name}={}", check.to_text()));
    let begins = |cookie: &str| cookie.starts_with("__Host-keygate=") && !cookie.ends_with("Max-Age=0");
    let nothing_is_set = |answer: &Answer| !answer.all("Set-Cookie").any(begins);
    for (method, path) in operations(&house).await {
        for name in names {
            let request = with(at_portal(&method, &path), name).header("X-CSRF-Token", &csrf);
            let request = request.header("Content-Type", "application/json").body(body(&method, &path).to_string().into_bytes());
            let answer = house.send(&request);
            let text = String::from_utf8_lossy(&answer.body);
            assert!(answer.status == 401 && nothing_is_set(&answer), "{method} {path} with {name}: {} {text}", answer.status);
        }
    }
    let id = format!("id={}", vera.session);
    for (path, fields) in [
        ("/sign-out", ""),
        ("/sessions/end", &*id),
        ("/sessions/end-others", ""),
        ("/password", "login=vera&current=correct+horse&new=another+long+one&again=another+long+one"),
        ("/confirm", "login=vera&password=correct+horse"),
        ("/sign-in", "login=vera&password=correct+horse"),
    ] {
        for name in names {
            let form = with(at_portal("POST", path), name).header("Content-Type", "application/x-www-form-urlencoded");
            let answer = house.send(&form.body(format!("csrf={csrf}&{fields}").into_bytes()));
            let location = answer.header("Location").unwrap_or_default();
            let is_nobody =
                answer.status == 403 || (answer.status == 303 && (location.starts_with("/sign-in") || path == "/sign-out"));
            assert!(is_nobody && nothing_is_set(&answer), "{path} with {name}: {answer:?}");
        }
    }
    assert_eq!(is_there(), 4, "none has ended, and none has begun");
}
