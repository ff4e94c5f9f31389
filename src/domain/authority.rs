//! Who may change what: the rules of management, as pure functions of the records of the one who asks.
//!
//! Three ranks: a superuser manages everything; a site's administrator its access and the tokens of its services; everybody
//! his own tokens. A token never acts above itself, and reaches management only with the scope `manage`. What is none of
//! somebody's business does not exist for him.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    access::{AccessRows, Level, SiteLevel, SiteLevels},
    account::{Account, AccountKind},
    decision::Reason,
    held::{self, Held},
    id::{AccountId, SiteId},
    session::{Session, SessionRules, Stage},
    time::Timestamp,
    token::{Ceiling, JudgedToken, Scope, Token},
};

/// Who acts, with his records as they are now.
#[derive(Clone, Debug)]
pub enum Authority {
    /// Above all accounts: whoever may open the control socket, and Keygate itself.
    Above,
    Bearer(Box<Bearer>),
}

/// Somebody who acts by one of his tokens, or as himself in a session.
#[derive(Clone, Debug)]
pub struct Bearer {
    pub account: Account,
    pub access: Option<AccessRows>,
    /// `None` in a session: nothing is between him and what his account may.
    pub token: Option<Token>,
}

/// Why somebody may not: a stable code, the field of his request that goes too far, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub code: &'static str,
    pub field: Option<&'static str>,
    pub detail: String,
}

impl Denied {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, field: None, detail: detail.into() }
    }

    #[must_use]
    pub fn site_admin_required() -> Self {
        Self::new("site_admin_required", "only an administrator of the site may do this")
    }

    /// For what mints, reveals or grants, in a session whose password was given too long ago.
    #[must_use]
    pub fn password_confirmation_required() -> Self {
        let detail =
            "give your password once more for this, and a code where you have a second factor: POST it to /api/v1/me/confirm";
        Self::new("password_confirmation_required", detail)
    }

    /// Whether the owner may let a factor go that is the last one.
    ///
    /// # Errors
    /// When the account must have one.
    pub fn may_let_last_factor_go(owner: &Account, rules: &SessionRules) -> Result<(), Self> {
        if !rules.demand_second_factor(owner) {
            return Ok(());
        }
        let detail = "your account must have a second factor, and this is the only one; set up another one first";
        Err(Self::new("last_second_factor", detail))
    }

    /// The same for an account that there is not.
    #[must_use]
    pub fn other_account() -> Self {
        let detail = "you may make tokens for your own account only, and for the service accounts of sites that you administer";
        Self { code: "other_account", field: Some("account"), detail: detail.to_owned() }
    }

    fn too_strong(field: &'static str, detail: &str) -> Self {
        Self { code: "token_too_strong", field: Some(field), detail: detail.to_owned() }
    }
}

/// What a token is to be able to do.
#[derive(Clone, Copy, Debug)]
pub struct Strength<'a> {
    pub ceiling: &'a Ceiling,
    pub scopes: &'a [Scope],
    pub networks: &'a [IpNet],
    pub secure_only: bool,
    pub expires_at: Option<Timestamp>,
    pub system: bool,
}

impl<'a> Strength<'a> {
    #[must_use]
    pub fn of(token: &'a Token) -> Self {
        let JudgedToken { ceiling, scopes, networks, secure_only, expires_at, .. } = &token.judged;
        Self { ceiling, scopes, networks, secure_only: *secure_only, expires_at: *expires_at, system: token.system }
    }
}

/// An account whose token or access is concerned, with its rows.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub account: &'a Account,
    pub access: Option<&'a AccessRows>,
}

impl Owner<'_> {
    /// What he may do on the site.
    #[must_use]
    pub fn level(&self, site: &SiteId) -> Level {
        Held { account: self.account, access: self.access, token: None }.on(site)
    }

    fn rows(&self) -> impl Iterator<Item = (&SiteId, &SiteLevel)> {
        self.access.into_iter().flat_map(|access| access.rows.iter())
    }
}

impl Authority {
    /// The authority of a token whose secret has verified.
    ///
    /// # Errors
    /// When it is dead, comes from where it may not, or is not one for management.
    pub fn of_token(
        account: Account,
        access: Option<AccessRows>,
        token: Token,
        client: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Self, Reason> {
        held::alive(&account, Some(&token), now)?;
        if !held::comes_from(&token, client) {
            return Err(Reason::Network);
        }
        if !token.scopes.iter().any(|scope| scope.as_str() == Scope::MANAGE) {
            return Err(Reason::Scope);
        }
        Ok(Self::Bearer(Box::new(Bearer { account, access, token: Some(token) })))
    }

    /// The authority of a session whose secret has verified, for what may be done from this stage on.
    ///
    /// # Errors
    /// When it has ended or not come so far, or its account is disabled.
    pub fn of_session(
        account: Account,
        access: Option<AccessRows>,
        session: &Session,
        from: Stage,
        rules: &SessionRules,
        now: Timestamp,
    ) -> Result<Self, Reason> {
        if session.stage(&account, rules, now)? < from {
            return Err(Reason::SecondFactorRequired);
        }
        Ok(Self::Bearer(Box::new(Bearer { account, access, token: None })))
    }

    #[must_use]
    pub fn bearer(&self) -> Option<&Bearer> {
        match self {
            Self::Above => None,
            Self::Bearer(bearer) => Some(bearer),
        }
    }

    /// Above all sites, also under the ceiling of the token he came with.
    #[must_use]
    pub fn is_superuser(&self) -> bool {
        self.bearer().is_none_or(|bearer| {
            let full = match bearer.ceiling() {
                Ceiling::Owner => true,
                Ceiling::EverySite(most) => *most == Level::Superuser,
                Ceiling::PerSite(_) => false,
            };
            bearer.account.superuser && full
        })
    }

    #[must_use]
    pub fn is(&self, account: &AccountId) -> bool {
        self.bearer().is_some_and(|bearer| bearer.account.id == *account)
    }

    /// What he may do on the site.
    #[must_use]
    pub fn level(&self, site: &SiteId) -> Level {
        self.bearer().map_or(Level::Superuser, |bearer| bearer.held().on(site))
    }

    #[must_use]
    pub fn administers(&self, site: &SiteId) -> bool {
        self.level(site) >= Level::Admin
    }

    /// The sites that he administers by name; `None` when that is every site there is.
    #[must_use]
    pub fn administered(&self) -> Option<Vec<(&SiteId, &SiteLevel)>> {
        let bearer = self.bearer()?;
        let rows = match (bearer.ceiling(), bearer.account.superuser) {
            (Ceiling::Owner, true) => return None,
            (Ceiling::EverySite(most), true) if *most >= Level::Admin => return None,
            (Ceiling::PerSite(rows), true) => Some(&**rows),
            (_, true) => None,
            (_, false) => bearer.access.as_ref().map(|access| &access.rows),
        };
        let mut sites: Vec<_> = rows.into_iter().flat_map(SiteLevels::iter).filter(|(site, _)| self.administers(site)).collect();
        sites.sort_by(|a, b| a.1.site.cmp(&b.1.site));
        Some(sites)
    }

    /// For what only superusers may.
    ///
    /// # Errors
    /// For everybody else.
    pub fn require_superuser(&self) -> Result<(), Denied> {
        if self.is_superuser() { Ok(()) } else { Err(Denied::new("superuser_required", "only a superuser may do this")) }
    }

    /// Whether there is such an account, as far as he may know.
    #[must_use]
    pub fn sees_account(&self, account: &AccountId) -> bool {
        self.is_superuser() || self.is(account)
    }

    /// Whether somebody may be given this level on the site, which he sees.
    ///
    /// # Errors
    /// When it is not his to give.
    pub fn may_give(&self, site: &SiteId, level: Level) -> Result<(), Denied> {
        if self.administers(site) && level <= self.level(site) { Ok(()) } else { Err(Denied::site_admin_required()) }
    }

    /// Whether there is such a token, as far as he may know: his own, and those of services on his sites.
    #[must_use]
    pub fn sees_token(&self, token: &Token, owner: Owner<'_>) -> bool {
        if self.is_superuser() {
            return true;
        }
        if token.system {
            return false;
        }
        let held = Held { account: owner.account, access: owner.access, token: Some(token) };
        self.is(&owner.account.id)
            || (is_service(owner.account) && owner.rows().any(|(site, _)| held.on(site) > Level::None && self.administers(site)))
    }

    /// The ceiling of a token as he sees it: of somebody else's only what is on sites that he administers.
    #[must_use]
    pub fn shown_ceiling(&self, token: &Token) -> Ceiling {
        match &token.ceiling {
            Ceiling::PerSite(rows) if !self.is_superuser() && !self.is(&token.account) => {
                let his = rows.iter().filter(|(site, _)| self.administers(site));
                Ceiling::PerSite(Box::new(his.map(|(site, row)| (site.clone(), row.clone())).collect()))
            }
            ceiling => ceiling.clone(),
        }
    }

    /// Whether there are such tokens or such access at all, as far as he may know: of himself, and of who has to do with
    /// his sites.
    #[must_use]
    pub fn has_to_do_with(&self, owner: Owner<'_>) -> bool {
        self.is_superuser()
            || self.is(&owner.account.id)
            || owner.rows().any(|(site, row)| row.level > Level::None && self.administers(site))
    }

    /// Whether he may rename or revoke a token that he sees.
    ///
    /// # Errors
    /// When it also serves sites that are none of his.
    pub fn may_change_token(&self, token: &Token, owner: Owner<'_>) -> Result<(), Denied> {
        let held = Held { account: owner.account, access: owner.access, token: Some(token) };
        let within_his_sites = || owner.rows().all(|(site, _)| held.on(site) == Level::None || self.administers(site));
        if self.is_superuser() || self.is(&owner.account.id) || within_his_sites() {
            return Ok(());
        }
        let detail =
            "this token also serves sites that you do not administer; take its account's access to yours away, or ask a superuser";
        Err(Denied::new("beyond_your_sites", detail))
    }

    /// The ceiling of a token for `owner` that asks for none: for a service of his sites the sites that he administers, so
    /// that what it is given elsewhere does not come into his hands.
    #[must_use]
    pub fn ceiling_for(&self, owner: Owner<'_>) -> Ceiling {
        if self.is_superuser() || self.is(&owner.account.id) {
            return Ceiling::Owner;
        }
        match self.administered() {
            None => Ceiling::EverySite(Level::Admin),
            Some(sites) => {
                let of_owner = sites.into_iter().filter(|(site, _)| owner.level(site) > Level::None);
                let row =
                    |(id, row): (&SiteId, &SiteLevel)| (id.clone(), SiteLevel { site: row.site.clone(), level: self.level(id) });
                Ceiling::PerSite(Box::new(of_owner.map(row).collect()))
            }
        }
    }

    /// Whether he may make a token of this strength for `owner`. Only as strong as the token he came with, if any, or less;
    /// for others only as their administrator.
    ///
    /// # Errors
    /// When he may not, or the first field in which the token would be too strong.
    pub fn may_mint(&self, owner: Owner<'_>, wanted: Strength<'_>) -> Result<(), Denied> {
        let Some(bearer) = self.bearer() else { return Ok(()) };
        if !bearer.account.may_mint_tokens {
            return Err(Denied::new("minting_off", "this account may not make tokens"));
        }
        if wanted.system && !self.is_superuser() {
            return Err(Denied::new("superuser_required", "only a superuser may make a system token"));
        }
        let own = self.is(&owner.account.id);
        if !own && !self.is_superuser() && !self.is_service_of_his(owner) {
            return Err(Denied::other_account());
        }
        if !own && !self.is_superuser() && wanted.scopes.iter().any(|scope| scope.as_str() == Scope::MANAGE) {
            let detail =
                "a token for management acts as its account, also elsewhere; only a superuser may make one for another account";
            return Err(Denied::too_strong("scopes", detail));
        }
        let levels_pass = if own { below(wanted.ceiling, bearer.ceiling()) } else { self.may_give_all(wanted.ceiling) };
        if !levels_pass {
            let detail = "a token cannot make one with more access than it has itself; ask for levels within its own";
            return Err(Denied::too_strong("levels", detail));
        }
        let Some(token) = &bearer.token else { return Ok(()) };
        // For others he acts as an administrator, who gives what he does not use himself.
        if own && !self.is_superuser() && !within_scopes(wanted.scopes, &token.scopes) {
            let detail =
                "a token cannot make one with scopes that it does not have, nor one without any; name scopes among its own";
            return Err(Denied::too_strong("scopes", detail));
        }
        if !within_networks(wanted.networks, &token.networks) {
            let detail = "a token that is limited to networks cannot make one for others; name networks within its own";
            return Err(Denied::too_strong("networks", detail));
        }
        if token.ends_at().is_some_and(|end| wanted.expires_at.is_none_or(|wanted| wanted > end)) {
            let detail = "a token cannot make one that outlives it; ask for an end that is not after its own";
            return Err(Denied::too_strong("expires_at", detail));
        }
        if token.secure_only && !wanted.secure_only {
            return Err(Denied::too_strong("secure_only", "a token that is refused in URLs can only make ones that are, too"));
        }
        Ok(())
    }

    /// Whether it can have tokens that he sees: himself, and services on his sites.
    #[must_use]
    pub fn sees_tokens_of(&self, owner: Owner<'_>) -> bool {
        self.is_superuser() || self.is(&owner.account.id) || self.is_service_of_his(owner)
    }

    fn is_service_of_his(&self, owner: Owner<'_>) -> bool {
        is_service(owner.account) && owner.rows().any(|(site, row)| row.level > Level::None && self.administers(site))
    }

    /// Whether everything under the ceiling is his to give.
    fn may_give_all(&self, ceiling: &Ceiling) -> bool {
        if self.is_superuser() {
            return true;
        }
        match ceiling {
            Ceiling::Owner => false,
            Ceiling::EverySite(level) => self.administered().is_none() && *level <= Level::Admin,
            Ceiling::PerSite(rows) => rows.iter().all(|(site, row)| self.administers(site) && row.level <= self.level(site)),
        }
    }
}

impl Bearer {
    fn held(&self) -> Held<'_> {
        Held { account: &self.account, access: self.access.as_ref(), token: self.token.as_deref() }
    }

    fn ceiling(&self) -> &Ceiling {
        self.token.as_ref().map_or(&Ceiling::Owner, |token| &token.ceiling)
    }
}

fn is_service(account: &Account) -> bool {
    account.kind == AccountKind::Service && !account.superuser
}

/// Whether one ceiling is never above another, whatever their common owner has now or later.
fn below(lower: &Ceiling, upper: &Ceiling) -> bool {
    match (lower, upper) {
        (_, Ceiling::Owner) => true,
        (Ceiling::EverySite(lower), Ceiling::EverySite(upper)) => lower <= upper,
        (Ceiling::Owner, _) | (Ceiling::EverySite(_), Ceiling::PerSite(_)) => false,
        (Ceiling::PerSite(rows), upper) => rows.iter().all(|(site, row)| upper.clamp(site, row.level) == row.level),
    }
}

/// None at all would pass more rules than any.
fn within_scopes(wanted: &[Scope], own: &[Scope]) -> bool {
    !wanted.is_empty() && wanted.iter().all(|scope| own.contains(scope))
}

/// None at all is any network.
fn within_networks(wanted: &[IpNet], own: &[IpNet]) -> bool {
    own.is_empty() || (!wanted.is_empty() && wanted.iter().all(|network| own.iter().any(|own| own.contains(network))))
}
