//! The task that holds one link up: connects, attends to what comes, and connects again.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::{ConnectionAddr, Pipeline, PushInfo, PushKind, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{Connection, Event, Shared, State};
use crate::{
    clock::BootTime,
    store::{
        Partition, StoreError,
        redis::{
            canary::{Canaries, Findings},
            errors::{ends_the_link, store_error},
            options::WentBack,
            place::Place,
            slots::Slots,
            tracking::Told,
        },
    },
};

/// After so long without a word, silent connections are given up: longer than Redis takes for what it does in one go.
const SILENCE: Duration = Duration::from_secs(3);

/// How long a master is taken for the one that sentinels name, while all is well.
const GLANCE: Duration = Duration::from_secs(1);

/// So late is nothing done by a process that gets its share of the processor.
const STALL: Duration = Duration::from_millis(10);

/// Before a canary is tried elsewhere.
const NEXT_TAG: Duration = Duration::from_millis(5);

pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Place,
    pub(super) partitions: Vec<Partition>,
    pub(super) slots: Option<watch::Receiver<Slots>>,
    pub(super) publish: watch::Sender<State>,
}

/// Both connections, to one server.
struct Connected {
    tracking: MultiplexedConnection,
    connection: Connection,
    events: UnboundedReceiver<Event>,
    canaries: Canaries,
}

/// What a server says of itself.
#[derive(Default, PartialEq, Eq)]
struct Identity {
    run_id: String,
    role: String,
}

impl Keeper {
    pub(super) async fn keep(self) {
        let mut was_up = false;
        loop {
            let began = Instant::now();
            match self.connect().await {
                Ok(connected) => {
                    self.shared.lose(&self.partitions);
                    if was_up {
                        self.shared.coherence.reconnects.fetch_add(1, Relaxed);
                    }
                    was_up = true;
                    self.publish.send_replace(State::Up(connected.connection.clone()));
                    let address = connected.connection.address().clone();
                    tracing::info!(%address, "linked with a master of Redis");
                    self.attend(connected).await;
                    self.withdraw();
                    self.publish.send_replace(State::Connecting);
                    tracing::warn!(%address, "the link with a master of Redis is lost");
                }
                Err(error) => {
                    self.publish.send_replace(State::Down(error));
                    self.shared.doubt.notify_one();
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
        let address = self.place.find().await?;
        let at = |error| {
            let error = store_error(&error);
            StoreError { message: format!("{} ({address})", error.message), ..error }
        };
        self.connect_to(&address).await.map_err(at).and_then(|(connected, ours, other)| {
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
        let told = sender.clone();
        let connector = &self.shared.connector;
        let tracking = connector.open(address, move |push| {
            let _nobody_listens = told.send(Event::Told(push));
        });
        let commands = connector.open(address, lost(&sender));
        let waiting = async {
            match self.shared.wait_replicas {
                0 => Ok(None),
                _ => connector.open(address, lost(&sender)).await.map(Some),
            }
        };
        let (mut tracking, mut commands, mut waiting) = tokio::try_join!(tracking, commands, waiting)?;
        let mut other = identity(&mut commands).await?;
        if let Some(waiting) = &mut waiting {
            let third = identity(waiting).await?;
            other = if third == other { other } else { Identity::default() };
        }
        let ours = identity(&mut tracking).await?;
        let mut track = Pipeline::new();
        track.cmd("CLIENT").arg("ID").cmd("CLIENT").arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in self.shared.keys.told() {
            track.arg("PREFIX").arg(prefix);
        }
        let (client, _tracks): (u64, ()) = track.query_async(&mut tracking).await?;
        let canaries = Canaries::new(format!("{}:{client}", ours.run_id), self.shared.canary_ttl, self.slots.clone());
        let connection =
            Connection { address: Arc::new(address.clone()), commands, waiting, wait: self.shared.wait(), events: sender };
        Ok((Connected { tracking, connection, events, canaries }, ours, other))
    }

    /// Until the link is lost.
    async fn attend(&self, mut connected: Connected) {
        let Shared { interval, timeout, .. } = *self.shared;
        let silence = SILENCE.max(timeout * 2);
        // Replicas are waited for on a connection of its own, so that nothing else waits with it.
        let mut canary_way = connected.connection.waiting.clone().unwrap_or_else(|| connected.tracking.clone());
        canary_way.set_response_timeout(silence);
        let mut errands: JoinSet<Result<Findings, RedisError>> = JoinSet::new();
        let mut searches = self.search(GLANCE);
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
                        let moving = connected.canaries.begun_to_move(&findings);
                        if !moving.is_empty() {
                            self.shared.lose(&moving);
                        }
                        if findings.is_elsewhere {
                            // Other slots may be left here than were known.
                            self.shared.doubt.notify_one();
                            connected.canaries.take_another_tag();
                            due = sent + NEXT_TAG;
                        } else if self.goes_on(findings) {
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
                        self.shared.doubt.notify_one();
                        if complaint.make(&error) {
                            searches = self.search(interval);
                        }
                    }
                    _ => return,
                },
                Some(found) = searches.join_next() => match found {
                    Ok(Ok(address)) if address != *connected.connection.address => return,
                    _ => searches = self.search(if is_late || complaint.is_made() { interval } else { GLANCE }),
                },
                () = sleep_until(due) => {
                    if !connected.canaries.is_out() {
                        let Shared { keys, sequences, .. } = &*self.shared;
                        let errand = connected.canaries.send(keys, &self.partitions, sequences, self.shared.wait());
                        errands.spawn(errand.run(canary_way.clone()));
                        sent = Instant::now();
                        due = sent + timeout;
                    } else if due.elapsed() > STALL {
                        // It was this process that stood still; the answer may be waiting to be read.
                        due = Instant::now() + due.elapsed().min(timeout);
                    } else if is_late {
                        return;
                    } else {
                        is_late = true;
                        due = sent + silence;
                        let why = format!("Redis: it has not answered for {timeout:?}");
                        self.publish.send_replace(State::Down(StoreError::transient(why)));
                        self.shared.doubt.notify_one();
                        searches = self.search(interval);
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

    /// Somebody who looks in a while whether another master is named by now: the old one may go on as if it were one.
    fn search(&self, after: Duration) -> JoinSet<Result<ConnectionAddr, StoreError>> {
        let mut searches = JoinSet::new();
        if self.place.may_move() {
            let place = self.place.clone();
            searches.spawn(async move {
                sleep(after).await;
                place.find().await
            });
        }
        searches
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
                self.shared.lose(&self.partitions);
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
                 emptied, or a replica took over that had not got everything. This server is not ready until it is started again; restore \
                 the store, or revoke again what was revoked since, before that"
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
    /// Whether it is a new one.
    fn make(&mut self, error: &RedisError) -> bool {
        let message = Some(error.to_string());
        let is_new = self.0 != message;
        if is_new {
            tracing::warn!(
                %error,
                "Redis does not take, or not confirm, the write that shows whether it has told everything; every check is \
                 refused until it does"
            );
            self.0 = message;
        }
        is_new
    }

    fn is_made(&self) -> bool {
        self.0.is_some()
    }

    fn is_over(&mut self) {
        self.0 = None;
    }
}

/// What a connection for commands has to say unasked.
fn lost(events: &UnboundedSender<Event>) -> impl Fn(PushInfo) + Send + Sync + 'static {
    let events = events.clone();
    move |push| {
        if push.kind == PushKind::Disconnection {
            let _nobody_listens = events.send(Event::Lost);
        }
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
