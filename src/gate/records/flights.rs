//! Reads of the store that are under way, so that many who need a record at once ask for it once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::map::{Count, Known, Map};
use crate::{
    clock::BootTime,
    store::{Key, StoreError},
};

/// What a read came to, key by key; an error of one record is that record's own.
pub(super) type Answer = Result<Arc<[(Key, Result<Known, StoreError>)]>, StoreError>;

/// A read that is under way. Whoever waits for it sees the channel close when it is given up.
type Flight = watch::Receiver<Option<Answer>>;

struct Seat {
    flight: Flight,
    began: BootTime,
    count: Count,
}

#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Seat>>);

/// What somebody who needs some keys has to do.
pub(super) struct Boarding<'f> {
    /// Of others, to wait for.
    pub flights: Vec<Flight>,
    /// To read, where something is left.
    pub own: Option<Own<'f>>,
}

/// A read of one's own. Others may have joined it; dropped without an answer, it is given up.
pub(super) struct Own<'f> {
    pub keys: Vec<(Key, Count)>,
    flights: &'f Flights,
    answer: watch::Sender<Option<Answer>>,
}

impl Flights {
    /// A read is joined that began less than `within` ago, unless a change has been told since.
    pub fn board(&self, keys: &[Key], map: &Map, within: Duration) -> Boarding<'_> {
        let mut seats = self.seats();
        // Before the counts are looked at and anything is read.
        let now = BootTime::now();
        let mut boarding = Boarding { flights: Vec::new(), own: None };
        let (answer, flight) = watch::channel(None);
        let mut own = Vec::new();
        for key in keys {
            let count = map.count(key);
            match seats.get(key) {
                Some(seat) if seat.count == count && now.since(seat.began) < within => {
                    if !boarding.flights.iter().any(|joined| joined.same_channel(&seat.flight)) {
                        boarding.flights.push(seat.flight.clone());
                    }
                }
                _ => {
                    seats.insert(key.clone(), Seat { flight: flight.clone(), began: now, count });
                    own.push((key.clone(), count));
                }
            }
        }
        if !own.is_empty() {
            boarding.own = Some(Own { keys: own, flights: self, answer });
        }
        boarding
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<Key, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own<'_> {
    pub fn flight(&self) -> Flight {
        self.answer.subscribe()
    }

    pub fn land(self, answer: Answer) {
        self.answer.send_replace(Some(answer));
    }
}

impl Drop for Own<'_> {
    /// Nobody joins any more.
    fn drop(&mut self) {
        let flight = self.flight();
        let mut seats = self.flights.seats();
        for (key, _) in &self.keys {
            if seats.get(key).is_some_and(|seat| seat.flight.same_channel(&flight)) {
                seats.remove(key);
            }
        }
    }
}
