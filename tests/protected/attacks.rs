//! What is refused: cookies that were stolen, planted or are another host's; sessions that have ended.
//! Asked in every dialect, without a proxy between.

use crate::support::{
    dialects::{DIALECTS, Verdict, ask},
    http::Request,
    visitor::{Browser, Portal},
};

const SHOP: &str = "shop.example.com";
const BLOG: &str = "blog.example.org";
const CHECK: &str = "__Host-keygate-check";

/// A browser that has signed in at the shop, by checks alone.
fn signed_in(portal: &Portal, login: &str) -> Browser {
    let session = portal.sign_in(login);
    let (mut browser, callback) = returning(portal, &session);
    let back = send(portal, &mut browser, "caddy", "GET", &callback);
    assert_eq!((back.status, back.header("Location")), (303, "https://shop.example.com/pages/7"), "{back:?}");
    browser
}

/// A browser on its way back to the shop, and where to.
pub(super) fn returning(portal: &Portal, session: &keygate::domain::session::SessionSecret) -> (Browser, String) {
    let mut browser = Browser::default();
    let sent = send(portal, &mut browser, "caddy", "GET", "/pages/7");
    assert_eq!(sent.status, 302, "{sent:?}");
    let callback = portal.hand_over(session, sent.header("Location"));
    (browser, callback)
}

pub(super) fn send(portal: &Portal, browser: &mut Browser, dialect: &str, method: &str, target: &str) -> Verdict {
    let mut request = browser.navigation(SHOP, target);
    method.clone_into(&mut request.method);
    let verdict = ask(portal.keygate(), dialect, &request).unwrap();
    browser.keep(SHOP, &verdict.headers);
    verdict
}

/// What every dialect says of the request.
fn everywhere(portal: &Portal, request: &Request) -> (u16, String) {
    let of = |dialect: &str| {
        let verdict = ask(portal.keygate(), dialect, request).unwrap();
        if verdict.status == 200 {
            return (200, String::new());
        }
        if dialect == "check" {
            let told: serde_json::Value = serde_json::from_slice(&verdict.body).unwrap();
            return (verdict.status, told["reason"].as_str().unwrap_or_default().to_owned());
        }
        (verdict.header("X-Auth-Status").parse().unwrap(), verdict.reason().to_owned())
    };
    let first = of(DIALECTS[0]);
    for dialect in DIALECTS {
        // The URL of this one says http, and it knows no other.
        assert_eq!(of(dialect), first, "{dialect}: {:?}", request.headers);
    }
    first
}

fn fetch(browser: &Browser, host: &str) -> Request {
    browser.fetch("GET", host, "/pages/7")
}

fn said(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[test]
fn a_cookie_is_good_at_its_host_and_under_its_name_alone() {
    let portal = Portal::new();
    let browser = signed_in(&portal, "vera");
    let cookie = browser.cookie(SHOP, CHECK).unwrap().to_owned();
    assert_eq!(everywhere(&portal, &fetch(&browser, SHOP)), said(200, ""));
    let with = |host: &str, cookies: &str| {
        let request = fetch(&Browser::default(), host).header("Cookie", &cookies.replace("COOKIE", &cookie));
        everywhere(&portal, &request)
    };
    // Stolen, and shown to another host; or to one that has no sessions.
    assert_eq!(with(BLOG, "__Host-keygate-check=COOKIE"), said(401, "session_ended"));
    assert_eq!(with("other.example.com", "__Host-keygate-check=COOKIE"), said(401, "session_ended"));
    // Planted by a sibling, alone and beside the real one.
    for planted in ["keygate-check=COOKIE", "keygate-check=junk; keygate-check=x", "a=b,__Host-keygate-check=COOKIE"] {
        assert_eq!(with(SHOP, planted), said(401, "no_credential"), "{planted}");
        assert_eq!(with(SHOP, &format!("{planted}; __Host-keygate-check=COOKIE")), said(200, ""), "{planted}");
    }
    assert_eq!(with(SHOP, "__Host-keygate-check=COOKIE; __Host-keygate-check=COOKIE"), said(400, "ambiguous_credential"));
    // The right family with another secret; junk; another kind of cookie.
    let other = format!("{}{}", &cookie[..12], "A".repeat(43));
    assert_eq!(with(SHOP, &format!("__Host-keygate-check={other}")), said(401, "session_ended"));
    assert_eq!(with(SHOP, "__Host-keygate-check=junk"), said(401, "session_ended"));
    assert_eq!(with(SHOP, "__Host-keygate=COOKIE"), said(401, "no_credential"));
    // The portal's cookie at a protected host.
    let session = portal.sign_in("vera").to_text();
    assert_eq!(with(SHOP, &format!("__Host-keygate-check={session}")), said(401, "session_ended"));
}

#[test]
fn a_second_tab_goes_on_with_the_session_of_the_first() {
    let portal = Portal::new();
    let session = portal.sign_in("vera");
    let (mut browser, first) = returning(&portal, &session);
    let sent = send(&portal, &mut browser, "caddy", "GET", "/pages/8");
    let second = portal.hand_over(&session, sent.header("Location"));
    assert_eq!(send(&portal, &mut browser, "caddy", "GET", &first).status, 303);
    let cookie = browser.cookie(SHOP, CHECK).unwrap().to_owned();
    let back = send(&portal, &mut browser, "caddy", "GET", &second);
    assert_eq!((back.status, back.header("Location")), (303, "https://shop.example.com/pages/8"), "{back:?}");
    assert_eq!(browser.cookie(SHOP, CHECK), Some(&*cookie));
    assert_eq!(everywhere(&portal, &fetch(&browser, SHOP)), said(200, ""));
    // To somebody else it is no good.
    assert_eq!(send(&portal, &mut Browser::default(), "caddy", "GET", &second).status, 403);
    let counted = ["opened", "already_open", "refused"]
        .map(|outcome| portal.keygate().metric(&format!("keygate_codes_total{{outcome=\"{outcome}\"}}")));
    assert_eq!(counted, [Some(1); 3]);
}

#[test]
fn a_session_is_explained_by_its_cookie() {
    let portal = Portal::new();
    let browser = signed_in(&portal, "vera");
    let cookie = browser.cookie(SHOP, CHECK).unwrap();
    let explain = |url: &str, cookies: &str| {
        let told = portal.keygate().must_with(&["explain", "--url", url, "--cookie-stdin", "--json"], cookies);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        ["decision", "reason", "account", "via", "credential"].map(|name| told[name].as_str().unwrap_or_default().to_owned())
    };
    let url = "https://shop.example.com/pages/7";
    let allowed = ["allow", "", "vera", "session", &cookie[..12]];
    assert_eq!(explain(url, cookie), allowed);
    assert_eq!(explain(url, &format!("a=b; {CHECK}={cookie}")), allowed);
    assert_eq!(explain("https://blog.example.org/pages/7", cookie), ["challenge", "session_ended", "", "session", ""]);
    assert_eq!(explain(url, "a=b"), ["challenge", "no_credential", "", "none", ""]);
}

#[test]
fn a_session_ends_with_its_account_its_generation_and_its_sign_in() {
    let portal = Portal::new();
    let browser = signed_in(&portal, "vera");
    let keygate = portal.keygate();
    let now = || everywhere(&portal, &fetch(&browser, SHOP));
    assert_eq!(now(), said(200, ""));
    keygate.must(&["account", "disable", "vera"]);
    assert_eq!(now(), said(401, "account_disabled"));
    keygate.must(&["account", "enable", "vera"]);
    assert_eq!(now(), said(401, "session_ended"));
    let browser = signed_in(&portal, "vera");
    let now = || everywhere(&portal, &fetch(&browser, SHOP));
    assert_eq!(now(), said(200, ""));
    keygate.must(&["access", "set", "vera", "shop", "none"]);
    assert_eq!(now(), said(403, "site_access"));
    keygate.must(&["access", "set", "vera", "shop", "write"]);
    keygate.must(&["account", "revoke-all", "vera"]);
    assert_eq!(now(), said(401, "session_ended"));
    let browser = signed_in(&portal, "boss");
    let now = || everywhere(&portal, &fetch(&browser, SHOP));
    assert_eq!(now(), said(200, ""));
    keygate.must_with(&["account", "password", "boss", "--password-stdin"], "another horse battery staple");
    assert_eq!(now(), said(401, "session_ended"));
}
