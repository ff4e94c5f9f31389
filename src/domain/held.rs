//! What a credential is good for: whether it is alive, where it may come from, and the access that its account has
//! under its ceiling. The one statement of these rules, for checks and for management.

use std::net::IpAddr;

use super::{
    access::{AccessRows, Level, SiteLevel},
    account::{Account, AccountKind},
    decision::Reason,
    id::SiteId,
    time::Timestamp,
    token::{Ceiling, JudgedToken, TokenState},
    trust,
};

/// Whether the credential is alive: the account alone, or the account with one of its tokens. At the very instant of an
/// end it is dead.
///
/// # Errors
/// Why it is not.
pub fn alive(account: &Account, token: Option<&JudgedToken>, now: Timestamp) -> Result<(), Reason> {
    if let Some(token) = token {
        if token.account != account.id {
            return Err(Reason::Unknown);
        }
        match token.state(account.generation, now) {
            TokenState::Active => {}
            TokenState::Expired => return Err(Reason::Expired),
            TokenState::Revoked => return Err(Reason::Revoked),
            TokenState::Superseded => return Err(Reason::Superseded),
        }
    }
    if account.disabled { Err(Reason::AccountDisabled) } else { Ok(()) }
}

/// Whether the token may come from this address; an unknown address is in no network.
#[must_use]
pub fn comes_from(token: &JudgedToken, client: Option<IpAddr>) -> bool {
    token.networks.is_empty() || client.is_some_and(|client| trust::contains(&token.networks, client))
}

/// What an account holds, under the ceiling of the token it came with.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    pub account: &'a Account,
    pub access: Option<&'a AccessRows>,
    /// `None` for the account itself.
    pub token: Option<&'a JudgedToken>,
}

impl Held<'_> {
    #[must_use]
    pub fn on(&self, site: &SiteId) -> Level {
        let own = match (self.account.kind, self.account.superuser) {
            (AccountKind::Anonymous, _) => self.row(site).min(Level::View),
            (_, true) => Level::Superuser,
            (_, false) => self.row(site),
        };
        self.token.map_or(own, |token| token.ceiling.clamp(site, own))
    }

    /// Rows of another account are nobody's rows.
    fn row(&self, site: &SiteId) -> Level {
        self.access
            .filter(|access| access.account == self.account.id)
            .map_or(Level::None, |access| access.level(site).min(Level::Admin))
    }

    /// The most that the credential can do on any site.
    #[must_use]
    pub fn highest(&self) -> Level {
        let own = if self.account.superuser { Level::Superuser } else { self.access.map_or(Level::None, AccessRows::highest) };
        match self.token.map(|token| &token.ceiling) {
            None | Some(Ceiling::Owner) => own,
            Some(Ceiling::EverySite(most)) => own.min(*most),
            Some(Ceiling::PerSite(rows)) => {
                let on = |(site, row): (&SiteId, &SiteLevel)| {
                    let own =
                        if self.account.superuser { own } else { self.access.map_or(Level::None, |access| access.level(site)) };
                    own.min(row.level)
                };
                rows.iter().map(on).max().unwrap_or_default()
            }
        }
    }
}
