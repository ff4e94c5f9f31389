//! Visit, sign in, come back, pass; a second domain; the session's own token; refusals for people; signing out. Through
//! every proxy, configured as `keygate snippet` prints it.

use crate::support::{
    http::{Answer, Request},
    programs::free_address,
    proxy::Proxy,
    upstream::Seen,
    visitor::{Browser, Portal, Visitor},
};

const SHOP: &str = "shop.example.com";
const BLOG: &str = "blog.example.org";

fn one<'a>(seen: &'a Seen, name: &'a str) -> &'a str {
    let values: Vec<_> = seen.all(name).collect();
    assert!(values.len() < 2, "{name}: {values:?}");
    values.first().copied().unwrap_or_default()
}

fn passed((answer, seen): (Answer, Vec<Seen>)) -> Seen {
    assert_eq!((answer.status, seen.len()), (200, 1), "{answer:?}");
    let seen = seen.into_iter().next().unwrap();
    assert!(!seen.all("cookie").any(|cookie| cookie.contains("keygate")), "{seen:?}");
    assert_eq!(one(&seen, "authorization"), "");
    seen
}

fn refused((answer, seen): (Answer, Vec<Seen>), status: u16, reason: &str) -> Answer {
    assert_eq!((answer.status, answer.header("X-Auth-Reason"), seen.len()), (status, Some(reason), 0), "{answer:?}");
    answer
}

/// A page for people: it says so, and nothing may be loaded into it or frame it.
fn page((answer, seen): (Answer, Vec<Seen>), words: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!(answer.status == 403 && seen.is_empty() && text.contains(words), "{answer:?}\n{text}");
    assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("Content-Security-Policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && policy.ends_with("frame-ancestors 'none'"), "{policy}");
    let told = ["X-Content-Type-Options", "Referrer-Policy", "Cache-Control"].map(|name| answer.header(name).unwrap_or_default());
    assert_eq!(told, ["nosniff", "no-referrer", "no-store"]);
}

fn from_elsewhere(request: Request) -> Request {
    request.header("Sec-Fetch-Site", "cross-site").header("Sec-Fetch-Mode", "cors").header("Sec-Fetch-Dest", "empty")
}

fn the_whole_way_through(proxy: Proxy) {
    let portal = Portal::new();
    let running = proxy.start_printed(free_address(), &portal.house, str::to_owned);
    let session = portal.sign_in("vera");
    let mut visitor = Visitor::new(&portal, running.address);
    visitor.browser.cookies.insert((SHOP.to_owned(), "own".to_owned()), "1".to_owned());

    // Programs are told, browsers are sent.
    let program = Request::new("GET", "/pages/7").header("Host", SHOP).header("Accept", "application/json");
    refused(visitor.send(program), 401, "no_credential");
    visitor.sign_in(&session, SHOP, "/pages/7?a=b%20c&d=%2F");
    let seen = passed(visitor.visit(SHOP, "/pages/7"));
    let identity = ["X-Auth-Account", "X-Auth-Kind", "X-Auth-Access", "X-Auth-Via", "Cookie"].map(|name| one(&seen, name));
    assert_eq!(identity, ["vera", "human", "write", "session", "own=1"]);
    let id = session.session.as_str();
    assert_eq!(one(&seen, "X-Auth-Credential"), id);
    let token = one(&seen, "X-Session-Token").to_owned();
    assert!(token.starts_with(&format!("kg_x_{id}")), "{seen:?}");

    // Another root domain, with the same sign-in.
    visitor.sign_in(&session, BLOG, "/pages/");
    passed(visitor.visit(BLOG, "/pages/"));

    // The session's own token, with the cookie and never without.
    let bearer = format!("Bearer {token}");
    let call = |visitor: &Visitor<'_>, method: &str, host: &str| {
        visitor.browser.fetch(method, host, "/pages/7").header("Authorization", &bearer)
    };
    for method in ["GET", "POST"] {
        let seen = passed(visitor.send(call(&visitor, method, SHOP)));
        let identity = ["X-Auth-Account", "X-Auth-Via", "X-Auth-Credential", "X-Session-Token"].map(|name| one(&seen, name));
        assert_eq!(identity, ["vera", "session-token", id, token.as_str()]);
    }
    refused(visitor.send(call(&visitor, "DELETE", SHOP)), 403, "credential_kind");
    refused(visitor.send(call(&visitor, "GET", BLOG)), 401, "mismatch");
    let alone = Request::new("GET", "/pages/7").header("Host", SHOP).header("Authorization", &bearer);
    refused(visitor.send(alone), 401, "session_ended");
    // Whoever else names it is not heard.
    let forged = visitor.browser.navigation(SHOP, "/public/x").header("X-Session-Token", "forged");
    let (_, seen) = visitor.send(forged);
    assert_eq!(one(&seen[0], "X-Session-Token"), "");

    // Pages of others.
    passed(visitor.send(visitor.browser.fetch("POST", SHOP, "/pages/7")));
    refused(visitor.send(from_elsewhere(visitor.browser.request("POST", SHOP, "/pages/7"))), 403, "cross_site");
    refused(
        visitor.send(visitor.browser.request("PUT", SHOP, "/pages/7").header("Origin", "https://evil.example")),
        403,
        "cross_site",
    );
    passed(visitor.send(visitor.browser.request("PUT", SHOP, "/pages/7").header("Origin", "https://shop.example.com")));
    passed(visitor.send(from_elsewhere(visitor.browser.request("POST", SHOP, "/hooks/7"))));
    refused(visitor.send(visitor.browser.fetch("GET", SHOP, "/admin/")), 403, "site_access");

    // For people.
    let no_access = visitor.visit(SHOP, "/admin/");
    assert!(!String::from_utf8_lossy(&no_access.0.body).contains("Sign in again"), "it would lead straight back");
    page(no_access, "You have no access here");
    page(visitor.visit(SHOP, "/.keygate/why?reason=site_access&id=0123456789abcdef"), "0123456789abcdef");
    page(visitor.visit(SHOP, "/.keygate/callback?code=x"), "The sign-in was not completed");
    let link = visitor.browser.request("GET", SHOP, "/.keygate/logout").header("Sec-Fetch-Site", "cross-site");
    page(visitor.send(link), "action=\"/.keygate/logout\"");
    let ahead = visitor.browser.navigation(SHOP, "/.keygate/logout").header("Sec-Purpose", "prefetch;prerender");
    page(visitor.send(ahead), "action=\"/.keygate/logout\"");
    passed(visitor.visit(SHOP, "/pages/7"));

    // What opens doors is in no log.
    let log = portal.keygate().log();
    for ((_, name), value) in visitor.browser.cookies.iter().filter(|((_, name), _)| name != "own") {
        assert!(!log.contains(&value[12..]), "{name} is in the log");
    }
    assert!(log.contains("refused") && !log.contains(&token) && !log.contains("code="));

    // Out, everywhere.
    let (out, _) = visitor.send(visitor.browser.fetch("POST", SHOP, "/.keygate/logout").body(b"a=b".to_vec()));
    assert_eq!((out.status, out.header("Location")), (303, Some("https://auth.example.com/signed-out")), "{out:?}");
    assert_eq!(visitor.browser.cookie(SHOP, "__Host-keygate-check"), None);
    assert!(visitor.browser.cookie(BLOG, "__Host-keygate-check").is_some());
    refused(visitor.send(visitor.browser.fetch("GET", BLOG, "/pages/")), 401, "session_ended");
    for host in [SHOP, BLOG] {
        let (answer, _) = visitor.visit(host, "/pages/");
        assert_eq!(answer.status, 302, "{answer:?}");
    }
    refused(visitor.send(visitor.browser.fetch("GET", SHOP, "/pages/")), 401, "no_credential");
}

#[test]
fn nginx_of_debian_takes_a_browser_the_whole_way() {
    the_whole_way_through(Proxy::NginxDebian);
}

#[test]
fn nginx_of_today_takes_a_browser_the_whole_way() {
    the_whole_way_through(Proxy::NginxWheel);
}

#[test]
fn envoy_over_http_takes_a_browser_the_whole_way() {
    the_whole_way_through(Proxy::EnvoyHttp);
}

#[test]
fn envoy_over_grpc_takes_a_browser_the_whole_way() {
    the_whole_way_through(Proxy::EnvoyGrpc);
}

#[test]
fn traefik_takes_a_browser_the_whole_way() {
    the_whole_way_through(Proxy::Traefik);
}

#[test]
fn caddy_takes_a_browser_the_whole_way() {
    the_whole_way_through(Proxy::Caddy);
}

#[test]
fn haproxy_takes_a_browser_the_whole_way() {
    the_whole_way_through(Proxy::Haproxy);
}

/// Nobody has to be let in for what is answered there, so whoever sends a body could fill a disk with it. A proxy that answers
/// before it has come stores nothing of it.
#[test]
fn no_proxy_that_sends_such_requests_on_waits_for_a_body() {
    for proxy in [Proxy::NginxDebian, Proxy::NginxWheel, Proxy::Haproxy] {
        let portal = Portal::new();
        let running = proxy.start_printed(free_address(), &portal.house, str::to_owned);
        let mut visitor = Visitor::new(&portal, running.address);
        let browser = Browser::default();
        let submitted = browser.request("POST", SHOP, "/elsewhere");
        for request in [
            browser.request("POST", SHOP, "/.keygate/logout"),
            browser.navigation(SHOP, "/.keygate/why"),
            // Refused, with the page that says why.
            browser.navigation(SHOP, "/elsewhere"),
            submitted.header("Sec-Fetch-Mode", "navigate").header("Sec-Fetch-Dest", "document"),
        ] {
            let mut chunked = request.clone().header("Transfer-Encoding", "chunked");
            // More than is kept in memory, and no end.
            chunked.body = [b"8000\r\n".to_vec(), vec![b'x'; 0x8000], b"\r\n".to_vec()].concat();
            for endless in [request.header("Content-Length", "107374182400"), chunked] {
                let (method, target) = (endless.method.clone(), endless.target.clone());
                let (answer, seen) = visitor.send(endless);
                let refused = matches!(answer.status, 403 | 413) && seen.is_empty();
                assert!(refused, "{method} {target}: {answer:?}, {}", running.whom());
            }
        }
    }
}
