//! Making tokens: a new one, or the successor of one. The only place where a secret comes into being.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;

use super::{Actor, Directory, DirectoryError, Edit, Plan, fields, rng, tokens::TokenInfo, until_settled};
use crate::{
    domain::{
        access::{Level, SiteLevel},
        account::{Account, AccountKind, Format},
        site::{Site, SiteName},
        text::{Invalid, Label, Login},
        time::Timestamp,
        token::{Ceiling, Minted, PlainToken, Scope, Supersession, Token, TokenId, TokenKind, TokenState},
    },
    store::{Index, Key},
};

/// A predecessor lives at most this long beside its successor.
const MAX_GRACE: Duration = Duration::from_hours(30 * 24);

/// How far below its owner a token is to stay, by the names of sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CeilingAsk {
    Owner,
    EverySite(Level),
    PerSite(BTreeMap<SiteName, Level>),
}

/// When a token is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    At(Timestamp),
    After(Duration),
}

/// A token to make.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The owner.
    pub account: Login,
    pub name: Label,
    pub device: Option<Label>,
    pub ceiling: CeilingAsk,
    pub scopes: Vec<Scope>,
    pub networks: Vec<IpNet>,
    pub secure_only: bool,
    pub expires: Option<Expiry>,
}

impl NewToken {
    /// As strong as its owner, for ever.
    #[must_use]
    pub fn new(account: Login, name: Label) -> Self {
        Self {
            account,
            name,
            device: None,
            ceiling: CeilingAsk::Owner,
            scopes: Vec::new(),
            networks: Vec::new(),
            secure_only: false,
            expires: None,
        }
    }
}

impl Directory {
    /// Makes a token. Its text is in the answer and nowhere else, ever.
    pub async fn create_token(&self, actor: &Actor, new: NewToken) -> Result<(PlainToken, TokenInfo), DirectoryError> {
        actor.may_administer()?;
        fields::bounded(&new.scopes, "too_many_scopes", "scopes")?;
        fields::bounded(&new.networks, "too_many_networks", "networks")?;
        until_settled!(self, self.plan_create_token(actor, &new).await?)
    }

    async fn plan_create_token(&self, actor: &Actor, new: &NewToken) -> Result<Plan<(PlainToken, TokenInfo)>, DirectoryError> {
        let now = self.clock.now();
        let expires_at = new.expires.map(|expiry| end(expiry, now)).transpose()?;
        let owner = self.account_by_login(&new.account).await?;
        let kind = kind_for(&owner)?;
        let mut edit = Edit::default();
        // Its generation is copied, so he must not have "revoked all" in between.
        edit.expect_same(Key::Account(owner.id.clone()), &owner);
        let ceiling = self.ceiling(&mut edit, &new.ceiling).await?;
        let Minted { id, key, digest, text } = self.prefixes.mint(kind, &self.keys, &mut rng());
        let token = Token {
            v: Format,
            id,
            account: owner.id.clone(),
            kind,
            generation: owner.generation,
            digest,
            key,
            name: new.name.clone(),
            device: new.device.clone(),
            ceiling,
            scopes: distinct(&new.scopes),
            networks: distinct(&new.networks),
            secure_only: new.secure_only,
            created_at: now,
            created_by: actor.as_creator(),
            expires_at,
            revoked: None,
            superseded: None,
            version: 1,
        };
        add(&mut edit, &token)?;
        Ok(Plan::Commit(edit, (text, TokenInfo::new(token, &owner, now))))
    }

    /// Makes a successor with the same rights and the same end. The predecessor is dead when `grace` is over.
    pub async fn rotate_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        grace: Duration,
    ) -> Result<(PlainToken, TokenInfo), DirectoryError> {
        actor.may_administer()?;
        if grace > MAX_GRACE {
            return Err(Invalid::new("grace_too_long", "grace", "the grace of a rotation is at most 30d").into());
        }
        until_settled!(self, self.plan_rotate_token(actor, id, grace).await?)
    }

    async fn plan_rotate_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        grace: Duration,
    ) -> Result<Plan<(PlainToken, TokenInfo)>, DirectoryError> {
        let now = self.clock.now();
        let (old, owner) = self.token_and_owner(id).await?;
        let kind = kind_for(&owner)?;
        if old.superseded.is_some() {
            return Err(DirectoryError::refused("token_superseded", "this token has a successor already; rotate that one"));
        }
        match old.state(owner.generation, now) {
            TokenState::Active => {}
            TokenState::Expired => {
                return Err(DirectoryError::refused("token_expired", "an expired token cannot be rotated; make a new one"));
            }
            TokenState::Revoked | TokenState::Superseded => {
                return Err(DirectoryError::refused("token_revoked", "a revoked token cannot be rotated; make a new one"));
            }
        }
        let grace_until = now.checked_add(grace).ok_or_else(too_far)?;
        let Minted { id, key, digest, text } = self.prefixes.mint(kind, &self.keys, &mut rng());
        let token = Token { id, key, digest, kind, created_at: now, created_by: actor.as_creator(), version: 1, ..old.clone() };
        let mut edit = Edit::default();
        edit.expect_same(Key::Account(owner.id.clone()), &owner);
        edit.expect_same(Key::Token(old.id.clone()), &old);
        let superseded = Some(Supersession { by: token.id.clone(), grace_until });
        edit.put(Key::Token(old.id.clone()), &Token { superseded, version: old.version + 1, ..old })?;
        add(&mut edit, &token)?;
        Ok(Plan::Commit(edit, (text, TokenInfo::new(token, &owner, now))))
    }

    /// The ceiling by the ids of its sites, which must exist when the token is written.
    async fn ceiling(&self, edit: &mut Edit, ask: &CeilingAsk) -> Result<Ceiling, DirectoryError> {
        let names = match ask {
            CeilingAsk::Owner => return Ok(Ceiling::Owner),
            CeilingAsk::EverySite(level) => return Ok(Ceiling::EverySite(some(*level)?)),
            CeilingAsk::PerSite(names) => names,
        };
        let asked: Vec<_> = names.iter().collect();
        fields::bounded(&asked, "too_many_sites", "levels")?;
        let keys: Vec<_> = names.keys().cloned().map(Key::Site).collect();
        let sites = self.get_all::<Site>(&keys).await?;
        let mut rows = BTreeMap::new();
        for ((name, level), site) in names.iter().zip(sites) {
            let site = site.ok_or_else(|| Self::not_a_site(name))?;
            edit.expect_same(Key::Site(name.clone()), &site);
            rows.insert(site.id, SiteLevel { site: site.site, level: some(*level)? });
        }
        Ok(Ceiling::PerSite(rows))
    }
}

fn add(edit: &mut Edit, token: &Token) -> Result<(), DirectoryError> {
    edit.create(Key::Token(token.id.clone()), token)?;
    edit.add_to(Index::Tokens, &token.id);
    edit.add_to(Index::TokensOf(token.account.clone()), &token.id);
    Ok(())
}

/// The kind of token that an account may have now.
fn kind_for(owner: &Account) -> Result<TokenKind, DirectoryError> {
    if owner.disabled {
        let detail = format!("`{}` is disabled; enable the account first", owner.login);
        return Err(DirectoryError::refused("account_disabled", detail));
    }
    match owner.kind {
        AccountKind::Human => Ok(TokenKind::User),
        AccountKind::Service => Ok(TokenKind::Service),
        AccountKind::Anonymous => Err(DirectoryError::refused("built_in_account", "the account `anonymous` has no tokens")),
    }
}

fn some(level: Level) -> Result<Level, Invalid> {
    match level {
        Level::None => Err(Invalid::new("token_level", "levels", "a token's level is view, write, admin or superuser")),
        level => Ok(level),
    }
}

fn end(expiry: Expiry, now: Timestamp) -> Result<Timestamp, Invalid> {
    let end = match expiry {
        Expiry::At(end) => end,
        Expiry::After(duration) => now.checked_add(duration).ok_or_else(too_far)?,
    };
    if end > now { Ok(end) } else { Err(Invalid::new("expiry_in_the_past", "expires_at", "the expiry has to be in the future")) }
}

fn too_far() -> Invalid {
    Invalid::new("time_out_of_range", "expires_at", "this is past the year 9999")
}

fn distinct<T: Clone + PartialEq>(list: &[T]) -> Vec<T> {
    let mut seen: Vec<T> = Vec::with_capacity(list.len());
    for one in list {
        if !seen.contains(one) {
            seen.push(one.clone());
        }
    }
    seen
}
