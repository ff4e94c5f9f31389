//! What Keygate knows and how it decides: values, rules and one pure function.
//!
//! No IO, no async, no clock, no framework in here. Everything that comes from outside becomes one
//! of these types by `parse`, once, at the edge; what cannot be represented here cannot happen.

pub mod access;
pub mod account;
pub mod authority;
pub mod cookie;
pub mod csrf;
pub mod decide;
pub mod decision;
pub mod event;
pub mod factor;
pub mod fetch;
pub mod few;
pub mod guessing;
pub mod held;
pub mod id;
pub mod identity;
pub mod key;
pub mod origin;
pub mod parameters;
pub mod password;
pub mod policy;
pub mod presented;
pub mod request;
pub mod seal;
pub mod session;
pub mod site;
pub mod text;
pub mod time;
pub mod token;
pub mod token_rules;
pub mod trust;
