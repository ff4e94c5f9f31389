//! What is seen of tokens and sessions while requests are judged, for others to make something of: that one was used, and
//! that one was presented that should be forgotten. Whoever judges hands it over here and goes on; nobody waits.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::{seen::SeenSessions, usage::Usage};
use crate::domain::{
    time::Timestamp,
    token::{LastUse, TokenId},
};

/// Leaks that wait to be reported.
const WAITING: usize = 1_000;
/// A token that leaked is not reported again within this.
const QUIET: Duration = Duration::from_hours(1);
/// How many of those are remembered.
const REMEMBERED: usize = 10_000;

/// The predecessor of a rotated token was presented after its grace, with the right secret: somebody has it who should
/// not, or has not been told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    pub token: TokenId,
    pub at: Timestamp,
    /// The client's, where it is known.
    pub address: Option<IpAddr>,
}

/// Where signs are handed over.
pub struct Signs {
    pub usage: Usage,
    pub sessions: SeenSessions,
    leaks: mpsc::Sender<Leak>,
    /// When each token was last reported.
    reported: Mutex<HashMap<TokenId, Timestamp>>,
    dropped: AtomicU64,
}

impl Signs {
    /// With the end at which leaks come out.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Leak>) {
        let (leaks, found) = mpsc::channel(WAITING);
        (
            Self {
                usage: Usage::new(),
                sessions: SeenSessions::new(),
                leaks,
                reported: Mutex::default(),
                dropped: AtomicU64::new(0),
            },
            found,
        )
    }

    /// A token let a request pass.
    pub fn used(&self, token: &TokenId, at: Timestamp, address: Option<IpAddr>) {
        self.usage.note(token, LastUse { at, address });
    }

    /// A token was presented whose grace is over. Told once an hour, however often it is presented.
    pub fn leaked(&self, token: &TokenId, at: Timestamp, address: Option<IpAddr>) {
        let is_quiet = |last: &Timestamp| last.checked_add(QUIET).is_none_or(|end| at < end);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.get(token).is_some_and(is_quiet) {
            return;
        }
        if reported.len() >= REMEMBERED {
            reported.retain(|_, last| is_quiet(last));
        }
        if reported.len() >= REMEMBERED {
            // Rather one told twice than one not told at all: nobody may buy silence with leaks of his own.
            reported.clear();
        }
        let leak = Leak { token: token.clone(), at, address };
        if self.leaks.try_send(leak).is_ok() {
            reported.insert(token.clone(), at);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many leaks found no room since this was last asked.
    pub fn take_dropped_leaks(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> TokenId {
        TokenId::parse(&format!("{number:012}")).unwrap()
    }

    #[test]
    fn a_leak_is_told_once_an_hour() {
        let (signs, mut leaks) = Signs::new();
        let begin = Timestamp::from_millis(1_800_000_000_000);
        let hour = begin.checked_add(QUIET).unwrap();
        let late = Timestamp::from_millis(hour.as_millis() - 1);
        for at in [begin, begin, late, hour] {
            signs.leaked(&token(1), at, None);
        }
        signs.leaked(&token(2), late, None);
        let told: Vec<_> = std::iter::from_fn(|| leaks.try_recv().ok()).map(|leak| (leak.token, leak.at)).collect();
        assert_eq!(told, [(token(1), begin), (token(1), hour), (token(2), late)]);
        assert_eq!(signs.take_dropped_leaks(), 0);
    }

    #[test]
    fn more_leaks_than_can_be_reported_are_counted() {
        let (signs, mut leaks) = Signs::new();
        let at = Timestamp::from_millis(1_800_000_000_000);
        for number in 0..WAITING + 3 {
            signs.leaked(&token(number), at, None);
        }
        assert_eq!(signs.take_dropped_leaks(), 3);
        // Once there is room again, they are told when they are next seen.
        leaks.try_recv().unwrap();
        signs.leaked(&token(WAITING), at, None);
        assert_eq!(signs.take_dropped_leaks(), 0);
    }

    #[test]
    fn nobody_buys_silence_with_leaks_of_his_own() {
        let (signs, mut leaks) = Signs::new();
        let at = Timestamp::from_millis(1_800_000_000_000);
        for number in 0..REMEMBERED * 2 + 3 {
            signs.leaked(&token(number), at, None);
            assert!(leaks.try_recv().is_ok(), "{number}");
            assert!(signs.reported.lock().unwrap().len() <= REMEMBERED);
        }
        assert_eq!(signs.take_dropped_leaks(), 0);
    }
}
