//! Which accounts there are: by login or by making, as far as somebody sees them.

use super::account_id;
use crate::{
    directory::{
        AccountSort, Actor, Directory, DirectoryError, Listing, Sort, Window,
        places::id_at,
        sorted::{Part, Range, beginning},
        tokens::is_like,
    },
    domain::{
        account::{Account, AccountKind},
        id::AccountId,
        text::fold,
    },
    store::{Index, Key, StoreError, record::NameClaim},
};

/// Which accounts are wanted, those for which all of this is so; and in which order.
#[derive(Clone, Debug, Default)]
pub struct AccountFilter {
    /// The whole login, folded; `*` stands for any text.
    pub login: Option<String>,
    pub kind: Option<AccountKind>,
    pub disabled: Option<bool>,
    /// `None`: by login.
    pub sort: Option<Sort<AccountSort>>,
}

impl AccountFilter {
    fn takes(&self, account: &Account) -> bool {
        self.login.as_deref().is_none_or(|pattern| is_like(&account.login.folded(), &fold(pattern)))
            && self.kind.is_none_or(|kind| account.kind == kind)
            && self.disabled.is_none_or(|disabled| account.disabled == disabled)
    }

    fn is_narrow(&self) -> bool {
        self.login.is_some() || self.kind.is_some() || self.disabled.is_some()
    }

    /// Where all are that can be wanted.
    fn range(&self, by: AccountSort) -> Range {
        let beginning = self.login.as_deref().filter(|_| by == AccountSort::Login).and_then(beginning);
        beginning.map(Range::of_beginning).unwrap_or_default()
    }
}

impl Directory {
    /// The accounts, `anonymous` among them; for who is no superuser, his own. With a filter a part may hold fewer than the
    /// limit, and not be the last.
    pub async fn accounts(
        &self,
        actor: &Actor,
        filter: &AccountFilter,
        window: &Window,
    ) -> Result<Listing<Account>, DirectoryError> {
        let standing = self.standing(actor).await?;
        if let Some(bearer) = standing.authority.bearer()
            && !standing.authority.is_superuser()
        {
            let own = Some(bearer.account.clone()).filter(|account| filter.takes(account));
            return Ok(Listing { items: own.into_iter().collect(), next: None });
        }
        let sort = filter.sort.unwrap_or(Sort::ascending(AccountSort::Login));
        let index = match sort.by {
            AccountSort::Login => Index::Accounts,
            AccountSort::Created if self.lists_are_made().await? => Index::AccountsByCreation,
            AccountSort::Created => return Err(DirectoryError::ListsInTheMaking),
        };
        let mut part = Part::new(window, sort.direction, filter.range(sort.by));
        loop {
            let page = self.store.page_in(&index, sort.direction, part.position(), part.at_once(filter.is_narrow())).await?;
            let ids = match sort.by {
                AccountSort::Login => self.claimed(&page.members).await?,
                AccountSort::Created => page.members.iter().map(|place| account_id(id_at(place))).collect(),
            };
            // An account that went between two of these reads is left out.
            let mut accounts = self.accounts_by_id(ids.iter().flatten().cloned()).await?;
            let found = ids.into_iter().map(|id| accounts.remove(&id?));
            let found = page.members.into_iter().zip(found).collect();
            if let Some(listing) = part.take(found, page.more, |_, account| filter.takes(account)) {
                return Ok(listing);
            }
        }
    }

    /// Whose these folded names are.
    async fn claimed(&self, names: &[String]) -> Result<Vec<Option<AccountId>>, StoreError> {
        let keys: Vec<_> = names.iter().cloned().map(Key::Name).collect();
        let claims = self.get_all::<NameClaim>(&keys).await?;
        Ok(claims.into_iter().map(|claim| Some(claim?.account)).collect())
    }
}
