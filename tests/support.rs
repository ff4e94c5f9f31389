//! What several tests need.

pub mod control;
pub mod redis;
