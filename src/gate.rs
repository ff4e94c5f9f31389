//! Where a check meets its records: reads what the decision needs, once, and asks [`decide`]. The only place
//! that joins IO and domain; it allows nothing by itself, and speaks no proxy's dialect.

pub mod explain;
mod find;
pub mod guessing;
pub mod hasher;
mod lately;
pub mod passwords;
pub mod records;
mod remembered;
pub mod seen;
pub mod signs;
mod usage;

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    clock::Clock,
    domain::{
        access::AccessRows,
        account::Account,
        decide::{Decision, Finding, Sites, Snapshot, Verified, decide, leads_to_sign_in, refused_way},
        decision::{Reason, Via, Way},
        key::ServerKeys,
        origin::Origin,
        password::Password,
        policy::{Demand, Otherwise, Policy, Rule, SiteAsk},
        presented::{CredentialReader, Credentials, Presented},
        request::{CheckRequest, Described},
        session::{CheckSession, Session, SessionRules},
        time::Timestamp,
        token::{JudgedToken, PlainToken},
    },
};
use find::{FoundSites, Search};
use guessing::Guessing;
use lately::{Lately, Noted};
use passwords::Passwords;
use records::Records;
use remembered::Remembered;
use seen::Sighting;
use signs::Signs;

/// What a gate is made of.
pub struct Parts {
    pub records: Arc<Records>,
    pub clock: Arc<dyn Clock>,
    pub keys: Arc<ServerKeys>,
    pub passwords: Arc<dyn Passwords>,
    pub signs: Arc<Signs>,
    pub guessing: Arc<Guessing>,
    pub policy: Arc<ArcSwap<Policy>>,
    pub reader: CredentialReader,
    pub allow_in_url: bool,
    pub session_rules: SessionRules,
}

/// Judges requests.
pub struct Gate {
    parts: Parts,
    remembered: Remembered,
}

/// A decision with what else there is to say about it.
pub struct Verdict<'a> {
    pub decision: Decision<'a>,
    /// The rule's name; `None` when none was found.
    pub rule: Option<&'a str>,
    /// Where the credential stood; `None` when nobody was asked.
    pub credentials: Option<&'a Credentials>,
    /// `None` when the request has no single reading.
    pub request: Option<&'a CheckRequest<'a>>,
    /// The configured origin of the request's host; `None` where there are no sessions.
    pub origin: Option<&'a Origin>,
    /// What the rule does with who is not signed in; `None` when nobody was asked.
    pub otherwise: Option<Otherwise>,
}

impl Verdict<'_> {
    /// Of a request that has no single reading.
    fn unread(reason: Reason) -> Self {
        let decision = Decision::Deny(reason);
        Self { decision, rule: None, credentials: None, request: None, origin: None, otherwise: None }
    }

    /// Whether a browser, if one asked, is sent to sign in, where the rule wants it to be: from a host without sessions nobody
    /// can be. `None` where the rule says nothing of it, or this is not what it is refused for.
    #[must_use]
    pub fn sends_to_sign_in(&self) -> Option<bool> {
        let wanted = self.otherwise == Some(Otherwise::Login);
        let via = self.credentials.map_or(Via::None, |credentials| credentials.presented.way().via);
        let is_stranger = self.decision.reason().is_some_and(|reason| leads_to_sign_in(reason, via));
        (wanted && is_stranger).then_some(self.origin.is_some())
    }
}

/// What was presented, with the right secret.
struct Seen<'a> {
    token: Option<&'a JudgedToken>,
    session: Option<&'a Session>,
    now: Timestamp,
    client: Option<IpAddr>,
}

/// The records of one check.
#[derive(Default)]
struct Gathered {
    token: Option<Arc<JudgedToken>>,
    session: Option<Arc<Session>>,
    /// What the request's host has of the session.
    check_session: Option<Arc<CheckSession>>,
    account: Option<Arc<Account>>,
    access: Option<Arc<AccessRows>>,
    sites: FoundSites,
}

impl Gathered {
    /// How many records there are.
    fn count(&self) -> u64 {
        let Self { token, session, check_session, account, access, sites } = self;
        let ones = [token.is_some(), session.is_some(), check_session.is_some(), account.is_some(), access.is_some()];
        ones.map(u64::from).iter().sum::<u64>() + sites.as_ref().map_or(0, |sites| sites.len() as u64)
    }
}

/// What verifying came to; the records are in [`Gathered`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verification {
    NotPresented,
    Malformed,
    Ambiguous,
    Unknown,
    Mismatch,
    Blocked,
    Verified,
    Unavailable(Reason),
}

/// A request as it was read, with the rule that is about it and the credential that it presents.
struct Reading<'a> {
    request: &'a CheckRequest<'a>,
    origin: Option<&'a Origin>,
    rule: Result<&'a Rule, Reason>,
    asking: Option<Asking<'a>>,
}

/// What is asked of who sent the request, where somebody is asked.
struct Asking<'a> {
    demand: &'a Demand,
    sites: SiteAsk<'a>,
    credentials: Credentials,
}

/// What has to be looked up for a request.
enum Sought<'a> {
    Nothing(Verification),
    Records(Search<'a>),
    Password { login: &'a str, password: &'a Password },
}

impl Gate {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, remembered: Remembered::new() }
    }

    /// Judges one request and hands the verdict to `render`, which sees the records it is about.
    pub async fn check<T>(&self, described: Result<Described<'_>, Reason>, render: impl FnOnce(&Verdict<'_>) -> T) -> T {
        match self.check_at_once(described, render) {
            Ok(answer) => answer,
            // Boxed: what is checked at once need not carry a future as large as this.
            Err(render) => {
                let then = |verdict: &Verdict<'_>, seen: Option<Seen<'_>>| {
                    if let Some(seen) = &seen {
                        self.tell(verdict, seen, &mut Noted::default());
                    }
                    render(verdict)
                };
                Box::pin(self.judge(described, then)).await
            }
        }
    }

    /// Judges a request of which everything is known already, as most are.
    ///
    /// # Errors
    /// `render`, where something has to be read or verified first, which takes its time: [`Self::check`].
    pub fn check_at_once<T, F: FnOnce(&Verdict<'_>) -> T>(
        &self,
        described: Result<Described<'_>, Reason>,
        render: F,
    ) -> Result<T, F> {
        let request = match described.and_then(CheckRequest::parse) {
            Ok(request) => request,
            Err(reason) => return Ok(render(&Verdict::unread(reason))),
        };
        let policy = self.parts.policy.load();
        let reading = self.read(&request, &policy);
        match (self.sought(&reading), &reading.asking) {
            (Sought::Nothing(verification), _) => {
                Ok(self.conclude(&reading, &Gathered::default(), verification, |verdict, _| render(verdict)))
            }
            (Sought::Records(search), Some(Asking { sites, .. })) => Lately::with(|lately| {
                let Some((gathered, noted)) = lately.find(self, &search, sites) else { return Err(render) };
                Ok(self.conclude(&reading, gathered, Verification::Verified, |verdict, seen| {
                    if let Some(seen) = &seen {
                        self.tell(verdict, seen, noted);
                    }
                    render(verdict)
                }))
            }),
            (Sought::Records(_) | Sought::Password { .. }, _) => Err(render),
        }
    }

    /// The session's own API token, for the application, where a session is presented.
    #[must_use]
    pub fn session_token(&self, credentials: &Credentials) -> Option<PlainToken> {
        credentials.presented.cookie().map(|cookie| self.parts.reader.prefixes.session_token(cookie))
    }

    /// Hands over what a check tells of a token or a session: of the same again only after a while.
    fn tell(&self, verdict: &Verdict<'_>, seen: &Seen<'_>, noted: &mut Noted) {
        let Seen { now, client, .. } = *seen;
        match (verdict.decision.reason(), seen.token, seen.session) {
            (None, Some(token), _) if noted.renew(now, client) => self.parts.signs.used(&token.id, now, client),
            (Some(Reason::Superseded), Some(token), _) => self.parts.signs.leaked(&token.id, now, client),
            (None, None, Some(session)) if session.is_to_be_written(&self.parts.session_rules, now) && noted.renew(now, client) => {
                self.parts.signs.sessions.note(&session.id, Sighting { at: now, address: client });
            }
            _ => {}
        }
    }

    /// The way of a check: one reading of the request, the rule, the credential, the records, the decision.
    async fn judge<T>(
        &self,
        described: Result<Described<'_>, Reason>,
        then: impl FnOnce(&Verdict<'_>, Option<Seen<'_>>) -> T,
    ) -> T {
        let request = match described.and_then(CheckRequest::parse) {
            Ok(request) => request,
            Err(reason) => return then(&Verdict::unread(reason), None),
        };
        let policy = self.parts.policy.load();
        let reading = self.read(&request, &policy);
        let (gathered, verification) = match &reading.asking {
            Some(asking) => self.gather(&reading, asking).await,
            None => (Gathered::default(), Verification::NotPresented),
        };
        self.conclude(&reading, &gathered, verification, then)
    }

    fn read<'a>(&'a self, request: &'a CheckRequest<'a>, policy: &'a Policy) -> Reading<'a> {
        let rule = policy.find(request);
        let demand = rule.as_ref().ok().and_then(|rule| rule.demand.as_ref());
        let asking = demand.map(|demand| Asking {
            demand,
            sites: SiteAsk::of(&demand.site, request),
            credentials: self.parts.reader.read(request, demand.credentials.takes(Via::Body)),
        });
        Reading { request, origin: self.parts.reader.hosts.find(&request.host), rule, asking }
    }

    /// A credential that cannot pass anyway is not looked up.
    fn sought<'a>(&self, reading: &'a Reading<'_>) -> Sought<'a> {
        let Reading { request, origin, .. } = reading;
        let Some(Asking { demand, credentials: Credentials { presented, .. }, .. }) = &reading.asking else {
            return Sought::Nothing(Verification::NotPresented);
        };
        if refused_way(request, demand, presented.way(), *origin, self.parts.allow_in_url).is_some() {
            return Sought::Nothing(Verification::NotPresented);
        }
        match presented {
            Presented::Nothing if demand.otherwise == Otherwise::Anonymous => Sought::Records(Search::Anonymous),
            Presented::Nothing => Sought::Nothing(Verification::NotPresented),
            Presented::Ambiguous => Sought::Nothing(Verification::Ambiguous),
            Presented::Malformed(_) => Sought::Nothing(Verification::Malformed),
            Presented::Token { token, login, .. } => Sought::Records(Search::Token { token, login: login.as_deref() }),
            Presented::Password { login, password } => Sought::Password { login, password },
            Presented::SessionToken { cookie: None, .. } => Sought::Nothing(Verification::Unknown),
            Presented::SessionToken { token, cookie: Some(cookie), .. } if !token.is_of(cookie) => {
                Sought::Nothing(Verification::Mismatch)
            }
            Presented::Session(cookie) | Presented::SessionToken { cookie: Some(cookie), .. } => {
                Sought::Records(Search::Session { cookie, host: &request.host })
            }
        }
    }

    fn conclude<T>(
        &self,
        reading: &Reading<'_>,
        gathered: &Gathered,
        verification: Verification,
        then: impl FnOnce(&Verdict<'_>, Option<Seen<'_>>) -> T,
    ) -> T {
        let Reading { request, origin, rule, asking } = reading;
        let snapshot = self.snapshot(reading, gathered, verification);
        let verdict = Verdict {
            decision: decide(request, &snapshot),
            rule: rule.ok().map(|rule| rule.name.as_str()),
            credentials: asking.as_ref().map(|asking| &asking.credentials),
            request: Some(request),
            origin: *origin,
            otherwise: asking.as_ref().map(|asking| asking.demand.otherwise),
        };
        let Gathered { token, session, .. } = gathered;
        let seen = Seen { token: token.as_deref(), session: session.as_deref(), now: snapshot.now, client: request.client };
        then(&verdict, Some(seen))
    }

    fn snapshot<'a>(&'a self, reading: &'a Reading<'_>, gathered: &'a Gathered, verification: Verification) -> Snapshot<'a> {
        let finding = match verification {
            Verification::NotPresented => Finding::NotPresented,
            Verification::Malformed => Finding::Malformed,
            Verification::Ambiguous => Finding::Ambiguous,
            Verification::Unknown => Finding::Unknown,
            Verification::Mismatch => Finding::Mismatch,
            Verification::Blocked => Finding::Blocked,
            Verification::Verified => Finding::Verified(Verified {
                account: gathered.account.as_deref(),
                access: gathered.access.as_deref(),
                token: gathered.token.as_deref(),
                session: gathered.session.as_deref(),
            }),
            Verification::Unavailable(reason) => Finding::Unavailable(reason),
        };
        let Reading { origin, rule, asking, .. } = reading;
        let sites = match (asking.as_ref().map(|asking| &asking.sites), &gathered.sites) {
            (Some(SiteAsk::Missing) | None, _) => Sites::Missing,
            (Some(SiteAsk::Impossible), _) | (Some(_), None) => Sites::Unknown,
            (Some(_), Some(sites)) => Sites::Known(sites),
        };
        let way = asking.as_ref().map_or(Way::plain(Via::None), |asking| asking.credentials.presented.way());
        // Time is read after everything else, so that nothing is taken for alive that has ended meanwhile.
        let Parts { clock, session_rules, allow_in_url, .. } = &self.parts;
        let now = clock.now();
        Snapshot { now, rule: *rule, way, finding, sites, origin: *origin, session_rules, allow_in_url: *allow_in_url }
    }

    /// Finds what the decision needs.
    async fn gather(&self, reading: &Reading<'_>, Asking { sites, .. }: &Asking<'_>) -> (Gathered, Verification) {
        let client = reading.request.client;
        let found = match self.sought(reading) {
            Sought::Nothing(verification) => return (Gathered::default(), verification),
            // What takes its time is boxed: every check's future would be as large as its.
            Sought::Password { login, password } => Box::pin(self.find_password(login, password, sites, client)).await,
            Sought::Records(search) => match (self.find(&search, sites).await, &search) {
                (Ok((gathered, failed @ (Verification::Unknown | Verification::Mismatch))), Search::Token { .. }) => {
                    Ok((gathered, Box::pin(self.count_token(failed, client)).await))
                }
                (found, _) => found,
            },
        };
        found.unwrap_or_else(|error| {
            if error.transient {
                tracing::debug!(%error, "the store did not answer a check");
            } else {
                tracing::error!(%error, "the store could not answer a check");
            }
            (Gathered::default(), Verification::Unavailable(Reason::StoreUnavailable))
        })
    }
}

#[cfg(test)]
mod tests;
