//! Looks up what was presented: which records there are of it, and whether the secret is theirs. Whether it is alive, and what
//! it may, is not judged here.

use std::net::IpAddr;

use super::{
    Gate, Gathered, Verification,
    guessing::Refusal,
    hasher, passwords,
    reading::{Answer, Reading, decode},
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
        text::fold,
        token::{PresentedToken, Token},
    },
    store::{Key, StoreError, record::NameClaim},
};

impl Gate {
    pub(super) async fn find_anonymous(&self, asked: &SiteAsk, gathered: &mut Gathered) -> Result<Verification, StoreError> {
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
    pub(super) async fn find_token(
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
    pub(super) async fn find_session(
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
    pub(super) async fn find_password(
        &self,
        login: &str,
        password: &Password,
        asked: &SiteAsk,
        client: Option<IpAddr>,
        gathered: &mut Gathered,
    ) -> Result<Verification, StoreError> {
        let mut reading = Reading::of_sites(asked);
        let folded = fold(login);
        let records = self.read(reading.keys([Key::Name(folded.clone())])).await?;
        reading.take_sites(&records[1..])?;
        // For an unknown login some other account is read, so that both make the same round trips; `anonymous` has no
        // password that could match.
        let account = decode::<NameClaim>(&records[0])?.map_or_else(AccountId::anonymous, |claim| claim.account);
        self.read_account(&account, reading, gathered).await?;
        let Ok(source) = self.parts.guessing.rules().source(client) else { return Ok(Verification::Blocked) };
        let from = source.map(|source| source.to_string()).unwrap_or_default();
        let known = gathered.account.as_ref().and_then(|account| Some((account, passwords::hash_of(account)?)));
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
        let whose = known.map_or(Whose::Nobody(&folded), |(account, hash)| Whose::Account(&account.id, hash));
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
    pub(super) async fn count_token(
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
