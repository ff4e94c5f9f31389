//! Where a master is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError};

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
    /// Where to begin the next time: one that is behind the times does not stay the first.
    next: AtomicUsize,
}

impl Sentinels {
    pub(super) fn new(nodes: Vec<Node>, service: String, info: ConnectionInfo, timeout: Duration) -> Self {
        Self { nodes, service, info, timeout, next: AtomicUsize::new(0) }
    }

    async fn find(&self) -> Result<ConnectionAddr, StoreError> {
        let first = self.next.fetch_add(1, Relaxed);
        let mut failure = None;
        for number in 0..self.nodes.len() {
            let node = &self.nodes[(first + number) % self.nodes.len()];
            match self.ask(node).await {
                Ok(Some((host, port))) => return Ok(Node { host, port }.address(&self.info)),
                Ok(None) => failure = Some(StoreError::transient(format!("Redis: no sentinel knows \"{}\"", self.service))),
                Err(error) => failure = Some(store_error(&error)),
            }
        }
        Err(failure.unwrap_or_else(|| StoreError::permanent("Redis: no sentinels were named")))
    }

    /// A connection of its own for each question: it is asked seldom, and when much else does not work.
    async fn ask(&self, node: &Node) -> Result<Option<(String, u16)>, RedisError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(self.timeout)).set_response_timeout(Some(self.timeout));
        // User, password and database are those of the master.
        let client = Client::open(node.address(&self.info).into_connection_info()?)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(&self.service).query_async(&mut connection).await
    }
}
