//! Where records live. One trait, several backends, and one conformance suite that each of them passes.
//!
//! A store is a map from keys to records, sorted indexes beside it for the lists, and one way to change
//! them: a [`Change`], applied whole or not at all, each part of it conditional on the version its author
//! has read. Beside the records it keeps the audit trail ([`Trail`]), whose entry is a part of the change it
//! tells of, the last use of each token, which is no part of its record, and for a while what servers publish of themselves.
//! What the records mean is the
//! directory's business; what a request may do is the gate's.
//!
//! # A new backend
//!
//! 1. Implement [`Store`] in a folder of its own. Keys and indexes come as strings ([`Key::name`],
//!    [`Index::name`]), records as JSON with a `version` member; a backend reads no other member.
//! 2. Reads see every change acknowledged before they began; an acknowledged change survives `kill -9`
//!    as far as the medium can.
//! 3. Say `transient` truly: a check turns it into "try again", never into "unknown".
//! 4. Tell the memory of a change before it is acknowledged ([`Coherence::always`]), or say up to when it was told.
//! 5. Add one line to `tests/conformance.rs`, and one arm to `app/stores.rs`.

pub mod coherence;
pub mod embedded;
pub mod live;
pub mod record;
pub mod redis;
pub mod trail;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use coherence::{Coherence, Memory, Partition};
pub use live::Live;
pub use record::{Index, Key, Record};
pub use trail::{Entry, EntryId, Order, Trail};

use crate::domain::{
    id::ReplicaId,
    time::Timestamp,
    token::{LastUse, TokenId},
};

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
}

/// One step of a change. All preconditions are checked before the first step is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Put(Key, Stored),
    /// The record may be forgotten some time after this, and not before. Whether it is still good is not the store's
    /// business: it is housekeeping, by the clock of the store.
    PutUntil(Key, Stored, Timestamp),
    Delete(Key),
    /// Adds a member to an index; adding it twice is adding it once.
    AddTo(Index, String),
    RemoveFrom(Index, String),
    /// Removes all members of an index.
    Clear(Index),
}

impl Step {
    /// The record that this changes.
    #[must_use]
    pub fn record(&self) -> Option<&Key> {
        match self {
            Self::Put(key, _) | Self::PutUntil(key, _, _) | Self::Delete(key) => Some(key),
            Self::AddTo(..) | Self::RemoveFrom(..) | Self::Clear(_) => None,
        }
    }
}

/// A set of preconditions and steps that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub expect: Vec<(Key, Expect)>,
    /// How many members an index has: for who has read all of it, and must not miss one that is added meanwhile.
    pub counts: Vec<(Index, u64)>,
    pub steps: Vec<Step>,
    /// Goes to [`Trail::Changes`], with the steps or not at all.
    pub entries: Vec<Entry>,
    /// This change takes rights away. It is applied also where its entries cannot be written, and where the store
    /// has no memory left to give rights with.
    pub takes_away: bool,
    /// Among others, this change takes something away: an old password, a token's predecessor. What holds for one that only
    /// does that holds for it, too: replicas confirm it, and a store that has lost it is found out.
    pub must_hold: bool,
}

impl Change {
    /// Whether replicas must confirm it, and a store without it is one that went back in time.
    #[must_use]
    pub fn is_to_hold(&self) -> bool {
        self.takes_away || self.must_hold
    }

    /// Where all of it lies, as far as [`Self::check_family`] finds nothing wrong.
    fn partition(&self) -> Partition {
        let mut keys = self.expect.iter().map(|(key, _)| key).chain(self.steps.iter().filter_map(Step::record));
        keys.next().map_or(Partition::DIRECTORY, Key::partition)
    }

    /// All records of a change lie in one family of sessions, or outside of all: in a Redis cluster they would otherwise
    /// lie on several nodes, and could not change together. What is beside the records lies outside.
    fn check_family(&self) -> Result<(), StoreError> {
        let of_steps = self.steps.iter().map(|step| step.record().and_then(Key::family));
        let beside = self.counts.iter().map(|_| None).chain(self.entries.iter().map(|_| None));
        let mut families = self.expect.iter().map(|(key, _)| key.family()).chain(of_steps).chain(beside);
        let first = families.next().flatten();
        if families.all(|family| family == first) {
            Ok(())
        } else {
            Err(StoreError::permanent("a change is for the records of one family of sessions, or for none"))
        }
    }
}

/// Why a store did not answer. The driver's own error ends here; its text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// Whether the same call may well succeed in a moment (no connection, time-out), as opposed to a
    /// damaged record or a store that refuses.
    pub transient: bool,
    pub message: String,
    /// What whoever asked has to know.
    pub trouble: Trouble,
}

/// The kinds of trouble with a store that call for different things to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing was done.
    Plain,
    /// Of a change: nobody knows whether the whole of it was applied.
    Open,
    /// Of a change: it was applied, and fewer replicas than were asked for have confirmed that they have it.
    Unconfirmed,
    /// This record is damaged, or of a later version.
    Damaged(String),
    /// The store has no room for more. What takes away, it takes all the same.
    Full,
}

impl StoreError {
    pub fn transient(message: impl Into<String>) -> Self {
        Self { transient: true, message: message.into(), trouble: Trouble::Plain }
    }

    pub fn permanent(message: impl Into<String>) -> Self {
        Self { transient: false, message: message.into(), trouble: Trouble::Plain }
    }

    #[must_use]
    pub fn with(self, trouble: Trouble) -> Self {
        Self { trouble, ..self }
    }
}

/// Why a change was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// This key was not as the change expected: somebody else was faster. Nothing was applied.
    #[error("the record has changed meanwhile")]
    Conflict(Key),
    /// This index does not have as many members as the change expected. Nothing was applied.
    #[error("the list has changed meanwhile")]
    Miscounted(Index),
    /// Never applied in part. Where the answer was lost on its way, the message says that the whole of it may
    /// or may not have been applied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// In which direction an order is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    #[default]
    Ascending,
    Descending,
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
    /// From now on tells `memory` of every record that changes; the answer says how far it has been told. There is one memory.
    ///
    /// A record that is read while its partition is not vouched for is told of as changed before it is handed out, so that
    /// nobody keeps it.
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence>;

    /// The records under `keys`, in their order; `None` where there is none. One round trip.
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError>;

    /// Up to `limit` members of an index, in the order of their bytes or against it, that come after `after`; from the very
    /// end of that side without it.
    async fn page_in(&self, index: &Index, direction: Direction, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;

    /// As [`Self::page_in`], in the order of the bytes.
    async fn page(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.page_in(index, Direction::Ascending, after, limit).await
    }

    /// Applies a change whole or not at all; durable when it returns `Ok`. The error names the first condition that does
    /// not hold, `expect` before `counts`.
    async fn commit(&self, change: Change) -> Result<(), CommitError>;

    /// Adds to a trail without a change, and lets go of the oldest entries beyond about `at_most`.
    async fn append(&self, trail: Trail, entry: Entry, at_most: u64) -> Result<(), StoreError>;

    /// Up to `limit` entries of a trail, in `order`, beginning just past `past` (before it, for the newest first), from
    /// the very end of that side without it.
    async fn entries(
        &self,
        trail: Trail,
        past: Option<EntryId>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError>;

    /// Lets go of the entries of a trail from before `time`.
    async fn forget_entries(&self, trail: Trail, time: Timestamp) -> Result<(), StoreError>;

    /// Notes when and from where tokens were last used. Of two notes on one token the later use stays, in whatever
    /// order they arrive. Not durable at once; never a part of a record, so that it wakes nobody.
    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError>;

    /// The last uses of these tokens, in their order.
    async fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError>;

    /// Up to `limit` of the tokens that were ever used, by their last uses and then by their ids, that come after `after`. A
    /// use that is noted meanwhile moves its token.
    async fn by_last_use(
        &self,
        direction: Direction,
        after: Option<&(Timestamp, TokenId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError>;

    /// Forgets the last uses of tokens whose records have gone.
    async fn forget_uses(&self, tokens: &[TokenId]) -> Result<(), StoreError>;

    /// Publishes what a server says of itself, in the place of what it has said before. It is forgotten when `keep` is over,
    /// need not outlive the store's own restart, and wakes nobody.
    async fn publish(&self, replica: &ReplicaId, said: &str, keep: Duration) -> Result<(), StoreError>;

    /// What servers have published and is not forgotten, in the order of their ids.
    async fn published(&self) -> Result<Vec<(ReplicaId, String)>, StoreError>;

    /// Forgets records whose time is over ([`Step::PutUntil`]), where the store does not do that by itself.
    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError>;

    /// What the store says of itself now; for operators, and at the start.
    async fn live(&self) -> Live;

    /// Whether the store would answer now.
    async fn ping(&self) -> Result<(), StoreError>;
}
