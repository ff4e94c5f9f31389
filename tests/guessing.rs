//! Guessing at a running service: whoever fails too often is not heard for a while, on either store, by all replicas, and
//! however many guesses come at once; and nobody else is any the worse for it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::support::dialects::{DIALECTS, PROXY, Verdict, describing};
use crate::support::house::CLIENT;
use crate::support::http::Request;
use crate::support::keygate::Keygate;
use crate::support::programs::wait_for;
use crate::support::redis::{Program, Server};
use crate::support::shop::{CONFIG, Shop, bearing, get};

const PASSWORD: &str = "correct horse battery staple";
const OTHER: &str = "203.0.113.99";

/// Three failures are borne from an address, and five for a login.
const LIMITS: &str = "
[guessing]
per_address = 3
per_login = 5
";

fn furnish(shop: Shop) -> Shop {
    for login in ["vera", "ada"] {
        shop.keygate.must_with(&["account", "create", login, "--password-stdin"], PASSWORD);
        shop.keygate.must(&["access", "set", login, "shop", "view"]);
    }
    shop
}

fn shop(more: &str) -> Shop {
    furnish(Shop::start(&format!("{CONFIG}{more}")))
}

fn basic(login: &str, password: &str) -> Request {
    get("/basic/7").header("Authorization", &format!("Basic {}", STANDARD.encode(format!("{login}:{password}"))))
}

/// Asks as NGINX does for a client at this address.
fn from(keygate: &Keygate, address: &str, client: &Request) -> Verdict {
    let values = [client.method.as_str(), client.target.as_str(), client.host(), address];
    let mut call = Request::new("GET", "/auth/nginx").header("Host", "keygate");
    for (name, value) in describing("nginx").into_iter().zip(values) {
        call = call.header(name, value);
    }
    for (name, value) in client.headers.iter().filter(|(name, _)| name != "Host") {
        call = call.header(name, value);
    }
    Verdict::of_http(call.send(PROXY, keygate.check).unwrap())
}

fn outcome(verdict: &Verdict) -> (&str, &str) {
    (verdict.header("X-Auth-Status"), verdict.reason())
}

const WRONG: (&str, &str) = ("401", "mismatch");
const BLOCKED: (&str, &str) = ("429", "too_many_failures");
const PASSES: (&str, &str) = ("", "");

fn blocked(keygate: &Keygate) -> Vec<(String, String, String, u64)> {
    let listed: Value = serde_json::from_str(&keygate.must(&["blocked", "list", "--json"])).unwrap();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    let row = |item: &Value| (text(item, "subject"), text(item, "value"), text(item, "of"), item["failures"].as_u64().unwrap());
    listed.as_array().unwrap().iter().map(row).collect()
}

fn row(subject: &str, value: &str, of: &str, failures: u64) -> (String, String, String, u64) {
    (subject.to_owned(), value.to_owned(), of.to_owned(), failures)
}

/// Failures are written in the background.
/// Whether one block has been counted, and it is of that kind.
fn begun_blocks(keygate: &Keygate, subject: &str) -> bool {
    let count = |subject| keygate.metric(&format!("keygate_blocks_total{{subject=\"{subject}\"}}"));
    let others = ["address", "login", "token"].into_iter().filter(|other| *other != subject);
    others.map(count).all(|count| count.is_none()) && count(subject) == Some(1)
}

fn wait_until_blocked(keygate: &Keygate, rows: &[(String, String, String, u64)]) {
    wait_for("the block to be listed", || (blocked(keygate) == rows).then_some(()));
}

fn an_address_that_guesses_is_not_heard(shop: &Shop) {
    let keygate = &shop.keygate;
    let client = CLIENT.to_string();
    for number in 0..4 {
        // The way in makes no difference, and neither does whether there is such a login.
        let verdict = if number % 2 == 0 {
            shop.ask("grpc", &basic(&format!("nobody{number}"), "a wrong password"))
        } else {
            from(keygate, &client, &basic("vera", "a wrong password"))
        };
        assert_eq!(outcome(&verdict), WRONG, "{number}");
    }
    for login in ["vera", "nobody"] {
        assert_eq!(outcome(&from(keygate, &client, &basic(login, PASSWORD))), BLOCKED, "{login}");
    }
    assert_eq!(outcome(&from(keygate, OTHER, &basic("vera", PASSWORD))), PASSES, "from elsewhere");
    for dialect in DIALECTS {
        assert_eq!(shop.ask(dialect, &shop.request()).status, 200, "a token from there, {dialect}");
    }
    wait_until_blocked(keygate, &[row("address", &client, "password", 4)]);
    for _ in 0..20 {
        assert_eq!(outcome(&from(keygate, &client, &basic("vera", "another guess"))), BLOCKED);
    }
    wait_until_blocked(keygate, &[row("address", &client, "password", 4)]);

    keygate.must(&["blocked", "lift", &client]);
    assert_eq!(blocked(keygate), []);
    assert_eq!(outcome(&from(keygate, &client, &basic("ada", PASSWORD))), PASSES);
    let told = |action: &str| {
        let events: Value = serde_json::from_str(&keygate.must(&["audit", "--json"])).unwrap();
        let told = events.as_array().unwrap().iter().filter(|event| event["action"] == action).cloned();
        told.collect::<Vec<_>>()
    };
    let begun = told("guessing.block");
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert_eq!(begun[0]["target"], serde_json::json!({ "type": "address", "id": client }));
    assert_eq!((&begun[0]["actor"]["account"], &begun[0]["after"]["failures"]), (&"system:guessing".into(), &4.into()));
    assert_eq!(told("guessing.unblock").len(), 1);
    wait_for("the block to be counted", || begun_blocks(keygate, "address").then_some(()));
}

#[test]
fn an_address_that_guesses_is_not_heard_with_the_embedded_store() {
    an_address_that_guesses_is_not_heard(&shop(LIMITS));
}

#[test]
fn an_address_that_guesses_is_not_heard_with_redis() {
    let server = Server::start(Program::Redis);
    an_address_that_guesses_is_not_heard(&furnish(Shop::on_redis(&format!("{CONFIG}{LIMITS}"), &server)));
}

#[test]
fn a_login_that_is_guessed_at_is_closed_from_everywhere() {
    let shop = shop(LIMITS);
    for (login, folded) in [("Vera", "vera"), ("Nobody", "nobody")] {
        for number in 0..6 {
            let verdict = from(&shop.keygate, &format!("203.0.113.{number}"), &basic(login, "a wrong password"));
            assert_eq!(outcome(&verdict), WRONG, "{login} {number}");
        }
        assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic(folded, PASSWORD))), BLOCKED);
    }
    assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic("ada", PASSWORD))), PASSES);
    wait_until_blocked(&shop.keygate, &[row("login", "nobody", "password", 6), row("login", "vera", "password", 6)]);
    shop.keygate.must(&["blocked", "lift", "VERA"]);
    assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic("vera", PASSWORD))), PASSES);
    assert_eq!(blocked(&shop.keygate), [row("login", "nobody", "password", 6)]);
}

#[test]
fn who_is_remembered_passes_from_a_blocked_address() {
    let shop = shop(LIMITS);
    assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic("vera", PASSWORD))), PASSES);
    for _ in 0..4 {
        assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic("ada", "a wrong password"))), WRONG);
    }
    assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic("vera", PASSWORD))), PASSES);
    assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic("ada", PASSWORD))), BLOCKED);
}

#[test]
fn an_ipv6_network_is_one_address_and_lists_of_addresses_are_heeded() {
    let lists = "allow = [\"198.51.100.0/24\"]\ndeny = [\"198.51.100.66\", \"192.0.2.0/24\"]\n";
    let shop = shop(&format!("{LIMITS}{lists}"));
    for number in 0..4 {
        let address = format!("2001:db8:0:1::{number}");
        assert_eq!(outcome(&from(&shop.keygate, &address, &basic(&format!("x{number}"), "a wrong password"))), WRONG);
        let allowed = from(&shop.keygate, "198.51.100.1", &basic(&format!("y{number}"), "a wrong password"));
        assert_eq!(outcome(&allowed), WRONG);
    }
    for (address, expected) in [
        ("2001:db8:0:1:ffff::1", BLOCKED),
        ("2001:db8:0:2::1", PASSES),
        ("198.51.100.1", PASSES),
        ("::ffff:198.51.100.1", PASSES),
        ("198.51.100.66", BLOCKED),
        ("192.0.2.1", BLOCKED),
    ] {
        // Nobody has been here before, so nobody is remembered.
        let login = format!("new{}", address.replace([':', '.'], "-"));
        shop.keygate.must_with(&["account", "create", &login, "--password-stdin"], PASSWORD);
        shop.keygate.must(&["access", "set", &login, "shop", "view"]);
        assert_eq!(outcome(&from(&shop.keygate, address, &basic(&login, PASSWORD))), expected, "{address}");
    }
    wait_until_blocked(&shop.keygate, &[row("address", "2001:db8:0:1::/64", "password", 4)]);
    shop.keygate.must(&["blocked", "lift", "2001:db8:0:1::/64"]);
    assert_eq!(blocked(&shop.keygate), []);
}

#[test]
fn tokens_that_fail_are_counted_where_that_is_wanted_and_a_good_one_always_passes() {
    let unknown = "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf";
    let silent = shop(LIMITS);
    for _ in 0..10 {
        assert_eq!(outcome(&from(&silent.keygate, OTHER, &bearing(unknown))), ("401", "unknown"));
    }
    assert_eq!(outcome(&from(&silent.keygate, OTHER, &basic("vera", PASSWORD))), PASSES, "tokens are no passwords");
    let shop = shop(&format!("{LIMITS}tokens_per_address = 2\n"));
    let keygate = &shop.keygate;
    for _ in 0..10 {
        assert_eq!(outcome(&from(keygate, OTHER, &bearing("kg_u_no"))), ("401", "malformed"), "not counted");
    }
    for _ in 0..3 {
        assert_eq!(outcome(&from(keygate, OTHER, &bearing(unknown))), ("401", "unknown"));
    }
    assert_eq!(outcome(&from(keygate, OTHER, &bearing(unknown))), BLOCKED);
    assert_eq!(outcome(&from(keygate, OTHER, &bearing("kg_u_no"))), ("401", "malformed"));
    assert_eq!(outcome(&from(keygate, OTHER, &shop.request())), PASSES);
    assert_eq!(outcome(&from(keygate, OTHER, &basic("vera", PASSWORD))), PASSES);
    assert_eq!(outcome(&from(keygate, &CLIENT.to_string(), &bearing(unknown))), ("401", "unknown"));
    wait_until_blocked(keygate, &[row("address", OTHER, "token", 3)]);
    wait_for("the block to be counted", || begun_blocks(keygate, "token").then_some(()));
}

#[test]
fn replicas_on_one_redis_share_what_they_have_counted() {
    let server = Server::start(Program::Redis);
    let config = format!("{CONFIG}{LIMITS}");
    let first = furnish(Shop::on_redis(&config, &server));
    let mut second = Keygate::prepare_on_redis(&config, &server.url());
    second.restart();
    for number in 0..4 {
        let keygate = if number % 2 == 0 { &first.keygate } else { &second };
        assert_eq!(outcome(&from(keygate, OTHER, &basic(&format!("x{number}"), "a wrong password"))), WRONG);
        // Written in the background, it is known to the other one a moment later.
        let key = format!("kg:r:{{d}}:failures:login:x{number}");
        wait_for("a failure to be written", || (server.command(&["EXISTS", &key]) == ":1").then_some(()));
    }
    wait_until_blocked(&second, &[row("address", OTHER, "password", 4)]);
    for keygate in [&first.keygate, &second] {
        assert_eq!(outcome(&from(keygate, OTHER, &basic("vera", PASSWORD))), BLOCKED);
    }
    first.keygate.must(&["blocked", "lift", OTHER]);
    for (keygate, login) in [(&first.keygate, "vera"), (&second, "ada")] {
        assert_eq!(outcome(&from(keygate, OTHER, &basic(login, PASSWORD))), PASSES);
    }
    let events = first.keygate.must(&["audit", "--json"]);
    assert_eq!(events.matches("guessing.block").count(), 1, "told by one of them");
}

#[test]
fn many_guesses_at_once_pass_no_limit() {
    let shop = shop(LIMITS);
    let reasons: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..100)
            .map(|number| {
                let keygate = &shop.keygate;
                let request = basic(&format!("login{number}"), "a wrong password");
                scope.spawn(move || from(keygate, OTHER, &request).reason().to_owned())
            })
            .collect();
        asking.into_iter().map(|each| each.join().unwrap()).collect()
    });
    let count = |reason: &str| reasons.iter().filter(|found| *found == reason).count();
    assert_eq!(count("mismatch"), 4, "{reasons:?}");
    assert_eq!(count("mismatch") + count("busy") + count("too_many_failures"), 100, "{reasons:?}");
    assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic("vera", PASSWORD))), BLOCKED);
}

#[test]
fn a_flood_of_guesses_is_refused_whatever_an_outage_would_be() {
    let outage = ["nginx", "envoy", "traefik", "caddy", "haproxy"].map(|dialect| format!("{dialect} = \"error\"\n")).concat();
    let shop = &shop(&format!("[guessing]\nper_address = 0\nper_login = 1\n[outage]\n{outage}"));
    for dialect in DIALECTS {
        let mut round = 0;
        // Of many at once for one login most find that no more may be tried.
        let busy = wait_for("a guess that finds no room", || {
            round += 1;
            let login = format!("login{round}");
            // The same password would be verified once for all who ask for it.
            let guesses = (0..20).map(|number| basic(&login, &format!("guess {number}")));
            let verdicts: Vec<Verdict> = std::thread::scope(|scope| {
                let asking: Vec<_> = guesses.map(|guess| scope.spawn(move || shop.ask(dialect, &guess))).collect();
                asking.into_iter().map(|each| each.join().unwrap()).collect()
            });
            verdicts.into_iter().find(|verdict| verdict.status == 503 || verdict.header("X-Auth-Status") == "503")
        });
        let status = if matches!(dialect, "nginx" | "envoy") { 403 } else { 503 };
        assert_eq!(busy.status, status, "{dialect}: {busy:?}");
        let told = ["X-Auth-Reason", "X-Auth-Status", "Retry-After"].map(|name| busy.header(name));
        assert_eq!(told, ["busy", "503", "1"], "{dialect}: {busy:?}");
    }
}

#[test]
fn a_block_outlives_a_restart_and_decays() {
    let mut shop = shop(&format!("{LIMITS}window = \"20s\"\n"));
    for number in 0..4 {
        assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic(&format!("x{number}"), "a wrong password"))), WRONG);
    }
    shop.keygate.stop();
    shop.keygate.restart();
    assert_eq!(outcome(&from(&shop.keygate, OTHER, &basic("vera", PASSWORD))), BLOCKED);
    assert_eq!(blocked(&shop.keygate), [row("address", OTHER, "password", 4)]);
    let passes = || (outcome(&from(&shop.keygate, OTHER, &basic("vera", PASSWORD))) == PASSES).then_some(());
    wait_for("the block to end", passes);
    assert_eq!(blocked(&shop.keygate), []);
}
