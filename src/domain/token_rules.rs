//! What an operator demands of the life of tokens: how long they may live, when their owners are warned, and how long
//! the record of an ended one stays.
//!
//! Knows no token and no clock; who applies the rules brings both.

use std::time::Duration;

/// The rules. Every duration in here is above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// What a new token gets that asks for no end. `None`: it does not end by itself. Never above `max_expiry`.
    pub default_expiry: Option<Duration>,
    /// The farthest end that a new token may have.
    pub max_expiry: Option<Duration>,
    /// A new token without an end is refused.
    pub must_expire: bool,
    /// A token that ends within this is warned about, once.
    pub warn_before: Duration,
    /// A token that was not used for this long is warned about, once.
    pub unused_after: Duration,
    /// A token that was not used for this long is revoked. Never below `unused_after`.
    pub revoke_unused_after: Option<Duration>,
    /// How long the record of a token that has expired, was revoked or superseded stays to be seen.
    pub keep_ended: Duration,
    pub on_leak: OnLeak,
}

const DAY: Duration = Duration::from_hours(24);

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            default_expiry: None,
            max_expiry: None,
            must_expire: false,
            warn_before: DAY * 14,
            unused_after: DAY * 90,
            revoke_unused_after: None,
            keep_ended: DAY * 90,
            on_leak: OnLeak::default(),
        }
    }
}

/// What follows when somebody still uses the predecessor of a rotated token after its grace: it may have leaked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLeak {
    /// The event is reported, and no more.
    #[default]
    Report,
    /// The tokens that came of the predecessor by rotation are revoked too.
    RevokeFamily,
}
