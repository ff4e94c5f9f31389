//! What a server does beside answering: it writes down when tokens were last used, when sessions were last seen and which
//! attempts have failed, reports leaks, looks after records whose time has come, sends notices, and publishes what
//! it has counted. How often, and that it
//! ends in order; what is done is the gate's and the directory's business.

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{publishing::Publishing, reached::ReachedStore, wait_until_stopped, webhook::Delivery};
use crate::{
    directory::{Directory, DirectoryError, TokenSort},
    domain::{guessing::Subject, session::SessionRules},
    gate::{
        guessing::Guessing,
        signs::{Leak, Signs},
    },
    metrics::Metrics,
    store::Store,
};

/// Between two writings of last uses and of sessions seen: what a crash may lose, and how late they may be seen.
const WRITE_USES: Duration = Duration::from_secs(10);
/// From the start to the first sweep. The checks come first.
const FIRST_SWEEP: Duration = Duration::from_secs(5);
const BETWEEN_SWEEPS: Duration = Duration::from_hours(1);
/// Between two parts of a sweep, so that it takes little of the store, and of this process, at any time.
const BETWEEN_PARTS: Duration = Duration::from_millis(200);
/// The same while lists are in the making, for which somebody may wait.
const IN_THE_MAKING: Duration = Duration::from_millis(50);
/// Before something is tried again that the store could not do for the moment.
const AGAIN: Duration = Duration::from_secs(1);

/// What the tasks work on.
pub(super) struct Tasks {
    pub signs: Arc<Signs>,
    pub leaks: mpsc::Receiver<Leak>,
    pub session_rules: SessionRules,
    pub guessing: Arc<Guessing>,
    pub delivery: Option<Delivery>,
    pub publishing: Publishing,
}

/// Tasks that have been started.
pub(super) struct Running {
    stop: watch::Sender<bool>,
    /// These have something to finish.
    finishing: [JoinHandle<()>; 3],
    others: Vec<JoinHandle<()>>,
}

impl Tasks {
    pub(super) fn start(self, directory: &Arc<Directory>, store: Arc<ReachedStore>, metrics: &Arc<Metrics>) -> Running {
        let (stop, stopped) = watch::channel(false);
        let uses = write_uses(self.signs.clone(), store.clone(), self.session_rules, metrics.clone(), stopped.clone());
        let leaks = report_leaks(directory.clone(), self.signs, self.leaks, metrics.clone(), stopped.clone());
        let failures = write_failures(directory.clone(), self.guessing, metrics.clone(), stopped);
        let upkeep = tokio::spawn(look_after_records(directory.clone()));
        let publishing = tokio::spawn(self.publishing.run(store.clone()));
        let delivery = self.delivery.map(|delivery| tokio::spawn(delivery.run()));
        Running {
            stop,
            finishing: [tokio::spawn(uses), tokio::spawn(leaks), tokio::spawn(failures)],
            others: delivery
                .into_iter()
                .chain([upkeep, publishing, tokio::spawn(report_went_back(directory.clone(), store))])
                .collect(),
        }
    }
}

impl Running {
    /// Ends them, after all that could still come has come: what was gathered is written down.
    pub(super) async fn stop(self) {
        self.others.iter().for_each(JoinHandle::abort);
        let _all_have_ended = self.stop.send(true);
        for task in self.finishing {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task in the background has failed");
            }
        }
    }
}

async fn write_uses(
    signs: Arc<Signs>,
    store: Arc<dyn Store>,
    session_rules: SessionRules,
    metrics: Arc<Metrics>,
    stopped: watch::Receiver<bool>,
) {
    let mut every = tokio::time::interval(WRITE_USES);
    let (mut told_of_uses, mut told_of_sessions) = (false, false);
    loop {
        let last = tokio::select! {
            _ = every.tick() => false,
            () = signs.usage.filling() => false,
            () = wait_until_stopped(stopped.clone()) => true,
        };
        if let Err(error) = signs.usage.write(store.as_ref()).await {
            tracing::debug!(%error, "the last uses of tokens could not be written");
        }
        if let Err(error) = signs.sessions.write(store.as_ref(), &session_rules).await {
            tracing::debug!(%error, "when sessions were last seen could not be written");
        }
        let dropped = signs.usage.take_dropped();
        metrics.count_dropped_uses(dropped);
        if dropped > 0 && !mem::replace(&mut told_of_uses, true) {
            tracing::warn!(
                "the last uses of some tokens are lost, as the store does not take them; this is said once, and counted"
            );
        }
        let dropped = signs.sessions.take_dropped();
        metrics.count_dropped_sightings(dropped);
        if dropped > 0 && !mem::replace(&mut told_of_sessions, true) {
            tracing::warn!(
                "some sessions may end early, as more are in use than can wait to be written down; this is said once, and counted"
            );
        }
        if last {
            return;
        }
    }
}

async fn write_failures(directory: Arc<Directory>, guessing: Arc<Guessing>, metrics: Arc<Metrics>, stopped: watch::Receiver<bool>) {
    loop {
        // Those that wait are written before the end.
        while let Some(writing) = guessing.next() {
            let subject = match writing.subject() {
                Subject::Address(_) => "address",
                Subject::Login(_) => "login",
                Subject::Codes(_) => "code",
                Subject::TokensFrom(_) => "token",
            };
            match directory.write_failures(writing).await {
                Ok(true) => metrics.count_block(subject),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "failed attempts wait to be recorded");
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN) => {}
                        () = wait_until_stopped(stopped.clone()) => return,
                    }
                }
            }
        }
        metrics.count_dropped_failures(guessing.take_dropped());
        tokio::select! {
            biased;
            () = guessing.waiting() => {}
            () = wait_until_stopped(stopped.clone()) => return,
        }
    }
}

async fn report_leaks(
    directory: Arc<Directory>,
    signs: Arc<Signs>,
    mut leaks: mpsc::Receiver<Leak>,
    metrics: Arc<Metrics>,
    stopped: watch::Receiver<bool>,
) {
    loop {
        // Those that wait are reported before the end.
        let leak = tokio::select! {
            biased;
            leak = leaks.recv() => leak,
            () = wait_until_stopped(stopped.clone()) => None,
        };
        let Some(leak) = leak else { return };
        let mut told = false;
        loop {
            match directory.report_leak(&leak).await {
                Ok(reported) => break metrics.count_leaks(reported.into()),
                Err(error) if !may_pass(&error) => break tracing::error!(token = %leak.token, %error, "a leak cannot be reported"),
                Err(error) if !told => tracing::warn!(token = %leak.token, %error, "a leak waits to be reported"),
                Err(_) => {}
            }
            told = true;
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = wait_until_stopped(stopped.clone()) => return,
            }
        }
        metrics.count_dropped_leaks(signs.take_dropped_leaks());
    }
}

/// Once in the life of a server: from then on it is not ready, until somebody has looked at it and starts it again.
async fn report_went_back(directory: Arc<Directory>, store: Arc<ReachedStore>) {
    let mut every = tokio::time::interval(AGAIN);
    loop {
        every.tick().await;
        if store.went_back() {
            match directory.report_went_back().await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "that the store went back waits to be written down"),
            }
        }
    }
}

fn may_pass(error: &DirectoryError) -> bool {
    match error {
        DirectoryError::Store(error) => error.transient,
        error => matches!(error, DirectoryError::Contended),
    }
}

async fn look_after_records(directory: Arc<Directory>) {
    let mut pause = FIRST_SWEEP;
    // Each sweep looks through one of the orders that seldom have anything wrong in them.
    for seldom in SELDOM.into_iter().cycle() {
        tokio::time::sleep(pause).await;
        sweep(&directory, seldom).await;
        pause = BETWEEN_SWEEPS;
    }
}

async fn sweep(directory: &Directory, seldom: List) {
    for list in [List::Sorted, List::Tokens, List::Places(TokenSort::Used), List::Sessions, seldom] {
        look_after(directory, list).await;
    }
    if let Err(error) = directory.look_after_the_rest().await {
        tracing::warn!(%error, "old events and idempotency keys stay until the next time");
    }
}

/// What is looked after, one part after the other.
#[derive(Clone, Copy, Debug)]
enum List {
    Sorted,
    Tokens,
    Places(TokenSort),
    Accounts,
    AccountPlaces,
    Sessions,
}

const SELDOM: [List; 5] = [
    List::Places(TokenSort::Created),
    List::Places(TokenSort::Name),
    List::Places(TokenSort::Expires),
    List::Accounts,
    List::AccountPlaces,
];

async fn look_after(directory: &Directory, list: List) {
    let mut after = None;
    loop {
        let part = match list {
            List::Sorted => directory.complete_lists(after.clone()).await,
            List::Tokens => directory.look_after_tokens(after.clone()).await,
            List::Places(order) => directory.look_after_places(order, after.clone()).await,
            List::Accounts => directory.put_accounts_in_lists(after.clone()).await,
            List::AccountPlaces => directory.look_after_account_places(after.clone()).await,
            List::Sessions => directory.look_after_sessions(after.clone()).await,
        };
        let pause = match part {
            Ok(None) => break,
            Ok(next) => {
                after = next;
                if matches!(list, List::Sorted) { IN_THE_MAKING } else { BETWEEN_PARTS }
            }
            Err(error) if error.transient => AGAIN,
            Err(error) => {
                tracing::error!(%error, ?list, "not all of a list could be looked after");
                break;
            }
        };
        tokio::time::sleep(pause).await;
    }
}
