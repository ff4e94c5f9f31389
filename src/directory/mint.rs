//! Making tokens: a new one, or the successor of one. The only place where a secret comes into being.

use std::time::Duration;

use ipnet::IpNet;

use super::{
    Actor, CeilingAsk, Directory, DirectoryError, Edit, Expiry, Plan, TokenInfo, fields, places, rng, shown::TokenView,
    standing::Standing, strength, until_settled,
};
use crate::{
    domain::{
        access::AccessRows,
        account::{Account, AccountKind, Format},
        authority::{Denied, Owner, Strength},
        event::Action,
        text::{Invalid, Label, Login},
        token::{JudgedToken, Minted, PlainToken, Scope, Supersession, Token, TokenId, TokenKind, TokenState, Warned},
    },
    store::{Index, Key, record::Made},
};

/// A predecessor lives at most this long beside its successor.
const MAX_GRACE: Duration = Duration::from_hours(30 * 24);

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
    /// `None`: by the rules of the installation.
    pub expires: Option<Expiry>,
    /// See [`Token::system`].
    pub system: bool,
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
            system: false,
        }
    }
}

impl Directory {
    /// Makes a token. Its text is in the answer and nowhere else, ever.
    pub async fn create_token(&self, actor: &Actor, new: NewToken) -> Result<(PlainToken, TokenInfo), DirectoryError> {
        let texts = [
            ("account", Some(new.account.as_str())),
            ("name", Some(new.name.as_str())),
            ("device", new.device.as_ref().map(Label::as_str)),
        ];
        fields::without_tokens(&self.prefixes, texts)?;
        fields::bounded(&new.scopes, "too_many_scopes", "scopes")?;
        fields::bounded(&new.networks, "too_many_networks", "networks")?;
        self.audited_for(actor, Action::TokenCreate, "", Some(&new.account), async {
            until_settled!(self, self.plan_create_token(actor, &new).await?)
        })
        .await
    }

    async fn plan_create_token(&self, actor: &Actor, new: &NewToken) -> Result<Plan<(PlainToken, TokenInfo)>, DirectoryError> {
        let standing = self.standing(actor).await?;
        standing.require_confirmation()?;
        let expires_at = strength::end(new.expires, &self.token_rules, standing.now)?;
        let (owner, access) = self.owner_to_be(&standing, &new.account).await?;
        let as_owner = Owner { account: &owner, access: access.as_ref() };
        let kind = kind_for(&owner)?;
        let mut edit = standing.edit();
        // Its generation is copied, so he must not have "revoked all" in between; and who may make it, depends on both.
        edit.expect_owner(&owner, access.as_ref());
        let ceiling = self.ceiling(&mut edit, &new.ceiling, &standing.authority, as_owner).await?;
        let ceiling = ceiling.unwrap_or_else(|| standing.authority.ceiling_for(as_owner));
        let (scopes, networks) = (distinct(&new.scopes), distinct(&new.networks));
        let (secure_only, system) = (new.secure_only, new.system);
        let strength = Strength { ceiling: &ceiling, scopes: &scopes, networks: &networks, secure_only, expires_at, system };
        standing.authority.may_mint(as_owner, strength)?;
        let Minted { id, key, digest, text } = self.prefixes.mint(kind, &self.keys, &mut rng());
        let token = Token {
            judged: JudgedToken {
                v: Format,
                id,
                account: owner.id.clone(),
                kind,
                generation: owner.generation,
                digest,
                key,
                ceiling,
                scopes: scopes.into(),
                networks: networks.into(),
                secure_only,
                expires_at,
                revoked: None,
                superseded: None,
                version: 1,
            },
            name: new.name.clone(),
            device: new.device.clone(),
            created_at: standing.now,
            created_by: standing.by.as_creator(),
            rotated_from: None,
            minted_with: standing.token().map(|token| token.id.clone()).into_iter().collect(),
            system,
            warned: Warned::default(),
        };
        let info = TokenInfo::new(token, &owner, None, standing.now);
        let event = standing.event(Action::TokenCreate, info.token.id.as_str());
        edit.tell(event.changing(None::<&TokenView>, Some(&TokenView::from(info.clone()))));
        add(&mut edit, &info.token)?;
        standing.made(&mut edit, self, Made::Token(info.token.id.clone()))?;
        Ok(Plan::Commit(edit, (text, info)))
    }

    /// The account that is to have a token. Whether there is one that he may make none for, is not said.
    async fn owner_to_be(&self, standing: &Standing, login: &Login) -> Result<(Account, Option<AccessRows>), DirectoryError> {
        match self.account_and_access(login).await {
            Err(DirectoryError::NotFound { .. }) if !standing.authority.is_superuser() => Err(Denied::other_account().into()),
            found => found,
        }
    }

    /// Makes a successor with the same rights and the same end. The predecessor is dead when `grace` is over.
    pub async fn rotate_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        grace: Duration,
    ) -> Result<(PlainToken, TokenInfo), DirectoryError> {
        if grace > MAX_GRACE {
            let error = Invalid::new("grace_too_long", "grace", "the grace of a rotation is at most 30d");
            return Err(Invalid { limit: Some(MAX_GRACE.as_secs()), ..error }.into());
        }
        self.audited(actor, Action::TokenRotate, id.as_str(), async {
            until_settled!(self, self.plan_rotate_token(actor, id, grace).await?)
        })
        .await
    }

    async fn plan_rotate_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        grace: Duration,
    ) -> Result<Plan<(PlainToken, TokenInfo)>, DirectoryError> {
        let standing = self.standing(actor).await?;
        let now = standing.now;
        let (old, owner, access) = self.seen_token(&standing, id).await?;
        standing.require_confirmation()?;
        standing.authority.may_mint(Owner { account: &owner, access: access.as_ref() }, Strength::of(&old))?;
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
        let grace_until = now.checked_add(grace).ok_or_else(strength::too_far)?;
        let Minted { id, key, digest, text } = self.prefixes.mint(kind, &self.keys, &mut rng());
        let minter = standing.token().map(|token| token.id.clone());
        let judged = JudgedToken { id, key, digest, kind, version: 1, ..old.judged.clone() };
        let token = Token {
            judged,
            created_at: now,
            created_by: standing.by.as_creator(),
            rotated_from: Some(old.id.clone()),
            minted_with: distinct(&old.minted_with.iter().cloned().chain(minter).collect::<Vec<_>>()),
            warned: Warned::default(),
            ..old.clone()
        };
        let mut edit = standing.edit();
        edit.expect_owner(&owner, access.as_ref());
        edit.expect_same(Key::Token(old.id.clone()), &old);
        edit.must_hold();
        let mut replaced = old.clone();
        replaced.superseded = Some(Box::new(Supersession { by: token.id.clone(), grace_until }));
        replaced.version += 1;
        edit.put(Key::Token(old.id.clone()), &replaced)?;
        places::move_in_lists(&mut edit, &old, &replaced);
        let info = TokenInfo::new(token, &owner, None, now);
        let event = standing.event(Action::TokenRotate, old.id.as_str());
        edit.tell(event.changing(None::<&TokenView>, Some(&TokenView::from(info.clone()))));
        add(&mut edit, &info.token)?;
        standing.made(&mut edit, self, Made::Token(info.token.id.clone()))?;
        Ok(Plan::Commit(edit, (text, info)))
    }
}

fn add(edit: &mut Edit, token: &Token) -> Result<(), DirectoryError> {
    edit.create(Key::Token(token.id.clone()), token)?;
    places::list(edit, token, false);
    edit.add_to(Index::TokensOf(token.account.clone()), &token.id);
    for minter in &token.minted_with {
        edit.add_to(Index::MintedBy(minter.clone()), &token.id);
    }
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

fn distinct<T: Clone + PartialEq>(list: &[T]) -> Vec<T> {
    let mut seen: Vec<T> = Vec::with_capacity(list.len());
    for one in list {
        if !seen.contains(one) {
            seen.push(one.clone());
        }
    }
    seen
}
