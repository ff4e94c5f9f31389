//! Why a use case did not happen. Nothing of it did.

use crate::{
    domain::{authority::Denied, decision::Reason, text::Invalid, time::Timestamp},
    gate::hasher::Busy,
    store::{StoreError, Trouble, record::Made},
};

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
    /// The actor may not, or a rule forbids it as things stand. `field` is the part of the request that goes too far.
    #[error("{detail}")]
    Refused { code: &'static str, field: Option<&'static str>, detail: String },
    /// The credential is not good for management.
    #[error("{}", reason(*.0))]
    Unauthenticated(Reason),
    /// A request under the same idempotency key has been carried out, and came to this.
    #[error("this request has been carried out before")]
    Replayed(Made),
    /// The record is not the version that the caller has seen.
    #[error("the record has version {current} now; read it again")]
    Precondition { current: u64 },
    /// Others kept changing the same records.
    #[error("the record was changed meanwhile; try again")]
    Contended,
    /// Too many attempts have failed; `None`: until somebody changes that.
    #[error("too many attempts have failed; try again later")]
    Blocked { until: Option<Timestamp> },
    /// The store has records from before there were orders, which are being put in.
    #[error("the lists are being put in order, once after an update, which takes some minutes; ask without `sort`, or later")]
    ListsInTheMaking,
    /// Too many passwords are waiting to be hashed.
    #[error("too many passwords are being hashed; try again in a moment")]
    Busy,
    #[error("{}", trouble(.0))]
    Store(#[from] StoreError),
}

impl DirectoryError {
    pub(super) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { what, name: name.into() }
    }

    pub(super) fn refused(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused { code, field: None, detail: detail.into() }
    }

    /// Whether it was done all the same: too few replicas of the store have confirmed it.
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        matches!(self, Self::Store(error) if error.trouble == Trouble::Unconfirmed)
    }

    /// Whether the store has no room for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Store(error) if error.trouble == Trouble::Full)
    }

    /// Whether it may have been done or not: the store's answer was lost.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Store(error) if error.trouble == Trouble::Open)
    }

    /// Fails when the caller has seen another version than there is.
    pub(super) fn unless_seen(seen: Option<u64>, current: u64) -> Result<(), Self> {
        match seen {
            Some(version) if version != current => Err(Self::Precondition { current }),
            _ => Ok(()),
        }
    }
}

/// What is to be done about the store.
fn trouble(error: &StoreError) -> String {
    match (&error.trouble, error.transient) {
        (Trouble::Open, _) => {
            "the store's answer was lost, so this may or may not have been done; look before you ask for it again".to_owned()
        }
        (Trouble::Unconfirmed, _) => {
            "this was done, but too few replicas of the store have confirmed it, and a failover could undo it; ask for it again, \
             until it is done or, where something was deleted, not found: then it is confirmed"
                .to_owned()
        }
        (Trouble::Full, _) => {
            "Redis is full (its `maxmemory`), so nothing was done; give it more memory. What takes away can be done all the same"
                .to_owned()
        }
        (Trouble::Damaged(record), _) => format!("the record {record} in the store cannot be read; the log says why"),
        (Trouble::Plain, true) => "the store cannot be reached at the moment, and nothing was done; try again".to_owned(),
        (Trouble::Plain, false) => "the store did not answer as it should; the log says more".to_owned(),
    }
}

/// What the one who asks has to do.
fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Scope => "this token does not have the scope `manage`; only tokens made with it reach the management API",
        reason => reason.explanation(),
    }
}

impl From<Denied> for DirectoryError {
    fn from(Denied { code, field, detail }: Denied) -> Self {
        Self::Refused { code, field, detail }
    }
}

impl From<Busy> for DirectoryError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}
