//! The OpenAPI document says what is served: no more, and no less. The page made from it loads nothing from elsewhere.

use std::{collections::BTreeSet, net::IpAddr};

use reqwest::Method;
use serde_json::{Value, json};

use super::code;
use crate::support::{
    control::{Answer, Control},
    http::Request,
};

const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];

async fn document(control: &Control) -> Value {
    control.send_to(Method::GET, "/api/openapi.json", &Value::Null).await.body
}

/// A path with a name in the place of each parameter.
fn filled(path: &str) -> String {
    path.replace("{login}", "vera").replace("{site}", "shop").replace("/sites/{id}", "/sites/shop").replace("{id}", "AbCdEfGh0123")
}

#[tokio::test]
async fn each_path_takes_the_methods_that_are_described_and_no_other() {
    let control = Control::start();
    let document = document(&control).await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 15, "{paths:?}");
    for (path, described) in paths {
        let described: BTreeSet<_> = described.as_object().unwrap().keys().map(String::as_str).collect();
        for name in METHODS {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            // A name that no query has: nothing is done, and the answer is from the handler.
            let asked = format!("{}?colour=red", filled(path));
            let answer = control.send_to(method, &asked, &json!({})).await;
            if described.contains(name) {
                assert_eq!(answer.status, 422, "{name} {path}: {}", answer.body);
                let body = if name == "head" { json!("colour") } else { answer.body["field"].clone() };
                assert_eq!(body, "colour", "{name} {path}");
            } else {
                assert_eq!(answer.status, 405, "{name} {path}");
                let allowed = answer.header("allow").to_lowercase();
                assert_eq!(allowed.split(", ").collect::<BTreeSet<_>>(), described, "{name} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_document_has_the_names_of_the_contract_and_refers_to_nothing_that_is_not_there() {
    fn walk<'d>(value: &'d Value, found: &mut BTreeSet<&'d str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| walk(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let document = document(&Control::start()).await;
    assert_eq!(document["openapi"], "3.1.0");
    for name in ["Account", "Site", "Access", "Token", "Session", "Event", "Problem"] {
        assert_eq!(document["components"]["schemas"][name]["type"], "object", "{name}");
    }
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let mut references = BTreeSet::new();
    walk(&document, &mut references);
    for reference in &references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let operations = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let ids: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

/// That the members of an answer are those of the schema.
fn assert_described(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = schema["$ref"].as_str().map_or(schema, |at| document.pointer(at.trim_start_matches('#')).unwrap());
    match value {
        Value::Object(members) if schema["properties"].is_object() => {
            for (name, value) in members {
                let described = &schema["properties"][name];
                assert!(!described.is_null(), "{place}.{name} is not described");
                assert_described(document, described, value, &format!("{place}.{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(members.contains_key(name.as_str().unwrap()), "{place}.{name} is missing");
            }
        }
        Value::Array(values) => values.iter().for_each(|value| assert_described(document, &schema["items"], value, place)),
        Value::Null => {}
        _ => {
            if let Some(either) = schema["oneOf"].as_array() {
                assert_described(document, &either[0], value, place);
            }
        }
    }
}

#[tokio::test]
async fn answers_have_the_members_that_are_described() {
    let control = Control::with("[[rules]]\nname = \"all\"\nsite = { host = true }\naccess = \"view\"\n");
    let document = document(&control).await;
    control.send(Method::POST, "/accounts", &json!({ "login": "vera", "password": "correct horse" })).await;
    control.send(Method::POST, "/sites", &json!({ "id": "shop", "hosts": ["a.example"] })).await;
    control.send(Method::PUT, "/access/vera/shop", &json!({ "level": "view" })).await;
    let made = control.send(Method::POST, "/tokens", &json!({ "account": "vera", "name": "x", "scopes": ["manage"] })).await;
    let check = |path: &str, method: &str, answer: &Answer| {
        let described = &document["paths"][path][method]["responses"][answer.status.to_string()];
        let described = described["$ref"].as_str().map_or(described, |at| document.pointer(at.trim_start_matches('#')).unwrap());
        let content = answer.header("content-type");
        let schema = &described["content"][content]["schema"];
        assert!(!schema.is_null(), "{method} {path}: {} as {content}", answer.status);
        assert_described(&document, schema, &answer.body, path);
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let there = !answer.header(&name.to_lowercase()).is_empty();
            assert!(there || header["required"] != true, "{method} {path}: {name}");
        }
        for name in ["etag", "location", "retry-after", "www-authenticate"] {
            let described =
                described["headers"].as_object().is_some_and(|all| all.keys().any(|key| key.eq_ignore_ascii_case(name)));
            assert!(described || answer.header(name).is_empty(), "{method} {path}: {name} is not described");
        }
    };
    check("/api/v1/tokens", "post", &made);
    let bearer = made.body["token"].as_str().unwrap();
    let me = control.answer(control.request(Method::GET, "/me").bearer_auth(bearer)).await;
    check("/api/v1/me", "get", &me);
    check("/api/v1/audit", "get", &control.answer(control.request(Method::GET, "/audit").bearer_auth(bearer)).await);
    for (described, path) in [
        ("/accounts", "/accounts"),
        ("/accounts/{login}", "/accounts/vera"),
        ("/accounts/{login}", "/accounts/nobody"),
        ("/sites", "/sites"),
        ("/sites/{id}", "/sites/shop"),
        ("/access", "/access"),
        ("/tokens", "/tokens"),
        ("/tokens", "/tokens?limit=0"),
        ("/me", "/me"),
        ("/audit", "/audit"),
        ("/blocked", "/blocked"),
        ("/policy", "/policy"),
    ] {
        check(&format!("/api/v1{described}"), "get", &control.get(path).await);
    }
    let explained = control.send(Method::POST, "/explain", &json!({ "url": "http://a.example/", "token": bearer })).await;
    check("/api/v1/explain", "post", &explained);
    let revoked = control.answer(control.request(Method::DELETE, made.header("location").trim_start_matches("/api/v1"))).await;
    check("/api/v1/tokens/{id}", "delete", &revoked);
    let refused = control.answer(control.request(Method::GET, "/me").bearer_auth(bearer)).await;
    assert_eq!(refused.status, 401);
    check("/api/v1/me", "get", &refused);
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let control = Control::start();
    for path in ["/accounts", "/accounts/anonymous", "/accounts/nobody", "/policy"] {
        let (get, head) = (control.get(path).await, control.answer(control.request(Method::HEAD, path)).await);
        assert_eq!((head.status, head.body), (get.status, Value::Null), "{path}");
        for name in ["content-type", "content-length", "etag"] {
            // The id of the request is of one length.
            assert_eq!(get.headers.get(name), head.headers.get(name), "{path} {name}");
        }
    }
}

#[test]
fn the_page_names_every_path_and_loads_nothing_from_elsewhere() {
    let control = Control::start();
    let get = |path: &str| {
        let request = Request::new("GET", path).header("Host", "localhost");
        request.send(IpAddr::from([127, 0, 0, 1]), control.keygate.portal).unwrap()
    };
    let answer = get("/api/docs");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let page = String::from_utf8(answer.body).unwrap();
    for loading in ["<script", "<link", "<img", "<iframe", "<object", "<form", "@import", "url(", "src=", "javascript:", " on"] {
        let attribute = loading == " on";
        let found = if attribute { page.contains(" onclick=") || page.contains(" onload=") } else { page.contains(loading) };
        assert!(!found, "{loading}");
    }
    for target in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(target.starts_with('#') || target == "/api/openapi.json", "{target}");
    }
    let document: Value = serde_json::from_slice(&get("/api/openapi.json").body).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
        for (_, operation) in methods.as_object().unwrap().iter().filter(|(method, _)| *method != "head") {
            assert!(page.contains(&format!("<details id=\"{}\">", operation["operationId"].as_str().unwrap())), "{operation}");
        }
    }
}

#[tokio::test]
async fn the_bodies_that_the_page_shows_are_taken() {
    let control = Control::start();
    let document = document(&control).await;
    control.send(Method::POST, "/accounts", &json!({ "login": "vera" })).await;
    control.send(Method::POST, "/sites", &json!({ "id": "shop", "hosts": ["shop.example.com"] })).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some(at) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() else { continue };
            let schema = document.pointer(at.trim_start_matches('#')).unwrap();
            let body = if schema["example"].is_null() { json!({ "url": "http://a.example/" }) } else { schema["example"].clone() };
            let body = if schema["properties"].is_null() { json!({}) } else { body };
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = control.send_to(method, &filled(path), &body).await;
            let taken = matches!(answer.status, 200 | 201 | 404 | 409);
            // Over the control socket nobody is in a session, and over the embedded store nobody is behind it.
            let elsewhere = answer.status == 403 && ["session_required", "store_immediate"].contains(&code(&answer.body));
            assert!(taken || elsewhere, "{path} {body}: {}", answer.body);
            assert!(answer.status != 404 || code(&answer.body) == "token_not_found", "{path}: {}", answer.body);
        }
    }
}
