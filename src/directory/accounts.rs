//! Accounts: who can be somebody. Logins and e-mail addresses are claims in one folded namespace, and there is
//! always one enabled superuser left.

mod change;
mod list;

use std::collections::BTreeSet;

use super::{
    Actor, Directory, DirectoryError, Edit, FieldPatch, Plan, Window, fields, places, rng, shown::AccountView, standing::Standing,
    until_settled,
};
use crate::{
    domain::{
        access::AccessRows,
        account::{Account, AccountKind, Format},
        event::Action,
        id::AccountId,
        password::{Password, PasswordHash},
        text::{Email, Invalid, Label, Login},
        token::Revocation,
    },
    store::{
        Index, Key, StoreError,
        record::{Made, NameClaim},
    },
};
use change::{gives, only_takes_away, patched};
pub use list::AccountFilter;

/// An account to make.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub login: Login,
    pub kind: AccountKind,
    pub name: Option<Label>,
    pub email: Option<Email>,
    pub superuser: bool,
    pub may_mint_tokens: bool,
    pub must_have_second_factor: bool,
    pub password: Option<Password>,
}

impl NewAccount {
    /// With nothing but a login, and the right to mint.
    #[must_use]
    pub fn new(login: Login, kind: AccountKind) -> Self {
        Self {
            login,
            kind,
            name: None,
            email: None,
            superuser: false,
            may_mint_tokens: true,
            must_have_second_factor: false,
            password: None,
        }
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
    pub must_have_second_factor: Option<bool>,
    pub password: Option<Password>,
}

impl Directory {
    pub async fn create_account(&self, actor: &Actor, new: NewAccount) -> Result<Account, DirectoryError> {
        let texts = [("login", Some(new.login.as_str())), ("name", new.name.as_ref().map(Label::as_str))];
        fields::without_tokens(&self.prefixes, texts)?;
        match new.kind {
            AccountKind::Human => {}
            AccountKind::Service => {
                service_has_no(new.password.is_some(), new.email.is_some(), new.must_have_second_factor)?;
            }
            AccountKind::Anonymous => {
                return Err(
                    Invalid::new("account_kind", "kind", "the account `anonymous` is built in; make a human or a service").into()
                );
            }
        }
        if let Some(password) = &new.password {
            password.is_not_a_name_of(&new.login, new.email.as_ref())?;
        }
        self.audited(actor, Action::AccountCreate, new.login.as_str(), async {
            // Before the password is hashed: that costs something.
            self.superuser(actor).await?.require_confirmation()?;
            let password = self.hash(new.password.clone()).await?;
            until_settled!(self, self.plan_create_account(actor, &new, password.clone()).await?)
        })
        .await
    }

    async fn plan_create_account(
        &self,
        actor: &Actor,
        new: &NewAccount,
        password: Option<PasswordHash>,
    ) -> Result<Plan<Account>, DirectoryError> {
        let standing = self.superuser(actor).await?;
        standing.require_confirmation()?;
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
            second_factor: false,
            must_have_second_factor: new.must_have_second_factor,
            generation: 0,
            session_generation: 0,
            revoked_all: Vec::new(),
            password,
            created_at: standing.now,
            version: 1,
        };
        let mut edit = standing.edit();
        self.claim(&mut edit, &account, claims(&account)).await?;
        edit.create(Key::Account(account.id.clone()), &account)?;
        edit.add_to(Index::Accounts, &account.login.folded());
        edit.add_to(Index::AccountsByCreation, &places::of_account(&account));
        if account.superuser {
            edit.add_to(Index::Superusers, &account.id);
        }
        let event = standing.event(Action::AccountCreate, account.login.as_str());
        edit.tell(event.changing(None::<&AccountView>, Some(&AccountView::from(account.clone()))));
        standing.made(&mut edit, self, Made::Account(account.id.clone()))?;
        Ok(Plan::Commit(edit, account))
    }

    pub async fn account(&self, actor: &Actor, login: &Login) -> Result<Account, DirectoryError> {
        let standing = self.standing(actor).await?;
        self.seen_account(&standing, login).await
    }

    /// The account of an id, whatever its login has become.
    pub async fn account_by_id(&self, actor: &Actor, id: &AccountId) -> Result<Account, DirectoryError> {
        let standing = self.standing(actor).await?;
        let account: Option<Account> = self.get(Key::Account(id.clone())).await?;
        let seen = account.filter(|account| standing.authority.sees_account(&account.id));
        seen.ok_or_else(|| DirectoryError::not_found("account", id.as_str()))
    }

    /// Changes an account, all of the patch at once. `seen` is the version the caller has read, if he minds.
    pub async fn update_account(
        &self,
        actor: &Actor,
        login: &Login,
        patch: AccountPatch,
        seen: Option<u64>,
    ) -> Result<Account, DirectoryError> {
        let name = if let FieldPatch::Set(name) = &patch.name { Some(name.as_str()) } else { None };
        fields::without_tokens(&self.prefixes, [("login", patch.login.as_ref().map(Login::as_str)), ("name", name)])?;
        self.audited(actor, Action::AccountUpdate, login.as_str(), async {
            self.superuser(actor).await?;
            let password = self.hash(patch.password.clone()).await?;
            until_settled!(self, self.plan_update_account(actor, login, &patch, password.clone(), seen).await?)
        })
        .await
    }

    async fn plan_update_account(
        &self,
        actor: &Actor,
        login: &Login,
        patch: &AccountPatch,
        password: Option<PasswordHash>,
        seen: Option<u64>,
    ) -> Result<Plan<Account>, DirectoryError> {
        let standing = self.superuser(actor).await?;
        let old = self.account_by_login(login).await?;
        refuse_built_in(&old)?;
        DirectoryError::unless_seen(seen, old.version)?;
        if old.kind == AccountKind::Service {
            let factor = patch.must_have_second_factor == Some(true);
            service_has_no(password.is_some(), matches!(patch.email, FieldPatch::Set(_)), factor)?;
        }
        let new_password = password.is_some();
        if new_password && actor.cookie().is_some() && standing.authority.is(&old.id) {
            let detail =
                "change your own password where the old one is asked for: `/password` in the portal, or POST /v1/me/password";
            return Err(DirectoryError::refused("own_account", detail));
        }
        let mut new = patched(&old, patch, password);
        if new == old {
            let mut edit = standing.edit();
            edit.confirms(Key::Account(old.id.clone()), Some(&old));
            return Ok(Plan::Commit(edit, old));
        }
        if let Some(password) = &patch.password {
            password.is_not_a_name_of(&new.login, new.email.as_ref())?;
        }
        if gives(&old, &new) {
            standing.require_confirmation()?;
        }
        new.version += 1;
        if new_password || (new.disabled && !old.disabled) {
            // Whoever is in is out, and stays so when the account is enabled again.
            new.session_generation += 1;
        }

        let mut edit = standing.edit();
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
        if only_takes_away(&old, &new) {
            edit.takes_away();
        }
        // The password, or a name that somebody signs in by, may be what is taken away.
        edit.must_hold();
        let mut event = standing
            .event(Action::AccountUpdate, old.login.as_str())
            .changing(Some(&AccountView::from(old)), Some(&AccountView::from(new.clone())));
        if new_password {
            event.after.get_or_insert_default().insert("password".to_owned(), "changed".into());
        }
        edit.tell(event);
        Ok(Plan::Commit(edit, new))
    }

    /// Ends every token and session of the account in one write; and then, unless `keep_minted`, what its tokens have minted
    /// for others. Everybody may do that to himself.
    pub async fn revoke_all(
        &self,
        actor: &Actor,
        login: &Login,
        keep_minted: bool,
        why: Option<&Label>,
    ) -> Result<Account, DirectoryError> {
        fields::without_tokens(&self.prefixes, [("reason", why.map(Label::as_str))])?;
        self.audited(actor, Action::AccountRevokeAll, login.as_str(), async {
            let (account, standing) = self.end_generation(actor, login, keep_minted, why).await?;
            if !keep_minted {
                self.revoke_minted_by(&standing.after_the_deed(), &account.id).await?;
            }
            Ok(account)
        })
        .await
    }

    async fn end_generation(
        &self,
        actor: &Actor,
        login: &Login,
        keeps_minted: bool,
        why: Option<&Label>,
    ) -> Result<(Account, Standing), DirectoryError> {
        until_settled!(self, {
            let standing = self.standing(actor).await?;
            let old = self.seen_account(&standing, login).await?;
            refuse_built_in(&old)?;
            let mut new = old.clone();
            new.revoke_all(Revocation { keeps_minted, ..standing.revocation(why.map(Label::as_str)) });
            new.version += 1;
            let mut edit = standing.edit();
            edit.expect_same(Key::Account(old.id.clone()), &old);
            edit.put(Key::Account(new.id.clone()), &new)?;
            edit.takes_away();
            let mut event = standing.event(Action::AccountRevokeAll, old.login.as_str());
            event.after = why.map(|why| serde_json::Map::from_iter([("revoked_because".to_owned(), why.as_str().into())]));
            edit.tell(event);
            standing.made(&mut edit, self, Made::Account(new.id.clone()))?;
            Plan::Commit(edit, (new, standing))
        })
    }

    /// The account of this login, where the actor sees it.
    pub(super) async fn seen_account(&self, standing: &Standing, login: &Login) -> Result<Account, DirectoryError> {
        let account = self.account_by_login(login).await?;
        if standing.authority.sees_account(&account.id) { Ok(account) } else { Err(Self::not_an_account(login)) }
    }

    /// The account of this login. An e-mail address is a claim too, but names nobody here.
    pub(super) async fn account_by_login(&self, login: &Login) -> Result<Account, DirectoryError> {
        Ok(self.account_and_access(login).await?.0)
    }

    /// As [`Self::account_by_login`], with its access in the same read.
    pub(super) async fn account_and_access(&self, login: &Login) -> Result<(Account, Option<AccessRows>), DirectoryError> {
        let folded = login.folded();
        let claim: Option<NameClaim> = self.get(Key::Name(folded.clone())).await?;
        let found = match claim {
            Some(claim) => self.account_with_access(&claim.account).await?,
            None => None,
        };
        found.filter(|(account, _)| account.login.folded() == folded).ok_or_else(|| Self::not_an_account(login))
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
    pub(super) async fn expect_another_superuser(&self, edit: &mut Edit, but: &AccountId) -> Result<(), DirectoryError> {
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
    pub(super) async fn drop_access(&self, edit: &mut Edit, id: &AccountId) -> Result<(), StoreError> {
        let key = Key::Access(id.clone());
        let rows: Option<AccessRows> = self.get(key.clone()).await?;
        edit.expect_as_read(key.clone(), rows.as_ref());
        if let Some(rows) = rows {
            for site in rows.rows.sites() {
                edit.remove_from(Index::AccessOn(site.clone()), id);
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
pub(super) fn claims(account: &Account) -> BTreeSet<String> {
    account.email.iter().map(Email::folded).chain([account.login.folded()]).collect()
}

pub(super) fn counts_as_superuser(account: &Account) -> bool {
    account.superuser && !account.disabled
}

fn service_has_no(password: bool, email: bool, second_factor: bool) -> Result<(), Invalid> {
    if password {
        Err(Invalid::new("service_password", "password", "a service account has no password; it has tokens"))
    } else if email {
        Err(Invalid::new("service_email", "email", "a service account has no e-mail address"))
    } else if second_factor {
        let detail = "a service account does not sign in, so it has no second factor";
        Err(Invalid::new("service_second_factor", "must_have_second_factor", detail))
    } else {
        Ok(())
    }
}

pub(super) fn refuse_built_in(account: &Account) -> Result<(), DirectoryError> {
    match account.kind {
        AccountKind::Anonymous => {
            let detail = "the account `anonymous` is built in and cannot be changed or deleted; only its access to sites can";
            Err(DirectoryError::refused("built_in_account", detail))
        }
        AccountKind::Human | AccountKind::Service => Ok(()),
    }
}
