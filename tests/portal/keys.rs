//! Keys in a real browser: made, used through real proxies, renamed, rotated, revoked; and what others see of them.

use std::process::Command;

use super::{
    PASSWORD, PLAIN, Portal, body, form,
    looks::{assert_fits, sign_in, take},
    round::World,
    token_in,
};
use crate::support::{
    browser::{Browser, ENTER, SPACE, TAB},
    programs::wait_for,
    proxy::Proxy,
};

/// A browser in which vera is signed in, with her password confirmed just now.
fn vera(portal: &Portal) -> Browser {
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in", portal.url));
    sign_in(&browser, portal, "vera", PASSWORD);
    browser
}

/// With access to two sites.
fn furnished(section: &str) -> Portal {
    let portal = Portal::start(section);
    for (site, level) in [("shop", "write"), ("blog", "view"), ("stats", "admin")] {
        portal.keygate.must(&["site", "create", site]);
        portal.keygate.must(&["access", "set", "vera", site, level]);
    }
    portal
}

fn create(browser: &Browser, portal: &str, name: &str) {
    browser.open(&format!("{portal}/keys/new"));
    browser.fill("#name", name);
    browser.submit("form.panel .main");
    assert_eq!(browser.text("h1"), "Do you really want this key?", "{}", browser.source());
    browser.submit("[value=really]");
}

/// What curl makes of the line that the page shows.
fn curl(line: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(format!("{line} -s -o /dev/null -w '%{{http_code}}'")).output().expect("a shell");
    String::from_utf8(output.stdout).expect("a status")
}

fn a_key_made_in_the_page_works_until_it_is_revoked_there(proxy: Proxy) {
    let world = World::plain(proxy);
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in", world.portal));
    browser.fill("#login", "vera");
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
    create(&browser, &world.portal, "nightly export");
    let line = browser.text("#curl");
    assert!(line.contains(&browser.text("#key")) && line.contains(&world.shop), "{line}");
    assert_eq!(curl(&line), "200", "{line}\n{}", world.whom());
    browser.submit("main .row .main");
    assert_eq!(browser.text("h1"), "nightly export");
    browser.submit(".row .danger");
    // Uses are written down a little later, all of a while together.
    let is_told = || {
        browser.reload();
        browser.text(".list").contains("used just now from 127.0.0.1").then_some(())
    };
    wait_for("the use of the key", is_told);
    assert_eq!(curl(&line), "200", "asking changes nothing");
    browser.submit(".sure");
    assert!(browser.text("[role=status]").starts_with("Revoked."));
    assert_eq!(curl(&line), "401", "{}", world.whom());
}

#[test]
fn a_key_made_in_the_page_works_through_nginx_until_it_is_revoked_there() {
    a_key_made_in_the_page_works_until_it_is_revoked_there(Proxy::NginxDebian);
}

#[test]
fn a_key_made_in_the_page_works_through_envoy_until_it_is_revoked_there() {
    a_key_made_in_the_page_works_until_it_is_revoked_there(Proxy::EnvoyGrpc);
}

#[test]
fn a_key_can_do_what_was_chosen_and_no_more() {
    let portal = furnished(PLAIN);
    let browser = vera(&portal);
    browser.open(&format!("{}/keys/new", portal.url));
    assert_eq!(browser.text("#site-shop"), "nothing\nview\nwrite");
    assert_eq!(browser.text("#site-blog"), "nothing\nview");
    browser.fill("#name", "export");
    browser.fill("#device", "backup server");
    browser.click("#rights-sites");
    browser.click("#site-shop [value=view]");
    browser.fill("#networks", "192.0.2.0/24\n2001:db8::7");
    browser.click("#expires [value=\"30d\"]");
    // It is not powerful, so nobody is asked.
    browser.submit("form.panel .main");
    let key = browser.text("#key");
    assert!(key.starts_with("kg_u_"), "{key}");
    assert!(browser.text("#curl").contains(&key));
    let told: serde_json::Value =
        serde_json::from_str(&portal.keygate.must(&["token", "show", &key[5..17], "--json"])).expect("it is JSON");
    assert_eq!(told["levels"], serde_json::json!({ "shop": "view" }));
    assert_eq!(told["networks"], serde_json::json!(["192.0.2.0/24", "2001:db8::7/128"]));
    assert_eq!((&told["name"], &told["device"], &told["secure_only"]), (&"export".into(), &"backup server".into(), &true.into()));
    browser.submit("main .row .main");
    let facts = browser.text(".facts");
    for fact in ["backup server", "View on shop", "192.0.2.0/24, 2001:db8::7/128", "in 29 days", "by vera"] {
        assert!(facts.contains(fact), "no {fact}: {facts}");
    }
}

#[test]
fn before_a_powerful_key_it_is_said_what_it_could_do() {
    let portal = furnished(PLAIN);
    let browser = vera(&portal);
    browser.open(&format!("{}/keys/new", portal.url));
    browser.fill("#name", "everything");
    browser.click("#scope-manage");
    browser.click("#expires [value=never]");
    browser.submit("form.panel .main");
    let warnings = browser.text(".note");
    for said in ["administrator of stats", "manages Keygate itself", "never expires", "good from anywhere"] {
        assert!(warnings.contains(said), "no {said}: {warnings}");
    }
    assert_eq!(portal.keygate.must(&["token", "list", "--json"]).matches("everything").count(), 0);
    browser.submit("[value=back]");
    // What was chosen is chosen still.
    assert_eq!(browser.property("#name", "value"), "everything");
    assert_eq!(
        (browser.property("#scope-manage", "checked"), browser.property("#expires", "value")),
        (true.into(), "never".into())
    );
    browser.submit("form.panel .main");
    browser.submit("[value=really]");
    assert!(browser.text("#key").starts_with("kg_u_"));
}

#[test]
fn what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost() {
    let portal = furnished(&format!("{PLAIN}\n[tokens]\nmax_expiry = \"60d\"\n"));
    let browser = vera(&portal);
    browser.open(&format!("{}/keys/new", portal.url));
    assert!(!browser.text("#expires").contains("Never") && !browser.text("#expires").contains("90 days"));
    browser.fill("#name", "far");
    browser.fill("#networks", "office");
    browser.click("#rights-sites");
    browser.submit("form.panel .main");
    assert!(browser.text("#networks-problem").contains("office") && browser.text("#problem").contains("office"));
    assert!(browser.text("#rights-problem").contains("at least one site"));
    assert_eq!((browser.property("#name", "value"), browser.property("#rights-sites", "checked")), ("far".into(), true.into()));
    browser.fill("#networks", "");
    browser.click("#rights-all");
    browser.click("#expires [value=date]");
    browser.run("document.querySelector('#until').value = '2999-01-01'");
    browser.submit("form.panel .main");
    browser.submit("[value=really]");
    assert!(browser.text("#expires-problem").contains("within 60d"), "{}", browser.source());
}

#[test]
fn a_form_that_is_sent_twice_makes_one_key() {
    let portal = furnished(PLAIN);
    let client = portal.signed_in();
    let page = client.get("/keys/new");
    let html = body(&page);
    let once = html.split("name=\"once\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form has one");
    let token = token_in(&page);
    let fields = [
        ("csrf", token.as_str()),
        ("once", once),
        ("name", "twice"),
        ("rights", "all"),
        ("expires", "30d"),
        ("networks", "192.0.2.7"),
        ("step", "really"),
    ];
    let first = client.post("/keys/new", &fields);
    assert!(first.status == 200 && body(&first).contains("kg_u_"), "{}", body(&first));
    let second = client.post("/keys/new", &fields);
    let to = second.header("location").expect("it leads to the first").to_owned();
    assert!(second.status == 303 && to.ends_with("?notice=made_before"), "{to}");
    assert!(!body(&client.get(&to)).contains("kg_u_"));
    assert_eq!(portal.keygate.must(&["token", "list", "--json"]).matches("\"twice\"").count(), 1);
    for more in [("site.shop", "view"), ("colour", "green"), ("name", "again")] {
        let answer = client.post("/keys/new", &[&fields[..], &[more, ("site.shop", "view")]].concat());
        assert_eq!(answer.status, 400, "{more:?}");
    }
}

#[test]
fn keys_are_renamed_rotated_and_revoked_together() {
    let portal = furnished(PLAIN);
    let browser = vera(&portal);
    for name in ["one", "two", "three"] {
        create(&browser, &portal.url, name);
    }
    browser.open(&format!("{}/keys", portal.url));
    assert_eq!(browser.count("tbody tr"), 3);
    browser.open(&format!("{}/keys?sort=name", portal.url));
    assert!(browser.text("tbody tr th").starts_with("one"), "{}", browser.text("tbody"));
    assert_eq!(browser.count("th[aria-sort=ascending]"), 1);
    browser.submit("th[aria-sort] a");
    assert!(browser.text("tbody tr th").starts_with("two"), "{}", browser.text("tbody"));
    browser.fill("#filter-name", "thre");
    browser.submit(".filters button");
    assert_eq!(browser.count("tbody tr"), 1);
    browser.submit("tbody th a");
    browser.submit("a[href$=edit]");
    browser.fill("#name", "the third");
    browser.fill("#device", "laptop");
    browser.submit("form .main");
    assert_eq!((browser.text("h1"), browser.text("[role=status]")), ("the third".into(), "The key has a new description.".into()));
    browser.submit("a[href$=rotate]");
    browser.submit("form .main");
    let new = browser.text("#key");
    browser.submit("main .row .main");
    assert!(browser.url().contains(&new[5..17]) && browser.text(".facts").contains("Replaces"));
    browser.open(&format!("{}/keys?sort=name", portal.url));
    assert!(browser.text("table").contains("Being replaced") && browser.count("tbody tr") == 4);
    browser.click("[aria-label='Choose one']");
    browser.click("[aria-label='Choose two']");
    browser.submit("form .danger");
    assert_eq!((browser.text("h1"), browser.count(".list li")), ("Revoke these keys?".into(), 2));
    browser.submit(".sure");
    browser.open(&format!("{}/keys?state=active", portal.url));
    assert_eq!(browser.count("tbody tr"), 2);
    browser.submit("a.danger");
    assert_eq!((browser.text("h1"), browser.count(".list li")), ("Revoke all your keys?".into(), 2));
    browser.submit(".sure");
    browser.open(&format!("{}/keys?state=active", portal.url));
    assert_eq!(browser.count("tbody tr"), 0);
}

/// Whether it is somebody else's or nobody's is not said.
#[test]
fn who_guesses_ids_finds_nothing() {
    let portal = furnished(PLAIN);
    let hers = portal.keygate.must(&["token", "create", "vera", "--name", "hers"]);
    let id = &hers[5..17];
    let nobodys = "AbCdEfGh0123";
    let other = portal.client();
    other.sign_in("/sign-in", "wilhelmina.theodora.featherstonehaugh-cholmondeley", PASSWORD);
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in", portal.url));
    sign_in(&browser, &portal, "wilhelmina.theodora.featherstonehaugh-cholmondeley", PASSWORD);
    let page = |path: &str| {
        browser.open(&format!("{}{path}", portal.url));
        assert_eq!(browser.text("h1"), "There is no such page", "{path}");
        let answer = other.get(path);
        let id = body(&answer).split("<code>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default().to_owned();
        (answer.status, body(&answer).replace(&id, ""))
    };
    for path in ["", "/edit", "/rotate"] {
        let (status, text) = page(&format!("/keys/{id}{path}"));
        assert_eq!((status, &text), (404, &page(&format!("/keys/{nobodys}{path}")).1), "{path}");
    }
    assert_eq!(page(&format!("/keys/revoke?id={id}")), page(&format!("/keys/revoke?id={nobodys}")));
    let token = other.token("/keys");
    let posts = |id: &str| {
        let rotate: &[_] = &[("csrf", token.as_str()), ("once", "x"), ("grace", "none")];
        let ids: &[_] = &[("csrf", token.as_str()), ("ids", id)];
        let edit: &[_] = &[("csrf", token.as_str()), ("name", "mine"), ("device", "")];
        let posts = [(format!("/keys/{id}/rotate"), rotate), ("/keys/revoke".to_owned(), ids), (format!("/keys/{id}/edit"), edit)];
        posts.map(|(path, fields)| other.post(&path, fields).status)
    };
    assert_eq!((posts(id), posts(nobodys)), ([404; 3], [404; 3]));
    let list = portal.keygate.must(&["token", "list", "--json"]);
    assert!(list.contains("\"active\"") && list.contains("\"hers\""), "{list}");
}

/// The form of one session does nothing in another; the others are in `forms`.
#[test]
fn the_form_of_another_session_makes_no_key() {
    let portal = furnished(PLAIN);
    let (hers, mine) = (portal.signed_in(), portal.signed_in());
    let token = hers.token("/keys/new");
    let fields = [("once", "x"), ("name", "x"), ("rights", "all"), ("expires", "30d"), ("networks", "::1"), ("step", "really")];
    let with = |token: &str| {
        [&fields[..], &[("csrf", token)]].concat().into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect::<Vec<_>>()
    };
    let borrowed = |fields: &[(String, String)]| {
        mine.send(&form(
            mine.request("POST", "/keys/new").header("Origin", &portal.url),
            &fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(),
        ))
    };
    assert_eq!(borrowed(&with(&token)).status, 403);
    assert_eq!(mine.post("/keys/new", &fields).status, 403);
    let own = mine.token("/keys/new");
    let foreign = mine.request("POST", "/keys/new").header("Origin", "http://shop.localhost:8000");
    assert_eq!(mine.send(&form(foreign, &[&fields[..], &[("csrf", &own)]].concat())).status, 403);
    assert_eq!(portal.keygate.must(&["token", "list", "--json"]).matches("\"x\"").count(), 0);
    assert_eq!(borrowed(&with(&own)).status, 200);
}

#[test]
fn the_keyboard_is_enough_to_make_a_key() {
    let portal = furnished(PLAIN);
    let browser = vera(&portal);
    browser.open(&format!("{}/keys/new", portal.url));
    browser.run("document.querySelector('#name').focus()");
    // Name, device, all, every, its level, …: one step for each group of radio buttons.
    browser.type_keys(&format!("by hand{TAB}desk{TAB}"));
    assert_eq!(browser.focused(), "rights-all");
    while browser.focused() != "networks" {
        browser.type_keys(TAB);
    }
    browser.type_keys(&format!("192.0.2.7{TAB}"));
    assert_eq!(browser.focused(), "expires");
    while browser.focused() != "in-urls" {
        browser.type_keys(TAB);
    }
    browser.type_keys(&format!("{SPACE}{TAB}"));
    assert_eq!(browser.focused(), "Create the key");
    browser.leave(|| browser.type_keys(ENTER));
    // It administers a site.
    browser.run("document.querySelector('[value=really]').focus()");
    browser.leave(|| browser.type_keys(ENTER));
    assert_eq!(browser.text("h1"), "Copy your key");
}

#[test]
fn keys_need_no_script_and_the_copy_button_does() {
    let portal = furnished(PLAIN);
    let browser = Browser::start();
    browser.devtools("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": true }));
    browser.open(&format!("{}/sign-in", portal.url));
    sign_in(&browser, &portal, "vera", PASSWORD);
    create(&browser, &portal.url, "plain");
    assert!(browser.text("#key").starts_with("kg_u_"));
    assert_eq!(browser.text("[data-copy=key]"), "", "it is hidden where it would do nothing");
    browser.devtools("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": false }));
    create(&browser, &portal.url, "copied");
    assert_eq!(browser.text("[data-copy=key]"), "Copy");
    browser.devtools(
        "Browser.grantPermissions",
        &serde_json::json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }),
    );
    browser.click("[data-copy=key]");
    let key = browser.text("#key");
    assert_eq!(browser.run("return await navigator.clipboard.readText()"), key.as_str());
    assert_eq!(browser.text("[data-copy=key]"), "Copied");
}

#[test]
fn every_page_about_keys_has_its_picture_taken() {
    let portal =
        furnished(&format!("{PLAIN}\n[[rules]]\nname = \"reports\"\nsite = \"shop\"\naccess = \"view\"\nscope = \"reporting\"\n"));
    let browser = vera(&portal);
    let show = |path: &str, name: &str| {
        browser.open(&format!("{}{path}", portal.url));
        assert_fits(&browser);
        take(&browser, name);
    };
    show("/keys", "keys-empty");
    show("/keys/new", "keys-new");
    browser.fill("#name", "nightly export");
    browser.fill("#device", "backup server");
    browser.fill("#networks", "somewhere");
    browser.click("#rights-sites");
    browser.submit("form.panel .main");
    take(&browser, "keys-new-wrong");
    browser.open(&format!("{}/keys/new", portal.url));
    browser.fill("#name", "nightly export");
    browser.click("#expires [value=never]");
    browser.submit("form.panel .main");
    assert_fits(&browser);
    take(&browser, "keys-sure");
    browser.submit("[value=really]");
    assert_fits(&browser);
    take(&browser, "keys-made");
    let id = browser.text("#key")[5..17].to_owned();
    let long = "A key with a name that is as long as names of keys may ever become, which is exactly one hundred ones";
    let (cli, keygate) = (["token", "create", "vera", "--name"], &portal.keygate);
    for (name, more) in [
        (
            "CI of the shop",
            &["--access", "shop=write", "--scope", "reporting", "--expires", "7d", "--device", "build.example.com"][..],
        ),
        (
            &long[..100],
            &[
                "--from",
                "192.0.2.0/24",
                "--from",
                "2001:db8::/32",
                "--access",
                "shop=view",
                "--access",
                "blog=view",
                "--access",
                "stats=admin",
            ],
        ),
        ("Phone", &["--access", "view", "--expires", "90d", "--device", "Pixel"]),
        ("Management", &["--scope", "manage", "--expires", "365d"]),
    ] {
        keygate.must(&[&cli[..], &[name], more].concat());
    }
    let old = keygate.must(&[&cli[..], &["Old laptop"]].concat());
    keygate.must(&["token", "revoke", &old[5..17]]);
    let rotated = keygate.must(&[&cli[..], &["Rotated"]].concat());
    keygate.must(&["token", "rotate", &rotated[5..17], "--grace", "1d"]);
    show("/keys", "keys");
    show("/keys?name=nothing+like+this", "keys-none-found");
    show("/keys?sort=-expires&state=active", "keys-sorted");
    show(&format!("/keys/{id}"), "key");
    show(&format!("/keys/{}", &rotated[5..17]), "key-being-replaced");
    show(&format!("/keys/{}?notice=made_before", &old[5..17]), "key-revoked");
    show(&format!("/keys/{id}/edit"), "key-edit");
    show(&format!("/keys/{id}/rotate"), "key-rotate");
    show(&format!("/keys/revoke?id={id}"), "key-revoke");
    show("/keys/revoke?all=on", "keys-revoke-all");
    show("/keys/revoke", "keys-revoke-nothing");
    for index in 0..30 {
        keygate.must(&[&cli[..], &[&format!("{} {index:02}", &long[..90])]].concat());
    }
    show("/keys", "keys-many");
    browser.submit("[rel=next]");
    take(&browser, "keys-second-page");
}
