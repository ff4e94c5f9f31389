//! Where a check meets its records: reads what the decision needs, once, and asks [`decide`]. The only place
//! that joins IO and domain; it allows nothing by itself, and speaks no proxy's dialect.

pub mod explain;
mod find;
pub mod guessing;
pub mod hasher;
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
        policy::{Demand, Otherwise, Policy, Rule, SiteAsk},
        presented::{CredentialReader, Credentials, Presented},
        request::{CheckRequest, Described},
        session::{Session, SessionRules},
        time::Timestamp,
        token::{JudgedToken, PlainToken},
    },
};
use find::{FoundSites, Search};
use guessing::Guessing;
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
    account: Option<Arc<Account>>,
    access: Option<Arc<AccessRows>>,
    sites: FoundSites,
}

/// What verifying came to; the records are in [`Gathered`].
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

impl Gate {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, remembered: Remembered::new() }
    }

    /// Judges one request and hands the verdict to `render`, which sees the records it is about.
    pub fn check<'r, T: 'r>(
        &'r self,
        described: Result<Described<'r>, Reason>,
        render: impl FnOnce(&Verdict<'_>) -> T + 'r,
    ) -> impl Future<Output = T> + 'r {
        self.judge(described, move |verdict, seen| {
            if let Some(seen) = seen {
                self.tell(verdict, &seen);
            }
            render(verdict)
        })
    }

    /// The session's own API token, for the application, where a session is presented.
    #[must_use]
    pub fn session_token(&self, credentials: &Credentials) -> Option<PlainToken> {
        credentials.presented.cookie().map(|cookie| self.parts.reader.prefixes.session_token(cookie))
    }

    /// Hands over what a check tells of a token or a session.
    fn tell(&self, verdict: &Verdict<'_>, seen: &Seen<'_>) {
        let Seen { now, client, .. } = *seen;
        match (verdict.decision.reason(), seen.token, seen.session) {
            (None, Some(token), _) => self.parts.signs.used(&token.id, now, client),
            (Some(Reason::Superseded), Some(token), _) => self.parts.signs.leaked(&token.id, now, client),
            (None, None, Some(session)) if session.is_to_be_written(&self.parts.session_rules, now) => {
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
            Err(reason) => {
                let decision = Decision::Deny(reason);
                let verdict = Verdict { decision, rule: None, credentials: None, request: None, origin: None, otherwise: None };
                return then(&verdict, None);
            }
        };
        let origin = self.parts.reader.hosts.find(&request.host);
        let policy = self.parts.policy.load();
        let rule = policy.find(&request);
        let demand = rule.as_ref().ok().and_then(|rule| rule.demand.as_ref());
        let credentials = demand.map(|demand| self.parts.reader.read(&request, demand.credentials.takes(Via::Body)));
        let (gathered, verification, asked) = match (demand, &credentials) {
            (Some(demand), Some(credentials)) => {
                let asked = SiteAsk::of(&demand.site, &request);
                let (gathered, verification) = self.gather(&request, demand, &asked, &credentials.presented).await;
                (gathered, verification, Some(asked))
            }
            _ => (Gathered::default(), Verification::NotPresented, None),
        };
        let way = credentials.as_ref().map_or(Way::plain(Via::None), |credentials| credentials.presented.way());
        let snapshot = self.snapshot(rule, way, origin, (&gathered, &verification), asked.as_ref());
        let decision = decide(&request, &snapshot);
        let rule = rule.ok().map(|rule| rule.name.as_str());
        let otherwise = demand.map(|demand| demand.otherwise);
        let verdict = Verdict { decision, rule, credentials: credentials.as_ref(), request: Some(&request), origin, otherwise };
        let Gathered { token, session, .. } = &gathered;
        let seen = Seen { token: token.as_deref(), session: session.as_deref(), now: snapshot.now, client: request.client };
        then(&verdict, Some(seen))
    }

    fn snapshot<'a>(
        &'a self,
        rule: Result<&'a Rule, Reason>,
        way: Way,
        origin: Option<&'a Origin>,
        (gathered, verification): (&'a Gathered, &Verification),
        asked: Option<&SiteAsk<'_>>,
    ) -> Snapshot<'a> {
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
            Verification::Unavailable(reason) => Finding::Unavailable(*reason),
        };
        let sites = match (asked, &gathered.sites) {
            (Some(SiteAsk::Missing) | None, _) => Sites::Missing,
            (Some(SiteAsk::Impossible), _) | (Some(_), None) => Sites::Unknown,
            (Some(_), Some(sites)) => Sites::Known(sites),
        };
        // Time is read after everything else, so that nothing is taken for alive that has ended meanwhile.
        let Parts { clock, session_rules, allow_in_url, .. } = &self.parts;
        Snapshot { now: clock.now(), rule, way, finding, sites, origin, session_rules, allow_in_url: *allow_in_url }
    }

    /// Finds what the decision needs. A credential that cannot pass anyway is not looked up.
    async fn gather(
        &self,
        request: &CheckRequest<'_>,
        demand: &Demand,
        asked: &SiteAsk<'_>,
        presented: &Presented,
    ) -> (Gathered, Verification) {
        let nothing = |verification| (Gathered::default(), verification);
        let origin = self.parts.reader.hosts.find(&request.host);
        if refused_way(request, demand, presented.way(), origin, self.parts.allow_in_url).is_some() {
            return nothing(Verification::NotPresented);
        }
        let found = match presented {
            Presented::Nothing if demand.otherwise == Otherwise::Anonymous => self.find(&Search::Anonymous, asked).await,
            Presented::Nothing => return nothing(Verification::NotPresented),
            Presented::Ambiguous => return nothing(Verification::Ambiguous),
            Presented::Malformed(_) => return nothing(Verification::Malformed),
            Presented::Token { token, login, .. } => {
                match self.find(&Search::Token { token, login: login.as_deref() }, asked).await {
                    Ok((gathered, failed @ (Verification::Unknown | Verification::Mismatch))) => {
                        Ok((gathered, Box::pin(self.count_token(failed, request.client)).await))
                    }
                    found => found,
                }
            }
            // What takes its time is boxed: every check's future would be as large as its.
            Presented::Password { login, password } => Box::pin(self.find_password(login, password, asked, request.client)).await,
            Presented::SessionToken { cookie: None, .. } => return nothing(Verification::Unknown),
            Presented::SessionToken { token, cookie: Some(cookie), .. } if !token.is_of(cookie) => {
                return nothing(Verification::Mismatch);
            }
            Presented::Session(cookie) | Presented::SessionToken { cookie: Some(cookie), .. } => {
                self.find(&Search::Session { cookie, host: &request.host }, asked).await
            }
        };
        found.unwrap_or_else(|error| {
            if error.transient {
                tracing::debug!(%error, "the store did not answer a check");
            } else {
                tracing::error!(%error, "the store could not answer a check");
            }
            nothing(Verification::Unavailable(Reason::StoreUnavailable))
        })
    }
}

#[cfg(test)]
mod tests;
