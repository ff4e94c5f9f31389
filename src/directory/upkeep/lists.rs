//! The sorted lists of a store: what it has from before there were any is put in, once, and until all is in, nobody is shown a
//! sorted list that lacks something. From then on places go where nothing stands: a server of an earlier version beside this
//! one moves no places, and those of a damaged record that is deleted are not known. Tokens that have been used go from the
//! list of those that never were.

use crate::{
    directory::{
        Directory, Edit, Plan, TokenSort, Window,
        accounts::account_id,
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
            let mut after = None;
            loop {
                after = self.put_accounts_in_lists(after).await?;
                if after.is_none() {
                    break;
                }
            }
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

    /// Puts some accounts in the order of their making: those past `after`, or the first. Those that are there already stay.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn put_accounts_in_lists(&self, after: Option<String>) -> Result<Option<String>, StoreError> {
        let window = Window { after, limit: AT_ONCE };
        let (logins, next) = self.members(&Index::Accounts, &window).await?;
        let claims = self.get_all::<NameClaim>(&logins.into_iter().map(Key::Name).collect::<Vec<_>>()).await?;
        let keys = claims.into_iter().flatten().map(|claim| Key::Account(claim.account)).collect();
        let mut edit = Edit::default();
        for account in self.readable::<Account>(keys).await?.into_iter().filter_map(Result::ok).flatten() {
            edit.expect_same(Key::Account(account.id.clone()), &account);
            edit.add_to(Index::AccountsByCreation, &places::of_account(&account));
        }
        let done = edit.is_empty() || self.settle(Plan::Commit(edit, ())).await?.is_some();
        // Somebody was faster with one of them.
        Ok(if done { next } else { window.after.or_else(|| Some(String::new())) })
    }

    /// Takes places out of the order of accounts where none stands: some past `after`, or the first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_after_account_places(&self, after: Option<String>) -> Result<Option<String>, StoreError> {
        let (members, next) = self.members(&Index::AccountsByCreation, &Window { after, limit: AT_ONCE }).await?;
        let found: Vec<_> = members.into_iter().filter_map(|place| Some((account_id(id_at(&place))?, place))).collect();
        let records = self.readable::<Account>(found.iter().map(|(id, _)| Key::Account(id.clone())).collect()).await?;
        let mut edit = Edit::default();
        for ((id, place), record) in found.into_iter().zip(records) {
            if let Ok(None) = record {
                edit.expect_absent(Key::Account(id));
                edit.remove_from(Index::AccountsByCreation, &place);
            }
        }
        if !edit.is_empty() {
            self.settle(Plan::Commit(edit, ())).await?;
        }
        Ok(next)
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

    /// Takes places out of an order of tokens where none stands, or not that one, which is put in all orders where it belongs;
    /// and from the order of the unused what has been used. Some past `after`, or the first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_after_places(&self, order: TokenSort, after: Option<String>) -> Result<Option<String>, StoreError> {
        let index = order.index();
        let (members, next) = self.members(&index, &Window { after, limit: AT_ONCE }).await?;
        // Bare ids are not in any order yet.
        let is_place = |id: &TokenId, member: &str| member != id.as_str();
        let found = members.into_iter().filter_map(|member| Some((TokenId::parse(id_at(&member))?, member)));
        let (ids, found): (Vec<_>, Vec<_>) = found.filter(|(id, member)| is_place(id, member)).unzip();
        let records = self.readable::<Token>(ids.iter().cloned().map(Key::Token).collect()).await?;
        let uses = self.store.uses(&ids).await?;
        let mut edit = Edit::default();
        for (((id, place), record), last_used) in ids.into_iter().zip(found).zip(records).zip(uses) {
            match record {
                Ok(None) => {
                    edit.expect_absent(Key::Token(id));
                    edit.remove_from(index.clone(), &place);
                }
                Ok(Some(token)) if !places::stands_at(&token, order, &place) => {
                    edit.expect_same(Key::Token(id), &token);
                    edit.remove_from(index.clone(), &place);
                    places::list(&mut edit, &token, last_used.is_some());
                }
                Ok(Some(_)) if order == TokenSort::Used && last_used.is_some() => edit.remove_from(index.clone(), &place),
                // Or it is damaged, and nobody knows where it would stand.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        if !edit.is_empty() {
            // If somebody has changed one of them meanwhile, there is a next time.
            self.settle(Plan::Commit(edit, ())).await?;
        }
        Ok(next)
    }
}
