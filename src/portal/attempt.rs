//! Why a password did not help, in the words of the forms that ask for one.

use std::{fmt, time::Duration};

use actix_web::{HttpResponse, http::header::RETRY_AFTER};

use super::{
    Refusal,
    times::{Shown, in_words},
};
use crate::{directory::DirectoryError, domain::time::Timestamp};

/// Somebody gave a password, and is not let in by it.
pub(super) enum Failed {
    Wrong,
    /// Too many passwords are being looked at.
    Busy,
    /// Nobody can look at it: the store cannot be reached.
    Away,
    /// Too many attempts have failed; for good unless it is said until when, and in how many seconds that is.
    Blocked(Option<(Shown, u64)>),
}

impl Failed {
    pub fn blocked(until: Option<Timestamp>, now: Timestamp) -> Self {
        let seconds = |until: Timestamp| u64::try_from(until.as_millis() - now.as_millis()).unwrap_or_default().div_ceil(1000);
        Self::Blocked(until.map(|until| (Shown::new(until, now), seconds(until))))
    }

    /// # Errors
    /// When it is not about the password.
    pub fn read(error: DirectoryError, now: Timestamp) -> Result<Self, Refusal> {
        match error {
            DirectoryError::Refused { code: "wrong_password" | "wrong_code", .. } => Ok(Self::Wrong),
            DirectoryError::Blocked { until } => Ok(Self::blocked(until, now)),
            DirectoryError::Busy => Ok(Self::Busy),
            error => Err(error.into()),
        }
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::Wrong => 403,
            Self::Busy | Self::Away => 503,
            Self::Blocked(_) => 429,
        }
    }

    /// Says in the header when it may be tried again.
    pub fn add_retry_after(&self, response: &mut HttpResponse) {
        let seconds = match self {
            Self::Busy | Self::Away => 5,
            Self::Blocked(Some((_, seconds))) => *seconds,
            Self::Wrong | Self::Blocked(None) => return,
        };
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong => f.write_str("The password is wrong."),
            Self::Busy => f.write_str("Too many people are signing in at this moment. Try again in a few seconds."),
            Self::Away => f.write_str("Keygate cannot reach its store, so you are not signed in. Try again in a moment."),
            Self::Blocked(None) => f.write_str("Too many failed attempts. Ask the operator to let you in."),
            Self::Blocked(Some((until, seconds))) => {
                let wait = in_words(Duration::from_secs(*seconds).max(Duration::from_mins(1)));
                write!(f, "Too many failed attempts. Try again in {wait}, at {}.", until.date)
            }
        }
    }
}
