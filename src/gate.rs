//! Where a check meets its records: reads what the decision needs, once, and asks [`decide`]. The only place
//! that joins IO and domain; it allows nothing by itself, and speaks no proxy's dialect.

pub mod explain;
pub mod guessing;
pub mod hasher;
pub mod passwords;
mod reading;
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
        decide::{Decision, Finding, Sites, Snapshot, Verified, decide, refused_way},
        decision::{Reason, Via, Way},
        id::AccountId,
        key::ServerKeys,
        origin::Origin,
        password::Password,
        policy::{Demand, Otherwise, Policy, Rule, SiteAsk},
        presented::{CredentialReader, Credentials, Presented},
        request::{CheckRequest, Described},
        session::{CheckSession, Session, SessionRules, SessionSecret},
        site::{Host, Site},
        text::fold,
        time::Timestamp,
        token::{PlainToken, PresentedToken, Token},
    },
    store::{Key, Store, StoreError, record::NameClaim},
};
use guessing::{Guessing, Refusal};
use passwords::Passwords;
use reading::{Answer, Reading, decode};
use remembered::Remembered;
use seen::Sighting;
use signs::Signs;

/// What a gate is made of.
pub struct Parts {
    pub store: Arc<dyn Store>,
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
}

/// What was presented, with the right secret.
struct Seen<'a> {
    token: Option<&'a Token>,
    session: Option<&'a Session>,
    now: Timestamp,
    client: Option<IpAddr>,
}

/// The records of one check.
#[derive(Default)]
struct Gathered {
    token: Option<Token>,
    session: Option<Session>,
    account: Option<Account>,
    access: Option<AccessRows>,
    /// `None` while one of them is unknown.
    sites: Option<Vec<Site>>,
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
    pub async fn check<T>(&self, described: Result<Described<'_>, Reason>, render: impl FnOnce(&Verdict<'_>) -> T) -> T {
        self.judge(described, |verdict, seen| {
            if let Some(seen) = seen {
                self.tell(verdict, &seen);
            }
            render(verdict)
        })
        .await
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
                return then(&Verdict { decision, rule: None, credentials: None, request: None, origin: None }, None);
            }
        };
        let origin = self.parts.reader.hosts.find(&request.host);
        let policy = self.parts.policy.load_full();
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
        let verdict = Verdict { decision, rule, credentials: credentials.as_ref(), request: Some(&request), origin };
        let Gathered { token, session, .. } = &gathered;
        let seen = Seen { token: token.as_ref(), session: session.as_ref(), now: snapshot.now, client: request.client };
        then(&verdict, Some(seen))
    }

    fn snapshot<'a>(
        &'a self,
        rule: Result<&'a Rule, Reason>,
        way: Way,
        origin: Option<&'a Origin>,
        (gathered, verification): (&'a Gathered, &Verification),
        asked: Option<&SiteAsk>,
    ) -> Snapshot<'a> {
        let finding = match verification {
            Verification::NotPresented => Finding::NotPresented,
            Verification::Malformed => Finding::Malformed,
            Verification::Ambiguous => Finding::Ambiguous,
            Verification::Unknown => Finding::Unknown,
            Verification::Mismatch => Finding::Mismatch,
            Verification::Blocked => Finding::Blocked,
            Verification::Verified => Finding::Verified(Verified {
                account: gathered.account.as_ref(),
                access: gathered.access.as_ref(),
                token: gathered.token.as_ref(),
                session: gathered.session.as_ref(),
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

    /// Reads what the decision needs. A credential that cannot pass anyway is not looked up.
    async fn gather(
        &self,
        request: &CheckRequest<'_>,
        demand: &Demand,
        asked: &SiteAsk,
        presented: &Presented,
    ) -> (Gathered, Verification) {
        let mut gathered = Gathered::default();
        let origin = self.parts.reader.hosts.find(&request.host);
        if refused_way(request, demand, presented.way(), origin, self.parts.allow_in_url).is_some() {
            return (gathered, Verification::NotPresented);
        }
        let found = match presented {
            Presented::Nothing if demand.otherwise == Otherwise::Anonymous => self.find_anonymous(asked, &mut gathered).await,
            Presented::Nothing => Ok(Verification::NotPresented),
            Presented::Ambiguous => Ok(Verification::Ambiguous),
            Presented::Malformed(_) => Ok(Verification::Malformed),
            Presented::Token { token, login, .. } => {
                let found = self.find_token(token, login.as_deref(), asked, &mut gathered).await;
                self.count_token(found, request.client).await
            }
            Presented::Password { login, password } => {
                self.find_password(login, password, asked, request.client, &mut gathered).await
            }
            Presented::Session(cookie) => self.find_session(cookie, &request.host, asked, &mut gathered).await,
            Presented::SessionToken { cookie: None, .. } => Ok(Verification::Unknown),
            Presented::SessionToken { token, cookie: Some(cookie), .. } if token.is_of(cookie) => {
                self.find_session(cookie, &request.host, asked, &mut gathered).await
            }
            Presented::SessionToken { .. } => Ok(Verification::Mismatch),
        };
        let verification = found.unwrap_or_else(|error| {
            if error.transient {
                tracing::debug!(%error, "the store did not answer a check");
            } else {
                tracing::error!(%error, "the store could not answer a check");
            }
            Verification::Unavailable(Reason::StoreUnavailable)
        });
        (gathered, verification)
    }

    async fn find_anonymous(&self, asked: &SiteAsk, gathered: &mut Gathered) -> Result<Verification, StoreError> {
        let mut reading = Reading::of_sites(asked);
        let account = AccountId::anonymous();
        let records = self.read(reading.keys([Key::Account(account.clone()), Key::Access(account)])).await?;
        reading.take_sites(&records[2..])?;
        gathered.account = decode(&records[0])?;
        gathered.access = decode(&records[1])?;
        gathered.sites = self.resolve(reading).await?;
        Ok(Verification::Verified)
    }

    /// Two round trips: the token with the sites, then the account with its access.
    async fn find_token(
        &self,
        presented: &PresentedToken,
        login: Option<&str>,
        asked: &SiteAsk,
        gathered: &mut Gathered,
    ) -> Result<Verification, StoreError> {
        let mut reading = Reading::of_sites(asked);
        let records = self.read(reading.keys([Key::Token(presented.id.clone())])).await?;
        let Some(token) = decode::<Token>(&records[0])? else { return Ok(Verification::Unknown) };
        if !presented.verifies(&token, &self.parts.keys) {
            return Ok(Verification::Mismatch);
        }
        reading.take_sites(&records[1..])?;
        self.read_account(&token.account, reading, gathered).await?;
        let is_his = |account: &Account| login.is_none_or(|login| fold(login) == account.login.folded());
        if !gathered.account.as_ref().is_none_or(is_his) {
            return Ok(Verification::Mismatch);
        }
        gathered.token = Some(token);
        Ok(Verification::Verified)
    }

    /// As many round trips as for a token: the session, what the host has of it and the sites, then the account with its
    /// access.
    async fn find_session(
        &self,
        cookie: &SessionSecret,
        host: &Host,
        asked: &SiteAsk,
        gathered: &mut Gathered,
    ) -> Result<Verification, StoreError> {
        let mut reading = Reading::of_sites(asked);
        let keys = [Key::Session(cookie.session.clone()), Key::CheckSession(cookie.session.clone(), host.clone())];
        let records = self.read(reading.keys(keys)).await?;
        let (session, here) = (decode::<Session>(&records[0])?, decode::<CheckSession>(&records[1])?);
        // A cookie of another host, or one that has been replaced, is as good as none.
        let Some(mut session) = session.filter(|_| here.is_some_and(|here| cookie.verifies(&here.secret))) else {
            return Ok(Verification::Unknown);
        };
        reading.take_sites(&records[2..])?;
        self.read_account(&session.account, reading, gathered).await?;
        if let Some(seen) = self.parts.signs.sessions.last(&session.id) {
            session.seen_at = session.seen_at.max(seen);
        }
        gathered.session = Some(session);
        Ok(Verification::Verified)
    }

    /// "No such login" takes as long as "wrong password", and is not told apart from it.
    async fn find_password(
        &self,
        login: &str,
        password: &Password,
        asked: &SiteAsk,
        client: Option<IpAddr>,
        gathered: &mut Gathered,
    ) -> Result<Verification, StoreError> {
        let mut reading = Reading::of_sites(asked);
        let records = self.read(reading.keys([Key::Name(fold(login))])).await?;
        reading.take_sites(&records[1..])?;
        // For an unknown login some other account is read, so that both make the same round trips; `anonymous` has no
        // password that could match.
        let account = decode::<NameClaim>(&records[0])?.map_or_else(AccountId::anonymous, |claim| claim.account);
        self.read_account(&account, reading, gathered).await?;
        let known = gathered.account.as_ref().and_then(|account| Some((account, passwords::hash_of(account)?)));
        let verify = async |account: Option<&Account>| {
            let attempt = self.parts.guessing.attempt(client, login).await?;
            let matches = self.parts.passwords.verify(account, password.clone()).await.map_err(|_busy| Refusal::Busy)?;
            if !matches {
                attempt.failed();
            }
            Ok(matches)
        };
        let matches = match known {
            Some((account, hash)) => {
                let memory = self.remembered.name_of(&account.id, hash, password);
                self.remembered.or_verify(&memory, self.parts.clock.now(), verify(Some(account))).await
            }
            None => verify(None).await,
        };
        match matches {
            Ok(true) => Ok(Verification::Verified),
            Ok(false) => Ok(Verification::Mismatch),
            Err(Refusal::Blocked { .. }) => Ok(Verification::Blocked),
            Err(Refusal::Busy) => Ok(Verification::Unavailable(Reason::Busy)),
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    /// Counts a token that failed; where too many have, nothing else is said of it.
    async fn count_token(
        &self,
        found: Result<Verification, StoreError>,
        client: Option<IpAddr>,
    ) -> Result<Verification, StoreError> {
        if matches!(found, Ok(Verification::Unknown | Verification::Mismatch)) {
            if self.parts.guessing.tokens_blocked(client).await {
                return Ok(Verification::Blocked);
            }
            self.parts.guessing.token_failed(client);
        }
        found
    }

    async fn read_account(&self, id: &AccountId, reading: Reading, gathered: &mut Gathered) -> Result<(), StoreError> {
        let mut keys = vec![Key::Account(id.clone()), Key::Access(id.clone())];
        keys.extend(reading.site_behind_host());
        let records = self.read(keys).await?;
        gathered.account = decode(&records[0])?;
        gathered.access = decode(&records[1])?;
        gathered.sites = match reading {
            Reading::ByHost { .. } => records.get(2).map_or(Ok(None), decode::<Site>)?.map(|site| vec![site]),
            Reading::Named { sites, .. } => sites,
        };
        Ok(())
    }

    async fn resolve(&self, reading: Reading) -> Result<Option<Vec<Site>>, StoreError> {
        match (reading.site_behind_host(), reading) {
            (Some(key), _) => Ok(decode::<Site>(&self.read(vec![key]).await?[0])?.map(|site| vec![site])),
            (None, Reading::Named { sites, .. }) => Ok(sites),
            (None, Reading::ByHost { .. }) => Ok(None),
        }
    }

    async fn read(&self, keys: Vec<Key>) -> Result<Vec<Answer>, StoreError> {
        let records = self.parts.store.read(&keys).await?;
        Ok(keys.into_iter().zip(records).collect())
    }
}
