//! Sessions over REST and on the command line, on both stores: what a browser may do by its cookie, and what not. They are
//! made before Keygate starts, as its pages are not what is asked here.

mod dump;
mod errors;
mod strangers;

use std::{net::IpAddr, sync::Arc, time::Duration};

use keygate::{
    clock::{Clock, SystemClock},
    directory::{self, AccountPatch, Actor, Directory, NewAccount, SignIn, TrailRules},
    domain::{
        account::AccountKind,
        csrf,
        guessing::GuessingRules,
        key::ServerKeys,
        origin::{Origin, ProtectedHosts, ReturnTo, Target},
        password::{Cost, Password},
        session::{Secret, SessionRules, SessionSecret},
        text::Login,
        token::{TokenPrefix, TokenPrefixes},
        token_rules::TokenRules,
    },
    gate::{guessing::Guessing, hasher::Hasher, passwords::LocalPasswords, signs::Signs},
    store::{
        Store,
        embedded::EmbeddedStore,
        redis::{RedisOptions, RedisStore},
    },
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{
    clock::Behind,
    command,
    control::{Answer, CONFIG, Control},
    house::CLIENT,
    http::{self, Request},
    keygate::{KEY, Keygate},
    redis::{Program, Server},
};

const PASSWORD: &str = "correct horse";
/// More of `[portal]`, and a rule.
const PROTECTED: &str = r#"
url = "https://auth.example.com"
hosts = ["https://shop.example.com"]
requests_per_second = 0

[[rules]]
name = "pages"
match = { path = "/pages/{*rest}" }
site = "shop"
access = "view"
otherwise = "login"
"#;
const SHOP: &str = "shop.example.com";
const COST: &str = "[password]\nmemory_kib = 64\npasses = 1\n";

fn directory_on(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Directory {
    let hasher = Arc::new(Hasher::start(Cost::new(64, 1, 1).unwrap()));
    Directory::new(directory::Parts {
        store: store.clone(),
        clock: clock.clone(),
        keys: Arc::new(ServerKeys::parse(KEY).unwrap()),
        prefixes: TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap(),
        passwords: Arc::new(LocalPasswords::new(hasher.clone())),
        hasher,
        signs: Arc::new(Signs::new().0),
        guessing: Arc::new(Guessing::new(store, clock, GuessingRules::default())),
        notices: None,
        token_rules: TokenRules::default(),
        session_rules: SessionRules::default(),
        hosts: ProtectedHosts::new(vec![shop()]).unwrap(),
        trail_rules: TrailRules { keep: Duration::from_hours(24), refused_entries: 1000 },
        coherence: Arc::new(keygate::store::Coherence::always()),
        max_staleness: Duration::from_secs(1),
    })
}

fn shop() -> Origin {
    Origin::parse("https://shop.example.com").unwrap()
}

fn login(text: &str) -> Login {
    Login::parse(text).unwrap()
}

/// Who has signed in, before Keygate starts.
struct Signed {
    /// A superuser.
    root: SessionSecret,
    vera: SessionSecret,
    /// Another one of hers.
    other: SessionSecret,
    /// Hers, since 20 minutes.
    earlier: SessionSecret,
    /// Remembered, since 20 minutes.
    remembered: SessionSecret,
    /// Of a protected host.
    check: SessionSecret,
    /// For the same host, not used yet; and what the host has set in the browser.
    code: SessionSecret,
    nonce: Secret,
}

async fn furnish(store: Arc<dyn Store>) -> Signed {
    let now = directory_on(store.clone(), Arc::new(SystemClock));
    let before = directory_on(store, Arc::new(Behind(Duration::from_mins(20))));
    now.bootstrap().await.unwrap();
    let system = Actor::system("test");
    for name in ["root", "vera"] {
        let password = Some(Password::chosen(PASSWORD).unwrap());
        let new = NewAccount { password, ..NewAccount::new(login(name), AccountKind::Human) };
        now.create_account(&system, new).await.unwrap();
    }
    let patch = AccountPatch { superuser: Some(true), ..AccountPatch::default() };
    now.update_account(&system, &login("root"), patch, None).await.unwrap();
    let sign_in = async |directory: &Directory, login: &str, remember: bool| {
        let password = Password::presented(PASSWORD.as_bytes()).unwrap();
        let ask = SignIn { login: login.to_owned(), password, remember, browser: Some("Firefox on Linux".to_owned()) };
        directory.sign_in(Some(IpAddr::from([192, 0, 2, 7])), None, ask).await.unwrap().secret
    };
    let root = sign_in(&now, "root", false).await;
    let vera = sign_in(&now, "vera", false).await;
    let nonce = Secret::generate(&mut rand::rand_core::UnwrapErr(rand::rngs::SysRng));
    let to = ReturnTo { origin: shop(), target: Target::root() };
    let code = now.hand_over(&vera, &to, nonce.digest()).await.unwrap();
    let directory::Redeemed::Opened { cookie: check, .. } = now.redeem(&code, &shop(), Some(&nonce), None).await.unwrap() else {
        panic!("the code is good");
    };
    Signed {
        root,
        other: sign_in(&now, "vera", false).await,
        earlier: sign_in(&before, "vera", false).await,
        remembered: sign_in(&before, "vera", true).await,
        code: now.hand_over(&vera, &to, nonce.digest()).await.unwrap(),
        vera,
        check,
        nonce,
    }
}

/// What a browser asks of the portal, without its cookies.
fn at_portal(method: &str, target: &str) -> Request {
    Request::new(method, target).header("Host", "auth.example.com").header("Origin", "https://auth.example.com")
}

struct House {
    control: Control,
    client: reqwest::Client,
    signed: Signed,
    redis: Option<Server>,
}

#[derive(Clone, Copy, Debug)]
enum On {
    Embedded,
    Redis,
}

impl House {
    async fn new(on: On, more: &str) -> Self {
        let config = format!("{CONFIG}\n[portal]\nlisten = \"127.0.0.1:9181\"\n{more}\n{COST}");
        let (mut keygate, store, redis): (Keygate, Arc<dyn Store>, _) = match on {
            On::Embedded => {
                let keygate = Keygate::prepare(&format!("{config}\n[keys]\nfile = \"server.key\"\n"));
                keygate.folder.write("server.key", KEY);
                std::fs::create_dir(keygate.data_dir()).unwrap();
                let store = EmbeddedStore::open(&keygate.data_dir()).unwrap();
                (keygate, Arc::new(store), None)
            }
            On::Redis => {
                let server = Server::start(Program::Redis);
                let store = RedisStore::new(&RedisOptions::at(server.url(), Duration::from_secs(5))).unwrap();
                (Keygate::prepare_on_redis(&config, &server.url()), Arc::new(store), Some(server))
            }
        };
        let signed = furnish(store).await;
        keygate.restart();
        Self { control: Control::of(keygate), client: reqwest::Client::new(), signed, redis }
    }

    /// With a site at the shop, which vera may see, and a portal with a name of its own.
    async fn with_shop(on: On) -> Self {
        let house = Self::new(on, PROTECTED).await;
        assert_eq!(house.control.send(Method::POST, "/sites", &json!({ "id": "shop" })).await.status, 201);
        house.control.send(Method::PUT, "/access/vera/shop", &json!({ "level": "view" })).await;
        house
    }

    fn send(&self, request: &Request) -> http::Answer {
        request.send(CLIENT, self.control.keygate.portal).unwrap()
    }

    fn origin(&self) -> String {
        format!("http://localhost:{}", self.control.keygate.portal.port())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}/api/v1{path}", self.control.keygate.portal))
    }

    /// As the portal's own pages ask.
    fn by(&self, session: &SessionSecret, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path)
            .header("Cookie", format!("keygate={}", session.to_text()))
            .header("Origin", self.origin())
            .header("X-CSRF-Token", csrf::token(&session.secret))
    }

    async fn ask(&self, session: &SessionSecret, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.by(session, method, path);
        self.control.answer(if body.is_null() { request } else { request.json(body) }).await
    }

    async fn me(&self, session: &SessionSecret) -> Answer {
        self.ask(session, Method::GET, "/me", &Value::Null).await
    }
}

fn code(answer: &Answer) -> (u16, &str) {
    let kind = answer.body["type"].as_str().map(|kind| kind.trim_start_matches("about:blank#"));
    (answer.status, kind.unwrap_or_default())
}

/// The session in `Set-Cookie`, and whether the browser is to keep it.
fn set_cookie(answer: &Answer) -> (SessionSecret, bool) {
    let cookie = answer.header("set-cookie");
    let value = cookie.strip_prefix("keygate=").unwrap().split(';').next().unwrap();
    assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    (SessionSecret::parse(value.as_bytes()).unwrap(), cookie.contains("Max-Age"))
}

use dump::nothing_in_a_dump_of_the_store_opens_anything;
use errors::a_store_that_fails_ends_no_session;
use strangers::the_cookie_of_a_protected_host_is_nobody_at_the_portal;

macro_rules! on_both_stores {
    ($($name:ident)+) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::On::Embedded).await;
            })+
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::On::Redis).await;
            })+
        }
    };
}

on_both_stores! {
    a_session_says_who_asks
    what_changes_something_comes_from_the_portal_itself
    one_credential_is_judged_and_no_other_cookie_is_one
    what_grants_waits_for_the_password
    nothing_in_a_dump_of_the_store_opens_anything
    a_store_that_fails_ends_no_session
    the_cookie_of_a_protected_host_is_nobody_at_the_portal
    a_new_password_leaves_one_session
    signing_out_ends_the_session
    sessions_are_listed_and_ended
}

async fn a_session_says_who_asks(on: On) {
    let house = House::new(on, "").await;
    let vera = &house.signed.vera;
    let me = house.me(vera).await;
    assert_eq!((me.status, &me.body["login"], &me.body["token"]), (200, &json!("vera"), &Value::Null));
    assert_eq!(me.body["csrf_token"], json!(csrf::token(&vera.secret)));
    let session = &me.body["session"];
    for (name, value) in [
        ("id", json!(vera.session.as_str())),
        ("account", json!("vera")),
        ("browser", json!("Firefox on Linux")),
        ("address", json!("192.0.2.7")),
        ("remembered", json!(false)),
        ("current", json!(true)),
    ] {
        assert_eq!(session[name], value, "{name}");
    }
    assert!(!me.body.to_string().contains(&vera.secret.to_text()));
    // Its time last seen is old, and written anew.
    let earlier = house.me(&house.signed.earlier).await.body["session"].clone();
    assert_eq!(earlier["address"], json!("127.0.0.1"));
    assert!(earlier["last_seen"].as_str() > earlier["created_at"].as_str());
    // What needs a rank, needs it here too.
    let accounts = house.ask(vera, Method::GET, "/accounts", &Value::Null).await;
    assert_eq!(accounts.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(code(&house.ask(vera, Method::GET, "/audit", &Value::Null).await), (403, "superuser_required"));
    assert_eq!(house.ask(&house.signed.root, Method::GET, "/audit", &Value::Null).await.status, 200);
}

async fn what_changes_something_comes_from_the_portal_itself(on: On) {
    let house = House::new(on, "").await;
    let vera = &house.signed.vera;
    let body = json!({ "account": "vera", "name": "x" });
    let (origin, token) = (house.origin(), csrf::token(&vera.secret));
    let post = |origins: &[&str], tokens: &[&str]| {
        let request = house.request(Method::POST, "/tokens").header("Cookie", format!("keygate={}", vera.to_text()));
        let request = origins.iter().fold(request, |request, origin| request.header("Origin", *origin));
        let request = tokens.iter().fold(request, |request, token| request.header("X-CSRF-Token", *token));
        house.control.answer(request.json(&body))
    };
    let other_port = format!("http://localhost:{}", house.control.keygate.check.port());
    let by_address = format!("http://{}", house.control.keygate.portal);
    for origins in [
        &[][..],
        &["null"],
        &[""],
        &["https://evil.example"],
        &[&other_port],
        &[&by_address],
        &[&format!("{origin}/")],
        &[&origin.replace("http:", "https:")],
        &[&origin.to_uppercase()],
        &[&origin, &origin],
        &[&format!("{origin} {origin}")],
    ] {
        assert_eq!(code(&post(origins, &[&token]).await), (403, "cross_site"), "{origins:?}");
    }
    for tokens in [&[][..], &[""], &["x"], &[&csrf::token(&house.signed.other.secret)], &[&token, &token], &[&vera.to_text()]] {
        assert_eq!(code(&post(&[&origin], tokens).await), (403, "csrf_token"), "{tokens:?}");
    }
    assert_eq!(post(&[&origin], &[&token]).await.status, 201);
    // A form that any page can send.
    let form = house.by(vera, Method::POST, "/tokens").header("Content-Type", "text/plain").body(body.to_string());
    assert_eq!(code(&house.control.answer(form).await), (415, "not_json"));
}

async fn one_credential_is_judged_and_no_other_cookie_is_one(on: On) {
    let house = House::new(on, "").await;
    let Signed { root, vera, check, .. } = &house.signed;
    let made = house.ask(root, Method::POST, "/tokens", &json!({ "account": "root", "name": "x", "scopes": ["manage"] })).await;
    let bearer = made.body["token"].as_str().unwrap();
    assert_eq!(made.body["record"]["created_with"], json!(root.session.as_str()));

    // With both, the token counts, and a request that changes something needs no more than the token.
    let cookie = format!("keygate={}", vera.to_text());
    let both = house.request(Method::GET, "/me").header("Cookie", &cookie).bearer_auth(bearer);
    let both = house.control.answer(both).await;
    assert_eq!((&both.body["login"], &both.body["session"]), (&json!("root"), &Value::Null));
    let rules = json!({ "default_expiry": null, "max_expiry": null, "must_expire": false });
    assert_eq!((&both.body["scopes"], &both.body["token_rules"]), (&json!([]), &rules));
    let site = house.request(Method::POST, "/sites").header("Cookie", &cookie).bearer_auth(bearer).json(&json!({ "id": "shop" }));
    assert_eq!(house.control.answer(site).await.status, 201);
    let bad = house.request(Method::GET, "/me").header("Cookie", &cookie).bearer_auth("kg_u_nothing");
    assert_eq!(code(&house.control.answer(bad).await), (401, "malformed"));

    let get = |cookies: &[String]| {
        let request = house.request(Method::GET, "/me");
        house.control.answer(cookies.iter().fold(request, |request, cookie| request.header("Cookie", cookie)))
    };
    let (text, check) = (vera.to_text(), check.to_text());
    let another = if text.starts_with('A') { 'B' } else { 'A' };
    assert_eq!(get(&[format!("a=b; {cookie}; c=d")]).await.status, 200);
    assert_eq!(get(&[format!("{cookie}; __Host-keygate=planted")]).await.status, 200);
    for (cookies, status, expected) in [
        (vec![format!("{cookie}; {cookie}")], 400, "ambiguous_credential"),
        (vec![cookie.clone(), cookie.clone()], 400, "ambiguous_credential"),
        (vec![format!("__Host-keygate={text}")], 401, "no_credential"),
        (vec![format!("keygate-check={check}")], 401, "no_credential"),
        (vec![format!("keygate={check}")], 401, "session_ended"),
        (vec![format!("keygate={}", &text[1..])], 401, "session_ended"),
        (vec![format!("keygate={another}{}", &text[1..])], 401, "session_ended"),
        (vec!["keygate=".to_owned()], 401, "session_ended"),
    ] {
        let answer = get(&cookies).await;
        assert_eq!(code(&answer), (status, expected), "{cookies:?}");
        assert!(!answer.header("www-authenticate").contains("invalid_token"), "no token was presented");
    }
    let session_token = format!("kg_x_{}{}", vera.session, "A".repeat(38));
    for with_cookie in [false, true] {
        let request = house.request(Method::GET, "/me").bearer_auth(&session_token);
        let request = if with_cookie { request.header("Cookie", format!("keygate-check={check}")) } else { request };
        assert_eq!(house.control.answer(request).await.status, 401);
    }
    // At the control socket he is who he is.
    let control = house.control.answer(house.control.request(Method::GET, "/me").header("Cookie", &cookie)).await;
    assert!(control.body["login"].as_str().unwrap().starts_with("control:"), "{}", control.body);
}

async fn what_grants_waits_for_the_password(on: On) {
    let house = House::new(on, "").await;
    let old = &house.signed.remembered;
    let ask = json!({ "account": "vera", "name": "x" });
    let refused = house.ask(old, Method::POST, "/tokens", &ask).await;
    assert_eq!(code(&refused), (403, "password_confirmation_required"));
    assert!(refused.body["detail"].as_str().unwrap().contains("/api/v1/me/confirm"));
    // What takes away does not wait.
    let made = house.ask(&house.signed.vera, Method::POST, "/tokens", &ask).await;
    let token = format!("/tokens/{}?wait=true", made.body["record"]["id"].as_str().unwrap());
    assert_eq!(house.ask(old, Method::DELETE, &token, &Value::Null).await.status, 200);

    let confirm = async |password: &str| house.ask(old, Method::POST, "/me/confirm", &json!({ "password": password })).await;
    assert_eq!(code(&confirm("wrong horse").await), (403, "wrong_password"));
    assert_eq!(code(&confirm(&"x".repeat(1025)).await), (422, "password_too_long"));
    let confirmed = confirm(PASSWORD).await;
    assert_eq!(confirmed.status, 200);
    let (renewed, kept) = set_cookie(&confirmed);
    assert!(kept && renewed.session == old.session && renewed.secret != old.secret);
    assert_eq!(confirmed.body, json!({ "csrf_token": csrf::token(&renewed.secret), "confirmed": true }));
    assert_eq!(code(&house.me(old).await), (401, "session_ended"));
    assert_eq!(house.ask(&renewed, Method::POST, "/tokens", &ask).await.status, 201);
    for path in ["/me/confirm", "/me/password"] {
        let body = json!({ "password": PASSWORD, "current": PASSWORD, "new": "battery staple" });
        let body = if path == "/me/confirm" {
            json!({ "password": body["password"] })
        } else {
            json!({ "current": body["current"], "new": body["new"] })
        };
        assert_eq!(code(&house.control.send(Method::POST, path, &body).await), (403, "session_required"));
    }
}

async fn a_new_password_leaves_one_session(on: On) {
    let house = House::new(on, "").await;
    let Signed { vera, other, .. } = &house.signed;
    let change = async |current: &str, new: &str| {
        house.ask(vera, Method::POST, "/me/password", &json!({ "current": current, "new": new })).await
    };
    assert_eq!(code(&change("wrong horse", "battery staple").await), (403, "wrong_password"));
    for (new, expected) in [("short", "password_too_short"), ("Password123", "password_too_common")] {
        let refused = change(PASSWORD, new).await;
        assert_eq!((code(&refused), &refused.body["field"]), ((422, expected), &json!("new")));
    }
    let changed = change(PASSWORD, "battery staple").await;
    assert_eq!(changed.status, 200);
    let (begun, kept) = set_cookie(&changed);
    assert!(!kept && begun.session != vera.session);
    assert_eq!(house.me(&begun).await.status, 200);
    for ended in [vera, other, &house.signed.remembered] {
        assert_eq!(code(&house.me(ended).await), (401, "session_ended"));
    }
    let listed = house.control.get("/sessions?account=vera").await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    // By somebody else none is left, and neither after all was revoked.
    let password = json!({ "password": "yet another horse" });
    assert_eq!(house.control.send(Method::PATCH, "/accounts/vera", &password).await.status, 200);
    assert_eq!(code(&house.me(&begun).await), (401, "session_ended"));
    assert_eq!(house.control.send(Method::POST, "/accounts/root/revoke-all", &json!({})).await.status, 200);
    assert_eq!(code(&house.me(&house.signed.root).await), (401, "session_ended"));
}

async fn signing_out_ends_the_session(on: On) {
    let house = House::new(on, "").await;
    let Signed { vera, other, .. } = &house.signed;
    let out = house.ask(vera, Method::POST, "/me/sign-out", &Value::Null).await;
    assert_eq!((out.status, out.header("set-cookie")), (204, "keygate=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"));
    assert_eq!(code(&house.me(vera).await), (401, "session_ended"));
    assert_eq!(house.me(other).await.status, 200);
    let disabled = house.control.send(Method::PATCH, "/accounts/vera", &json!({ "disabled": true })).await;
    assert_eq!(disabled.status, 200);
    let refused = house.me(other).await;
    assert_eq!(code(&refused), (401, "account_disabled"));
    assert!(!refused.header("www-authenticate").contains("invalid_token"), "no token was presented");
    assert_eq!(house.control.answer(house.control.request(Method::DELETE, "/accounts/vera")).await.status, 204);
    assert_eq!(code(&house.me(other).await), (401, "session_ended"));
    let audit = house.control.get("/audit?action=session.sign_out").await;
    let event = &audit.body["items"][0];
    assert_eq!((&event["target"]["id"], &event["actor"]["account"]), (&json!(vera.session.as_str()), &json!("vera")));
}

async fn sessions_are_listed_and_ended(on: On) {
    let house = House::new(on, "").await;
    let Signed { root, vera, other, earlier, remembered, .. } = &house.signed;
    let ids = |answer: &Answer| {
        let items = answer.body["items"].as_array().unwrap().iter();
        let mut ids: Vec<_> = items.map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let sorted = |sessions: &[&SessionSecret]| {
        let mut ids: Vec<_> = sessions.iter().map(|session| session.session.to_string()).collect();
        ids.sort();
        ids
    };
    let veras = sorted(&[vera, other, earlier, remembered]);
    let own = house.ask(vera, Method::GET, "/sessions", &Value::Null).await;
    assert_eq!(ids(&own), veras);
    assert_eq!(own.body["items"].as_array().unwrap().iter().filter(|item| item["current"] == true).count(), 1);
    assert_eq!(code(&house.ask(vera, Method::GET, "/sessions?account=root", &Value::Null).await), (404, "account_not_found"));
    let everybody = sorted(&[root, vera, other, earlier, remembered]);
    assert_eq!(ids(&house.ask(root, Method::GET, "/sessions", &Value::Null).await), everybody);
    assert_eq!(ids(&house.control.get("/sessions?account=vera").await), veras);
    let first = house.control.get("/sessions?limit=2").await;
    assert!(ids(&first).len() == 2 && first.body["next"].is_string());

    let of = |session: &SessionSecret| format!("/sessions/{}?wait=true", session.session);
    assert_eq!(code(&house.ask(vera, Method::DELETE, &of(root), &Value::Null).await), (404, "session_not_found"));
    assert_eq!(house.ask(vera, Method::DELETE, &of(other), &Value::Null).await.status, 204);
    assert_eq!(code(&house.me(other).await), (401, "session_ended"));
    assert_eq!(code(&house.ask(vera, Method::DELETE, &of(other), &Value::Null).await), (404, "session_not_found"));

    let run = |line: &str| command::run(house.control.keygate.folder.path(), &format!("{line} --data-dir data"), &[]);
    let table = run("session list vera").stdout;
    assert!(table.starts_with("ID            ACCOUNT  BROWSER           LAST SEEN"), "{table}");
    assert_eq!(table.lines().count(), 4);
    let listed: Value = serde_json::from_str(&run("session list --json").stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 4);
    let revoked = run(&format!("session revoke {}", remembered.session));
    assert_eq!((revoked.code, revoked.stdout), (0, format!("ended session `{}`\n", remembered.session)));
    assert_eq!(code(&house.me(remembered).await), (401, "session_ended"));
    let again = run(&format!("session revoke {}", remembered.session));
    assert_eq!((again.code, again.stdout.as_str()), (1, ""));
    let json: Value = serde_json::from_str(&run(&format!("session revoke {} --json", root.session)).stdout).unwrap();
    assert_eq!(json, json!({ "deleted": root.session.as_str() }));
}

/// Behind TLS the cookie has the name that no sibling domain can plant.
#[tokio::test]
async fn at_an_https_portal_only_the_name_that_nobody_plants_is_read() {
    let house = House::new(On::Embedded, "url = \"https://auth.example.com\"").await;
    let vera = &house.signed.vera;
    let get =
        |name: &str| house.control.answer(house.request(Method::GET, "/me").header("Cookie", format!("{name}={}", vera.to_text())));
    assert_eq!(get("__Host-keygate").await.status, 200);
    assert_eq!(code(&get("keygate").await), (401, "no_credential"));
    let confirm = house
        .request(Method::POST, "/me/confirm")
        .header("Cookie", format!("__Host-keygate={}", vera.to_text()))
        .header("Origin", "https://auth.example.com")
        .header("X-CSRF-Token", csrf::token(&vera.secret))
        .json(&json!({ "password": PASSWORD }));
    let confirmed = house.control.answer(confirm).await;
    let cookie = confirmed.header("set-cookie");
    assert!(cookie.starts_with("__Host-keygate=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
}
