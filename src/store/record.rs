//! Which records there are, under which keys, and how they are written down: versioned JSON that an
//! operator can read. The only place that knows the stored shape.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Partition, StoreError, Stored, Trouble};
use crate::domain::{
    access::AccessRows,
    account::{Account, Format},
    factor::Factors,
    guessing::Failures,
    id::{AccountId, SiteId},
    key::{Digest, KeyId},
    session::{CheckSession, Code, Session, SessionId},
    site::{Host, Site, SiteName},
    time::Timestamp,
    token::{JudgedToken, Token, TokenId},
};

/// The name of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Account(AccountId),
    /// A claim on a login or e-mail address (one namespace), by its folded form.
    Name(String),
    Site(SiteName),
    /// A claim on a host.
    Host(Host),
    Access(AccountId),
    /// The second factors of an account.
    Factors(AccountId),
    Token(TokenId),
    Session(SessionId),
    CheckSession(SessionId, Host),
    /// A one-time code of the family, by the digest of its secret.
    Code(SessionId, Box<str>),
    /// Failed attempts of a subject, by what they were and its name.
    Failures(String),
    /// The last version of a site that was deleted: one that is made again under its name goes on from there, so that no
    /// version ever comes twice.
    PastSite(SiteName),
    /// What a request with an `Idempotency-Key` has made, by a digest of who sent it and its key.
    Idempotency(String),
    /// What the store says about itself: which server keys it was used with, and how stale a server's memory may be.
    Meta,
}

impl Key {
    /// The key as every backend spells it, without the backend's prefix. Unique over all kinds.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Account(id) => format!("account:{id}"),
            Self::Name(folded) => format!("name:{folded}"),
            Self::Site(name) => format!("site:{name}"),
            Self::Host(host) => format!("host:{host}"),
            Self::Access(id) => format!("access:{id}"),
            Self::Factors(id) => format!("factors:{id}"),
            Self::Token(id) => format!("token:{id}"),
            Self::Session(id) => format!("session:{id}"),
            Self::CheckSession(id, host) => format!("check:{id}:{host}"),
            Self::Code(id, digest) => format!("code:{id}:{digest}"),
            Self::Failures(subject) => format!("failures:{subject}"),
            Self::PastSite(name) => format!("past-site:{name}"),
            Self::Idempotency(digest) => format!("idempotency:{digest}"),
            Self::Meta => "meta".to_owned(),
        }
    }

    /// The records whose changes somebody follows, by their names: those that a check reads, and the store's own.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name == "meta" {
            return Some(Self::Meta);
        }
        let (kind, name) = name.split_once(':')?;
        match kind {
            "account" => AccountId::parse(name).map(Self::Account),
            "name" => Some(Self::Name(name.to_owned())),
            "site" => SiteName::parse(name).ok().map(Self::Site),
            "host" => Host::parse(name).ok().map(Self::Host),
            "access" => AccountId::parse(name).map(Self::Access),
            "token" => TokenId::parse(name).map(Self::Token),
            "session" => SessionId::parse(name).map(Self::Session),
            "check" => {
                let (session, host) = name.split_once(':')?;
                Some(Self::CheckSession(SessionId::parse(session)?, Host::parse(host).ok()?))
            }
            _ => None,
        }
    }

    /// Where the record lies.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.family().map_or(Partition::DIRECTORY, |family| Partition::of_id(family.as_str()))
    }

    /// The family of sessions that the record belongs to. Records of one family lie together, wherever that is.
    #[must_use]
    pub fn family(&self) -> Option<&SessionId> {
        match self {
            Self::Session(id) | Self::CheckSession(id, _) | Self::Code(id, _) => Some(id),
            _ => None,
        }
    }
}

/// A sorted set of strings, for lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// Folded logins of all accounts.
    Accounts,
    /// All accounts, by when they were made.
    AccountsByCreation,
    /// Names of all sites.
    Sites,
    /// All tokens, by when they were made. Of those that stores have from before there were orders, the bare ids.
    Tokens,
    /// All tokens, by their names.
    TokensByName,
    /// All tokens, by when they end by themselves.
    TokensByEnd,
    /// The tokens that were never used, by when they were made. A member may outlive that.
    UnusedTokens,
    TokensOf(AccountId),
    /// Ids of the tokens that were made with this one. They stay here as long as this one exists.
    MintedBy(TokenId),
    /// When, and the digests of all [`Key::Idempotency`], the oldest first.
    Idempotency,
    /// Ids of the accounts that have a row on the site.
    AccessOn(SiteId),
    /// Account and id of all sessions, as [`Index::session`] writes them. A member may outlive its session.
    Sessions,
    /// The subjects that have been blocked. A member may outlive its block.
    Blocked,
    /// Ids of all superusers: the last one is never taken away.
    Superusers,
}

impl Index {
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Accounts => "accounts".to_owned(),
            Self::AccountsByCreation => "accounts-by-creation".to_owned(),
            Self::Sites => "sites".to_owned(),
            Self::Tokens => "tokens".to_owned(),
            Self::TokensByName => "tokens-by-name".to_owned(),
            Self::TokensByEnd => "tokens-by-end".to_owned(),
            Self::UnusedTokens => "tokens-unused".to_owned(),
            Self::TokensOf(account) => format!("tokens-of:{account}"),
            Self::MintedBy(token) => format!("minted-by:{token}"),
            Self::Idempotency => "idempotency".to_owned(),
            Self::AccessOn(site) => format!("access-on:{site}"),
            Self::Sessions => "sessions".to_owned(),
            Self::Blocked => "blocked".to_owned(),
            Self::Superusers => "superusers".to_owned(),
        }
    }

    /// The member of [`Index::Sessions`] for a session: those of one account stand together.
    #[must_use]
    pub fn session(account: &AccountId, id: &SessionId) -> String {
        format!("{account} {id}")
    }
}

/// A login or e-mail address that is taken, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameClaim {
    pub v: Format,
    pub account: AccountId,
    pub version: u64,
}

/// A host that is taken, and by which site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostClaim {
    pub v: Format,
    pub site: SiteName,
    pub version: u64,
}

/// See [`Key::PastSite`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSite {
    pub v: Format,
    pub version: u64,
}

/// What a request with an `Idempotency-Key` came to: a reference, from which the answer can be made again. Nothing that
/// is shown once is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    pub v: Format,
    /// The server key of `fingerprint`.
    pub key: KeyId,
    /// Of the request: another one under the same key is a mistake.
    pub fingerprint: Digest,
    pub made: Made,
    pub at: Timestamp,
    pub version: u64,
}

/// The record that a request made or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    Account(AccountId),
    Site(SiteName),
    Token(TokenId),
}

/// What the store says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub v: Format,
    /// Key id → check value, for every server key that this store has been used with.
    pub keys: std::collections::BTreeMap<String, String>,
    /// The largest `hot_path.max_staleness` that a server may have, in milliseconds. `None`: none has needed any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_staleness_ms: Option<u64>,
    /// What it was before it was lowered, as long as a server may still go by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered_from_ms: Option<u64>,
    /// Which indexes have all that was there before them: a number that grows with [`Index`].
    #[serde(default)]
    pub lists: u32,
    pub created_at: Timestamp,
    pub version: u64,
}

impl Meta {
    /// With the orders of tokens and accounts.
    pub const LISTS: u32 = 1;

    #[must_use]
    pub fn has_all_lists(&self) -> bool {
        self.lists >= Self::LISTS
    }
}

/// A value that is stored as one record.
pub trait Record: Serialize + DeserializeOwned {
    /// Changes with every write.
    fn version(&self) -> u64;

    /// # Errors
    /// `permanent` when the record is damaged or of a future format. It is never taken for an absent one. The message names
    /// `key`, under which it was read: for who has to mend it.
    fn decode(key: &Key, stored: &Stored) -> Result<Self, StoreError> {
        serde_json::from_str(&stored.json).map_err(|error| {
            let message = format!("the record {} cannot be read as {}: {error}", key.name(), short_name::<Self>());
            StoreError::permanent(message).with(Trouble::Damaged(key.name()))
        })
    }

    /// # Errors
    /// Never for the records of this crate; serde has no other signature.
    fn encode(&self) -> Result<Stored, StoreError> {
        let json = serde_json::to_string(self)
            .map_err(|error| StoreError::permanent(format!("a {} record cannot be written: {error}", short_name::<Self>())))?;
        Ok(Stored { version: self.version(), json })
    }
}

fn short_name<T>() -> &'static str {
    std::any::type_name::<T>().rsplit("::").next().unwrap_or_default()
}

macro_rules! record {
    ($($type:ty),+) => {
        $(impl Record for $type {
            fn version(&self) -> u64 {
                self.version
            }
        })+
    };
}
record!(
    Account,
    AccessRows,
    CheckSession,
    Code,
    Factors,
    Failures,
    HostClaim,
    IdempotencyRecord,
    Meta,
    NameClaim,
    PastSite,
    JudgedToken,
    Session,
    Site,
    Token
);
