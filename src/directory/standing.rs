//! Who the actor turns out to be, and what he may do, by his records as they are now. Every use case begins here, anew at
//! each attempt, and its change holds only if these records are still the same then: what was taken from him while he
//! asked, he does not have.

use std::net::IpAddr;

use super::{
    Actor, Directory, DirectoryError, Edit,
    actor::Credential,
    idempotency::{self, IdempotencyKey},
    vouched::Reading,
};
use crate::{
    domain::{
        access::AccessRows,
        account::Account,
        authority::{Authority, Denied},
        decision::Reason,
        event::{Action, By, Event},
        id::AccountId,
        session::{Session, SessionSecret, Stage},
        time::Timestamp,
        token::{PresentedToken, Revocation, Token},
    },
    store::{Key, StoreError, record::Made},
};

/// An actor whose credential has been verified.
pub(super) struct Standing {
    pub authority: Authority,
    pub by: By,
    /// When he asked.
    pub now: Timestamp,
    /// In which he asks, if he does not come with a token.
    pub session: Option<Box<Session>>,
    request_id: Option<String>,
    idempotency: Option<IdempotencyKey>,
}

impl Directory {
    /// Finds out who asks.
    ///
    /// # Errors
    /// `Unauthenticated` when his credential is not good for management; `Replayed` when what he asks for has been done.
    pub(super) async fn standing(&self, actor: &Actor) -> Result<Standing, DirectoryError> {
        self.standing_from(actor, Stage::Whole).await
    }

    /// The same for what may be done in a session from this stage on.
    pub(super) async fn standing_from(&self, actor: &Actor, from: Stage) -> Result<Standing, DirectoryError> {
        let now = self.clock.now();
        let above = |name: String| (Authority::Above, By { account: Some(name), credential: None, address: actor.address });
        let mut session = None;
        let (authority, by) = match &actor.credential {
            Credential::Control { .. } | Credential::System(_) => above(actor.to_string()),
            Credential::Session(cookie) => {
                let read = || -> Reading<_> { Box::pin(whatever_it_says(self.of_session(cookie, from, actor, now))) };
                let (authority, by, found) = self.vouched(Some(&cookie.session), read).await??;
                session = Some(Box::new(found));
                (authority, by)
            }
            Credential::Token(presented) => {
                let read = || -> Reading<_> { Box::pin(whatever_it_says(self.of_token(presented, actor, now))) };
                self.vouched(None, read).await??
            }
        };
        if let Some(key) = &actor.idempotency {
            self.unless_done(actor, key).await?;
        }
        let idempotency = actor.idempotency.as_ref().map(|key| key.of(actor));
        Ok(Standing { authority, by, now, session, request_id: actor.request_id.clone(), idempotency })
    }

    /// What the holder of a session's cookie may do. It is noted that it was seen.
    async fn of_session(
        &self,
        cookie: &SessionSecret,
        from: Stage,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(Authority, By, Session), DirectoryError> {
        let session = self.session_of(cookie).await?.ok_or(Reason::SessionEnded)?;
        let (account, access) = self.account_and_living_access(&session.account).await?.ok_or(Reason::SessionEnded)?;
        let by = by(&account, session.id.to_string(), actor);
        let authority = Authority::of_session(account, access, &session, from, &self.session_rules, now)?;
        Ok((authority, by, self.seen(session, actor.address, now).await))
    }

    /// What the bearer of a token may do.
    async fn of_token(&self, presented: &PresentedToken, actor: &Actor, now: Timestamp) -> Result<(Authority, By), DirectoryError> {
        let token: Option<Token> = self.get(Key::Token(presented.id.clone())).await?;
        let token = token.ok_or(Reason::Unknown)?;
        if !presented.verifies(&token, &self.keys) {
            return Err(Reason::Mismatch.into());
        }
        let (account, access) = self.account_and_living_access(&token.account).await?.ok_or(Reason::Unknown)?;
        let by = by(&account, token.id.to_string(), actor);
        Ok((self.authority(account, access, token, actor.address, now)?, by))
    }

    /// An account with its access to sites that exist: who administered one that has gone administers nothing by that.
    async fn account_and_living_access(&self, id: &AccountId) -> Result<Option<(Account, Option<AccessRows>)>, StoreError> {
        let mut found = self.account_with_access(id).await?;
        if let Some((account, Some(access))) = &mut found
            && !account.superuser
        {
            self.drop_dead_sites(access).await?;
        }
        Ok(found)
    }

    /// Whether the session in which something is about to be done is still what it was.
    pub(super) async fn goes_on(&self, session: &Session) -> Result<bool, StoreError> {
        let now: Option<Session> = self.get(Key::Session(session.id.clone())).await?;
        Ok(now.is_some_and(|now| session.is_unchanged(&now)))
    }

    /// What the bearer of a token may do. The token was used by that; or somebody has one that should be forgotten.
    fn authority(
        &self,
        account: Account,
        access: Option<AccessRows>,
        token: Token,
        client: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Authority, Reason> {
        let id = token.id.clone();
        let authority = Authority::of_token(account, access, token, client, now);
        match &authority {
            Ok(_) => self.signs.used(&id, now, client),
            Err(Reason::Superseded) => self.signs.leaked(&id, now, client),
            Err(_) => {}
        }
        authority
    }

    /// As [`Self::standing`], for what only superusers may.
    pub(super) async fn superuser(&self, actor: &Actor) -> Result<Standing, DirectoryError> {
        let standing = self.standing(actor).await?;
        standing.authority.require_superuser()?;
        Ok(standing)
    }

    /// Whether the actor may look at everything there is.
    pub async fn require_superuser(&self, actor: &Actor) -> Result<(), DirectoryError> {
        self.superuser(actor).await.map(drop)
    }

    /// The account of a token, with its access; `None` when it is gone.
    pub(super) async fn owner(&self, token: &Token) -> Result<Option<(Account, Option<AccessRows>)>, StoreError> {
        self.account_with_access(&token.account).await
    }
}

/// Tells what was read, also of somebody who may not, from that nothing could be read.
async fn whatever_it_says<T>(
    reading: impl Future<Output = Result<T, DirectoryError>>,
) -> Result<Result<T, DirectoryError>, StoreError> {
    match reading.await {
        Err(DirectoryError::Store(error)) => Err(error),
        read => Ok(read),
    }
}

fn by(account: &Account, credential: String, actor: &Actor) -> By {
    By { account: Some(account.login.to_string()), credential: Some(credential), address: actor.address }
}

impl Standing {
    /// As records name him: a login, `control:UID` or `system:NAME`.
    pub fn name(&self) -> String {
        self.by.account.clone().unwrap_or_default()
    }

    /// For the rest of what he was allowed to begin: as himself, and whatever has become of him.
    pub fn after_the_deed(&self) -> Self {
        Self {
            authority: Authority::Above,
            by: self.by.clone(),
            now: self.now,
            session: None,
            request_id: self.request_id.clone(),
            idempotency: None,
        }
    }

    pub fn revocation(&self, why: Option<&str>) -> Revocation {
        Revocation { at: self.now, by: self.name(), why: why.map(str::to_owned), keeps_minted: false }
    }

    /// A change on his behalf.
    pub fn edit(&self) -> Edit {
        let mut edit = Edit::default();
        if let Some(bearer) = self.authority.bearer() {
            if let Some(token) = &bearer.token {
                edit.expect_same(Key::Token(token.id.clone()), token);
            }
            edit.expect_owner(&bearer.account, bearer.access.as_ref());
        }
        if let Some(session) = &self.session {
            edit.expect_to_go_on(session);
        }
        edit
    }

    /// The token he came with.
    pub fn token(&self) -> Option<&Token> {
        self.authority.bearer().and_then(|bearer| bearer.token.as_ref())
    }

    /// For what mints, reveals or grants: in a session the password must have been given just now. What only takes away
    /// needs that of nobody.
    ///
    /// # Errors
    /// When it was given too long ago.
    pub fn require_confirmation(&self) -> Result<(), Denied> {
        let confirmed = self.session.as_ref().is_none_or(|session| session.is_confirmed(self.now));
        if confirmed { Ok(()) } else { Err(Denied::password_confirmation_required()) }
    }

    pub fn event(&self, action: Action, target: impl Into<String>) -> Event {
        Event { request_id: self.request_id.clone(), ..Event::done(action, target, self.now, self.by.clone()) }
    }

    /// Notes what his request came to, if he wants it done once only.
    pub fn made(&self, edit: &mut Edit, directory: &Directory, made: Made) -> Result<(), StoreError> {
        match &self.idempotency {
            Some(key) => idempotency::note(edit, directory, key, made, self.now),
            None => Ok(()),
        }
    }
}
