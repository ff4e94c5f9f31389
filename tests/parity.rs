//! The case table spoken directly to Keygate, in every dialect: exact statuses and reasons.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request as Attributes};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};

use crate::support::cases::{Case, Failure, Only, assert_none, assert_red, is_identity, table};
use crate::support::house::{CLIENT, Furnish, House, POLICY};
use crate::support::http::{Answer, Request, connect};

/// Where proxies call from, in `tests/data/keygate.toml`.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DIALECTS: [&str; 8] = ["nginx", "traefik", "caddy", "haproxy", "envoy", "grpc", "grpc-merged", "check"];
const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// What Keygate said, whatever the dialect.
#[derive(Debug)]
struct Verdict {
    /// What the proxy acts upon.
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The headers that the proxy is told to remove.
    removed: Vec<String>,
}

impl Verdict {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// The headers that describe a request in a dialect: method, target and host, which must be there, and the address.
fn describing(dialect: &str) -> [&'static str; 4] {
    match dialect {
        "nginx" | "haproxy" => ["X-Original-Method", "X-Original-URI", "X-Original-Host", "X-Real-IP"],
        _ => ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-For"],
    }
}

/// The call that a proxy makes for a row.
fn call(house: &House, dialect: &str, case: &Case) -> Request {
    let client = house.request(case);
    let url =
        || format!("http://{}{}", case.host, client.target).bytes().fold(String::new(), |url, byte| url + &format!("%{byte:02X}"));
    let mut call = match dialect {
        "envoy" => Request::new(&client.method, &format!("/auth/envoy{}", client.target)).header("Host", &case.host),
        "check" => Request::new("GET", &format!("/auth/check?method={}&url={}", client.method, url())).header("Host", "localhost"),
        "haproxy" => Request::new("HEAD", "/auth/haproxy").header("Host", "keygate"),
        _ => Request::new("GET", &format!("/auth/{dialect}")).header("Host", "keygate"),
    };
    for (name, value) in client.headers.iter().filter(|(name, _)| name != "Host") {
        call = call.header(name, value);
    }
    match dialect {
        "check" => call,
        "envoy" => call.header("X-Forwarded-For", &CLIENT.to_string()),
        _ => {
            let values = [&client.method, &client.target, &case.host, &CLIENT.to_string()];
            describing(dialect).into_iter().zip(values).fold(call, |call, (name, value)| call.header(name, value))
        }
    }
}

/// Asks over HTTP as the proxy would; `/auth/check` is for people, who are their own client.
fn ask_http(house: &House, dialect: &str, case: &Case) -> Result<Verdict, String> {
    let from = if dialect == "check" { CLIENT } else { PROXY };
    let answer = call(house, dialect, case).send(from, house.keygate.check).map_err(|error| format!("no answer: {error}"))?;
    let removed = answer.all("x-envoy-auth-headers-to-remove").flat_map(|list| list.split(',')).map(|name| name.trim().to_owned());
    Ok(Verdict { status: answer.status, removed: removed.collect(), headers: answer.headers, body: answer.body })
}

/// The message that Envoy sends for a row, with its headers one by one or merged.
fn check_request(house: &House, case: &Case, merged: bool) -> CheckRequest {
    let client = house.request(case);
    let mut http = HttpRequest {
        method: client.method.clone(),
        path: client.target.clone(),
        host: case.host.clone(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        size: -1,
        ..HttpRequest::default()
    };
    let pseudo = [(":method", &client.method), (":path", &client.target), (":authority", &case.host)];
    let pseudo = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
    let headers =
        client.headers.iter().filter(|(name, _)| name != "Host").map(|(name, value)| (name.to_lowercase(), value.clone()));
    let headers = pseudo.chain(headers);
    if merged {
        for (name, value) in headers {
            let joined = http.headers.entry(name).or_default();
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(&value);
        }
    } else {
        let headers =
            headers.map(|(key, value)| HeaderValue { key, raw_value: value.into_bytes(), ..HeaderValue::default() }).collect();
        http.header_map = Some(HeaderMap { headers });
    }
    let address = SocketAddress {
        address: CLIENT.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(40_000)),
        ..SocketAddress::default()
    };
    let source = Peer { address: Some(Address { address: Some(AddressKind::SocketAddress(address)) }), ..Peer::default() };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            request: Some(Attributes { http: Some(http), ..Attributes::default() }),
            ..AttributeContext::default()
        }),
    }
}

fn ask_grpc(house: &House, case: &Case, merged: bool) -> Result<Verdict, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    let response: CheckResponse = runtime
        .block_on(async {
            let mut client =
                AuthorizationClient::connect(format!("http://{}", house.keygate.grpc)).await.map_err(|error| error.to_string())?;
            client.check(check_request(house, case, merged)).await.map_err(|status| status.to_string())
        })
        .map_err(|error| format!("no answer: {error}"))?
        .into_inner();

    let code = response.status.map_or(-1, |status| status.code);
    let plain = |headers: Vec<envoy_types::pb::envoy::config::core::v3::HeaderValueOption>| -> Vec<(String, String)> {
        let headers = headers.into_iter().filter_map(|option| option.header);
        headers
            .map(|header| {
                (
                    header.key,
                    if header.value.is_empty() { String::from_utf8_lossy(&header.raw_value).into_owned() } else { header.value },
                )
            })
            .collect()
    };
    match response.http_response {
        Some(HttpResponse::OkResponse(ok)) if code == OK => {
            Ok(Verdict { status: 200, headers: plain(ok.headers), body: Vec::new(), removed: ok.headers_to_remove })
        }
        Some(HttpResponse::DeniedResponse(denied)) if code != OK => {
            let status = denied.status.map_or(0, |status| u16::try_from(status.code).unwrap_or(0));
            let wanted = if status == 401 { UNAUTHENTICATED } else { PERMISSION_DENIED };
            if code != wanted {
                return Err(format!("status.code is {code} beside {status}"));
            }
            Ok(Verdict { status, headers: plain(denied.headers), body: denied.body.into_bytes(), removed: Vec::new() })
        }
        other => Err(format!("status.code {code} with {other:?}")),
    }
}

/// What a dialect makes of a status: NGINX knows 401 and 403 and takes all else for an error.
fn on_the_wire(dialect: &str, status: u16) -> u16 {
    match (dialect, status) {
        ("nginx", 400 | 429) => 403,
        _ => status,
    }
}

fn judge(house: &House, dialect: &str, case: &Case) -> Result<(), String> {
    let verdict = match dialect {
        "grpc" => ask_grpc(house, case, false)?,
        "grpc-merged" => ask_grpc(house, case, true)?,
        _ => ask_http(house, dialect, case)?,
    };
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
        verdict.header("X-Auth-Reason").to_owned()
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
    let house = House::new();
    let mut failures = Vec::new();
    for dialect in DIALECTS {
        for Failure { case, what } in run(&house, dialect) {
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
            let whole = call(&house, dialect, &allowed);
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
            let whole = call(&house, dialect, case);
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
            let answer = call(house, dialect, &allowed).send(CLIENT, house.keygate.check).expect("Keygate answers");
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
