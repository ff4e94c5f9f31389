//! Tokens that exist: listing, describing and revoking them. A revoked record stays, to be seen.

use super::{Actor, Directory, DirectoryError, Edit, FieldPatch, Listing, Plan, Window, until_settled};
use crate::{
    domain::{
        account::{Account, AccountKind},
        text::{Label, Login},
        time::Timestamp,
        token::{Revocation, Token, TokenId, TokenState},
    },
    store::{Index, Key},
};

/// A token's record with what its owner adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    pub token: Token,
    pub login: Login,
    pub kind: AccountKind,
    pub state: TokenState,
}

impl TokenInfo {
    pub(super) fn new(token: Token, owner: &Account, now: Timestamp) -> Self {
        let state = token.state(owner.generation, now);
        Self { token, login: owner.login.clone(), kind: owner.kind, state }
    }
}

/// What to change of a token; what is `None` or `Keep` stays. Its rights never change.
#[derive(Clone, Debug, Default)]
pub struct TokenPatch {
    pub name: Option<Label>,
    pub device: FieldPatch<Label>,
}

impl Directory {
    pub async fn token(&self, actor: &Actor, id: &TokenId) -> Result<TokenInfo, DirectoryError> {
        actor.may_administer()?;
        let (token, owner) = self.token_and_owner(id).await?;
        Ok(TokenInfo::new(token, &owner, self.clock.now()))
    }

    /// The tokens of one account, or all.
    pub async fn tokens(&self, actor: &Actor, of: Option<&Login>, window: &Window) -> Result<Listing<TokenInfo>, DirectoryError> {
        actor.may_administer()?;
        let index = match of {
            Some(login) => Index::TokensOf(self.account_by_login(login).await?.id),
            None => Index::Tokens,
        };
        let (members, next) = self.members(&index, window).await?;
        let keys: Vec<_> = members.iter().filter_map(|id| TokenId::parse(id)).map(Key::Token).collect();
        let tokens: Vec<Token> = self.get_all(&keys).await?.into_iter().flatten().collect();
        let owners = self.accounts_by_id(tokens.iter().map(|token| token.account.clone())).await?;
        let now = self.clock.now();
        // A token whose owner has just gone is about to follow him.
        let items = tokens.into_iter().filter_map(|token| {
            let owner = owners.get(&token.account)?;
            Some(TokenInfo::new(token, owner, now))
        });
        Ok(Listing { items: items.collect(), next })
    }

    /// Changes what a token is called. `seen` is the version the caller has read, if he minds.
    pub async fn update_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        patch: TokenPatch,
        seen: Option<u64>,
    ) -> Result<TokenInfo, DirectoryError> {
        actor.may_administer()?;
        until_settled!(self, {
            let (old, owner) = self.token_and_owner(id).await?;
            DirectoryError::unless_seen(seen, old.version)?;
            let mut new = Token {
                name: patch.name.clone().unwrap_or_else(|| old.name.clone()),
                device: patch.device.clone().applied_to(old.device.as_ref()),
                ..old.clone()
            };
            if new != old {
                new.version += 1;
            }
            self.replace_token(&old, new, &owner)?
        })
    }

    /// Revokes one token, for good. Revoking it again changes nothing.
    pub async fn revoke_token(&self, actor: &Actor, id: &TokenId, seen: Option<u64>) -> Result<TokenInfo, DirectoryError> {
        actor.may_administer()?;
        until_settled!(self, {
            let (old, owner) = self.token_and_owner(id).await?;
            DirectoryError::unless_seen(seen, old.version)?;
            let mut new = old.clone();
            if new.revoked.is_none() {
                new.revoked = Some(Revocation { at: self.clock.now(), by: actor.to_string() });
                new.version += 1;
            }
            self.replace_token(&old, new, &owner)?
        })
    }

    fn replace_token(&self, old: &Token, new: Token, owner: &Account) -> Result<Plan<TokenInfo>, DirectoryError> {
        let now = self.clock.now();
        if new == *old {
            return Ok(Plan::Nothing(TokenInfo::new(new, owner, now)));
        }
        let mut edit = Edit::default();
        edit.expect_same(Key::Token(old.id.clone()), old);
        edit.put(Key::Token(new.id.clone()), &new)?;
        Ok(Plan::Commit(edit, TokenInfo::new(new, owner, now)))
    }

    pub(super) async fn token_and_owner(&self, id: &TokenId) -> Result<(Token, Account), DirectoryError> {
        let missing = || DirectoryError::not_found("token", id.as_str());
        let token: Token = self.get(Key::Token(id.clone())).await?.ok_or_else(missing)?;
        let owner: Account = self.get(Key::Account(token.account.clone())).await?.ok_or_else(missing)?;
        Ok((token, owner))
    }
}
