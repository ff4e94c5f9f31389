//! Looks up what was presented: which records there are of it, and whether the secret is theirs. Whether it is alive, and what
//! it may, is not judged here.
//!
//! A look-up runs from the beginning until everything it needs is known; what is not is read in between, all of it at once.

use std::{net::IpAddr, sync::Arc};

use smallvec::{SmallVec, smallvec};
use tokio::time::timeout;

use super::{
    Gate, Gathered, Verification,
    guessing::Refusal,
    hasher, passwords,
    records::{Stop, View},
    remembered::Whose,
};
use crate::{
    domain::{
        account::Account,
        decision::Reason,
        id::AccountId,
        password::Password,
        policy::SiteAsk,
        session::{CheckSession, Session, SessionSecret},
        site::{Host, Site},
        text::{Email, fold},
        token::{JudgedToken, PresentedToken, TokenId},
    },
    store::{
        Key, StoreError,
        record::{HostClaim, NameClaim},
    },
};

/// What the records are looked up for.
pub(super) enum Search<'a> {
    Anonymous,
    Token {
        token: &'a PresentedToken,
        login: Option<&'a str>,
    },
    /// One that is taken for verified, for who explains.
    Known(&'a TokenId),
    Session {
        cookie: &'a SessionSecret,
        host: &'a Host,
    },
    /// The account only: verifying the password takes time.
    Password {
        folded: &'a str,
    },
}

impl Gate {
    pub(super) fn look_up(
        &self,
        search: &Search<'_>,
        asked: &SiteAsk<'_>,
        view: &mut View<'_>,
    ) -> Result<(Gathered, Verification), Stop> {
        let sites = look_up_sites(asked, view);
        match search {
            Search::Anonymous => look_up_account(&AccountId::anonymous(), sites, view).map(verified),
            Search::Token { token, login } => self.look_up_token(token, *login, sites, view),
            Search::Known(id) => {
                let Some(token) = view.get::<JudgedToken>(Key::Token((*id).clone()))? else {
                    return Ok((Gathered::default(), Verification::Unknown));
                };
                let gathered = look_up_account(&token.account, sites, view)?;
                Ok(verified(Gathered { token: Some(token), ..gathered }))
            }
            Search::Session { cookie, host } => self.look_up_session(cookie, host, sites, view),
            Search::Password { folded } => {
                let name = Key::Name((*folded).to_owned());
                let claim = view.get::<NameClaim>(name.clone())?;
                // For an unknown login some other account is looked up; `anonymous` has no password that could match.
                let account = claim.map_or_else(AccountId::anonymous, |claim| claim.account.clone());
                let found = look_up_account(&account, sites, view);
                // Who asks for a name for the first time waits for a second read, be there somebody or not, and however
                // well known: or the time would tell.
                if view.has_read(&name) {
                    view.insist(Key::Account(account))?;
                }
                found.map(verified)
            }
        }
    }

    fn look_up_token(
        &self,
        presented: &PresentedToken,
        login: Option<&str>,
        sites: Result<FoundSites, Stop>,
        view: &mut View<'_>,
    ) -> Result<(Gathered, Verification), Stop> {
        let token = view.get::<JudgedToken>(Key::Token(presented.id.clone()))?;
        let Some(token) = token else { return Ok((Gathered::default(), Verification::Unknown)) };
        // Nothing more is looked up for who only knows an id.
        if !presented.verifies(&token, &self.parts.keys) {
            return Ok((Gathered::default(), Verification::Mismatch));
        }
        let gathered = look_up_account(&token.account, sites, view)?;
        let gathered = Gathered { token: Some(token), ..gathered };
        let verification = if is_his(&gathered, login) { Verification::Verified } else { Verification::Mismatch };
        Ok((gathered, verification))
    }

    fn look_up_session(
        &self,
        cookie: &SessionSecret,
        host: &Host,
        sites: Result<FoundSites, Stop>,
        view: &mut View<'_>,
    ) -> Result<(Gathered, Verification), Stop> {
        let key = Key::Session(cookie.session.clone());
        let session = view.get::<Session>(key.clone());
        let here = view.get::<CheckSession>(Key::CheckSession(cookie.session.clone(), host.clone()));
        // A cookie of another host, or one that has been replaced, is as good as none.
        let Some((mut session, here)) = session?.zip(here?) else { return Ok((Gathered::default(), Verification::Unknown)) };
        if !cookie.verifies(&here.secret) {
            return Ok((Gathered::default(), Verification::Unknown));
        }
        let gathered = look_up_account(&session.account, sites, view)?;
        if self.has_ended(&session)
            && let Some(seen) = self.parts.signs.sessions.last(&session.id)
            && seen > session.seen_at
        {
            Arc::make_mut(&mut session).seen_at = seen;
        }
        // Another server may have seen it since.
        if self.has_ended(&session) {
            view.insist(key)?;
        }
        Ok(verified(Gathered { session: Some(session), check_session: Some(here), ..gathered }))
    }

    /// As far as this record says.
    fn has_ended(&self, session: &Session) -> bool {
        self.parts.clock.now() >= session.ends_at(&self.parts.session_rules)
    }

    /// Whether what is presented now is what these records were gathered for, its secret included; for who has remembered
    /// them. What has to be looked at again is not.
    pub(super) fn still_verifies(&self, search: &Search<'_>, gathered: &Gathered) -> bool {
        match (search, gathered) {
            (Search::Anonymous, _) => true,
            (Search::Token { token, login }, Gathered { token: Some(record), .. }) => {
                token.verifies(record, &self.parts.keys) && is_his(gathered, *login)
            }
            (Search::Session { cookie, .. }, Gathered { session: Some(session), check_session: Some(here), .. }) => {
                cookie.verifies(&here.secret) && !self.has_ended(session)
            }
            _ => false,
        }
    }

    /// Looks up until everything is known, and reads in between. Most often nothing has to be read.
    pub(super) async fn find(&self, search: &Search<'_>, asked: &SiteAsk<'_>) -> Result<(Gathered, Verification), StoreError> {
        let mut view = self.parts.records.view();
        match self.look_up(search, asked, &mut view) {
            Ok(found) => Ok(found),
            Err(Stop::Failed(error)) => Err(error),
            // Boxed, for every check's future would be as large as this.
            Err(Stop::Missing) => {
                let reading = timeout(self.parts.records.read_within, self.find_by_reading(search, asked, view));
                let late = |_| Err(StoreError::transient("the store has not answered a check in time"));
                Box::pin(reading).await.unwrap_or_else(late)
            }
        }
    }

    async fn find_by_reading(
        &self,
        search: &Search<'_>,
        asked: &SiteAsk<'_>,
        mut view: View<'_>,
    ) -> Result<(Gathered, Verification), StoreError> {
        loop {
            view.fetch().await?;
            let found = self.look_up(search, asked, &mut view);
            // In this order: another server that vouches by now has been noticed.
            let is_vouched = view.is_vouched();
            match found {
                Ok(_) if view.is_outdated() => view = self.parts.records.view(),
                Ok(found) if is_vouched => return Ok(found),
                Ok(_) => return Err(StoreError::transient("the store has not shown in time that it is in order")),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Missing) => {}
            }
        }
    }

    pub(super) async fn find_password(
        &self,
        login: &str,
        password: &Password,
        asked: &SiteAsk<'_>,
        client: Option<IpAddr>,
    ) -> Result<(Gathered, Verification), StoreError> {
        // Nobody has a longer one, and folded it could be many times as long.
        let folded = if login.len() as u64 <= 4 * Email::MAX_CHARS { fold(login) } else { String::new() };
        let (gathered, _) = self.find(&Search::Password { folded: &folded }, asked).await?;
        let account = gathered.account.as_deref();
        let verification = self.verify_password((login, &folded), password, client, account).await?;
        Ok((gathered, verification))
    }

    /// "No such login" takes as long as "wrong password", and is not told apart from it.
    async fn verify_password(
        &self,
        (login, folded): (&str, &str),
        password: &Password,
        client: Option<IpAddr>,
        account: Option<&Account>,
    ) -> Result<Verification, StoreError> {
        let Ok(source) = self.parts.guessing.rules().source(client) else { return Ok(Verification::Blocked) };
        let from = source.map(|source| source.to_string()).unwrap_or_default();
        let known = account.and_then(|account| Some((account, passwords::hash_of(account)?)));
        let verify = async {
            let account = known.map(|(account, _)| account);
            let attempt = self.parts.guessing.attempt(client, login).await?;
            let matches = self.parts.passwords.verify(account, password.clone()).await.map_err(|hasher::Busy| Refusal::Busy)?;
            if !matches {
                attempt.failed();
            }
            Ok(matches)
        };
        // A login that nobody has goes the same way, or it could be told by how many are verified at once.
        let whose = known.map_or(Whose::Nobody(folded), |(account, hash)| Whose::Account(&account.id, hash));
        let memory = self.remembered.name_of(&whose, &from, password);
        match self.remembered.or_verify(&memory, self.parts.clock.now(), verify).await {
            Ok(true) => Ok(Verification::Verified),
            Ok(false) => Ok(Verification::Mismatch),
            Err(Refusal::Blocked { .. }) => Ok(Verification::Blocked),
            Err(Refusal::Busy) => Ok(Verification::Unavailable(Reason::Busy)),
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    /// Counts a token that failed; where too many have, nothing else is said of it.
    pub(super) async fn count_token(&self, verification: Verification, client: Option<IpAddr>) -> Verification {
        if matches!(verification, Verification::Unknown | Verification::Mismatch) {
            if self.parts.guessing.tokens_blocked(client).await {
                return Verification::Blocked;
            }
            self.parts.guessing.token_failed(client);
        }
        verification
    }
}

/// Whether the login that was given beside a token, if one was, is its owner's.
fn is_his(gathered: &Gathered, login: Option<&str>) -> bool {
    let is_owner = |login: &str| gathered.account.as_ref().is_none_or(|account| fold(login) == account.login.folded());
    login.is_none_or(is_owner)
}

fn verified(gathered: Gathered) -> (Gathered, Verification) {
    (gathered, Verification::Verified)
}

/// `None` while one of them is unknown.
pub(super) type FoundSites = Option<SmallVec<[Arc<Site>; 2]>>;

/// Everything that is asked for is asked for at once; only the site of a host takes a second step.
fn look_up_sites(asked: &SiteAsk<'_>, view: &mut View<'_>) -> Result<FoundSites, Stop> {
    match asked {
        SiteAsk::Named(names) => {
            let sites: SmallVec<[_; 2]> = names.iter().map(|name| view.get::<Site>(Key::Site(name.clone()))).collect();
            sites.into_iter().collect()
        }
        SiteAsk::ByHost(host) => {
            let Some(claim) = view.get::<HostClaim>(Key::Host(host.clone()))? else { return Ok(None) };
            Ok(view.get::<Site>(Key::Site(claim.site.clone()))?.map(|site| smallvec![site]))
        }
        SiteAsk::Missing | SiteAsk::Impossible => Ok(Some(SmallVec::new())),
    }
}

fn look_up_account(id: &AccountId, sites: Result<FoundSites, Stop>, view: &mut View<'_>) -> Result<Gathered, Stop> {
    let (account, access) = (view.get(Key::Account(id.clone())), view.get(Key::Access(id.clone())));
    Ok(Gathered { account: account?, access: access?, sites: sites?, ..Gathered::default() })
}
