//! The use cases that change records: accounts, sites, access, tokens; and the trail of what they did.
//!
//! Each takes the actor and checks that he may, reads what it needs, and ends in one commit that holds whole
//! or not at all, and only if nothing it read has changed; the event that tells of it is a part of that commit.
//! It knows the domain, the store's trait and the clock, and of the gate the pool that hashes passwords, the
//! signs that checks leave behind and the count of failures; it refuses to know HTTP, the command line, and which store it is.

mod access;
mod accounts;
mod actor;
mod bootstrap;
mod confirm;
mod delete;
mod edit;
mod error;
mod factors;
pub mod fields;
mod guessing;
mod idempotency;
mod leaks;
mod me;
mod mint;
mod notices;
mod overview;
mod patch;
mod places;
mod revoke;
mod sessions;
pub mod shown;
mod sites;
mod sorted;
mod staleness;
mod standing;
mod strength;
mod tokens;
mod trail;
mod upkeep;
mod vouched;
mod walk;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use rand::{CryptoRng, rand_core::UnwrapErr, rngs::SysRng};

pub use access::{AccessEntry, AccessFilter};
pub use accounts::{AccountFilter, AccountPatch, NewAccount};
pub use actor::Actor;
pub use bootstrap::{BootstrapError, verify};
pub use confirm::{Handed, handed_over, reported};
pub use error::DirectoryError;
pub use factors::{FactorsInfo, NewTotp, TotpAdded, TotpSetup};
pub use guessing::Blocked;
pub use idempotency::IdempotencyKey;
pub use me::{Came, Me};
pub use mint::NewToken;
pub use notices::Notices;
pub use overview::Lately;
pub use patch::FieldPatch;
pub use places::{AccountSort, Sort, TokenSort};
pub use revoke::{Found, Revoked};
pub use sessions::{CodeFault, Redeemed, SessionCookie, SessionInfo, SignIn, SignInError, Visitor};
pub use sites::{NewSite, SitePatch};
pub use staleness::StoreState;
pub use strength::{CeilingAsk, Expiry};
pub use tokens::{TokenFilter, TokenInfo, TokenPatch};
pub use trail::{Recorded, TrailFilter};

pub use crate::store::{Direction, Order, record::Made};
use crate::{
    clock::Clock,
    domain::{
        access::AccessRows, account::Account, id::AccountId, key::ServerKeys, origin::ProtectedHosts, session::SessionRules,
        site::SiteName, text::Login, token::TokenPrefixes, token_rules::TokenRules,
    },
    gate::guessing::Guessing,
    gate::hasher::Hasher,
    gate::passwords::Passwords,
    gate::signs::Signs,
    store::{Coherence, CommitError, Index, Key, Record, Store, StoreError, Trouble},
};
use edit::Edit;

/// How many records are read in one call, so that none of them takes long.
const READ_AT_ONCE: usize = 500;

/// How often a use case starts again when somebody else was faster.
const ATTEMPTS: usize = 16;

/// What the directory works with, and by which rules.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub keys: Arc<ServerKeys>,
    pub prefixes: TokenPrefixes,
    pub hasher: Arc<Hasher>,
    pub passwords: Arc<dyn Passwords>,
    pub signs: Arc<Signs>,
    pub guessing: Arc<Guessing>,
    /// Who is told, beside the trail, of tokens that need somebody's care.
    pub notices: Option<Arc<dyn Notices>>,
    pub token_rules: TokenRules,
    pub session_rules: SessionRules,
    /// Where sessions may be handed over to.
    pub hosts: ProtectedHosts,
    pub trail_rules: TrailRules,
    /// How far the store vouches for what this server remembers of it,
    pub coherence: Arc<Coherence>,
    /// and for how long it goes on with that.
    pub max_staleness: Duration,
}

/// How long the audit trail stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailRules {
    /// What was done.
    pub keep: Duration,
    /// How many refused attempts.
    pub refused_entries: u64,
}

/// The way to the records for everybody who changes or lists them.
pub struct Directory {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keys: Arc<ServerKeys>,
    prefixes: TokenPrefixes,
    hasher: Arc<Hasher>,
    passwords: Arc<dyn Passwords>,
    signs: Arc<Signs>,
    guessing: Arc<Guessing>,
    notices: Option<Arc<dyn Notices>>,
    token_rules: TokenRules,
    session_rules: SessionRules,
    hosts: ProtectedHosts,
    trail_rules: TrailRules,
    coherence: Arc<Coherence>,
    max_staleness: Duration,
    /// Once it is known, it stays so.
    lists_made: AtomicBool,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// A part of a list. `next` is where the following part begins; without it, this was the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// `next` of the part before.
    pub after: Option<String>,
    /// How many items at most.
    pub limit: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { after: None, limit: Self::DEFAULT_LIMIT }
    }
}

impl Window {
    pub const DEFAULT_LIMIT: usize = 100;
    pub const MAX_LIMIT: usize = 1000;
}

/// What a use case found to do.
enum Plan<T> {
    Commit(Edit, T),
    /// Everything is already as it was asked for.
    Nothing(T),
}

/// A record is there, and cannot be read.
#[derive(Clone, Copy, Debug)]
struct Damaged;

impl Directory {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, keys, prefixes, hasher, passwords, signs, guessing, notices, .. } = parts;
        let Parts { token_rules, session_rules, hosts, trail_rules, coherence, max_staleness, .. } = parts;
        Self {
            store,
            clock,
            keys,
            prefixes,
            hasher,
            passwords,
            signs,
            guessing,
            notices,
            token_rules,
            session_rules,
            hosts,
            trail_rules,
            coherence,
            max_staleness,
            lists_made: AtomicBool::new(false),
        }
    }

    /// What is demanded of the life of tokens.
    #[must_use]
    pub fn token_rules(&self) -> &TokenRules {
        &self.token_rules
    }

    /// Commits a plan. `None` when somebody else was faster, and the plan has to be made anew.
    async fn settle<T>(&self, plan: Plan<T>) -> Result<Option<T>, StoreError> {
        match plan {
            Plan::Nothing(result) => Ok(Some(result)),
            Plan::Commit(edit, result) => {
                if let Some(session) = edit.session()
                    && !self.goes_on(session).await?
                {
                    return Ok(None);
                }
                let (change, events) = edit.into_change()?;
                match self.store.commit(change).await {
                    Ok(()) => {
                        events.iter().for_each(trail::log);
                        Ok(Some(result))
                    }
                    // It was done; what is left to do is not left undone because of it.
                    Err(CommitError::Store(error)) if error.trouble == Trouble::Unconfirmed && confirm::note(&error) => {
                        events.iter().for_each(trail::log);
                        Ok(Some(result))
                    }
                    Err(CommitError::Conflict(_) | CommitError::Miscounted(_)) => Ok(None),
                    Err(CommitError::Store(error)) => Err(error),
                }
            }
        }
    }

    async fn get<R: Record>(&self, key: Key) -> Result<Option<R>, StoreError> {
        Ok(self.get_all(&[key]).await?.pop().flatten())
    }

    /// The records under `keys`, in their order.
    async fn get_all<R: Record>(&self, keys: &[Key]) -> Result<Vec<Option<R>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut records = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_AT_ONCE) {
            let stored = self.store.read(keys).await?;
            for (key, stored) in keys.iter().zip(&stored) {
                records.push(stored.as_ref().map(|stored| R::decode(key, stored)).transpose()?);
            }
        }
        Ok(records)
    }

    /// The records under `keys`. One that cannot be read is no reason not to look at the others; the log has it.
    async fn readable<R: Record>(&self, keys: Vec<Key>) -> Result<Vec<Result<Option<R>, Damaged>>, StoreError> {
        let mut records = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_AT_ONCE) {
            let stored = self.store.read(keys).await?;
            for (key, stored) in keys.iter().zip(&stored) {
                records.push(stored.as_ref().map(|stored| R::decode(key, stored)).transpose().map_err(|error| {
                    tracing::error!(%error, "a record is passed over");
                    Damaged
                }));
            }
        }
        Ok(records)
    }

    async fn accounts_by_id(&self, ids: impl IntoIterator<Item = AccountId>) -> Result<BTreeMap<AccountId, Account>, StoreError> {
        let ids: std::collections::BTreeSet<_> = ids.into_iter().collect();
        let keys: Vec<_> = ids.into_iter().map(Key::Account).collect();
        let accounts = self.get_all::<Account>(&keys).await?;
        Ok(accounts.into_iter().flatten().map(|account| (account.id.clone(), account)).collect())
    }

    /// An account with its access, in one read; `None` when there is no such account.
    async fn account_with_access(&self, id: &AccountId) -> Result<Option<(Account, Option<AccessRows>)>, StoreError> {
        let keys = [Key::Account(id.clone()), Key::Access(id.clone())];
        let stored = self.store.read(&keys).await?;
        let [account, access] = [0, 1].map(|index| stored.get(index).and_then(Option::as_ref));
        let account = account.map(|stored| Account::decode(&keys[0], stored)).transpose()?;
        let access = access.map(|stored| AccessRows::decode(&keys[1], stored)).transpose()?;
        Ok(account.map(|account| (account, access)))
    }

    /// A page of an index: its members, and the cursor of the next page.
    async fn members(&self, index: &Index, window: &Window) -> Result<(Vec<String>, Option<String>), StoreError> {
        self.members_in(index, Direction::Ascending, window).await
    }

    async fn members_in(
        &self,
        index: &Index,
        direction: Direction,
        window: &Window,
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        let limit = window.limit.clamp(1, Window::MAX_LIMIT);
        let page = self.store.page_in(index, direction, window.after.as_deref(), limit).await?;
        let next = if page.more { page.members.last().cloned() } else { None };
        Ok((page.members, next))
    }

    fn not_an_account(login: &Login) -> DirectoryError {
        DirectoryError::not_found("account", login.as_str())
    }

    fn not_a_site(site: &SiteName) -> DirectoryError {
        DirectoryError::not_found("site", site.as_str())
    }
}

/// Chance for identifiers and secrets: the operating system's generator, without a buffer of ours.
fn rng() -> impl CryptoRng {
    UnwrapErr(SysRng)
}

/// Runs a plan until it is committed; an expression of the calling use case, so that its futures stay plain.
macro_rules! until_settled {
    ($directory:expr, $plan:expr) => {{
        for _ in 0..$crate::directory::ATTEMPTS {
            let plan = $plan;
            if let Some(done) = $directory.settle(plan).await? {
                return Ok(done);
            }
        }
        Err($crate::directory::DirectoryError::Contended)
    }};
}
use until_settled;
