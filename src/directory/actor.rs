//! On whose behalf a record is changed, and whether he may.

use std::fmt;

use super::DirectoryError;
use crate::domain::token::Creator;

/// Who asks. Whoever may open the control socket stands above all accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody at the control socket, by the user id of his process.
    Control { uid: u32 },
    /// Keygate itself, by the name of what it was doing.
    System(&'static str),
}

impl Actor {
    /// Everything in the directory is a superuser's business.
    ///
    /// # Errors
    /// `Refused` for anybody who is none.
    #[expect(clippy::unnecessary_wraps, reason = "only superusers get here until tokens and sessions reach the management API")]
    pub(super) fn may_administer(&self) -> Result<(), DirectoryError> {
        match self {
            Self::Control { .. } | Self::System(_) => Ok(()),
        }
    }

    pub(super) fn as_creator(&self) -> Creator {
        Creator { account: self.to_string(), credential: None }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control { uid } => write!(f, "control:{uid}"),
            Self::System(name) => write!(f, "system:{name}"),
        }
    }
}
