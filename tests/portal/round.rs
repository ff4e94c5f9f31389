//! The whole way round in a real browser, behind every proxy as `keygate snippet` configures it: to a protected page, to the
//! sign-in, back to that page, a call of the page with its session's token, another root domain without signing in again,
//! and out of all of them.

use std::{net::SocketAddr, path::Path, process::Command};

use serde_json::{Value, json};

use super::{PASSWORD, looks::take};
use crate::support::{
    browser::Browser,
    house::House,
    keygate::Keygate,
    programs::{Folder, free_address, from_debian},
    proxy::{Proxy, Running},
    upstream::{AWAY, Upstream},
};

/// What is in front of everything: each of its hosts is a root domain of its own.
pub struct World {
    pub portal: String,
    pub shop: String,
    blog: String,
    pub house: House,
    proxy: Running,
}

const RULES: &str = r#"
[headers.names]
session_token = "X-Session-Token"

[[rules]]
name = "public"
match = { path = "/public/{*rest}" }
public = true

[[rules]]
name = "administration"
match = { path = "/admin/{*rest}" }
site = "shop"
access = "admin"
otherwise = "login"

[[rules]]
name = "pages"
match = { path = "/{*rest}" }
site = "shop"
access = { read = "view", write = "write" }
otherwise = "login"
"#;

impl World {
    /// With the portal at one of the names, and the two protected hosts at the others, all of them with that scheme.
    fn start(
        proxy: Proxy,
        address: SocketAddr,
        [portal, shop, blog]: [String; 3],
        edit: impl Fn(&Keygate, &str) -> String,
    ) -> Self {
        let mut keygate = Keygate::prepare("");
        let portal = portal.replace("PORTAL", &keygate.portal.port().to_string());
        keygate.write_config(&format!(
            "data_dir = \"./keygate-data\"\n\
             [check]\nlisten = \"127.0.0.1:9180\"\n\
             [grpc]\nlisten = \"127.0.0.1:9182\"\n\
             [envoy]\nuse_remote_address = true\n\
             [portal]\nlisten = \"127.0.0.1:9181\"\nurl = \"{portal}\"\nhosts = [\"{shop}\", \"{blog}\"]\n{RULES}"
        ));
        keygate.restart();
        keygate.must(&["site", "create", "shop"]);
        keygate.must_with(&["account", "create", "vera", "--name", "Vera", "--password-stdin"], PASSWORD);
        keygate.must(&["access", "set", "vera", "shop", "write"]);
        let house = House::without_table(keygate);
        let proxy = proxy.start_printed(address, &house, |text| edit(&house.keygate, text));
        Self { portal, shop, blog, house, proxy }
    }

    /// Over plain http, as somebody has it who tries it out.
    pub fn plain(proxy: Proxy) -> Self {
        let address = free_address();
        let [shop, blog] = ["shop", "blog"].map(|name| format!("http://{name}.localhost:{}", address.port()));
        Self::start(proxy, address, ["http://auth.localhost:PORTAL".to_owned(), shop, blog], |_, text| text.to_owned())
    }

    /// Over TLS, with the portal behind the same NGINX.
    fn tls(folder: &Folder) -> Self {
        let [certificate, key] = certificate(folder.path());
        let address = free_address();
        let hosts = ["auth.example.com", "shop.example.com", "blog.example.org"];
        let urls = hosts.map(|host| format!("https://{host}:{}", address.port()));
        Self::start(Proxy::NginxDebian, address, urls, |keygate, text| {
            let listen = "listen 127.0.0.1:8000 default_server;";
            assert!(text.contains(listen), "{text}");
            let with =
                format!("listen 127.0.0.1:8000 ssl default_server;\nssl_certificate {certificate};\nssl_certificate_key {key};");
            let portal = format!(
                "server {{\nlisten 127.0.0.1:8000 ssl;\nserver_name {};\nssl_certificate {certificate};\nssl_certificate_key {key};\n\
                 location / {{\nproxy_pass http://{};\nproxy_set_header Host $http_host;\nproxy_set_header X-Forwarded-For $remote_addr;\n}}\n}}",
                hosts[0], keygate.portal
            );
            let http = text.replace(listen, &with).replacen("    server {\n", &format!("{portal}\n    server {{\n"), 1);
            assert!(http.contains(&portal), "{http}");
            http
        })
    }

    pub fn whom(&self) -> String {
        format!("{}\n{}", self.proxy.whom(), self.house.keygate.log())
    }
}

/// A certificate that nobody has signed, and its key.
fn certificate(folder: &Path) -> [String; 2] {
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.join(name).display().to_string());
    let made = Command::new(from_debian("openssl", "openssl"))
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
        ])
        .args(["-out", &certificate, "-keyout", &key])
        .output()
        .expect("openssl can be run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [certificate, key]
}

/// What the application saw of the request for the page that is shown.
pub(super) fn seen(browser: &Browser, world: &World) -> Value {
    let shown = browser.text("body");
    serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error} at {}: {shown}\n{}", browser.url(), world.whom()))
}

/// The values of a header that the application saw.
pub(super) fn header(seen: &Value, name: &str) -> Vec<String> {
    let pairs = seen["headers"].as_array().expect("the application lists headers").iter();
    let named = pairs.filter(|pair| pair[0].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name)));
    named.map(|pair| pair[1].as_str().unwrap_or_default().to_owned()).collect()
}

fn the_whole_way_round(browser: &Browser, world: &World) {
    let World { portal, shop, blog, .. } = world;
    let page = format!("{shop}/orders/7?a=b%20c&d=%2F");
    browser.open(&page);
    assert!(browser.url().starts_with(&format!("{portal}/sign-in?rd=")), "{}\n{}", browser.url(), world.whom());
    assert!(browser.text(".lead").contains(shop.split("//").nth(1).unwrap()));
    browser.fill("#login", "vera");
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
    browser.arrive(&page);
    let at_shop = seen(browser, world);
    assert_eq!(
        (header(&at_shop, "x-auth-account"), header(&at_shop, "x-auth-via")),
        (vec!["vera".to_owned()], vec!["session".to_owned()])
    );
    assert!(header(&at_shop, "cookie").iter().all(|cookie| !cookie.contains("keygate")), "{at_shop}");
    assert_eq!(browser.run("return document.cookie"), json!(""), "no script of the page sees a cookie of ours");

    // The page calls its API with the token that its server was offered.
    let token = header(&at_shop, "x-session-token").pop().expect("a token is offered");
    let call = |method: &str, token: &str| {
        browser.run(&format!(
            "const answer = await fetch('/orders/7', {{ method: '{method}', headers: {{ Authorization: 'Bearer {token}' }} }}); \
             return [answer.status, answer.ok ? await answer.json() : null];"
        ))
    };
    for method in ["GET", "POST"] {
        let answer = call(method, &token);
        assert_eq!(answer[0], 200, "{method}: {answer}\n{}", world.whom());
        assert_eq!(header(&answer[1], "x-auth-via"), ["session-token"], "{answer}");
    }
    assert_eq!(call("DELETE", &token)[0], 403);

    // Another root domain, and nobody is asked again.
    browser.open(&format!("{blog}/posts/1"));
    assert_eq!(browser.url(), format!("{blog}/posts/1"), "{}", world.whom());
    let at_blog = seen(browser, world);
    assert_eq!(
        (header(&at_blog, "x-auth-account"), header(&at_blog, "x-auth-credential")),
        (vec!["vera".to_owned()], header(&at_shop, "x-auth-credential"))
    );
    assert_eq!(call("GET", &token)[0], 401, "the token of another host's session");

    // Refused for people, in words.
    browser.open(&format!("{shop}/admin/"));
    assert_eq!(browser.text("h1"), "You have no access here", "{}", world.whom());

    // Out of all of them. A link of another site is asked about.
    browser.open(&format!("{blog}/posts/1"));
    browser.leave(|| drop(browser.run(&format!("location = '{shop}/.keygate/logout'"))));
    assert_eq!(browser.count("form[action='/.keygate/logout']"), 1, "{}", browser.source());
    browser.submit("form button");
    assert_eq!(
        (browser.url(), browser.text("h1")),
        (format!("{portal}/signed-out"), "You are signed out".to_owned()),
        "{}",
        world.whom()
    );
    for host in [shop, blog] {
        browser.open(&format!("{host}/orders/7"));
        assert!(browser.url().starts_with(&format!("{portal}/sign-in?rd=")), "{}", browser.url());
    }
    browser.open(&format!("{shop}/public/x"));
    let refused = browser.run("return (await fetch('/orders/7')).status");
    assert_eq!(refused, 401, "{}", world.whom());
}

fn behind(proxy: Proxy) {
    the_whole_way_round(&Browser::start(), &World::plain(proxy));
}

#[test]
fn a_browser_goes_the_whole_way_round_behind_nginx() {
    behind(Proxy::NginxDebian);
}

#[test]
fn a_browser_goes_the_whole_way_round_behind_envoy_over_http() {
    behind(Proxy::EnvoyHttp);
}

#[test]
fn a_browser_goes_the_whole_way_round_behind_envoy_over_grpc() {
    behind(Proxy::EnvoyGrpc);
}

#[test]
fn a_browser_goes_the_whole_way_round_behind_traefik() {
    behind(Proxy::Traefik);
}

#[test]
fn a_browser_goes_the_whole_way_round_behind_caddy() {
    behind(Proxy::Caddy);
}

#[test]
fn a_browser_goes_the_whole_way_round_behind_haproxy() {
    behind(Proxy::Haproxy);
}

/// Browsers hold every redirect after a form to the page's `form-action`; where an application sends people is its own
/// business.
#[test]
fn an_application_sends_who_has_just_signed_in_wherever_it_likes() {
    let world = World::plain(Proxy::NginxDebian);
    let elsewhere = format!("http://{}/there", Upstream::start().address);
    for scripts in [true, false] {
        let browser = Browser::start();
        browser.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !scripts }));
        browser.open(&format!("{}{AWAY}{elsewhere}", world.shop));
        assert!(browser.url().starts_with(&format!("{}/sign-in?rd=", world.portal)), "{}\n{}", browser.url(), world.whom());
        browser.fill("#login", "vera");
        browser.fill("#password", PASSWORD);
        browser.submit(".main");
        browser.arrive(&elsewhere);
        assert_eq!(seen(&browser, &world)["target"], "/there");
    }
}

#[test]
fn over_tls_the_cookies_belong_to_their_hosts_alone() {
    let folder = Folder::new();
    let world = World::tls(&folder);
    let World { shop, portal, .. } = &world;
    let browser = Browser::start_with(&["--ignore-certificate-errors", "--host-resolver-rules=MAP * 127.0.0.1"]);
    the_whole_way_round(&browser, &world);
    // Once more in, to look at the cookies.
    browser.open(&format!("{shop}/orders/7"));
    browser.fill("#login", "vera");
    browser.fill("#password", PASSWORD);
    browser.submit(".main");
    browser.arrive(&format!("{shop}/orders/7"));
    let names =
        || browser.cookies().iter().map(|cookie| cookie["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(), ["__Host-keygate-check"]);
    let cookie = browser.cookie("__Host-keygate-check").unwrap();
    assert_eq!((&cookie["secure"], &cookie["httpOnly"], &cookie["path"]), (&json!(true), &json!(true), &json!("/")));
    browser.open(&format!("{portal}/signed-out"));
    let mut at_portal = names();
    at_portal.sort_unstable();
    assert_eq!(at_portal, ["__Host-keygate", "__Host-keygate-form"]);

    // What a sibling of the host plants there: the browser does not take it under the name that counts, and under the other
    // one it is none of ours.
    let evil = format!("{}/public/x", shop.replace("shop.", "evil."));
    browser.open(&evil);
    let plant = |name: &str| {
        browser.run(&format!("document.cookie = '{name}=planted; Domain=example.com; Path=/; Secure'; return document.cookie"))
    };
    assert_eq!(plant("__Host-keygate-check"), json!(""));
    assert_eq!(plant("keygate-check"), json!("keygate-check=planted"));
    browser.open(&format!("{shop}/public/x"));
    assert_eq!(browser.run("return (await fetch('/orders/7')).status"), 200, "{}", world.whom());
    browser.open(&evil);
    assert_eq!(plant("keygate"), json!("keygate-check=planted; keygate=planted"));
    browser.open(&format!("{portal}/sessions"));
    assert_eq!(browser.url(), format!("{portal}/sessions"), "{}", world.whom());
    assert_ne!(browser.text("h1"), "Two cookies where one belongs");
    browser.open(&format!("{shop}/orders/7"));
    assert_eq!(browser.url(), format!("{shop}/orders/7"));
    browser.open(&format!("{shop}/admin/"));
    take(&browser, "why");
    browser.open(&evil);
    // Of a sibling host the same.
    browser.leave(|| drop(browser.run(&format!("location = '{shop}/.keygate/logout'"))));
    take(&browser, "sign-out-question");
}
