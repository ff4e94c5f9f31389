//! What parts that know no metrics count for themselves, as readings.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    gate::{
        hasher::Hasher,
        records::{RecordCounts, Records},
    },
    metrics::{Reading, Value},
    store::Coherence,
};

pub(super) fn of_store(coherence: Arc<Coherence>) -> impl Fn() -> Vec<Reading> {
    move || {
        let Coherence { pushes, canaries, reconnects, went_back, .. } = &*coherence;
        let ages = coherence.ages().map(|(records, age)| (records, age.map_or(f64::INFINITY, |age| age.as_secs_f64())));
        let count = |counter: &AtomicU64| Value::Counter(counter.load(Ordering::Relaxed));
        vec![
            Reading { name: "store_pushes", help: "Changed records that the store has told of", value: count(pushes) },
            Reading {
                name: "store_canaries",
                help: "Signs that the store has told of everything up to then",
                value: count(canaries),
            },
            Reading { name: "store_reconnects", help: "Connections to the store that were made again", value: count(reconnects) },
            Reading {
                name: "store_went_back",
                help: "1 since the store has come back without a change that was seen in it, else 0",
                value: Value::Gauge(if went_back.load(Ordering::Relaxed) { 1.0 } else { 0.0 }),
            },
            Reading {
                name: "store_verified_age_seconds",
                help: "For how long changes of these records may have gone unnoticed, infinite where that is not known",
                value: Value::Gauges("records", ages.to_vec()),
            },
        ]
    }
}

pub(super) fn of_records(records: Arc<Records>) -> impl Fn() -> Vec<Reading> {
    move || {
        let RecordCounts { hits, misses, coalesced, stale, remembered, absent, bytes } = records.counts();
        #[expect(clippy::cast_precision_loss, reason = "to an operator, these are round figures")]
        let gauge = |value: u64| Value::Gauge(value as f64);
        let counter = |name, help, count| Reading { name, help, value: Value::Counter(count) };
        vec![
            counter("record_hits", "Records that checks found in memory", hits),
            counter("record_misses", "Records that checks had to wait for", misses),
            counter("record_coalesced", "Of the misses, those that waited for the read of another check", coalesced),
            counter("record_stale", "Records that changed while they were read, and so were not kept", stale),
            Reading { name: "records_remembered", help: "Records in memory", value: gauge(remembered as u64) },
            Reading { name: "records_absent", help: "Keys without a record, in memory", value: gauge(absent as u64) },
            Reading { name: "records_bytes", help: "About how much memory the records take", value: gauge(bytes) },
        ]
    }
}

pub(super) fn of_hasher(hasher: Arc<Hasher>) -> impl Fn() -> Vec<Reading> {
    move || {
        #[expect(clippy::cast_precision_loss, reason = "the queue is short")]
        let waiting = hasher.waiting() as f64;
        vec![
            Reading { name: "hasher_queue", help: "Passwords that wait to be hashed", value: Value::Gauge(waiting) },
            Reading {
                name: "hasher_busy",
                help: "Passwords that found no room in that queue",
                value: Value::Counter(hasher.turned_away()),
            },
        ]
    }
}
