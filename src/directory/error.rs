//! Why a use case did not happen. Nothing of it did.

use crate::{domain::text::Invalid, gate::hasher::Busy, store::StoreError};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    #[error("there is no {what} `{name}`")]
    NotFound { what: &'static str, name: String },
    /// A value that no record may have.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A login, e-mail address, host or site id that belongs to somebody else.
    #[error("{detail}")]
    Taken { code: &'static str, field: &'static str, detail: String },
    /// A rule forbids it as things stand.
    #[error("{detail}")]
    Refused { code: &'static str, detail: String },
    /// The record is not the version that the caller has seen.
    #[error("the record has version {current} now; read it again")]
    Precondition { current: u64 },
    /// Others kept changing the same records.
    #[error("the record was changed meanwhile; try again")]
    Contended,
    /// Too many passwords are waiting to be hashed.
    #[error("too many passwords are being hashed; try again in a moment")]
    Busy,
    #[error("the store did not answer as it should; the log says more")]
    Store(#[from] StoreError),
}

impl DirectoryError {
    pub(super) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { what, name: name.into() }
    }

    pub(super) fn refused(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused { code, detail: detail.into() }
    }

    /// Fails when the caller has seen another version than there is.
    pub(super) fn unless_seen(seen: Option<u64>, current: u64) -> Result<(), Self> {
        match seen {
            Some(version) if version != current => Err(Self::Precondition { current }),
            _ => Ok(()),
        }
    }
}

impl From<Busy> for DirectoryError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}
