//! One binary for all black-box tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod commands;
mod compose;
mod conformance;
mod crash;
mod credentials;
mod dangling;
mod guards;
mod guessing;
mod layers;
mod lifecycle;
mod listeners;
mod manual;
mod model;
mod notices;
mod outage;
mod output;
mod parity;
mod portal;
mod properties;
mod protected;
mod proxies;
mod readings;
mod readme;
mod reload;
mod remote;
mod rest;
mod revoked;
mod rights;
mod secrets;
mod sessions;
mod snippets;
mod staleness;
mod support;
mod trail;
mod transcripts;
mod usage;
mod warm;
