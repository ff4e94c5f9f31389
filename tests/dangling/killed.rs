//! The service, and the Redis behind it, are killed while many change records at once.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::contents::Contents;
use crate::support::{
    cases_to_run,
    control::{CONFIG, client},
    keygate::Keygate,
    programs::wait_for,
    redis::{Program, Server},
};

const WRITERS: u64 = 6;
/// What is done before something is killed.
const CHANGES: usize = 60;

fn request(client: &reqwest::Client, method: Method, path: &str) -> reqwest::RequestBuilder {
    client.request(method, format!("http://control/api/v1{path}"))
}

/// Changes records at random until it is told to stop; whatever comes of it. Some requests get no answer.
async fn write(client: reqwest::Client, seed: u64, done: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let account = format!("account{}", rng.random_range(0..4));
        let site = format!("site{}", rng.random_range(0..3));
        let token = some_token(&client, &account).await;
        let (method, path, body) = match rng.random_range(0..14) {
            0 | 1 => (Method::POST, "/accounts".to_owned(), json!({ "login": account, "email": format!("{account}@example.com") })),
            2 => (Method::PATCH, format!("/accounts/{account}"), json!({ "superuser": rng.random_bool(0.5) })),
            3 => (Method::PATCH, format!("/accounts/{account}"), json!({ "email": null, "name": "New" })),
            4 => (Method::DELETE, format!("/accounts/{account}"), Value::Null),
            5 => (Method::POST, "/sites".to_owned(), json!({ "id": site, "hosts": [format!("{site}.example.com")] })),
            6 => (Method::DELETE, format!("/sites/{site}"), Value::Null),
            7 | 8 => (Method::PUT, format!("/access/{account}/{site}"), json!({ "level": "write" })),
            9 | 10 => (Method::POST, "/tokens".to_owned(), json!({ "account": account, "name": "job" })),
            11 => (Method::POST, format!("/tokens/{token}/rotate"), json!({ "grace": "1h" })),
            12 => (Method::DELETE, format!("/tokens/{token}"), Value::Null),
            _ => (Method::POST, format!("/accounts/{account}/revoke-all"), json!({})),
        };
        let mut request = request(&client, method.clone(), &path);
        if method == Method::POST {
            request = request.header("Idempotency-Key", format!("{seed}-{}", rng.random::<u64>()));
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn some_token(client: &reqwest::Client, account: &str) -> String {
    let tokens = async {
        let answer = request(client, Method::GET, &format!("/tokens?account={account}&limit=5")).send().await.ok()?;
        let body: Value = answer.json().await.ok()?;
        let tokens = body["items"].as_array()?.clone();
        Some(tokens.last()?["id"].as_str()?.to_owned())
    };
    tokens.await.unwrap_or_else(|| "AbCdEfGh0123".to_owned())
}

/// Rounds of changes, each ended by `kill`, which leaves a Keygate that runs again.
fn rounds(mut keygate: Keygate, rounds: u32, mut kill: impl FnMut(&mut Keygate), contents: impl Fn(&Keygate) -> Contents) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // One that nobody takes away.
    keygate.must(&["account", "create", "root", "--superuser"]);
    for round in 0..rounds {
        let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let writer = |writer| {
            let seed = u64::from(round) * WRITERS + writer;
            runtime.spawn(write(client(&keygate.control()), seed, done.clone(), stop.clone()))
        };
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();
        wait_for("changes", || (done.load(Ordering::Relaxed) >= CHANGES).then_some(()));
        kill(&mut keygate);
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            runtime.block_on(writer).unwrap();
        }
        assert_eq!(contents(&keygate).dangling(), [""; 0], "round {round}");
    }
    assert!(contents(&keygate).count("token") > 0, "something was made");
}

#[test]
fn a_service_on_the_embedded_store_that_is_killed_leaves_nothing_dangling() {
    let keygate = Keygate::start(CONFIG);
    rounds(keygate, cases_to_run(6, 60), Keygate::restart, |keygate| Contents::of_embedded(&keygate.data_dir()));
}

#[test]
fn a_service_on_redis_that_is_killed_leaves_nothing_dangling() {
    let server = Server::start(Program::Redis);
    let mut keygate = Keygate::prepare_on_redis(CONFIG, &server.url());
    keygate.restart();
    rounds(keygate, cases_to_run(6, 60), Keygate::restart, |_| Contents::of_redis(&server.url()));
}

#[test]
fn a_redis_that_is_killed_under_the_service_leaves_nothing_dangling() {
    let server = RefCell::new(Server::start_with(Program::Redis, &["--appendonly", "yes", "--appendfsync", "always"]));
    let mut keygate = Keygate::prepare_on_redis(CONFIG, &server.borrow().url());
    keygate.restart();
    let kill = |keygate: &mut Keygate| {
        server.borrow_mut().restart();
        wait_for("the store", || keygate.ask("/readyz").filter(|answer| answer.status == 200));
    };
    rounds(keygate, cases_to_run(6, 60), kill, |_| Contents::of_redis(&server.borrow().url()));
}
