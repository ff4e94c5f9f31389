//! What a check asks of the store: nothing where everything is known, and no more than it must where it is not. And that what
//! is known changes when the records do, whoever changes them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::control::{Answer, Control};
use crate::support::dialects::call;
use crate::support::faulty::Faulty;
use crate::support::http::Request;
use crate::support::keygate::Keygate;
use crate::support::monitor::{Command, Monitor};
use crate::support::programs::wait_for;
use crate::support::redis::{Program, Server};
use crate::support::shop::{CONFIG, Shop, bearing, get};
use crate::support::steady::Steady;
use crate::support::visitor::{POLICY, Portal, Visitor};

const PASSWORD: &str = "correct horse battery staple";

const ANONYMOUS: &str = r#"
[[rules]]
name = "for everybody who may"
match = { path = "/pages/{*rest}" }
site = "shop"
access = "view"
otherwise = "anonymous"
"#;

/// What goes on beside the checks: canaries with what they ask about, the writing down of when tokens were used, and a look
/// at how Redis is set up.
fn is_housekeeping(command: &Command) -> bool {
    let about = |kind: &str| command.words.contains(&format!("\"kg:{kind}:"));
    let canary = command.is("HMGET") && about("m") || command.is("EVAL") && about("z") || command.of_script && about("z");
    let use_of_token = (command.is("EVAL") || command.is("EVALSHA") || command.of_script) && (about("u") || about("o"));
    let report = (command.is("EVAL") || command.of_script) && about("p");
    let look = command.is("INFO") || command.is("EVAL") && command.words.contains("redis.acl_check_cmd");
    canary || use_of_token || report || look || command.is("PING")
}

fn head(request: &Request) -> Vec<u8> {
    call("nginx", request).head()
}

/// How many reads of records there were, and nothing else but housekeeping.
fn reads(commands: &[Command]) -> usize {
    let (reads, others): (Vec<_>, Vec<_>) = commands.iter().partition(|command| command.is("MGET"));
    let strange: Vec<_> = others.into_iter().filter(|command| !is_housekeeping(command)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    reads.len()
}

/// After its start a server looks after its records once, and then every hour.
fn wait_for_first_sweep(server: &Server, monitor: &mut Monitor) {
    wait_for("the first sweep", || (calls(server, "xtrim") >= 2).then_some(()));
    let mut quiet = 0;
    wait_for("its end", || {
        quiet = if monitor.seen().iter().all(is_housekeeping) { quiet + 1 } else { 0 };
        (quiet == 10).then_some(())
    });
}

fn assert_no_command_for(name: &str, server: &Server, checks: u32, mut check: impl FnMut() -> Option<u16>) {
    // Of what was asked before, everything has been done then.
    assert_eq!(check(), Some(200), "{name}");
    let mut monitor = Monitor::start(server);
    wait_for_first_sweep(server, &mut monitor);
    let before = calls(server, "mget");
    for _ in 0..checks {
        assert_eq!(check(), Some(200), "{name}");
    }
    let after = calls(server, "mget");
    let seen = monitor.seen();
    assert_eq!(reads(&seen), 0, "{name}: {seen:?}");
    assert!(seen.iter().all(|command| !command.is_of_records()), "{name}: {seen:?}");
    assert_eq!(before, after, "{name}: reads of records");
    println!("{name}: {checks} checks, {} commands of housekeeping", seen.len());
}

/// How often a command was executed, by `INFO commandstats`. `MGET` is the one that reads records; the script that writes
/// down uses reads those by `GET`.
fn calls(server: &Server, command: &str) -> u64 {
    let stats = server.text(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

fn shop(server: &Server) -> Shop {
    let shop = Shop::on_redis(&format!("{CONFIG}{ANONYMOUS}"), server);
    let keygate = &shop.keygate;
    keygate.must_with(&["account", "create", "vera", "--password-stdin"], PASSWORD);
    for (login, level) in [("vera", "view"), ("anonymous", "view")] {
        keygate.must(&["access", "set", login, "shop", level]);
    }
    shop
}

fn basic() -> Request {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    get("/basic/page").header("Authorization", &format!("Basic {}", STANDARD.encode(format!("vera:{PASSWORD}"))))
}

#[test]
fn a_warm_check_asks_the_store_nothing() {
    let checks = crate::support::cases_to_run(1_500, 250_000);
    let server = Server::start(Program::Redis);
    let shop = shop(&server);
    let mut steady = Steady::new(shop.keygate.check);
    for (name, request) in [("a token", shop.request()), ("a password", basic()), ("nobody", get("/pages/1"))] {
        let head = head(&request);
        assert_no_command_for(name, &server, checks, || steady.status(&head));
    }
}

#[test]
fn a_warm_session_asks_the_store_nothing() {
    let checks = crate::support::cases_to_run(1_500, 250_000);
    let portal = Portal::with(POLICY);
    let session = portal.sign_in("vera");
    let keygate = portal.keygate();
    let proxy = crate::support::proxy::Proxy::NginxDebian.start(&portal.house);
    let mut visitor = Visitor::new(&portal, proxy.address);
    visitor.sign_in(&session, "shop.example.com", "/pages/1");
    let request = visitor.browser.navigation("shop.example.com", "/pages/1");
    let head = call("nginx", &request).header("X-Original-Proto", "https").head();
    let mut steady = Steady::new(keygate.check);
    assert_no_command_for("a session", &portal.server, checks, || steady.status(&head));
}

#[test]
fn a_miss_costs_one_round_trip_and_two_where_the_account_is_not_known_either() {
    let server = Server::start(Program::Redis);
    let mut shop = shop(&server);
    let another = shop.keygate.must(&["token", "create", "robot", "--name", "another"]);
    shop.keygate.restart();
    let mut steady = Steady::new(shop.keygate.check);
    let mut monitor = Monitor::start(&server);
    let mut cost = |request: &Request, status| {
        monitor.seen();
        assert_eq!(steady.status(&head(request)), Some(status));
        reads(&monitor.seen())
    };
    // What is read before the store has shown that it is in order is not remembered.
    wait_for("memory to be used", || (cost(&get("/pages/1"), 200) == 0).then_some(()));
    assert_eq!(cost(&shop.request(), 200), 2, "the token with its site, then the account with its access");
    assert_eq!(cost(&bearing(&another), 200), 1, "the account is known");
    assert_eq!([cost(&shop.request(), 200), cost(&bearing(&another), 200)], [0, 0]);

    let unknown = "kg_s_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF";
    let crc = crc32fast::hash(unknown.as_bytes());
    let unknown = bearing(&format!("{unknown}{}", base_62(crc)));
    assert_eq!([cost(&unknown, 401), cost(&unknown, 401)], [1, 0], "that there is none is remembered too");
    assert_eq!(cost(&bearing("kg_s_"), 401), 0, "no token at all");
}

/// Six digits, as at the end of a token.
fn base_62(mut number: u32) -> String {
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text: Vec<char> = Vec::new();
    for _ in 0..6 {
        text.push(char::from(digits[(number % 62) as usize]));
        number /= 62;
    }
    text.iter().rev().collect()
}

#[test]
fn many_who_need_the_same_record_at_once_read_it_once() {
    const CLIENTS: usize = 40;
    let server = Server::start(Program::Redis);
    let way = Faulty::start(server.port());
    let mut keygate = Keygate::prepare_on_redis(CONFIG, &way.url());
    keygate.restart();
    let shop = Shop::furnish(keygate);
    // Its account is known, and the store has just shown that it is in order.
    assert_eq!(shop.status(), 200);
    let cold = shop.keygate.must(&["token", "create", "robot", "--name", "cold"]);
    let request = head(&bearing(&cold));
    let mut monitor = Monitor::start(&server);
    way.delay_next_read(std::time::Duration::from_millis(100));
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| Steady::new(shop.keygate.check).status(&request));
        let clients: Vec<_> = (0..CLIENTS).map(|_| ask()).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(statuses, vec![Some(200); CLIENTS]);
    assert_eq!(reads(&monitor.seen()), 1);
    assert_eq!(way.reads_delayed(), 1);
}

/// Two servers on one store, one of which changes what the other remembers.
struct Two {
    here: Shop,
    there: Control,
    _server: Server,
}

impl Two {
    fn new() -> Self {
        let server = Server::start(Program::Redis);
        let here = Shop::on_redis(CONFIG, &server);
        let mut there = Keygate::prepare_on_redis(CONFIG, &server.url());
        there.restart();
        Self { here, there: Control::of(there), _server: server }
    }

    async fn change(&self, method: Method, path: &str, body: Value) -> Answer {
        let answer = self.there.send(method, path, &body).await;
        assert!(answer.status < 300, "{path}: {answer:?}");
        answer
    }

    /// What each of both says to the token, once it does.
    fn become_of(&self, what: &str, status: u16) {
        let head = head(&self.here.request());
        for keygate in [&self.here.keygate, &self.there.keygate] {
            let mut steady = Steady::new(keygate.check);
            wait_for(what, || (steady.status(&head) == Some(status)).then_some(()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_server_changes_is_seen() {
    let two = Two::new();
    two.become_of("the token to be good", 200);
    for (what, method, path, body, status) in [
        ("access to be gone", Method::DELETE, "/access/robot/shop", json!(null), 403),
        ("access to be back", Method::PUT, "/access/robot/shop", json!({ "level": "write" }), 200),
        ("the account to be disabled", Method::PATCH, "/accounts/robot", json!({ "disabled": true }), 401),
        ("the account to be enabled", Method::PATCH, "/accounts/robot", json!({ "disabled": false }), 200),
        ("the site to be gone", Method::DELETE, "/sites/shop", json!(null), 403),
    ] {
        two.change(method, path, body).await;
        two.become_of(what, status);
    }
    two.change(Method::POST, "/sites", json!({ "id": "shop" })).await;
    two.change(Method::PUT, "/access/robot/shop", json!({ "level": "write" })).await;
    two.become_of("a site of that name to be there again", 200);
    two.change(Method::DELETE, &format!("/tokens/{}", &two.here.token[5..17]), json!(null)).await;
    two.become_of("the token to be revoked", 401);
}
