//! API tokens as the store holds them: the record, and what is left of it at an instant. What a token may do is judged in
//! `decide` and `authority`, not here; the text that a client holds is in [`text`].

mod text;

use std::{
    net::IpAddr,
    ops::{Deref, DerefMut},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use text::{Minted, PlainToken, PresentedToken, TokenId, TokenKind, TokenPrefix, TokenPrefixes};

use super::{
    access::{Level, SiteLevels},
    account::Format,
    id::{AccountId, SiteId},
    key::{Digest, KeyId},
    text::{Invalid, Label},
    time::Timestamp,
};

/// A named use of tokens: a token with scopes passes only rules of those scopes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(SmolStr);

impl Scope {
    pub const MAX_CHARS: u64 = 64;
    /// The scope of the management API. No proxy rule may have it.
    pub const MANAGE: &'static str = "manage";

    /// # Errors
    /// When it is not 1 to 64 letters, digits, or `. _ : / -`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() as u64 > Self::MAX_CHARS {
            return Err(Invalid::over("scope_too_long", "scopes", Self::MAX_CHARS));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-');
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(Invalid::new("scope_characters", "scopes", "a scope is letters, digits and . _ : / -"));
        }
        Ok(Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Scope {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0.into()
    }
}

/// How far below its owner a token stays. An enum and not an optional map, because "none given" means
/// "as the owner", and a map without rows means "nothing".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ceiling {
    /// Whatever the owner may do, now and later.
    Owner,
    /// At most this level, on every site.
    EverySite(Level),
    /// At most these levels on these sites, and nothing on any other.
    PerSite(Box<SiteLevels>),
}

impl Ceiling {
    /// What is left of `level` on `site` under this ceiling.
    #[must_use]
    pub fn clamp(&self, site: &SiteId, level: Level) -> Level {
        match self {
            Self::Owner => level,
            Self::EverySite(most) => level.min(*most),
            Self::PerSite(rows) => rows.get(site).map_or(Level::None, |row| level.min(row.level)),
        }
    }
}

/// Who made a credential, and by which credential he was known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creator {
    /// A login, or `control:UID` for the control socket.
    pub account: String,
    pub credential: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub at: Timestamp,
    pub by: String,
    /// Why, where that is not said by who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was minted with the token stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_minted: bool,
}

/// That its owner was told of a token's coming end, or of its rest. Once each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warned {
    /// It ends soon.
    pub ending: Option<Timestamp>,
    /// It has not been used for long.
    pub unused: Option<Timestamp>,
}

/// The predecessor in a rotation: dead from `grace_until` on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supersession {
    pub by: TokenId,
    pub grace_until: Timestamp,
}

/// What of a token's record a check judges, and no more: there may be millions of these in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedToken {
    pub v: Format,
    pub id: TokenId,
    pub account: AccountId,
    pub kind: TokenKind,
    /// The account's generation when the token was made; unequal is dead.
    pub generation: u64,
    pub digest: Digest,
    pub key: KeyId,
    pub ceiling: Ceiling,
    pub scopes: Box<[Scope]>,
    pub networks: Box<[IpNet]>,
    /// Never accepted in a URL.
    pub secure_only: bool,
    pub expires_at: Option<Timestamp>,
    pub revoked: Option<Box<Revocation>>,
    pub superseded: Option<Box<Supersession>>,
    pub version: u64,
}

/// The record of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    #[serde(flatten)]
    pub judged: JudgedToken,
    pub name: Label,
    pub device: Option<Label>,
    pub created_at: Timestamp,
    pub created_by: Creator,
    /// The predecessor, for a token that a rotation has made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_from: Option<TokenId>,
    /// The tokens whose revocation is this one's too: those that it was minted with, itself or before a rotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub minted_with: Vec<TokenId>,
    /// Made for the needs of an installation: its owner does not see it, superusers do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    #[serde(default)]
    pub warned: Warned,
}

impl Deref for Token {
    type Target = JudgedToken;

    fn deref(&self) -> &JudgedToken {
        &self.judged
    }
}

impl DerefMut for Token {
    fn deref_mut(&mut self) -> &mut JudgedToken {
        &mut self.judged
    }
}

/// When, and from where, a token last let a request pass. Kept beside its record, not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUse {
    pub at: Timestamp,
    /// `None` where the client's address is not known.
    pub address: Option<IpAddr>,
}

/// What a token is good for at an instant, judged by the token and its account's generation alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    Active,
    Expired,
    Revoked,
    Superseded,
}

impl JudgedToken {
    /// Neither revoked nor at an end by itself. Its account may have ended it otherwise.
    #[must_use]
    pub fn lives(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.ends_at().is_none_or(|end| now < end)
    }

    /// The instant at which it ends by itself, if there is one.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        let grace = self.superseded.as_ref().map(|superseded| superseded.grace_until);
        self.expires_at.into_iter().chain(grace).min()
    }

    /// `generation` is the owner's now. At the very instant of an end the token is dead.
    #[must_use]
    pub fn state(&self, generation: u64, now: Timestamp) -> TokenState {
        if self.revoked.is_some() || self.generation != generation {
            TokenState::Revoked
        } else if self.superseded.as_ref().is_some_and(|s| now >= s.grace_until) {
            TokenState::Superseded
        } else if self.expires_at.is_some_and(|end| now >= end) {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }
}
