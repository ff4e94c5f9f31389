//! A key in words: what it may do, how it stands, when and from where it was used.

use std::time::Duration;

use super::super::{times::Shown, visitor::SignedIn};
use crate::{
    directory::TokenInfo,
    domain::{
        time::Timestamp,
        token::{Ceiling, Scope, Token, TokenState},
        token_rules::TokenRules,
    },
};

/// One key as pages show it.
pub(in super::super) struct KeyShown {
    pub id: String,
    pub name: String,
    pub device: Option<String>,
    /// Whose it is, where it is not the visitor's.
    pub owner: Option<String>,
    /// Where the keys of its account are listed.
    pub among: String,
    pub state: State,
    /// It can be used, and so revoked.
    pub is_good: bool,
    /// It has no successor, so that it can be rotated.
    pub can_rotate: bool,
    pub levels: String,
    pub scopes: Option<String>,
    pub networks: Vec<String>,
    pub secure_only: bool,
    pub created: Shown,
    pub created_by: String,
    /// `None`: never by itself.
    pub expires: Option<Shown>,
    pub used: Option<Used>,
    /// When, by whom and why it was revoked.
    pub revoked: Option<(Shown, String, Option<String>)>,
    pub successor: Option<String>,
    pub predecessor: Option<String>,
}

/// The last use of it.
pub(in super::super) struct Used {
    pub at: Shown,
    pub from: Option<String>,
}

/// How it stands, never by colour alone.
pub(in super::super) struct State {
    pub label: &'static str,
    /// The class of its tag.
    pub class: &'static str,
}

impl KeyShown {
    pub fn new(info: TokenInfo, visitor: &SignedIn, rules: &TokenRules, now: Timestamp) -> Self {
        let state = State::of(&info, rules.warn_before, now);
        let TokenInfo { token, login, state: how, revoked, last_used, .. } = info;
        let own = token.account == visitor.account.id;
        let (levels, scopes) = (levels(&token.ceiling, own), scopes(&token.scopes));
        let expires = token.ends_at().map(|end| if end > now { Shown::coming(end, now) } else { Shown::new(end, now) });
        let Token { name, device, created_at, created_by, rotated_from, judged, .. } = token;
        let used = last_used.map(|used| Used { at: Shown::new(used.at, now), from: used.address.map(|from| from.to_string()) });
        Self {
            id: judged.id.to_string(),
            name: name.as_str().to_owned(),
            device: device.map(|device| device.as_str().to_owned()),
            owner: (!own).then(|| login.to_string()),
            among: super::places(visitor, &login).0,
            state,
            is_good: how == TokenState::Active,
            can_rotate: how == TokenState::Active && judged.superseded.is_none(),
            levels,
            scopes,
            networks: judged.networks.iter().map(ToString::to_string).collect(),
            secure_only: judged.secure_only,
            created: Shown::new(created_at, now),
            created_by: created_by.account,
            expires,
            used,
            revoked: revoked.map(|revoked| (Shown::new(revoked.at, now), revoked.by, revoked.why)),
            successor: judged.superseded.as_ref().map(|superseded| superseded.by.to_string()),
            predecessor: rotated_from.map(|id| id.to_string()),
        }
    }

    /// What will be refused when it is revoked.
    pub fn last_use(&self) -> String {
        match &self.used {
            None => "never used".to_owned(),
            Some(Used { at, from: None }) => format!("used {}", at.ago),
            Some(Used { at, from: Some(from) }) => format!("used {} from {from}", at.ago),
        }
    }
}

impl State {
    fn of(info: &TokenInfo, warn_before: Duration, now: Timestamp) -> Self {
        let soon = || info.token.ends_at().zip(now.checked_add(warn_before)).is_some_and(|(end, horizon)| end <= horizon);
        let (label, class) = match info.state {
            TokenState::Active if info.token.superseded.is_some() => ("Being replaced", "warn"),
            TokenState::Active if soon() => ("Expires soon", "warn"),
            TokenState::Active => ("Active", ""),
            TokenState::Expired => ("Expired", "off"),
            TokenState::Revoked => ("Revoked", "bad"),
            TokenState::Superseded => ("Replaced", "off"),
        };
        Self { label, class }
    }
}

/// `write on shop, view on blog`
pub(super) fn levels(ceiling: &Ceiling, own: bool) -> String {
    match ceiling {
        Ceiling::Owner if own => "Everything that you may do".to_owned(),
        Ceiling::Owner => "Everything that its account may do".to_owned(),
        Ceiling::EverySite(level) => capital(&format!("{level} on every site")),
        Ceiling::PerSite(rows) if rows.is_empty() => "Nothing".to_owned(),
        Ceiling::PerSite(rows) => {
            let mut rows: Vec<_> = rows.rows().collect();
            rows.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.site.cmp(&b.site)));
            let texts: Vec<_> = rows.iter().map(|row| format!("{} on {}", row.level, row.site)).collect();
            capital(&texts.join(", "))
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| format!("{}{}", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

/// What its scopes make of it; `None` without any.
fn scopes(scopes: &[Scope]) -> Option<String> {
    let manages = scopes.iter().any(|scope| scope.as_str() == Scope::MANAGE);
    let others: Vec<_> = scopes.iter().map(Scope::as_str).filter(|scope| *scope != Scope::MANAGE).collect();
    match (others.as_slice(), manages) {
        ([], false) => None,
        ([], true) => Some("only to manage Keygate".to_owned()),
        (others, false) => Some(format!("only for {}", others.join(", "))),
        (others, true) => Some(format!("only for {}, and to manage Keygate", others.join(", "))),
    }
}
