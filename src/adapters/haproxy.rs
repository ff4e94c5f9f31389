//! `HAProxy`, asking by a small Lua action (`proxies/haproxy`): described like NGINX, by HEAD or GET, answered with the
//! real status.

use super::{Carries, Dialect, nginx, plain_status};

pub const DIALECT: Dialect = Dialect {
    name: "haproxy",
    path: "/auth/haproxy",
    takes_rest: false,
    describe: nginx::describe,
    status: |reason, wire| plain_status(reason, wire.outage.haproxy, 503, 503),
    removes_headers: false,
    carries: Carries::Heads,
    returns_cookies: false,
};
