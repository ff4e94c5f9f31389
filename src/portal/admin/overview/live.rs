//! The pictures as they change, to browsers that go on looking at them: server-sent events. Each of them asks anew whether
//! he who looks may; the stream ends with his session, with his rights, and with the server.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_web::web::Bytes;
use askama::Template as _;
use futures_util::{Stream, stream};
use tokio::{
    sync::watch,
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

/// Who is looking.
pub struct Watchers {
    open: Mutex<HashMap<AccountId, usize>>,
    ended: watch::Sender<bool>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { open: Mutex::default(), ended: watch::Sender::new(false) }
    }
}

/// One who is looking, until this is dropped.
pub(super) struct Watching {
    watchers: Arc<Watchers>,
    account: AccountId,
}

impl Watchers {
    /// `None` where the account looks often enough.
    pub(super) fn enter(self: &Arc<Self>, account: &AccountId) -> Option<Watching> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(account.clone()).or_default();
        (*count < AT_ONCE).then(|| {
            *count += 1;
            Watching { watchers: self.clone(), account: account.clone() }
        })
    }

    /// Ends all streams, so that nobody waits for them when the server stops.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut open = self.watchers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.account) {
            *count = count.saturating_sub(1);
            if *count == 0 {
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
    ended: watch::Receiver<bool>,
    _watching: Watching,
}

/// The first one comes at once.
pub(super) fn events(
    state: Arc<PortalState>,
    cookie: SessionSecret,
    watching: Watching,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = watching.watchers.ended.subscribe();
    let events = Events { state, cookie, every, ended, _watching: watching };
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
            _ = self.ended.wait_for(|ended| *ended) => return None,
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

    #[test]
    fn an_account_looks_a_few_times_at_once() {
        let watchers = Arc::new(Watchers::default());
        let [one, other] = ["acc_one", "acc_other"].map(|id| AccountId::parse(id).unwrap());
        let mut open: Vec<_> = (0..AT_ONCE).map(|_| watchers.enter(&one).unwrap()).collect();
        assert!(watchers.enter(&one).is_none() && watchers.enter(&other).is_some());
        open.pop();
        assert!(watchers.enter(&one).is_some());
        open.clear();
        assert!(watchers.open.lock().unwrap().is_empty());
    }

    #[test]
    fn an_event_has_each_line_by_itself() {
        assert_eq!(event("a\nb: c\r\n\nd"), "data: a\ndata: b: c\ndata: \ndata: d\n\n");
    }
}
