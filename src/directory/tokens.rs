//! Tokens that exist: listing, describing and renaming them. A record of a dead token stays for a while, to be seen.

use std::time::Duration;

use super::{
    Actor, Directory, DirectoryError, FieldPatch, Listing, Plan, Sort, TokenSort, Window, fields, places, shown::TokenView,
    standing::Standing, until_settled,
};
use crate::{
    domain::{
        access::AccessRows,
        account::{Account, AccountKind},
        authority::Owner,
        event::Action,
        text::{Label, Login, fold},
        time::Timestamp,
        token::{JudgedToken, LastUse, Revocation, Token, TokenId, TokenState},
    },
    store::{Key, StoreError},
};

/// A token's record with what its owner, and its use, add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    pub token: Token,
    pub login: Login,
    pub kind: AccountKind,
    pub state: TokenState,
    /// Its own revocation, or that of all tokens of its account.
    pub revoked: Option<Revocation>,
    pub last_used: Option<LastUse>,
}

impl TokenInfo {
    pub(super) fn new(token: Token, owner: &Account, last_used: Option<LastUse>, now: Timestamp) -> Self {
        let state = token.state(owner.generation, now);
        let revoked = token.revoked.as_deref().cloned().or_else(|| owner.end_of(token.generation).cloned());
        Self { token, login: owner.login.clone(), kind: owner.kind, state, revoked, last_used }
    }
}

/// What to change of a token; what is `None` or `Keep` stays. Its rights never change.
#[derive(Clone, Debug, Default)]
pub struct TokenPatch {
    pub name: Option<Label>,
    pub device: FieldPatch<Label>,
}

/// Which tokens are wanted, those for which all of this is so; and in which order.
#[derive(Clone, Debug, Default)]
pub struct TokenFilter {
    pub login: Option<Login>,
    pub state: Option<TokenState>,
    /// Good now, and at an end within this time.
    pub expiring: Option<Duration>,
    /// Good now, and neither made nor used within this time.
    pub unused: Option<Duration>,
    /// Made longer ago than this.
    pub older_than: Option<Duration>,
    /// The whole name; `*` stands for any text.
    pub name: Option<String>,
    /// The same of its device.
    pub device: Option<String>,
    /// Who has made it.
    pub creator: Option<String>,
    /// `None`: in whatever order they are found the fastest.
    pub sort: Option<Sort<TokenSort>>,
}

impl TokenFilter {
    pub(super) fn takes(&self, info: &TokenInfo, now: Timestamp) -> bool {
        let token = &info.token;
        let is_good = info.state == TokenState::Active;
        let since = |at: Timestamp, age: Duration| at.checked_add(age).is_some_and(|then| then <= now);
        let ends = |within| token.ends_at().is_some_and(|end| now.checked_add(within).is_none_or(|horizon| end <= horizon));
        self.state.is_none_or(|state| info.state == state)
            && self.expiring.is_none_or(|within| is_good && ends(within))
            && self.unused.is_none_or(|age| is_good && since(last_sign(info), age))
            && self.older_than.is_none_or(|age| since(token.created_at, age))
            && self.name.as_deref().is_none_or(|pattern| is_like(token.name.as_str(), pattern))
            && self
                .device
                .as_deref()
                .is_none_or(|pattern| token.device.as_ref().is_some_and(|device| is_like(device.as_str(), pattern)))
            && self.creator.as_deref().is_none_or(|creator| fold(creator) == fold(&token.created_by.account))
            && self.login.as_ref().is_none_or(|login| login == &info.login || login.folded() == info.login.folded())
    }

    /// Whether few of what is looked at may be wanted.
    pub(super) fn is_narrow(&self) -> bool {
        let Self { login, state, expiring, unused, older_than, name, device, creator, sort: _ } = self;
        let durations = [expiring, unused, older_than].iter().any(|duration| duration.is_some());
        login.is_some() || state.is_some() || durations || [name, device, creator].iter().any(|text| text.is_some())
    }
}

/// When the token was last used, or else made.
pub(super) fn last_sign(info: &TokenInfo) -> Timestamp {
    info.last_used.as_ref().map_or(info.token.created_at, |used| used.at.max(info.token.created_at))
}

/// Whether the whole name is the pattern, in which `*` stands for any text.
pub(super) fn is_like(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl Directory {
    pub async fn token(&self, actor: &Actor, id: &TokenId) -> Result<TokenInfo, DirectoryError> {
        let standing = self.standing(actor).await?;
        let (token, owner, _) = self.seen_token(&standing, id).await?;
        let ceiling = standing.authority.shown_ceiling(&token);
        let shown = Token { judged: JudgedToken { ceiling, ..token.judged }, ..token };
        Ok(self.info(shown, &owner, standing.now).await?)
    }

    /// The tokens of one account, or all that the actor sees. With a filter a part may hold fewer than the limit, and not be
    /// the last.
    pub async fn tokens(&self, actor: &Actor, filter: &TokenFilter, window: &Window) -> Result<Listing<TokenInfo>, DirectoryError> {
        let standing = self.standing(actor).await?;
        self.tokens_seen(&standing, filter, window).await
    }

    pub(super) async fn tokens_seen(
        &self,
        standing: &Standing,
        filter: &TokenFilter,
        window: &Window,
    ) -> Result<Listing<TokenInfo>, DirectoryError> {
        let all = filter.login.is_none() && standing.authority.is_superuser();
        if all || filter.sort.is_some() {
            return self.sorted_tokens(standing, filter, window).await;
        }
        let (ids, next) = self.token_ids(standing, filter.login.as_ref(), window).await?;
        let mut items: Vec<_> = self.infos(standing, &ids).await?.into_iter().flatten().collect();
        items.retain(|info| filter.takes(info, standing.now));
        Ok(Listing { items, next })
    }

    /// These tokens, in their order, as far as there are such and the actor sees them.
    pub(super) async fn infos(&self, standing: &Standing, ids: &[TokenId]) -> Result<Vec<Option<TokenInfo>>, StoreError> {
        let keys = ids.iter().cloned().map(Key::Token).collect();
        let tokens: Vec<_> = self.readable::<Token>(keys).await?.into_iter().map(|token| token.ok().flatten()).collect();
        let owners = self.accounts_by_id(tokens.iter().flatten().map(|token| token.account.clone())).await?;
        let access = self.access_to_judge(standing, owners.keys()).await?;
        let uses = self.store.uses(ids).await?;
        let infos = tokens.into_iter().zip(uses).map(|(token, last_used)| {
            let token = token?;
            // A token whose owner has just gone is about to follow him.
            let owner = owners.get(&token.account)?;
            let seen = standing.authority.sees_token(&token, Owner { account: owner, access: access.get(&owner.id) });
            seen.then(|| {
                let ceiling = standing.authority.shown_ceiling(&token);
                TokenInfo::new(Token { judged: JudgedToken { ceiling, ..token.judged }, ..token }, owner, last_used, standing.now)
            })
        });
        Ok(infos.collect())
    }

    /// Changes what a token is called. `seen` is the version the caller has read, if he minds.
    pub async fn update_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        patch: TokenPatch,
        seen: Option<u64>,
    ) -> Result<TokenInfo, DirectoryError> {
        let device = if let FieldPatch::Set(device) = &patch.device { Some(device.as_str()) } else { None };
        let texts = [("name", patch.name.as_ref().map(Label::as_str)), ("device", device)];
        fields::without_tokens(&self.prefixes, texts)?;
        self.audited(actor, Action::TokenUpdate, id.as_str(), async {
            until_settled!(self, {
                let standing = self.standing(actor).await?;
                let (old, owner, access) = self.seen_token(&standing, id).await?;
                standing.authority.may_change_token(&old, Owner { account: &owner, access: access.as_ref() })?;
                DirectoryError::unless_seen(seen, old.version)?;
                let mut new = Token {
                    name: patch.name.clone().unwrap_or_else(|| old.name.clone()),
                    device: patch.device.clone().applied_to(old.device.as_ref()),
                    ..old.clone()
                };
                if new == old {
                    return Ok(self.info(old, &owner, standing.now).await?);
                }
                standing.require_confirmation()?;
                new.version += 1;
                let mut edit = standing.edit();
                edit.expect_same(Key::Token(old.id.clone()), &old);
                edit.put(Key::Token(new.id.clone()), &new)?;
                places::move_in_lists(&mut edit, &old, &new);
                let before = TokenInfo::new(old, &owner, None, standing.now);
                let after = TokenInfo::new(new.clone(), &owner, None, standing.now);
                let event = standing.event(Action::TokenUpdate, id.as_str());
                edit.tell(event.changing(Some(&TokenView::from(before)), Some(&TokenView::from(after))));
                let info = self.info(new, &owner, standing.now).await?;
                Plan::Commit(edit, info)
            })
        })
        .await
    }

    pub(super) async fn info(&self, token: Token, owner: &Account, now: Timestamp) -> Result<TokenInfo, StoreError> {
        let last_used = self.store.uses(std::slice::from_ref(&token.id)).await?.pop().flatten();
        Ok(TokenInfo::new(token, owner, last_used, now))
    }

    /// A token that the actor sees, with its owner and his access.
    pub(super) async fn seen_token(
        &self,
        standing: &Standing,
        id: &TokenId,
    ) -> Result<(Token, Account, Option<AccessRows>), DirectoryError> {
        let missing = || DirectoryError::not_found("token", id.as_str());
        let token: Token = self.get(Key::Token(id.clone())).await?.ok_or_else(missing)?;
        let (owner, access) = self.owner(&token).await?.ok_or_else(missing)?;
        let seen = standing.authority.sees_token(&token, Owner { account: &owner, access: access.as_ref() });
        if seen { Ok((token, owner, access)) } else { Err(missing()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (name, pattern) in
            [("a", "a"), ("nightly job", "nightly *"), ("x", "*"), ("aXbYc", "a*b*c"), ("ab", "a*b"), ("aa", "a*a")]
        {
            assert!(is_like(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("ab", "a"), ("a", "a*a"), ("x nightly", "nightly*"), ("acb", "a*b*c"), ("", "a")] {
            assert!(!is_like(name, pattern), "{name} {pattern}");
        }
    }
}
