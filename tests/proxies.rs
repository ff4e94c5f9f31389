//! The case table through the real proxies, and what else a proxy must show: bodies, a `WebSocket`, Keygate away.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::cases::assert_none;
use crate::support::house::{CLIENT, House};
use crate::support::http::{Answer, Request, connect};
use crate::support::programs::wait_for;
use crate::support::proxy::{Proxy, Running};
use crate::support::upstream::{ID, WEBSOCKET_KEY, sha256};

/// Everything a proxy must show, with one Keygate.
fn guards_a_site(proxy: Proxy) {
    let mut house = House::new();
    let running = proxy.start(&house);
    let failures = house.run(proxy.name(), running.address);
    assert_none(&failures, &running.whom());
    bodies_arrive_whole(&house, &running);
    a_chunked_body_arrives_whole(&house, &running);
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

/// A body whose length nobody knows before it ends.
fn a_chunked_body_arrives_whole(house: &House, running: &Running) {
    let mut request = Request::new("POST", "/orders/7")
        .header("Host", "shop.example.com")
        .header("Authorization", house.authorization("vera"))
        .header("Transfer-Encoding", "chunked");
    request.body = b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n".to_vec();
    let (answer, seen) = house.send(request, running.address).expect("the proxy answers");
    assert_eq!((answer.status, seen.len()), (200, 1), "{}", running.whom());
    assert_eq!(seen[0].sha256, sha256(b"hello, world"), "{}", running.whom());
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
