//! Where a master is.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, FromRedisValue as _, IntoConnectionInfo as _, Pipeline,
    RedisError, RedisResult, Value,
};

use super::{errors::store_error, servers::Node};
use crate::store::StoreError;

/// How the address of a master is known.
#[derive(Clone)]
pub(super) enum Place {
    Given(ConnectionAddr),
    Asked(Arc<Sentinels>),
}

impl Place {
    /// # Errors
    /// When nobody knows it now.
    pub(super) async fn find(&self) -> Result<ConnectionAddr, StoreError> {
        match self {
            Self::Given(address) => Ok(address.clone()),
            Self::Asked(sentinels) => sentinels.find().await,
        }
    }

    /// Whether the master may come to be somewhere else.
    pub(super) fn may_move(&self) -> bool {
        matches!(self, Self::Asked(_))
    }
}

/// Who is asked for the master of a service.
pub(super) struct Sentinels {
    nodes: Vec<Node>,
    service: String,
    /// Of the master.
    info: ConnectionInfo,
    timeout: Duration,
    /// The latest epoch in which one was named and believed.
    epoch: AtomicU64,
}

/// What a sentinel says.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    master: Node,
    /// Raised by each failover.
    epoch: u64,
}

/// Whom to believe: who knows of the latest failover. Where that is an earlier one than was known before, he has been cut off
/// or killed meanwhile; or all have been set up anew, but then more than half of `all` agree.
fn believed(named: &[Named], all: usize, known: u64) -> Option<&Named> {
    let votes = |one: &Named| named.iter().filter(|other| other.master == one.master).count();
    let latest = named.iter().max_by_key(|one| (one.epoch, votes(one))).filter(|latest| latest.epoch >= known);
    latest.or_else(|| named.iter().find(|one| votes(one) * 2 > all))
}

impl Sentinels {
    pub(super) fn new(nodes: Vec<Node>, service: String, info: ConnectionInfo, timeout: Duration) -> Self {
        Self { nodes, service, info, timeout, epoch: AtomicU64::new(0) }
    }

    async fn find(&self) -> Result<ConnectionAddr, StoreError> {
        let answers = join_all(self.nodes.iter().map(|node| self.ask(node))).await;
        let (mut named, mut failure) = (Vec::new(), None);
        for answer in answers {
            match answer {
                Ok(answer) => named.extend(answer),
                Err(error) => failure = Some(store_error(&error)),
            }
        }
        if let Some(Named { master, epoch }) = believed(&named, self.nodes.len(), self.epoch.load(Relaxed)) {
            self.epoch.store(*epoch, Relaxed);
            return Ok(master.address(&self.info));
        }
        if !named.is_empty() {
            return Err(StoreError::transient("Redis: the sentinels that answer do not know of the latest failover"));
        }
        Err(failure
            .unwrap_or_else(|| StoreError::transient(format!("Redis: no sentinel knows a service named {:?}", self.service))))
    }

    /// A connection of its own for each question: it is asked seldom, and when much else does not work.
    async fn ask(&self, node: &Node) -> Result<Option<Named>, RedisError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(self.timeout)).set_response_timeout(Some(self.timeout));
        // User, password and database are those of the master.
        let client = Client::open(node.address(&self.info).into_connection_info()?)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut question = Pipeline::new();
        question.ignore_errors().cmd("SENTINEL").arg("get-master-addr-by-name").arg(&self.service);
        // The address in here is the old one while a failover is under way.
        question.cmd("SENTINEL").arg("MASTER").arg(&self.service);
        let (address, more): (RedisResult<Value>, RedisResult<Value>) = question.query_async(&mut connection).await?;
        let Some((host, port)) = Option::from_redis_value(address?)? else { return Ok(None) };
        let more = more.and_then(|more| Ok(HashMap::<String, String>::from_redis_value(more)?)).unwrap_or_default();
        let epoch = more.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
        Ok(Some(Named { master: Node { host, port }, epoch }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_that_is_behind_is_believed_only_with_most_of_the_others() {
        let named = |masters: &[(u16, u64)]| -> Vec<Named> {
            let named = |&(port, epoch): &(u16, u64)| Named { master: Node { host: "h".to_owned(), port }, epoch };
            masters.iter().map(named).collect()
        };
        for (masters, known, expected) in [
            ([].as_slice(), 0, None),
            (&[(1, 3)], 0, Some(1)),
            (&[(1, 3), (2, 4), (1, 3)], 0, Some(2)),
            (&[(1, 4), (2, 4), (2, 4)], 4, Some(2)),
            (&[(1, 3)], 4, None),
            (&[(1, 3), (2, 4)], 4, Some(2)),
            (&[(1, 0), (1, 0)], 4, Some(1)),
            (&[(1, 0), (2, 0)], 4, None),
        ] {
            let found = believed(&named(masters), 3, known).map(|one| one.master.port);
            assert_eq!(found, expected, "{masters:?} after {known}");
        }
    }
}
