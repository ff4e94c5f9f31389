//! The black-box suite: one binary, so that the support code is built once.

mod compose;
mod guards;
mod parity;
mod proxies;
mod support;
