//! What Keygate serves on protected hosts: to whom, in which words, and never as a success.

use crate::support::{
    dialects::{DIALECTS, PROXY, ask},
    house::CLIENT,
    http::{Answer, Request},
    programs::wait_for,
    visitor::{Browser, Portal},
};

const SHOP: &str = "shop.example.com";

/// A request that a proxy has sent on, described like its checks.
fn sent_on(request: &Request) -> Request {
    let mut sent = Request { target: request.target.clone(), ..request.clone() };
    for (name, value) in [("X-Original-Method", &request.method), ("X-Original-URI", &request.target)] {
        sent = sent.header(name, value);
    }
    sent.header("X-Original-Host", request.host())
}

#[test]
fn nothing_there_is_a_success_in_any_dialect() {
    let portal = Portal::new();
    let browser = Browser::default();
    for target in [
        "/.keygate/why",
        "/.keygate/why?reason=site_access",
        "/.keygate/why?reason=%3Cscript%3E&id=%3Cscript%3E",
        "/.keygate/logout",
        "/.keygate/callback",
        "/.keygate/callback?code=x",
        "/.keygate/",
        "/.keygate/elsewhere",
        "/.keygate/why/more",
        "/%2ekeygate/why",
        "/.keygate",
    ] {
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            let mut request = browser.navigation(SHOP, target);
            method.clone_into(&mut request.method);
            for dialect in DIALECTS {
                let verdict = ask(portal.keygate(), dialect, &request).unwrap();
                assert!((300..500).contains(&verdict.status), "{dialect} {method} {target}: {verdict:?}");
                assert!(!String::from_utf8_lossy(&verdict.body).contains("<script"), "{target}");
            }
            if method != "HEAD" {
                let answer = sent_on(&request).send(PROXY, portal.keygate().check).unwrap();
                assert!((300..500).contains(&answer.status), "{method} {target}: {answer:?}");
            }
        }
    }
}

#[test]
fn only_a_trusted_proxy_sends_such_requests_on() {
    let portal = Portal::new();
    let why = Browser::default().navigation(SHOP, "/.keygate/why?reason=scope");
    let send = |request: &Request, from| request.send(from, portal.keygate().check).unwrap();
    let page = send(&sent_on(&why), PROXY);
    assert!(page.status == 403 && String::from_utf8_lossy(&page.body).contains("This access token is not for this"), "{page:?}");
    let of_stranger = send(&sent_on(&why), CLIENT);
    assert_eq!((of_stranger.status, of_stranger.header("X-Auth-Reason")), (403, Some("untrusted_peer")));
    let undescribed = send(&why, PROXY);
    assert_eq!((undescribed.status, undescribed.header("X-Auth-Reason")), (400, Some("missing_description")));
    // What is described counts, and that has to be one of these paths.
    let other = sent_on(&Browser::default().navigation(SHOP, "/pages/7"));
    let other = send(&Request { target: "/.keygate/why".to_owned(), ..other }, PROXY);
    assert_eq!((other.status, other.header("X-Auth-Reason")), (400, Some("missing_description")));
    // A host without sessions has none of this.
    let elsewhere = send(&sent_on(&Browser::default().navigation("other.example.com", "/.keygate/why")), PROXY);
    assert_eq!((elsewhere.status, elsewhere.header("X-Auth-Reason")), (403, Some("no_rule")));
}

#[test]
fn nothing_of_a_protected_host_is_worth_anything_at_the_portal() {
    let portal = Portal::new();
    let session = portal.sign_in("vera");
    let mut browser = Browser::default();
    let sent = ask(portal.keygate(), "caddy", &browser.navigation(SHOP, "/pages/7")).unwrap();
    browser.keep(SHOP, &sent.headers);
    let callback = portal.hand_over(&session, sent.header("Location"));
    let back = ask(portal.keygate(), "caddy", &browser.navigation(SHOP, &callback)).unwrap();
    browser.keep(SHOP, &back.headers);
    let check = browser.cookie(SHOP, "__Host-keygate-check").unwrap().to_owned();
    let passed = ask(portal.keygate(), "caddy", &browser.fetch("GET", SHOP, "/pages/7")).unwrap();
    let token = passed.header("X-Session-Token").to_owned();
    assert!(token.starts_with("kg_x_"), "{passed:?}");
    let at_portal = |target: &str, headers: &[(&str, &str)]| {
        let request = Request::new("GET", target).header("Host", "auth.example.com");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send(CLIENT, portal.keygate().portal).unwrap()
    };
    let cookies = [&*session.to_text(), &check].map(|value| format!("__Host-keygate={value}"));
    assert_eq!(at_portal("/api/v1/me", &[("Cookie", &cookies[0])]).status, 200);
    assert_eq!(at_portal("/api/v1/me", &[("Cookie", &cookies[1])]).status, 401, "the cookie of a protected host");
    assert_eq!(at_portal("/api/v1/me", &[("Cookie", &format!("__Host-keygate-check={check}"))]).status, 401);
    let bearer = format!("Bearer {token}");
    let beside = format!("__Host-keygate-check={check}");
    for cookie in [&*cookies[0], &cookies[1], &beside, "a=b"] {
        let answer = at_portal("/api/v1/me", &[("Authorization", &bearer), ("Cookie", cookie)]);
        assert!((400..500).contains(&answer.status), "{cookie}: {answer:?}");
    }
    let page = at_portal("/sessions", &[("Cookie", &cookies[1])]);
    assert_eq!(page.status, 303, "nobody is signed in by it: {page:?}");
}

#[test]
fn only_a_page_of_the_host_or_the_user_himself_signs_out() {
    let portal = Portal::new();
    let browser = Browser::default();
    let ask_with = |method: &str, headers: &[(&str, &str)]| {
        let request = browser.request(method, SHOP, "/.keygate/logout");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        ask(portal.keygate(), "caddy", &request).unwrap().status
    };
    let post = |name: &str, value: &str| ask_with("POST", &[(name, value)]);
    let get = |site: &str, mode: &str, dest: &str| {
        ask_with("GET", &[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", dest)])
    };
    for (site, status) in [("same-origin", 303), ("none", 303), ("same-site", 403), ("cross-site", 403)] {
        assert_eq!(post("Sec-Fetch-Site", site), status, "{site}");
        assert_eq!(get(site, "navigate", "document"), status, "{site}");
        // Whoever may put an image into a page of the host is not its user.
        for (mode, dest) in [("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("no-cors", "document")] {
            assert_eq!(get(site, mode, dest), 403, "{site} {mode} {dest}");
        }
    }
    assert_eq!(post("Origin", "https://shop.example.com"), 303);
    assert_eq!(post("Origin", "https://evil.example"), 403);
    assert_eq!(post("Accept", "text/html"), 403, "nobody says where it comes from");
    for silent in [("Sec-Fetch-Site", "same-origin"), ("Origin", "https://shop.example.com"), ("Accept", "text/html")] {
        assert_eq!(ask_with("GET", &[silent]), 403, "{silent:?}");
    }
    assert_eq!(ask_with("PUT", &[("Sec-Fetch-Site", "same-origin")]), 403);
    // What a browser asks for ahead of its user, when he has typed a part of an address.
    for purpose in ["prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip", "prerender"] {
        let mut ahead = [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("", "")];
        assert_eq!(ask_with("GET", &ahead[..3]), 303);
        ahead[3] = ("Sec-Purpose", purpose);
        assert_eq!(["GET", "POST"].map(|method| ask_with(method, &ahead)), [403, 403], "{purpose}");
    }
}

#[test]
fn who_is_signed_in_and_refused_is_not_sent_to_sign_in_again() {
    let portal = Portal::new();
    let mut browser = Browser::default();
    let sent = ask(portal.keygate(), "caddy", &browser.navigation(SHOP, "/pages/7")).unwrap();
    browser.keep(SHOP, &sent.headers);
    let callback = portal.hand_over(&portal.sign_in("vera"), sent.header("Location"));
    browser.keep(SHOP, &ask(portal.keygate(), "caddy", &browser.navigation(SHOP, &callback)).unwrap().headers);
    let stranger = Browser::default();
    let ways = |browser: &Browser, target: &str| {
        let page = ask(portal.keygate(), "caddy", &browser.navigation(SHOP, target)).unwrap();
        let page = String::from_utf8(page.body).unwrap();
        ["Sign in again", "Sign out"].map(|way| page.contains(way))
    };
    for target in ["/admin/", "/nowhere", "/.keygate/why?reason=site_access", "/.keygate/nowhere"] {
        assert_eq!(ways(&browser, target), [false, true], "{target}");
    }
    for target in ["/.keygate/why?reason=session_ended", "/.keygate/why", "/.keygate/callback?code=x"] {
        assert_eq!(ways(&browser, target), [true, true], "{target}");
    }
    for target in ["/nowhere", "/.keygate/why?reason=site_access"] {
        assert_eq!(ways(&stranger, target), [true, true], "{target}");
    }
}

#[test]
fn a_browser_is_sent_to_sign_in_with_one_nonce_and_where_it_wants_to_go() {
    let portal = Portal::new();
    let mut browser = Browser::default();
    let mut locations = Vec::new();
    for _ in 0..2 {
        let verdict = ask(portal.keygate(), "nginx", &browser.navigation(SHOP, "/pages/7?a=%20b")).unwrap();
        assert_eq!((verdict.status, verdict.header("X-Auth-Status"), verdict.reason()), (401, "401", "no_credential"));
        browser.keep(SHOP, &verdict.headers);
        locations.push(verdict.header("X-Auth-Redirect").to_owned());
    }
    // Two tabs do not fight about the nonce; and the URL holds no more than its digest.
    assert_eq!(locations[0], locations[1]);
    let expected = "https://auth.example.com/sign-in?rd=https%3A%2F%2Fshop.example.com%2Fpages%2F7%3Fa%3D%2520b&nonce=";
    assert!(locations[0].starts_with(expected), "{}", locations[0]);
    assert!(!locations[0].contains(browser.cookie(SHOP, "__Host-keygate-nonce").unwrap()));
    // Where nobody can be sent back to, he is sent to where everything begins.
    let odd = ask(portal.keygate(), "nginx", &browser.navigation(SHOP, "/pages/a%20b")).unwrap();
    assert!(odd.header("X-Auth-Redirect").contains("rd=https%3A%2F%2Fshop.example.com%2F&"), "{odd:?}");
    // Nobody is sent from a host without sessions, nor any program.
    let elsewhere = ask(portal.keygate(), "caddy", &browser.navigation("other.example.com", "/pages/7")).unwrap();
    assert_eq!((elsewhere.status, elsewhere.header("Location")), (401, ""));
    assert!(String::from_utf8_lossy(&elsewhere.body).contains("Please sign in"));
    let program = ask(portal.keygate(), "caddy", &browser.fetch("GET", SHOP, "/pages/7")).unwrap();
    assert_eq!((program.status, program.header("Location"), program.header("Content-Type")), (401, "", "application/json"));
}

/// The line of the log that a request id finds.
fn line_of(portal: &Portal, id: &str) -> String {
    let find = || portal.keygate().log().lines().find(|line| line.contains("refused") && line.contains(id)).map(str::to_owned);
    wait_for("the refusal in the log", find)
}

/// What the client reads of it.
fn id_in(answer: &Answer) -> String {
    let page = String::from_utf8_lossy(&answer.body);
    let shown = page.split("<code>").nth(1).and_then(|rest| rest.split('<').next());
    answer.header("X-Auth-Request-Id").or(shown).unwrap_or_else(|| panic!("no request id: {answer:?}\n{page}")).to_owned()
}

#[test]
fn every_refusal_there_is_in_the_log_and_counted() {
    let portal = Portal::new();
    let session = portal.sign_in("vera");
    let browser = Browser::default();
    let answer = |request: &Request, from| request.send(from, portal.keygate().check).unwrap();
    let to = |target: &str| sent_on(&browser.navigation(SHOP, target));
    let mut returning = Browser::default();
    let sent = ask(portal.keygate(), "caddy", &returning.navigation(SHOP, "/pages/7")).unwrap();
    returning.keep(SHOP, &sent.headers);
    let code = || portal.hand_over(&session, sent.header("Location"));
    let unknown = format!("/.keygate/callback?code={}", "A".repeat(55));
    let used = code();
    assert_eq!(answer(&sent_on(&returning.navigation(SHOP, &used)), PROXY).status, 303);
    let by_script = sent_on(&returning.fetch("GET", SHOP, &code()));
    let elsewhere = sent_on(&returning.navigation("blog.example.org", &code()));
    for (refused, expected) in [
        (answer(&to("/.keygate/why"), CLIENT), &["untrusted_peer"][..]),
        (answer(&browser.navigation(SHOP, "/.keygate/why"), PROXY), &["missing_description"]),
        (answer(&to("/.keygate/elsewhere"), PROXY), &["no_rule", "/.keygate/elsewhere", SHOP]),
        (answer(&sent_on(&browser.navigation("other.example.com", "/.keygate/why")), PROXY), &["no_rule", "other.example.com"]),
        (answer(&to("/.keygate/callback?code=x"), PROXY), &["code_refused", "malformed"]),
        (answer(&to(&unknown), PROXY), &["code_refused", "unknown or used", "AAAAAAAAAAAA"]),
        (answer(&to(&used), PROXY), &["code_refused", "unknown or used", session.session.as_str()]),
        (answer(&to(&code()), PROXY), &["code_refused", "in another browser"]),
        (answer(&by_script, PROXY), &["code_refused", "no navigation"]),
        (answer(&elsewhere, PROXY), &["code_refused", "for another host"]),
    ] {
        let line = line_of(&portal, &id_in(&refused));
        for part in expected.iter().chain(&["own"]) {
            assert!(line.contains(part), "{expected:?}: {line}");
        }
        assert!(!line.contains("code="), "{line}");
    }
    let gone = code();
    portal.sign_out(&session);
    let gone = answer(&sent_on(&returning.navigation(SHOP, &gone)), PROXY);
    assert!(line_of(&portal, &id_in(&gone)).contains("its session has ended"), "{gone:?}");
    // As a check, under the name of the proxy that asked.
    let by_check = ask(portal.keygate(), "traefik", &browser.navigation(SHOP, "/.keygate/elsewhere")).unwrap();
    assert!(line_of(&portal, by_check.header("X-Auth-Request-Id")).contains("traefik"), "{by_check:?}");
    let metrics = String::from_utf8(portal.keygate().ask("/metrics").unwrap().body).unwrap();
    for (labels, count) in [
        ("dialect=\"own\",decision=\"deny\",reason=\"untrusted_peer\"", 1),
        ("dialect=\"own\",decision=\"deny\",reason=\"missing_description\"", 1),
        ("dialect=\"own\",decision=\"deny\",reason=\"no_rule\"", 2),
        ("dialect=\"own\",decision=\"deny\",reason=\"code_refused\"", 7),
        ("dialect=\"traefik\",decision=\"deny\",reason=\"no_rule\"", 1),
    ] {
        let counted = format!("keygate_checks_total{{{labels}}} {count}");
        assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
    }
}

#[test]
fn who_cannot_be_sent_to_sign_in_is_a_line_for_the_operator() {
    let portal = Portal::new();
    let keygate = portal.keygate();
    let browser = Browser::default();
    let why = "the host is not in portal.hosts";
    for (request, is_told) in [
        (browser.navigation("other.example.com", "/pages/7"), true),
        (browser.fetch("GET", "other.example.com", "/pages/7"), false),
        (browser.navigation("other.example.com", "/hooks/7"), false),
        (browser.navigation(SHOP, "/pages/7"), false),
    ] {
        let verdict = ask(keygate, "caddy", &request).unwrap();
        let line = line_of(&portal, verdict.header("X-Auth-Request-Id"));
        assert_eq!(line.contains(why), is_told, "{line}");
    }
    let explain = |url: &str| keygate.must(&["explain", "--url", url]);
    let there = explain("https://other.example.com/pages/7");
    assert!(there.contains("sign-in    nobody is sent to the portal, as the host is not in portal.hosts"), "{there}");
    assert!(explain("https://shop.example.com/pages/7").contains("sign-in    a browser is sent to the portal"));
    for url in ["https://other.example.com/hooks/7", "https://other.example.com/public/7", "https://other.example.com/nowhere"] {
        assert!(!explain(url).contains("sign-in"), "{url}");
    }
}
