//! No secret is found where it does not belong: not in a log at its loudest, not in the store, a list, the metrics or
//! the configuration that is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::json;

use crate::support::control::Control;
use crate::support::dialects::{PROXY, ask, block_on, call, check, message};
use crate::support::http::Request;
use crate::support::keygate::{KEY, Keygate};
use crate::support::programs::wait_for;
use crate::support::redis::{Program, Server};
use crate::support::shop::{CONFIG, Shop, bearing, get};

const PASSWORD: &str = "correct horse battery staple";
const NEW_PASSWORD: &str = "incorrect donkey battery staple";
const WRONG_PASSWORD: &str = "wrong zebra battery staple";
const PROXY_SECRET: &str = "proxy-secret-4f1d";
const REDIS_PASSWORD: &str = "redis-password-93c2";
/// Nobody's token, with a checksum that is wrong.
const MALFORMED: &str = "kg_u_MalFormed123malformedSecretmalformedSecret00xxxxxx";

/// What must not be found, each by a name that may be printed.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, name: &str, text: &str) {
        self.0.push((name.to_owned(), text.as_bytes().to_vec()));
        self.0.push((format!("{name}, in Base64"), STANDARD.encode(text).into_bytes()));
        let hex = text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        self.0.push((format!("{name}, in hexadecimal"), hex.into_bytes()));
    }

    fn add_token(&mut self, name: &str, token: &str) {
        assert_eq!(token.len(), 55, "{name}");
        self.add(name, token);
        self.add(&format!("the secret part of {name}"), &token[17..49]);
        for login in ["vera", "robot"] {
            self.add(&format!("{name}, as {login}'s Basic credential"), &format!("{login}:{token}"));
        }
        self.add(&format!("{name}, as a login"), &format!("{token}:"));
    }

    fn add_password(&mut self, name: &str, password: &str) {
        self.add(name, password);
        self.add(&format!("{name} as a Basic credential"), &format!("vera:{password}"));
    }

    /// The key as its file has it, and the bytes it stands for.
    fn add_key(&mut self, line: &str) {
        let encoded = line.trim().split(':').nth(1).unwrap();
        self.0.push(("the server key".to_owned(), encoded.as_bytes().to_vec()));
        self.0.push(("the bytes of the server key".to_owned(), STANDARD.decode(encoded).unwrap()));
    }

    fn found_in(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let found = self.0.iter().filter(|(_, secret)| position(bytes, secret).is_some());
        found.map(|(name, _)| name.as_str()).collect()
    }

    fn assert_not_in(&self, place: &str, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "{place} is empty: nothing was looked through");
        // One line for each kind of place: what stands before the secret says which.
        let mut lines: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Some(at) = self.0.iter().filter_map(|(_, secret)| position(line, secret)).min() {
                let before = line[at.saturating_sub(16)..at].to_vec();
                lines.entry(before).or_insert_with(|| String::from_utf8_lossy(line).into_owned());
            }
        }
        assert_eq!(self.found_in(bytes), BTreeSet::new(), "in {place}: {:#?}", lines.into_values().collect::<Vec<_>>());
    }

    fn assert_not_in_files(&self, directory: &Path, except: &str) {
        let mut looked = 0;
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.assert_not_in_files(&path, except);
            } else if path.is_file() && entry.file_name() != except {
                let bytes = fs::read(&path).unwrap();
                assert_eq!(self.found_in(&bytes), BTreeSet::new(), "in {}", path.display());
                looked += bytes.len();
            }
        }
        assert!(looked > 0, "there is nothing in {}", directory.display());
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Every way to present a credential, right and wrong, in every dialect.
fn knock(keygate: &Keygate, token: &str, others: &[&str], secret: Option<&str>) -> Vec<u16> {
    let basic = |login: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{login}:{password}")));
    let mut requests = vec![get("/orders/7")];
    for token in others.iter().chain([&token]) {
        requests.push(bearing(token));
        requests.push(bearing(token).header("Cookie", &format!("keygate-check={token}")));
        requests.push(get("/orders/7").header("Authorization", &format!("Token {token}")));
        requests.push(get(&format!("/orders/7?token_auth={token}")));
        requests.push(get(&format!("/orders/7?TOKEN_AUTH[]={token}")));
        requests.push(get(&format!("/orders/{token}/7")));
        requests.push(get(&format!("/nobody/knows/{token}")));
        requests.push(get(&format!("/orders/../{token}")));
        // Written so that nothing that looks for its beginning finds it.
        requests.push(get(&format!("/orders/{}", token.replacen("kg_", "%6bg%5F", 1))));
        for login in ["vera", "robot"] {
            requests.push(get("/basic/7").header("Authorization", &basic(login, token)));
        }
        requests.push(get("/basic/7").header("Authorization", &basic(token, "")));
    }
    for password in [PASSWORD, NEW_PASSWORD, WRONG_PASSWORD] {
        requests.push(get("/basic/7").header("Authorization", &basic("vera", password)));
        requests.push(get("/basic/7").header("Authorization", &basic("nobody", password)));
        requests.push(get("/basic/7").header("Authorization", &format!("Basic {password}")));
    }
    let mut statuses = Vec::new();
    for request in requests {
        for dialect in ["nginx", "traefik", "envoy", "check"] {
            let call = call(dialect, &request);
            let call = if let Some(secret) = secret { call.header("X-Auth-Proxy-Secret", secret) } else { call };
            statuses.push(call.send(PROXY, keygate.check).unwrap().status);
        }
        let told = check(keygate.grpc, message(&request, false), secret);
        statuses.push(told.map_or(0, |answer| if answer.status.is_some_and(|status| status.code == 0) { 200 } else { 401 }));
    }
    statuses
}

/// Everything that may be asked over the control socket, with secrets in right and in wrong places.
fn administer(control: &Control, secrets: &Secrets, token: &str) {
    block_on(async {
        for path in
            ["/accounts", "/accounts/vera", "/sites", "/access", "/tokens", &format!("/tokens/{}", &token[5..17]), "/policy"]
        {
            let answer = control.get(path).await;
            assert_eq!(answer.status, 200, "{path}");
            secrets.assert_not_in(path, format!("{:?} {}", answer.headers, answer.body).as_bytes());
        }
        for path in [&format!("/tokens/{token}"), &format!("/tokens?account={token}"), &format!("/accounts/{token}"), token] {
            assert_ne!(control.get(path).await.status, 200);
        }
        let url = format!("http://shop.example.com/orders/{token}?token_auth={token}");
        for body in [
            json!({ "url": url, "token": token }),
            json!({ "url": url, "token": MALFORMED }),
            json!({ "url": token, "token": token }),
            json!({ "url": url, "token": [token] }),
        ] {
            control.send(Method::POST, "/explain", &body).await;
        }
        for body in [
            json!({ "login": "other", "password": WRONG_PASSWORD, "kind": "service" }),
            json!({ "login": "other", "password": [WRONG_PASSWORD] }),
            json!({ "login": "other", "superuser": WRONG_PASSWORD }),
            json!({ "login": WRONG_PASSWORD }),
        ] {
            assert_ne!(control.send(Method::POST, "/accounts", &body).await.status, 201);
        }
    });
    for url in ["http://shop.example.com/orders/7", "nonsense"] {
        control.keygate.run(&["explain", "--url", url, "--token-stdin"], token);
    }
}

fn config(format: &str) -> String {
    format!("{CONFIG}\n[log]\nlevel = \"trace\"\nformat = \"{format}\"\n")
        .replace("[check]\n", &format!("[check]\nproxy_secret = \"{PROXY_SECRET}\"\n"))
}

fn furnish(keygate: &Keygate) {
    keygate.must(&["site", "create", "shop"]);
    keygate.must_with(&["account", "create", "vera", "--password-stdin"], PASSWORD);
    keygate.must(&["access", "set", "vera", "shop", "view"]);
}

/// Mints, rotates and revokes; gives back the token that lives and those that do not.
fn mint(keygate: &Keygate) -> (String, Vec<String>) {
    let first = keygate.must(&["token", "create", "vera", "--name", "first"]);
    let rotated = keygate.must(&["token", "rotate", &first[5..17]]);
    let revoked = keygate.must(&["token", "create", "vera", "--name", "revoked"]);
    keygate.must(&["token", "revoke", &revoked]);
    keygate.must_with(&["account", "password", "vera", "--password-stdin"], NEW_PASSWORD);
    (rotated, vec![first, revoked])
}

fn everything_that_is_said(format: &str, redis: Option<&Server>) {
    let config = config(format);
    let mut keygate = match redis {
        Some(server) => {
            let url = format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}", server.port());
            Keygate::prepare_on_redis(&config, &url)
        }
        None => Keygate::prepare(&config),
    };
    keygate.restart();
    furnish(&keygate);
    let (token, dead) = mint(&keygate);

    let mut secrets = Secrets::default();
    secrets.add_token("a living token", &token);
    for (index, token) in dead.iter().enumerate() {
        secrets.add_token(&format!("dead token {index}"), token);
    }
    secrets.add_token("no token", MALFORMED);
    for (name, password) in
        [("the first password", PASSWORD), ("the new password", NEW_PASSWORD), ("a wrong password", WRONG_PASSWORD)]
    {
        secrets.add_password(name, password);
    }
    secrets.add("the proxy secret", PROXY_SECRET);
    secrets.add("the Redis password", REDIS_PASSWORD);
    let key = fs::read_to_string(keygate.data_dir().join("keygate.key")).unwrap_or_else(|_| KEY.to_owned());
    secrets.add_key(key.lines().last().unwrap());

    let mut others: Vec<&str> = dead.iter().map(String::as_str).collect();
    others.push(MALFORMED);
    let statuses = knock(&keygate, &token, &others, Some(PROXY_SECRET));
    for status in [200, 400, 401, 403] {
        assert!(statuses.contains(&status), "nothing was answered with {status}: {statuses:?}");
    }
    assert!(!knock(&keygate, &token, &others, Some(&PROXY_SECRET.replace('4', "five")))[..5].contains(&200));
    let control = Control::of(keygate);
    administer(&control, &secrets, &token);

    let mut keygate = control.keygate;
    let shown = keygate.must(&["--config", &keygate.config().display().to_string(), "config", "show"]);
    secrets.assert_not_in("config show", shown.as_bytes());
    secrets.assert_not_in("/metrics", &keygate.ask("/metrics").unwrap().body);
    // At its end it has written all that it had to say.
    keygate.stop();
    let log = keygate.log();
    assert!(log.contains("refused") && log.contains(&token[5..17]), "the log says nothing: {log}");
    secrets.assert_not_in("the log", log.as_bytes());
    let records = redis.map_or(keygate.data_dir(), |server| server.directory().join("appendonlydir"));
    secrets.assert_not_in_files(&records, "keygate.key");
}

#[test]
fn nothing_is_said_in_text() {
    everything_that_is_said("text", None);
}

#[test]
fn nothing_is_said_in_json() {
    everything_that_is_said("json", None);
}

#[test]
fn nothing_is_said_over_redis() {
    let arguments = ["--requirepass", REDIS_PASSWORD, "--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start_with(Program::Redis, &arguments);
    everything_that_is_said("text", Some(&server));

    // Nor when the store goes away, or wants another password.
    let url = format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}", server.port());
    let mut keygate = Keygate::prepare_on_redis(&config("text"), &url);
    keygate.restart();
    server.kill();
    assert_eq!(keygate.ask("/readyz").unwrap().status, 503);
    let mut secrets = Secrets::default();
    secrets.add("the Redis password", REDIS_PASSWORD);
    secrets.add_key(KEY);
    secrets.assert_not_in("/readyz", &keygate.ask("/readyz").unwrap().body);
    keygate.stop();
    secrets.assert_not_in("the log", keygate.log().as_bytes());
    let wrong = Keygate::prepare_on_redis(&config("text"), &url.replace('@', "x@"));
    secrets.add("a wrong Redis password", &format!("{REDIS_PASSWORD}x"));
    server.restart();
    let (code, said) = wrong.refuses();
    assert_eq!(code, Some(3), "{said}");
    secrets.assert_not_in("the refusal", said.as_bytes());
}

/// It prints what it made, once, to standard output; the log and the rest know nothing of it.
#[test]
fn quickstart_says_its_secrets_once_and_does_not_log_them() {
    let mut keygate = Keygate::prepare("");
    keygate.quickstart();
    let printed = wait_for("the welcome", || {
        let printed = keygate.program().output();
        printed.contains("Stop it with Ctrl-C").then_some(printed)
    });
    let after = |label: &str| {
        let line = printed.lines().find(|line| line.trim().starts_with(label)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let (password, token) = (after("password"), after("demo token"));
    let mut secrets = Secrets::default();
    secrets.add("the administrator's password", &password);
    secrets.add_token("the demo token", &token);
    secrets.add_key(fs::read_to_string(keygate.data_dir().join("keygate.key")).unwrap().lines().last().unwrap());

    assert_eq!(ask(&keygate, "nginx", &bearing(&token)).unwrap().status, 200);
    assert!(knock(&keygate, &token, &[MALFORMED], None).contains(&401));
    assert!(secrets.found_in(printed.as_bytes()).iter().all(|name| !name.contains("server key")));
    secrets.assert_not_in("the list", keygate.must(&["token", "list"]).as_bytes());

    keygate.stop();
    secrets.assert_not_in("the log", keygate.program().errors().as_bytes());
    secrets.assert_not_in_files(&keygate.data_dir(), "keygate.key");
    let once = keygate.program().output().len();
    keygate.quickstart();
    wait_for("the welcome", || keygate.program().output()[once..].contains("Stop it").then_some(()));
    secrets.assert_not_in("the second welcome", &keygate.program().output().as_bytes()[once..]);
    assert_eq!(ask(&keygate, "nginx", &bearing(&token)).unwrap().status, 200);
}

/// A client may put anything anywhere, and a proxy passes it on.
#[test]
fn a_token_in_the_host_or_the_method_is_not_logged() {
    let mut shop = Shop::start(CONFIG);
    let token = shop.token.clone();
    let mut secrets = Secrets::default();
    secrets.add_token("the token", &token);
    for request in [
        Request::new("GET", "/orders/7").header("Host", &format!("{token}.example.com")),
        Request::new(&token, "/orders/7").header("Host", "shop.example.com"),
    ] {
        for dialect in ["nginx", "envoy", "grpc", "check"] {
            assert_ne!(shop.ask(dialect, &request).status, 200);
        }
    }
    shop.keygate.stop();
    secrets.assert_not_in("the log", shop.keygate.log().as_bytes());
}
