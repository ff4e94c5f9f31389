//! What is taken away while the checks go on: by each way there is, at any replica, with and without waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::fleet::{Api, Fleet, Kind, REPLICAS};
use crate::support::history::{Answer, Taken};

const AT_ONCE: usize = 8;
/// Where nobody knows whether it was done, it is tried again after a while.
const ATTEMPTS: usize = 20;
const AGAIN: Duration = Duration::from_millis(200);

/// One request that takes something away.
#[derive(Clone)]
struct Order {
    what: &'static str,
    /// Something harmless that changes the same record just before.
    before: Option<(String, Value)>,
    method: Method,
    path: String,
    body: Value,
    from: Vec<usize>,
}

/// Everything that is to be taken, in any order. What stays is alive to the end.
fn orders(fleet: &Fleet, chance: &mut StdRng) -> Vec<Order> {
    let mut orders = Vec::new();
    let logins: Vec<String> = {
        let mut logins: Vec<_> = fleet.credentials.iter().map(|credential| credential.login.clone()).collect();
        logins.dedup();
        logins
    };
    for (number, login) in logins.iter().enumerate() {
        let of_him = |(_, credential): &(usize, &super::fleet::Credential)| credential.login == *login;
        let his: Vec<_> = fleet.credentials.iter().enumerate().filter(of_him).collect();
        let all: Vec<usize> = his.iter().map(|(index, _)| *index).collect();
        let whole = |what, method, path, body| Order { what, before: None, method, path, body, from: all.clone() };
        match number % 6 {
            _ if his[0].1.kind == Kind::Expiring => {}
            0 => orders.push(whole(
                "an account is disabled",
                Method::PATCH,
                format!("/accounts/{login}"),
                json!({ "disabled": true }),
            )),
            1 => orders.push(whole("access is withdrawn", Method::DELETE, format!("/access/{login}/shop"), Value::Null)),
            2 => orders.push(whole("everything is revoked", Method::POST, format!("/accounts/{login}/revoke-all"), Value::Null)),
            _ => {
                // Every third stays.
                for (index, credential) in his.into_iter().filter(|(index, _)| index % 3 != 0) {
                    let id = &credential.id;
                    let from = vec![index];
                    orders.push(match (credential.kind, index % 3) {
                        (Kind::Session, _) => {
                            let (method, path) = (Method::DELETE, format!("/sessions/{id}"));
                            Order { what: "a session is ended", before: None, method, path, body: Value::Null, from }
                        }
                        (_, 1) => {
                            let before = Some((format!("/tokens/{id}"), json!({ "name": "soon gone" })));
                            let (method, path) = (Method::DELETE, format!("/tokens/{id}"));
                            Order { what: "a token is revoked", before, method, path, body: Value::Null, from }
                        }
                        _ => {
                            let (method, path) = (Method::POST, format!("/tokens/{id}/rotate"));
                            Order { what: "a token is rotated", before: None, method, path, body: json!({}), from }
                        }
                    });
                }
            }
        }
    }
    orders.shuffle(chance);
    orders
}

pub struct Takings {
    workers: JoinSet<Vec<Taken>>,
    /// Of whom something is taken, sooner or later.
    pub doomed: Vec<usize>,
}

impl Takings {
    /// Spreads everything over so much time.
    pub fn start(fleet: &Fleet, lasting: Duration, seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let orders = orders(fleet, &mut chance);
        let doomed = orders.iter().flat_map(|order| order.from.iter().copied()).collect();
        let every = lasting * u32::try_from(AT_ONCE).expect("few") / u32::try_from(orders.len()).expect("not so many");
        let orders = Arc::new(Mutex::new(VecDeque::from(orders)));
        let apis: Vec<Api> = (0..REPLICAS).map(|replica| fleet.api(replica)).collect();
        let mut workers = JoinSet::new();
        for number in 0..AT_ONCE {
            let (orders, apis) = (orders.clone(), apis.clone());
            workers.spawn(work(orders, apis, every, StdRng::seed_from_u64(seed + number as u64)));
        }
        Self { workers, doomed }
    }

    /// When everything is taken.
    pub async fn end(self) -> Vec<Taken> {
        self.workers.join_all().await.concat()
    }
}

async fn work(orders: Arc<Mutex<VecDeque<Order>>>, apis: Vec<Api>, every: Duration, mut chance: StdRng) -> Vec<Taken> {
    let mut taken = Vec::new();
    let next = || orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut at = tokio::time::Instant::now();
    while let Some(order) = next() {
        at += every;
        tokio::time::sleep_until(at).await;
        let api = &apis[chance.random_range(0..apis.len())];
        if let Some((path, body)) = order.before.clone() {
            // Whatever comes of it.
            let _harmless = api.send(Method::PATCH, &path, body).await;
        }
        for attempt in 0..ATTEMPTS {
            let api = &apis[chance.random_range(0..apis.len())];
            let Some(attempted) = attempt_it(api, &order, chance.random_bool(0.5), attempt > 0).await else { break };
            let done = matches!(attempted.answer, Answer::Done(_));
            taken.push(attempted);
            if done {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
    taken
}

/// `None` where there is nothing to be taken any more: what was given up may have been done nevertheless.
async fn attempt_it(api: &Api, order: &Order, waits: bool, is_again: bool) -> Option<Taken> {
    let path = if waits { format!("{}?wait=true", order.path) } else { order.path.clone() };
    let began = Instant::now();
    let answer = match api.send(order.method.clone(), &path, order.body.clone()).await {
        Some((status, _)) if status < 300 => Answer::Done(Instant::now()),
        Some((status, body)) if status < 500 => {
            assert!(is_again, "{} {path}: {status} {body}", order.method);
            return None;
        }
        Some((_, body)) if is_unconfirmed(&body) => Answer::Unconfirmed,
        _ => Answer::Lost,
    };
    Some(Taken { what: order.what, from: order.from.clone(), began, waits, answer })
}

/// It was done, and the replicas of the store have not confirmed that they have it.
fn is_unconfirmed(body: &Value) -> bool {
    body["type"].as_str().is_some_and(|kind| kind.ends_with("unconfirmed"))
}
