//! Accounts: who can be somebody. Logins and e-mail addresses are claims in one folded namespace, and there is
//! always one enabled superuser left.

use std::collections::BTreeSet;

use super::{Actor, Directory, DirectoryError, Edit, FieldPatch, Listing, Plan, Window, rng, until_settled};
use crate::{
    domain::{
        access::AccessRows,
        account::{Account, AccountKind, Format},
        id::AccountId,
        password::{Password, PasswordHash},
        text::{Email, Invalid, Label, Login},
    },
    store::{Index, Key, StoreError, record::NameClaim},
};

/// How many tokens of a deleted account go in one commit.
const TOKENS_PER_COMMIT: usize = 200;

/// An account to make.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub login: Login,
    pub kind: AccountKind,
    pub name: Option<Label>,
    pub email: Option<Email>,
    pub superuser: bool,
    pub may_mint_tokens: bool,
    pub password: Option<Password>,
}

impl NewAccount {
    /// With nothing but a login, and the right to mint.
    #[must_use]
    pub fn new(login: Login, kind: AccountKind) -> Self {
        Self { login, kind, name: None, email: None, superuser: false, may_mint_tokens: true, password: None }
    }
}

/// What to change of an account; what is `None` or `Keep` stays.
#[derive(Clone, Debug, Default)]
pub struct AccountPatch {
    pub login: Option<Login>,
    pub name: FieldPatch<Label>,
    pub email: FieldPatch<Email>,
    pub superuser: Option<bool>,
    pub disabled: Option<bool>,
    pub may_mint_tokens: Option<bool>,
    pub password: Option<Password>,
}

impl Directory {
    pub async fn create_account(&self, actor: &Actor, new: NewAccount) -> Result<Account, DirectoryError> {
        actor.may_administer()?;
        match new.kind {
            AccountKind::Human => {}
            AccountKind::Service => service_has_no(new.password.is_some(), new.email.is_some())?,
            AccountKind::Anonymous => {
                return Err(
                    Invalid::new("account_kind", "kind", "the account `anonymous` is built in; make a human or a service").into()
                );
            }
        }
        let password = self.hash(new.password.clone()).await?;
        until_settled!(self, self.plan_create_account(&new, password.clone()).await?)
    }

    async fn plan_create_account(&self, new: &NewAccount, password: Option<PasswordHash>) -> Result<Plan<Account>, DirectoryError> {
        let account = Account {
            v: Format,
            id: AccountId::generate(&mut rng()),
            login: new.login.clone(),
            kind: new.kind,
            name: new.name.clone(),
            email: new.email.clone(),
            superuser: new.superuser,
            disabled: false,
            may_mint_tokens: new.may_mint_tokens,
            generation: 0,
            password,
            created_at: self.clock.now(),
            version: 1,
        };
        let mut edit = Edit::default();
        self.claim(&mut edit, &account, claims(&account)).await?;
        edit.create(Key::Account(account.id.clone()), &account)?;
        edit.add_to(Index::Accounts, &account.login.folded());
        if account.superuser {
            edit.add_to(Index::Superusers, &account.id);
        }
        Ok(Plan::Commit(edit, account))
    }

    pub async fn account(&self, actor: &Actor, login: &Login) -> Result<Account, DirectoryError> {
        actor.may_administer()?;
        self.account_by_login(login).await
    }

    /// All accounts by login, `anonymous` among them.
    pub async fn accounts(&self, actor: &Actor, window: &Window) -> Result<Listing<Account>, DirectoryError> {
        actor.may_administer()?;
        let (logins, next) = self.members(&Index::Accounts, window).await?;
        let keys: Vec<_> = logins.into_iter().map(Key::Name).collect();
        let claims = self.get_all::<NameClaim>(&keys).await?;
        let keys: Vec<_> = claims.into_iter().flatten().map(|claim| Key::Account(claim.account)).collect();
        // An account that went between two of these reads is left out.
        let items = self.get_all::<Account>(&keys).await?.into_iter().flatten().collect();
        Ok(Listing { items, next })
    }

    /// Changes an account, all of the patch at once. `seen` is the version the caller has read, if he minds.
    pub async fn update_account(
        &self,
        actor: &Actor,
        login: &Login,
        patch: AccountPatch,
        seen: Option<u64>,
    ) -> Result<Account, DirectoryError> {
        actor.may_administer()?;
        let password = self.hash(patch.password.clone()).await?;
        until_settled!(self, self.plan_update_account(login, &patch, password.clone(), seen).await?)
    }

    async fn plan_update_account(
        &self,
        login: &Login,
        patch: &AccountPatch,
        password: Option<PasswordHash>,
        seen: Option<u64>,
    ) -> Result<Plan<Account>, DirectoryError> {
        let old = self.account_by_login(login).await?;
        refuse_built_in(&old)?;
        DirectoryError::unless_seen(seen, old.version)?;
        if old.kind == AccountKind::Service {
            service_has_no(password.is_some(), matches!(patch.email, FieldPatch::Set(_)))?;
        }
        let mut new = patched(&old, patch, password);
        if new == old {
            return Ok(Plan::Nothing(old));
        }
        new.version += 1;

        let mut edit = Edit::default();
        let (had, has) = (claims(&old), claims(&new));
        self.claim(&mut edit, &new, has.difference(&had).cloned().collect()).await?;
        for folded in had.difference(&has) {
            edit.delete(Key::Name(folded.clone()));
        }
        if old.login.folded() != new.login.folded() {
            edit.remove_from(Index::Accounts, &old.login.folded());
            edit.add_to(Index::Accounts, &new.login.folded());
        }
        if counts_as_superuser(&old) && !counts_as_superuser(&new) {
            self.expect_another_superuser(&mut edit, &old.id).await?;
        }
        match (old.superuser, new.superuser) {
            (false, true) => {
                edit.add_to(Index::Superusers, &new.id);
                // Above all sites, rows mean nothing; taken back, he is to begin with none.
                self.drop_access(&mut edit, &new.id).await?;
            }
            (true, false) => edit.remove_from(Index::Superusers, &new.id),
            _ => {}
        }
        edit.expect_same(Key::Account(old.id.clone()), &old);
        edit.put(Key::Account(new.id.clone()), &new)?;
        Ok(Plan::Commit(edit, new))
    }

    /// Ends every token and session of the account in one write.
    pub async fn revoke_all(&self, actor: &Actor, login: &Login) -> Result<Account, DirectoryError> {
        actor.may_administer()?;
        until_settled!(self, {
            let old = self.account_by_login(login).await?;
            refuse_built_in(&old)?;
            let mut new = old.clone();
            new.generation += 1;
            new.version += 1;
            let mut edit = Edit::default();
            edit.expect_same(Key::Account(old.id.clone()), &old);
            edit.put(Key::Account(new.id.clone()), &new)?;
            Plan::Commit(edit, new)
        })
    }

    /// Deletes the account, and its tokens after it: without their account they are dead already.
    pub async fn delete_account(&self, actor: &Actor, login: &Login, seen: Option<u64>) -> Result<(), DirectoryError> {
        actor.may_administer()?;
        let id = self.delete_account_itself(login, seen).await?;
        if let Err(error) = self.delete_tokens_of(&id).await {
            tracing::warn!(account = %id, %error, "records of dead tokens are left over");
        }
        Ok(())
    }

    async fn delete_account_itself(&self, login: &Login, seen: Option<u64>) -> Result<AccountId, DirectoryError> {
        until_settled!(self, {
            let account = self.account_by_login(login).await?;
            refuse_built_in(&account)?;
            DirectoryError::unless_seen(seen, account.version)?;
            let mut edit = Edit::default();
            if counts_as_superuser(&account) {
                self.expect_another_superuser(&mut edit, &account.id).await?;
            }
            edit.expect_same(Key::Account(account.id.clone()), &account);
            edit.delete(Key::Account(account.id.clone()));
            for folded in claims(&account) {
                edit.delete(Key::Name(folded));
            }
            edit.remove_from(Index::Accounts, &account.login.folded());
            edit.remove_from(Index::Superusers, &account.id);
            self.drop_access(&mut edit, &account.id).await?;
            Plan::Commit(edit, account.id)
        })
    }

    async fn delete_tokens_of(&self, id: &AccountId) -> Result<(), DirectoryError> {
        let index = Index::TokensOf(id.clone());
        loop {
            let page = self.store.page(&index, None, TOKENS_PER_COMMIT).await?;
            if page.members.is_empty() {
                return Ok(());
            }
            let mut edit = Edit::default();
            for member in page.members {
                if let Some(token) = crate::domain::token::TokenId::parse(&member) {
                    edit.delete(Key::Token(token));
                }
                edit.remove_from(Index::Tokens, &member);
                edit.remove_from(index.clone(), &member);
            }
            if self.settle(Plan::Commit(edit, ())).await?.is_none() {
                return Err(DirectoryError::Contended);
            }
        }
    }

    /// The account of this login. An e-mail address is a claim too, but names nobody here.
    pub(super) async fn account_by_login(&self, login: &Login) -> Result<Account, DirectoryError> {
        let folded = login.folded();
        let claim: Option<NameClaim> = self.get(Key::Name(folded.clone())).await?;
        let account: Option<Account> = match claim {
            Some(claim) => self.get(Key::Account(claim.account)).await?,
            None => None,
        };
        account.filter(|account| account.login.folded() == folded).ok_or_else(|| Self::not_an_account(login))
    }

    async fn hash(&self, password: Option<Password>) -> Result<Option<PasswordHash>, DirectoryError> {
        match password {
            Some(password) => Ok(Some(self.hasher.hash(password).await?)),
            None => Ok(None),
        }
    }

    /// Takes names for an account; each must be free.
    async fn claim(&self, edit: &mut Edit, account: &Account, names: BTreeSet<String>) -> Result<(), DirectoryError> {
        let keys: Vec<_> = names.iter().cloned().map(Key::Name).collect();
        let taken = self.get_all::<NameClaim>(&keys).await?;
        for (folded, taken) in names.into_iter().zip(taken) {
            if taken.is_some() {
                return Err(if folded == account.login.folded() {
                    let detail = format!("the login `{}` is taken", account.login);
                    DirectoryError::Taken { code: "login_taken", field: "login", detail }
                } else {
                    let detail = "this e-mail address is taken".to_owned();
                    DirectoryError::Taken { code: "email_taken", field: "email", detail }
                });
            }
            edit.create(Key::Name(folded), &NameClaim { v: Format, account: account.id.clone(), version: 1 })?;
        }
        Ok(())
    }

    /// Makes the edit depend on another enabled superuser staying one: of two demotions at once, one fails.
    async fn expect_another_superuser(&self, edit: &mut Edit, but: &AccountId) -> Result<(), DirectoryError> {
        let mut after = None;
        loop {
            let page = self.store.page(&Index::Superusers, after.as_deref(), Window::DEFAULT_LIMIT).await?;
            let ids = page.members.iter().filter_map(|member| account_id(member));
            let others = self.accounts_by_id(ids.filter(|id| id != but)).await?;
            if let Some(witness) = others.values().find(|account| counts_as_superuser(account)) {
                edit.expect_same(Key::Account(witness.id.clone()), witness);
                return Ok(());
            }
            after = page.members.last().cloned();
            if !page.more || after.is_none() {
                let detail = "this is the last enabled superuser; make another one first";
                return Err(DirectoryError::refused("last_superuser", detail));
            }
        }
    }

    /// Removes all access rows of the account.
    async fn drop_access(&self, edit: &mut Edit, id: &AccountId) -> Result<(), StoreError> {
        let key = Key::Access(id.clone());
        let rows: Option<AccessRows> = self.get(key.clone()).await?;
        edit.expect_as_read(key.clone(), rows.as_ref());
        if let Some(rows) = rows {
            for site in rows.rows.into_keys() {
                edit.remove_from(Index::AccessOn(site), id);
            }
            edit.delete(key);
        }
        Ok(())
    }
}

/// An account's id as an index holds it.
pub(super) fn account_id(member: &str) -> Option<AccountId> {
    use serde::{Deserialize, de::value};
    AccountId::deserialize(value::StrDeserializer::<value::Error>::new(member)).ok()
}

/// The folded names that belong to the account.
fn claims(account: &Account) -> BTreeSet<String> {
    account.email.iter().map(Email::folded).chain([account.login.folded()]).collect()
}

fn counts_as_superuser(account: &Account) -> bool {
    account.superuser && !account.disabled
}

fn patched(old: &Account, patch: &AccountPatch, password: Option<PasswordHash>) -> Account {
    let patch = patch.clone();
    Account {
        login: patch.login.unwrap_or_else(|| old.login.clone()),
        name: patch.name.applied_to(old.name.as_ref()),
        email: patch.email.applied_to(old.email.as_ref()),
        superuser: patch.superuser.unwrap_or(old.superuser),
        disabled: patch.disabled.unwrap_or(old.disabled),
        may_mint_tokens: patch.may_mint_tokens.unwrap_or(old.may_mint_tokens),
        password: password.or_else(|| old.password.clone()),
        ..old.clone()
    }
}

fn service_has_no(password: bool, email: bool) -> Result<(), Invalid> {
    if password {
        Err(Invalid::new("service_password", "password", "a service account has no password; it has tokens"))
    } else if email {
        Err(Invalid::new("service_email", "email", "a service account has no e-mail address"))
    } else {
        Ok(())
    }
}

fn refuse_built_in(account: &Account) -> Result<(), DirectoryError> {
    match account.kind {
        AccountKind::Anonymous => {
            let detail = "the account `anonymous` is built in and cannot be changed or deleted; only its access to sites can";
            Err(DirectoryError::refused("built_in_account", detail))
        }
        AccountKind::Human | AccountKind::Service => Ok(()),
    }
}
