//! A count that many threads raise at once without waiting for one another's cache lines.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const PARTS: usize = 32;

/// How many threads have counted anything.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed) % PARTS;
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicU64);

#[derive(Debug, Default)]
pub struct Tally([Part; PARTS]);

impl Tally {
    pub fn add(&self, count: u64) {
        OWN.with(|own| self.0[*own].0.fetch_add(count, Ordering::Relaxed));
    }

    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}
