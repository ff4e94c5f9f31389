//! Who may ask at which listener, and under which names an identity is told.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::IpAddr,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    thread,
};

use crate::support::dialects::{DIALECTS, PROXY, Verdict, call, check, message};
use crate::support::http::{Answer, Request, connect};
use crate::support::keygate::Keygate;
use crate::support::shop::{CONFIG, Shop, get};

/// The configuration with more in its section `check`.
fn checking(more: &str) -> String {
    CONFIG.replace("[check]\n", &format!("[check]\n{more}\n"))
}

fn over_unix(shop: &Shop, request: &Request) -> Answer {
    let mut stream = UnixStream::connect(shop.keygate.folder.path().join("check.sock")).unwrap();
    stream.write_all(&request.head()).unwrap();
    Answer::read(&mut stream, request.method == "HEAD").unwrap()
}

fn said(status: u16, reason: Option<&str>) -> (u16, String) {
    (status, reason.unwrap_or_default().to_owned())
}

#[test]
fn the_unix_socket_answers_and_is_trusted_by_default() {
    for (more, mode) in [("", 0o660), ("unix_mode = \"0600\"", 0o600), ("unix_mode = \"777\"", 0o777)] {
        let mut shop = Shop::start(&checking(&format!("unix = \"check.sock\"\n{more}")));
        let socket = shop.keygate.folder.path().join("check.sock");
        assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, mode);
        assert_eq!(over_unix(&shop, &get("/healthz")).status, 200);
        for dialect in ["nginx", "traefik", "caddy", "haproxy", "envoy"] {
            let answer = over_unix(&shop, &call(dialect, &shop.request()));
            assert_eq!((answer.status, answer.header("X-Auth-Account")), (200, Some("robot")), "{dialect}");
        }
        shop.keygate.stop();
        assert!(!socket.exists());
    }
}

/// How many threads there are of each name.
fn threads(process: u32) -> BTreeMap<String, usize> {
    let mut named = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let name = fs::read_to_string(thread.unwrap().path().join("comm")).unwrap();
        *named.entry(name.trim().to_owned()).or_default() += 1;
    }
    named
}

#[test]
fn there_is_a_worker_for_every_two_cores_or_as_many_as_wanted() {
    let cores = thread::available_parallelism().unwrap().get();
    let counted = |more: &str| {
        let mut shop = Shop::start(&checking(more));
        // Workers of the checks answer as soon as there are any.
        assert_eq!(shop.ask("nginx", &shop.request()).status, 200);
        let threads = threads(shop.keygate.program().id());
        (threads["actix-rt|system"], threads["grpc"])
    };
    let (http, grpc) = counted("workers = 1");
    for (more, workers) in [("", cores.div_ceil(2)), ("workers = 5", 5)] {
        assert_eq!(counted(more), (http - 1 + workers, grpc - 1 + workers), "{more}");
    }
}

#[test]
fn a_peer_is_trusted_by_the_way_it_came() {
    for (trusted, tcp, unix) in [
        ("trusted_proxies = [\"unix\"]", (403, Some("untrusted_peer")), (200, None)),
        ("trusted_proxies = [\"127.0.0.0/8\"]", (200, None), (403, Some("untrusted_peer"))),
        ("trusted_proxies = [\"::1\", \"10.0.0.0/8\"]", (403, Some("untrusted_peer")), (403, Some("untrusted_peer"))),
        ("trusted_proxies = []", (403, Some("untrusted_peer")), (403, Some("untrusted_peer"))),
    ] {
        let shop = Shop::start(&checking(&format!("unix = \"check.sock\"\n{trusted}")));
        for dialect in DIALECTS.into_iter().filter(|dialect| *dialect != "check") {
            let verdict = shop.ask(dialect, &shop.request());
            assert_eq!((verdict.status, verdict.reason()), (tcp.0, tcp.1.unwrap_or_default()), "{dialect}, {trusted}");
            if !dialect.starts_with("grpc") {
                let answer = over_unix(&shop, &call(dialect, &shop.request()));
                assert_eq!(said(answer.status, answer.header("X-Auth-Reason")), said(unix.0, unix.1), "{dialect}, {trusted}");
            }
        }
        // It describes a request in its own query, so nobody need be trusted for it.
        assert_eq!(shop.ask("check", &shop.request()).status, 200);
    }
}

/// What a proxy is answered that shows these.
fn showing(shop: &Shop, dialect: &str, shown: &[&str]) -> (u16, String) {
    let request = shown.iter().fold(call(dialect, &shop.request()), |call, value| call.header("X-Auth-Proxy-Secret", value));
    let answer = request.send(PROXY, shop.keygate.check).unwrap();
    said(answer.status, answer.header("X-Auth-Reason"))
}

#[test]
fn the_proxy_secret_is_demanded_of_every_proxy() {
    const SECRET: &str = "proxy-secret-4f1d";
    for given in [format!("proxy_secret = \"{SECRET}\""), "proxy_secret_file = \"proxy.secret\"".to_owned()] {
        let mut keygate = Keygate::prepare(&checking(&given));
        keygate.folder.write("proxy.secret", &format!("{SECRET}\n"));
        keygate.restart();
        let shop = Shop::furnish(keygate);
        let refused = said(403, Some("untrusted_peer"));
        let half = &SECRET[..8];
        for dialect in ["nginx", "traefik", "caddy", "haproxy", "envoy"] {
            assert_eq!(showing(&shop, dialect, &[SECRET]), said(200, None), "{dialect}");
            let longer = format!("{SECRET}x");
            for shown in
                [&[][..], &[""], &["wrong"], &[half], &[&longer], &[SECRET, SECRET], &["wrong", SECRET], &[SECRET, "wrong"]]
            {
                assert_eq!(showing(&shop, dialect, shown), refused, "{dialect}, {shown:?}");
            }
        }
        let grpc = |secret: Option<&str>| {
            let response = check(shop.keygate.grpc, message(&shop.request(), false), secret).unwrap();
            let verdict = Verdict::of_grpc(response).unwrap();
            (verdict.status, verdict.reason().to_owned())
        };
        assert_eq!(grpc(Some(SECRET)), said(200, None));
        for shown in [None, Some("wrong"), Some(half)] {
            assert_eq!(grpc(shown), refused, "{shown:?}");
        }
        // A client's own header in the attributes is not the proxy's.
        let client = shop.request().header("X-Auth-Proxy-Secret", SECRET);
        let response = check(shop.keygate.grpc, message(&client, false), None).unwrap();
        assert_eq!(Verdict::of_grpc(response).unwrap().reason(), "untrusted_peer");
    }
}

/// What the portal answers whoever comes from there.
fn at_portal(shop: &Shop, from: IpAddr, request: &Request) -> Answer {
    request.send(from, shop.keygate.portal).unwrap()
}

/// What a browser asks of the portal.
fn at_own_host(shop: &Shop, path: &str) -> Request {
    Request::new("GET", path).header("Host", &format!("localhost:{}", shop.keygate.portal.port()))
}

/// The configuration with a section `portal`.
fn with_portal(section: &str) -> String {
    format!("{CONFIG}\n[portal]\n{section}\n")
}

#[test]
fn the_portal_serves_pages_the_api_and_its_own_health_and_no_more() {
    let shop = Shop::start(CONFIG);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(at_portal(&shop, PROXY, &get(path)).status, 200, "{path}");
    }
    for path in ["/api/v1/accounts", "/api/v1/tokens", "/api/v1/sites", "/api/v1/access", "/api/v1/policy"] {
        let answer = at_portal(&shop, PROXY, &get(path));
        let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, document["type"].as_str()), (401, Some("about:blank#no_credential")), "{path}: {document}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
    }
    let shown = Request::new("POST", "/api/v1/sites").header("Host", "localhost").header("Content-Type", "application/json");
    assert_eq!(at_portal(&shop, PROXY, &shown.body(br#"{"id":"other"}"#.to_vec())).status, 401);
    for path in ["/metrics", "/auth/nginx", "/auth/envoy/orders/7", "/auth/check?method=GET&url=http://shop.example.com/", "/api"] {
        assert_eq!(at_portal(&shop, PROXY, &at_own_host(&shop, path)).status, 404, "{path}");
    }
    // And where proxies ask, nobody manages anything.
    let elsewhere = get("/api/v1/accounts").send(PROXY, shop.keygate.check).unwrap();
    assert!(elsewhere.status != 401 && elsewhere.status >= 400, "{}", elsewhere.status);
}

/// Until it is refused for asking too often; gives back the refusal.
fn ask_too_often(shop: &Shop, from: IpAddr, request: &Request) -> Answer {
    let mut answers = (0..1000).map(|_| at_portal(shop, from, request));
    answers.find(|answer| answer.status != 401).expect("a thousand requests are more than two in a second")
}

fn forwarded(clients: &str) -> Request {
    get("/api/v1/accounts").header("X-Forwarded-For", clients)
}

#[test]
fn a_client_that_asks_the_portal_too_often_is_refused_and_no_other() {
    let proxy = IpAddr::from([127, 0, 0, 7]);
    let shop = Shop::start(&with_portal("trusted_proxies = [\"127.0.0.7\"]\nrequests_per_second = 1"));
    let refusal = ask_too_often(&shop, proxy, &forwarded("203.0.113.7"));
    let document: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
    assert_eq!((refusal.status, document["type"].as_str()), (429, Some("about:blank#too_many_requests")), "{document}");
    assert_eq!((refusal.header("retry-after"), refusal.header("content-type")), (Some("1"), Some("application/problem+json")));
    assert!(document["request_id"].is_string(), "{document}");
    // The next client behind the same proxy; the proxy itself; whoever comes directly, whatever he says of himself.
    assert_eq!(at_portal(&shop, proxy, &forwarded("203.0.113.8")).status, 401);
    assert_eq!(at_portal(&shop, proxy, &get("/api/v1/accounts")).status, 401);
    let direct = IpAddr::from([127, 0, 0, 8]);
    assert_eq!(at_portal(&shop, direct, &forwarded("203.0.113.7")).status, 401);
    // Nor does it help to say to be another each time.
    let mut other = 0..=255;
    let mut lie = || forwarded(&format!("198.51.100.{}", other.next().unwrap()));
    let statuses: Vec<u16> = (0..200).map(|_| at_portal(&shop, direct, &lie()).status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    // All addresses of an IPv6 network are one client.
    let network = |number: u16| forwarded(&format!("2001:db8:0:1::{number:x}"));
    let statuses: Vec<u16> = (0..200).map(|number| at_portal(&shop, proxy, &network(number)).status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(at_portal(&shop, proxy, &forwarded("2001:db8:0:2::1")).status, 401);
    // Paths that nobody serves count too; whoever watches the service is always served, and the control socket.
    let nowhere = at_own_host(&shop, "/nowhere");
    let refusal = (0..1000).map(|_| at_portal(&shop, IpAddr::from([127, 0, 0, 9]), &nowhere)).find(|answer| answer.status != 404);
    assert_eq!(refusal.map(|answer| answer.status), Some(429));
    for _ in 0..50 {
        assert_eq!(at_portal(&shop, direct, &get("/healthz")).status, 200);
        assert_eq!(at_portal(&shop, direct, &get("/readyz")).status, 200);
    }
    shop.keygate.must(&["account", "list"]);
}

#[test]
fn what_is_pasted_into_an_address_at_the_portal_is_not_logged() {
    let mut shop = Shop::start(&with_portal("trusted_proxies = [\"127.0.0.0/8\"]\n\n[log]\nlevel = \"trace\""));
    let pasted = get("/api/v1/tokens/kg_u_hunter2?token_auth=kg_u_hunter2").header("X-Forwarded-For", "203.0.113.7");
    assert_eq!(at_portal(&shop, PROXY, &pasted).status, 401);
    assert_eq!(at_portal(&shop, PROXY, &at_own_host(&shop, "/hunter2").header("X-Forwarded-For", "203.0.113.7")).status, 404);
    let other_method = Request::new("kg_u_hunter2", "/api/v1/tokens").header("Host", "hunter2");
    assert!(at_portal(&shop, PROXY, &other_method).status >= 400);
    shop.keygate.stop();
    let log = shop.keygate.log();
    assert!(!log.contains("hunter2"), "{log}");
    let answered = |route: &str, status: &str| {
        let line = |line: &&str| line.contains("203.0.113.7") && line.contains(route) && line.contains(status);
        log.lines().find(line).is_some()
    };
    assert!(answered("/api/v1/tokens/{id}", "status=401") && answered("", "status=404"), "{log}");
}

#[test]
fn without_a_limit_the_portal_answers_everybody() {
    let shop = Shop::start(&with_portal("requests_per_second = 0"));
    for _ in 0..200 {
        assert_eq!(at_portal(&shop, PROXY, &get("/api/v1/accounts")).status, 401);
    }
}

#[test]
fn identities_go_by_the_names_that_are_configured() {
    let shop = Shop::start(&format!("{CONFIG}\n[headers]\npreset = \"remote\"\n\n[headers.names]\nsite = \"X-WEBAUTH-SITE\"\n"));
    let forged = ["remote_user", "Remote.Groups", "x_webauth_site", "X-Auth-Account"];
    let request = forged.iter().fold(shop.request(), |request, name| request.header(name, "forged"));
    for dialect in ["nginx", "grpc", "grpc-merged", "envoy"] {
        let verdict = shop.ask(dialect, &request);
        assert_eq!(verdict.status, 200, "{dialect}: {verdict:?}");
        assert_eq!(verdict.header("Remote-User"), "robot", "{dialect}: {verdict:?}");
        assert_eq!(verdict.header("Remote-Groups"), "write", "{dialect}: {verdict:?}");
        assert_eq!(verdict.header("X-WEBAUTH-SITE"), "shop", "{dialect}: {verdict:?}");
        let told = |name: &str| verdict.removed.iter().any(|removed| removed.eq_ignore_ascii_case(name));
        for gone in ["X-Auth-Account", "X-Auth-Site"] {
            assert_eq!(verdict.header(gone), "", "{dialect}");
        }
        if dialect != "nginx" {
            for alias in ["remote_user", "remote.groups", "x_webauth_site"] {
                assert!(told(alias), "{dialect}: {alias} is not removed, only {:?}", verdict.removed);
            }
        }
    }
    let shop = Shop::start(&format!("{CONFIG}\n[headers.names]\naccount = \"X-WEBAUTH-USER\"\n"));
    for dialect in ["nginx", "grpc", "envoy"] {
        let verdict = shop.ask(dialect, &shop.request());
        assert_eq!((verdict.header("X-WEBAUTH-USER"), verdict.header("X-Auth-Site")), ("robot", "shop"), "{dialect}");
        assert!(verdict.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("x-auth-account")), "{dialect}: {verdict:?}");
    }
}

#[test]
fn health_is_asked_by_get_and_head() {
    let shop = Shop::start(CONFIG);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let asked = Request::new("GET", path).header("Host", "localhost").send(PROXY, shop.keygate.check).unwrap();
        assert_eq!((asked.status, asked.body.is_empty()), (200, false), "{path}");
        // On one connection: a body that came all the same would be read as the next answer.
        let mut stream = connect(PROXY, shop.keygate.check).unwrap();
        for _ in 0..2 {
            stream.write_all(&Request::new("HEAD", path).header("Host", "localhost").head()).unwrap();
            let answer = Answer::read(&mut stream, true).unwrap();
            assert_eq!(answer.status, 200, "HEAD {path}");
            assert_eq!(answer.header("content-type"), asked.header("content-type"), "HEAD {path}");
        }
        let posted = Request::new("POST", path).header("Host", "localhost").send(PROXY, shop.keygate.check).unwrap();
        assert!(matches!(posted.status, 404 | 405), "POST {path}: {}", posted.status);
    }
}
