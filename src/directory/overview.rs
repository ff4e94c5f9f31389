//! What all servers have counted, for superusers: names of keys and sites of everybody are in it.

use super::{Actor, Directory, DirectoryError};
use crate::{
    counts::{Overview, Report, RuleHits},
    domain::{
        id::ReplicaId,
        policy::Policy,
        session::{SessionSecret, Stage},
    },
    store::StoreError,
};

impl Directory {
    /// The last hour of all servers.
    pub async fn overview(&self, actor: &Actor) -> Result<Overview, DirectoryError> {
        self.require_superuser(actor).await?;
        Ok(self.overview_now().await?)
    }

    /// The same for somebody who goes on looking at it; `None` when his session has ended, or he may not any more. That he
    /// looks is no sign that he is there, so the session ends as if he did not.
    pub async fn overview_goes_on(&self, cookie: &SessionSecret) -> Result<Option<Overview>, StoreError> {
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

    async fn overview_now(&self) -> Result<Overview, StoreError> {
        Ok(Overview::new(&self.reports().await?, self.clock.now()))
    }

    /// One that cannot be read is that of a server of another version.
    async fn reports(&self) -> Result<Vec<(ReplicaId, Report)>, StoreError> {
        let published = self.store.published().await?;
        Ok(published.into_iter().filter_map(|(replica, said)| Some((replica, Report::parse(&said)?))).collect())
    }
}
