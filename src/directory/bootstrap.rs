//! What every store has from the start: the account `anonymous`, and a note of the server keys it was used with.

use std::{collections::BTreeMap, time::Duration};

use super::{Directory, Edit, Plan, places, staleness::judge_staleness};
use crate::{
    domain::{
        account::{Account, Format},
        id::AccountId,
        key::ServerKeys,
    },
    store::{
        Index, Key, Record as _, Store, StoreError,
        record::{Meta, NameClaim},
    },
};

/// Why a store cannot be used by this server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// Every token would break in silence, so it is a refusal to start.
    #[error("this store was used with another server key: give this server the key file that the others have ({detail})")]
    OtherServerKey { detail: String },
    /// Who waits until a change holds everywhere would not wait for this one.
    #[error(
        "`hot_path.max_staleness` is {own} here, and this store's servers may have {allowed} at most: configure less, or let \
         them have more where one of them runs: keygate store max-staleness {own}"
    )]
    TooStale { own: String, allowed: String },
    #[error("{0}")]
    Unfit(String),
    #[error("others kept changing the store's own record; try again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a server with these keys, and such a `max_staleness` where one is needed, may use the store. Changes nothing.
pub async fn verify(store: &dyn Store, keys: &ServerKeys, own_staleness: Option<Duration>) -> Result<(), BootstrapError> {
    let stored = store.read(&[Key::Meta]).await?;
    let Some(meta) = stored.into_iter().flatten().next() else { return Ok(()) };
    let meta = Meta::decode(&Key::Meta, &meta)?;
    merge_check_values(keys, meta.keys)?;
    judge_staleness(own_staleness, meta.max_staleness_ms).map(drop)
}

impl Directory {
    /// Makes what is missing. Run again, or by several servers at once, it changes nothing more.
    pub async fn bootstrap(&self) -> Result<(), BootstrapError> {
        for _ in 0..super::ATTEMPTS {
            let plan = self.plan_bootstrap().await?;
            if let Some(()) = self.settle(plan).await? {
                return Ok(());
            }
        }
        Err(BootstrapError::Contended)
    }

    /// Whether nobody has made an account or a site yet.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let accounts = self.store.page(&Index::Accounts, None, 2).await?;
        let sites = self.store.page(&Index::Sites, None, 1).await?;
        let anonymous = Account::anonymous(self.clock.now()).login.folded();
        Ok(sites.members.is_empty() && accounts.members.iter().all(|login| *login == anonymous))
    }

    async fn plan_bootstrap(&self) -> Result<Plan<()>, BootstrapError> {
        let mut edit = Edit::default();
        // From now on it is found out when the store comes back empty.
        edit.must_hold();
        let id = AccountId::anonymous();
        let account: Option<Account> = self.get(Key::Account(id.clone())).await?;
        let meta: Option<Meta> = self.get(Key::Meta).await?;
        let known = meta.as_ref().map(|meta| meta.keys.clone()).unwrap_or_default();
        let merged = merge_check_values(&self.keys, known.clone())?;
        let allowed = meta.as_ref().and_then(|meta| meta.max_staleness_ms);
        let max_staleness_ms = judge_staleness(self.own_staleness(), allowed)?;
        if account.is_some() && meta.is_some() && merged == known && max_staleness_ms == allowed {
            return Ok(Plan::Nothing(()));
        }
        if account.is_none() {
            let account = Account::anonymous(self.clock.now());
            let folded = account.login.folded();
            edit.create(Key::Name(folded.clone()), &NameClaim { v: Format, account: id.clone(), version: 1 })?;
            edit.create(Key::Account(id), &account)?;
            edit.add_to(Index::Accounts, &folded);
            edit.add_to(Index::AccountsByCreation, &places::of_account(&account));
        }
        edit.expect_as_read(Key::Meta, meta.as_ref());
        let lowered_from_ms = meta.as_ref().and_then(|meta| meta.lowered_from_ms);
        let lists = meta.as_ref().map_or(Meta::LISTS, |meta| meta.lists);
        let (created_at, version) = meta.map_or((self.clock.now(), 1), |meta| (meta.created_at, meta.version + 1));
        edit.put(Key::Meta, &Meta { v: Format, keys: merged, max_staleness_ms, lowered_from_ms, lists, created_at, version })?;
        Ok(Plan::Commit(edit, ()))
    }
}

/// The check values in the store and ours together; refused when they contradict or have none in common.
fn merge_check_values(keys: &ServerKeys, known: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, BootstrapError> {
    let mut shared = known.is_empty();
    let mut merged = known;
    for (id, value) in keys.check_values() {
        match merged.get(id.as_str()) {
            Some(stored) if *stored != value => {
                let detail = format!("the key `{}` is not the one the store knows under that name", id.as_str());
                return Err(BootstrapError::OtherServerKey { detail });
            }
            Some(_) => shared = true,
            None => {
                merged.insert(id.as_str().to_owned(), value);
            }
        }
    }
    if shared {
        Ok(merged)
    } else {
        Err(BootstrapError::OtherServerKey { detail: "none of the keys here has been used with it".to_owned() })
    }
}
