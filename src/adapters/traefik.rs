//! Traefik `ForwardAuth`: described by `X-Forwarded-*`, which Traefik overwrites unless it trusts the hop before it;
//! any 2xx passes, anything else goes to the client as it is. Traefik can only remove or replace a whole `Cookie`, so the
//! answer holds the cookies that may go on, for `authResponseHeaders`.

use actix_web::http::header::HeaderName;

use super::{
    Carries, Dialect,
    headers::Incoming,
    plain_status,
    wire::{Question, Wire},
};
use crate::domain::decision::Reason;

static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
static X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

pub const DIALECT: Dialect = Dialect {
    name: "traefik",
    path: "/auth/traefik",
    takes_rest: false,
    describe,
    status: |reason, wire| plain_status(reason, wire.outage.traefik, 503, 503),
    removes_headers: false,
    carries: Carries::Everything,
    returns_cookies: true,
};

pub(super) fn describe<'r>(incoming: &Incoming<'r>, wire: &Wire) -> Result<Question<'r>, Reason> {
    incoming.protocol(&X_FORWARDED_PROTO)?;
    Ok(Question {
        method: incoming.required(&X_FORWARDED_METHOD)?,
        target: incoming.required(&X_FORWARDED_URI)?.as_bytes(),
        host: incoming.required(&X_FORWARDED_HOST)?,
        client: incoming.forwarded_for(&wire.trusted_proxies)?,
    })
}
