//! Three replicas of Keygate on one store, each with a faulty way to it, and a thousand credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate::{
    clock::{Clock as _, SystemClock},
    directory::{Directory, Redeemed, SignIn},
    domain::{
        origin::{Origin, ProtectedHosts, ReturnTo, Target},
        password::{Cost, Password},
        session::Secret,
        time::Timestamp,
    },
};
use rand::rand_core::UnwrapErr;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    control::{self, CONFIG},
    dialects::call,
    faulty::Faulty,
    history::{Answer, Taken},
    http::Request,
    keygate::{KEY, Keygate},
    programs::{wait_for, wait_for_async},
    shop::{bearing, get},
    steady::Steady,
    visitor::{PASSWORD, directory_over},
};

pub const REPLICAS: usize = 3;
pub const STALENESS: Duration = Duration::from_millis(500);
const EXPIRING: u32 = 60;

/// Cheap passwords, a host with sessions, no limit on requests.
const MORE: &str = r#"
[portal]
listen = "127.0.0.1:9181"
url = "https://auth.example.com"
hosts = ["https://shop.example.com"]
requests_per_second = 0

[password]
memory_kib = 64
passes = 1

[hot_path]
max_staleness = "500ms"

[[rules]]
name = "orders"
match = { path = "/orders/{*rest}" }
site = "shop"
access = { read = "view", write = "write" }
"#;

/// How many accounts there are, and credentials of each of them.
#[derive(Clone, Copy)]
pub struct Crowd {
    pub services: usize,
    pub tokens_of_each: usize,
    pub people: usize,
    pub sessions_of_each: usize,
}

/// Something that a request shows.
pub struct Credential {
    /// The check of a request with it, as it is sent.
    pub head: Vec<u8>,
    pub login: String,
    /// Of the token or the session.
    pub id: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Token,
    Session,
    /// A token that expires by itself.
    Expiring,
}

pub struct Fleet {
    pub replicas: Vec<Keygate>,
    pub ways: Vec<Faulty>,
    pub credentials: Vec<Credential>,
    /// Of the store, for what is done to it beside.
    url: String,
}

impl Fleet {
    /// On an empty Redis that listens there.
    pub fn start(port: u16) -> Self {
        let ways: Vec<_> = (0..REPLICAS).map(|_| Faulty::start(port)).collect();
        let urls: Vec<_> = ways.iter().map(Faulty::url).collect();
        Self { ways, ..Self::on(&urls, "") }
    }

    /// Each on an empty store of its URL, which is the same one; with more settings of it.
    pub fn on(urls: &[String], settings: &str) -> Self {
        let replicas = urls.iter().map(|url| {
            let store = format!("[keys]\nfile = \"server.key\"\n\n[store]\nurl = \"{url}\"\n{settings}");
            let mut keygate = Keygate::prepare(&format!("{CONFIG}\n{MORE}\n{store}"));
            keygate.folder.write("server.key", KEY);
            keygate.restart();
            keygate
        });
        Self { replicas: replicas.collect(), ways: Vec::new(), url: urls[0].clone(), credentials: Vec::new() }
    }

    /// How the management of a replica is spoken to.
    pub fn api(&self, replica: usize) -> Api {
        Api(control::client(&self.replicas[replica].control()))
    }

    /// Tokens of services, and sessions of people.
    pub async fn furnish(&mut self, crowd: Crowd) {
        let api = self.api(0);
        api.must(Method::POST, "/sites", json!({ "id": "shop" })).await;
        for number in 0..crowd.services {
            let login = format!("service-{number}");
            api.account(json!({ "login": login, "kind": "service" })).await;
            for _ in 0..crowd.tokens_of_each {
                self.credentials.push(api.token(&login, Kind::Token, json!(null)).await);
            }
        }
        api.account(json!({ "login": "expiring", "kind": "service" })).await;
        let hosts = ProtectedHosts::new(vec![shop()]).expect("one host");
        let cost = Cost::new(64, 1, 1).expect("a cheap password");
        let directory = directory_over(self.url.clone(), hosts, Arc::new(SystemClock), cost);
        for number in 0..crowd.people {
            let login = format!("person-{number}");
            api.account(json!({ "login": login, "password": PASSWORD })).await;
            for _ in 0..crowd.sessions_of_each {
                self.credentials.push(sign_in(&directory, login.clone()).await);
            }
        }
    }

    /// Tokens that expire one after the other while so much time goes by from a second on after now.
    pub async fn add_expiring(&mut self, lasting: Duration) -> Vec<Taken> {
        let (api, mut taken) = (self.api(0), Vec::new());
        let (began, now) = (Instant::now(), SystemClock.now().as_millis());
        for number in 0..EXPIRING {
            let after = Duration::from_secs(1) + lasting * number / EXPIRING;
            let at = Timestamp::from_millis(now + i64::try_from(after.as_millis()).expect("soon"));
            let from = vec![self.credentials.len()];
            self.credentials.push(api.token("expiring", Kind::Expiring, json!(at.to_string())).await);
            taken.push(Taken { what: "a token expires", from, began, waits: true, answer: Answer::Done(began + after) });
        }
        taken
    }

    /// Until each replica lets in whoever is alive.
    pub fn wait_until_all_get_in(&self, live: &[usize]) {
        (0..self.replicas.len()).for_each(|replica| self.wait_until_let_in_by(replica, live));
    }

    pub fn wait_until_let_in_by(&self, replica: usize, live: &[usize]) {
        let mut steady = Steady::new(self.replicas[replica].check);
        for &credential in live {
            let Credential { head, login, id, kind } = &self.credentials[credential];
            wait_for(&format!("replica {replica} to let in the {kind:?} {id} of {login}"), || {
                (steady.status(head) == Some(200)).then_some(())
            });
        }
    }
}

fn shop() -> Origin {
    Origin::parse("https://shop.example.com").expect("an origin")
}

fn check(request: &Request) -> Vec<u8> {
    call("nginx", request).header("X-Original-Proto", "https").head()
}

/// The session of a browser on the protected host.
async fn sign_in(directory: &Directory, login: String) -> Credential {
    let password = Password::presented(PASSWORD.as_bytes()).expect("a password");
    let ask = SignIn { login: login.clone(), password, remember: false, browser: None };
    let portal = directory.sign_in(None, None, ask).await.expect("login and password are right").secret;
    let nonce = Secret::generate(&mut UnwrapErr(rand::rngs::SysRng));
    let to = ReturnTo { origin: shop(), target: Target::root() };
    let code = directory.hand_over(&portal, &to, nonce.digest()).await.expect("the session lives");
    let opened = directory.redeem(&code, &shop(), Some(&nonce), None).await.expect("the store answers");
    let Redeemed::Opened { cookie, .. } = opened else { panic!("the code is good") };
    let head = check(&get("/orders/7").header("Cookie", &format!("__Host-keygate-check={}", cookie.to_text())));
    Credential { head, login, id: cookie.session.to_string(), kind: Kind::Session }
}

/// The management of one replica, over its control socket.
#[derive(Clone)]
pub struct Api(reqwest::Client);

impl Api {
    /// Status and body; `None` when nobody answered.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> Option<(u16, Value)> {
        let request = self.0.request(method, format!("http://control/api/v1{path}")).timeout(Duration::from_secs(10));
        let response = if body.is_null() { request } else { request.json(&body) }.send().await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Until it is done: on a busy machine even a store without faults is late at times.
    pub async fn must(&self, method: Method, path: &str, body: Value) -> Value {
        let mut is_again = false;
        wait_for_async(&format!("{path} to be taken"), async || {
            let (status, answer) =
                self.send(method.clone(), path, body.clone()).await.unwrap_or_else(|| panic!("{path}: no answer"));
            // What is there already was made by the request before, whose answer was lost on its way.
            if status < 300 || is_again && status == 409 {
                return Some(answer);
            }
            assert_eq!(status, 503, "{path}: {answer}");
            is_again = true;
            None
        })
        .await
    }

    /// With access to the shop.
    async fn account(&self, account: Value) {
        let path = format!("/access/{}/shop", account["login"].as_str().expect("a login"));
        self.must(Method::POST, "/accounts", account).await;
        self.must(Method::PUT, &path, json!({ "level": "write" })).await;
    }

    async fn token(&self, login: &str, kind: Kind, expires_at: Value) -> Credential {
        let ask = json!({ "account": login, "name": "token", "expires_at": expires_at });
        let made = self.must(Method::POST, "/tokens", ask).await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (token, id) = (text(&made["token"]), text(&made["record"]["id"]));
        Credential { head: check(&bearing(&token)), login: login.to_owned(), id, kind }
    }
}
