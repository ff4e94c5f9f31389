//! Deleting an account, with everything that is its own: names, access, tokens; and what those have minted for others. An
//! account with tokens is disabled first and goes last, so that it can be deleted again from any point.

use super::{
    Actor, Directory, DirectoryError, Edit, Plan,
    accounts::{claims, counts_as_superuser, refuse_built_in},
    places,
    shown::AccountView,
    standing::Standing,
    until_settled,
};
use crate::{
    domain::{
        account::Account,
        event::Action,
        id::AccountId,
        text::Login,
        token::{Token, TokenId},
    },
    store::{Index, Key},
};

/// How many tokens of a deleted account go in one commit.
const TOKENS_PER_COMMIT: usize = 500;

impl Directory {
    /// Deletes the account; its tokens and sessions die with it. `seen` is the version the caller has read, if he minds.
    pub async fn delete_account(&self, actor: &Actor, login: &Login, seen: Option<u64>) -> Result<(), DirectoryError> {
        self.audited(actor, Action::AccountDelete, login.as_str(), async {
            let prepared = match self.prepare_deletion(actor, login, seen).await {
                Err(missing @ DirectoryError::NotFound { .. }) => self.gone(Key::Name(login.folded()), missing).await?,
                prepared => prepared?,
            };
            let Prepared { id, has_tokens, mut standing } = prepared;
            if has_tokens {
                // He may be deleting himself; what follows is a part of what he was allowed to do.
                standing = standing.after_the_deed();
                self.revoke_minted_by(&standing, &id).await?;
            }
            loop {
                let Part { tokens, last } = self.delete_part(&standing, login, &id).await?;
                self.forget_uses(&tokens).await;
                if last {
                    return Ok(());
                }
            }
        })
        .await
    }

    /// Disables an account that has tokens, so that nothing is made with them any more.
    async fn prepare_deletion(&self, actor: &Actor, login: &Login, seen: Option<u64>) -> Result<Prepared, DirectoryError> {
        until_settled!(self, {
            let standing = self.superuser(actor).await?;
            let account = self.account_by_login(login).await?;
            refuse_built_in(&account)?;
            DirectoryError::unless_seen(seen, account.version)?;
            let id = account.id.clone();
            let has_tokens = !self.store.page(&Index::TokensOf(id.clone()), None, 1).await?.members.is_empty();
            if !has_tokens || account.disabled {
                return Ok(Prepared { id, has_tokens, standing });
            }
            let mut edit = standing.edit();
            edit.takes_away();
            if counts_as_superuser(&account) {
                self.expect_another_superuser(&mut edit, &account.id).await?;
            }
            let disabled = Account { disabled: true, version: account.version + 1, ..account.clone() };
            edit.expect_same(Key::Account(id.clone()), &account);
            edit.put(Key::Account(id.clone()), &disabled)?;
            let event = standing.event(Action::AccountUpdate, account.login.as_str());
            edit.tell(event.changing(Some(&AccountView::from(account)), Some(&AccountView::from(disabled))));
            Plan::Commit(edit, Prepared { id, has_tokens, standing })
        })
    }

    /// Deletes as much as fits one commit.
    async fn delete_part(&self, standing: &Standing, login: &Login, id: &AccountId) -> Result<Part, DirectoryError> {
        until_settled!(self, {
            let account: Option<Account> = self.get(Key::Account(id.clone())).await?;
            let account = account.ok_or_else(|| Self::not_an_account(login))?;
            let mut edit = standing.edit();
            edit.takes_away();
            if counts_as_superuser(&account) {
                self.expect_another_superuser(&mut edit, &account.id).await?;
            }
            edit.expect_same(Key::Account(account.id.clone()), &account);
            let index = Index::TokensOf(account.id.clone());
            let page = self.store.page(&index, None, TOKENS_PER_COMMIT).await?;
            let tokens: Vec<_> = page.members.iter().filter_map(|id| TokenId::parse(id)).collect();
            let records = self.readable::<Token>(tokens.iter().cloned().map(Key::Token).collect()).await?;
            for (id, record) in tokens.iter().zip(records) {
                drop_token(&mut edit, &account.id, id, record.ok().flatten().as_ref());
            }
            if !page.more {
                // A token that is being made now must not be missed.
                edit.expect_count(index, page.members.len());
                edit.delete(Key::Account(account.id.clone()));
                for folded in claims(&account) {
                    edit.delete(Key::Name(folded));
                }
                edit.remove_from(Index::Accounts, &account.login.folded());
                edit.remove_from(Index::AccountsByCreation, &places::of_account(&account));
                edit.remove_from(Index::Superusers, &account.id);
                self.drop_access(&mut edit, &account.id).await?;
                edit.delete(Key::Factors(account.id.clone()));
                let event = standing.event(Action::AccountDelete, account.login.as_str());
                edit.tell(event.changing(Some(&AccountView::from(account)), None::<&AccountView>));
            }
            Plan::Commit(edit, Part { tokens, last: !page.more })
        })
    }
}

/// An account that is ready to go.
struct Prepared {
    id: AccountId,
    has_tokens: bool,
    standing: Standing,
}

/// A part of a deletion.
struct Part {
    tokens: Vec<TokenId>,
    /// The account itself has gone.
    last: bool,
}

/// Removes the record of an account's token, and its places in the lists. Of one that cannot be read they are not known: the
/// upkeep finds them.
pub(super) fn drop_token(edit: &mut Edit, owner: &AccountId, id: &TokenId, token: Option<&Token>) {
    edit.delete(Key::Token(id.clone()));
    if let Some(token) = token {
        places::unlist(edit, token);
    }
    edit.remove_from(Index::TokensOf(owner.clone()), id);
    edit.clear(Index::MintedBy(id.clone()));
    for minter in token.iter().flat_map(|token| &token.minted_with) {
        edit.remove_from(Index::MintedBy(minter.clone()), id);
    }
}
