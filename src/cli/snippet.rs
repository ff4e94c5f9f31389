//! `keygate snippet`: the example configurations of this repository, filled in with this installation's addresses
//! and header names.

use clap::{Args, ValueEnum};

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
    let (check, grpc) = (settings.check.listen, settings.grpc_listen);
    let as_envoy = |address: std::net::SocketAddr| format!("address: {}, port_value: {}", address.ip(), address.port());
    let text = text
        .replace("127.0.0.1:9180", &check.to_string())
        .replace("address: 127.0.0.1, port_value: 9180", &as_envoy(check))
        .replace("address: 127.0.0.1, port_value: 9182", &as_envoy(grpc));
    rename_headers(text, &settings.identity_names)
}

/// The examples spell each name as it is, with `_` (as NGINX's variables do) and `.`, and as a pattern for its aliases.
fn rename_headers(mut text: String, names: &IdentityNames) -> String {
    let defaults = IdentityNames::default();
    let spelled = |name: &str, sign: &str| name.to_ascii_lowercase().replace(['-', '_', '.'], sign);
    let pattern = |name: &str| name.replace(['-', '_', '.'], "[^a-z0-9]");
    // The longest first: no name is then found inside another.
    let mut headers = IdentityHeader::ALL;
    headers.sort_by_key(|header| std::cmp::Reverse(defaults.get(*header).len()));
    for header in headers {
        let (old, new) = (defaults.get(header), names.get(header));
        if old != new {
            text = text.replace(old, new).replace(&pattern(old), &pattern(new));
            for sign in ["_", "."] {
                text = text.replace(&spelled(old, sign), &spelled(new, sign));
            }
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
                assert!(!renamed.contains("x_auth_account"), "{name}");
                assert_eq!(renamed.contains("WEBAUTH"), text.contains("X-Auth-Account"), "{name}");
            }
        }
    }
}
