//! Pictures of every page, for people to look at: `target/screenshots/`.

use std::path::Path;

use serde_json::json;

use super::{PASSWORD, PLAIN, Portal, body, form, token_in};
use crate::support::{axe, browser::Browser};

/// Somebody whose name and login are as long as such things get.
const LONG: &str = "wilhelmina.theodora.featherstonehaugh-cholmondeley";

/// What a page may weigh, with its style and script, in bytes as they are transferred.
const MAX_WEIGHT: u64 = 60 * 1024;

/// Takes the page that the browser shows in all four forms, and sees that nothing of it is in anybody's way.
pub fn take(browser: &Browser, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    for colours in ["light", "dark"] {
        for (width, size) in [(1280, "wide"), (390, "narrow")] {
            browser.picture(&folder.join(format!("{name}-{size}-{colours}.png")), width, colours);
        }
        let found = axe::violations(browser);
        assert!(found.is_empty(), "{name}, {colours}: {}", found.join("\n"));
    }
    let weight = browser.run(
        "const parts = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]; \
         return parts.reduce((sum, part) => sum + part.encodedBodySize, 0);",
    );
    assert!(weight.as_u64().is_some_and(|weight| weight <= MAX_WEIGHT), "{name}: {weight} bytes");
}

/// Whether the page is no wider than a phone.
pub fn assert_fits(browser: &Browser) {
    browser.narrow();
    let widths = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{} is too wide: {widths}", browser.url());
}

/// Shows the page that leads to a protected host, without what leads there at once.
fn show_going_on(browser: &Browser, portal: &Portal) {
    let answer = portal.client().sign_in("/sign-in?rd=http://shop.localhost:8000/orders", "vera", PASSWORD);
    let html = body(&answer);
    let content = html.split("<body>").nth(1).and_then(|rest| rest.split("</body>").next()).expect("a page has a body");
    browser.open(&format!("{}/signed-out", portal.url));
    browser.run(&format!("document.body.innerHTML = {}", json!(content)));
}

pub fn sign_in(browser: &Browser, portal: &Portal, login: &str, password: &str) {
    browser.fill("#login", login);
    browser.fill("#password", password);
    browser.submit(".main");
    assert!(browser.url().starts_with(&portal.url), "{}", browser.url());
}

/// So that nothing is found because nothing is looked for.
#[test]
fn what_is_in_somebody_s_way_is_found() {
    let portal = Portal::start(PLAIN);
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in", portal.url));
    assert!(axe::violations(&browser).is_empty());
    browser.run("document.querySelector('label').remove(); document.querySelector('h1').style.color = '#ddd'");
    let found = axe::violations(&browser).join("\n");
    assert!(found.contains("label:") && found.contains("color-contrast:"), "{found}");
}

#[test]
fn every_page_has_its_picture_taken() {
    let portal = Portal::start(PLAIN);
    let browser = Browser::start();
    let show = |path: &str, name: &str| {
        browser.open(&format!("{}{path}", portal.url));
        assert_fits(&browser);
        take(&browser, name);
    };
    show("/sign-in", "sign-in");
    show("/sign-in?rd=http://shop.localhost:8000/orders", "sign-in-to");
    show("/sign-in?rd=http://evil.example/", "sign-in-refused-address");
    sign_in(&browser, &portal, LONG, "wrong");
    take(&browser, "sign-in-wrong");
    show_going_on(&browser, &portal);
    assert_fits(&browser);
    take(&browser, "going-on");
    show("/signed-out", "signed-out");
    show("/nothing", "not-found");
    show("/sign-out", "wrong-method");
    browser.open(&portal.url.replace("localhost", "127.0.0.1"));
    take(&browser, "misdirected");

    for (user_agent, login) in [
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15", "vera"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1", "vera"),
        ("something else", "vera"),
    ] {
        let client = portal.client();
        let token = token_in(&client.get("/sign-in"));
        let request = client.request("POST", "/sign-in").header("Origin", &portal.url).header("User-Agent", user_agent);
        let fields = [("csrf", token.as_str()), ("login", login), ("password", PASSWORD), ("remember", "on")];
        assert_eq!(client.send(&form(request, &fields)).status, 303);
    }
    browser.open(&format!("{}/sign-in", portal.url));
    sign_in(&browser, &portal, "vera", PASSWORD);
    show("/sessions", "sessions");
    browser.submit(".list form button");
    take(&browser, "sessions-ended");
    show("/sessions?notice=address", "sessions-refused-address");
    show("/password", "password");
    for (name, new, again) in [("password-short", "short", "short"), ("password-wrong", "a good new one", "a good new one")] {
        browser.run("document.querySelectorAll('[minlength]').forEach(field => field.removeAttribute('minlength'))");
        for (field, value) in [("#current", "wrong"), ("#new", new), ("#again", again)] {
            browser.fill(field, value);
        }
        browser.submit("main button");
        assert_eq!(browser.count("#problem"), 1);
        take(&browser, name);
    }
    show("/confirm", "confirm");
    browser.fill("#password", "wrong");
    browser.submit(".main");
    take(&browser, "confirm-wrong");
    browser.forget_cookies();
    browser.open(&format!("{}/sign-in", portal.url));
    sign_in(&browser, &portal, LONG, PASSWORD);
    show("/sessions", "sessions-long-name");
    show("/confirm", "confirm-long-name");
}
