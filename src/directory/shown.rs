//! Records as they are shown, in the JSON of the contract: by the API, to the command line, in events.
//!
//! No type here can hold a digest, a password hash or a token.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

use super::{AccessEntry, Blocked, Recorded, SessionInfo, StoreState, TokenInfo};
use crate::{
    domain::{
        access::Level,
        account::{Account, AccountKind},
        event::Event,
        factor::{Factor, FactorId},
        id::AccountId,
        session::{Session, SessionId},
        site::{Host, Site, SiteName},
        text::{Email, Label, Login},
        time::{Timestamp, spell_duration},
        token::{Ceiling, LastUse, Scope, TokenId, TokenState},
        token_rules::TokenRules,
    },
    store::live::{Answer, Server},
};

/// A part of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = List)]
pub struct ListBody<T> {
    pub items: Vec<T>,
    /// Give it as `cursor` to get the part after this one.
    #[schema(required)]
    pub next: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Account)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own")]
pub struct AccountView {
    pub id: AccountId,
    pub login: Login,
    pub kind: AccountKind,
    #[schema(required)]
    pub name: Option<Label>,
    #[schema(required)]
    pub email: Option<Email>,
    pub superuser: bool,
    pub disabled: bool,
    pub may_mint_tokens: bool,
    /// Whether it has one. Its owner sees which ones, and nobody else.
    pub second_factor: bool,
    /// Until it has one, it is good for nothing but setting it up.
    pub must_have_second_factor: bool,
    pub created_at: Timestamp,
    pub version: u64,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        let Account { id, login, kind, name, email, superuser, disabled, may_mint_tokens, created_at, version, .. } = account;
        let Account { second_factor, must_have_second_factor, .. } = account;
        Self {
            id,
            login,
            kind,
            name,
            email,
            superuser,
            disabled,
            may_mint_tokens,
            second_factor,
            must_have_second_factor,
            created_at,
            version,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Site)]
pub struct SiteView {
    pub id: SiteName,
    #[schema(required)]
    pub name: Option<Label>,
    pub hosts: Vec<Host>,
    pub version: u64,
}

impl From<Site> for SiteView {
    fn from(site: Site) -> Self {
        Self { id: site.site, name: site.name, hosts: site.hosts, version: site.version }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Access)]
pub struct AccessView {
    pub login: Login,
    pub site: SiteName,
    pub level: Level,
}

impl From<AccessEntry> for AccessView {
    fn from(AccessEntry { login, site, level, .. }: AccessEntry) -> Self {
        Self { login, site, level }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenView {
    pub id: TokenId,
    pub account: Login,
    pub kind: AccountKind,
    pub name: Label,
    #[schema(required)]
    pub device: Option<Label>,
    /// `*` stands for every site.
    #[schema(required)]
    pub levels: Option<BTreeMap<String, Level>>,
    pub scopes: Vec<Scope>,
    #[schema(value_type = Vec<String>)]
    pub networks: Vec<ipnet::IpNet>,
    pub secure_only: bool,
    pub created_at: Timestamp,
    pub created_by: String,
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
    #[schema(required)]
    pub revoked_at: Option<Timestamp>,
    #[schema(required)]
    pub revoked_by: Option<String>,
    /// Why, where that is not said by who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_because: Option<String>,
    #[schema(required)]
    pub superseded_by: Option<TokenId>,
    #[schema(required)]
    pub last_used: Option<LastUse>,
    #[serde(deserialize_with = "state")]
    #[schema(schema_with = states)]
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
            id: token.judged.id,
            account: login,
            kind,
            name: token.name,
            device: token.device,
            levels: levels(&token.judged.ceiling),
            scopes: token.judged.scopes.into(),
            networks: token.judged.networks.into(),
            secure_only: token.judged.secure_only,
            created_at: token.created_at,
            created_by: token.created_by.account,
            expires_at: token.judged.expires_at,
            revoked_at,
            revoked_by,
            revoked_because: why,
            superseded_by: token.judged.superseded.map(|superseded| superseded.by),
            last_used,
            state,
            created_with: token.created_by.credential,
            system: token.system,
            version: token.judged.version,
        }
    }
}

/// Somebody whose attempts are not looked at for a while, because too many have failed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Blocked)]
pub struct BlockedView {
    /// By what he is counted: `address` or `login`.
    #[schema(schema_with = subjects)]
    pub subject: String,
    /// An IPv4 address, a /64 of IPv6, or a login, folded. Nobody may have that login.
    pub value: String,
    /// What has failed: `password`, `code` or `token`. Only that is refused.
    #[schema(schema_with = credentials)]
    pub of: String,
    /// Within the window, with the one that was too many.
    pub failures: u64,
    /// When the block began.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl From<Blocked> for BlockedView {
    fn from(Blocked { subject, block }: Blocked) -> Self {
        Self {
            subject: subject.kind().to_owned(),
            value: subject.value(),
            of: subject.of().to_owned(),
            failures: block.failures as u64,
            since: block.since,
            until: block.until,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView {
    pub id: SessionId,
    pub account: Login,
    #[schema(required)]
    pub browser: Option<String>,
    /// Where it was last seen.
    #[schema(required, value_type = Option<String>)]
    pub address: Option<IpAddr>,
    pub created_at: Timestamp,
    /// Up to a few minutes late.
    pub last_seen: Timestamp,
    /// If nothing more is seen of it.
    pub expires_at: Timestamp,
    pub remembered: bool,
    /// It is the one in which this is asked.
    pub current: bool,
    /// Only of a sign-in whose password was right, and whose code is still missing. It is good for nothing else until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_code: bool,
}

/// Something that somebody shows besides his password.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Factor)]
pub struct FactorView {
    pub id: FactorId,
    pub name: Label,
    /// `totp`: an authenticator app.
    #[serde(rename = "type")]
    #[schema(schema_with = factor_kinds)]
    pub kind: String,
    pub created_at: Timestamp,
    #[schema(required)]
    pub used_at: Option<Timestamp>,
}

impl From<Factor> for FactorView {
    fn from(factor: Factor) -> Self {
        let kind = factor.kind.as_str().to_owned();
        let Factor { id, name, created_at, used_at, .. } = factor;
        Self { id, name, kind, created_at, used_at }
    }
}

impl From<SessionInfo> for SessionView {
    fn from(SessionInfo { session, login, expires_at, current }: SessionInfo) -> Self {
        let Session { id, browser, address, created_at, seen_at, remembered, awaits_code, .. } = session;
        Self { id, account: login, browser, address, created_at, last_seen: seen_at, expires_at, remembered, current, awaits_code }
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

/// What the records are kept in, as the server that answers sees it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Store)]
pub struct StoreView {
    /// `embedded` or `redis`.
    pub kind: String,
    /// Whether all of its servers answer.
    pub reachable: bool,
    /// Those that may change records.
    pub servers: Vec<ServerView>,
    pub freshness: Vec<FreshnessView>,
    /// The largest `hot_path.max_staleness` that a server may have. `null` where changes are noticed before they are
    /// acknowledged, and where the store does not answer.
    #[schema(required)]
    pub max_staleness: Option<String>,
    /// What it was before it was lowered, as long as that is still waited for.
    #[schema(required)]
    pub lowered_from: Option<String>,
    /// How many replicas must confirm what takes away.
    pub wait_replicas: u32,
    /// Whether the store has come back without something that was seen in it.
    pub went_back: bool,
    /// What the servers' settings do not allow to be claimed.
    pub findings: Vec<String>,
}

/// A server of the store. What it does not tell is `null`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = StoreServer)]
pub struct ServerView {
    pub address: String,
    pub reachable: bool,
    #[schema(required)]
    pub version: Option<String>,
    /// `master` or `slave`.
    #[schema(required)]
    pub role: Option<String>,
    #[schema(required)]
    pub append_only: Option<bool>,
    /// Its `maxmemory-policy`.
    #[schema(required)]
    pub eviction: Option<String>,
    /// How many are connected to it.
    #[schema(required)]
    pub replicas: Option<u32>,
}

/// What holds for every token that is made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenRules)]
pub struct TokenRulesView {
    /// What a token gets that asks for no end. `null`: it does not end by itself.
    #[schema(required)]
    pub default_expiry: Option<String>,
    /// The farthest end. `null`: there is none.
    #[schema(required)]
    pub max_expiry: Option<String>,
    /// One without an end is refused.
    pub must_expire: bool,
}

impl From<&TokenRules> for TokenRulesView {
    fn from(rules: &TokenRules) -> Self {
        Self {
            default_expiry: rules.default_expiry.map(spell_duration),
            max_expiry: rules.max_expiry.map(spell_duration),
            must_expire: rules.must_expire,
        }
    }
}

/// How far what is remembered of the store is vouched for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Freshness)]
pub struct FreshnessView {
    /// `directory` or `sessions`.
    pub records: String,
    /// For how many milliseconds a change may have gone unnoticed. `null` where that is not known.
    #[schema(required)]
    pub age_ms: Option<u64>,
}

impl From<StoreState> for StoreView {
    fn from(StoreState { live, ages, max_staleness, lowered_from, went_back }: StoreState) -> Self {
        let age_ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let freshness =
            |(records, age): (&str, Option<Duration>)| FreshnessView { records: records.to_owned(), age_ms: age.map(age_ms) };
        Self {
            kind: live.kind.to_owned(),
            reachable: live.is_reachable(),
            freshness: ages.into_iter().map(freshness).collect(),
            max_staleness: max_staleness.map(spell_duration),
            lowered_from: lowered_from.map(spell_duration),
            wait_replicas: live.wait_replicas,
            went_back,
            findings: live.findings().iter().map(|finding| finding.as_str().to_owned()).collect(),
            servers: live.servers.into_iter().map(ServerView::from).collect(),
        }
    }
}

impl From<Server> for ServerView {
    fn from(Server { address, answer, .. }: Server) -> Self {
        let reachable = !matches!(answer, Answer::Away(_));
        let facts = if let Answer::Told(facts) = answer { Some(facts) } else { None };
        let append_only = facts.as_ref().map(|facts| facts.append_only);
        let replicas = facts.as_ref().map(|facts| facts.replicas);
        let [version, role, eviction] =
            facts.map_or([None, None, None], |facts| [facts.version, facts.role, facts.eviction].map(Some));
        Self { address, reachable, version, role, append_only, eviction, replicas }
    }
}

fn levels(ceiling: &Ceiling) -> Option<BTreeMap<String, Level>> {
    match ceiling {
        Ceiling::Owner => None,
        Ceiling::EverySite(level) => Some(BTreeMap::from([("*".to_owned(), *level)])),
        Ceiling::PerSite(rows) => Some(rows.rows().map(|row| (row.site.to_string(), row.level)).collect()),
    }
}

fn states() -> utoipa::openapi::Object {
    let states = [TokenState::Active, TokenState::Expired, TokenState::Revoked, TokenState::Superseded];
    words(states.map(|state| serde_json::json!(state)))
}

fn subjects() -> utoipa::openapi::Object {
    words(["address", "login"].map(serde_json::Value::from))
}

fn credentials() -> utoipa::openapi::Object {
    words(["password", "code", "token"].map(serde_json::Value::from))
}

fn factor_kinds() -> utoipa::openapi::Object {
    words(["totp"].map(serde_json::Value::from))
}

fn words<const N: usize>(words: [serde_json::Value; N]) -> utoipa::openapi::Object {
    utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String).enum_values(Some(words)).build()
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
