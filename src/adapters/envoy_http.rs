//! Envoy `ext_authz` over HTTP: the check is the request itself, behind a path prefix. Only 200 passes. A 5xx is an
//! error to Envoy, and with `failure_mode_allow` an open door; so an outage is 403 unless configured otherwise.

use super::{
    Carries, Dialect,
    headers::{Describing, Incoming},
    plain_status,
    wire::{Question, Wire},
};
use crate::domain::decision::Reason;

pub const DIALECT: Dialect = Dialect {
    name: "envoy",
    path: "/auth/envoy",
    takes_rest: true,
    describe,
    status: |reason, wire| plain_status(reason, wire.outage.envoy, 403, 503),
    removes_headers: true,
    carries: Carries::Everything,
    returns_cookies: false,
};

fn describe<'r>(incoming: &Incoming<'r>, wire: &Wire) -> Result<Question<'r>, Reason> {
    let target = incoming.target().strip_prefix(DIALECT.path).filter(|rest| rest.starts_with('/'));
    // Envoy passes X-Forwarded-For as the client wrote it, unless its listener uses the remote address.
    let client = if wire.envoy_use_remote_address { incoming.forwarded_for(&wire.trusted_proxies)? } else { None };
    Ok(Question {
        method: incoming.method(),
        target: target.ok_or(Reason::MissingDescription)?.as_bytes(),
        host: incoming.required(Describing::Host)?,
        client,
    })
}
