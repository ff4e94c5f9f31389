//! Keygate answers one question for a proxy: may this request pass, and who is it?
//!
//! The way a request takes:
//!
//! ```text
//! wire in ─parse→ CheckRequest ─gather (IO)→ Snapshot ─decide (pure)→ Decision ─render→ wire out
//! adapters/*      domain          gate          domain        domain      domain     adapters/*
//! ```
//!
//! [`domain`] knows the rules and does no IO. [`store`] keeps records. [`gate`] joins the two for a check.
//! [`directory`] changes records for people; [`api`], [`portal`] and [`cli`] are the ways to it. [`counts`] has what
//! was decided lately. [`config`] turns a file into settings, and [`app`] builds everything from them.

pub mod adapters;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counts;
pub mod directory;
pub mod domain;
pub mod gate;
pub mod metrics;
pub mod portal;
pub mod store;
pub mod tally;
pub mod telemetry;
