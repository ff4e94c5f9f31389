//! What is answered while Redis is away, and that all is well once it is back.

use std::fs;
use std::time::Duration;

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::dialects::{DIALECTS, Verdict, block_on, channel, check, message};
use crate::support::faulty::Faulty;
use crate::support::keygate::Keygate;
use crate::support::programs::wait_for;
use crate::support::redis::{Program, Server};
use crate::support::shop::{CONFIG, Shop, bearing, get};

/// A Redis that has everything again after a restart.
fn lasting() -> Server {
    Server::start_with(Program::Redis, &["--appendonly", "yes", "--appendfsync", "always"])
}

/// Which status each dialect shows while the store is away.
fn statuses(nginx: u16, envoy: u16) -> impl Iterator<Item = (&'static str, u16)> {
    DIALECTS.into_iter().map(move |dialect| match dialect {
        "nginx" => (dialect, nginx),
        "envoy" => (dialect, envoy),
        _ => (dialect, 503),
    })
}

fn assert_unavailable(verdict: &Verdict, dialect: &str, status: u16) {
    assert_eq!(verdict.status, status, "{dialect}: {verdict:?}");
    for (name, value) in [
        ("X-Auth-Reason", "store_unavailable"),
        ("X-Auth-Status", "503"),
        ("Retry-After", "1"),
        ("Cache-Control", "no-store"),
        ("WWW-Authenticate", ""),
        ("X-Auth-Account", ""),
    ] {
        assert_eq!(verdict.header(name), value, "{dialect}: {name}");
    }
    assert!(!verdict.header("X-Auth-Request-Id").is_empty(), "{dialect}");
}

/// What needs no store is answered as ever: no credential, no token at all, and what is public.
fn assert_answers_without_the_store(shop: &Shop) {
    for dialect in DIALECTS {
        let junk = ["", "kg_u_", "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xg", "eyJhbGciOiJub25lIn0.e30."];
        let asked = junk.map(|token| (bearing(token), "malformed")).into_iter().chain([(get("/orders/7"), "no_credential")]);
        for (request, reason) in asked {
            let verdict = shop.ask(dialect, &request);
            assert_eq!(verdict.status, 401, "{dialect}, {reason}: {verdict:?}");
            assert_eq!(verdict.reason(), reason, "{dialect}");
            assert!(verdict.header("WWW-Authenticate").starts_with("Bearer "), "{dialect}");
        }
        assert_eq!(shop.ask(dialect, &get("/public/page")).status, 200, "{dialect}");
    }
}

/// With the store away in two ways: gone, and hanging.
fn while_away(config: &str, nginx: u16, envoy: u16, grpc_is_an_error: bool) {
    let mut server = lasting();
    let shop = Shop::on_redis(config, &server);
    for hanging in [false, true] {
        if hanging {
            server.freeze();
        } else {
            server.kill();
        }
        // What is remembered is good for a while, and for no longer.
        wait_for("the store to be missed", || (shop.ask("nginx", &shop.request()).status != 200).then_some(()));
        for (dialect, status) in statuses(nginx, envoy) {
            if dialect.starts_with("grpc") && grpc_is_an_error {
                let error = check(shop.keygate.grpc, message(&shop.request(), dialect == "grpc-merged"), None).unwrap_err();
                assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
                assert_eq!(error.message(), "store_unavailable");
            } else {
                assert_unavailable(&shop.ask(dialect, &shop.request()), dialect, status);
            }
        }
        assert_answers_without_the_store(&shop);
        assert_eq!(shop.keygate.ask("/readyz").unwrap().status, 503);
        assert_eq!(shop.keygate.ask("/healthz").unwrap().status, 200);
        assert_eq!(shop.keygate.run(&["health"], "").status.code(), Some(1));
        let listed = shop.keygate.run(&["token", "list"], "");
        assert_eq!((listed.status.code(), listed.stdout.as_slice()), (Some(3), &b""[..]));

        if hanging {
            server.thaw();
        } else {
            server.restart();
        }
        for dialect in DIALECTS {
            wait_for("the store to be back", || (shop.ask(dialect, &shop.request()).status == 200).then_some(()));
        }
        wait_for("being ready again", || (shop.keygate.ask("/readyz").unwrap().status == 200).then_some(()));
        assert!(shop.keygate.must(&["token", "list"]).contains("robot"));
    }
}

#[test]
fn an_outage_is_an_error_to_nginx_and_a_refusal_to_envoy() {
    while_away(CONFIG, 503, 403, false);
}

#[test]
fn an_outage_is_answered_as_it_is_configured() {
    while_away(&format!("{CONFIG}\n[outage]\nnginx = \"deny\"\nenvoy = \"error\"\n"), 403, 503, true);
}

/// One answer is late, and the next is not: that is no outage.
#[test]
fn one_late_answer_is_not_called_an_outage() {
    let mut server = lasting();
    let way = Faulty::start(server.port());
    let config = format!("{CONFIG}\n[hot_path]\nmax_staleness = \"3s\"\n");
    let mut keygate = Keygate::prepare_on_redis(&config, &way.url());
    let text = fs::read_to_string(keygate.config()).unwrap().replace("timeout = \"1s\"", "timeout = \"2s\"");
    keygate.write_config(&text);
    keygate.restart();
    let shop = Shop::furnish(keygate);
    // Somebody else's answer may be the late one.
    wait_for("the answer to be late", || {
        way.delay_next_read(Duration::from_millis(2500));
        (!shop.keygate.run(&["account", "list"], "").status.success()).then_some(())
    });
    wait_for("the store to be used", || shop.keygate.run(&["account", "list"], "").status.success().then_some(()));
    wait_for("being ready", || (shop.keygate.ask("/readyz").unwrap().status == 200).then_some(()));
    let said = |words| shop.keygate.log().contains(words);
    assert!(!said("the store has stopped answering") && !said("the store answers"), "{}", shop.keygate.log());
    // What is an outage is called one, and its end too.
    server.kill();
    wait_for("the outage", || {
        shop.status();
        said("the store has stopped answering").then_some(())
    });
    server.restart();
    wait_for("its end", || said("the store answers").then_some(()));
}

/// What adds is refused, and it is said why; what takes away is taken away.
#[test]
fn a_redis_without_memory_is_said_to_be_full() {
    let server = lasting();
    let shop = Shop::on_redis(CONFIG, &server);
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    let minted = shop.keygate.run(&["token", "create", "robot", "--name", "more"], "");
    let said = String::from_utf8(minted.stderr).unwrap();
    assert!(minted.status.code() == Some(3) && said.contains("Redis is full (its `maxmemory`)"), "{said}");
    shop.keygate.must(&["token", "revoke", "--account", "robot"]);
    assert_eq!(shop.status(), 401);
}

#[test]
fn a_redis_that_is_away_at_the_start_is_waited_for() {
    let mut server = lasting();
    let mut shop = Shop::on_redis(CONFIG, &server);
    shop.keygate.kill();
    server.kill();
    shop.keygate.restart_unready();
    assert_eq!(shop.keygate.ask("/healthz").unwrap().status, 200);
    let ready = shop.keygate.ask("/readyz").unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.body.starts_with(b"not ready: the store: "));
    for (dialect, status) in statuses(503, 403) {
        assert_unavailable(&shop.ask(dialect, &shop.request()), dialect, status);
    }
    assert_answers_without_the_store(&shop);
    server.restart();
    wait_for("being ready", || (shop.keygate.ask("/readyz").unwrap().status == 200).then_some(()));
    assert_eq!(shop.status(), 200);
}

/// Every token would break in silence.
#[test]
fn a_store_of_another_server_key_is_refused() {
    const OTHER: &str = "k1:HxweHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=\n";
    let mut server = lasting();
    let mut shop = Shop::on_redis(CONFIG, &server);
    shop.keygate.kill();
    shop.keygate.folder.write("server.key", OTHER);
    let (code, said) = shop.keygate.refuses();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("was used with another server key"), "{said}");

    // Nor is it taken when it is found later.
    server.kill();
    shop.keygate.restart_unready();
    server.restart();
    wait_for("the store to be found", || shop.keygate.log().contains("was used with another server key").then_some(()));
    assert_eq!(shop.keygate.ask("/readyz").unwrap().status, 503);
    assert_unavailable(&shop.ask("nginx", &shop.request()), "nginx", 503);

    shop.keygate.folder.write("server.key", crate::support::keygate::KEY);
    shop.keygate.restart();
    assert_eq!(shop.status(), 200);
}

/// What orchestrators are told about a service of the gRPC listener; `None` when nobody answers.
fn health(keygate: &Keygate, service: &str) -> Option<ServingStatus> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = block_on(async { HealthClient::new(channel(keygate.grpc).await.ok()?).check(request).await.ok() });
    answer.map(|answer| answer.into_inner().status())
}

#[test]
fn the_health_of_grpc_is_the_health_of_the_store() {
    let mut server = lasting();
    let shop = Shop::on_redis(CONFIG, &server);
    let become_of = |status| {
        for service in ["", "envoy.service.auth.v3.Authorization"] {
            wait_for(&format!("\"{service}\" to be {status:?}"), || (health(&shop.keygate, service) == Some(status)).then_some(()));
        }
    };
    become_of(ServingStatus::Serving);
    server.kill();
    become_of(ServingStatus::NotServing);
    server.restart();
    become_of(ServingStatus::Serving);
    server.freeze();
    become_of(ServingStatus::NotServing);
    server.thaw();
    become_of(ServingStatus::Serving);
    assert_eq!(health(&shop.keygate, "unheard.of.Service"), None);
}
