//! Where a master is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
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
}

impl Sentinels {
    pub(super) fn new(nodes: Vec<Node>, service: String, info: ConnectionInfo, timeout: Duration) -> Self {
        Self { nodes, service, info, timeout }
    }

    /// The master that most of those name who answer: one that was cut off may be behind.
    async fn find(&self) -> Result<ConnectionAddr, StoreError> {
        let answers = join_all(self.nodes.iter().map(|node| self.ask(node))).await;
        let (mut named, mut failure): (HashMap<Node, usize>, _) = (HashMap::new(), None);
        for answer in answers {
            match answer {
                Ok(Some((host, port))) => *named.entry(Node { host, port }).or_default() += 1,
                Ok(None) => {}
                Err(error) => failure = Some(store_error(&error)),
            }
        }
        let most = named.into_iter().max_by_key(|(_, count)| *count).map(|(node, _)| node.address(&self.info));
        let nobody = || StoreError::transient(format!("Redis: no sentinel knows a service named {:?}", self.service));
        most.ok_or_else(|| failure.unwrap_or_else(nobody))
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
