//! NGINX `auth_request`. It knows 2xx, 401 and 403; anything else is an error, which it turns into 500. So a
//! refusal is 401 or 403, and `X-Auth-Status` tells the configuration what it really was.

use super::{
    Carries, Dialect,
    headers::{Describing, Incoming},
    wire::{Question, Wire},
};
use crate::domain::decision::{OutagePolicy, Reason};

pub const DIALECT: Dialect = Dialect {
    name: "nginx",
    path: "/auth/nginx",
    takes_rest: false,
    describe,
    status,
    removes_headers: false,
    carries: Carries::Refusals,
    returns_cookies: false,
};

/// The description in `X-Original-*`, all of which the configuration must overwrite: a subrequest inherits the client's headers.
pub(super) fn describe<'r>(incoming: &Incoming<'r>, _: &Wire) -> Result<Question<'r>, Reason> {
    incoming.protocol(Describing::OriginalProto)?;
    Ok(Question {
        method: incoming.required(Describing::OriginalMethod)?,
        target: incoming.required(Describing::OriginalUri)?.as_bytes(),
        host: incoming.required(Describing::OriginalHost)?,
        client: incoming.address(Describing::RealIp)?,
    })
}

fn status(reason: Reason, wire: &Wire) -> u16 {
    match (reason.status(), wire.outage.nginx) {
        (401, _) => 401,
        // NGINX answers 500: closed, and visible as an error.
        (503, OutagePolicy::Error) if reason.is_outage() => 503,
        _ => 403,
    }
}
