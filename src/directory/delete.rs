//! Deleting an account, with everything that is its own: names, access, tokens. All in one commit; where there are too many
//! tokens for one, the account is disabled first and goes last, so that it can be deleted again from any point.

use super::{
    Actor, Directory, DirectoryError, Edit, Plan,
    accounts::{claims, counts_as_superuser, refuse_built_in},
    shown::AccountView,
    until_settled,
};
use crate::{
    domain::{account::Account, event::Action, id::AccountId, text::Login, token::TokenId},
    store::{Index, Key},
};

/// How many tokens of a deleted account go in one commit.
const TOKENS_PER_COMMIT: usize = 500;

impl Directory {
    /// Deletes the account; its tokens and sessions die with it. `seen` is the version the caller has read, if he minds.
    pub async fn delete_account(&self, actor: &Actor, login: &Login, seen: Option<u64>) -> Result<(), DirectoryError> {
        self.audited(actor, Action::AccountDelete, login.as_str(), async {
            let mut seen = seen;
            loop {
                let Part { tokens, last } = self.delete_part(actor, login, seen).await?;
                self.forget_uses(&tokens).await;
                if last {
                    return Ok(());
                }
                // From here on the versions are our own.
                seen = None;
            }
        })
        .await
    }

    /// Deletes as much as fits one commit.
    async fn delete_part(&self, actor: &Actor, login: &Login, seen: Option<u64>) -> Result<Part, DirectoryError> {
        until_settled!(self, {
            let standing = self.superuser(actor).await?;
            let account = self.account_by_login(login).await?;
            refuse_built_in(&account)?;
            DirectoryError::unless_seen(seen, account.version)?;
            let mut edit = standing.edit();
            edit.takes_away();
            if counts_as_superuser(&account) {
                self.expect_another_superuser(&mut edit, &account.id).await?;
            }
            edit.expect_same(Key::Account(account.id.clone()), &account);
            let index = Index::TokensOf(account.id.clone());
            let page = self.store.page(&index, None, TOKENS_PER_COMMIT).await?;
            let tokens: Vec<_> = page.members.iter().filter_map(|id| TokenId::parse(id)).collect();
            if page.more && !account.disabled {
                let disabled = Account { disabled: true, version: account.version + 1, ..account.clone() };
                edit.put(Key::Account(account.id.clone()), &disabled)?;
                let event = standing.event(Action::AccountUpdate, account.login.as_str());
                edit.tell(event.changing(Some(&AccountView::from(account)), Some(&AccountView::from(disabled))));
                Plan::Commit(edit, Part { tokens: Vec::new(), last: false })
            } else {
                drop_tokens(&mut edit, &account.id, &tokens);
                if !page.more {
                    // A token that is being made now must not be missed.
                    edit.expect_count(index, page.members.len());
                    edit.delete(Key::Account(account.id.clone()));
                    for folded in claims(&account) {
                        edit.delete(Key::Name(folded));
                    }
                    edit.remove_from(Index::Accounts, &account.login.folded());
                    edit.remove_from(Index::Superusers, &account.id);
                    self.drop_access(&mut edit, &account.id).await?;
                    let event = standing.event(Action::AccountDelete, account.login.as_str());
                    edit.tell(event.changing(Some(&AccountView::from(account)), None::<&AccountView>));
                }
                Plan::Commit(edit, Part { tokens, last: !page.more })
            }
        })
    }
}

/// A part of a deletion.
struct Part {
    tokens: Vec<TokenId>,
    /// The account itself has gone.
    last: bool,
}

/// Removes the records of an account's tokens, and their places in its lists. In the lists of those they were minted with
/// they stay: who has counted such a list must not be misled.
pub(super) fn drop_tokens(edit: &mut Edit, owner: &AccountId, tokens: &[TokenId]) {
    for id in tokens {
        edit.delete(Key::Token(id.clone()));
        edit.remove_from(Index::Tokens, id);
        edit.remove_from(Index::TokensOf(owner.clone()), id);
        edit.clear(Index::MintedBy(id.clone()));
    }
}
