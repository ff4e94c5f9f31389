//! How stale what is remembered of a Redis may be: who waits for that, who may set it, and what is said of a Redis that keeps
//! less than one would think.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::keygate::{KEY, Keygate};
use crate::support::programs::wait_for;
use crate::support::redis::{Program, Server};
use crate::support::redis_cluster::Cluster;
use crate::support::redis_sentinel::Sentinels;
use crate::support::shop::{CONFIG, Shop};

/// What these tests are about is not how fast a busy machine is: Redis may take its time.
const TIMEOUT: &str = "timeout = \"1s\"";

fn on_redis(bound: &str, server: &Server) -> Keygate {
    at(bound, &server.url())
}

fn at(bound: &str, url: &str) -> Keygate {
    let config = format!(
        "{CONFIG}\n[hot_path]\nmax_staleness = \"{bound}\"\n[keys]\nfile = \"server.key\"\n[store]\n{TIMEOUT}\nurl = \"{url}\"\n"
    );
    let keygate = Keygate::prepare(&config);
    keygate.folder.write("server.key", KEY);
    keygate
}

fn started(mut keygate: Keygate) -> Keygate {
    keygate.restart();
    keygate
}

fn shop_on_redis(bound: &str, server: &Server) -> Shop {
    Shop::furnish(started(on_redis(bound, server)))
}

fn json_of(keygate: &Keygate, arguments: &[&str]) -> Value {
    serde_json::from_str(&keygate.must(&[arguments, &["--json"]].concat())).unwrap()
}

/// Exit code and what was said on standard error.
fn refused(keygate: &Keygate, arguments: &[&str]) -> (Option<i32>, String) {
    let output = keygate.run(arguments, "");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn now() -> Instant {
    Instant::now()
}

#[test]
fn what_takes_away_returns_when_the_bound_has_passed_unless_nobody_waits() {
    const BOUND: Duration = Duration::from_secs(2);
    let server = Server::start(Program::Redis);
    let shop = shop_on_redis("2s", &server);
    let keygate = &shop.keygate;
    keygate.must(&["account", "create", "vera"]);
    let token =
        |name: &str| json_of(keygate, &["token", "create", "robot", "--name", name])["record"]["id"].as_str().unwrap().to_owned();
    let (one, two) = (token("one"), token("two"));
    let waiting: &[&[&str]] = &[
        &["token", "revoke", &one],
        // It is done already, but perhaps just now.
        &["token", "revoke", &one],
        &["token", "revoke", "--name", "two"],
        &["access", "set", "robot", "shop", "view"],
        &["account", "revoke-all", "robot"],
        &["account", "disable", "vera"],
        &["account", "delete", "vera"],
        &["site", "delete", "shop"],
    ];
    for command in waiting {
        let began = now();
        keygate.must(command);
        assert!(now() - began >= BOUND, "{command:?}");
    }
    // It has gone already, but perhaps just now.
    let began = now();
    assert_eq!(refused(keygate, &["account", "delete", "vera"]).0, Some(1));
    assert!(now() - began >= BOUND);
    assert_eq!(json_of(keygate, &["token", "show", &two])["state"], "revoked");
    // One that waits holds up nobody else: those who do not wait are done first.
    keygate.must(&["account", "create", "ada"]);
    thread::scope(|scope| {
        let slow: Vec<_> = (0..4).map(|_| scope.spawn(|| (keygate.must(&["account", "minting", "ada", "off"]), now()))).collect();
        keygate.must(&["account", "disable", "ada", "--no-wait"]);
        let done = now();
        assert!(slow.into_iter().all(|slow| slow.join().unwrap().1 > done));
    });
}

/// The longest bound there is, and nobody waits for it.
#[test]
fn nobody_waits_over_the_embedded_store() {
    let shop = Shop::start(&format!("{CONFIG}\n[hot_path]\nmax_staleness = \"1m\"\n"));
    shop.keygate.must(&["token", "revoke", "--account", "robot"]);
    assert_eq!(shop.status(), 401);
    let (code, said) = refused(&shop.keygate, &["store", "max-staleness", "1s"]);
    assert!(code == Some(1) && said.contains("no bound to set"), "{said}");
    let store = json_of(&shop.keygate, &["store", "show"]);
    assert_eq!((&store["kind"], &store["reachable"], &store["max_staleness"]), (&json!("embedded"), &json!(true), &Value::Null));
}

#[test]
fn a_server_may_be_no_staler_than_others_wait_for() {
    let server = Server::start(Program::Redis);
    let first = started(on_redis("1s", &server));
    let more = on_redis("3s", &server);
    let (code, said) = more.refuses();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`hot_path.max_staleness` is 3s here") && said.contains("keygate store max-staleness 3s"), "{said}");

    assert_eq!(json_of(&first, &["store", "show"])["max_staleness"], "1s");
    first.must(&["store", "max-staleness", "3s"]);
    let more = started(more);
    let less = started(on_redis("1s", &server));

    let (code, said) = refused(&more, &["store", "max-staleness", "1s"]);
    assert!(code == Some(1) && said.contains("this server has `hot_path.max_staleness` 3s"), "{said}");
    let (code, said) = refused(&more, &["store", "max-staleness", "1h"]);
    assert!(code == Some(2) && said.contains("50ms to 1m"), "{said}");

    // Lowered by another, the one that has more makes no use of what it remembers, and says why.
    less.must(&["store", "max-staleness", "1s"]);
    assert_eq!(more.ask("/readyz").unwrap().status, 503);
    assert_eq!(less.ask("/readyz").unwrap().status, 200);
    wait_for("the reason", || more.log().contains("`hot_path.max_staleness` is 3s here").then_some(()));
    let store = json_of(&less, &["store", "show"]);
    assert_eq!((&store["max_staleness"], &store["lowered_from"]), (&json!("1s"), &Value::Null));
    less.must(&["store", "max-staleness", "3s"]);
    wait_for("it to serve again", || (more.ask("/readyz").unwrap().status == 200).then_some(()));

    let events = json_of(&first, &["audit"]);
    let changes: Vec<_> = events.as_array().unwrap().iter().filter(|event| event["action"] == "store.change").collect();
    let told = |side: &str| changes.iter().filter_map(|event| event[side]["max_staleness"].as_str()).collect::<Vec<_>>();
    let done = changes.iter().filter(|event| event["outcome"] == "done").count();
    assert_eq!((done, told("before"), told("after")), (3, vec!["1s", "3s", "1s"], vec!["3s", "1s", "3s"]), "{events}");
}

/// Before it is started.
#[test]
fn a_configuration_is_held_against_what_the_store_says_of_it() {
    let server = Server::start(Program::Redis);
    drop(started(on_redis("1s", &server)));
    let check = |keygate: &Keygate| refused(keygate, &["config", "check", "--live", &keygate.config().display().to_string()]);
    let (code, said) = check(&on_redis("3s", &server));
    assert!(code == Some(2) && said.contains("`hot_path.max_staleness` is 3s here"), "{said}");
    assert_eq!(check(&on_redis("1s", &server)).0, Some(0));

    // All but one of the rights, and then all of them but for another prefix.
    let user = |more: &[&str]| {
        let all = ["ACL", "SETUSER", "keygate", "reset", "on", ">pw", "+@all", "-@admin"];
        assert_eq!(server.command(&[&all, more].concat()), "+OK");
    };
    let mine = at("1s", &server.url().replace("://", "://keygate:pw@"));
    for (rights, lacks) in [(&["~kg:*", "-xtrim"][..], "may not run XTRIM for"), (&["~other:*"], "may not run ")] {
        user(rights);
        let (code, said) = check(&mine);
        assert!(code == Some(2) && said.contains(lacks), "{rights:?}: {said}");
    }
    user(&["~kg:*"]);
    assert_eq!(check(&mine).0, Some(0));
}

#[test]
fn only_superusers_look_at_the_store() {
    let shop = Shop::start(CONFIG);
    let text = shop.keygate.must(&["token", "create", "robot", "--name", "manager", "--scope", "manage"]);
    let url = format!("http://{}", shop.keygate.portal);
    let run = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_keygate"))
            .args(["--server", &url])
            .args(arguments)
            .env("KEYGATE_TOKEN", &text)
            .output()
            .unwrap()
    };
    for arguments in [&["store", "show"][..], &["store", "max-staleness", "2s"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}

#[test]
fn a_redis_that_throws_records_away_is_not_used() {
    let server = Server::start(Program::Redis);
    let mut shop = shop_on_redis("2s", &server);
    let evict = |policy: &str| assert_eq!(server.command(&["CONFIG", "SET", "maxmemory-policy", policy]), "+OK");
    evict("allkeys-lru");
    shop.keygate.kill();
    let (code, said) = shop.keygate.refuses();
    assert!(code == Some(2) && said.contains("maxmemory-policy allkeys-lru"), "{said}");
    let check = || shop.keygate.run(&["config", "check", "--live", &shop.keygate.config().display().to_string()], "");
    let output = check();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("set it to `noeviction`"));
    evict("noeviction");
    let output = check();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("has no `appendonly yes`"));
    shop.keygate.restart();
    assert!(shop.keygate.log().contains("has no `appendonly yes`"), "{}", shop.keygate.log());
}

#[test]
fn a_redis_that_begins_to_throw_records_away_is_not_used_any_more() {
    let server = Server::start(Program::Redis);
    let shop = shop_on_redis("2s", &server);
    assert_eq!(shop.status(), 200);
    let evict = |policy: &str| assert_eq!(server.command(&["CONFIG", "SET", "maxmemory-policy", policy]), "+OK");
    evict("allkeys-random");
    let why = || String::from_utf8(shop.keygate.ask("/readyz").unwrap().body).unwrap();
    wait_for("it to be noticed", || why().contains("maxmemory-policy allkeys-random").then_some(()));
    wait_for("the reason", || shop.keygate.log().contains("maxmemory-policy allkeys-random").then_some(()));
    assert_eq!(shop.status(), 503, "nor what is remembered of it");
    evict("noeviction");
    wait_for("it to serve", || (shop.status() == 200).then_some(()));
}

/// It could not be asked at the start, so it is asked when it is there.
#[test]
fn a_redis_that_throws_records_away_and_comes_late_is_not_used_either() {
    let mut server = Server::start_with(Program::Redis, &["--maxmemory-policy", "volatile-ttl"]);
    server.kill();
    let mut keygate = on_redis("2s", &server);
    keygate.restart_unready();
    server.restart();
    wait_for("the reason", || keygate.log().contains("maxmemory-policy volatile-ttl").then_some(()));
    assert_eq!(keygate.ask("/readyz").unwrap().status, 503);
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "+OK");
    wait_for("it to serve", || (keygate.ask("/readyz").unwrap().status == 200).then_some(()));
}

/// No replica is there to confirm anything: nothing is vouched for, and what is taken away is taken away all the same.
#[test]
fn what_no_replica_confirms_is_done_and_said_to_be_unconfirmed() {
    let server = Server::start(Program::Redis);
    let mut shop = shop_on_redis("2s", &server);
    let minted = json_of(&shop.keygate, &["token", "create", "robot", "--name", "other"]);
    let id = minted["record"]["id"].as_str().unwrap();
    let config = fs::read_to_string(shop.keygate.config()).unwrap();
    shop.keygate.write_config(&config.replace("[store]", "[store]\nwait_replicas = 1"));
    shop.keygate.restart_unready();
    wait_for("the warning", || shop.keygate.log().contains("has 0 of the 1 replicas").then_some(()));
    for arguments in [
        &["token", "revoke", id][..],
        // Asked for again it is not taken for confirmed.
        &["token", "revoke", id],
        &["token", "revoke", "--name", "robot"],
        &["access", "set", "robot", "shop", "none"],
        &["account", "disable", "robot"],
        &["account", "revoke-all", "robot"],
        &["account", "delete", "robot"],
        // There is nobody of that name any more, and that is not confirmed either.
        &["account", "delete", "robot"],
        &["site", "delete", "shop"],
        &["site", "delete", "shop"],
    ] {
        let (code, said) = refused(&shop.keygate, arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {said}");
        assert!(said.contains("keygate: this was done, but too few replicas of the store have confirmed it"), "{said}");
    }
    assert_eq!(refused(&shop.keygate, &["account", "show", "robot"]).0, Some(1));
    assert_eq!(json_of(&shop.keygate, &["store", "show"])["wait_replicas"], 1);
}

/// Such as a master that was replaced: it answers who reads, and does not know what was revoked since.
#[test]
fn a_store_that_vouches_for_nothing_is_not_asked_who_may_manage() {
    let server = Server::start(Program::Redis);
    let mut shop = shop_on_redis("2s", &server);
    shop.keygate.must(&["account", "create", "root", "--superuser"]);
    let token = shop.keygate.must(&["token", "create", "root", "--name", "manager", "--scope", "manage"]);
    let ask = |keygate: &Keygate, path: &str| {
        let request = Request::new("GET", path).header("Host", "localhost").header("Authorization", &format!("Bearer {token}"));
        let answer = request.send(Ipv4Addr::LOCALHOST.into(), keygate.portal).unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(ask(&shop.keygate, "/api/v1/accounts").0, 200);
    let config = fs::read_to_string(shop.keygate.config()).unwrap();
    shop.keygate.write_config(&config.replace("[store]", "[store]\nwait_replicas = 1"));
    shop.keygate.restart_unready();
    // Redis answers.
    wait_for("the list", || shop.keygate.run(&["account", "list"], "").status.success().then_some(()));
    for path in ["/api/v1/accounts", "/api/v1/me", "/api/v1/tokens"] {
        let (status, body) = ask(&shop.keygate, path);
        assert!(status == 503 && body.contains("store_unavailable"), "{path}: {status} {body}");
    }
}

#[test]
fn a_master_that_sentinels_name_and_those_of_a_cluster_are_shown() {
    let sentinels = Sentinels::start(Program::Redis);
    let keygate = at("2s", &sentinels.url());
    let config = fs::read_to_string(keygate.config()).unwrap();
    keygate.write_config(&config.replace("[store]", "[store]\nwait_replicas = 1"));
    let shop = Shop::furnish(started(keygate));
    assert_eq!(shop.status(), 200);
    let store = json_of(&shop.keygate, &["store", "show"]);
    assert_eq!(store["servers"].as_array().unwrap().len(), 1, "{store}");
    assert_eq!((&store["servers"][0]["replicas"], &store["wait_replicas"]), (&json!(2), &json!(1)), "{store}");
    assert!(!store["findings"].to_string().contains("wait_replicas"), "{store}");
    shop.keygate.must(&["token", "revoke", "--account", "robot"]);
    assert_eq!(shop.status(), 401);

    let cluster = Cluster::start(Program::Redis);
    let shop = Shop::furnish(started(at("2s", &cluster.url())));
    assert_eq!(shop.status(), 200);
    let store = json_of(&shop.keygate, &["store", "show"]);
    assert_eq!((&store["reachable"], store["servers"].as_array().unwrap().len()), (&json!(true), 3), "{store}");
    assert!(store["findings"].to_string().contains("`store.wait_replicas` is 0"), "{store}");
}

/// What Redis had when Keygate last looked is not there any more.
#[test]
fn a_redis_that_lost_something_is_said_to_have_gone_back() {
    let mut server = Server::start_with(Program::Redis, &["--appendonly", "yes", "--appendfsync", "always"]);
    let shop = shop_on_redis("2s", &server);
    wait_for("being ready", || (shop.keygate.ask("/readyz").unwrap().status == 200).then_some(()));
    server.kill();
    let kept = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    copy(&server.directory().join("appendonlydir"), kept.path());
    server.restart();
    wait_for("being ready again", || (shop.keygate.ask("/readyz").unwrap().status == 200).then_some(()));
    shop.keygate.must(&["token", "revoke", "--account", "robot"]);
    // Long enough for it to have been seen.
    assert_eq!(shop.status(), 401);
    server.kill();
    fs::remove_dir_all(server.directory().join("appendonlydir")).unwrap();
    copy(&kept.path().join("appendonlydir"), server.directory());
    server.restart();
    let why = || String::from_utf8(shop.keygate.ask("/readyz").unwrap().body).unwrap();
    wait_for("it to be noticed", || why().starts_with("not ready: the store went back in time").then_some(()));
    let told = || {
        json_of(&shop.keygate, &["audit"]).as_array().unwrap().iter().filter(|event| event["action"] == "store.went_back").count()
    };
    wait_for("the event", || (told() == 1).then_some(()));
    let text = String::from_utf8(shop.keygate.ask("/metrics").unwrap().body).unwrap();
    assert!(text.contains("\nkeygate_store_went_back 1.0\n"), "{text}");
    assert_eq!(json_of(&shop.keygate, &["store", "show"])["went_back"], true);
    // It was chosen to be said only.
    assert_eq!(shop.status(), 200);
}

#[test]
fn the_metrics_say_how_far_the_store_is_vouched_for_and_how_busy_the_hasher_is() {
    let shop = Shop::start(CONFIG);
    let text = String::from_utf8(shop.keygate.ask("/metrics").unwrap().body).unwrap();
    for line in [
        "keygate_store_pushes_total 0",
        "keygate_store_canaries_total 0",
        "keygate_store_reconnects_total 0",
        "keygate_store_went_back 0.0",
        "keygate_store_verified_age_seconds{records=\"directory\"} 0.0",
        "keygate_store_verified_age_seconds{records=\"sessions\"} 0.0",
        "keygate_hasher_queue 0.0",
        "keygate_hasher_busy_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}
