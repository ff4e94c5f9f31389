//! Which link leads to which partition. With one master it is always the same; in a cluster a task asks the nodes who owns
//! what, every second and whenever there is doubt, and has one link for each master that owns something of ours.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{ConnectionAddr, ConnectionInfo, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Mutex, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    errors::store_error,
    link::{Link, Shared},
    place::Place,
    servers::Node,
    slots::View,
    wait::Wait,
};
use crate::store::{Partition, StoreError};

/// How long a view of the cluster is taken for granted while nobody doubts it.
const GLANCE: Duration = Duration::from_secs(1);
/// Between two questions, however many doubt.
const PAUSE: Duration = Duration::from_millis(50);

/// The links there are now.
#[derive(Clone)]
pub(super) struct Table {
    of: Vec<Option<Arc<Link>>>,
    /// How many there were before.
    number: u64,
}

pub(super) struct Routes {
    tables: watch::Receiver<Option<Result<Table, StoreError>>>,
    shared: Arc<Shared>,
    cluster: Option<Cluster>,
}

struct Cluster {
    task: JoinHandle<()>,
    info: ConnectionInfo,
    /// Connections to nodes that are asked because another one sends us there. They are not told of anything, so what is
    /// read there is not kept.
    visits: Mutex<HashMap<Node, MultiplexedConnection>>,
}

impl Routes {
    /// To one master.
    pub(super) fn to_one(shared: Arc<Shared>, place: Place) -> Self {
        let link = Arc::new(Link::start(shared.clone(), place, Partition::all().collect(), None));
        let table = Table { of: vec![Some(link); Partition::COUNT], number: 0 };
        let (_, tables) = watch::channel(Some(Ok(table)));
        Self { tables, shared, cluster: None }
    }

    pub(super) fn to_cluster(shared: Arc<Shared>, nodes: Vec<Node>, info: ConnectionInfo) -> Self {
        let (publish, tables) = watch::channel(None);
        let known = Known { shared: shared.clone(), seeds: nodes.clone(), nodes, info: info.clone(), asked: HashMap::new() };
        let cluster = Cluster { task: tokio::spawn(known.follow(publish)), info, visits: Mutex::default() };
        Self { tables, shared, cluster: Some(cluster) }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    /// What replicas have to confirm of a change.
    pub(super) fn wait(&self, must_hold: bool) -> Wait {
        if must_hold { self.shared.wait() } else { Wait::default() }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// The links as they are; waits for the first view of the cluster.
    pub(super) async fn table(&self) -> Result<Table, StoreError> {
        self.newer(0).await
    }

    /// Has somebody look who owns what now, because it is not as in `table`.
    pub(super) async fn after(&self, table: &Table) -> Result<Table, StoreError> {
        self.shared.doubt.notify_one();
        self.newer(table.number + 1).await
    }

    async fn newer(&self, number: u64) -> Result<Table, StoreError> {
        let mut tables = self.tables.clone();
        let new = tables.wait_for(|table| match table {
            Some(Ok(table)) => table.number >= number,
            Some(Err(_)) => true,
            None => false,
        });
        match timeout(self.shared.timeout, new).await.ok().and_then(Result::ok).and_then(|table| table.clone()) {
            Some(table) => table,
            None => Err(StoreError::transient("Redis: no node of the cluster says in time who owns what")),
        }
    }

    /// Sends commands to where the node at `asked` has sent us for once.
    pub(super) async fn visit(
        &self,
        error: &RedisError,
        asked: &ConnectionAddr,
        commands: Pipeline,
    ) -> Result<Vec<RedisResult<Value>>, RedisError> {
        let node = error.redirect_node().and_then(|(node, _)| Node::parse(node)).map(|node| node.seen_from(asked));
        let (Some(cluster), Some(node)) = (&self.cluster, node) else { return Err(error.clone()) };
        let there = cluster.visits.lock().await.get(&node).cloned();
        let mut connection = if let Some(connection) = there {
            connection
        } else {
            let new = self.shared.connector.open(&node.address(&cluster.info), |_| ()).await?;
            cluster.visits.lock().await.insert(node.clone(), new.clone());
            new
        };
        let mut asking = Pipeline::new();
        asking.ignore_errors();
        for command in commands.cmd_iter() {
            asking.cmd("ASKING").add_command(command.clone());
        }
        let answers: Result<Vec<RedisResult<Value>>, _> = asking.query_async(&mut connection).await;
        if answers.is_err() {
            cluster.visits.lock().await.remove(&node);
        }
        Ok(answers?.into_iter().skip(1).step_by(2).collect())
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.task.abort();
        }
    }
}

impl Table {
    pub(super) fn link(&self, partition: Partition) -> Result<&Arc<Link>, StoreError> {
        self.of[partition.index()].as_ref().ok_or_else(|| StoreError::transient("Redis: no node of the cluster owns this part"))
    }

    /// Each of them once.
    pub(super) fn links(&self) -> Vec<&Arc<Link>> {
        let mut links: Vec<&Arc<Link>> = Vec::new();
        for link in self.of.iter().flatten() {
            if !links.iter().any(|known| Arc::ptr_eq(known, link)) {
                links.push(link);
            }
        }
        links
    }
}

/// What is known of the cluster.
struct Known {
    shared: Arc<Shared>,
    seeds: Vec<Node>,
    nodes: Vec<Node>,
    info: ConnectionInfo,
    asked: HashMap<Node, MultiplexedConnection>,
}

impl Known {
    async fn follow(mut self, publish: watch::Sender<Option<Result<Table, StoreError>>>) {
        let mut links: Vec<(Node, Arc<Link>)> = Vec::new();
        let mut number = 0;
        loop {
            match self.look().await {
                Ok(view) => {
                    links = self.relink(&view, links);
                    let mut of = vec![None; Partition::COUNT];
                    for (_, link) in &links {
                        for partition in link.partitions() {
                            of[partition.index()] = Some(link.clone());
                        }
                    }
                    number += 1;
                    publish.send_replace(Some(Ok(Table { of, number })));
                }
                // The last view is better than none.
                Err(error) if links.is_empty() => drop(publish.send_replace(Some(Err(error)))),
                Err(error) => tracing::debug!(%error, "no node of the cluster answers"),
            }
            sleep(PAUSE).await;
            let _time_or_doubt = timeout(GLANCE, self.shared.doubt.notified()).await;
        }
    }

    /// Keeps the links that are still right, and replaces the others: what moves is rare, and a new link forgets everything
    /// in the right order.
    fn relink(&self, view: &View, links: Vec<(Node, Arc<Link>)>) -> Vec<(Node, Arc<Link>)> {
        let owners = view.owners();
        let is_right = |node: &Node, link: &Link| {
            owners.iter().any(|(owner, _, partitions)| *owner == node && partitions.as_slice() == link.partitions())
        };
        let (kept, gone): (Vec<_>, Vec<_>) = links.into_iter().partition(|(node, link)| is_right(node, link));
        for (node, link) in &kept {
            // What it owns beside may have changed.
            if let Some((_, slots, _)) = owners.iter().find(|(owner, ..)| *owner == node) {
                link.owns(slots);
            }
        }
        for (_, link) in gone {
            link.end();
        }
        let is_new = |node: &Node| !kept.iter().any(|(known, _)| known == node);
        let new = owners.iter().filter(|(node, ..)| is_new(node)).map(|&(node, slots, ref partitions)| {
            let place = Place::Given(node.address(&self.info));
            (node.clone(), Arc::new(Link::start(self.shared.clone(), place, partitions.clone(), Some(slots.clone()))))
        });
        let new: Vec<_> = new.collect();
        kept.into_iter().chain(new).collect()
    }

    /// Asks all nodes that are known, and believes the one that is the furthest: one that was cut off may be behind.
    async fn look(&mut self) -> Result<View, StoreError> {
        let mut questions = JoinSet::new();
        for node in &self.nodes {
            let (shared, node, address) = (self.shared.clone(), node.clone(), node.address(&self.info));
            let there = self.asked.get(&node).cloned();
            questions.spawn(async move {
                let view = view_of(&shared, &node, &address, there).await;
                (node, view)
            });
        }
        let (mut best, mut failure): (Option<View>, _) = (None, None);
        while let Some(answer) = questions.join_next().await {
            match answer {
                Ok((node, Ok((view, connection)))) => {
                    self.asked.insert(node, connection);
                    if best.as_ref().is_none_or(|best| view.age > best.age) {
                        best = Some(view);
                    }
                }
                Ok((node, Err(error))) => {
                    self.asked.remove(&node);
                    failure = Some(store_error(&error));
                }
                Err(_) => {}
            }
        }
        let view = best.ok_or_else(|| failure.unwrap_or_else(|| StoreError::transient("Redis: no node of the cluster answers")))?;
        self.nodes = view.nodes.iter().chain(self.seeds.iter().filter(|seed| !view.nodes.contains(seed))).cloned().collect();
        self.asked.retain(|node, _| self.nodes.contains(node));
        Ok(view)
    }
}

async fn view_of(
    shared: &Shared,
    node: &Node,
    address: &redis::ConnectionAddr,
    there: Option<MultiplexedConnection>,
) -> Result<(View, MultiplexedConnection), RedisError> {
    let mut connection = match there {
        Some(connection) => connection,
        None => shared.connector.open(address, |_| ()).await?,
    };
    let mut question = Pipeline::new();
    question.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
    let (info, slots): (String, Value) = question.query_async(&mut connection).await?;
    Ok((View::read(&info, slots, node)?, connection))
}
