//! Traefik `ForwardAuth`: described by `X-Forwarded-*`, which Traefik overwrites unless it trusts the hop before it;
//! any 2xx passes, anything else goes to the client as it is. Traefik can only remove or replace a whole `Cookie`, so the
//! answer holds the cookies that may go on, for `authResponseHeaders`.

use super::{
    Carries, Dialect,
    headers::{Describing, Incoming},
    plain_status,
    wire::{Question, Wire},
};
use crate::domain::decision::Reason;

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
    incoming.protocol(Describing::ForwardedProto)?;
    Ok(Question {
        method: incoming.required(Describing::ForwardedMethod)?,
        target: incoming.required(Describing::ForwardedUri)?.as_bytes(),
        host: incoming.required(Describing::ForwardedHost)?,
        client: incoming.forwarded_for(&wire.trusted_proxies)?,
    })
}
