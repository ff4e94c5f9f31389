//! Whether what was read of an actor may be believed. A server of the store that was cut off, or replaced, goes on answering:
//! a token that was revoked elsewhere would be alive there for as long as it is asked. So the rule of checks holds for
//! actors, too: the store must have shown that it was in order at most `max_staleness` before they were read.

use std::{pin::Pin, time::Duration};

use super::Directory;
use crate::{
    clock::BootTime,
    domain::session::SessionId,
    store::{Key, Partition, StoreError},
};

/// What is being read of an actor.
pub(super) type Reading<'r, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'r>>;

/// For so long a store that has just been reached, or has another server, may take to show that it is in order.
const WITHIN: Duration = Duration::from_secs(1);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(5);

impl Directory {
    /// What is read of an actor in the directory, and of the session in which he asks.
    ///
    /// # Errors
    /// When it cannot be read, or the store does not show in time that it is in order.
    pub(super) async fn vouched<'r, T>(
        &self,
        session: Option<&SessionId>,
        read: impl Fn() -> Reading<'r, T>,
    ) -> Result<T, StoreError> {
        let session = session.map(|id| Key::Session(id.clone()).partition());
        let partitions = [Partition::DIRECTORY, session.unwrap_or(Partition::DIRECTORY)];
        let first = BootTime::now();
        loop {
            let (losses, began) = (self.coherence.losses(), BootTime::now());
            let found = read().await?;
            loop {
                // In this order: what another server vouches for has been counted as a loss.
                let vouched = partitions.iter().all(|&at| self.coherence.vouches(at, began, self.max_staleness));
                let is_outdated = self.coherence.losses() != losses;
                if vouched && !is_outdated {
                    return Ok(found);
                }
                if BootTime::now().since(first) > WITHIN.min(self.max_staleness) {
                    return Err(StoreError::transient("the store has not shown in time that it is in order"));
                }
                if is_outdated {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}
