//! The pictures as they change, to browsers that go on looking at them: server-sent events. Each of them asks anew whether
//! he who looks may; the stream ends with his session, with his rights, and with the server.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::web::Bytes;
use askama::Template as _;
use futures_util::{Stream, stream};
use tokio::{
    sync::Notify,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{PortalState, shown::Pictures};
use crate::domain::{id::AccountId, session::SessionSecret};

/// As often as servers publish what they have counted.
const EVERY: Duration = Duration::from_secs(10);
/// Of one account.
const AT_ONCE: usize = 3;
/// So that the browser does not come back for more of it.
const END: &str = "event: end\ndata: \n\n";
/// While the store does not answer: there is nothing to say, and the line is not dead.
const NOTHING: &str = ": the store does not answer\n\n";

/// Who is looking, the longest first. Each is told when his stream is to end.
#[derive(Default)]
pub struct Watchers(Mutex<HashMap<AccountId, VecDeque<Arc<Notify>>>>);

/// One who is looking, until this is dropped.
pub(super) struct Watching {
    watchers: Arc<Watchers>,
    account: AccountId,
    ended: Arc<Notify>,
}

impl Watchers {
    /// Where an account looks often enough, the longest look ends: nobody knows of a window that has been closed.
    pub(super) fn enter(self: &Arc<Self>, account: &AccountId) -> Watching {
        let ended = Arc::new(Notify::new());
        let mut open = self.open();
        let of_account = open.entry(account.clone()).or_default();
        of_account.push_back(ended.clone());
        if of_account.len() > AT_ONCE
            && let Some(longest) = of_account.pop_front()
        {
            longest.notify_one();
        }
        Watching { watchers: self.clone(), account: account.clone(), ended }
    }

    /// Ends all streams, so that nobody waits for them when the server stops.
    pub fn end(&self) {
        for ended in self.open().values().flatten() {
            ended.notify_one();
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<AccountId, VecDeque<Arc<Notify>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut open = self.watchers.open();
        if let Some(of_account) = open.get_mut(&self.account) {
            of_account.retain(|ended| !Arc::ptr_eq(ended, &self.ended));
            if of_account.is_empty() {
                open.remove(&self.account);
            }
        }
    }
}

/// One stream of events.
struct Events {
    state: Arc<PortalState>,
    cookie: SessionSecret,
    every: Interval,
    watching: Watching,
}

/// The first one comes at once.
pub(super) fn events(
    state: Arc<PortalState>,
    cookie: SessionSecret,
    watching: Watching,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = Events { state, cookie, every, watching };
    stream::unfold(Some(events), async |events| {
        let mut events = events?;
        match events.next().await {
            Some(event) => Some((Ok(Bytes::from(event)), Some(events))),
            None => Some((Ok(Bytes::from_static(END.as_bytes())), None)),
        }
    })
}

impl Events {
    /// `None` when nobody may look any more.
    async fn next(&mut self) -> Option<String> {
        tokio::select! {
            _ = self.every.tick() => {}
            () = self.watching.ended.notified() => return None,
        }
        match self.state.directory.overview_goes_on(&self.cookie).await {
            Ok(overview) => Pictures::new(overview?, self.state.clock.now()).render().ok().map(|pictures| event(&pictures)),
            Err(error) => {
                tracing::debug!(%error, "the overview has nothing to show");
                Some(NOTHING.to_owned())
            }
        }
    }
}

/// A text as an event without a name.
fn event(text: &str) -> String {
    let mut event = String::with_capacity(text.len() + text.len() / 8);
    for line in text.lines() {
        event.extend(["data: ", line, "\n"]);
    }
    event + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_account_looks_a_few_times_at_once() {
        let watchers = Arc::new(Watchers::default());
        let [one, other] = ["acc_one", "acc_other"].map(|id| AccountId::parse(id).unwrap());
        let mut open: VecDeque<_> = (0..=AT_ONCE).map(|_| watchers.enter(&one)).collect();
        open[0].ended.notified().await;
        open.pop_front();
        let elsewhere = watchers.enter(&other);
        // One after the other: each has the lock until its statement ends.
        let looking = |account| watchers.open()[account].len();
        let (of_one, of_other) = (looking(&one), looking(&other));
        assert_eq!((of_one, of_other), (AT_ONCE, 1));
        watchers.end();
        open[0].ended.notified().await;
        elsewhere.ended.notified().await;
        drop((open, elsewhere));
        assert!(watchers.open().is_empty());
    }

    #[test]
    fn an_event_has_each_line_by_itself() {
        assert_eq!(event("a\nb: c\r\n\nd"), "data: a\ndata: b: c\ndata: \ndata: d\n\n");
    }
}
