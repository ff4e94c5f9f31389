//! A link: what there is between us and one master. A task holds it up, and is the only one that handles what Redis tells.
//!
//! One connection is told of changes and sends canaries; commands go over another. The order when both are new: tracking is
//! acknowledged, then the memory forgets, then commands may go, then canaries count. At the first sign of a loss nothing is
//! vouched for, and both are dropped.

mod keeper;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, Pipeline, PushInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    sync::{Notify, mpsc::UnboundedSender, watch},
    task::JoinHandle,
    time::timeout,
};

use self::keeper::Keeper;
use super::{
    connector::Connector,
    errors::ends_the_link,
    keys::Keyspace,
    options::{RedisOptions, WentBack},
    place::Place,
    sequence::Sequences,
    slots::Slots,
    wait::Wait,
};
use crate::store::{Coherence, Partition, StoreError, coherence::Listener};

/// What all links of a store share.
pub(super) struct Shared {
    pub(super) connector: Connector,
    pub(super) timeout: Duration,
    /// Somebody has reason to think that masters are not where they were.
    pub(super) doubt: Notify,
    pub(super) wait_replicas: u32,
    keys: Keyspace,
    /// From one canary to the next.
    interval: Duration,
    canary_ttl: Duration,
    went_back: WentBack,
    coherence: Arc<Coherence>,
    listener: Listener,
    sequences: Sequences,
}

impl Shared {
    /// Of `info`, the address is only an example.
    pub(super) fn new(
        options: &RedisOptions,
        info: ConnectionInfo,
        keys: Keyspace,
        coherence: Arc<Coherence>,
        listener: Listener,
    ) -> Self {
        Self {
            connector: Connector::new(info, options.timeout),
            timeout: options.timeout,
            doubt: Notify::new(),
            wait_replicas: options.wait_replicas,
            keys,
            interval: (options.max_staleness / 10).max(Duration::from_millis(5)),
            canary_ttl: (options.max_staleness * 10).max(Duration::from_secs(1)),
            went_back: options.went_back,
            coherence,
            listener,
            sequences: Sequences::default(),
        }
    }
}

impl Shared {
    pub(super) fn wait(&self) -> Wait {
        Wait::new(self.wait_replicas, self.timeout)
    }

    /// Changes of these partitions may have gone by untold, or another server may have them from now on.
    fn lose(&self, partitions: &[Partition]) {
        self.coherence.lose();
        self.listener.lost(partitions);
    }
}

/// One master, for who has something to ask of it.
pub(super) struct Link {
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
    partitions: Vec<Partition>,
    /// Of a master of a cluster.
    slots: Option<watch::Sender<Slots>>,
    task: JoinHandle<()>,
    ended: AtomicBool,
}

#[derive(Clone)]
enum State {
    /// The first attempt, since the start or since a loss, is under way.
    Connecting,
    Up(Connection),
    /// It cannot be reached, or does not answer. Why is known, so nobody has to find out by waiting.
    Down(StoreError),
}

/// The way of commands to a master.
#[derive(Clone)]
pub(super) struct Connection {
    address: Arc<ConnectionAddr>,
    commands: MultiplexedConnection,
    /// For what takes rights away, where replicas have to confirm it.
    waiting: Option<MultiplexedConnection>,
    wait: Wait,
    events: UnboundedSender<Event>,
}

/// What the task of a link reacts to.
enum Event {
    Told(PushInfo),
    /// The way of commands has ended, or should.
    Lost,
}

impl Link {
    /// Stays up, or tries to be, until it is dropped. Belongs to the runtime in which this is called. Of a master of a
    /// cluster, `slots` are those it owns.
    pub(super) fn start(shared: Arc<Shared>, place: Place, partitions: Vec<Partition>, slots: Option<Slots>) -> Self {
        let (publish, state) = watch::channel(State::Connecting);
        let (slots, owned) = slots.map(watch::channel).unzip();
        let keeper = Keeper { shared: shared.clone(), place, partitions: partitions.clone(), slots: owned, publish };
        Self { state, shared, partitions, slots, ended: AtomicBool::new(false), task: tokio::spawn(keeper.keep()) }
    }

    /// Its master owns these now: the same partitions, and others beside them.
    pub(super) fn owns(&self, slots: &Slots) {
        if let Some(known) = &self.slots {
            known.send_replace(slots.clone());
        }
    }

    pub(super) fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// For what another link is about to stand in for.
    pub(super) fn end(&self) {
        // From now on nobody reads what it says: the other one may be told before the table of links is another.
        self.ended.store(true, Ordering::Release);
        self.task.abort();
        for &partition in &self.partitions {
            self.shared.coherence.withdraw(partition);
        }
    }

    /// Waits for it while the first attempt is under way.
    pub(super) async fn connection(&self) -> Result<Connection, StoreError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting));
        let settled = timeout(self.shared.timeout, settled).await.ok().and_then(Result::ok).map(|state| state.clone());
        match settled {
            _ if self.ended.load(Ordering::Acquire) => {
                Err(StoreError::transient("Redis: these records are moving to another server"))
            }
            Some(State::Up(connection)) => Ok(connection),
            Some(State::Down(error)) => Err(error),
            Some(State::Connecting) | None => {
                Err(StoreError::transient(format!("Redis: no connection within {:?}", self.shared.timeout)))
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    pub(super) fn address(&self) -> &ConnectionAddr {
        &self.address
    }

    /// Sends a command once. Neither this nor the driver sends it again.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        self.noted(command.query_async(&mut self.commands.clone()).await)
    }

    /// Sends several commands in one round trip. They succeed and fail one by one.
    pub(super) async fn ask_all(&self, mut commands: Pipeline) -> Result<Vec<RedisResult<Value>>, RedisError> {
        // The driver's own error for several is a list of all of them, and has lost their codes.
        commands.ignore_errors();
        let answers: Vec<RedisResult<Value>> = self.noted(commands.query_async(&mut self.commands.clone()).await)?;
        Ok(answers.into_iter().map(|answer| self.noted(answer)).collect())
    }

    /// Sends a command that takes rights away, and says whether enough replicas have confirmed that they have it.
    pub(super) async fn take_away(&self, command: Cmd) -> Result<(Value, bool), RedisError> {
        let Some(waiting) = &self.waiting else { return Ok((self.ask(&command).await?, true)) };
        let commands = self.wait.after(command);
        let answers: Vec<RedisResult<Value>> = self.noted(commands.query_async(&mut waiting.clone()).await)?;
        let (answer, confirmed) = self.wait.read(answers);
        Ok((self.noted(answer)?, confirmed))
    }

    fn noted<T>(&self, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if answer.as_ref().is_err_and(ends_the_link) {
            let _over_already = self.events.send(Event::Lost);
        }
        answer
    }
}
