//! What who has a second factor is asked for later, and sees of those who have not shown theirs.

use serde_json::{Value, json};

use super::super::{
    PASSWORD, PLAIN, Portal, body,
    looks::{assert_fits, take},
};
use crate::support::browser::Browser;

#[test]
fn who_has_a_second_factor_confirms_with_a_code() {
    let portal = Portal::start(PLAIN);
    let client = portal.signed_in();
    assert!(!body(&client.get("/confirm")).contains("name=\"code\""), "no factor, no code");
    let (app, codes) = client.set_up("/security/totp");
    let page = body(&client.get("/confirm?next=/keys/new"));
    assert!(page.contains("name=\"code\"") && page.contains("Confirm that it is you"), "{page}");
    let confirm = |fields: &[(&str, &str)]| {
        let token = client.token("/confirm");
        let own = [("csrf", token.as_str()), ("login", "vera")];
        let answer = client.post("/confirm?next=/keys/new", &[&own[..], fields].concat());
        (answer.status, answer.header("location").map(str::to_owned), body(&answer))
    };
    for fields in [
        &[("password", PASSWORD)][..],
        &[("password", PASSWORD), ("code", "000000")],
        &[("password", PASSWORD), ("code", "no code at all")],
    ] {
        let (status, _, page) = confirm(fields);
        assert_eq!(status, 403, "{page}");
        assert!(page.contains("The code is wrong") && page.contains("id=\"code\""), "{page}");
    }
    let (status, _, page) = confirm(&[("password", "wrong"), ("code", &app.code(0))]);
    assert!(status == 403 && page.contains("The password is wrong"), "{page}");
    let (status, to, page) = confirm(&[("password", PASSWORD), ("code", &app.code(0))]);
    assert_eq!((status, to.as_deref()), (303, Some("/keys/new")), "{page}");
    assert_eq!(confirm(&[("password", PASSWORD), ("code", &app.code(0))]).0, 403, "it is used up");
    // Over REST the same.
    let ask = |sent: &Value| client.api("POST", "/me/confirm", sent);
    let (status, problem) = ask(&json!({ "password": PASSWORD }));
    assert_eq!((status, &problem["type"], &problem["field"]), (403, &json!("about:blank#code_required"), &json!("code")));
    let (status, problem) = ask(&json!({ "password": PASSWORD, "code": "000000" }));
    assert_eq!((status, &problem["type"]), (403, &json!("about:blank#wrong_code")), "{problem}");
    let (status, done) = ask(&json!({ "password": PASSWORD, "code": codes[0] }));
    assert_eq!((status, &done["confirmed"]), (200, &json!(true)), "{done}");
    assert_eq!(client.get("/sessions").status, 200);
}

#[test]
fn what_who_has_a_second_factor_sees_has_its_picture_taken() {
    let portal = Portal::start(PLAIN);
    let (app, _) = portal.signed_in().set_up("/security/totp");
    let browser = Browser::start();
    super::password(&browser, &portal);
    browser.fill("#code", &app.code(0));
    browser.submit(".main");
    portal.client().sign_in("/sign-in", "vera", PASSWORD);
    let show = |path: &str, name: &str| {
        browser.open(&format!("{}{path}", portal.url));
        assert_fits(&browser);
        take(&browser, name);
    };
    show("/sessions", "sessions-waiting");
    assert_eq!(browser.count(".tag.warn"), 1);
    show("/sessions?notice=password_unconfirmed", "sessions-unconfirmed");
    show("/confirm?next=/keys/new", "confirm-code");
    browser.fill("#password", PASSWORD);
    browser.fill("#code", "000000");
    browser.submit(".main");
    take(&browser, "confirm-code-wrong");
}

#[test]
fn a_sign_in_that_waits_for_its_code_is_shown_and_can_be_ended() {
    let portal = Portal::start(PLAIN);
    let client = portal.signed_in();
    let (app, _) = client.set_up("/security/totp");
    assert!(!body(&client.get("/sessions")).contains("Waits for a code"));
    let half = portal.client();
    half.sign_in("/sign-in", "vera", PASSWORD);
    let page = body(&client.get("/sessions"));
    assert!(page.contains("Waits for a code") && page.contains("Password given") && page.contains("127.0.0.78"), "{page}");
    let listed: Value = serde_json::from_str(&portal.keygate.must(&["session", "list", "vera", "--json"])).unwrap();
    let waiting: Vec<_> = listed.as_array().unwrap().iter().filter(|session| session["awaits_code"] == true).collect();
    assert_eq!((waiting.len(), listed.as_array().unwrap().len()), (1, 2), "{listed}");
    assert!(portal.keygate.must(&["session", "list", "vera"]).contains("waits for a code"));
    let token = client.token("/sessions");
    let id = waiting[0]["id"].as_str().unwrap();
    let ended = client.post("/sessions/end", &[("csrf", &token), ("id", id)]);
    assert_eq!(ended.header("location"), Some("/sessions?notice=ended"));
    // The right code comes too late.
    assert_eq!(half.get("/second-factor").header("location"), Some("/sign-in"));
    assert!(!body(&client.get("/sessions")).contains("Waits for a code"));
    assert_eq!(portal.client().enter(&app.code(0)).header("location"), Some("/keys"));
}
