//! What servers have counted, on all of them: by the API, in the pages, and as it changes.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use keygate::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{
    Client, HOME, PASSWORD, PLAIN, Portal, body,
    looks::{assert_fits, sign_in, take},
};
use crate::support::{
    browser::Browser,
    dialects::call,
    http::{Request, connect},
    keygate::Keygate,
    programs::wait_for,
    redis::{Program, Server},
    shop::{bearing, get},
    steady::Steady,
};

const RULES: &str = r#"
[portal]
hosts = ["http://shop.localhost:8000", "http://stats.localhost"]

[[rules]]
name = "health"
match = { path = "/healthz" }
public = true

[[rules]]
name = "orders"
match = { host = "shop.example.com", path = "/orders/{*rest}" }
site = "shop"
access = { read = "view", write = "write" }
scope = "orders"

[[rules]]
name = "reports"
match = { host = "*.stats.example.com", path = "/index.php", methods = ["GET", "HEAD"], query = { module = "API" } }
site = { query = "idSite" }
access = "view"
credentials = ["bearer", "query", "session"]
otherwise = "login"
"#;

/// Two servers on one store, and a key.
struct Two {
    portal: Portal,
    other: Keygate,
    token: String,
    server: Server,
}

impl Two {
    fn start() -> Self {
        let server = Server::start(Program::Redis);
        let portal = Portal::on_redis(RULES, &server);
        let keygate = &portal.keygate;
        keygate.must(&["account", "superuser", "vera", "on"]);
        keygate.must(&["site", "create", "shop"]);
        keygate.must(&["account", "create", "robot", "--service"]);
        keygate.must(&["access", "set", "robot", "shop", "write"]);
        let token = keygate.must(&["token", "create", "robot", "--name", "nightly export", "--scope", "orders"]);
        let mut other = Keygate::prepare_on_redis(&format!("{}{RULES}", super::CONFIG), &server.url());
        other.restart();
        Self { portal, other, token, server }
    }
}

fn ask(keygate: &Keygate, request: &Request, times: u32, status: u16) {
    let mut steady = Steady::new(keygate.check);
    let head = call("nginx", request).head();
    for _ in 0..times {
        assert_eq!(steady.status(&head), Some(status));
    }
}

fn told(client: &Client<'_>, path: &str) -> Value {
    let answer = client.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", body(&answer));
    serde_json::from_slice(&answer.body).expect("it is JSON")
}

fn sum(overview: &Value, outcome: &str) -> u64 {
    overview["steps"].as_array().unwrap().iter().map(|step| step[outcome].as_u64().unwrap()).sum()
}

#[test]
fn what_two_servers_answered_adds_up_and_one_that_is_killed_is_gone() {
    let mut two = Two::start();
    let client = two.portal.signed_in();
    ask(&two.portal.keygate, &bearing(&two.token), 130, 200);
    ask(&two.other, &bearing(&two.token), 70, 200);
    ask(&two.other, &get("/orders/7"), 20, 401);
    ask(&two.portal.keygate, &get("/healthz"), 5, 200);
    ask(&two.portal.keygate, &get("/nowhere"), 7, 403);
    let overview = wait_for("both to have published", || {
        let overview = told(&client, "/api/v1/overview");
        let counts = &overview["decisions"];
        (counts["allow"] == 205 && counts["challenge"] == 20 && counts["deny"] == 7).then_some(overview)
    });
    assert_eq!(["allow", "challenge", "deny", "unavailable"].map(|outcome| sum(&overview, outcome)), [205, 20, 7, 0]);
    assert_eq!(overview["refusals"], json!([{ "reason": "no_credential", "count": 20 }, { "reason": "no_rule", "count": 7 }]));
    let key = &two.token[5..17];
    let [busy_key, busy_site] = ["busiest_keys", "busiest_sites"].map(|busiest| &overview[busiest][0]);
    assert_eq!((&busy_key["id"], &busy_site["id"]), (&json!(key), &json!("shop")));
    assert_eq!((&busy_key["name"], &busy_key["account"]), (&json!("nightly export"), &json!("robot")));
    let page = body(&client.get("/admin/overview"));
    assert!(page.contains(">nightly export</a>") && page.contains("of robot"), "{page}");
    // The same on the command line.
    let shown = two.portal.keygate.must(&["overview"]);
    assert!(shown.contains("denied") && shown.contains("20 no_credential"), "{shown}");
    assert!(shown.contains(&format!("{key}, `nightly export` of robot")) && shown.contains("\nserver "), "{shown}");
    let json: Value = serde_json::from_str(&two.portal.keygate.must(&["overview", "--json"])).unwrap();
    assert_eq!((&json["decisions"], &json["busiest_keys"][0]["name"]), (&overview["decisions"], &json!("nightly export")));
    assert!(busy_key["count"].as_u64() >= Some(128) && overview["latency"]["p50_micros"].as_f64() > Some(0.0), "{overview}");
    let replicas = overview["replicas"].as_array().unwrap();
    let mut checks: Vec<_> = replicas.iter().map(|replica| replica["checks"].as_u64().unwrap()).collect();
    checks.sort_unstable();
    assert_eq!(checks, [90, 142]);
    assert!(replicas.iter().all(|replica| replica["gone"] == false && replica["store_answers"] == true), "{replicas:?}");
    let rules = told(&client, "/api/v1/policy");
    let hits: Vec<_> = rules["items"].as_array().unwrap().iter().map(|rule| rule["hits"].as_u64()).collect();
    assert_eq!(hits, [Some(5), Some(220), Some(0)]);
    let page = body(&client.get("/admin/policy"));
    assert!(page.contains("<strong>220 checks</strong>") && page.matches("Never hit").count() == 1, "{page}");
    assert!(page.contains("One rule was never hit") && page.contains("Hits of 2 servers"), "{page}");
    // No secret, and nothing of a request.
    assert!(!overview.to_string().contains(&two.token[17..]) && !overview.to_string().contains("/orders"));

    two.other.kill();
    wait_for("the one that was killed to be gone", || {
        let overview = told(&client, "/api/v1/overview");
        let gone = overview["replicas"].as_array().unwrap().iter().filter(|replica| replica["gone"] == true).count();
        (gone == 1).then(|| assert_eq!(overview["decisions"]["allow"], 205, "what it has counted stays for an hour"))
    });
    assert!(body(&client.get("/admin/overview")).contains(">Gone<"));
    // Of a key that is gone there is the id.
    let keygate = &two.portal.keygate;
    keygate.must(&["account", "delete", "robot"]);
    assert_eq!(told(&client, "/api/v1/overview")["busiest_keys"][0]["name"], Value::Null);
    let page = body(&client.get("/admin/overview"));
    assert!(page.contains(key) && !page.contains("nightly export"), "{page}");
    assert!(keygate.must(&["overview"]).contains(&format!("{key}, which is gone")));
}

#[test]
fn only_superusers_see_what_was_decided() {
    let portal = Portal::start(PLAIN);
    portal.keygate.must(&["site", "create", "shop"]);
    portal.keygate.must(&["access", "set", "vera", "shop", "admin"]);
    let client = portal.signed_in();
    for (path, status) in [
        ("/admin/overview", 404),
        ("/admin/overview/events", 404),
        ("/admin/policy", 404),
        ("/api/v1/overview", 403),
        ("/api/v1/policy", 403),
    ] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    assert_eq!(portal.client().get("/admin/overview/events").status, 303);
}

/// Somebody's browser that goes on looking, once the portal knows that it does.
fn watch(client: &Client<'_>) -> BufReader<TcpStream> {
    let request = client.request("GET", "/admin/overview/events").header("Connection", "close");
    let mut stream = connect(HOME, client.portal.keygate.portal).expect("the portal listens");
    stream.write_all(&request.head()).expect("the portal listens");
    let mut stream = BufReader::new(stream);
    assert!(!stream.fill_buf().expect("the portal answers").is_empty());
    stream
}

/// Of a stream, that of many minutes.
const MUCH: usize = 1 << 20;

/// Reads up to a line that holds this, and says all that was there until then.
fn read_until(stream: &mut BufReader<TcpStream>, what: &str) -> String {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).expect("the stream is text") > 0, "no {what} in {text}");
        text += &line;
        if line.contains(what) {
            return text;
        }
        assert!(text.len() < MUCH, "no {what} in {text}");
    }
}

#[test]
fn the_pictures_follow_until_the_session_or_the_right_to_see_them_ends() {
    let mut portal = Portal::start(PLAIN);
    portal.keygate.must_with(&["account", "create", "boss", "--superuser", "--password-stdin"], PASSWORD);
    portal.keygate.must(&["account", "superuser", "vera", "on"]);
    let (client, other) = (portal.signed_in(), portal.signed_in());
    let mut streams = [watch(&client), watch(&other), watch(&other)];
    for stream in &mut streams {
        let head = read_until(stream, "data: ").to_lowercase();
        assert!(head.starts_with("http/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("content-security-policy: ") && head.contains("cache-control: no-store"), "{head}");
    }
    let ended = |stream: &mut BufReader<TcpStream>| {
        read_until(stream, "event: end");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("it ends");
        assert!(!rest.contains("data: <"), "{rest}");
    };
    let [mut first, mut second, mut third] = streams;
    read_until(&mut first, "class=\"tiles\"");
    let token = client.token("/sessions");
    assert_eq!(client.post("/sign-out", &[("csrf", &token)]).status, 303);
    ended(&mut first);
    // He looks on elsewhere, as long as he may.
    read_until(&mut second, "class=\"tiles\"");
    let _more = [watch(&other), watch(&other)].map(|mut stream| read_until(&mut stream, "data: "));
    ended(&mut second);
    portal.keygate.must(&["account", "superuser", "vera", "off"]);
    ended(&mut third);
    portal.keygate.must(&["account", "superuser", "vera", "on"]);
    let client = portal.signed_in();
    let mut last = watch(&client);
    read_until(&mut last, "class=\"tiles\"");
    drop(client);
    portal.keygate.stop();
    ended(&mut last);
}

/// What a server would say after an hour of traffic.
fn an_hour(policy: &Value, keys: &[&str], times: u64) -> Value {
    let now = SystemClock.now().as_millis();
    let wave = |step: u64, mean: u64| mean + mean * ((step / 7 * 5 + step * step / 90) % 11) / 14;
    let steps = |mean: u64| (0..360).map(|step| times * wave(step, mean) / 2).collect::<Vec<_>>();
    let denied: Vec<_> =
        (0..360).map(|step| if (200..236).contains(&step) { 260 * times } else { times * wave(step, 24) / 4 }).collect();
    let away: Vec<_> = (0..360).map(|step| if (290..296).contains(&step) { 420 * times } else { 0 }).collect();
    let minute =
        |minute: u64| json!([2, [10, 240, 800 + minute * 3, 400, 90, 30, 9, 4, 2, 1, 1, 0, 0, 1 + minute % 7, minute % 3]]);
    let count = |names: &[&str], first: u64| {
        names.iter().enumerate().map(|(at, name)| json!([name, first * times / (at as u64 * 2 + 1)])).collect::<Vec<_>>()
    };
    json!({
        "v": 1, "version": "0.1.0", "started_at": SystemClock.now(), "at": SystemClock.now(),
        "state": { "store_answers": true, "ages_ms": [120, 340], "remembered": 18_240 * times },
        "step": now / 10_000 - 1, "decisions": [steps(900), steps(110), denied, away],
        "refusals": { "no_credential": 14_203 * times, "expired": 6_120, "site_access": 4_410, "scope": 1_204, "store_unavailable": 2_520, "no_rule": 310, "too_many_failures": 44 },
        "latencies": (0..60).map(minute).collect::<Vec<_>>(),
        "keys": count(keys, 120_400), "sites": count(&["shop", "stats", "blog", "intranet"], 160_320),
        "policy": policy, "rules": [48_201 * times, 210_390 * times, 0],
    })
}

#[test]
fn the_overview_and_the_policy_have_their_pictures_taken() {
    let two = Two::start();
    let client = two.portal.signed_in();
    let browser = Browser::start();
    let open = |path: &str| browser.open(&format!("{}{path}", two.portal.url));
    open("/sign-in");
    sign_in(&browser, &two.portal, "vera", PASSWORD);
    let show = |path: &str, name: &str| {
        open(path);
        assert_fits(&browser);
        take(&browser, name);
    };
    let policy = wait_for("the servers to have published", || {
        let overview = told(&client, "/api/v1/overview");
        overview["replicas"][1]["policy"].is_string().then(|| overview["replicas"][0]["policy"].clone())
    });
    show("/admin/overview", "overview-idle");
    let key = &two.token[5..17];
    for (id, times) in [("rep_PicturedAbCdEfGh", 3), ("rep_PicturedIjKlMnOp", 2)] {
        let said = an_hour(&policy, &[key, "AbCdEfGh0123", "XyZzYxWv9876", "Q1w2E3r4T5y6"], times).to_string();
        two.server.command(&["SET", &format!("kg:p:{{d}}:{id}"), &said]);
        two.server.command(&["ZADD", "kg:p:{d}", "0", id]);
    }
    show("/admin/overview", "overview");
    assert_eq!(browser.count(".servers li"), 4);
    show("/admin/policy", "policy");
    open("/admin/overview");
    // In one go: an element that was found may be replaced before it is clicked or read.
    browser.run(&format!("document.querySelector(\".bars a[href='/keys/{key}']\").click(); return ''"));
    wait_for("the page of the key", || {
        (browser.run("return document.querySelector('h1')?.textContent ?? ''") == "nightly export").then_some(())
    });
    // The pictures are others when something has happened, without anybody's doing.
    open("/admin/overview");
    let seen = || browser.run("return document.querySelector('.tiles dd').textContent");
    let before = seen();
    ask(&two.other, &bearing(&two.token), 30, 200);
    wait_for("other figures", || (seen() != before).then_some(()));
    assert_eq!(browser.count("[data-events] .chart"), 2);
}
