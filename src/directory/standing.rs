//! Who the actor turns out to be, and what he may do, by his records as they are now. Every use case begins here, anew at
//! each attempt, and its change holds only if these records are still the same then: what was taken from him while he
//! asked, he does not have.

use std::net::IpAddr;

use super::{
    Actor, Directory, DirectoryError, Edit,
    actor::Credential,
    idempotency::{self, IdempotencyKey},
};
use crate::{
    domain::{
        access::AccessRows,
        account::Account,
        authority::Authority,
        decision::Reason,
        event::{Action, By, Event},
        time::Timestamp,
        token::{Revocation, Token},
    },
    store::{Key, StoreError, record::Made},
};

/// An actor whose credential has been verified.
pub(super) struct Standing {
    pub authority: Authority,
    pub by: By,
    /// When he asked.
    pub now: Timestamp,
    request_id: Option<String>,
    idempotency: Option<IdempotencyKey>,
}

impl Directory {
    /// Finds out who asks.
    ///
    /// # Errors
    /// `Unauthenticated` when his credential is not good for management; `Replayed` when what he asks for has been done.
    pub(super) async fn standing(&self, actor: &Actor) -> Result<Standing, DirectoryError> {
        let now = self.clock.now();
        let above = |name: String| (Authority::Above, By { account: Some(name), credential: None, address: actor.address });
        let (authority, by) = match &actor.credential {
            Credential::Control { .. } | Credential::System(_) => above(actor.to_string()),
            Credential::Token(presented) => {
                let token: Option<Token> = self.get(Key::Token(presented.id.clone())).await?;
                let token = token.ok_or(Reason::Unknown)?;
                if !presented.verifies(&token, &self.keys) {
                    return Err(Reason::Mismatch.into());
                }
                let (account, mut access) = self.owner(&token).await?.ok_or(Reason::Unknown)?;
                // Who administered a site that has gone administers nothing by that.
                if let Some(access) = access.as_mut().filter(|_| !account.superuser) {
                    self.drop_dead_sites(access).await?;
                }
                let by =
                    By { account: Some(account.login.to_string()), credential: Some(token.id.to_string()), address: actor.address };
                (self.authority(account, access, token, actor.address, now)?, by)
            }
        };
        if let Some(key) = &actor.idempotency {
            self.unless_done(actor, key).await?;
        }
        let idempotency = actor.idempotency.as_ref().map(|key| key.of(actor));
        Ok(Standing { authority, by, now, request_id: actor.request_id.clone(), idempotency })
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
            edit.expect_same(Key::Token(bearer.token.id.clone()), &bearer.token);
            edit.expect_owner(&bearer.account, bearer.access.as_ref());
        }
        edit
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
