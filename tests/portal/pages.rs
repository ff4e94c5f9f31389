//! What every page has in common: its headers, its host, its HTML; and the pages that stand for one that cannot be shown.

use std::collections::HashSet;

use super::{Client, HOME, PASSWORD, PLAIN, Portal, TLS, body, form};
use crate::support::{
    http::{Answer, Request},
    programs::wait_for,
};

/// Everything that can be looked at, by whom and with which status.
fn all_pages<'p>(client: &Client<'p>, visitor: &Client<'p>) -> Vec<(String, Answer)> {
    let mut pages: Vec<_> = ["/sign-in", "/sign-in?rd=http://evil.example/", "/signed-out", "/nothing", "/sign-out", "/"]
        .map(|path| (path.to_owned(), client.get(path)))
        .into();
    let from_shop = "/sign-in?rd=http://shop.localhost:8000/";
    pages.push((from_shop.to_owned(), client.get(from_shop)));
    for path in [
        "/keys",
        "/keys/new",
        "/keys/revoke",
        "/keys/revoke?all=on",
        "/keys?name=x&sort=-used",
        "/sessions",
        "/sessions?notice=ended",
        "/sessions?notice=address",
        "/password",
        "/security",
        "/security/totp",
        "/confirm",
        "/confirm?next=/password",
        "/",
    ] {
        pages.push((format!("{path}, signed in"), visitor.get(path)));
    }
    let token = client.token("/sign-in");
    let wrong = client.post("/sign-in", &[("csrf", &token), ("login", "<b>&\"'"), ("password", "x")]);
    pages.push(("/sign-in, wrong".to_owned(), wrong));
    let token = visitor.token("/password");
    let fields = |current: &'static str, new: &'static str, again: &'static str| {
        visitor.post("/password", &[("csrf", &token), ("login", "vera"), ("current", current), ("new", new), ("again", again)])
    };
    pages.push(("/password, wrong".to_owned(), fields("wrong", "a new password", "a new password")));
    pages.push(("/password, short".to_owned(), fields(PASSWORD, "short", "short")));
    pages.push(("/password, not the same".to_owned(), fields(PASSWORD, "a new password", "another password")));
    let again = visitor.portal.client();
    pages.push(("going on".to_owned(), again.sign_in("/sign-in?rd=http://shop.localhost:8000/", "vera", PASSWORD)));
    let confirm = visitor.post("/confirm", &[("csrf", &token), ("login", "vera"), ("password", "x")]);
    pages.push(("/confirm, wrong".to_owned(), confirm));
    pages.push(("a form without Origin".to_owned(), client.send(&client.request("POST", "/sign-in"))));
    pages.push(("another method".to_owned(), client.send(&client.request("DELETE", "/sessions"))));
    let elsewhere = Request::new("GET", "/sign-in").header("Host", "evil.example");
    pages.push(("another host".to_owned(), client.send(&elsewhere)));
    let (app, [csrf, setup]) = visitor.begin("/security/totp");
    let fields = |code| [("csrf", csrf.as_str()), ("setup", setup.as_str()), ("name", "<b>&\"'"), ("code", code)];
    pages.push(("/security/totp, wrong".to_owned(), visitor.post("/security/totp", &fields("000000"))));
    pages.push(("/security/totp, right".to_owned(), visitor.post("/security/totp", &fields(&app.code(0)))));
    for path in ["/security", "/security?notice=removed", "/security/totp", "/security/recovery-codes"] {
        pages.push((format!("{path}, with a factor"), visitor.get(path)));
    }
    let list = body(&visitor.get("/security"));
    let remove = list.split("href=\"").find(|rest| rest.starts_with("/security/factors/")).expect("there is a factor");
    pages.push(("removing a factor".to_owned(), visitor.get(remove.split('"').next().unwrap())));
    let half = visitor.portal.client();
    half.sign_in("/sign-in?rd=http://shop.localhost:8000/", "vera", PASSWORD);
    for path in ["/second-factor", "/second-factor?recovery=1", "/second-factor?rd=http://shop.localhost:8000/"] {
        pages.push((path.to_owned(), half.get(path)));
    }
    pages
}

#[test]
fn every_page_tells_the_browser_what_it_may_do_with_it() {
    for section in [PLAIN, TLS] {
        let portal = Portal::start(section);
        for (page, answer) in all_pages(&portal.client(), &portal.signed_in()) {
            let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{page}: no policy"));
            for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
                assert!(policy.split("; ").any(|said| said.starts_with(part)), "{page}: {policy}");
            }
            assert!(policy.split("; ").any(|said| said == "form-action 'self'"), "{page}: {policy}");
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{page}: {policy}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "same-origin"),
                ("cache-control", "no-store"),
                ("cross-origin-opener-policy", "same-origin"),
            ] {
                assert_eq!(answer.all(name).collect::<Vec<_>>(), [value], "{page}: {name}");
            }
            assert!(answer.header("permissions-policy").is_some(), "{page}");
            assert!(answer.status == 303 || answer.header("content-type") == Some("text/html; charset=utf-8"), "{page}");
        }
    }
}

/// Whether every element is closed where it has to be, no attribute or id comes twice, and what a page needs is there.
fn check_html(page: &str, html: &str) {
    const EMPTY: [&str; 7] = ["meta", "link", "input", "br", "hr", "img", "path"];
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{page}");
    let (mut open, mut ids) = (Vec::new(), HashSet::new());
    let style_end = |rest: &str| rest.find("</style>").unwrap_or_default();
    let mut rest = html.trim_start_matches("<!doctype html>");
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "{page}: a bare > before {rest}");
        let end = tag_end(&rest[at..]).unwrap_or_else(|| panic!("{page}: a tag without an end: {}", &rest[at..]));
        let tag = &rest[at + 1..at + end];
        rest = &rest[at + end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{page}");
            continue;
        }
        let tag = tag.trim_end_matches('/');
        let name = tag.split_whitespace().next().unwrap();
        let mut names = HashSet::new();
        for (attribute, value) in attributes(&tag[name.len()..]) {
            assert!(names.insert(attribute.to_owned()), "{page}: {attribute} twice in <{tag}>");
            assert!(attribute != "style" && !attribute.starts_with("on"), "{page}: {attribute} in <{tag}>");
            assert!(attribute != "id" || ids.insert(value.to_owned()), "{page}: two elements are {value}");
        }
        if name == "style" {
            rest = &rest[style_end(rest)..];
        }
        if !EMPTY.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "{page}: {open:?} left open");
    assert_eq!(html.matches("<h1").count(), 1, "{page}");
    assert_eq!(html.matches("<main").count(), 1, "{page}");
    // One script, of our own, and nothing in the page itself.
    assert_eq!(html.matches("<script").count(), html.matches("<script src=\"/app-").count(), "{page}");
    assert!(!html.contains("javascript:"), "{page}");
    for (marker, what) in [("for=\"", "label"), ("aria-describedby=\"", "description"), ("href=\"#", "link")] {
        for target in html.split(marker).skip(1).flat_map(|rest| rest.split('"').next().unwrap().split(' ')) {
            assert!(ids.contains(target), "{page}: a {what} for {target}, which is not there");
        }
    }
}

/// Where a tag ends: its `>`, which is not within quotes.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quoted = false;
    tag.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'>' && !quoted
    })
}

fn attributes(mut text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return found;
        }
        let end = text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len());
        let name = &text[..end];
        let (value, after) = match text[end..].strip_prefix("=\"") {
            Some(rest) => rest.split_once('"').expect("a value ends"),
            None => ("", &text[end..]),
        };
        found.push((name, value));
        text = after;
    }
}

#[test]
fn every_page_is_well_formed() {
    let portal = Portal::start(PLAIN);
    let mut looked_at = 0;
    for (page, answer) in all_pages(&portal.client(), &portal.signed_in()) {
        if answer.status != 303 {
            check_html(&page, &body(&answer));
            looked_at += 1;
        }
    }
    assert!(looked_at > 15, "{looked_at}");
}

#[test]
fn at_another_host_there_is_only_the_way_here() {
    let portal = Portal::start(PLAIN);
    let ask = |hosts: &[&str], path: &str| {
        let request = hosts.iter().fold(Request::new("GET", path), |request, host| request.header("Host", host));
        request.send(HOME, portal.keygate.portal).unwrap()
    };
    let local = portal.authority();
    let other_port = "localhost:1".to_owned();
    let address = local.replace("localhost", "127.0.0.1");
    for path in ["/", "/sign-in", "/sessions", "/nothing", "/signed-out"] {
        for host in ["evil.example", "localhost", &other_port, &address, "", &format!("x{local}"), &format!("{local}.evil.example")]
        {
            let answer = ask(&[host], path);
            // The server itself refuses an empty one.
            assert!(answer.status == 421 || (host.is_empty() && answer.status == 400), "{path} at {host}: {}", answer.status);
            if answer.status == 421 {
                assert!(
                    body(&answer).contains(&format!("href=\"{}/\"", portal.url)) && !body(&answer).contains("evil"),
                    "{path} at {host}"
                );
            }
        }
        assert!(matches!(ask(&[local, "evil.example"], path).status, 400 | 421), "{path}");
    }
    assert_eq!(ask(&[&local.to_uppercase()], "/sign-in").status, 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&["evil.example"], path).status, 200, "{path}");
    }
    assert_eq!(ask(&["evil.example"], "/api/v1/me").status, 401);
    assert_eq!(ask(&["evil.example"], "/api/openapi.json").status, 200);
}

#[test]
fn the_style_is_small_and_kept_for_good() {
    let portal = Portal::start(PLAIN);
    let client = portal.client();
    let page = body(&client.get("/sign-in"));
    let path = page.split("href=\"").find(|rest| rest.starts_with("/style-")).unwrap().split('"').next().unwrap();
    let style = client.get(path);
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert!(style.body.len() < 16 * 1024, "{} bytes", style.body.len());
    // Nothing comes from elsewhere, and it can stand in a page of another host.
    let text = body(&style);
    assert!(!text.contains("url(") && !text.contains("@import") && !text.contains("</"), "{text}");
}

/// At the level that everybody has, whatever is refused: the operator is told the id, and nothing else.
#[test]
fn the_log_knows_every_request_whose_id_a_page_shows() {
    let portal = Portal::start(&format!("{PLAIN}requests_per_second = 20\n"));
    let (client, other) = (portal.client(), portal.client());
    let found = |what: &str, answer: &Answer, status: u16, logged: &[&str]| {
        let page = body(answer);
        assert_eq!(answer.status, status, "{what}: {page}");
        let id = page.split("<code>").nth(1).and_then(|rest| rest.split('<').next());
        let id = id.unwrap_or_else(|| panic!("{what}: no request id: {page}")).to_owned();
        let is_it = |line: &&str| line.contains("INFO") && line.contains(&id) && line.contains("refused");
        let line = wait_for(what, || portal.keygate.log().lines().find(is_it).map(str::to_owned));
        for part in logged {
            assert!(line.contains(part), "{what}: no {part}: {line}");
        }
    };
    found("no page", &client.get("/kg-nothing"), 404, &["code=\"not_found\""]);
    found("another method", &client.get("/sign-out"), 405, &["code=\"method_not_allowed\""]);
    let token = client.token("/sign-in");
    let fields = [("csrf", token.as_str()), ("login", "vera"), ("password", PASSWORD)];
    let from = |origin: &str| client.send(&form(client.request("POST", "/sign-in").header("Origin", origin), &fields));
    let secret = "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf";
    found("another origin", &from("http://evil.example"), 403, &["code=\"foreign_form\"", "received=\"http://evil.example\""]);
    found("much of it", &from(&"x".repeat(5000)), 403, &[&format!("received=\"{}\"", "x".repeat(100))]);
    found("a token for an origin", &from(secret), 403, &["code=\"foreign_form\""]);
    found("no origin", &client.send(&form(client.request("POST", "/sign-in"), &fields)), 403, &["code=\"foreign_form\""]);
    let host = |host: &str| client.send(&Request::new("GET", "/sign-in").header("Host", host));
    let expected = format!("expected=\"{}\"", portal.authority());
    found("another host", &host("evil.example"), 421, &["code=\"misdirected\"", &expected, "received=\"evil.example\""]);
    found("a host of control characters", &host("evil\u{9b}.example"), 421, &["code=\"misdirected\"", &expected]);
    let signed_in = portal.signed_in();
    found("another token", &signed_in.post("/sign-out", &[("csrf", &token)]), 403, &["code=\"form_stale\""]);
    let framed = signed_in.send(&signed_in.request("GET", "/sign-in").header("Sec-Fetch-Dest", "iframe"));
    found("a frame", &framed, 403, &["code=\"foreign_form\"", "received=\"iframe\""]);
    let two = other.send(&other.request("GET", "/sessions").header("Cookie", "keygate=one; keygate=two"));
    found("two cookies", &two, 400, &["code=\"two_cookies\"", "received=\"keygate\""]);
    // The form itself is shown again, without an id.
    assert_eq!(other.post("/sign-in", &fields).status, 403);
    let limited = (0..10_000).map(|_| client.get("/signed-out")).find(|answer| answer.status != 200).expect("there is a limit");
    found("too many", &limited, 429, &["code=\"too_many_requests\""]);
    assert_eq!(limited.header("retry-after"), Some("1"));
    let log = portal.keygate.log();
    assert_eq!(log.matches("code=\"form_stale\"").count(), 2, "{log}");
    for hidden in [&secret[17..], &token, PASSWORD, "=one", "kg-nothing", &"x".repeat(101)] {
        assert!(!log.contains(hidden), "{hidden}: {log}");
    }
}
