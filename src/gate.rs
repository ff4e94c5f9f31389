//! The only place that joins IO and the domain for a check.

pub mod hasher;
