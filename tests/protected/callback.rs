//! Codes that are used twice, late, by somebody else or in another way than they are meant: through checks, by requests that
//! a proxy has sent on, and behind the two proxies that send them.

use super::{attacks::returning, own::sent_on};
use crate::support::{
    dialects::{PROXY, Verdict, ask},
    http::Request,
    programs::free_address,
    proxy::Proxy,
    visitor::{Browser, Portal},
};

const SHOP: &str = "shop.example.com";
const BLOG: &str = "blog.example.org";
const CHECK: &str = "__Host-keygate-check";

/// How a request comes to Keygate.
struct Way<'p> {
    portal: &'p Portal,
    name: &'p str,
    send: &'p dyn Fn(&Request) -> Verdict,
}

impl Way<'_> {
    fn visit(&self, browser: &mut Browser, target: &str) -> Verdict {
        let verdict = (self.send)(&browser.navigation(SHOP, target));
        browser.keep(SHOP, &verdict.headers);
        verdict
    }

    /// Nobody gets in by it, and nobody is sent on.
    fn refuses(&self, what: &str, request: &Request) {
        let verdict = (self.send)(request);
        let sets = |(name, value): &(String, String)| name.eq_ignore_ascii_case("set-cookie") && value.starts_with(CHECK);
        let opened = verdict.headers.iter().any(sets) || !verdict.header("Location").is_empty();
        assert!(verdict.status == 403 && !opened, "{}, {what}: {verdict:?}", self.name);
    }

    fn misused(&self) {
        let portal = self.portal;
        let session = portal.sign_in("vera");
        // Twice: by who has it from a log, and in the same browser.
        let (mut browser, callback) = returning(portal, &session);
        let first = self.visit(&mut browser, &callback);
        assert_eq!(first.status, 303, "{}: {first:?}", self.name);
        self.refuses("used, elsewhere", &Browser::default().navigation(SHOP, &callback));
        self.refuses("used", &browser.navigation(SHOP, &callback));
        // However it is presented wrongly, it is gone for the right browser too.
        let gone = |what: &str, browser: &Browser, callback: &str, wrong: Request| {
            self.refuses(what, &wrong);
            self.refuses(&format!("{what}, then rightly"), &browser.navigation(SHOP, callback));
        };
        let (browser, callback) = returning(portal, &session);
        gone("in another browser", &browser, &callback, Browser::default().navigation(SHOP, &callback));
        let (stranger, _) = returning(portal, &session);
        let (browser, callback) = returning(portal, &session);
        gone("with another nonce", &browser, &callback, stranger.navigation(SHOP, &callback));
        let (browser, callback) = returning(portal, &session);
        let nonce = browser.cookie(SHOP, "__Host-keygate-nonce").unwrap();
        let elsewhere = Browser::default().navigation(BLOG, &callback);
        gone("at another host", &browser, &callback, elsewhere.header("Cookie", &format!("__Host-keygate-nonce={nonce}")));
        // By a script, or in a frame, of whatever page.
        for (mode, dest) in [("cors", "empty"), ("navigate", "iframe"), ("no-cors", "image"), ("", "")] {
            let (browser, callback) = returning(portal, &session);
            let request = browser.request("GET", SHOP, &callback);
            let request = if mode.is_empty() {
                request.header("Accept", "text/html")
            } else {
                request.header("Sec-Fetch-Mode", mode).header("Sec-Fetch-Dest", dest)
            };
            gone(&format!("{mode} {dest}"), &browser, &callback, request);
        }
        let (browser, callback) = returning(portal, &session);
        let post = Request { method: "POST".to_owned(), ..browser.navigation(SHOP, &callback) };
        gone("by a form", &browser, &callback, post);
        // Late.
        let mut browser = Browser::default();
        let sent = self.visit(&mut browser, "/pages/7");
        let to = [sent.header("Location"), sent.header("X-Auth-Redirect")].concat();
        let sign_in = if to.is_empty() { sent_to_sign_in(portal, &mut browser) } else { to };
        self.refuses("late", &browser.navigation(SHOP, &portal.hand_over_before(&session, &sign_in)));
        // After the sign-in it came from has ended.
        let (browser, callback) = returning(portal, &session);
        portal.sign_out(&session);
        self.refuses("signed out", &browser.navigation(SHOP, &callback));
    }
}

/// By a check, where a request that is sent on is none.
fn sent_to_sign_in(portal: &Portal, browser: &mut Browser) -> String {
    let verdict = ask(portal.keygate(), "caddy", &browser.navigation(SHOP, "/pages/7")).unwrap();
    browser.keep(SHOP, &verdict.headers);
    verdict.header("Location").to_owned()
}

#[test]
fn a_code_works_once_at_its_host_in_the_browser_in_which_it_began() {
    let portal = Portal::new();
    for dialect in ["traefik", "caddy", "envoy", "grpc", "grpc-merged"] {
        let send = |request: &Request| ask(portal.keygate(), dialect, request).unwrap();
        Way { portal: &portal, name: dialect, send: &send }.misused();
    }
    let send = |request: &Request| Verdict::of_http(sent_on(request).send(PROXY, portal.keygate().check).unwrap());
    Way { portal: &portal, name: "sent on", send: &send }.misused();
}

fn misused_behind(proxy: Proxy) {
    let portal = Portal::new();
    let running = proxy.start_printed(free_address(), &portal.house, str::to_owned);
    let send = |request: &Request| {
        let (answer, seen) = portal.house.send(request.clone(), running.address).unwrap();
        assert!(seen.is_empty(), "{seen:?}");
        Verdict::of_http(answer)
    };
    Way { portal: &portal, name: "behind a proxy", send: &send }.misused();
}

#[test]
fn a_code_works_once_behind_nginx() {
    misused_behind(Proxy::NginxDebian);
}

#[test]
fn a_code_works_once_behind_haproxy() {
    misused_behind(Proxy::Haproxy);
}
