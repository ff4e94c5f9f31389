//! Who can be somebody: people, API clients, and nobody in particular.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    id::AccountId,
    password::PasswordHash,
    text::{Email, Label, Login},
    time::Timestamp,
    token::Revocation,
};

/// The version of a stored record's shape. A record of another version is an error of its reader, never a guess.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format;

impl Format {
    const CURRENT: u64 = 1;
}

impl Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(Self::CURRENT)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            Self::CURRENT => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!("record format {other}, this version reads {}", Self::CURRENT))),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// Has a password, may log in, counts as a user.
    Human,
    /// An API client: no password, no e-mail, cannot log in, is no user.
    Service,
    /// The built-in account of requests without a credential.
    Anonymous,
}

impl AccountKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Service => "service",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The end of all tokens of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedAll {
    pub generation: u64,
    #[serde(flatten)]
    pub revocation: Revocation,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own")]
pub struct Account {
    pub v: Format,
    pub id: AccountId,
    pub login: Login,
    pub kind: AccountKind,
    pub name: Option<Label>,
    pub email: Option<Email>,
    pub superuser: bool,
    pub disabled: bool,
    pub may_mint_tokens: bool,
    /// Whether there is a factor besides the password, so that it has to be shown; which one, another record has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub second_factor: bool,
    /// Whether it must have one: until then, it is good for nothing but setting it up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_have_second_factor: bool,
    /// Copied into each token and session when it is made; unequal is dead. "Revoke all" adds one.
    pub generation: u64,
    /// The same for sessions alone: a new password adds one.
    #[serde(default)]
    pub session_generation: u64,
    /// The last times that all was revoked, the latest last: by which generation, and who, when and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_all: Vec<RevokedAll>,
    pub password: Option<PasswordHash>,
    pub created_at: Timestamp,
    pub version: u64,
}

impl Account {
    /// How many times are kept; who revokes all more often loses the first of them.
    const TIMES_KEPT: usize = 50;

    /// Ends every token and session there is.
    pub fn revoke_all(&mut self, revocation: Revocation) {
        if self.revoked_all.len() >= Self::TIMES_KEPT {
            self.revoked_all.remove(0);
        }
        self.revoked_all.push(RevokedAll { generation: self.generation, revocation });
        self.generation += 1;
    }

    /// How the tokens of a generation ended; `None` as long as they have not.
    #[must_use]
    pub fn end_of(&self, generation: u64) -> Option<&Revocation> {
        let ended = generation < self.generation;
        self.revoked_all.iter().filter(|_| ended).find(|all| all.generation >= generation).map(|all| &all.revocation)
    }

    /// The built-in `anonymous` account, as it stands in a new store.
    #[must_use]
    pub fn anonymous(created_at: Timestamp) -> Self {
        Self {
            v: Format,
            id: AccountId::anonymous(),
            login: Login::parse("anonymous").unwrap_or_else(|_| unreachable!("a valid login")),
            kind: AccountKind::Anonymous,
            name: None,
            email: None,
            superuser: false,
            disabled: false,
            may_mint_tokens: false,
            second_factor: false,
            must_have_second_factor: false,
            generation: 0,
            session_generation: 0,
            revoked_all: Vec::new(),
            password: None,
            created_at,
            version: 1,
        }
    }
}
