//! The one place where a request is allowed. Total, synchronous, reads no clock. Every guard is a line here;
//! a success can be rendered only from a [`Grant`], and a `Grant` is made nowhere else.

use std::{borrow::Cow, sync::Arc};

use super::{
    access::{AccessRows, Level},
    account::{Account, AccountKind},
    decision::{Challenge, Reason, Via, Way},
    held::{self, Held},
    origin::Origin,
    policy::{Demand, Otherwise, Rule},
    request::CheckRequest,
    session::{Session, SessionRules},
    site::Site,
    time::Timestamp,
    token::{JudgedToken, Scope},
};

/// What was found out about the presented credential.
#[derive(Clone, Copy, Debug)]
pub enum Finding<'a> {
    NotPresented,
    /// Wrong prefix, length or checksum: never reached the store.
    Malformed,
    /// Two credentials that disagree, a header given twice.
    Ambiguous,
    /// No record.
    Unknown,
    /// A record, but the secret does not verify.
    Mismatch,
    /// Too many have failed before: this one was not looked at, or is one more.
    Blocked,
    /// The secret verified, or nobody was asked and this is `anonymous`; expiry, revocation, scope and site are not judged yet.
    Verified(Verified<'a>),
    /// The store could not answer, or the verifier had no room.
    Unavailable(Reason),
}

/// The records behind a credential that verified.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a> {
    /// `None` when the account is gone: then nobody is here.
    pub account: Option<&'a Account>,
    pub access: Option<&'a AccessRows>,
    /// `None` for a password and for a session.
    pub token: Option<&'a JudgedToken>,
    /// Which the browser's cookie has proved.
    pub session: Option<&'a Session>,
}

/// The sites that the request is about, as the store knows them.
#[derive(Clone, Copy, Debug)]
pub enum Sites<'a> {
    /// The request names none.
    Missing,
    /// At least one does not exist.
    Unknown,
    Known(&'a [Arc<Site>]),
}

/// Everything that a decision may look at.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    pub now: Timestamp,
    /// The rule that is about the request, or why there is none.
    pub rule: Result<&'a Rule, Reason>,
    pub way: Way,
    pub finding: Finding<'a>,
    pub sites: Sites<'a>,
    /// The configured origin of the request's host; `None` where there are no sessions.
    pub origin: Option<&'a Origin>,
    pub session_rules: &'a SessionRules,
    /// Whether this installation takes tokens from URLs at all.
    pub allow_in_url: bool,
}

/// The verdict. An adapter can render a success only from a [`Grant`].
#[must_use]
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    Allow(Grant<'a>),
    /// 401: we do not know who you are.
    Challenge(Challenge),
    /// 403 (or 400, when the request has no single reading, or 429): we know, and no.
    Deny(Reason),
    /// Neither: the outage policy speaks.
    Unavailable(Reason),
}

impl Decision<'_> {
    /// Why not, or `None` for an allow.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Allow(_) => None,
            Self::Challenge(challenge) => Some(challenge.reason),
            Self::Deny(reason) | Self::Unavailable(reason) => Some(*reason),
        }
    }

    /// The word of the contract.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Challenge(_) => "challenge",
            Self::Deny(_) => "deny",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// A request that passes, and who it is.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    via: Via,
    who: Option<Who<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Who<'a> {
    account: &'a Account,
    token: Option<&'a JudgedToken>,
    session: Option<&'a Session>,
    sites: &'a [Arc<Site>],
    access: Level,
}

impl<'a> Grant<'a> {
    #[must_use]
    pub fn via(&self) -> Via {
        self.via
    }

    /// The login as stored; `None` on a public rule.
    #[must_use]
    pub fn account(&self) -> Option<&'a str> {
        self.who.map(|who| who.account.login.as_str())
    }

    #[must_use]
    pub fn kind(&self) -> Option<AccountKind> {
        self.who.map(|who| who.account.kind)
    }

    /// `shop`, or `1,3`.
    #[must_use]
    pub fn site(&self) -> Option<Cow<'a, str>> {
        Some(match self.who?.sites {
            [site] => Cow::Borrowed(site.site.as_str()),
            sites => Cow::Owned(sites.iter().map(|site| site.site.as_str()).collect::<Vec<_>>().join(",")),
        })
    }

    /// What the caller may do on the sites; the lowest over several.
    #[must_use]
    pub fn access(&self) -> Option<Level> {
        self.who.map(|who| who.access)
    }

    /// The id of the token's record or of the session; `None` for a password.
    #[must_use]
    pub fn credential(&self) -> Option<&'a str> {
        let who = self.who?;
        who.token.map(|token| token.id.as_str()).or_else(|| who.session.map(|session| session.id.as_str()))
    }

    #[must_use]
    pub fn name(&self) -> Option<&'a str> {
        self.who?.account.name.as_ref().map(super::text::Label::as_str)
    }

    #[must_use]
    pub fn email(&self) -> Option<&'a str> {
        self.who?.account.email.as_ref().map(super::text::Email::as_str)
    }
}

/// Whether the rule takes a credential that came this way, with this request. Asked before any record is looked up, and
/// again here.
#[must_use]
pub fn refused_way(
    request: &CheckRequest<'_>,
    demand: &Demand,
    way: Way,
    origin: Option<&Origin>,
    allow_in_url: bool,
) -> Option<Reason> {
    match way.via {
        Via::None => None,
        _ if way.place == Via::Query && !allow_in_url => Some(Reason::UrlTokenRefused),
        Via::SessionToken => refused_session_token(request, demand, way.place),
        via if !demand.credentials.takes(via) => Some(Reason::CredentialKind),
        Via::Session if !demand.allows_cross_site && crosses_sites(request, origin) => Some(Reason::CrossSite),
        _ => None,
    }
}

/// A session's token is for the pages of an application: it reads what may be viewed, and changes by POST only, which no
/// link and no image can send.
fn refused_session_token(request: &CheckRequest<'_>, demand: &Demand, place: Via) -> Option<Reason> {
    // In HTTP Basic a browser would remember it.
    let taken = demand.credentials.takes(Via::Session) && demand.credentials.takes(place) && place != Via::Basic;
    let fits = if request.reads() { demand.level(request) <= Level::View } else { request.method == "POST" };
    match (taken && fits, place) {
        (false, _) => Some(Reason::CredentialKind),
        (true, Via::Query) if !request.reads() => Some(Reason::UrlTokenRefused),
        (true, _) => None,
    }
}

/// Whether a page of another origin makes the browser send this, its cookie included, and something could change by it.
/// Pages of sibling hosts are others too.
fn crosses_sites(request: &CheckRequest<'_>, origin: Option<&Origin>) -> bool {
    let fetch = &request.headers.fetch;
    let may_change = !request.reads() || request.method_is_overridden() || fetch.opens_websocket();
    may_change && fetch.is_own(origin) == Some(false)
}

/// May this request pass, and who is it?
pub fn decide<'a>(request: &CheckRequest<'_>, snapshot: &Snapshot<'a>) -> Decision<'a> {
    let rule = match snapshot.rule {
        Ok(rule) => rule,
        Err(reason) => return Decision::Deny(reason),
    };
    let Some(demand) = &rule.demand else {
        return Decision::Allow(Grant { via: Via::None, who: None });
    };
    if let Finding::Ambiguous = snapshot.finding {
        return Decision::Deny(Reason::AmbiguousCredential);
    }
    let Way { via, place } = snapshot.way;
    if let Some(reason) = refused_way(request, demand, snapshot.way, snapshot.origin, snapshot.allow_in_url) {
        return Decision::Deny(reason);
    }
    let challenge = |reason| {
        let invalid_token = reason != Reason::NoCredential && matches!(place, Via::Bearer | Via::Body | Via::Query);
        let can_sign_in = demand.otherwise == Otherwise::Login && leads_to_sign_in(reason, via);
        let sign_in = can_sign_in && snapshot.origin.is_some() && request.is_navigation();
        Decision::Challenge(Challenge { reason, invalid_token, basic: demand.credentials.takes(Via::Basic), sign_in })
    };
    let verified = match snapshot.finding {
        Finding::Verified(verified) => verified,
        Finding::NotPresented | Finding::Ambiguous => return challenge(Reason::NoCredential),
        Finding::Malformed | Finding::Unknown if matches!(via, Via::Session | Via::SessionToken) => {
            return challenge(Reason::SessionEnded);
        }
        Finding::Malformed => return challenge(Reason::Malformed),
        Finding::Unknown => return challenge(Reason::Unknown),
        Finding::Mismatch => return challenge(Reason::Mismatch),
        Finding::Blocked => return Decision::Deny(Reason::TooManyFailures),
        Finding::Unavailable(reason) => return Decision::Unavailable(reason),
    };
    let account = match authenticate(&verified, snapshot) {
        Ok(account) => account,
        Err(reason) => return challenge(reason),
    };
    match authorize(request, demand, account, &verified, snapshot) {
        Ok((sites, access)) => {
            let who = Who { account, token: verified.token, session: verified.session, sites, access };
            Decision::Allow(Grant { via, who: Some(who) })
        }
        // Nobody in particular may not; somebody might.
        Err(_) if account.kind == AccountKind::Anonymous => challenge(Reason::NoCredential),
        Err(reason) => Decision::Deny(reason),
    }
}

/// Whether a browser that is refused so comes further by signing in. With a password that it sends along by itself it would
/// send two credentials then.
#[must_use]
pub fn leads_to_sign_in(reason: Reason, via: Via) -> bool {
    matches!(reason, Reason::NoCredential | Reason::SessionEnded) || (reason == Reason::SecondFactorRequired && via == Via::Session)
}

/// Is the credential alive, and whose is it?
fn authenticate<'a>(verified: &Verified<'a>, snapshot: &Snapshot<'_>) -> Result<&'a Account, Reason> {
    match (verified.account, verified.session) {
        (Some(account), None) => {
            held::alive(account, verified.token, snapshot.now)?;
            // `anonymous` needs no password, and people need more than that.
            if verified.token.is_none() && snapshot.session_rules.need_more_than_password(account) {
                return Err(Reason::SecondFactorRequired);
            }
            Ok(account)
        }
        (Some(account), Some(session)) => session.alive(account, snapshot.session_rules, snapshot.now).map(|()| account),
        (None, None) => Err(Reason::Unknown),
        (None, Some(_)) => Err(Reason::SessionEnded),
    }
}

/// May he? The sites, and the lowest level he has on them.
fn authorize<'a>(
    request: &CheckRequest<'_>,
    demand: &Demand,
    account: &Account,
    verified: &Verified<'a>,
    snapshot: &Snapshot<'a>,
) -> Result<(&'a [Arc<Site>], Level), Reason> {
    if account.kind == AccountKind::Anonymous && demand.otherwise != Otherwise::Anonymous {
        return Err(Reason::NoCredential);
    }
    if let Some(token) = verified.token {
        if token.secure_only && snapshot.way.place == Via::Query {
            return Err(Reason::UrlTokenRefused);
        }
        if !held::comes_from(token, request.client) {
            return Err(Reason::Network);
        }
        if !scope_passes(&token.scopes, demand.scope.as_ref()) {
            return Err(Reason::Scope);
        }
    }
    let sites = match snapshot.sites {
        Sites::Known([]) | Sites::Missing => return Err(Reason::SiteMissing),
        Sites::Unknown => return Err(Reason::SiteUnknown),
        Sites::Known(sites) => sites,
    };
    let held = Held { account, access: verified.access, token: verified.token };
    let is_bounded = verified.token.is_some() && demand.max_token_access < Level::Superuser;
    if is_bounded && held.highest() > demand.max_token_access {
        return Err(Reason::TokenTooPowerful);
    }
    let access = sites.iter().map(|site| held.on(&site.id)).min().unwrap_or_default();
    let needed = demand.level(request);
    // A rule that needs nothing would let everybody in who has a credential for something else.
    if access < needed || needed == Level::None || access == Level::None { Err(Reason::SiteAccess) } else { Ok((sites, access)) }
}

/// A token without scopes passes any rule but the management API's; one with scopes only the rules of those scopes.
fn scope_passes(scopes: &[Scope], wanted: Option<&Scope>) -> bool {
    match wanted {
        Some(wanted) if scopes.is_empty() => wanted.as_str() != Scope::MANAGE,
        Some(wanted) => scopes.contains(wanted),
        None => scopes.is_empty(),
    }
}

#[cfg(test)]
mod tests;
