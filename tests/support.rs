//! What several tests need: real programs, a demo upstream, a raw HTTP client, a Keygate of their own.
//!
//! Nothing here knows what is right: the case table does.

pub mod cases;
pub mod control;
pub mod house;
pub mod http;
pub mod keygate;
pub mod programs;
pub mod proxy;
pub mod redis;
pub mod upstream;
