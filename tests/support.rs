//! What several tests need: real programs, a demo upstream, a raw HTTP client, a Keygate of their own.
//!
//! Nothing here knows what is right: the case table does.

pub mod authenticator;
pub mod axe;
pub mod browser;
pub mod cases;
pub mod clock;
pub mod command;
pub mod control;
pub mod dialects;
pub mod faulty;
pub mod history;
pub mod house;
pub mod http;
pub mod keygate;
pub mod monitor;
pub mod network;
pub mod portal;
pub mod programs;
pub mod proxy;
pub mod redis;
pub mod redis_cluster;
pub mod redis_sentinel;
pub mod shop;
pub mod steady;
pub mod upstream;
pub mod visitor;

/// How many cases to try: few by default, many in the long form of the tests (`tests/run --full`).
pub fn cases_to_run(by_default: u32, in_full: u32) -> u32 {
    if std::env::var_os("KEYGATE_TEST_FULL").is_some() { in_full } else { by_default }
}
