//! Revoking tokens: one, with what it has minted, or all that a filter finds. A revoked record stays for a while, and says
//! who ended it, when and why.
//!
//! The token itself ends in the first commit, with as much of what hangs on it as fits: nothing that it does meanwhile may
//! hold off its end. From then on nothing more can come to hang on it, and the rest follows from the top down. Who dies in
//! between has left a task to the upkeep.

use std::collections::{BTreeSet, VecDeque};

use super::{Actor, Directory, DirectoryError, Edit, Plan, TokenFilter, TokenInfo, Window, confirm, fields, standing::Standing};
use crate::{
    domain::{
        account::Account,
        authority::Owner,
        event::Action,
        id::AccountId,
        text::Label,
        time::Timestamp,
        token::{Revocation, Token, TokenId, TokenState},
    },
    store::{Index, Key, StoreError},
};

/// How many tokens end in one commit.
const TOKENS_PER_COMMIT: usize = 500;
/// How often a revocation is tried: more often than somebody can be faster who would rather not be revoked.
const ATTEMPTS: usize = 256;
/// After so many of these it is tried with the token alone: what hangs on it may be what keeps changing.
const ATTEMPTS_WITH_OTHERS: usize = 3;

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

/// A token that ends because another one does, and why.
type Hanging = (Token, String);

impl Directory {
    /// Revokes one token, for good, with its predecessors that are still in their grace; and, unless `keep_minted`, what was
    /// minted with any of them. Revoking it again changes nothing.
    pub async fn revoke_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        keep_minted: bool,
        why: Option<&Label>,
        seen: Option<u64>,
    ) -> Result<TokenInfo, DirectoryError> {
        fields::without_tokens(&self.prefixes, [("reason", why.map(Label::as_str))])?;
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
        let (info, standing) = self.revoke_first(actor, id, keep_minted, why, seen).await?;
        // He may have revoked what he came with; what follows is a part of what he was allowed to do.
        self.revoke_the_rest(&standing.after_the_deed(), &info.token, keep_minted).await?;
        Ok(info)
    }

    /// Ends the token.
    async fn revoke_first(
        &self,
        actor: &Actor,
        id: &TokenId,
        keep_minted: bool,
        why: Option<&str>,
        seen: Option<u64>,
    ) -> Result<(TokenInfo, Standing), DirectoryError> {
        for attempt in 0..ATTEMPTS {
            let standing = self.standing(actor).await?;
            let (old, owner, access) = self.seen_token(&standing, id).await?;
            standing.authority.may_change_token(&old, Owner { account: &owner, access: access.as_ref() })?;
            DirectoryError::unless_seen(seen, old.version)?;
            let mut edit = standing.edit();
            edit.takes_away();
            let new = match &old.revoked {
                Some(done) if done.keeps_minted <= keep_minted => old.clone(),
                done => end(
                    &mut edit,
                    &standing,
                    &old,
                    Some(&owner),
                    done.as_deref().cloned().unwrap_or_else(|| standing.revocation(why)),
                    keep_minted,
                )?,
            };
            if attempt < ATTEMPTS_WITH_OTHERS {
                let hanging = self.hanging_on(&old, keep_minted, standing.now).await?;
                self.end_all(&mut edit, &standing, &hanging, keep_minted).await?;
            }
            let info = self.info(new, &owner, standing.now).await?;
            if edit.is_empty() {
                // It may have been done and not confirmed: that is made up for now.
                edit.confirms(Key::Token(old.id.clone()), Some(&old));
            }
            if let Some(info) = self.settle(Plan::Commit(edit, info)).await? {
                return Ok((info, standing));
            }
        }
        Err(DirectoryError::Contended)
    }

    /// What hangs on a token and is alive, from the top down, as far as it fits one commit.
    async fn hanging_on(&self, root: &Token, keep_minted: bool, now: Timestamp) -> Result<Vec<Hanging>, StoreError> {
        let mut known = BTreeSet::from([root.id.clone()]);
        let (mut open, mut found) = (VecDeque::from([root.clone()]), Vec::new());
        while let Some(token) = open.pop_front() {
            let mut after = None;
            loop {
                let (page, next) = self.hanging_directly(&token, keep_minted, after).await?;
                for (one, why) in page {
                    if known.insert(one.id.clone()) {
                        open.push_back(one.clone());
                        if one.lives(now) {
                            found.push((one, why));
                        }
                    }
                }
                if known.len() >= TOKENS_PER_COMMIT {
                    found.truncate(TOKENS_PER_COMMIT);
                    return Ok(found);
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Ends all that hangs on a token that has ended. Each goes before what hangs on it in turn is looked for.
    async fn revoke_the_rest(&self, standing: &Standing, root: &Token, keep_minted: bool) -> Result<(), DirectoryError> {
        let mut known = BTreeSet::from([root.id.clone()]);
        let mut open = VecDeque::from([root.clone()]);
        while let Some(token) = open.pop_front() {
            let mut after = None;
            loop {
                let next = self.revoke_page(standing, &token, keep_minted, after.clone(), |one| {
                    if known.insert(one.id.clone()) {
                        open.push_back(one);
                    }
                });
                after = next.await?;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Ends what the tokens of an account have minted, for whomever.
    pub(super) async fn revoke_minted_by(&self, standing: &Standing, account: &AccountId) -> Result<(), DirectoryError> {
        let mut window = Window { after: None, limit: TOKENS_PER_COMMIT };
        loop {
            let (members, next) = self.members(&Index::TokensOf(account.clone()), &window).await?;
            for id in members.iter().filter_map(|id| TokenId::parse(id)) {
                // Most have minted nothing.
                if self.store.page(&Index::MintedBy(id.clone()), None, 1).await?.members.is_empty() {
                    continue;
                }
                let token = self.readable::<Token>(vec![Key::Token(id)]).await?.pop().and_then(Result::ok).flatten();
                if let Some(token) = token {
                    self.revoke_the_rest(standing, &token, false).await?;
                }
            }
            window.after = next;
            if window.after.is_none() {
                return Ok(());
            }
        }
    }

    /// Ends one page of what hangs on a token, and hands out all of it. Where the next page begins.
    async fn revoke_page(
        &self,
        standing: &Standing,
        token: &Token,
        keep_minted: bool,
        after: Option<String>,
        mut hand_out: impl FnMut(Token),
    ) -> Result<Option<String>, DirectoryError> {
        for _ in 0..ATTEMPTS {
            let (page, next) = self.hanging_directly(token, keep_minted, after.clone()).await?;
            let alive: Vec<_> = page.iter().filter(|(one, _)| one.lives(standing.now)).cloned().collect();
            let mut edit = standing.edit();
            edit.takes_away();
            self.end_all(&mut edit, standing, &alive, keep_minted).await?;
            if edit.is_empty() || self.settle(Plan::Commit(edit, ())).await?.is_some() {
                for (one, _) in page {
                    hand_out(one);
                }
                return Ok(next);
            }
        }
        Err(DirectoryError::Contended)
    }

    /// The predecessor of a token, with the first page, and a page of what was minted with it.
    async fn hanging_directly(
        &self,
        token: &Token,
        keep_minted: bool,
        after: Option<String>,
    ) -> Result<(Vec<Hanging>, Option<String>), StoreError> {
        let mut ids: Vec<(TokenId, String)> = Vec::new();
        if let (Some(predecessor), None) = (&token.rotated_from, &after) {
            ids.push((predecessor.clone(), successor_revoked(&token.id)));
        }
        let mut next = None;
        if !keep_minted {
            let window = Window { after, limit: TOKENS_PER_COMMIT };
            let (members, cursor) = self.members(&Index::MintedBy(token.id.clone()), &window).await?;
            next = cursor;
            let minted = members.iter().filter_map(|member| TokenId::parse(member));
            ids.extend(minted.map(|id| (id, minted_with_revoked(&token.id))));
        }
        let records = self.readable::<Token>(ids.iter().map(|(id, _)| Key::Token(id.clone())).collect()).await?;
        let found = records.into_iter().zip(ids).filter_map(|(record, (_, why))| Some((record.ok()??, why)));
        Ok((found.collect(), next))
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
        confirm::reported(self.revoke_part(actor, filter, found, window)).await
    }

    async fn revoke_part(
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
                Found::Revoke(why) => self.revoke_token(actor, &info.token.id, false, why.as_ref(), None).await,
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

    async fn end_all(
        &self,
        edit: &mut Edit,
        standing: &Standing,
        tokens: &[Hanging],
        keeps_minted: bool,
    ) -> Result<(), StoreError> {
        let owners = self.accounts_by_id(tokens.iter().map(|(token, _)| token.account.clone())).await?;
        for (token, why) in tokens {
            end(edit, standing, token, owners.get(&token.account), standing.revocation(Some(why)), keeps_minted)?;
        }
        Ok(())
    }
}

/// Revokes one record within an edit.
fn end(
    edit: &mut Edit,
    standing: &Standing,
    old: &Token,
    owner: Option<&Account>,
    revocation: Revocation,
    keeps_minted: bool,
) -> Result<Token, StoreError> {
    let told = [("account", owner.map(|owner| owner.login.to_string())), ("revoked_because", revocation.why.clone())];
    let mut new = old.clone();
    new.revoked = Some(Box::new(Revocation { keeps_minted, ..revocation }));
    new.version += 1;
    edit.expect_same(Key::Token(old.id.clone()), old);
    edit.put(Key::Token(new.id.clone()), &new)?;
    let mut event = standing.event(Action::TokenRevoke, old.id.as_str());
    event.after = Some(told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect());
    edit.tell(event);
    Ok(new)
}

/// Why a predecessor ends.
pub(super) fn successor_revoked(successor: &TokenId) -> String {
    format!("its successor {successor} was revoked")
}

/// Why something ends that was minted with a token.
pub(super) fn minted_with_revoked(minter: &TokenId) -> String {
    format!("it was minted with {minter}, which was revoked")
}
