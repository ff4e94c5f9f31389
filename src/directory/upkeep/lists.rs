//! The sorted lists of a store: what it has from before there were any is put in, once; and tokens that have been used go from
//! the list of those that never were. Until all is in, nobody is shown a sorted list that lacks something.

use super::PART;
use crate::{
    directory::{
        Directory, Edit, Plan, Window,
        places::{self, id_at},
    },
    domain::{
        account::Account,
        token::{Token, TokenId},
    },
    store::{
        Index, Key, Record as _, StoreError,
        record::{Meta, NameClaim},
    },
};

/// Records that are put in with one commit.
const AT_ONCE: usize = 500;

impl Directory {
    /// Puts some of what lacks in the sorted lists in; `after` as with [`Self::look_after_tokens`]. A server of before may have
    /// made more since the last time.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn complete_lists(&self, after: Option<String>) -> Result<Option<String>, StoreError> {
        let window = Window { after, limit: AT_ONCE };
        let (members, next) = self.members(&Index::Tokens, &window).await?;
        if window.after.is_none() && !self.lists_are_made().await? {
            tracing::info!("tokens and accounts are being put in order; until that is done, sorted lists answer 503 to superusers");
        }
        // Bare ids come first.
        let bare: Vec<TokenId> = members.iter().map_while(|member| TokenId::parse(member)).collect();
        let is_last = next.is_none() || bare.len() < members.len();
        if !self.put_in_lists(&bare).await? {
            // Somebody was faster with one of them.
            return Ok(window.after.or_else(|| Some(String::new())));
        }
        if !is_last {
            return Ok(next);
        }
        if !self.lists_are_made().await? {
            self.put_accounts_in_lists().await?;
            self.note_that_lists_are_made().await?;
        }
        Ok(None)
    }

    /// Whether nobody has changed any of them meanwhile.
    async fn put_in_lists(&self, ids: &[TokenId]) -> Result<bool, StoreError> {
        if ids.is_empty() {
            return Ok(true);
        }
        let records = self.readable::<Token>(ids.iter().cloned().map(Key::Token).collect()).await?;
        let uses = self.store.uses(ids).await?;
        // They get their places in the order of uses by that.
        let known: Vec<_> = ids.iter().cloned().zip(uses.iter().cloned()).filter_map(|(id, last)| Some((id, last?))).collect();
        self.store.note_uses(&known).await?;
        let mut edit = Edit::default();
        for ((id, record), last_used) in ids.iter().zip(records).zip(uses) {
            match record {
                // It is not known where it would stand.
                Err(_) => continue,
                Ok(None) => {}
                Ok(Some(token)) => {
                    edit.expect_same(Key::Token(id.clone()), &token);
                    places::list(&mut edit, &token, last_used.is_some());
                }
            }
            edit.remove_from(Index::Tokens, id);
        }
        Ok(edit.is_empty() || self.settle(Plan::Commit(edit, ())).await?.is_some())
    }

    async fn put_accounts_in_lists(&self) -> Result<(), StoreError> {
        let mut window = Window { after: None, limit: AT_ONCE };
        loop {
            let (logins, next) = self.members(&Index::Accounts, &window).await?;
            let claims = self.get_all::<NameClaim>(&logins.into_iter().map(Key::Name).collect::<Vec<_>>()).await?;
            let keys = claims.into_iter().flatten().map(|claim| Key::Account(claim.account)).collect();
            let mut edit = Edit::default();
            for account in self.readable::<Account>(keys).await?.into_iter().filter_map(Result::ok).flatten() {
                edit.expect_same(Key::Account(account.id.clone()), &account);
                edit.add_to(Index::AccountsByCreation, &places::of_account(&account));
            }
            if self.settle(Plan::Commit(edit, ())).await?.is_some() {
                window.after = next;
                if window.after.is_none() {
                    return Ok(());
                }
            }
        }
    }

    async fn note_that_lists_are_made(&self) -> Result<(), StoreError> {
        loop {
            let Some(old) = self.get::<Meta>(Key::Meta).await? else { return Ok(()) };
            let mut edit = Edit::default();
            edit.expect_same(Key::Meta, &old);
            edit.put(Key::Meta, &Meta { lists: Meta::LISTS, version: old.version() + 1, ..old })?;
            if self.settle(Plan::Commit(edit, ())).await?.is_some() {
                tracing::info!("all tokens and accounts are in the sorted lists now");
                return Ok(());
            }
        }
    }

    /// Takes tokens that have been used from the list of those that never were: some past `after`, or the first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_after_unused(&self, after: Option<String>) -> Result<Option<String>, StoreError> {
        let (places, next) = self.members(&Index::UnusedTokens, &Window { after, limit: PART }).await?;
        let (places, ids): (Vec<_>, Vec<_>) =
            places.into_iter().filter_map(|place| TokenId::parse(id_at(&place)).map(|id| (place, id))).unzip();
        let mut edit = Edit::default();
        for (place, _) in places.iter().zip(self.store.uses(&ids).await?).filter(|(_, last)| last.is_some()) {
            edit.remove_from(Index::UnusedTokens, place);
        }
        if !edit.is_empty() {
            self.settle(Plan::Commit(edit, ())).await?;
        }
        Ok(next)
    }
}
