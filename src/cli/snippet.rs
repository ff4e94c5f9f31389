//! `keygate snippet`: the example configurations of this repository, filled in with this installation's addresses
//! and header names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Failure, GlobalOptions, output, serve};
use crate::{
    config::Settings,
    domain::identity::{IdentityHeader, IdentityNames},
};

#[derive(Debug, Args)]
pub struct Snippet {
    /// The proxy
    proxy: Proxy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Proxy {
    Nginx,
    Envoy,
    EnvoyGrpc,
    Traefik,
    Caddy,
    Haproxy,
}

/// A file of the example, and how its name is introduced.
type Part = (&'static str, &'static str);

impl Proxy {
    /// What is printed, in order; the tests run these very files.
    fn parts(self) -> &'static [Part] {
        match self {
            Self::Nginx => &[("nginx.conf", include_str!("../../nginx/nginx.conf"))],
            Self::Envoy => &[("envoy.yaml", include_str!("../../envoy/envoy-http.yaml"))],
            Self::EnvoyGrpc => &[("envoy.yaml", include_str!("../../envoy/envoy-grpc.yaml"))],
            Self::Traefik => &[
                ("traefik.yaml", include_str!("../../proxies/traefik/traefik.yaml")),
                ("keygate.yaml", include_str!("../../proxies/traefik/keygate.yaml")),
            ],
            Self::Caddy => &[("Caddyfile", include_str!("../../proxies/Caddyfile"))],
            Self::Haproxy => &[
                ("haproxy.cfg", include_str!("../../proxies/haproxy/haproxy.cfg")),
                ("keygate.lua", include_str!("../../proxies/haproxy/keygate.lua")),
            ],
        }
    }
}

impl Snippet {
    pub(super) fn run(self, global: &GlobalOptions) -> Result<(), Failure> {
        let settings = serve::load(&serve::sources(global))?.settings;
        let parts = self.proxy.parts();
        if settings.check.proxy_secret.is_some() {
            output::note(
                "keygate: check.proxy_secret is set; in what is printed, uncomment the line with X-Auth-Proxy-Secret and put the secret there",
            );
        }
        if global.json {
            let file = |(name, text): &Part| json!({ "name": name, "text": fill_in(text, &settings) });
            output::json(&json!({ "files": parts.iter().map(file).collect::<Vec<_>>() }));
            return Ok(());
        }
        for (name, text) in parts {
            if parts.len() > 1 {
                let is_lua = std::path::Path::new(name).extension().is_some_and(|extension| extension == "lua");
                let comment = if is_lua { "--" } else { "#" };
                output::say(&format!("{comment} ---- {name} ----\n"));
            }
            output::say(&fill_in(text, &settings));
        }
        Ok(())
    }
}

/// Puts addresses and names where the examples have the defaults.
fn fill_in(text: &str, settings: &Settings) -> String {
    let (check, grpc) = (reached_at(settings.check.listen), reached_at(settings.grpc_listen));
    // In YAML an IPv6 address has to stand in quotes, and Envoy wants no brackets here.
    let as_envoy = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => format!("address: {ip}, port_value: {}", address.port()),
        IpAddr::V6(ip) => format!("address: \"{ip}\", port_value: {}", address.port()),
    };
    let text = text
        .replace("127.0.0.1:9180", &check.to_string())
        .replace("address: 127.0.0.1, port_value: 9180", &as_envoy(check))
        .replace("address: 127.0.0.1, port_value: 9182", &as_envoy(grpc));
    rename_headers(text, &settings.identity_names)
}

/// Where a proxy on the same machine reaches a listener: one on every address is reached on loopback.
fn reached_at(mut listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    listener
}

/// The examples offer no token of the session. Where one is wanted, it stands beside the e-mail address everywhere: both are
/// identity and nothing else.
fn with_session_token(text: &str) -> String {
    let other = |line: &str| {
        let words = [("Email", "Session-Token"), ("auth_email", "auth_session_token"), ("auth.email", "auth.session.token")];
        words
            .iter()
            .fold(line.to_owned(), |line, (old, new)| line.replace(old, new))
            .replace("]Session-Token", "]Session[^a-z0-9]Token")
    };
    let is_about = |line: &str| {
        let plain = line.to_ascii_lowercase().replace("[^a-z0-9]", "-").replace(['_', '.'], "-");
        plain.contains("x-auth-email")
    };
    let lines = text.split_inclusive('\n').flat_map(|line| [Some(line.to_owned()), is_about(line).then(|| other(line))]);
    lines.flatten().collect()
}

/// The examples spell each name as it is, with `_` (as NGINX's variables do) and `.`, and as a pattern for its aliases.
fn rename_headers(mut text: String, names: &IdentityNames) -> String {
    let spelled = |name: &str, sign: &str| name.to_ascii_lowercase().replace(['-', '_', '.'], sign);
    let pattern = |name: &str| name.replace(['-', '_', '.'], "[^a-z0-9]");
    if names.get(IdentityHeader::SessionToken).is_some() {
        text = with_session_token(&text);
    }
    // The longest first: no name is then found inside another.
    let mut headers = IdentityHeader::ALL;
    headers.sort_by_key(|header| std::cmp::Reverse(header.x_auth().len()));
    let spellings = |name: &str| [name.to_owned(), pattern(name), spelled(name, "_"), spelled(name, ".")];
    // First a mark for each, then the new names: two headers may swap theirs.
    let mark = |header: IdentityHeader, spelling: usize| format!("\0{}.{spelling}\0", header.key());
    for header in headers {
        for (spelling, old) in spellings(header.x_auth()).iter().enumerate() {
            text = text.replace(old, &mark(header, spelling));
        }
    }
    for (header, name) in names.in_use() {
        for (spelling, new) in spellings(name).iter().enumerate() {
            text = text.replace(&mark(header, spelling), new);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_header_is_renamed_everywhere() {
        let mut names = IdentityNames::default();
        names.rename(IdentityHeader::Account, "X-WEBAUTH-USER").unwrap();
        for proxy in Proxy::value_variants() {
            for (name, text) in proxy.parts() {
                let renamed = rename_headers((*text).to_owned(), &names);
                assert!(!renamed.to_ascii_lowercase().contains("x-auth-account"), "{name}");
                assert!(!renamed.to_ascii_lowercase().contains("x_auth_account"), "{name}");
                assert!(!renamed.to_ascii_lowercase().contains("x.auth.account"), "{name}");
                let expected = text.contains("X-Auth-Account") || text.contains("X[^a-z0-9]Auth[^a-z0-9]Account");
                assert_eq!(renamed.contains("WEBAUTH"), expected, "{name}");
                assert_eq!(rename_headers((*text).to_owned(), &IdentityNames::default()), *text);
            }
        }
    }

    #[test]
    fn two_headers_can_swap_their_names() {
        let mut names = IdentityNames::default();
        for (header, name) in
            [(IdentityHeader::Account, "X-Own"), (IdentityHeader::Name, "X-Auth-Account"), (IdentityHeader::Account, "X-Auth-Name")]
        {
            names.rename(header, name).unwrap();
        }
        let swapped = rename_headers("X-Auth-Account $x_auth_account X-Auth-Name".to_owned(), &names);
        assert_eq!(swapped, "X-Auth-Name $x_auth_name X-Auth-Account");
    }

    #[test]
    fn every_example_has_a_line_for_the_proxy_secret() {
        for proxy in Proxy::value_variants() {
            let all: String = proxy.parts().iter().map(|(_, text)| text.to_ascii_lowercase()).collect();
            assert!(all.contains("# with check.proxy_secret") || all.contains("-- with check.proxy_secret"), "{proxy:?}");
            assert!(all.contains("x-auth-proxy-secret"), "{proxy:?}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        for (listener, reached) in [
            ("0.0.0.0:9180", "127.0.0.1:9180"),
            ("[::]:9180", "[::1]:9180"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(reached_at(listener.parse().unwrap()).to_string(), reached);
        }
    }
}
