//! Caddy `forward_auth`: described like Traefik, by `X-Forwarded-*`; 2xx passes, anything else goes to the client.

use super::{Carries, Dialect, plain_status, traefik};

pub const DIALECT: Dialect = Dialect {
    name: "caddy",
    path: "/auth/caddy",
    takes_rest: false,
    describe: traefik::describe,
    status: |reason, wire| plain_status(reason, wire.outage.caddy, 503, 503),
    removes_headers: false,
    carries: Carries::Everything,
    returns_cookies: false,
};
