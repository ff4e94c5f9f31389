//! Pages on which administrators look at everything: all keys, the audit trail, and a decision explained.

use super::{
    PASSWORD, Portal, body, form,
    looks::{assert_fits, sign_in, take},
};
use crate::support::browser::Browser;

/// One site, and a rule for it.
const RULES: &str = r#"
[portal]
hosts = ["http://shop.localhost:8000", "http://stats.localhost"]

[[rules]]
name = "health"
match = { path = "/healthz" }
public = true

[[rules]]
name = "orders"
match = { host = "shop.localhost", path = "/orders/{*rest}", methods = ["GET", "HEAD"] }
site = "shop"
access = "view"

[[rules]]
name = "all else of the shop"
match = { host = "shop.localhost" }
site = "shop"
access = "admin"
"#;

/// With a superuser vera, a service with keys, and somebody who administers its site.
fn furnished() -> Portal {
    let portal = Portal::start(RULES);
    let keygate = &portal.keygate;
    keygate.must(&["account", "superuser", "vera", "on"]);
    keygate.must(&["site", "create", "shop"]);
    keygate.must_with(&["account", "create", "sam", "--name", "Sam Okafor", "--password-stdin"], PASSWORD);
    keygate.must(&["access", "set", "sam", "shop", "admin"]);
    for service in ["ci", "reports"] {
        keygate.must(&["account", "create", service, "--service"]);
    }
    keygate.must(&["access", "set", "ci", "shop", "view"]);
    for (login, name, expires) in [
        ("ci", "nightly export", "5d"),
        ("ci", "deployment", "90d"),
        ("reports", "monthly report", "never"),
        ("vera", "laptop", "20d"),
    ] {
        keygate.must(&["token", "create", login, "--name", name, "--expires", expires]);
    }
    portal
}

fn signed_in(portal: &Portal, login: &str) -> Browser {
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in", portal.url));
    sign_in(&browser, portal, login, PASSWORD);
    browser
}

fn names(browser: &Browser) -> Vec<String> {
    let names = browser.run("return [...document.querySelectorAll('tbody th a')].map(link => link.textContent)");
    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_keys_are_sorted_filtered_and_revoked_from_there() {
    let portal = furnished();
    let browser = signed_in(&portal, "vera");
    browser.open(&format!("{}/admin/keys", portal.url));
    assert_eq!(names(&browser), ["laptop", "monthly report", "deployment", "nightly export"]);
    assert!(browser.count("th[aria-sort=descending]") == 1 && !browser.source().contains("kg_"));
    browser.open(&format!("{}/admin/keys?sort=expires", portal.url));
    assert_eq!(names(&browser), ["nightly export", "laptop", "deployment", "monthly report"]);
    browser.submit("th[aria-sort] a");
    assert_eq!(names(&browser), ["monthly report", "deployment", "laptop", "nightly export"]);
    assert!(browser.text("caption").contains("those that end last, or never, first"));
    for (field, value, found) in [
        ("#filter-expiring", "7d", vec!["nightly export"]),
        ("#filter-unused", "1d", vec![]),
        ("#filter-state", "active", vec!["monthly report", "deployment", "laptop", "nightly export"]),
    ] {
        browser.open(&format!("{}/admin/keys?sort=-expires", portal.url));
        browser.click(&format!("{field} [value=\"{value}\"]"));
        browser.submit(".filters button");
        assert_eq!(names(&browser), found, "{field}");
    }
    browser.open(&format!("{}/admin/keys?account=ci&sort=name", portal.url));
    assert_eq!(names(&browser), ["deployment", "nightly export"]);
    browser.open(&format!("{}/admin/keys", portal.url));
    browser.fill("#filter-name", "report");
    browser.submit(".filters button");
    assert_eq!(names(&browser), ["monthly report"]);
    assert!(browser.text("tbody td").contains("made by control:"));
    browser.submit("tbody .danger");
    assert!(browser.text("h1") == "Revoke this key?" && browser.text(".list").contains("never used"));
    assert!(portal.keygate.must(&["token", "list", "reports"]).contains("active"), "asking changes nothing");
    browser.submit(".sure");
    assert!(portal.keygate.must(&["token", "list", "reports"]).contains("revoked"));
    browser.open(&format!("{}/admin/keys?state=revoked", portal.url));
    assert_eq!((names(&browser), browser.count("tbody .danger")), (vec!["monthly report".to_owned()], 0));
    for nothing in ["account=nobody", "account=%3A%3A", "creator=nobody"] {
        browser.open(&format!("{}/admin/keys?{nothing}", portal.url));
        let heading = if nothing == "account=nobody" { "h1" } else { ".empty h2" };
        assert!(
            browser.text(heading).contains("no such page") || browser.text(heading).contains("No key is like that"),
            "{nothing}"
        );
    }
}

#[test]
fn all_keys_come_in_parts() {
    let portal = furnished();
    for number in 0..60 {
        portal.keygate.must(&["token", "create", "ci", "--name", &format!("job {number:02}")]);
    }
    let browser = signed_in(&portal, "vera");
    browser.open(&format!("{}/admin/keys?name=job&sort=name", portal.url));
    let first = names(&browser);
    assert_eq!((first.len(), first[0].as_str()), (50, "job 00"));
    browser.submit("[rel=next]");
    let rest = names(&browser);
    assert_eq!((rest.len(), rest[9].as_str(), browser.count("[rel=next]")), (10, "job 59", 0));
    browser.submit("nav.row a");
    assert_eq!(names(&browser), first);
}

#[test]
fn who_administers_a_site_sees_its_services_and_nobody_else_sees_anything() {
    let portal = furnished();
    let browser = signed_in(&portal, "sam");
    browser.open(&format!("{}/admin/keys?sort=name", portal.url));
    assert_eq!(names(&browser), ["deployment", "nightly export"]);
    assert_eq!(browser.text("nav.sub"), "Sites\nAccess\nKeys");
    let other = portal.client();
    other.sign_in("/sign-in", "wilhelmina.theodora.featherstonehaugh-cholmondeley", PASSWORD);
    for page in ["/admin/keys", "/admin/audit", "/admin/explain"] {
        assert_eq!(other.get(page).status, 404, "{page}");
        if page != "/admin/keys" {
            browser.open(&format!("{}{page}", portal.url));
            assert_eq!(browser.text("h1"), "There is no such page");
        }
        assert_eq!(portal.client().get(page).status, 303, "{page}");
    }
    let token = other.token("/keys");
    let fields = [("csrf", token.as_str()), ("method", "GET"), ("url", "http://shop.localhost/orders/1")];
    assert_eq!(other.post("/admin/explain", &fields).status, 404);
}

#[test]
fn the_trail_is_read_by_account_action_day_and_outcome() {
    let portal = furnished();
    let browser = signed_in(&portal, "vera");
    let open = |query: &str| browser.open(&format!("{}/admin/audit{query}", portal.url));
    open("");
    assert!(browser.text("tbody th").contains("session.sign_in"), "{}", browser.text("tbody"));
    assert!(browser.text("tbody td:nth-child(2)").contains("vera"));
    open("?action=token.create");
    assert_eq!(browser.count("tbody tr"), 4);
    assert!(!browser.source().contains("kg_u_") && !browser.source().contains("digest"));
    browser.click("summary");
    assert!(browser.text(".changes").contains("laptop"), "{}", browser.text("tbody"));
    browser.fill("#filter-account", "ci");
    browser.submit(".filters button");
    assert_eq!(browser.count("tbody tr"), 2);
    open("?outcome=refused");
    assert_eq!((browser.count("tbody tr"), browser.text(".empty h2")), (0, "No event is like that".to_owned()));
    let other = portal.client();
    other.sign_in("/sign-in", "sam", PASSWORD);
    let token = other.token("/keys");
    assert_eq!(other.post("/keys/revoke", &[("csrf", token.as_str()), ("ids", "AbCdEfGh0123")]).status, 404);
    browser.reload();
    assert_eq!((browser.count("tbody tr"), browser.text("tbody .tag")), (1, "Refused".to_owned()));
    open("?since=2001-01-01&action=site.create");
    assert_eq!(browser.count("tbody tr"), 1);
    open("?since=2999-01-01");
    assert_eq!(browser.count("tbody tr"), 0);
    for odd in ["?since=yesterday", "?outcome=maybe", "?after=nonsense", "?colour=red"] {
        let client = portal.signed_in();
        let answer = client.get(&format!("/admin/audit{odd}"));
        assert!(matches!(answer.status, 200 | 403), "{odd}: {}", answer.status);
    }
}

#[test]
fn a_decision_is_explained_for_a_key_that_nobody_shows() {
    let portal = furnished();
    let browser = signed_in(&portal, "vera");
    let key = portal.keygate.must(&["token", "create", "ci", "--name", "office", "--from", "192.0.2.0/24"]);
    let id = &key.trim()[5..17];
    let ask = |method: &str, url: &str, key: &str, from: &str| {
        browser.open(&format!("{}/admin/explain", portal.url));
        browser.fill("#url", url);
        browser.click(&format!("#method option:nth-child({})", if method == "GET" { 1 } else { 3 }));
        browser.fill("#key", key);
        browser.fill("#from", from);
        browser.submit("form.panel .main");
    };
    ask("GET", "http://shop.localhost/orders/7?token=in-the-url", id, "192.0.2.9");
    assert!(browser.text("#decision").starts_with("It may pass"), "{}", browser.source());
    assert!(browser.text(".facts").contains("ci") && browser.text(".facts").contains(id));
    let rules = browser.text("ol.list");
    assert!(
        rules.contains("health\nAnother path") && rules.contains("orders\nDecides") && rules.contains("Not reached"),
        "{rules}"
    );
    assert!(!browser.url().contains("in-the-url") && browser.property("#key", "value") == id);
    ask("GET", "http://shop.localhost/orders/7", id, "198.51.100.1");
    assert!(browser.text("#decision").starts_with("It is refused") && browser.text("[role=status]").contains("network"));
    ask("POST", "http://shop.localhost/orders/7", id, "192.0.2.9");
    assert!(browser.text(".facts").contains("all else of the shop"), "{}", browser.text(".facts"));
    ask("GET", "http://shop.localhost/orders/7", "", "");
    assert!(browser.text("[role=status]").contains("no_credential"), "{}", browser.text("[role=status]"));
    ask("GET", "shop", id, "");
    assert_eq!(browser.count("#url[aria-invalid]"), 1);
    assert!(browser.text("#problem").contains("http://host/path"));
    for nobodys in ["AbCdEfGh0123", key.trim()] {
        ask("GET", "http://shop.localhost/orders/7", nobodys, "");
        assert_eq!(browser.count("#key[aria-invalid]"), 1, "{nobodys}");
    }
    ask("GET", "http://shop.localhost/orders/7", id, "home");
    assert_eq!(browser.count("#from[aria-invalid]"), 1);
    // Nobody has used it by that.
    assert!(!portal.keygate.must(&["token", "show", id]).contains("192.0.2.9"));
    // Its form counts only from its own session.
    let (hers, mine) = (portal.signed_in(), portal.signed_in());
    let token = hers.token("/admin/explain");
    let fields =
        [("csrf", token.as_str()), ("method", "GET"), ("url", "http://shop.localhost/orders/7"), ("key", id), ("from", "")];
    let request = mine.request("POST", "/admin/explain").header("Origin", &portal.url);
    assert_eq!(mine.send(&form(request, &fields)).status, 403);
    let foreign = hers.request("POST", "/admin/explain").header("Origin", "http://shop.localhost:8000");
    assert_eq!(hers.send(&form(foreign, &fields)).status, 403);
    assert!(body(&hers.post("/admin/explain", &fields)).contains("It is refused"));
}

#[test]
fn the_surveys_have_their_pictures_taken() {
    let portal = furnished();
    let browser = signed_in(&portal, "vera");
    let show = |path: &str, name: &str| {
        browser.open(&format!("{}{path}", portal.url));
        assert_fits(&browser);
        take(&browser, name);
    };
    show("/admin/keys", "admin-keys");
    show("/admin/keys?state=revoked&sort=-created", "admin-keys-none");
    show("/admin/audit", "admin-audit");
    browser.run("document.querySelectorAll('details').forEach(details => details.open = true)");
    assert_fits(&browser);
    take(&browser, "admin-audit-details");
    show("/admin/audit?outcome=refused&since=2026-11-01", "admin-audit-none");
    show("/admin/explain", "admin-explain");
    let id = portal.keygate.must(&["token", "create", "ci", "--name", "office"])[5..17].to_owned();
    browser.fill("#url", "http://shop.localhost/orders/7");
    browser.fill("#key", &id);
    browser.submit("form.panel .main");
    assert_fits(&browser);
    take(&browser, "admin-explain-allowed");
    browser.fill("#url", "http://shop.localhost/stock");
    browser.submit("form.panel .main");
    assert_fits(&browser);
    take(&browser, "admin-explain-refused");
    browser.fill("#key", "nonsense");
    browser.submit("form.panel .main");
    assert_fits(&browser);
    take(&browser, "admin-explain-wrong");
}
