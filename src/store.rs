//! Where records live. One trait, several backends, and one conformance suite that each of them passes.
//!
//! A store is a map from keys to records, sorted indexes beside it for the lists, and one way to change
//! them: a [`Change`], applied whole or not at all, each part of it conditional on the version its author
//! has read. What the records mean is the directory's business; what a request may do is the gate's.
//!
//! # A new backend
//!
//! 1. Implement [`Store`] in a folder of its own. Keys and indexes come as strings ([`Key::name`],
//!    [`Index::name`]), records as JSON with a `version` member; a backend reads no other member.
//! 2. Reads see every change acknowledged before they began; an acknowledged change survives `kill -9`
//!    as far as the medium can.
//! 3. Say `transient` truly: a check turns it into "try again", never into "unknown".
//! 4. Add one line to `tests/conformance.rs`, and one arm to `app.rs`.

pub mod embedded;
pub mod record;
pub mod redis;

use async_trait::async_trait;

pub use record::{Index, Key, Record};

/// A record as a backend keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub version: u64,
    /// The record as JSON; its member `version` is the same number.
    pub json: String,
}

impl Stored {
    /// Versions stay below this, where every backend, and every reader of JSON, compares them exactly.
    pub const VERSION_LIMIT: u64 = 1 << 53;

    fn check_version(&self) -> Result<(), StoreError> {
        if self.version < Self::VERSION_LIMIT { Ok(()) } else { Err(StoreError::permanent("a record's version is beyond 2^53")) }
    }
}

/// What must be true of a key for a change to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Version(u64),
    /// There is a record, of whatever version.
    Present,
}

/// One step of a change. All preconditions are checked before the first step is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Put(Key, Stored),
    Delete(Key),
    /// Adds a member to an index; adding it twice is adding it once.
    AddTo(Index, String),
    RemoveFrom(Index, String),
}

/// A set of preconditions and steps that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub expect: Vec<(Key, Expect)>,
    pub steps: Vec<Step>,
}

/// Why a store did not answer. The driver's own error ends here; its text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// Whether the same call may well succeed in a moment (no connection, time-out), as opposed to a
    /// damaged record or a store that refuses.
    pub transient: bool,
    pub message: String,
}

impl StoreError {
    pub fn transient(message: impl Into<String>) -> Self {
        Self { transient: true, message: message.into() }
    }

    pub fn permanent(message: impl Into<String>) -> Self {
        Self { transient: false, message: message.into() }
    }
}

/// Why a change was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// This key was not as the change expected: somebody else was faster. Nothing was applied.
    #[error("the record has changed meanwhile")]
    Conflict(Key),
    /// Never applied in part. Where the answer was lost on its way, the message says that the whole of it may
    /// or may not have been applied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One page of an index, in the order of its members' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub members: Vec<String>,
    /// Whether there are members after the last one here.
    pub more: bool,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The records under `keys`, in their order; `None` where there is none. One round trip.
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError>;

    /// Up to `limit` members of an index that sort after `after` (byte order), from the first without it.
    async fn page(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;

    /// Applies a change whole or not at all; durable when it returns `Ok`.
    async fn commit(&self, change: Change) -> Result<(), CommitError>;

    /// Whether the store would answer now.
    async fn ping(&self) -> Result<(), StoreError>;
}
