//! The proxies' dialects: how each one describes the request it asks about, and what answer it understands.
//! One file a dialect; all of them go through the one gate. Nothing here decides.

pub mod caddy;
pub mod challenges;
pub mod check;
pub mod envoy_grpc;
pub mod envoy_http;
pub mod haproxy;
pub mod headers;
pub mod http;
pub mod nginx;
pub mod own;
pub mod record;
pub mod refusal;
pub mod reply;
pub mod traefik;
pub mod wire;

use actix_web::HttpResponse;

use crate::domain::decision::{OutagePolicy, Reason};
use headers::Incoming;
use wire::{Question, Wire};

/// One proxy's dialect over HTTP.
pub struct Dialect {
    /// Its name in configuration, logs and metrics.
    pub name: &'static str,
    /// Its path. It is chosen by the raw path, which no proxy and no client has normalised.
    pub path: &'static str,
    /// Whether what follows the path belongs to the request that is judged.
    pub takes_rest: bool,
    /// Finds the description of the request in what the proxy sent.
    pub describe: for<'r> fn(&Incoming<'r>, &Wire) -> Result<Question<'r>, Reason>,
    /// The status this proxy needs to see for a refusal.
    pub status: fn(Reason, &Wire) -> u16,
    /// Whether the proxy passes removals of request headers (`x-envoy-auth-headers-to-remove`).
    pub removes_headers: bool,
    /// What of an answer that is no allow comes to the client.
    pub carries: Carries,
    /// Whether the proxy replaces the request's `Cookie` by the answer's, so that our own cookie can be kept back.
    pub returns_cookies: bool,
}

/// What a proxy can make of an answer that is no allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// The client gets it as it is.
    Everything,
    /// The client gets it without its body: pages are fetched by requests of their own.
    Heads,
    /// It is a refusal. Where a browser is to be sent, the proxy is told beside one, by `X-Auth-Redirect`.
    Refusals,
}

const DIALECTS: [&Dialect; 5] = [&nginx::DIALECT, &envoy_http::DIALECT, &traefik::DIALECT, &caddy::DIALECT, &haproxy::DIALECT];

/// Answers a check of which everything is known already, as most are. Of everything else, `None`: [`answer`].
#[must_use]
pub fn answer_at_once(incoming: &Incoming<'_>, wire: &Wire) -> Option<HttpResponse> {
    wire.answer_at_once(dialect(incoming.path())?, incoming)
}

/// Answers everything under `/auth/` and `/.keygate/`.
pub async fn answer(incoming: &Incoming<'_>, wire: &Wire) -> HttpResponse {
    let path = incoming.path();
    if path.starts_with(own::PREFIX) {
        return http::over_http(&own::answer(incoming, wire).await);
    }
    if path == check::PATH {
        return check::answer(incoming, wire).await;
    }
    match dialect(path) {
        Some(dialect) => wire.answer(dialect, incoming).await,
        None => {
            HttpResponse::NotFound().content_type("text/plain").body("no such endpoint; see the table of endpoints in the README\n")
        }
    }
}

/// The dialect that this path belongs to.
fn dialect(path: &str) -> Option<&'static Dialect> {
    DIALECTS.into_iter().find(|dialect| match path.strip_prefix(dialect.path) {
        Some("") => true,
        Some(rest) => dialect.takes_rest && rest.starts_with('/'),
        None => false,
    })
}

/// The refusal's own status, but where nothing can be said: `deny` and `error` are the two statuses given.
fn plain_status(reason: Reason, outage: OutagePolicy, on_deny: u16, on_error: u16) -> u16 {
    match (reason.status(), outage) {
        (503, OutagePolicy::Error) if reason.is_outage() => on_error,
        (503, _) => on_deny,
        (status, _) => status,
    }
}
