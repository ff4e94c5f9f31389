//! How a link knows that it has been told everything: it writes a key never used before, and waits until it is told of it.
//!
//! What Redis tells comes in order, so whatever was acknowledged before a canary was *sent* has been handled when it comes
//! back. A reply to a question would prove less: it may overtake what is told, and a master that was cut off answers
//! questions and refuses only writes.

use std::time::Duration;

use redis::{Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};

use super::{
    keys::Keyspace,
    sequence::{Sequence, Sequences},
};
use crate::{clock::BootTime, store::Partition};

/// Redis runs it also where its memory is full: rights are taken away there too. Not where it may not write.
///
/// ```text
/// KEYS[1]  the canary
/// ARGV[1]  after how many milliseconds it is forgotten
/// ```
const WRITE: &str = "#!lua flags=allow-oom
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
";

/// The canaries of one tracking connection, one at a time.
pub(super) struct Canaries {
    /// Of the connection; never comes twice, since the server's run id does not.
    name: String,
    count: u64,
    ttl: Duration,
    out: Option<Outstanding>,
}

struct Outstanding {
    key: String,
    sent_at: BootTime,
    /// What of it has come.
    told: bool,
    answered: bool,
}

/// What a canary asks on its way.
pub(super) struct Errand {
    commands: Pipeline,
    /// The partitions it asks about, and what had been seen of them when it was sent.
    before: Vec<(Partition, Option<Sequence>)>,
}

/// What it has learnt.
pub(super) struct Findings {
    /// What had been seen of each partition, and what is there now.
    pub(super) sequences: Vec<(Partition, Option<Sequence>, Option<Sequence>)>,
}

impl Canaries {
    pub(super) fn new(name: String, ttl: Duration) -> Self {
        Self { name, count: 0, ttl, out: None }
    }

    /// Whether one has not come back yet.
    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// The next one. It is sent from now on.
    pub(super) fn send(&mut self, keys: &Keyspace, partitions: &[Partition], sequences: &Sequences) -> Errand {
        self.count += 1;
        let key = keys.canary(0, format_args!("{}:{}", self.name, self.count));
        let before: Vec<_> = partitions.iter().map(|&partition| (partition, sequences.seen(partition))).collect();
        let mut commands = Pipeline::new();
        commands.ignore_errors();
        for (partition, _) in &before {
            commands.cmd("HMGET").arg(keys.sequence(*partition)).arg("id").arg("n");
        }
        commands.cmd("EVAL").arg(WRITE).arg(1).arg(&key).arg(u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX));
        self.out = Some(Outstanding { key, sent_at: BootTime::now(), told: false, answered: false });
        Errand { commands, before }
    }

    /// Redis has told of this key.
    pub(super) fn told(&mut self, key: &[u8]) {
        if let Some(out) = self.out.as_mut().filter(|out| out.key.as_bytes() == key) {
            out.told = true;
        }
    }

    /// What it asked has been answered, and the answer is good.
    pub(super) fn answered(&mut self) {
        if let Some(out) = &mut self.out {
            out.answered = true;
        }
    }

    /// Redis did not take it.
    pub(super) fn refused(&mut self) {
        self.out = None;
    }

    /// When the one was sent that has come back whole, once.
    pub(super) fn come_back(&mut self) -> Option<BootTime> {
        self.out.take_if(|out| out.told && out.answered).map(|out| out.sent_at)
    }
}

impl Errand {
    /// # Errors
    /// What Redis said instead of taking it.
    pub(super) async fn run(self, mut connection: MultiplexedConnection) -> Result<Findings, RedisError> {
        let answers: Vec<RedisResult<Value>> = self.commands.query_async(&mut connection).await?;
        let mut sequences = Vec::with_capacity(self.before.len());
        let mut answers = answers.into_iter();
        for ((partition, before), answer) in self.before.into_iter().zip(answers.by_ref()) {
            let now = answer.and_then(Sequence::read)?;
            sequences.push((partition, before, now));
        }
        answers.try_for_each(|answer| answer.map(drop))?;
        Ok(Findings { sequences })
    }
}
