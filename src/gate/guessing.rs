//! Who may still try a password: what the store knows of earlier failures, and what is going on in this process.
//!
//! Failures count in memory at once, and are handed over to be written down; a thousand guesses at the same time pass no
//! limit. By which rules they count is the domain's business, and writing them the directory's.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    clock::Clock,
    domain::{
        factor::PresentedCode,
        guessing::{Denied, Failures, GuessingRules, Subject},
        text::Login,
        time::Timestamp,
    },
    store::{Key, Record, Store, StoreError},
};

/// Subjects that are looked at, or wait to be written, at any time: some 20 MB.
const MOST: usize = 100_000;

/// Why a password is not even looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many have failed. `until`: when that ends if nothing more happens; `None` if it does not end by itself.
    Blocked { until: Option<Timestamp> },
    /// So many are being tried that, should they all fail, this would be one too many: come back in a moment.
    Busy,
    /// Nobody knows how many have failed.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Counts failed attempts. One for all that verify passwords in this process.
pub struct Guessing {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    rules: GuessingRules,
    here: Mutex<Here>,
    most: usize,
    /// There is something to write.
    waiting: Notify,
    /// Something was written, or could not be.
    written: Notify,
    dropped: AtomicU64,
}

/// What the store does not know yet.
#[derive(Default)]
struct Here {
    counters: HashMap<Subject, Counter>,
    /// Those that have failures to write, once each.
    queue: VecDeque<Subject>,
}

#[derive(Default)]
struct Counter {
    /// Attempts that look at it, or go on.
    open: usize,
    /// Attempts that were let through and have not ended.
    going_on: usize,
    failed: Vec<Timestamp>,
    being_written: bool,
    /// How often that was tried.
    writes: u64,
}

impl Counter {
    fn is_idle(&self) -> bool {
        self.open == 0 && self.failed.is_empty() && !self.being_written
    }
}

impl Here {
    /// How often each has been written; `None` while one of them is on its way, and may be in the store or not.
    fn writes(&self, subjects: &[Subject]) -> Option<Vec<u64>> {
        let counters = subjects.iter().filter_map(|subject| self.counters.get(subject));
        counters.map(|counter| (!counter.being_written).then_some(counter.writes)).collect()
    }

    /// Lets go of it when nobody needs it any more.
    fn release(&mut self, subject: &Subject) {
        if self.counters.get(subject).is_some_and(Counter::is_idle) {
            self.counters.remove(subject);
        }
    }
}

impl Guessing {
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, rules: GuessingRules) -> Self {
        Self {
            store,
            clock,
            rules,
            here: Mutex::default(),
            most: MOST,
            waiting: Notify::new(),
            written: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    #[must_use]
    pub fn rules(&self) -> &GuessingRules {
        &self.rules
    }

    /// Asked before a password is verified. `address` is the client's, as far as it is known, and `login` what he says; it
    /// makes no difference whether somebody has it. Whoever is let through says how it went.
    ///
    /// # Errors
    /// Why the password must not be verified now.
    pub async fn attempt(&self, address: Option<IpAddr>, login: &str) -> Result<Attempt<'_>, Refusal> {
        self.enter(self.rules.of_password(address, login)).await
    }

    /// The same before a code of a second factor is looked at, by whoever has given the password of this login.
    ///
    /// # Errors
    /// Why the code must not be looked at now.
    pub async fn attempt_code(&self, address: Option<IpAddr>, login: &Login, code: &PresentedCode) -> Result<Attempt<'_>, Refusal> {
        self.enter(self.rules.of_code(address, login, code)).await
    }

    async fn enter(&self, subjects: Result<Vec<Subject>, Denied>) -> Result<Attempt<'_>, Refusal> {
        let subjects = subjects.map_err(|Denied| Refusal::Blocked { until: None })?;
        let mut attempt = self.open(subjects)?;
        if attempt.subjects.is_empty() {
            return Ok(attempt);
        }
        loop {
            let written = self.written.notified();
            let Some(writes) = self.lock().writes(&attempt.subjects) else {
                written.await;
                continue;
            };
            let failures = self.read(&attempt.subjects).await?;
            if attempt.enter(&writes, &failures)? {
                return Ok(attempt);
            }
        }
    }

    /// A token failed that looked like one.
    pub fn token_failed(&self, address: Option<IpAddr>) {
        if let Ok(Some(subject)) = self.rules.of_token(address) {
            self.note(&mut self.lock(), &subject, self.clock.now());
        }
    }

    /// Whether so many tokens have failed from there that it hears no more than this about those that fail. Where the store
    /// does not say, it is not.
    pub async fn tokens_blocked(&self, address: Option<IpAddr>) -> bool {
        let subject = match self.rules.of_token(address) {
            Ok(Some(subject)) => subject,
            Ok(None) => return false,
            Err(_) => return true,
        };
        let subjects = [subject];
        loop {
            let written = self.written.notified();
            // Only who has failed comes here, so it is no good request that waits.
            let Some(writes) = self.lock().writes(&subjects) else {
                written.await;
                continue;
            };
            let Ok(mut failures) = self.read(&subjects).await else { return false };
            let here = self.lock();
            // What was written meanwhile would count twice, or not at all.
            if here.writes(&subjects) == Some(writes) {
                let failures = self.with_unwritten(&here, &subjects[0], failures.pop().flatten());
                return failures.is_some_and(|failures| self.rules.block(&subjects[0], &failures, self.clock.now()).is_some());
            }
        }
    }

    /// Until there is something to write.
    pub async fn waiting(&self) {
        self.waiting.notified().await;
    }

    /// Failures to write, those that wait longest first. Until they are, nobody is let through whom they count against.
    pub fn next(&self) -> Option<Writing<'_>> {
        let mut here = self.lock();
        while let Some(subject) = here.queue.pop_front() {
            if let Some(counter) = here.counters.get_mut(&subject).filter(|counter| !counter.failed.is_empty()) {
                counter.being_written = true;
                let times = counter.failed.clone();
                return Some(Writing { guessing: self, subject, times, done: false });
            }
        }
        None
    }

    /// How many failures found no room since this was last asked.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    fn open(&self, subjects: Vec<Subject>) -> Result<Attempt<'_>, Refusal> {
        let mut here = self.lock();
        if here.counters.len() + subjects.len() > self.most {
            return Err(Refusal::Busy);
        }
        for subject in &subjects {
            here.counters.entry(subject.clone()).or_default().open += 1;
        }
        Ok(Attempt { guessing: self, subjects, entered: false })
    }

    fn note(&self, here: &mut Here, subject: &Subject, at: Timestamp) {
        let Some(limit) = self.rules.limit(subject) else { return };
        let is_known = here.counters.contains_key(subject);
        if !is_known && here.counters.len() >= self.most {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let counter = here.counters.entry(subject.clone()).or_default();
        // More than that do not matter.
        if counter.failed.len() > limit {
            return;
        }
        counter.failed.push(at);
        if counter.failed.len() == 1 {
            here.queue.push_back(subject.clone());
            self.waiting.notify_one();
        }
    }

    async fn read(&self, subjects: &[Subject]) -> Result<Vec<Option<Failures>>, StoreError> {
        let keys: Vec<_> = subjects.iter().map(|subject| Key::Failures(subject.name())).collect();
        let records = self.store.read(&keys).await?;
        let decode = |(key, stored): (&Key, Option<_>)| stored.map(|stored| Failures::decode(key, &stored)).transpose();
        keys.iter().zip(records).map(decode).collect()
    }

    /// What the store knows of a subject, and what it does not know yet.
    fn with_unwritten(&self, here: &Here, subject: &Subject, stored: Option<Failures>) -> Option<Failures> {
        let unwritten = here.counters.get(subject).map_or(&[][..], |counter| &counter.failed);
        let recorded = self.rules.record(subject, stored.as_ref(), unwritten);
        recorded.map(|recorded| recorded.failures).or(stored)
    }

    fn lock(&self) -> MutexGuard<'_, Here> {
        // Whatever panicked, the counters are whole.
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Guessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guessing").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// A password that may be verified. Counts as long as it is held, as if it were going to fail; dropped, it did not fail, or
/// nobody found out.
#[must_use]
pub struct Attempt<'a> {
    guessing: &'a Guessing,
    subjects: Vec<Subject>,
    entered: bool,
}

impl Attempt<'_> {
    /// The password, or the login, was wrong.
    pub fn failed(self) {
        let now = self.guessing.clock.now();
        let mut here = self.guessing.lock();
        for subject in &self.subjects {
            self.guessing.note(&mut here, subject, now);
        }
        drop(here);
    }

    /// Lets it through, if that is borne by all that is known. `false` where something was written meanwhile, and it has to
    /// be read again.
    fn enter(&mut self, writes: &[u64], stored: &[Option<Failures>]) -> Result<bool, Refusal> {
        let guessing = self.guessing;
        let rules = &guessing.rules;
        let mut here = guessing.lock();
        if here.writes(&self.subjects).as_deref() != Some(writes) {
            return Ok(false);
        }
        let now = guessing.clock.now();
        let mut blocked_until = None;
        let mut is_busy = false;
        for (subject, stored) in self.subjects.iter().zip(stored) {
            let failures = guessing.with_unwritten(&here, subject, stored.clone());
            if let Some(block) = failures.as_ref().and_then(|failures| rules.block(subject, failures, now)) {
                blocked_until = blocked_until.max(Some(block.until));
            }
            let failed = failures.map_or(0, |failures| failures.count(rules.window_of(subject), now));
            let going_on = here.counters.get(subject).map_or(0, |counter| counter.going_on);
            is_busy |= rules.limit(subject).is_some_and(|limit| failed + going_on > limit);
        }
        if blocked_until.is_some() {
            return Err(Refusal::Blocked { until: blocked_until });
        }
        if is_busy {
            return Err(Refusal::Busy);
        }
        for subject in &self.subjects {
            if let Some(counter) = here.counters.get_mut(subject) {
                counter.going_on += 1;
            }
        }
        self.entered = true;
        Ok(true)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut here = self.guessing.lock();
        for subject in &self.subjects {
            if let Some(counter) = here.counters.get_mut(subject) {
                counter.open -= 1;
                counter.going_on -= usize::from(self.entered);
            }
            here.release(subject);
        }
    }
}

/// Failures of one subject on their way to the store. Dropped before they are there, they wait again.
#[must_use]
pub struct Writing<'a> {
    guessing: &'a Guessing,
    subject: Subject,
    times: Vec<Timestamp>,
    done: bool,
}

impl Writing<'_> {
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    #[must_use]
    pub fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// They are in the store, or nobody needs them there.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut here = self.guessing.lock();
        if let Some(counter) = here.counters.get_mut(&self.subject) {
            counter.being_written = false;
            counter.writes += 1;
            if self.done {
                // What came meanwhile came after these.
                counter.failed.drain(..self.times.len());
            }
            if !counter.failed.is_empty() {
                here.queue.push_back(self.subject.clone());
                self.guessing.waiting.notify_one();
            }
        }
        here.release(&self.subject);
        drop(here);
        self.guessing.written.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
