//! Letting go of a token's record. What hung on it passes to its heir: the successor by which it was rotated, whose
//! revocation is to end what the two of them have minted.

use super::{UPKEEP, ended_at, is_past};
use crate::{
    directory::{Directory, DirectoryError, Edit, Plan, TokenInfo, delete::drop_token, shown::TokenView, until_settled},
    domain::{
        account::Account,
        event::Action,
        time::Timestamp,
        token::{Token, TokenId},
    },
    store::{Index, Key, StoreError},
};

/// How many living tokens pass to an heir in one commit.
const PER_COMMIT: usize = 500;

impl Directory {
    /// Deletes the record of a token that is over for long enough, or has no owner any more. Whether it has gone.
    pub(super) async fn purge(&self, id: &TokenId) -> Result<bool, DirectoryError> {
        while let Some(gone) = self.purge_part(id).await? {
            if gone {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As much as fits one commit, the record last. `None` when there is nothing to do.
    async fn purge_part(&self, id: &TokenId) -> Result<Option<bool>, DirectoryError> {
        until_settled!(self, {
            let standing = self.standing(&UPKEEP).await?;
            let Some(token) = self.get::<Token>(Key::Token(id.clone())).await? else { return Ok(None) };
            let owner: Option<Account> = self.get(Key::Account(token.account.clone())).await?;
            if let Some(owner) = &owner
                && !self.may_go(&token, owner, standing.now).await?
            {
                return Ok(None);
            }
            let mut edit = standing.edit();
            edit.expect_same(Key::Token(id.clone()), &token);
            edit.expect_as_read(Key::Account(token.account.clone()), owner.as_ref());
            let gone = self.pass_on(&mut edit, &token, standing.now).await?;
            if gone {
                drop_token(&mut edit, &token.account, id, Some(&token));
                let last = owner.map(|owner| TokenView::from(TokenInfo::new(token, &owner, None, standing.now)));
                edit.tell(standing.event(Action::TokenPurge, id.as_str()).changing(last.as_ref(), None::<&TokenView>));
            }
            Plan::Commit(edit, Some(gone))
        })
    }

    /// Whether the record has been kept for long enough. A family goes from its oldest on, so that whoever follows it never
    /// comes upon a gap.
    async fn may_go(&self, token: &Token, owner: &Account, now: Timestamp) -> Result<bool, StoreError> {
        if !ended_at(token, owner, now).is_some_and(|end| is_past(end, self.token_rules.keep_ended, now)) {
            return Ok(false);
        }
        match &token.rotated_from {
            Some(predecessor) => Ok(self.get::<Token>(Key::Token(predecessor.clone())).await?.is_none()),
            None => Ok(true),
        }
    }

    /// Lets what is alive of what the token has minted hang on its heir, if there is one. Whether that is all of it.
    async fn pass_on(&self, edit: &mut Edit, token: &Token, now: Timestamp) -> Result<bool, StoreError> {
        let index = Index::MintedBy(token.id.clone());
        let members = self.all_members(&index).await?;
        let keys: Vec<_> = members.iter().filter_map(|id| TokenId::parse(id)).map(Key::Token).collect();
        let minted = self.get_all::<Token>(&keys).await?.into_iter().flatten();
        let lives = |minted: &Token| minted.revoked.is_none() && minted.ends_at().is_none_or(|end| now < end);
        let mut minted: Vec<_> = minted.filter(|one| lives(one) && one.minted_with.contains(&token.id)).collect();
        let is_all = minted.len() <= PER_COMMIT;
        minted.truncate(PER_COMMIT);
        let heir = match &token.superseded {
            Some(superseded) if !minted.is_empty() => self.get::<Token>(Key::Token(superseded.by.clone())).await?,
            _ => None,
        };
        if let Some(heir) = &heir {
            edit.expect_same(Key::Token(heir.id.clone()), heir);
        }
        for old in minted {
            let mut new = old.clone();
            new.version += 1;
            new.minted_with.retain(|id| *id != token.id);
            // Without an heir it hangs on what the token itself hung on.
            let above = heir.as_ref().map_or(token.minted_with.as_slice(), |heir| std::slice::from_ref(&heir.id));
            for one in above {
                edit.add_to(Index::MintedBy(one.clone()), &new.id);
                if !new.minted_with.contains(one) {
                    new.minted_with.push(one.clone());
                }
            }
            edit.expect_same(Key::Token(old.id.clone()), &old);
            edit.put(Key::Token(old.id.clone()), &new)?;
        }
        if is_all {
            // Nothing may have come to hang on it since.
            edit.expect_count(index, members.len());
        }
        Ok(is_all)
    }
}
