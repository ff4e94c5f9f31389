//! Revoking tokens: one, with what it has minted, or all that a filter finds. A revoked record stays for a while, and says
//! who ended it, when and why.

use std::collections::BTreeSet;

use super::{Actor, Directory, DirectoryError, Edit, Plan, TokenFilter, TokenInfo, Window, standing::Standing, until_settled};
use crate::{
    domain::{
        account::Account,
        authority::Owner,
        event::Action,
        text::Label,
        time::Timestamp,
        token::{Revocation, Token, TokenId, TokenState},
    },
    store::{Index, Key, StoreError},
};

/// How many tokens end in one commit.
const TOKENS_PER_COMMIT: usize = 500;

/// A part of a revocation by filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub tokens: Vec<TokenInfo>,
    /// Where the following part begins; without it, this was the last.
    pub next: Option<String>,
}

/// What to do with the tokens that a filter finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Revoke them, with a word on why.
    Revoke(Option<Label>),
    OnlyTell,
}

/// What ends with a token.
struct Descent {
    /// Its predecessors and what was minted, as far as it is alive; without the token itself.
    tokens: Vec<(Token, String)>,
    /// The lists that this was read from, with their lengths.
    counts: Vec<(Index, usize)>,
}

impl Directory {
    /// Revokes one token, for good, with its predecessors that are still in their grace; and, unless `keep_minted`, what was
    /// minted with any of them. Revoking it again changes nothing.
    pub async fn revoke_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        keep_minted: bool,
        seen: Option<u64>,
    ) -> Result<TokenInfo, DirectoryError> {
        self.revoke_token_because(actor, id, keep_minted, None, seen).await
    }

    /// As [`Self::revoke_token`], with a word on why.
    pub async fn revoke_token_because(
        &self,
        actor: &Actor,
        id: &TokenId,
        keep_minted: bool,
        why: Option<&Label>,
        seen: Option<u64>,
    ) -> Result<TokenInfo, DirectoryError> {
        let revoke = self.revoke(actor, id, keep_minted, why.map(Label::as_str), seen);
        self.audited(actor, Action::TokenRevoke, id.as_str(), revoke).await
    }

    pub(super) async fn revoke(
        &self,
        actor: &Actor,
        id: &TokenId,
        keep_minted: bool,
        why: Option<&str>,
        seen: Option<u64>,
    ) -> Result<TokenInfo, DirectoryError> {
        let mut seen = seen;
        loop {
            if let Some(info) = self.revoke_part(actor, id, keep_minted, why, seen).await? {
                return Ok(info);
            }
            seen = None;
        }
    }

    /// Revokes as much as fits one commit, the token itself last. `None` while it is not.
    async fn revoke_part(
        &self,
        actor: &Actor,
        id: &TokenId,
        keep_minted: bool,
        why: Option<&str>,
        seen: Option<u64>,
    ) -> Result<Option<TokenInfo>, DirectoryError> {
        until_settled!(self, {
            let standing = self.standing(actor).await?;
            let (old, owner, access) = self.seen_token(&standing, id).await?;
            standing.authority.may_change_token(&old, Owner { account: &owner, access: access.as_ref() })?;
            DirectoryError::unless_seen(seen, old.version)?;
            let Descent { mut tokens, counts } = self.descent(&old, keep_minted, standing.now).await?;
            let is_last = tokens.len() < TOKENS_PER_COMMIT;
            // What was minted goes before what it was minted with, so that no part leaves anything behind.
            tokens.reverse();
            tokens.truncate(TOKENS_PER_COMMIT);
            if old.revoked.is_some() && tokens.is_empty() {
                return Ok(Some(self.info(old, &owner, standing.now).await?));
            }
            let owners = self.accounts_by_id(tokens.iter().map(|(token, _)| token.account.clone())).await?;
            let mut edit = standing.edit();
            edit.takes_away();
            for (token, why) in tokens {
                revoke(&mut edit, &standing, &token, owners.get(&token.account), Some(why))?;
            }
            if is_last {
                // Nothing may have been minted since the lists were read.
                for (index, members) in counts {
                    edit.expect_count(index, members);
                }
                let new = match old.revoked {
                    Some(_) => old,
                    None => revoke(&mut edit, &standing, &old, Some(&owner), why.map(str::to_owned))?,
                };
                Plan::Commit(edit, Some(self.info(new, &owner, standing.now).await?))
            } else {
                Plan::Commit(edit, None)
            }
        })
    }

    /// Revokes the tokens of one part of the list that the filter finds and the actor may revoke, but for the one he came
    /// with: he could not go on.
    pub async fn revoke_tokens(
        &self,
        actor: &Actor,
        filter: &TokenFilter,
        found: &Found,
        window: &Window,
    ) -> Result<Revoked, DirectoryError> {
        let listing = self.tokens(actor, filter, window).await?;
        let mut tokens = Vec::new();
        let is_open = |info: &TokenInfo| info.state != TokenState::Revoked && !actor.comes_with(&info.token.id);
        for info in listing.items.into_iter().filter(is_open) {
            let revoked = match found {
                Found::OnlyTell => Ok(info),
                Found::Revoke(why) => self.revoke_token_because(actor, &info.token.id, false, why.as_ref(), None).await,
            };
            match revoked {
                Ok(info) => tokens.push(info),
                // It has gone meanwhile, or is not all his.
                Err(DirectoryError::NotFound { .. } | DirectoryError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Revoked { tokens, next: listing.next })
    }

    async fn descent(&self, root: &Token, keep_minted: bool, now: Timestamp) -> Result<Descent, StoreError> {
        let mut descent = Descent { tokens: Vec::new(), counts: Vec::new() };
        let mut known = BTreeSet::from([root.id.clone()]);
        let mut open = vec![root.clone()];
        while let Some(token) = open.pop() {
            let mut further: Vec<(TokenId, String)> = Vec::new();
            if let Some(predecessor) = &token.rotated_from {
                further.push((predecessor.clone(), format!("its successor {} was revoked", token.id)));
            }
            if !keep_minted {
                let index = Index::MintedBy(token.id.clone());
                let members = self.all_members(&index).await?;
                let ids = members.iter().filter_map(|member| TokenId::parse(member));
                further.extend(ids.map(|id| (id, format!("it was minted with {}, which was revoked", token.id))));
                descent.counts.push((index, members.len()));
            }
            further.retain(|(id, _)| known.insert(id.clone()));
            let keys: Vec<_> = further.iter().map(|(id, _)| Key::Token(id.clone())).collect();
            for (token, (_, why)) in self.get_all::<Token>(&keys).await?.into_iter().zip(further) {
                let Some(token) = token else { continue };
                if token.revoked.is_none() && token.ends_at().is_none_or(|end| now < end) {
                    descent.tokens.push((token.clone(), why));
                }
                open.push(token);
            }
        }
        Ok(descent)
    }

    pub(super) async fn all_members(&self, index: &Index) -> Result<Vec<String>, StoreError> {
        let mut members: Vec<String> = Vec::new();
        loop {
            let page = self.store.page(index, members.last().map(String::as_str), Window::MAX_LIMIT).await?;
            members.extend(page.members);
            if !page.more {
                return Ok(members);
            }
        }
    }
}

/// Revokes one record within an edit.
fn revoke(
    edit: &mut Edit,
    standing: &Standing,
    old: &Token,
    owner: Option<&Account>,
    why: Option<String>,
) -> Result<Token, StoreError> {
    let revoked = Some(Revocation { at: standing.now, by: standing.name(), why: why.clone() });
    let new = Token { revoked, version: old.version + 1, ..old.clone() };
    edit.expect_same(Key::Token(old.id.clone()), old);
    edit.put(Key::Token(new.id.clone()), &new)?;
    let mut event = standing.event(Action::TokenRevoke, old.id.as_str());
    let told = [("account", owner.map(|owner| owner.login.to_string())), ("revoked_because", why)];
    event.after = Some(told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect());
    edit.tell(event);
    Ok(new)
}
