//! What happens when a guard is taken away: from an example file, from Keygate, from Envoy's failure mode. The case
//! table must turn red, or it would not be known to see anything.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::cases::{IDENTITY, assert_red, is_identity};
use crate::support::house::{Furnish, House, POLICY};
use crate::support::http::Request;
use crate::support::proxy::Proxy;

#[test]
fn every_example_names_the_whole_set() {
    for proxy in [Proxy::NginxDebian, Proxy::EnvoyHttp, Proxy::EnvoyGrpc, Proxy::Traefik, Proxy::Caddy, Proxy::Haproxy] {
        let read = |file| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the example is there");
        let text: String = proxy.files().iter().map(|(file, _)| read(file)).collect();
        for name in IDENTITY {
            // Over gRPC, Keygate names what is set; the example only what is taken away.
            assert!(proxy == Proxy::EnvoyGrpc || text.contains(name), "{} forgets {name}", proxy.name());
            // NGINX and Caddy have no patterns, and drop every name with another sign.
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
        lines: &["remove_on_match"],
        instead: &[],
        row: "forged identity, other spellings",
    },
    Guard {
        what: "strip, all spellings",
        proxy: Proxy::EnvoyHttp,
        lines: &["regex: \"[^:]*[^:a-z0-9-].*\""],
        instead: &[],
        row: "another method in a header, other spellings",
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
        row: "forged host",
    },
    Guard {
        what: "strip",
        proxy: Proxy::Haproxy,
        lines: &["http-request del-header (?i)", "http-request del-header [^"],
        instead: &[],
        row: "forged identity, other spellings",
    },
    Guard {
        what: "strip, all spellings",
        proxy: Proxy::Haproxy,
        lines: &["http-request del-header [^"],
        instead: &[],
        row: "another method in a header, other spellings",
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
        if strip { text } else { without_lines(&text, &["remove_on_match"]) }
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
