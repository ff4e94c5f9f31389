//! Second factors: set up in pages and over REST, asked for at the sign-in, good once, and sealed in the store. The codes are
//! made by a real authenticator's arithmetic, and the QR code is read from the screen.

mod asked;
mod stores;

use std::path::Path;

use serde_json::{Value, json};

use super::{
    Client, HOME, PASSWORD, PLAIN, Portal, body, form,
    looks::take,
    round::{World, header, seen},
    token_in,
};
use crate::support::{
    authenticator::{Authenticator, scanned},
    browser::Browser,
    http::{Answer, Request},
    proxy::Proxy,
};

impl Client<'_> {
    /// Sets up an app, and gives back the recovery codes.
    pub fn set_up(&self, page: &str) -> (Authenticator, Vec<String>) {
        let (app, fields) = self.begin(page);
        // So that the codes of now and later are left.
        let code = app.code(-1);
        let answer = self.post(page, &[("csrf", &fields[0]), ("setup", &fields[1]), ("name", "Phone"), ("code", &code)]);
        assert_eq!(answer.status, 200, "{}", body(&answer));
        (app, recovery_codes(&body(&answer)))
    }

    /// The app that is offered, and what its form has in hidden fields.
    pub fn begin(&self, page: &str) -> (Authenticator, [String; 2]) {
        let offered = self.get(page);
        let html = body(&offered);
        let between = |before: &str| {
            let rest = html.split(before).nth(1).unwrap_or_else(|| panic!("no {before} in {html}"));
            rest.split(['"', '<']).next().unwrap().to_owned()
        };
        let app = Authenticator(between("id=\"secret\">").replace(' ', ""));
        (app, [token_in(&offered), between("name=\"setup\" value=\"")])
    }

    /// Gives the password, and then the code.
    fn enter(&self, code: &str) -> Answer {
        let half = self.sign_in("/sign-in", "vera", PASSWORD);
        assert_eq!((half.status, half.header("location")), (303, Some("/second-factor")), "{}", body(&half));
        self.show("/second-factor", code)
    }

    fn show(&self, page: &str, code: &str) -> Answer {
        let token = self.token(page);
        self.post(page, &[("csrf", &token), ("code", code)])
    }

    /// What the API answers to a script in the portal's page.
    pub fn api(&self, method: &str, path: &str, sent: &Value) -> (u16, Value) {
        let me = self.get("/api/v1/me");
        let me: Value = serde_json::from_slice(&me.body).unwrap();
        let request = self.request(method, &format!("/api/v1{path}")).header("Origin", &self.portal.url);
        let request = request.header("X-CSRF-Token", me["csrf_token"].as_str().unwrap_or_default());
        let request = if sent.is_null() {
            request
        } else {
            request.header("Content-Type", "application/json").body(sent.to_string().into_bytes())
        };
        let answer = self.send(&request);
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

fn recovery_codes(html: &str) -> Vec<String> {
    let list = html.split("id=\"codes\">").nth(1).and_then(|rest| rest.split("</ul>").next()).expect("there are codes");
    list.split("<code>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

fn password(browser: &Browser, portal: &Portal) {
    browser.open(&format!("{}/sign-in", portal.url));
    browser.fill("#login", "vera");
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
}

#[test]
fn an_app_is_set_up_in_a_browser_and_asked_for_from_then_on() {
    let portal = Portal::start(PLAIN);
    let (browser, other) = (Browser::start(), portal.signed_in());
    let page = |path: &str| format!("{}{path}", portal.url);
    password(&browser, &portal);
    browser.open(&page("/security"));
    take(&browser, "security-empty");
    browser.submit("a.main");
    assert_eq!(browser.url(), page("/security/totp"));
    take(&browser, "security-totp");
    // The camera sees what can be typed.
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots/security-totp-wide-dark.png");
    let app = Authenticator(browser.text("#secret").replace(' ', ""));
    let uri = scanned(&picture);
    assert_eq!(uri, format!("otpauth://totp/localhost:vera?secret={}&issuer=localhost&algorithm=SHA1&digits=6&period=30", app.0));
    for wrong in [app.code(2), app.code(-2), "hello".to_owned()] {
        browser.fill("#code", &wrong);
        browser.submit("form .main");
        assert!(browser.text("#problem").starts_with("This is not the code"), "{}", browser.source());
        assert_eq!((browser.focused(), browser.text("#secret").replace(' ', "")), ("code".to_owned(), app.0.clone()));
    }
    take(&browser, "security-totp-wrong");
    browser.fill("#code", &app.code(-1));
    browser.fill("#name", "Phone");
    browser.submit("form .main");
    assert_eq!((browser.text("h1"), browser.count(".codes li")), ("Your recovery codes".to_owned(), 10));
    take(&browser, "security-recovery-codes");
    let codes: Vec<_> = browser.text(".codes").lines().map(str::to_owned).collect();
    browser.submit("a.main");
    assert_eq!((browser.url(), browser.text(".list h3")), (page("/security"), "Phone".to_owned()));
    assert!(browser.text("main").contains("10 of 10"), "{}", browser.text("main"));
    assert_eq!(other.get("/sessions").status, 303, "other sessions have ended");
    take(&browser, "security");

    browser.submit(".who button");
    password(&browser, &portal);
    assert_eq!((browser.url(), browser.focused()), (page("/second-factor"), "code".to_owned()));
    take(&browser, "second-factor");
    for elsewhere in ["/sessions", "/security", "/security/totp", "/password", "/confirm", "/"] {
        browser.open(&page(elsewhere));
        assert!(browser.url().starts_with(&page("/second-factor")), "{elsewhere}: {}", browser.url());
    }
    browser.fill("#code", "000000");
    browser.submit(".main");
    assert!(browser.text("#problem").starts_with("The code is wrong"));
    take(&browser, "second-factor-wrong");
    let code = app.code(0);
    browser.fill("#code", &code);
    let before = browser.cookie("keygate").unwrap()["value"].clone();
    browser.submit(".main");
    assert_eq!(browser.url(), page("/keys"));
    assert_ne!(browser.cookie("keygate").unwrap()["value"], before);
    // Nobody comes in by the same one, and anybody by a recovery code.
    let thief = Browser::start();
    password(&thief, &portal);
    thief.fill("#code", &code);
    thief.submit(".main");
    assert!(thief.text("#problem").starts_with("The code is wrong"));
    thief.submit("p a");
    take(&thief, "second-factor-recovery");
    thief.fill("#code", &codes[0].to_uppercase());
    thief.submit(".main");
    assert_eq!(thief.url(), page("/keys"));
    browser.open(&page("/security"));
    assert!(browser.text("main").contains("9 of 10"), "{}", browser.text("main"));

    browser.open(&page("/security/recovery-codes"));
    take(&browser, "security-recovery");
    browser.fill("#code", &codes[0]);
    browser.submit("form .main");
    assert!(browser.text("#problem").starts_with("The code is wrong"));
    browser.fill("#code", &codes[1]);
    browser.submit("form .main");
    let renewed: Vec<_> = browser.text(".codes").lines().map(str::to_owned).collect();
    assert!(renewed.len() == 10 && renewed.iter().all(|code| !codes.contains(code)));
    browser.open(&page("/security"));
    browser.submit(".list a");
    take(&browser, "security-remove");
    browser.fill("#code", &renewed[0]);
    browser.submit("form .danger");
    assert_eq!(browser.text("[role=status]"), "The second factor is removed, and all other sessions have ended.");
    thief.open(&page("/sessions"));
    assert!(thief.url().starts_with(&page("/sign-in")));
    password(&thief, &portal);
    assert_eq!(thief.url(), page("/keys"), "the password is enough again");
    // All of it is told, and none of the codes is.
    let trail = portal.keygate.must(&["audit", "--account", "vera", "--json"]);
    for told in
        ["factor.add", "factor.remove", "factor.recovery_code_used", "factor.codes_renewed", "session.password", "wrong_code"]
    {
        assert!(trail.contains(told), "{told}: {trail}");
    }
    let log = portal.keygate.log();
    for hidden in codes.iter().chain(&renewed).chain([&app.0, &code]) {
        assert!(!trail.contains(hidden) && !log.contains(hidden), "{hidden}");
    }
}

/// Forced to set up, and afterwards asked for it, behind a proxy; each time back to the page that was asked for.
#[test]
fn who_must_have_a_second_factor_sets_it_up_on_his_way() {
    let world = World::plain(Proxy::NginxDebian);
    let (browser, page) = (Browser::start(), format!("{}/orders/7?a=b%20c&d=%2F", world.shop));
    let whose = |browser: &Browser| header(&seen(browser, &world), "x-auth-account");
    let give_password = || {
        browser.fill("#login", "vera");
        browser.fill("#password", PASSWORD);
        browser.submit(".main");
    };
    browser.open(&page);
    give_password();
    browser.arrive(&page);
    assert_eq!(whose(&browser), ["vera"]);
    // From one moment to the next.
    world.house.keygate.must(&["account", "require-second-factor", "vera", "on"]);
    assert_eq!(browser.run("return (await fetch('/orders/7')).status"), json!(401), "{}", world.whom());
    browser.open(&page);
    assert!(browser.url().starts_with(&format!("{}/security/totp?rd=", world.portal)), "{}\n{}", browser.url(), world.whom());
    take(&browser, "security-totp-first");
    for elsewhere in ["/sessions", "/security", "/password", "/confirm", "/security/recovery-codes"] {
        browser.open(&format!("{}{elsewhere}", world.portal));
        assert!(browser.url().starts_with(&format!("{}/security/totp", world.portal)), "{elsewhere}: {}", browser.url());
    }
    assert_eq!(browser.run("return (await fetch('/api/v1/me')).status"), json!(401));
    browser.open(&page);
    let app = Authenticator(browser.text("#secret").replace(' ', ""));
    browser.fill("#code", &app.code(-1));
    browser.submit("form .main");
    assert_eq!(browser.count(".codes li"), 10, "{}", browser.source());
    browser.click("a.main");
    browser.arrive(&page);
    assert_eq!(whose(&browser), ["vera"]);

    browser.open(&format!("{}/sessions", world.portal));
    browser.submit(".who button");
    browser.open(&page);
    give_password();
    assert!(browser.url().starts_with(&format!("{}/second-factor?rd=", world.portal)), "{}", browser.url());
    assert_eq!(browser.run("return (await fetch('/api/v1/me')).status"), json!(401));
    browser.fill("#code", "000000");
    browser.submit(".main");
    browser.fill("#code", &app.code(0));
    browser.submit(".main");
    browser.arrive(&page);
    assert_eq!(whose(&browser), ["vera"]);
    // Not to be got rid of, but by who looks after the accounts.
    browser.open(&format!("{}/security", world.portal));
    browser.submit(".list a");
    assert_eq!(browser.count("form .danger"), 0, "{}", browser.source());
    take(&browser, "security-remove-needed");
    world.house.keygate.must(&["account", "reset-second-factor", "vera"]);
    browser.open(&page);
    give_password();
    assert!(browser.url().starts_with(&format!("{}/security/totp?rd=", world.portal)), "{}", browser.url());
}

#[test]
fn all_people_may_have_to_have_one() {
    let section = format!("{PLAIN}second_factor = \"required\"\n");
    let portal = Portal::start(&section);
    let client = portal.client();
    let answer = client.sign_in("/sign-in?next=/password", "vera", PASSWORD);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/security/totp?next=/password")));
    assert_eq!(client.get("/password").header("location"), Some("/sign-in?next=/password"));
    assert_eq!(client.get("/sign-in?next=/password").header("location"), Some("/security/totp?next=/password"));
    let (app, codes) = client.set_up("/security/totp?next=/password");
    assert_eq!((codes.len(), client.get("/password").status), (10, 200));
    let again = portal.client();
    assert_eq!(again.enter(&app.code(0)).header("location"), Some("/keys"));
    // Signing out is always possible, and an end of its own.
    let half = portal.client();
    half.sign_in("/sign-in", "vera", PASSWORD);
    let token = half.token("/second-factor");
    assert_eq!(half.post("/sign-out", &[("csrf", &token)]).header("location"), Some("/signed-out"));
    assert_eq!(half.get("/second-factor").header("location"), Some("/sign-in"));
}

#[test]
fn the_password_alone_opens_nothing() {
    let portal = Portal::start(PLAIN);
    let client = portal.signed_in();
    client.set_up("/security/totp");
    let half = portal.client();
    half.sign_in("/sign-in", "vera", PASSWORD);
    assert_eq!(half.get("/api/v1/me").status, 401);
    assert!(body(&half.get("/api/v1/me")).contains("second_factor_required"));
    let token = half.token("/second-factor");
    for (path, fields) in [
        ("/sessions/end-others", vec![]),
        ("/confirm", vec![("login", "vera"), ("password", PASSWORD)]),
        ("/password", vec![("login", "vera"), ("current", PASSWORD), ("new", "another long one"), ("again", "another long one")]),
        ("/security/recovery-codes", vec![("code", "000000")]),
        ("/security/totp", vec![("setup", "k1.x"), ("name", "x"), ("code", "000000")]),
    ] {
        let answer = half.post(path, &[&[("csrf", token.as_str())][..], &fields].concat());
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("location").is_some_and(|to| to.starts_with("/sign-in")), "{path}: {answer:?}");
    }
    // No way leads to a protected host.
    let from_shop = "/sign-in?rd=http%3A%2F%2Fshop.localhost%3A8000%2F&nonce=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    let to = half.get(from_shop).header("location").unwrap_or_default().to_owned();
    assert_eq!(to, from_shop.replace("/sign-in", "/second-factor"));
    assert_eq!(client.get("/sessions").status, 200);
}

#[test]
fn codes_of_the_steps_beside_this_one_are_good_and_no_others() {
    let portal = Portal::start(PLAIN);
    let client = portal.signed_in();
    let (app, _) = client.set_up("/security/totp");
    let new = || portal.client();
    for (steps, location) in [(-2, None), (2, None), (-1, None), (0, Some("/keys")), (0, None), (1, Some("/keys")), (0, None)] {
        let answer = new().enter(&app.code(steps));
        assert_eq!(answer.header("location"), location, "{steps}: {}", body(&answer));
    }
}

#[test]
fn who_guesses_codes_is_not_heard_for_a_while() {
    let portal = Portal::start(&format!("{PLAIN}\n[guessing]\ncodes_per_login = 3\n"));
    let client = portal.signed_in();
    let (app, codes) = client.set_up("/security/totp");
    let half = portal.client();
    let statuses: Vec<_> =
        std::iter::once(half.enter("000000").status).chain((0..4).map(|_| half.show("/second-factor", "000000").status)).collect();
    assert_eq!(statuses, [403, 403, 403, 403, 429]);
    assert_eq!(half.show("/second-factor", &app.code(0)).status, 429);
    // Whoever has the password, and fails, does not keep its owner out.
    assert_eq!(portal.client().enter(&codes[0]).header("location"), Some("/keys"));
    let blocked = portal.keygate.must(&["blocked", "list", "--json"]);
    assert!(blocked.contains("\"code\"") && blocked.contains("\"vera\""), "{blocked}");
    portal.keygate.must(&["blocked", "lift", "vera"]);
    assert_eq!(half.show("/second-factor", &app.code(0)).header("location"), Some("/keys"));
}

#[test]
fn scripts_of_the_portal_manage_factors_too() {
    let portal = Portal::start(PLAIN);
    let client = portal.signed_in();
    assert_eq!(
        client.api("GET", "/me/factors", &Value::Null),
        (200, json!({ "items": [], "recovery_codes": 0, "required": false }))
    );
    let (status, begun) = client.api("POST", "/me/factors/totp", &Value::Null);
    assert_eq!(status, 200, "{begun}");
    let app = Authenticator(begun["secret"].as_str().unwrap().to_owned());
    assert!(begun["uri"].as_str().unwrap().contains(&app.0));
    let add = |code: &str| json!({ "setup": begun["setup"], "name": "Phone", "code": code });
    let code_of = |answer: &Value| answer["type"].as_str().unwrap_or_default().replace("about:blank#", "");
    let (status, problem) = client.api("POST", "/me/factors", &add("000000"));
    assert_eq!((status, code_of(&problem)), (422, "first_code_wrong".to_owned()));
    let (status, added) = client.api("POST", "/me/factors", &add(&app.code(-1)));
    assert_eq!((status, added["recovery_codes"].as_array().map(Vec::len)), (200, Some(10)), "{added}");
    assert_eq!(added["confirmed"], true);
    let (_, list) = client.api("GET", "/me/factors", &Value::Null);
    assert_eq!(
        (&list["items"][0]["type"], &list["items"][0]["name"], &list["recovery_codes"]),
        (&json!("totp"), &json!("Phone"), &json!(10))
    );
    let shown = portal.keygate.must(&["account", "show", "vera", "--json"]);
    assert!(shown.contains("\"second_factor\":true") || shown.contains("\"second_factor\": true"), "{shown}");
    let (status, renewed) = client.api("POST", "/me/factors/recovery-codes", &json!({ "code": app.code(0) }));
    assert_eq!(status, 200, "{renewed}");
    let remove = format!("/me/factors/{}/remove", list["items"][0]["id"].as_str().unwrap());
    let (status, problem) = client.api("POST", &remove, &json!({ "code": added["recovery_codes"][0] }));
    assert_eq!((status, code_of(&problem)), (403, "wrong_code".to_owned()));
    let (status, removed) = client.api("POST", &remove, &json!({ "code": renewed["recovery_codes"][0] }));
    assert_eq!(status, 200, "{removed}");
    assert_eq!(client.api("GET", "/me/factors", &Value::Null).1["items"], json!([]));
    // A token sees them, and does not change them.
    let token = portal.keygate.must(&["token", "create", "vera", "--name", "script", "--scope", "manage"]);
    let by_token = |method: &str, path: &str| {
        let request = Request::new(method, &format!("/api/v1{path}")).header("Host", client.portal.authority());
        request.header("Authorization", &format!("Bearer {token}")).send(HOME, portal.keygate.portal).unwrap()
    };
    assert_eq!(by_token("GET", "/me/factors").status, 200);
    assert!(body(&by_token("POST", "/me/factors/totp")).contains("session_required"));
}

#[test]
fn a_form_of_a_setup_is_good_in_its_own_session_alone() {
    let portal = Portal::start(PLAIN);
    let (client, other) = (portal.signed_in(), portal.signed_in());
    let (app, fields) = client.begin("/security/totp");
    let token = other.token("/security");
    let stolen = [("csrf", token.as_str()), ("setup", &fields[1]), ("name", "x"), ("code", &app.code(0))];
    assert_eq!(other.post("/security/totp", &stolen).status, 403);
    let request = client.request("POST", "/security/totp").header("Origin", "http://evil.example");
    assert_eq!(client.send(&form(request, &stolen)).status, 403);
    assert!(body(&client.get("/security")).contains("You have none"));
    for nothing in ["/security/recovery-codes", "/security/factors/AbCdEfGh0123/remove", "/security/factors/x/remove"] {
        assert_eq!(client.get(nothing).status, 404, "{nothing}");
    }
}
