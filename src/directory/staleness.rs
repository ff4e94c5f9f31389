//! How stale the memory of this store's servers may be: what the store says of it, who may change that, and how long it takes
//! until a change holds on all of them.
//!
//! The store's own record has the largest bound that any server may have. A server with a larger one does not serve, so who
//! reads the record after his change was acknowledged knows how long to wait. To lower it takes two steps: first no server
//! may have more, and then, when no memory of before can be in use any more, nobody waits for it any more.

use std::time::Duration;

use super::{Actor, BootstrapError, Directory, DirectoryError, Edit, Plan, until_settled};
use crate::{
    domain::{
        event::{Action, Event},
        text::Invalid,
        time::{STALENESS, spell_duration},
    },
    store::{Key, Live, StoreError, record::Meta},
};

const SYSTEM: Actor = Actor::system("coherence");
/// What an event about the bound is about.
const TARGET: &str = "max_staleness";
/// Before the store is asked again for how long to wait.
const AGAIN: Duration = Duration::from_millis(100);

/// What there is to know of the store at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreState {
    pub live: Live,
    /// For how long changes of the directory, and of sessions, may have gone unnoticed here; `None` where that is not known.
    pub ages: [(&'static str, Option<Duration>); 2],
    /// The largest that a server may have; `None` where changes are noticed before they are acknowledged, and where the
    /// store does not answer.
    pub max_staleness: Option<Duration>,
    /// What it was before, as long as that is still waited for.
    pub lowered_from: Option<Duration>,
    pub went_back: bool,
}

/// A clock that is being set right may go by some hundredths too slowly elsewhere, or too fast here.
fn with_margin(bound: Duration) -> Duration {
    bound + bound / 10
}

/// For how long a change may go unnoticed by a server of a store that says so of itself.
fn longest(meta: &Meta) -> Duration {
    meta.max_staleness_ms.max(meta.lowered_from_ms).map_or(*STALENESS.end(), Duration::from_millis)
}

/// What the store's record is to say, or that a server may not serve. `own`: what it has, where that is needed.
pub(super) fn judge_staleness(own: Option<Duration>, allowed: Option<u64>) -> Result<Option<u64>, BootstrapError> {
    let Some(own) = own else { return Ok(allowed) };
    match allowed.map(Duration::from_millis) {
        Some(allowed) if own > allowed => {
            Err(BootstrapError::TooStale { own: spell_duration(own), allowed: spell_duration(allowed) })
        }
        Some(_) => Ok(allowed),
        None => Ok(Some(millis(own))),
    }
}

impl Directory {
    /// Its own, where that is needed.
    pub(super) fn own_staleness(&self) -> Option<Duration> {
        (!self.coherence.is_immediate()).then_some(self.max_staleness)
    }

    /// Returns when what was acknowledged before holds for every check that begins from then on, on every server.
    pub async fn until_it_holds(&self) {
        if self.coherence.is_immediate() {
            return;
        }
        // Read now, and not remembered: whoever could serve with more by now has had it written down.
        let waited = async {
            loop {
                match self.get::<Meta>(Key::Meta).await {
                    Ok(meta) => break tokio::time::sleep(with_margin(meta.as_ref().map_or(*STALENESS.end(), longest))).await,
                    Err(error) => tracing::debug!(%error, "how long to wait is asked again"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        // After the longest there can be it holds, whatever the store says.
        let _over = tokio::time::timeout(*STALENESS.end(), waited).await;
    }

    pub async fn store_state(&self, actor: &Actor) -> Result<StoreState, DirectoryError> {
        self.require_superuser(actor).await?;
        let live = self.store.live().await;
        // That it does not answer is a part of the answer.
        let meta = self.get::<Meta>(Key::Meta).await.ok().flatten().filter(|_| !self.coherence.is_immediate());
        let [max_staleness, lowered_from] =
            [meta.as_ref().and_then(|meta| meta.max_staleness_ms), meta.as_ref().and_then(|meta| meta.lowered_from_ms)];
        let went_back = self.coherence.went_back.load(std::sync::atomic::Ordering::Relaxed);
        Ok(StoreState {
            live,
            ages: self.coherence.ages(),
            max_staleness: max_staleness.map(Duration::from_millis),
            lowered_from: lowered_from.map(Duration::from_millis),
            went_back,
        })
    }

    /// Says how much `hot_path.max_staleness` a server may have at most. One that has more stops serving. Returns when
    /// nobody waits for longer than that any more.
    ///
    /// # Errors
    /// When this server itself has more, or the store needs no such bound.
    pub async fn allow_staleness(&self, actor: &Actor, bound: Duration) -> Result<(), DirectoryError> {
        self.audited(actor, Action::StoreChange, TARGET, async {
            // Who may not change it learns nothing of it.
            self.superuser(actor).await?;
            if !STALENESS.contains(&bound) {
                let detail = format!("max_staleness is 50ms to 1m, not {}", spell_duration(bound));
                return Err(Invalid::new("max_staleness", "max_staleness", detail).into());
            }
            let Some(own) = self.own_staleness() else {
                let detail = "in this store every change is noticed before it is acknowledged; there is no bound to set";
                return Err(DirectoryError::refused("store_immediate", detail));
            };
            if own > bound {
                let own = spell_duration(own);
                let detail =
                    format!("this server has `hot_path.max_staleness` {own}: give each server less, start it again, and try again");
                return Err(DirectoryError::refused("staleness_in_use", detail));
            }
            match self.write_staleness(actor, bound).await? {
                Some((before, version)) => {
                    // By then every server has noticed, or makes no use of its memory.
                    tokio::time::sleep(before).await;
                    self.forget_staleness_before(version).await
                }
                None => Ok(()),
            }
        })
        .await
    }

    /// What has to be waited for, and the version that says so.
    async fn write_staleness(&self, actor: &Actor, bound: Duration) -> Result<Option<(Duration, u64)>, DirectoryError> {
        until_settled!(self, {
            let standing = self.superuser(actor).await?;
            standing.require_confirmation()?;
            let old: Option<Meta> = self.get(Key::Meta).await?;
            let old = old.ok_or_else(|| StoreError::transient("the store has no record of its own yet"))?;
            let before = Some(longest(&old)).filter(|before| *before > bound);
            let version = old.version + 1;
            let new = Meta { max_staleness_ms: Some(millis(bound)), lowered_from_ms: before.map(millis), version, ..old.clone() };
            let mut edit = standing.edit();
            edit.expect_same(Key::Meta, &old);
            edit.put(Key::Meta, &new)?;
            if old.max_staleness_ms != new.max_staleness_ms {
                let mut event = standing.event(Action::StoreChange, TARGET);
                event.before = old.max_staleness_ms.map(shown);
                event.after = new.max_staleness_ms.map(shown);
                edit.tell(event);
            }
            Plan::Commit(edit, before.map(|before| (before, version)))
        })
    }

    /// Unless the record has changed meanwhile: who changed it has his own wait.
    async fn forget_staleness_before(&self, version: u64) -> Result<(), DirectoryError> {
        let old: Option<Meta> = self.get(Key::Meta).await?;
        if let Some(old) = old.filter(|old| old.version == version) {
            let mut edit = Edit::default();
            edit.expect_same(Key::Meta, &old);
            edit.put(Key::Meta, &Meta { lowered_from_ms: None, version: version + 1, ..old })?;
            self.settle(Plan::Commit(edit, ())).await?;
        }
        Ok(())
    }

    /// Writes down that the store has come back without something that was seen in it.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn report_went_back(&self) -> Result<(), StoreError> {
        self.tell(&Event::done(Action::StoreWentBack, "store", self.clock.now(), self.who(&SYSTEM).await)).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A bound as events have it.
fn shown(millis: u64) -> serde_json::Map<String, serde_json::Value> {
    [("max_staleness".to_owned(), spell_duration(Duration::from_millis(millis)).into())].into_iter().collect()
}
