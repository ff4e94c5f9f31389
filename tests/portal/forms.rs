//! Whoever may send a form to the portal, and where it leads afterwards: everything that was not made by a page of it in the
//! same browser is refused, and nobody is sent anywhere that was not configured.

use super::{Client, HOME, PASSWORD, PLAIN, Portal, TLS, body, form, token_in};
use crate::support::http::{Answer, Request};

/// 43 characters that a protected host may have sent along.
const NONCE: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

fn is_signed_in(client: &Client<'_>) -> bool {
    client.get("/sessions").status == 200
}

/// Every form of the portal, with fields that would do something.
fn forms() -> [(&'static str, Vec<(&'static str, &'static str)>); 14] {
    [
        ("/keys/new", vec![("once", "x"), ("name", "x"), ("rights", "all"), ("expires", "30d"), ("networks", "192.0.2.7")]),
        ("/keys/revoke", vec![("ids", "all")]),
        ("/keys/AbCdEfGh0123/edit", vec![("name", "x"), ("device", "")]),
        ("/keys/AbCdEfGh0123/rotate", vec![("once", "x"), ("grace", "none")]),
        ("/sign-in", vec![("login", "vera"), ("password", PASSWORD)]),
        ("/sign-out", vec![]),
        ("/sessions/end", vec![("id", "AbCdEfGh0123")]),
        ("/sessions/end-others", vec![]),
        ("/password", vec![("login", "vera"), ("current", PASSWORD), ("new", "another long one"), ("again", "another long one")]),
        ("/confirm", vec![("login", "vera"), ("password", PASSWORD)]),
        ("/second-factor", vec![("code", "000000")]),
        ("/security/totp", vec![("setup", "k1.x"), ("name", "Phone"), ("code", "000000")]),
        ("/security/recovery-codes", vec![("code", "000000")]),
        ("/security/factors/AbCdEfGh0123/remove", vec![("code", "000000")]),
    ]
}

#[test]
fn a_form_is_taken_only_from_a_page_of_the_portal() {
    let portal = Portal::start(PLAIN);
    let client = portal.signed_in();
    let token = client.token("/sessions");
    let other_port = "http://localhost:1".to_owned();
    let sibling = portal.url.replace("localhost", "evil.localhost");
    let tls = portal.url.replace("http:", "https:");
    let slash = format!("{}/", portal.url);
    for (path, fields) in forms() {
        let mut fields = fields.clone();
        fields.push(("csrf", &token));
        for origin in ["null", "", "http://evil.example", &other_port, &sibling, &tls, &slash] {
            let answer = client.send(&form(client.request("POST", path).header("Origin", origin), &fields));
            assert_eq!(answer.status, 403, "{path} from {origin}");
        }
        let without = client.send(&form(client.request("POST", path), &fields));
        assert_eq!(without.status, 403, "{path} without Origin");
        let twice = client.request("POST", path).header("Origin", &portal.url).header("Origin", "http://evil.example");
        assert_eq!(client.send(&form(twice, &fields)).status, 403, "{path} with two of them");
    }
    assert!(is_signed_in(&client));
}

#[test]
fn a_form_needs_the_token_of_its_own_session() {
    let portal = Portal::start(PLAIN);
    let (client, other) = (portal.signed_in(), portal.signed_in());
    let [own, foreign] = [&client, &other].map(|client| client.token("/sessions"));
    let before = portal.client();
    let unsigned = before.token("/sign-in");
    assert!(own != foreign && own != unsigned);
    for (path, fields) in forms() {
        for token in [&foreign, &unsigned, "", &own[1..], &own.to_lowercase()] {
            let with = [fields.as_slice(), &[("csrf", token)]].concat();
            assert_eq!(client.post(path, &with).status, 403, "{path} with {token}");
        }
        assert_eq!(client.post(path, &fields).status, 403, "{path} without a token");
        let twice = [fields.as_slice(), &[("csrf", &own), ("csrf", &own)]].concat();
        assert_eq!(client.post(path, &twice).status, 403, "{path} with two");
    }
    // Before anybody is signed in, the token belongs to a cookie of the form's own.
    let token = before.token("/sign-in");
    let fields = [("csrf", token.as_str()), ("login", "vera"), ("password", PASSWORD)];
    let stale = portal.client().post("/sign-in", &[&fields[..], &[("remember", "on")]].concat());
    let page = body(&stale);
    assert_eq!(stale.status, 403);
    // What was typed need not be typed again, but for the password.
    assert!(page.contains("value=\"vera\"") && page.contains(" checked") && !page.contains(PASSWORD), "{page}");
    assert_eq!(before.post("/sign-in", &fields).status, 303);
    assert!(is_signed_in(&client) && is_signed_in(&before));
}

#[test]
fn a_form_has_its_own_fields_and_is_of_bounded_size() {
    let portal = Portal::start(PLAIN);
    let client = portal.client();
    let token = client.token("/sign-in");
    let right = [("csrf", token.as_str()), ("login", "vera"), ("password", PASSWORD)];
    for more in [("colour", "green"), ("login", "vera"), ("password", "x")] {
        assert_eq!(client.post("/sign-in", &[&right[..], &[more]].concat()).status, 400, "{more:?}");
    }
    assert_eq!(client.post("/sign-in", &right[..2]).status, 400);
    let send = |content_type: &str, bytes: Vec<u8>| {
        let request = client.request("POST", "/sign-in").header("Origin", &portal.url).header("Content-Type", content_type);
        client.send(&request.body(bytes)).status
    };
    let encoded = format!("csrf={token}&login=vera&password=correct+horse+battery+staple");
    for content_type in ["text/plain", "application/json", "multipart/form-data; boundary=x", ""] {
        assert_eq!(send(content_type, encoded.clone().into_bytes()), 400, "{content_type}");
    }
    let urlencoded = "application/x-www-form-urlencoded";
    assert_eq!(send(urlencoded, format!("{encoded}{}", "x".repeat(20_000)).into_bytes()), 400);
    assert_eq!(send(urlencoded, [encoded.as_bytes(), b"\xff"].concat()), 400);
    assert_eq!(send(&format!("{urlencoded}; charset=UTF-8"), encoded.into_bytes()), 303);
}

#[test]
fn two_cookies_of_one_name_are_refused_and_a_planted_one_is_none() {
    for (section, own, other) in [(PLAIN, "keygate", "__Host-keygate"), (TLS, "__Host-keygate", "keygate")] {
        let portal = Portal::start(section);
        let client = portal.signed_in();
        let session = client.cookie(own).expect("it is the name of its origin");
        let with = |cookies: &str| {
            let request = Request::new("GET", "/sessions").header("Host", portal.authority()).header("Cookie", cookies);
            request.send(HOME, portal.keygate.portal).unwrap()
        };
        assert_eq!(with(&format!("{own}={session}")).status, 200);
        for two in [format!("{own}={session}; {own}=x"), format!("{own}={session}; {other}=x; {own}={session}")] {
            assert_eq!(with(&two).status, 400, "{two}");
        }
        for beside in [format!("{own}={session}; {other}=x"), format!("{other}=x; {own}={session}; {other}=y")] {
            assert_eq!(with(&beside).status, 200, "{beside}");
        }
        // Nobody signs in with two of them: he would not get his.
        let new = portal.client();
        let token = new.token("/sign-in");
        let form_cookie = new.cookie(&format!("{own}-form")).expect("a form has one");
        let cookies = format!("{own}-form={form_cookie}; {own}=x; {own}=y");
        let request = Request::new("POST", "/sign-in").header("Host", portal.authority()).header("Origin", &portal.url);
        let fields = [("csrf", token.as_str()), ("login", "vera"), ("password", PASSWORD)];
        let refused = form(request.header("Cookie", &cookies), &fields).send(HOME, portal.keygate.portal).unwrap();
        assert_eq!(refused.status, 400);
        assert_eq!(portal.keygate.must(&["audit", "--json"]).matches("session.sign_in").count(), 1);
        let planted = with(&format!("{other}={session}"));
        assert_eq!((planted.status, planted.header("location")), (303, Some("/sign-in?next=/sessions")));
        // The cookie of a form the same.
        let page = client.get("/signed-out");
        assert_eq!(page.status, 200);
        for (second, status) in [(own, 400), (other, 200)] {
            let form_cookies = Request::new("GET", "/sign-in")
                .header("Host", portal.authority())
                .header("Cookie", &format!("{own}-form={NONCE}; {second}-form={NONCE}"));
            assert_eq!(form_cookies.send(HOME, portal.keygate.portal).unwrap().status, status, "{second}");
        }
    }
}

/// Where an answer leads, on its own or by what is on its page.
fn leads(answer: &Answer) -> String {
    format!("{} {}", answer.header("location").unwrap_or_default(), body(answer))
}

#[test]
fn nobody_is_sent_where_it_was_not_configured() {
    let portal = Portal::start(PLAIN);
    let signed_in = portal.signed_in();
    for rd in [
        "http://evil.example/",
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "http:evil.example",
        "javascript:alert(document.domain)//evil",
        "data:text/html,evil",
        "http://shop.localhost:8000@evil.example/",
        "http://shop.localhost:8000.evil.example/",
        "http://shop.localhost/evil",
        "http://shop.localhost:8001/evil",
        "https://shop.localhost:8000/evil",
        "http://SHOP.localhost:8000/evil",
        "http://shop.localhost:8000//evil.example",
        "http://shop.localhost:8000/\\evil.example",
        "http://shop.localhost:8000/%2f/evil.example",
        "http://shop.localhost:8000/%0d%0aSet-Cookie:evil=1",
        "http://shop.localhost:8000/#evil",
        "http://shop.localhost:8000/.keygate/logout?evil",
        "http://shop.localhost:8000/%2ekeygate/logout?evil",
        "http://shop.localhost:8000/x/../.keygate/logout?evil",
        "http://shop.localhost:8000/x/%2e%2E/.keygate/logout?evil",
        " http://shop.localhost:8000/evil",
        "http://shop.localhost:8000/\tevil",
        "http://user@shop.localhost:8000/evil",
        "/evil",
        "evil",
        "\"><script>evil</script>",
    ] {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("rd", rd).append_pair("nonce", NONCE).finish();
        let page = format!("/sign-in?{query}");
        let at_once = signed_in.get(&page);
        assert_eq!((at_once.status, at_once.header("location")), (303, Some("/sessions?notice=address")), "{rd}");
        let client = portal.client();
        let shown = client.get(&page);
        assert_eq!(shown.status, 200, "{rd}");
        assert!(body(&shown).contains("an address that this portal"), "{rd}");
        assert!(!leads(&shown).contains("evil"), "{rd}: {}", body(&shown));
        let answer = client.post(&page, &[("csrf", &token_in(&shown)), ("login", "vera"), ("password", PASSWORD)]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/sessions?notice=address")), "{rd}");
    }
    for query in ["rd=http://shop.localhost:8000/&rd=http://shop.localhost:8000/", "rd=", "rd"] {
        assert_eq!(signed_in.get(&format!("/sign-in?{query}")).header("location"), Some("/sessions?notice=address"), "{query}");
    }
    for next in ["http://evil.example/", "//evil.example", "/evil", "/sessions/../evil", "/password/"] {
        let next = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        assert_eq!(signed_in.get(&format!("/sign-in?{next}")).header("location"), Some("/keys"), "{next}");
        assert!(!body(&signed_in.get(&format!("/confirm?{next}"))).contains("evil"), "{next}");
    }
    assert_eq!(signed_in.get("/sign-in?next=/password").header("location"), Some("/password"));
}

#[test]
fn a_browser_that_is_signed_in_takes_a_code_back() {
    let portal = Portal::start(PLAIN);
    let client = portal.signed_in();
    let is_code = |answer: &Answer| {
        let code = answer.header("location").and_then(|to| to.strip_prefix("http://shop.localhost:8000/.keygate/callback?code="));
        answer.status == 303 && code.is_some_and(|code| code.len() == 55)
    };
    let rd = "rd=http%3A%2F%2Fshop.localhost%3A8000%2Forders%3Fpage%3D2";
    let from_shop = format!("/sign-in?{rd}&nonce={NONCE}");
    let [one, two] = [(), ()].map(|()| client.get(&from_shop));
    assert!(is_code(&one) && is_code(&two) && one.header("location") != two.header("location"), "{one:?}");
    // The host has set no nonce yet, or something else has written this.
    for nonce in ["", "&nonce=", "&nonce=short", &format!("&nonce={NONCE}&nonce={NONCE}"), &format!("&nonce={NONCE}x")] {
        let answer = client.get(&format!("/sign-in?{rd}{nonce}"));
        assert_eq!((answer.status, answer.header("location")), (303, Some("http://shop.localhost:8000/orders?page=2")), "{nonce}");
    }
    // Only for a page that its user looks at.
    for dest in ["iframe", "image", "empty", "script", "Document"] {
        let answer = client.send(&client.request("GET", &from_shop).header("Sec-Fetch-Dest", dest));
        assert_eq!((answer.status, answer.header("location")), (403, None), "{dest}");
    }
    assert!(is_code(&client.send(&client.request("GET", &from_shop).header("Sec-Fetch-Dest", "document"))));
    assert_eq!(client.send(&client.request("HEAD", &from_shop)).header("location"), None);
}

/// By a page, not by a redirect: browsers hold all redirects after a form to the policy of its page.
#[test]
fn who_signs_in_goes_on_where_he_came_from() {
    let portal = Portal::start(PLAIN);
    for nonce in ["", &format!("&nonce={NONCE}")] {
        let page = format!("/sign-in?rd=http%3A%2F%2Fshop.localhost%3A8000%2Fa%3Fb%3D%2522%26c%3D%27%3Burl%3Dx{nonce}");
        let client = portal.client();
        assert!(body(&client.get(&page)).contains("shop.localhost:8000"));
        let answer = client.sign_in(&page, "vera", PASSWORD);
        let html = body(&answer);
        assert_eq!((answer.status, answer.header("location")), (200, None), "{html}");
        assert!(html.contains("You are signed in") && html.contains("Going on to <strong>shop.localhost:8000</strong>"), "{html}");
        let unescaped = |text: &str| text.replace("&#38;", "&").replace("&amp;", "&");
        for marker in ["<meta http-equiv=\"refresh\" content=\"0;url=", "<a href=\""] {
            let link = html.split(marker).nth(1).and_then(|rest| rest.split('"').next()).map(unescaped);
            let on = client.get(&link.unwrap_or_else(|| panic!("no {marker}: {html}")));
            let to = on.header("location").unwrap_or_default();
            let back = if nonce.is_empty() {
                "http://shop.localhost:8000/a?b=%22&c=';url=x"
            } else {
                "http://shop.localhost:8000/.keygate/callback?code="
            };
            assert!(on.status == 303 && to.starts_with(back), "{marker}: {to}");
        }
    }
}

#[test]
fn nobody_is_told_whether_the_login_or_the_password_was_wrong() {
    let portal = Portal::start(PLAIN);
    let client = portal.client();
    let page = |login: &str, password: &str| {
        let token = client.token("/sign-in");
        let fields = [("csrf", token.as_str()), ("login", login), ("password", password), ("remember", "on")];
        let answer = client.post("/sign-in", &fields);
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{login}");
        let page = body(&answer);
        assert!(page.contains("The login or the password is wrong.") && !page.contains("hunter2"), "{page}");
        assert!(page.contains(&format!("value=\"{login}\"")) && page.contains(" checked"), "{page}");
        page.replace(login, "LOGIN")
    };
    let wrong = page("vera", "hunter2 hunter2");
    assert_eq!(page("nobody", "hunter2 hunter2"), wrong);
    assert_eq!(page("nobody@example.com", "hunter2"), wrong);
    assert_eq!(page("vera", &"hunter2".repeat(200)), wrong, "longer than any password");
    assert_eq!(page("vera", "hunter2\u{fc}\u{1f511}"), wrong);
    // What is typed is shown as it is, and is no part of the page.
    let token = client.token("/sign-in");
    let answer = client.post("/sign-in", &[("csrf", &token), ("login", "\"><script>alert(1)</script>"), ("password", "x")]);
    assert!(!body(&answer).contains("<script>"), "{}", body(&answer));
    let empty = client.post("/sign-in", &[("csrf", &token), ("login", "  "), ("password", "x")]);
    assert_eq!(empty.status, 422);
    // White space around a login is nothing that anybody typed on purpose.
    assert_eq!(client.sign_in("/sign-in", " vera\t", PASSWORD).status, 303);
}

#[test]
fn signing_in_anew_ends_the_session_before_it() {
    let portal = Portal::start(TLS);
    let client = portal.client();
    let token = client.token("/sign-in");
    let fields = [("csrf", token.as_str()), ("login", "vera"), ("password", PASSWORD), ("remember", "on")];
    let sessions = || -> usize {
        let list = portal.keygate.must(&["audit", "--json"]);
        list.matches("session.sign_in").count() - list.matches("session.sign_out").count()
    };
    let first = client.post("/sign-in", &fields);
    let set = first.all("set-cookie").next().unwrap().to_owned();
    let (start, kept) = set.rsplit_once("; Max-Age=").unwrap();
    assert!(start.starts_with("__Host-keygate=") && start.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{set}");
    // Fourteen days, but for what has passed of them.
    assert!((1_209_000..=1_209_600).contains(&kept.parse::<u32>().unwrap()), "{set}");
    let second = client.post("/sign-in", &fields[..3]);
    let set = second.all("set-cookie").next().unwrap();
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "it ends with the browser: {set}");
    assert_eq!(sessions(), 1);
    let token = client.token("/sessions");
    let out = client.post("/sign-out", &[("csrf", &token)]);
    assert_eq!((out.status, out.header("location")), (303, Some("/signed-out")));
    assert_eq!(out.header("set-cookie"), Some("__Host-keygate=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"));
    assert_eq!(sessions(), 0);
    assert_eq!(client.get("/").header("location"), Some("/sign-in?next=/keys"));
}
