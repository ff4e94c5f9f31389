//! Events: who did what to which record, or tried to. What the audit trail holds.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{time::Timestamp, token::Creator};

/// What was done. The words are the contract's, `record.verb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    AccountCreate,
    AccountUpdate,
    AccountDelete,
    AccountRevokeAll,
    SiteCreate,
    SiteUpdate,
    SiteDelete,
    AccessSet,
    TokenCreate,
    TokenUpdate,
    TokenRotate,
    TokenRevoke,
    /// A predecessor was used after its grace: somebody has it who should not.
    TokenLeak,
    /// It ends soon.
    TokenExpiring,
    /// It has not been used for long.
    TokenUnused,
    /// Its record has gone.
    TokenPurge,
    SessionSignIn,
    SessionSignOut,
    /// Ended from elsewhere, by its owner or a superuser.
    SessionEnd,
    /// The password was given again.
    SessionConfirm,
    /// The right password was given, and a code is awaited.
    SessionPassword,
    FactorAdd,
    FactorRemove,
    /// All factors of somebody were taken away by a superuser.
    FactorReset,
    FactorRecoveryCodeUsed,
    /// New recovery codes were made, in the place of the old ones.
    FactorCodesRenewed,
    /// More attempts have failed than are borne; none is looked at for a while.
    GuessingBlock,
    /// They are looked at again, because somebody wanted it so.
    GuessingUnblock,
    /// What it says about itself was changed.
    StoreChange,
    /// It came back without something that a server had seen in it.
    StoreWentBack,
}

impl Action {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountCreate => "account.create",
            Self::AccountUpdate => "account.update",
            Self::AccountDelete => "account.delete",
            Self::AccountRevokeAll => "account.revoke_all",
            Self::SiteCreate => "site.create",
            Self::SiteUpdate => "site.update",
            Self::SiteDelete => "site.delete",
            Self::AccessSet => "access.set",
            Self::TokenCreate => "token.create",
            Self::TokenUpdate => "token.update",
            Self::TokenRotate => "token.rotate",
            Self::TokenRevoke => "token.revoke",
            Self::TokenLeak => "token.leak",
            Self::TokenExpiring => "token.expiring",
            Self::TokenUnused => "token.unused",
            Self::TokenPurge => "token.purge",
            Self::SessionSignIn => "session.sign_in",
            Self::SessionSignOut => "session.sign_out",
            Self::SessionEnd => "session.end",
            Self::SessionConfirm => "session.confirm",
            Self::SessionPassword => "session.password",
            Self::FactorAdd => "factor.add",
            Self::FactorRemove => "factor.remove",
            Self::FactorReset => "factor.reset",
            Self::FactorRecoveryCodeUsed => "factor.recovery_code_used",
            Self::FactorCodesRenewed => "factor.codes_renewed",
            Self::GuessingBlock => "guessing.block",
            Self::GuessingUnblock => "guessing.unblock",
            Self::StoreChange => "store.change",
            Self::StoreWentBack => "store.went_back",
        }
    }

    /// The kind of record that this is done to.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::AccountCreate
            | Self::AccountUpdate
            | Self::AccountDelete
            | Self::AccountRevokeAll
            | Self::FactorReset
            | Self::FactorRecoveryCodeUsed
            | Self::FactorCodesRenewed => "account",
            Self::FactorAdd | Self::FactorRemove => "factor",
            Self::SiteCreate | Self::SiteUpdate | Self::SiteDelete => "site",
            Self::AccessSet => "access",
            Self::TokenCreate
            | Self::TokenUpdate
            | Self::TokenRotate
            | Self::TokenRevoke
            | Self::TokenLeak
            | Self::TokenExpiring
            | Self::TokenUnused
            | Self::TokenPurge => "token",
            Self::SessionSignIn | Self::SessionSignOut | Self::SessionEnd | Self::SessionConfirm | Self::SessionPassword => {
                "session"
            }
            Self::GuessingBlock | Self::GuessingUnblock => "guessing",
            Self::StoreChange | Self::StoreWentBack => "store",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether it came to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    Refused,
}

impl Outcome {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// Who did it: a login, `control:UID` or `system:NAME`, and the credential and address he came with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// `None` for somebody whose credential did not say who he is.
    pub account: Option<String>,
    /// The id of the credential's record.
    pub credential: Option<String>,
    pub address: Option<IpAddr>,
}

impl By {
    #[must_use]
    pub fn as_creator(&self) -> Creator {
        Creator { account: self.account.clone().unwrap_or_default(), credential: self.credential.clone() }
    }
}

/// The record it was done to: its kind, and the name that people use for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: String,
}

/// One line of the audit trail, as it is stored. The store gives it its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    pub actor: By,
    pub action: String,
    pub target: Target,
    pub outcome: Outcome,
    /// What changed, as it was. Never a secret or a digest of one.
    pub before: Option<Map<String, Value>>,
    /// What changed, as it is now.
    pub after: Option<Map<String, Value>>,
    /// Why it was refused, by the code that the client got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub request_id: Option<String>,
}

impl Event {
    /// Something that was done, with nothing said yet of what it changed.
    #[must_use]
    pub fn done(action: Action, target: impl Into<String>, at: Timestamp, actor: By) -> Self {
        Self {
            at,
            actor,
            action: action.as_str().to_owned(),
            target: Target { kind: action.target().to_owned(), id: target.into() },
            outcome: Outcome::Done,
            before: None,
            after: None,
            reason: None,
            request_id: None,
        }
    }

    /// With what changed: the members in which the two objects differ, and whose they are; all of one that stands alone.
    #[must_use]
    pub fn changing(mut self, before: Option<&impl Serialize>, after: Option<&impl Serialize>) -> Self {
        let mut before = before.and_then(object);
        let mut after = after.and_then(object);
        if let (Some(before), Some(after)) = (&mut before, &mut after) {
            let is_same = |(name, value): &(&String, &Value)| after.get(*name) == Some(*value) && *name != "account";
            let same: Vec<_> = before.iter().filter(is_same).map(|(name, _)| name.clone()).collect();
            for name in same {
                before.remove(&name);
                after.remove(&name);
            }
        }
        (self.before, self.after) = (before, after);
        self
    }

    /// Whether the account did it, or it was done to the account or to something of it.
    #[must_use]
    pub fn concerns(&self, login: &str) -> bool {
        let named = |object: &Option<Map<String, Value>>| {
            let names = |name: &str| object.as_ref().and_then(|object| object.get(name)).and_then(Value::as_str) == Some(login);
            names("login") || names("account")
        };
        self.actor.account.as_deref() == Some(login)
            || (matches!(self.target.kind.as_str(), "account" | "login") && self.target.id == login)
            || (self.target.kind == "access" && self.target.id.split('/').next() == Some(login))
            || named(&self.before)
            || named(&self.after)
    }
}

fn object(value: &impl Serialize) -> Option<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_tells_only_what_changed() {
        let event = Event::done(Action::SiteUpdate, "shop", Timestamp::from_millis(0), By::default());
        let changed = event
            .clone()
            .changing(Some(&json!({ "id": "shop", "name": null, "v": 1 })), Some(&json!({ "id": "shop", "name": "Shop", "v": 1 })));
        assert_eq!(json!(changed.before), json!({ "name": null }));
        assert_eq!(json!(changed.after), json!({ "name": "Shop" }));
        let token = |name: &str| json!({ "account": "ci", "name": name });
        let renamed = event.clone().changing(Some(&token("old")), Some(&token("new")));
        assert_eq!((json!(renamed.before), json!(renamed.after)), (token("old"), token("new")));
        let made = event.changing(None::<&Value>, Some(&json!({ "id": "shop" })));
        assert_eq!((json!(made.before), json!(made.after)), (Value::Null, json!({ "id": "shop" })));
    }

    #[test]
    fn an_event_concerns_who_did_it_and_whom_it_was_done_to() {
        let by = By { account: Some("ada".to_owned()), ..By::default() };
        let event = Event::done(Action::AccessSet, "vera/shop", Timestamp::from_millis(0), by);
        assert!(event.concerns("ada") && event.concerns("vera") && !event.concerns("shop"));
        let token = Event::done(Action::TokenRevoke, "AbCdEfGh0123", Timestamp::from_millis(0), By::default());
        assert!(!token.concerns("ada"));
        assert!(token.changing(None::<&Value>, Some(&json!({ "account": "ada" }))).concerns("ada"));
    }
}
