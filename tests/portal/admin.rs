//! The pages of the administration in a real browser, and what of them is whose business.

use serde_json::{Value, json};

use super::{
    PASSWORD, PLAIN, Portal, body,
    looks::{assert_fits, sign_in, take},
    token_in,
};
use crate::support::{browser::Browser, http::Request};

/// With a superuser `boss`, an administrator of the site `shop`, `ada`, and two services.
fn furnished() -> Portal {
    let portal = Portal::start(PLAIN);
    let keygate = &portal.keygate;
    keygate.must_with(&["account", "create", "boss", "--superuser", "--name", "The Boss", "--password-stdin"], PASSWORD);
    keygate.must_with(&["account", "create", "ada", "--name", "Ada", "--email", "ada@example.com", "--password-stdin"], PASSWORD);
    for service in ["robot", "statistician"] {
        keygate.must(&["account", "create", service, "--service"]);
    }
    for site in ["shop", "stats", "blog"] {
        keygate.must(&["site", "create", site, "--host", &format!("{site}.example.com")]);
    }
    for (login, site, level) in [
        ("ada", "shop", "admin"),
        ("ada", "stats", "view"),
        ("vera", "shop", "write"),
        ("robot", "shop", "view"),
        ("robot", "blog", "write"),
        ("statistician", "stats", "admin"),
    ] {
        keygate.must(&["access", "set", login, site, level]);
    }
    portal
}

fn browser(portal: &Portal, login: &str) -> Browser {
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in", portal.url));
    sign_in(&browser, portal, login, PASSWORD);
    browser
}

fn told(portal: &Portal, arguments: &[&str]) -> Value {
    serde_json::from_str(&portal.keygate.must(&[arguments, &["--json"]].concat())).expect("it is JSON")
}

#[test]
fn a_superuser_makes_changes_and_deletes_accounts() {
    let portal = furnished();
    let browser = browser(&portal, "boss");
    browser.open(&format!("{}/admin", portal.url));
    assert_eq!(browser.text("h1"), "Overview");
    browser.submit(".sub a[href='/admin/accounts']");
    assert_eq!(browser.text("h1"), "Accounts");
    browser.submit("a[href='/admin/new-account']");
    browser.fill("#login", "vera");
    browser.fill("#email", "nina@example.com");
    browser.fill("#password", "short");
    browser.submit("form.panel .main");
    assert!(browser.text("#password-problem").contains('8'), "{}", browser.text("#password-problem"));
    browser.fill("#password", "a good password of hers");
    browser.submit("form.panel .main");
    assert_eq!(browser.text("#login-problem"), "The login “vera” is taken.");
    browser.fill("#login", "nina");
    browser.fill("#password", "a good password of hers");
    browser.submit("form.panel .main");
    assert_eq!((browser.text("h1"), browser.text("[role=status]")), ("nina".into(), "Created.".into()));
    let nina = portal.client();
    assert_eq!(nina.sign_in("/sign-in", "nina@example.com", "a good password of hers").status, 303);
    browser.submit("a[href$='/edit']");
    browser.fill("#name", "Nina");
    browser.submit("form.panel .main");
    assert!(browser.text(".facts").contains("Nina"));
    browser.submit("a[href$='/disable']");
    assert!(browser.text(".note").contains("One session ends."), "{}", browser.text(".note"));
    browser.submit(".sure");
    assert!(browser.text("h1").contains("Disabled"));
    assert_eq!(nina.get("/keys").status, 303);
    browser.submit("a[href$='/enable']");
    browser.submit("main .main");
    assert_eq!(told(&portal, &["account", "show", "nina"])["disabled"], json!(false));
    browser.submit("a[href$='/delete']");
    browser.submit(".sure");
    assert!(!portal.keygate.must(&["account", "list"]).contains("nina"));
    browser.open(&format!("{}/admin/accounts?login=ad&kind=human", portal.url));
    assert_eq!(browser.count("tbody tr"), 1);
    // The last superuser stays one.
    browser.open(&format!("{}/admin/accounts/boss/edit", portal.url));
    browser.click("#superuser");
    browser.submit("form.panel .main");
    assert!(browser.text("#superuser-problem").contains("last enabled superuser"));
}

#[test]
fn what_is_deleted_is_named_with_what_it_breaks() {
    let portal = furnished();
    let key = portal.keygate.must(&["token", "create", "robot", "--name", "worker"]);
    let browser = browser(&portal, "boss");
    browser.open(&format!("{}/admin/accounts/robot/delete", portal.url));
    assert!(browser.text(".note").contains("One key is good"), "{}", browser.text(".note"));
    browser.open(&format!("{}/admin/sites/shop/delete", portal.url));
    assert!(browser.text(".note").contains("3 accounts lose their access") && browser.text(".note").contains("shop.example.com"));
    browser.submit(".sure");
    assert!(!portal.keygate.must(&["site", "list"]).contains("shop"));
    // Somebody else was faster: what was looked at is not what is there.
    browser.open(&format!("{}/admin/accounts/robot/delete", portal.url));
    portal.keygate.must(&["account", "disable", "robot"]);
    browser.submit(".sure");
    assert_eq!(browser.text("h1"), "Changed meanwhile");
    assert_eq!(told(&portal, &["token", "show", &key[5..17]])["state"], json!("active"));
}

#[test]
fn an_administrator_makes_a_key_for_a_service() {
    let portal = furnished();
    for (login, from) in [("boss", "/admin/accounts/robot"), ("ada", "/admin/accounts/robot/keys")] {
        let browser = browser(&portal, login);
        browser.open(&format!("{}{from}", portal.url));
        browser.submit("a[href$='/new-key']");
        assert_eq!(browser.text("h1"), "Create a key for robot");
        // An administrator of sites gives what is his.
        let sites = if login == "boss" { 2 } else { 1 };
        assert_eq!((browser.count(".pairs select"), browser.count("#scope-manage")), (sites, usize::from(login == "boss")));
        browser.fill("#name", &format!("by {login}"));
        browser.fill("#networks", "192.0.2.7");
        browser.submit("form.panel .main");
        let key = browser.text("#key");
        assert!(key.starts_with("kg_s_"), "{key}");
        let record = told(&portal, &["token", "show", &key[5..17]]);
        assert_eq!((&record["account"], &record["created_by"]), (&json!("robot"), &json!(login)));
        let levels = if login == "boss" { Value::Null } else { json!({ "shop": "admin" }) };
        assert_eq!(record["levels"], levels);
        browser.submit("main .row .main");
        assert!(browser.text(".crumb").contains("Keys of robot"));
        browser.submit(".row .danger");
        browser.submit(".sure");
        assert_eq!(browser.text("h1"), "Keys of robot");
        assert_eq!(told(&portal, &["token", "show", &key[5..17]])["state"], json!("revoked"));
    }
}

#[test]
fn access_is_given_and_taken_in_the_matrix() {
    let portal = furnished();
    let browser = browser(&portal, "boss");
    browser.open(&format!("{}/admin/access", portal.url));
    assert_eq!(browser.text("thead"), "Account blog shop stats");
    browser.submit("a[href*='login=vera'][href$='site=stats']");
    assert_eq!((browser.property("#login", "value"), browser.property("#level", "value")), (json!("vera"), json!("none")));
    browser.click("#level [value=view]");
    browser.submit("form.panel .main");
    assert!(portal.keygate.must(&["access", "list", "vera"]).contains("view"));
    browser.submit("a[href*='login=vera'][href$='site=shop']");
    browser.click("#level [value=none]");
    browser.submit("form.panel .main");
    assert!(!portal.keygate.must(&["access", "list", "vera"]).contains("shop"));
    browser.open(&format!("{}/admin/give-access", portal.url));
    browser.fill("#login", "nobody");
    browser.fill("#site", "shop");
    browser.submit("form.panel .main");
    assert!(browser.text("#login-problem").contains("There is no account"));
    browser.open(&format!("{}/admin/access?site=stats", portal.url));
    assert_eq!(browser.text("thead"), "Account stats");
}

#[test]
fn sessions_end_and_blocks_are_lifted() {
    let portal = Portal::start(&format!("{PLAIN}\n[guessing]\nper_login = 3\n"));
    portal.keygate.must_with(&["account", "create", "boss", "--superuser", "--password-stdin"], PASSWORD);
    let vera = portal.signed_in();
    let browser = browser(&portal, "boss");
    browser.open(&format!("{}/admin/sessions?login=vera", portal.url));
    assert_eq!(browser.count("tbody tr"), 1);
    browser.submit("tbody button");
    assert_eq!((browser.text("[role=status]"), vera.get("/keys").status), ("The session has ended.".into(), 303));
    browser.open(&format!("{}/admin/blocked", portal.url));
    assert_eq!(browser.text(".empty h2"), "Nobody is blocked");
    let client = portal.client();
    while client.sign_in("/sign-in", "vera", "wrong").status != 429 {}
    browser.reload();
    take(&browser, "admin-blocked");
    assert!(browser.text("tbody th").contains("vera"), "{}", browser.text("tbody"));
    browser.submit("tbody button");
    assert_eq!(client.sign_in("/sign-in", "vera", PASSWORD).status, 303);
}

/// Everything in the administration, with who sees it.
const PAGES: [(&str, bool); 18] = [
    ("/admin", true),
    ("/admin/sites", true),
    ("/admin/sites/shop", true),
    ("/admin/access", true),
    ("/admin/give-access", true),
    ("/admin/accounts/robot/keys", true),
    ("/admin/accounts/robot/new-key", true),
    ("/admin/sites/blog", false),
    ("/admin/sites/stats", false),
    ("/admin/sites/shop/delete", false),
    ("/admin/new-site", false),
    ("/admin/accounts", false),
    ("/admin/new-account", false),
    ("/admin/accounts/robot", false),
    ("/admin/accounts/robot/edit", false),
    ("/admin/accounts/robot/delete", false),
    ("/admin/sessions", false),
    ("/admin/blocked", false),
];

#[test]
fn what_is_none_of_somebody_s_business_is_not_there() {
    let portal = furnished();
    let signed_in = |login: &str| {
        let client = portal.client();
        assert_eq!(client.sign_in("/sign-in", login, PASSWORD).status, 303);
        client
    };
    let (boss, ada, vera) = (signed_in("boss"), signed_in("ada"), signed_in("vera"));
    for (path, for_administrators) in PAGES {
        assert!(matches!(boss.get(path).status, 200 | 303), "{path}");
        let status = ada.get(path).status;
        assert_eq!(status == 404, !for_administrators, "{path}: {status}");
        assert_eq!(vera.get(path).status, 404, "{path}");
        let nobody = portal.client().get(path);
        assert!(nobody.status == 303 && nobody.header("location").unwrap().starts_with("/sign-in?next=/admin"), "{path}");
    }
    assert!(!body(&vera.get("/keys")).contains("/admin") && body(&ada.get("/keys")).contains("\"/admin\""));
    let sites = body(&ada.get("/admin/sites"));
    assert!(sites.contains("/admin/sites/shop") && !sites.contains("blog") && !sites.contains("stats"), "{sites}");
    let access = body(&ada.get("/admin/access"));
    assert!(access.contains("robot") && !access.contains("statistician") && !access.contains("blog"), "{access}");
    assert!(!body(&ada.get("/admin/access?site=stats")).contains("statistician"));
    assert_eq!(ada.get("/admin/accounts/statistician/keys").status, 404);
    // Nor can they do anything there.
    for (client, login) in [(&ada, "ada"), (&vera, "vera")] {
        let token = token_in(&client.get("/keys"));
        let post = |path: &str, fields: &[(&str, &str)]| client.post(path, &[&[("csrf", token.as_str())], fields].concat()).status;
        let give = |login, site| post("/admin/give-access", &[("login", login), ("site", site), ("level", "admin")]);
        for status in [
            post("/admin/accounts/robot/disable", &[("version", "1")]),
            post("/admin/accounts/robot/delete", &[("version", "1")]),
            post("/admin/accounts/robot/revoke-all", &[("version", "1")]),
            post("/admin/accounts/robot/edit", &[("version", "1"), ("login", "mine")]),
            post("/admin/new-account", &[("once", "x"), ("kind", "human"), ("login", "mine")]),
            post("/admin/new-site", &[("once", "y"), ("id", "mine")]),
            post("/admin/sites/stats", &[("version", "1"), ("name", "mine")]),
            post("/admin/sites/shop/delete", &[("version", "1")]),
            post("/admin/blocked", &[("value", "192.0.2.7")]),
            post("/admin/sessions", &[("id", "AbCdEfGh0123")]),
            give(login, "blog"),
        ] {
            assert!(matches!(status, 403 | 404 | 422), "{login}: {status}");
        }
    }
    let list = portal.keygate.must(&["account", "list"]);
    assert!(list.contains("robot") && !list.contains("mine") && !portal.keygate.must(&["site", "list"]).contains("mine"));
    assert!(!portal.keygate.must(&["access", "list", "vera"]).contains("blog"));
}

#[test]
fn forms_of_the_administration_need_the_token_of_the_session() {
    let portal = furnished();
    let boss = portal.client();
    boss.sign_in("/sign-in", "boss", PASSWORD);
    let other = portal.client();
    other.sign_in("/sign-in", "boss", PASSWORD);
    let foreign = token_in(&other.get("/keys"));
    for path in [
        "/admin/accounts/robot/disable",
        "/admin/accounts/robot/delete",
        "/admin/accounts/robot/revoke-all",
        "/admin/sites/shop/delete",
    ] {
        for token in [foreign.as_str(), ""] {
            assert_eq!(boss.post(path, &[("csrf", token), ("version", "1")]).status, 403, "{path}");
        }
        let own = token_in(&boss.get("/keys"));
        let elsewhere: Request = boss.request("POST", path).header("Origin", "http://shop.localhost:8000");
        assert_eq!(boss.send(&super::form(elsewhere, &[("csrf", &own), ("version", "1")])).status, 403, "{path}");
        assert_eq!(boss.send(&boss.request("DELETE", path).header("Origin", &portal.url)).status, 405, "{path}");
    }
    for (path, fields) in [
        ("/admin/new-account", vec![("once", "x"), ("kind", "human"), ("login", "mine")]),
        ("/admin/accounts/robot/edit", vec![("version", "1"), ("login", "mine")]),
        ("/admin/accounts/robot/new-key", vec![("once", "x"), ("name", "x"), ("rights", "all"), ("expires", "30d")]),
        ("/admin/new-site", vec![("once", "y"), ("id", "mine")]),
        ("/admin/sites/shop", vec![("version", "1"), ("name", "mine")]),
        ("/admin/give-access", vec![("login", "vera"), ("site", "blog"), ("level", "admin")]),
        ("/admin/sessions", vec![("id", "AbCdEfGh0123")]),
        ("/admin/blocked", vec![("value", "192.0.2.7")]),
    ] {
        for token in [foreign.as_str(), ""] {
            assert_eq!(boss.post(path, &[&[("csrf", token)], fields.as_slice()].concat()).status, 403, "{path}");
        }
    }
}

#[test]
fn every_page_of_the_administration_has_its_picture_taken() {
    let portal = furnished();
    for index in 0..60 {
        portal.keygate.must(&["account", "create", &format!("service-{index:02}"), "--service"]);
    }
    portal.keygate.must(&["account", "disable", "service-03"]);
    for name in ["worker", "importer"] {
        portal.keygate.must(&["token", "create", "robot", "--name", name]);
    }
    let browser = browser(&portal, "boss");
    drop(portal.signed_in());
    let show = |path: &str, name: &str| {
        browser.open(&format!("{}{path}", portal.url));
        assert_fits(&browser);
        take(&browser, name);
    };
    show("/admin/accounts", "admin-accounts");
    show("/admin/accounts?login=nothing", "admin-accounts-none-found");
    show("/admin/accounts/ada", "admin-account");
    show("/admin/accounts/boss/edit", "admin-account-edit");
    show("/admin/new-account", "admin-account-new");
    show("/admin/accounts/robot/delete", "admin-account-delete");
    show("/admin/accounts/robot/keys", "admin-account-keys");
    show("/admin/accounts/robot/new-key", "admin-account-new-key");
    show("/admin/sites", "admin-sites");
    show("/admin/sites/shop", "admin-site");
    show("/admin/new-site", "admin-site-new");
    show("/admin/sites/shop/delete", "admin-site-delete");
    show("/admin/access", "admin-access");
    show("/admin/access?q=nothing", "admin-access-none-found");
    show("/admin/give-access?login=vera&site=shop", "admin-access-edit");
    show("/admin/sessions", "admin-sessions");
    show("/admin/blocked", "admin-blocked-nobody");
}
