//! The case table spoken directly to Keygate, in every dialect: exact statuses and reasons.

use std::io::Write as _;

use crate::support::cases::{Case, Failure, Only, assert_none, assert_red, is_identity, table};
use crate::support::dialects::{DIALECTS, PROXY, ask, call, describing};
use crate::support::house::{CLIENT, Furnish, House, POLICY};
use crate::support::http::{Answer, connect};
use crate::support::keygate::Keygate;
use crate::support::redis::{Program, Server};

/// What a dialect makes of a status: NGINX knows 401 and 403 and takes all else for an error.
fn on_the_wire(dialect: &str, status: u16) -> u16 {
    match (dialect, status) {
        ("nginx", 400 | 429) => 403,
        _ => status,
    }
}

fn judge(house: &House, dialect: &str, case: &Case) -> Result<(), String> {
    let verdict = ask(&house.keygate, dialect, &house.request(case))?;
    let wanted = on_the_wire(dialect, case.status);
    if verdict.status != wanted {
        return Err(format!("{} instead of {wanted}: {verdict:?}", verdict.status));
    }
    let identity: Vec<_> = verdict.headers.iter().filter(|(name, _)| is_identity(name)).cloned().collect();
    if case.status == 200 {
        if dialect != "check" {
            house.check_identity(case, &identity)?;
        }
        let told = |name: &str| verdict.removed.iter().any(|removed| removed.eq_ignore_ascii_case(name));
        if matches!(dialect, "envoy" | "grpc" | "grpc-merged") && case.identity.is_some() && !told("authorization") {
            return Err(format!("Envoy is not told to keep the credential: {:?}", verdict.removed));
        }
        // Setting comes before removing in Envoy: a name in both would be lost.
        if let Some((name, _)) = identity.iter().find(|(name, value)| !value.is_empty() && told(name)) {
            return Err(format!("{name} is set and removed"));
        }
        return Ok(());
    }

    for (name, value) in &identity {
        if !value.is_empty() && !name.eq_ignore_ascii_case("X-Auth-Request-Id") {
            return Err(format!("{name}: {value} on a refusal"));
        }
    }
    let reason = if dialect == "check" {
        let body: serde_json::Value = serde_json::from_slice(&verdict.body).map_err(|error| error.to_string())?;
        body["reason"].as_str().unwrap_or_default().to_owned()
    } else {
        verdict.reason().to_owned()
    };
    if case.reason.as_ref().is_some_and(|wanted| *wanted != reason) {
        return Err(format!("the reason is \"{reason}\" instead of {:?}", case.reason));
    }
    if verdict.header("X-Auth-Status") != case.status.to_string() && dialect != "check" {
        return Err(format!("X-Auth-Status is \"{}\"", verdict.header("X-Auth-Status")));
    }
    if dialect != "check" && verdict.header("Cache-Control") != "no-store" {
        return Err(format!("Cache-Control is \"{}\"", verdict.header("Cache-Control")));
    }
    if case.status == 401 {
        let all = verdict.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("WWW-Authenticate"));
        let challenges: Vec<_> = all.map(|(_, value)| value.as_str()).collect();
        let bearer = challenges.iter().find(|challenge| challenge.starts_with("Bearer realm=\"keygate\""));
        let Some(bearer) = bearer else { return Err(format!("challenges are {challenges:?}")) };
        // RFC 6750, section 3: no error code for a request without a token.
        if case.credential.is_none() && bearer.contains("error") {
            return Err(format!("nothing was presented, and the challenge is {bearer}"));
        }
    }
    Ok(())
}

/// Runs the rows that can be said to Keygate in a dialect.
fn run(house: &House, dialect: &str) -> Vec<Failure> {
    let rows = table();
    let rows = rows.iter().filter(|case| case.only != Some(Only::Proxies) && !case.except.iter().any(|name| name == dialect));
    rows.filter_map(|case| Some(Failure { case: case.name.clone(), what: judge(house, dialect, case).err()? })).collect()
}

#[test]
fn every_dialect_says_the_same() {
    every_dialect(&House::new());
}

#[test]
fn every_dialect_says_the_same_over_redis() {
    let server = Server::start(Program::Redis);
    let mut keygate = Keygate::prepare_on_redis(POLICY, &server.url());
    keygate.restart();
    every_dialect(&House::around(keygate, Furnish::AsTheTableSays));
}

fn every_dialect(house: &House) {
    let mut failures = Vec::new();
    for dialect in DIALECTS {
        for Failure { case, what } in run(house, dialect) {
            failures.push(Failure { case: format!("{dialect}: {case}"), what });
        }
    }
    assert_none(&failures, "the dialects");
}

fn row(name: &str) -> Case {
    table().into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no row \"{name}\""))
}

#[test]
fn a_description_that_is_missing_or_doubled_is_refused() {
    let house = House::new();
    let allowed = row("a valid token reads");
    for dialect in ["nginx", "traefik", "caddy", "haproxy"] {
        for name in &describing(dialect)[..3] {
            let whole = call(dialect, &house.request(&allowed));
            let mut missing = whole.clone();
            missing.headers.retain(|(n, _)| n != name);
            let mut doubled = whole.clone();
            let copy = whole.headers.iter().find(|(n, _)| n == name).expect("the call has it").clone();
            doubled.headers.push(copy);
            for request in [missing, doubled] {
                let answer = request.send(PROXY, house.keygate.check).unwrap();
                assert_eq!(answer.status, on_the_wire(dialect, 400), "{dialect} without or with two {name}");
                assert_eq!(answer.header("X-Auth-Reason"), Some("missing_description"), "{dialect}, {name}");
            }
        }
    }
}

#[test]
fn a_check_waits_for_no_body_and_takes_old_and_headless_callers() {
    let house = House::new();
    let (allowed, refused) = (row("a valid token reads"), row("no token"));
    for dialect in ["nginx", "traefik", "caddy", "haproxy", "envoy", "check"] {
        for (case, status) in [(&allowed, 200), (&refused, 401)] {
            let whole = call(dialect, &house.request(case));
            // The length of a body that a proxy kept to itself.
            let promised = whole.clone().header("Content-Length", "10485760");
            let mut headless = whole.clone();
            headless.method = "HEAD".to_owned();
            for request in [promised, headless] {
                let answer = request.send(PROXY, house.keygate.check).unwrap();
                assert_eq!(answer.status, status, "{dialect}, {}", request.method);
            }
            let old = String::from_utf8(whole.head()).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
            let mut stream = connect(PROXY, house.keygate.check).unwrap();
            stream.write_all(old.as_bytes()).unwrap();
            let answer = Answer::read(&mut stream, dialect == "haproxy").unwrap();
            assert_eq!(answer.status, status, "{dialect} over HTTP/1.0");
        }
    }
}

/// Asks from an address that is no proxy's, and lists the dialects in which it is answered with more than
/// "you are nobody".
fn believed_from_a_stranger(house: &House) -> Vec<&'static str> {
    let allowed = row("a valid token reads");
    let dialects = ["nginx", "traefik", "caddy", "haproxy", "envoy"].into_iter();
    dialects
        .filter(|dialect| {
            let answer = call(dialect, &house.request(&allowed)).send(CLIENT, house.keygate.check).expect("Keygate answers");
            (answer.status, answer.header("X-Auth-Reason")) != (403, Some("untrusted_peer"))
        })
        .collect()
}

#[test]
fn a_stranger_is_not_believed() {
    assert_eq!(believed_from_a_stranger(&House::new()), [""; 0]);
}

#[test]
fn a_stranger_is_believed_when_everybody_is_trusted() {
    let widened = POLICY.replace("127.0.0.1/32", "127.0.0.0/8");
    assert_ne!(widened, POLICY);
    let house = House::with(&widened, Furnish::AsTheTableSays);
    assert!(believed_from_a_stranger(&house).contains(&"nginx"));
}

#[test]
fn the_table_sees_that_nothing_was_revoked() {
    let house = House::with(POLICY, Furnish::RevokeNothing);
    for dialect in DIALECTS {
        assert_red(&run(&house, dialect), "a revoked token", dialect);
    }
}

#[test]
fn the_table_sees_that_a_rule_names_another_site() {
    let moved = POLICY.replace("site = \"other\"", "site = \"shop\"");
    assert_ne!(moved, POLICY);
    let house = House::with(&moved, Furnish::AsTheTableSays);
    for dialect in DIALECTS {
        assert_red(&run(&house, dialect), "the wrong site", dialect);
    }
}

#[test]
fn the_table_sees_that_tokens_have_no_limits() {
    let house = House::with(POLICY, Furnish::LimitNothing);
    for dialect in DIALECTS {
        let failures = run(&house, dialect);
        for row in ["a token for reading does not write", "a token for one site opens no other", "a token with another scope"] {
            assert_red(&failures, row, dialect);
        }
        assert_red(&failures, "a token from another network", dialect);
        assert_red(&failures, "an expired token", dialect);
    }
}
