//! A link: what there is between us and one master. A task holds it up, and is the only one that handles what Redis tells.
//!
//! One connection is told of changes and sends canaries; commands go over another. The order when both are new: tracking is
//! acknowledged, then the memory forgets, then commands may go, then canaries count. At the first sign of a loss nothing is
//! vouched for, and both are dropped.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::{
    ConnectionAddr, ConnectionInfo, Pipeline, PushInfo, PushKind, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    canary::{Canaries, Findings},
    connector::Connector,
    errors::{ends_the_link, store_error},
    keys::Keyspace,
    options::{RedisOptions, WentBack},
    sequence::Sequences,
    tracking::Told,
};
use crate::{
    clock::BootTime,
    store::{Coherence, Partition, StoreError, coherence::Listener},
};

/// After so long without a word, silent connections are given up: longer than Redis takes for what it does in one go.
const SILENCE: Duration = Duration::from_secs(3);

/// What all links of a store share.
pub(super) struct Shared {
    connector: Connector,
    keys: Keyspace,
    timeout: Duration,
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
            keys,
            timeout: options.timeout,
            interval: (options.max_staleness / 10).max(Duration::from_millis(5)),
            canary_ttl: (options.max_staleness * 10).max(Duration::from_secs(1)),
            went_back: options.went_back,
            coherence,
            listener,
            sequences: Sequences::default(),
        }
    }
}

/// One master, for who has something to ask of it.
pub(super) struct Link {
    state: watch::Receiver<State>,
    timeout: Duration,
    task: JoinHandle<()>,
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
    commands: MultiplexedConnection,
    events: UnboundedSender<Event>,
}

/// What the task of a link reacts to.
enum Event {
    Told(PushInfo),
    /// The way of commands has ended, or should.
    Lost,
}

impl Link {
    /// Stays up, or tries to be, until it is dropped. Belongs to the runtime in which this is called.
    pub(super) fn start(shared: Arc<Shared>, address: ConnectionAddr, partitions: Vec<Partition>) -> Self {
        let (publish, state) = watch::channel(State::Connecting);
        let timeout = shared.timeout;
        let keeper = Keeper { shared, address, partitions, publish };
        Self { state, timeout, task: tokio::spawn(keeper.keep()) }
    }

    /// Waits for it while the first attempt is under way.
    pub(super) async fn connection(&self) -> Result<Connection, StoreError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting));
        let settled = timeout(self.timeout, settled).await.ok().and_then(Result::ok).map(|state| state.clone());
        match settled {
            Some(State::Up(connection)) => Ok(connection),
            Some(State::Down(error)) => Err(error),
            Some(State::Connecting) | None => Err(StoreError::transient(format!("Redis: no connection within {:?}", self.timeout))),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Sends a command once. Neither this nor the driver sends it again.
    pub(super) async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, RedisError> {
        self.noted(command.query_async(&mut self.commands.clone()).await)
    }

    /// Sends several commands in one round trip. They succeed and fail one by one.
    pub(super) async fn ask_all(&self, mut commands: Pipeline) -> Result<Vec<RedisResult<Value>>, RedisError> {
        // The driver's own error for several is a list of all of them, and has lost their codes.
        commands.ignore_errors();
        let answers: Vec<RedisResult<Value>> = self.noted(commands.query_async(&mut self.commands.clone()).await)?;
        Ok(answers.into_iter().map(|answer| self.noted(answer)).collect())
    }

    fn noted<T>(&self, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if answer.as_ref().is_err_and(ends_the_link) {
            let _over_already = self.events.send(Event::Lost);
        }
        answer
    }
}

/// The task that holds a link up.
struct Keeper {
    shared: Arc<Shared>,
    address: ConnectionAddr,
    partitions: Vec<Partition>,
    publish: watch::Sender<State>,
}

/// Both connections, to one server.
struct Connected {
    tracking: MultiplexedConnection,
    connection: Connection,
    events: UnboundedReceiver<Event>,
    canaries: Canaries,
}

/// What a server says of itself.
#[derive(PartialEq, Eq)]
struct Identity {
    run_id: String,
    role: String,
}

impl Keeper {
    async fn keep(self) {
        let mut was_up = false;
        loop {
            let began = Instant::now();
            match self.connect().await {
                Ok(connected) => {
                    self.shared.listener.lost(&self.partitions);
                    if was_up {
                        self.shared.coherence.reconnects.fetch_add(1, Relaxed);
                    }
                    was_up = true;
                    self.publish.send_replace(State::Up(connected.connection.clone()));
                    self.attend(connected).await;
                    self.withdraw();
                    self.publish.send_replace(State::Connecting);
                }
                Err(error) => {
                    self.publish.send_replace(State::Down(error));
                }
            }
            // One that held for a while is tried again at once.
            let pause = Duration::from_millis(50 + BootTime::now().as_nanos() % 50);
            if began.elapsed() < pause || matches!(&*self.publish.borrow(), State::Down(_)) {
                sleep(pause).await;
            }
        }
    }

    async fn connect(&self) -> Result<Connected, StoreError> {
        let address = &self.address;
        self.connect_to(address).await.map_err(|error| store_error(&error)).and_then(|(connected, ours, other)| {
            if ours != other {
                Err(StoreError::transient(format!("Redis: {address} leads to several servers")))
            } else if ours.role != "master" {
                Err(StoreError::transient(format!("Redis: {address} is a replica and takes no changes")))
            } else {
                Ok(connected)
            }
        })
    }

    async fn connect_to(&self, address: &ConnectionAddr) -> Result<(Connected, Identity, Identity), RedisError> {
        let (sender, events) = unbounded_channel();
        let (told, ended) = (sender.clone(), sender.clone());
        let connector = &self.shared.connector;
        let tracking = connector.open(address, move |push| {
            let _nobody_listens = told.send(Event::Told(push));
        });
        let commands = connector.open(address, move |push| {
            if push.kind == PushKind::Disconnection {
                let _nobody_listens = ended.send(Event::Lost);
            }
        });
        let (mut tracking, mut commands) = tokio::try_join!(tracking, commands)?;
        let other = identity(&mut commands).await?;
        let ours = identity(&mut tracking).await?;
        let mut track = Pipeline::new();
        track.cmd("CLIENT").arg("ID").cmd("CLIENT").arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in self.shared.keys.told() {
            track.arg("PREFIX").arg(prefix);
        }
        let (client, _tracks): (u64, ()) = track.query_async(&mut tracking).await?;
        let canaries = Canaries::new(format!("{}:{client}", ours.run_id), self.shared.canary_ttl);
        tracking.set_response_timeout(SILENCE.max(self.shared.timeout * 2));
        let connection = Connection { commands, events: sender };
        Ok((Connected { tracking, connection, events, canaries }, ours, other))
    }

    /// Until the link is lost.
    async fn attend(&self, mut connected: Connected) {
        let Shared { interval, timeout, .. } = *self.shared;
        let silence = SILENCE.max(timeout * 2);
        let mut errands: JoinSet<Result<Findings, RedisError>> = JoinSet::new();
        let mut complaint = Complaint::default();
        // What has to be done by when: send a canary, find that it is late, or that it is not coming back.
        let (mut sent, mut due, mut is_late) = (Instant::now(), Instant::now(), false);
        loop {
            tokio::select! {
                event = connected.events.recv() => match event {
                    Some(Event::Told(push)) => {
                        if !self.handle(Told::read(push), &mut connected.canaries) {
                            return;
                        }
                    }
                    Some(Event::Lost) | None => return,
                },
                Some(answer) = errands.join_next() => match answer {
                    Ok(Ok(findings)) => {
                        if self.goes_on(findings) {
                            connected.canaries.answered();
                        } else {
                            self.withdraw();
                            connected.canaries.refused();
                            due = sent + interval;
                        }
                    }
                    Ok(Err(error)) if !error.is_io_error() && !ends_the_link(&error) => {
                        self.withdraw();
                        connected.canaries.refused();
                        due = sent + interval;
                        complaint.make(&error);
                    }
                    _ => return,
                },
                () = sleep_until(due) => {
                    if !connected.canaries.is_out() {
                        let errand = connected.canaries.send(&self.shared.keys, &self.partitions, &self.shared.sequences);
                        errands.spawn(errand.run(connected.tracking.clone()));
                        sent = Instant::now();
                        due = sent + timeout;
                    } else if is_late {
                        return;
                    } else {
                        is_late = true;
                        due = sent + silence;
                        let why = format!("Redis: it has not answered for {timeout:?}");
                        self.publish.send_replace(State::Down(StoreError::transient(why)));
                    }
                }
            }
            if let Some(sent_at) = connected.canaries.come_back() {
                for &partition in &self.partitions {
                    self.shared.coherence.verify(partition, sent_at);
                }
                self.shared.coherence.canaries.fetch_add(1, Relaxed);
                complaint.is_over();
                due = sent + interval;
            }
            if is_late && !connected.canaries.is_out() {
                is_late = false;
                self.publish.send_replace(State::Up(connected.connection.clone()));
            }
        }
    }

    /// Says whether the connection still stands.
    fn handle(&self, told: Told, canaries: &mut Canaries) -> bool {
        let Shared { keys, listener, coherence, .. } = &*self.shared;
        match told {
            Told::Changed(names) => {
                for name in names {
                    if let Some(key) = keys.parse_record(&name) {
                        listener.changed(&key);
                        coherence.pushes.fetch_add(1, Relaxed);
                    } else {
                        canaries.told(&name);
                    }
                }
            }
            Told::Everything => {
                listener.lost(&self.partitions);
                coherence.pushes.fetch_add(1, Relaxed);
            }
            Told::Disconnected => return false,
            Told::Other => {}
        }
        true
    }

    /// Whether the store may be vouched for after what a canary has found in it.
    fn goes_on(&self, findings: Findings) -> bool {
        let Shared { sequences, coherence, went_back, .. } = &*self.shared;
        let mut back = false;
        for (partition, before, now) in findings.sequences {
            back |= sequences.note(partition, before.as_ref(), now);
        }
        if back {
            coherence.went_back.store(true, Relaxed);
            tracing::error!(
                "the store went back in time: what was revoked lately may be valid again. It has been restored from a backup or \
                 emptied, or a replica took over that had not got everything; revoke again what was revoked since"
            );
        }
        *went_back == WentBack::Report || !coherence.went_back.load(Relaxed)
    }

    fn withdraw(&self) {
        for &partition in &self.partitions {
            self.shared.coherence.withdraw(partition);
        }
    }
}

/// Says once what is wrong with canaries, however often it is.
#[derive(Default)]
struct Complaint(Option<String>);

impl Complaint {
    fn make(&mut self, error: &RedisError) {
        let message = Some(error.to_string());
        if self.0 != message {
            tracing::warn!(%error, "Redis does not take the write that shows whether it has told everything; no check relies on memory");
            self.0 = message;
        }
    }

    fn is_over(&mut self) {
        self.0 = None;
    }
}

async fn identity(connection: &mut MultiplexedConnection) -> Result<Identity, RedisError> {
    let text: String = redis::cmd("INFO").arg("server").arg("replication").query_async(connection).await?;
    let of = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next().unwrap_or_default()
    };
    Ok(Identity { run_id: of("run_id"), role: of("role") })
}
