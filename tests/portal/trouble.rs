//! What the pages say to who has failed too often, and while the store is away.

use keygate::store::Partition;

use super::{PASSWORD, PLAIN, Portal, body, form, looks::take, token_in};
use crate::support::{
    browser::Browser,
    programs::wait_for,
    redis::{Program, Server},
};

fn sign_ins(portal: &Portal, outcome: &str) -> Option<u64> {
    portal.keygate.metric(&format!("keygate_sign_ins_total{{outcome=\"{outcome}\"}}"))
}

#[test]
fn who_has_failed_too_often_is_told_when_to_try_again() {
    let portal = Portal::start(&format!("{PLAIN}\n[guessing]\nper_login = 2\n"));
    let (client, signed_in) = (portal.client(), portal.signed_in());
    let failed: Vec<_> = (0..4).map(|_| client.sign_in("/sign-in", "vera", "wrong").status).collect();
    assert_eq!(failed, [403, 403, 403, 429], "two are borne, and the next is one too many");
    // The right password does not help now, wherever it is given.
    let blocked = client.sign_in("/sign-in", "vera", PASSWORD);
    let page = body(&blocked);
    assert_eq!(blocked.status, 429, "{page}");
    assert!(page.contains("Too many failed attempts. Try again in ") && page.contains(" UTC."), "{page}");
    assert!(page.contains("value=\"vera\"") && !page.contains("aria-invalid"), "{page}");
    let seconds: u32 = blocked.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
    let token = signed_in.token("/password");
    for (path, fields) in [
        ("/password", vec![("current", PASSWORD), ("new", "a quite different one"), ("again", "a quite different one")]),
        ("/confirm", vec![("password", PASSWORD)]),
    ] {
        let answer = signed_in.post(path, &[&[("csrf", token.as_str()), ("login", "vera")], &fields[..]].concat());
        assert_eq!(answer.status, 429, "{path}");
        assert!(answer.header("retry-after").is_some() && body(&answer).contains("Too many failed attempts."), "{path}");
    }
    assert_eq!(signed_in.get("/sessions").status, 200, "who is in stays in");
    assert_eq!(["done", "refused", "blocked"].map(|outcome| sign_ins(&portal, outcome)), [Some(1), Some(3), Some(2)]);
    let blocks = || portal.keygate.metric("keygate_blocks_total{subject=\"login\"}");
    wait_for("the block to be counted", || (blocks() == Some(1)).then_some(()));

    let browser = Browser::start();
    browser.open(&format!("{}/sign-in?rd=http://shop.localhost:8000/", portal.url));
    browser.fill("#login", "vera");
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
    assert!(browser.text("#problem").starts_with("Too many failed attempts."));
    take(&browser, "sign-in-blocked");
}

#[test]
fn nobody_hides_his_address_behind_what_is_none() {
    let trusting = PLAIN.replace("[portal]\n", "[portal]\ntrusted_proxies = [\"127.0.0.78/32\"]\n");
    let portal = Portal::start(&format!("{trusting}\n[guessing]\nper_address = 2\n"));
    let client = portal.client();
    let token = client.token("/sign-in");
    // What the client wrote, and what the proxy has added; then a proxy that passes on what nobody can read.
    for (addresses, login) in [("\u{ff}, 203.0.113.9", "ada"), ("203.0.113.9, \u{ff}", "bob")] {
        let statuses: Vec<_> = (0..4)
            .map(|_| {
                let request = client.request("POST", "/sign-in").header("Origin", &portal.url);
                let request = request.header("X-Forwarded-For", addresses);
                client.send(&form(request, &[("csrf", &token), ("login", login), ("password", "wrong")])).status
            })
            .collect();
        assert_eq!(statuses, [403, 403, 403, 429], "{addresses}");
    }
}

#[test]
fn while_the_store_is_away_nobody_is_signed_out() {
    let mut server = Server::start_with(Program::Redis, &["--appendonly", "yes", "--appendfsync", "always"]);
    let portal = Portal::on_redis(PLAIN, &server);
    let (client, signed_in) = (portal.client(), portal.signed_in());
    let browser = Browser::start();
    browser.open(&format!("{}/sign-in", portal.url));
    browser.fill("#login", "vera");
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
    assert_eq!(browser.url(), format!("{}/keys", portal.url));
    server.kill();
    for page in ["/sessions", "/password", "/confirm", "/", "/sign-in"] {
        let answer = signed_in.get(page);
        assert_eq!((answer.status, answer.header("set-cookie")), (503, None), "{page}");
        assert!(answer.header("retry-after").is_some() && body(&answer).contains("You are not signed out"), "{page}");
    }
    // The form itself needs no store.
    let answer = client.sign_in("/sign-in", "vera", PASSWORD);
    let page = body(&answer);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{page}");
    assert_eq!(sign_ins(&portal, "unavailable"), Some(1));
    assert!(page.contains("so you are not signed in") && page.contains("value=\"vera\""), "{page}");
    assert_eq!(client.get("/signed-out").status, 200);
    browser.reload();
    assert_eq!(browser.text("h1"), "Not available at the moment");
    take(&browser, "store-away");
    let log = portal.keygate.log();
    assert!(!log.lines().any(|line| line.contains(" ERROR ") && line.contains("request{")), "one line says it: {log}");
    server.restart();
    wait_for("the store", || (signed_in.get("/sessions").status == 200).then_some(()));
    browser.reload();
    assert_eq!(browser.text("h1"), "Your keys");
}

/// Whoever has given the right password is in, whatever becomes of the session that his browser had before.
#[test]
fn a_new_session_is_not_lost_with_the_old_one() {
    let server = Server::start(Program::Redis);
    let portal = Portal::on_redis(PLAIN, &server);
    for page in ["/sign-in", "/sign-in?rd=http://shop.localhost:8000/"] {
        let client = portal.client();
        let token = client.token(page);
        let fields = [("csrf", token.as_str()), ("login", "vera"), ("password", PASSWORD)];
        client.post(page, &fields);
        let old = client.cookie("keygate").expect("there is a session");
        let id = &old[..12];
        let tag = Partition::of_id(id).index() - 1;
        assert_eq!(server.command(&["SET", &format!("kg:r:{{s{tag:x}}}:session:{id}"), "{\"version\":1}"]), "+OK");
        assert_eq!(client.get("/sessions").status, 500, "its record cannot be read");
        let answer = client.post(page, &fields);
        assert!(matches!(answer.status, 200 | 303), "{}", body(&answer));
        assert!(client.cookie("keygate").is_some_and(|new| new != old), "{page}");
        assert_eq!(client.get("/sessions").status, 200, "{page}");
        let warned = |line: &str| line.contains("WARN") && line.contains("could not be ended") && line.contains(id);
        wait_for("a warning", || portal.keygate.log().lines().any(warned).then_some(()));
    }
}

#[test]
fn nothing_that_is_typed_or_held_is_logged() {
    const NEW: &str = "hunter2 and three more";
    let mut portal = Portal::start(&format!("{PLAIN}\n[log]\nlevel = \"trace\"\n"));
    let client = portal.signed_in();
    let from_shop = "/sign-in?rd=http://shop.localhost:8000/secret-page&nonce=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    let handed_over = client.get(from_shop);
    let code = handed_over.header("location").and_then(|to| to.rsplit_once("code=")).expect("a code").1.to_owned();
    let token = token_in(&client.get("/password"));
    let before = client.cookie("keygate").unwrap();
    let fields = [("csrf", token.as_str()), ("login", "vera"), ("current", PASSWORD), ("new", NEW), ("again", NEW)];
    assert_eq!(client.post("/password", &fields).status, 303);
    // Nor what is refused.
    let other = portal.client();
    assert_eq!(other.sign_in("/sign-in", "vera", "hunter2").status, 403);
    assert_eq!(other.post("/sign-in", &[("hunter2", "hunter2"), ("csrf", "hunter2")]).status, 400);
    let secrets = [before, client.cookie("keygate").unwrap(), client.cookie("keygate-form").unwrap(), code];
    portal.keygate.stop();
    let log = portal.keygate.log();
    for secret in &secrets {
        assert!(!log.contains(&secret[secret.len() - 43..]), "{log}");
    }
    for word in [PASSWORD, "hunter2", &token, "secret-page"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
    assert!(log.contains("/password") && log.contains("session.sign_in"), "{log}");
}
