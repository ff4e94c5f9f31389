//! The pages in a real browser.

use serde_json::json;

use super::{PASSWORD, PLAIN, Portal};
use crate::support::browser::{Browser, ENTER, SPACE, TAB};

fn sign_in(browser: &Browser, portal: &Portal, password: &str) {
    browser.open(&format!("{}/sign-in", portal.url));
    browser.fill("#login", "vera");
    browser.fill("#password", password);
    browser.submit(".main");
}

fn is_signed_in(browser: &Browser, portal: &Portal) -> bool {
    browser.open(&format!("{}/sessions", portal.url));
    browser.url() == format!("{}/sessions", portal.url)
}

#[test]
fn somebody_signs_in_looks_around_and_signs_out() {
    let portal = Portal::start(PLAIN);
    let browser = Browser::start();
    browser.open(&portal.url);
    assert!(browser.url().starts_with(&format!("{}/sign-in", portal.url)));
    assert_eq!((browser.title().as_str(), browser.focused().as_str()), ("Sign in · Keygate", "login"));
    sign_in(&browser, &portal, "wrong");
    assert_eq!(browser.text("[role=alert]"), "The login or the password is wrong.");
    assert_eq!((browser.property("#login", "value"), browser.property("#password", "value")), (json!("vera"), json!("")));
    assert_eq!(browser.focused(), "password");
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
    assert_eq!(browser.url(), format!("{}/keys", portal.url));
    assert_eq!(browser.text(".who span"), "Vera Petrova");
    browser.open(&format!("{}/sessions", portal.url));
    assert!(browser.text(".list li").contains("Chrome on Linux") && browser.text(".list li").contains("This browser"));
    let cookie = browser.cookie("keygate").unwrap();
    assert_eq!((&cookie["httpOnly"], &cookie["sameSite"], &cookie["expiry"]), (&json!(true), &json!("Lax"), &json!(null)));
    assert_eq!(browser.run("return document.cookie"), json!(""));
    // Back to the form is back to where one is signed in.
    browser.open(&format!("{}/sign-in", portal.url));
    assert_eq!(browser.url(), format!("{}/keys", portal.url));
    browser.submit(".who button");
    assert_eq!((browser.url(), browser.text("h1")), (format!("{}/signed-out", portal.url), "You are signed out".to_owned()));
    assert!(browser.cookie("keygate").is_none() && !is_signed_in(&browser, &portal));
}

#[test]
fn who_is_to_be_remembered_keeps_the_cookie() {
    let portal = Portal::start(PLAIN);
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in?next=/password", portal.url));
    browser.click("#remember");
    browser.fill("#login", "vera");
    browser.fill("#password", "wrong");
    browser.submit(".main");
    assert_eq!(browser.property("#remember", "checked"), json!(true));
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
    assert_eq!(browser.url(), format!("{}/password", portal.url));
    assert!(browser.cookie("keygate").unwrap()["expiry"].is_u64());
    browser.open(&format!("{}/sessions", portal.url));
    assert!(browser.text(".list li").contains("Kept until"));
}

#[test]
fn another_browser_s_session_is_seen_and_ended() {
    let portal = Portal::start(PLAIN);
    let (here, there, third) = (Browser::start(), Browser::start(), portal.signed_in());
    sign_in(&here, &portal, PASSWORD);
    sign_in(&there, &portal, PASSWORD);
    here.open(&format!("{}/sessions", portal.url));
    assert_eq!((here.count(".list li"), here.count(".list form")), (3, 2));
    assert!(here.text(".list li").contains("This browser"), "the own one comes first");
    // The one that was seen last comes next; both are of the same second, so each is ended in turn.
    here.submit(".list form button");
    assert_eq!(here.text("[role=status]"), "The session has ended.");
    assert_eq!(here.count(".list li"), 2);
    let alive = [is_signed_in(&there, &portal), third.get("/sessions").status == 200];
    assert_eq!(alive.iter().filter(|alive| **alive).count(), 1, "{alive:?}");
    here.submit(".row button");
    assert_eq!((here.text("[role=status]"), here.count(".list li")), ("All other sessions have ended.".to_owned(), 1));
    assert!(!is_signed_in(&there, &portal) && third.get("/sessions").status == 303 && is_signed_in(&here, &portal));
    assert_eq!(here.count(".row"), 0);
}

#[test]
fn a_new_password_ends_the_other_sessions_and_not_this_one() {
    const NEW: &str = "troubadour & three more";
    let portal = Portal::start(PLAIN);
    let (browser, other) = (Browser::start(), portal.signed_in());
    sign_in(&browser, &portal, PASSWORD);
    let change = |current: &str, new: &str, again: &str| {
        browser.open(&format!("{}/password", portal.url));
        browser.fill("#current", current);
        browser.fill("#new", new);
        browser.fill("#again", again);
        browser.submit(".main");
    };
    change("not the current one", NEW, NEW);
    assert_eq!((browser.text("#problem"), browser.focused()), ("The password is wrong.".to_owned(), "current".to_owned()));
    change(PASSWORD, NEW, "something else");
    assert_eq!((browser.count("#again[aria-invalid]"), browser.focused()), (1, "again".to_owned()));
    change(PASSWORD, "password1", "password1");
    assert_eq!(browser.focused(), "new", "{}", browser.text("#problem"));
    assert_eq!(other.get("/sessions").status, 200);
    change(PASSWORD, NEW, NEW);
    assert_eq!(browser.text("[role=status]"), "Your password is changed, and all other sessions have ended.");
    assert_eq!((browser.count(".list li"), other.get("/sessions").status), (1, 303));
    assert_eq!(portal.client().sign_in("/sign-in", "vera", PASSWORD).status, 403);
    assert_eq!(portal.client().sign_in("/sign-in", "vera", NEW).status, 303);
}

#[test]
fn the_password_is_confirmed_and_the_session_goes_on() {
    let portal = Portal::start(PLAIN);
    let browser = Browser::start();
    sign_in(&browser, &portal, PASSWORD);
    let before = browser.cookie("keygate").unwrap()["value"].clone();
    browser.open(&format!("{}/confirm?next=/password", portal.url));
    browser.fill("#password", "wrong");
    browser.submit(".main");
    assert_eq!(browser.text("#problem"), "The password is wrong.");
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
    assert_eq!(browser.url(), format!("{}/password", portal.url));
    let after = browser.cookie("keygate").unwrap()["value"].clone();
    assert!(before != after && before.as_str().unwrap()[..12] == after.as_str().unwrap()[..12], "{before} {after}");
    assert!(is_signed_in(&browser, &portal));
}

#[test]
fn the_keyboard_is_enough() {
    let portal = Portal::start(PLAIN);
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in", portal.url));
    browser.type_keys(&format!("vera{TAB}{PASSWORD}{TAB}{SPACE}{TAB}"));
    assert_eq!((browser.focused(), browser.property("#remember", "checked")), ("Sign in".to_owned(), json!(true)));
    browser.leave(|| browser.type_keys(ENTER));
    assert_eq!(browser.url(), format!("{}/keys", portal.url));
    // The first stop leads past the navigation.
    browser.type_keys(TAB);
    assert_eq!(browser.focused(), "Skip to the content");
    browser.type_keys(ENTER);
    assert_eq!(browser.focused(), "main");
    browser.open(&format!("{}/sessions", portal.url));
    // Skip, brand, three pages, and the way out.
    browser.type_keys(&TAB.repeat(6));
    assert_eq!(browser.focused(), "Sign out");
    browser.leave(|| browser.type_keys(ENTER));
    assert_eq!(browser.url(), format!("{}/signed-out", portal.url));
}

#[test]
fn no_script_is_needed() {
    let portal = Portal::start(PLAIN);
    let browser = Browser::start();
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    sign_in(&browser, &portal, PASSWORD);
    assert_eq!(browser.url(), format!("{}/keys", portal.url));
    browser.open(&format!("{}/password", portal.url));
    for (field, value) in [("#current", PASSWORD), ("#new", "a quite different one"), ("#again", "a quite different one")] {
        browser.fill(field, value);
    }
    browser.submit("main button");
    assert_eq!(browser.url(), format!("{}/sessions?notice=password", portal.url));
    browser.submit(".who button");
    assert_eq!(browser.url(), format!("{}/signed-out", portal.url));
}

/// A page of another origin, or of a sibling host, cannot make the browser do anything at the portal.
#[test]
fn a_page_elsewhere_changes_nothing() {
    let portal = Portal::start(PLAIN);
    let browser = Browser::start();
    sign_in(&browser, &portal, PASSWORD);
    let token = browser.property("[name=csrf]", "value");
    let other = Portal::start(PLAIN);
    // One host, another port: the same site, so that the browser sends the cookies along.
    browser.open(&format!("{}/signed-out", other.url));
    browser.devtools("Page.setBypassCSP", &json!({ "enabled": true }));
    browser.reload();
    let send = format!(
        "const form = document.createElement('form'); form.method = 'post'; form.action = '{}/sign-out'; \
         form.innerHTML = '<input name=csrf value={}>'; document.body.append(form); form.submit();",
        portal.url,
        token.as_str().unwrap()
    );
    browser.leave(|| drop(browser.run(&send)));
    assert_eq!(browser.text("h1"), "Sent from somewhere else");
    assert!(is_signed_in(&browser, &portal));
    // Nor can it show the portal in a frame.
    browser.open(&format!("{}/signed-out", other.url));
    browser.run(&format!(
        "const frame = document.createElement('iframe'); frame.src = '{}/sessions'; document.body.append(frame); \
         await new Promise(loaded => frame.onload = loaded);",
        portal.url
    ));
    browser.enter_frame(0);
    assert!(!browser.source().contains("Your sessions") && browser.count("main") == 0, "{}", browser.source());
}
