//! Records as they are shown, in the JSON of the contract: by the API, to the command line, in events.
//!
//! No type here can hold a digest, a password hash or a token.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{AccessEntry, Recorded, TokenInfo};
use crate::domain::{
    access::Level,
    account::{Account, AccountKind},
    event::Event,
    id::AccountId,
    site::{Host, Site, SiteName},
    text::{Email, Label, Login},
    time::Timestamp,
    token::{Ceiling, LastUse, Scope, TokenId, TokenState},
};

/// A part of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListBody<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountView {
    pub id: AccountId,
    pub login: Login,
    pub kind: AccountKind,
    pub name: Option<Label>,
    pub email: Option<Email>,
    pub superuser: bool,
    pub disabled: bool,
    pub may_mint_tokens: bool,
    pub created_at: Timestamp,
    pub version: u64,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        let Account { id, login, kind, name, email, superuser, disabled, may_mint_tokens, created_at, version, .. } = account;
        Self { id, login, kind, name, email, superuser, disabled, may_mint_tokens, created_at, version }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SiteView {
    pub id: SiteName,
    pub name: Option<Label>,
    pub hosts: Vec<Host>,
    pub version: u64,
}

impl From<Site> for SiteView {
    fn from(site: Site) -> Self {
        Self { id: site.site, name: site.name, hosts: site.hosts, version: site.version }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessView {
    pub login: Login,
    pub site: SiteName,
    pub level: Level,
}

impl From<AccessEntry> for AccessView {
    fn from(AccessEntry { login, site, level }: AccessEntry) -> Self {
        Self { login, site, level }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenView {
    pub id: TokenId,
    pub account: Login,
    pub kind: AccountKind,
    pub name: Label,
    pub device: Option<Label>,
    /// `*` stands for every site.
    pub levels: Option<BTreeMap<String, Level>>,
    pub scopes: Vec<Scope>,
    pub networks: Vec<ipnet::IpNet>,
    pub secure_only: bool,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub revoked_by: Option<String>,
    /// Why, where that is not said by who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_because: Option<String>,
    pub superseded_by: Option<TokenId>,
    pub last_used: Option<LastUse>,
    #[serde(deserialize_with = "state")]
    pub state: TokenState,
    /// The token that its creator came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_with: Option<String>,
    /// Only of system tokens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    pub version: u64,
}

impl From<TokenInfo> for TokenView {
    fn from(TokenInfo { token, login, kind, state, revoked, last_used }: TokenInfo) -> Self {
        let why = revoked.as_ref().and_then(|revoked| revoked.why.clone());
        let (revoked_at, revoked_by) = revoked.map(|revoked| (revoked.at, revoked.by)).unzip();
        Self {
            id: token.id,
            account: login,
            kind,
            name: token.name,
            device: token.device,
            levels: levels(&token.ceiling),
            scopes: token.scopes,
            networks: token.networks,
            secure_only: token.secure_only,
            created_at: token.created_at,
            created_by: token.created_by.account,
            expires_at: token.expires_at,
            revoked_at,
            revoked_by,
            revoked_because: why,
            superseded_by: token.superseded.map(|superseded| superseded.by),
            last_used,
            state,
            created_with: token.created_by.credential,
            system: token.system,
            version: token.version,
        }
    }
}

/// A line of the audit trail. Some members are there only where they say something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventView {
    pub id: String,
    #[serde(flatten)]
    pub event: Event,
}

impl From<Recorded> for EventView {
    fn from(Recorded { id, event }: Recorded) -> Self {
        Self { id, event }
    }
}

fn levels(ceiling: &Ceiling) -> Option<BTreeMap<String, Level>> {
    match ceiling {
        Ceiling::Owner => None,
        Ceiling::EverySite(level) => Some(BTreeMap::from([("*".to_owned(), *level)])),
        Ceiling::PerSite(rows) => Some(rows.values().map(|row| (row.site.to_string(), row.level)).collect()),
    }
}

/// The state is made, never stored, so the domain only writes it; the command line reads it back.
fn state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TokenState, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "active" => Ok(TokenState::Active),
        "expired" => Ok(TokenState::Expired),
        "revoked" => Ok(TokenState::Revoked),
        "superseded" => Ok(TokenState::Superseded),
        _ => Err(D::Error::custom("unknown state of a token")),
    }
}
