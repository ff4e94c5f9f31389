//! What all servers have counted, for superusers: names of keys and sites of everybody are in it.

use std::collections::BTreeMap;

use super::{Actor, Directory, DirectoryError};
use crate::{
    counts::{Overview, Report, RuleHits},
    domain::{
        id::ReplicaId,
        policy::Policy,
        session::{SessionSecret, Stage},
        text::{Label, Login},
        token::{Token, TokenId},
    },
    store::{Key, StoreError},
};

/// What all servers have counted in the last hour.
#[derive(Clone, Debug)]
pub struct Lately {
    pub counted: Overview,
    /// What the busiest keys are called, and whose they are: those of them that are still there.
    pub keys: BTreeMap<String, (Label, Login)>,
}

impl Directory {
    /// The last hour of all servers.
    pub async fn overview(&self, actor: &Actor) -> Result<Lately, DirectoryError> {
        self.require_superuser(actor).await?;
        Ok(self.overview_now().await?)
    }

    /// The same for somebody who goes on looking at it; `None` when his session has ended, or he may not any more. That he
    /// looks is no sign that he is there, so the session ends as if he did not.
    pub async fn overview_goes_on(&self, cookie: &SessionSecret) -> Result<Option<Lately>, StoreError> {
        if !self.vouched(Some(&cookie.session), || Box::pin(self.is_superuser_in(cookie))).await? {
            return Ok(None);
        }
        self.overview_now().await.map(Some)
    }

    async fn is_superuser_in(&self, cookie: &SessionSecret) -> Result<bool, StoreError> {
        let Some(session) = self.session_of(cookie).await? else { return Ok(false) };
        let Some((account, _)) = self.account_with_access(&session.account).await? else { return Ok(false) };
        let is_in = session.stage(&account, &self.session_rules, self.clock.now()) == Ok(Stage::Whole);
        Ok(account.superuser && is_in)
    }

    /// How often each rule of this policy was hit.
    pub async fn rule_hits(&self, actor: &Actor, policy: &Policy) -> Result<RuleHits, DirectoryError> {
        self.require_superuser(actor).await?;
        Ok(RuleHits::new(&self.reports().await?, policy, self.clock.now()))
    }

    async fn overview_now(&self) -> Result<Lately, StoreError> {
        let counted = Overview::new(&self.reports().await?, self.clock.now());
        let ids = counted.keys.iter().filter_map(|(id, _)| TokenId::parse(id)).map(Key::Token).collect();
        let tokens: Vec<_> = self.readable::<Token>(ids).await?.into_iter().filter_map(Result::ok).flatten().collect();
        let owners = self.accounts_by_id(tokens.iter().map(|token| token.account.clone())).await?;
        let named = |token: Token| Some((token.id.to_string(), (token.name, owners.get(&token.judged.account)?.login.clone())));
        Ok(Lately { counted, keys: tokens.into_iter().filter_map(named).collect() })
    }

    /// One that cannot be read is that of a server of another version.
    async fn reports(&self) -> Result<Vec<(ReplicaId, Report)>, StoreError> {
        let published = self.store.published().await?;
        Ok(published.into_iter().filter_map(|(replica, said)| Some((replica, Report::parse(&said)?))).collect())
    }
}
