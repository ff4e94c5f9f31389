//! How a link knows that it has been told everything: it writes a key never used before, and waits until it is told of it.
//!
//! What Redis tells comes in order, so whatever was acknowledged before a canary was *sent* has been handled when it comes
//! back. A reply to a question would prove less: it may overtake what is told, and a master that was cut off answers
//! questions and refuses only writes.

use std::time::Duration;

use redis::{
    ErrorKind, Pipeline, RedisError, RedisResult,
    ServerErrorKind::{self, Ask, Moved},
    Value,
    aio::MultiplexedConnection,
};
use tokio::sync::watch;

use super::{
    keys::Keyspace,
    sequence::{Sequence, Sequences},
    slots::Slots,
    wait::Wait,
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
    /// Of a node of a cluster.
    slots: Option<watch::Receiver<Slots>>,
    /// The hash tag of the next one.
    tag: u32,
    /// The partitions whose slots are on the move to another node.
    moving: Vec<Partition>,
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
    in_cluster: bool,
    wait: Wait,
}

/// What it has learnt.
pub(super) struct Findings {
    /// What had been seen of each partition, and what is there now.
    pub(super) sequences: Vec<(Partition, Option<Sequence>, Option<Sequence>)>,
    /// Those that are here, and on the move.
    moving: Vec<Partition>,
    /// The slot in which it should have been written is not here, or moves away.
    pub(super) is_elsewhere: bool,
}

impl Canaries {
    pub(super) fn new(name: String, ttl: Duration, slots: Option<watch::Receiver<Slots>>) -> Self {
        let tag = slots.as_ref().and_then(|slots| slots.borrow().tag(0)).unwrap_or_default();
        Self { name, count: 0, ttl, slots, tag, moving: Vec::new(), out: None }
    }

    /// Whether one has not come back yet.
    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// The next one. It is sent from now on.
    ///
    /// It comes after the questions whether this node still has the partitions: whatever was acknowledged before it was sent
    /// was acknowledged here, then. In a cluster they are about keys that there are not, since only those show that a slot
    /// moves.
    pub(super) fn send(&mut self, keys: &Keyspace, partitions: &[Partition], sequences: &Sequences, wait: Wait) -> Errand {
        self.count += 1;
        let key = keys.canary(self.tag, format_args!("{}:{}", self.name, self.count));
        let in_cluster = self.slots.is_some();
        let before: Vec<_> = partitions.iter().map(|&partition| (partition, sequences.seen(partition))).collect();
        let mut commands = Pipeline::new();
        commands.ignore_errors();
        for (partition, _) in &before {
            if in_cluster {
                commands.cmd("EXISTS").arg(keys.never(*partition));
            }
            commands.add_command(Sequence::question(&keys.sequence(*partition)));
        }
        commands.cmd("EVAL").arg(WRITE).arg(1).arg(&key).arg(u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX));
        wait.add_to(&mut commands);
        self.out = Some(Outstanding { key, sent_at: BootTime::now(), told: false, answered: false });
        Errand { commands, before, in_cluster, wait }
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

    /// The next one is written to another slot.
    pub(super) fn take_another_tag(&mut self) {
        self.out = None;
        let next = |from| self.slots.as_ref().and_then(|slots| slots.borrow().tag(from));
        self.tag = next(self.tag + 1).or_else(|| next(0)).unwrap_or_default();
    }

    /// Those of the partitions that are on the move now and were not before. What was found not to be there may from now on
    /// be made elsewhere, without a word here.
    pub(super) fn begun_to_move(&mut self, findings: &Findings) -> Vec<Partition> {
        let new = findings.moving.iter().filter(|partition| !self.moving.contains(partition)).copied().collect();
        self.moving.clone_from(&findings.moving);
        new
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
        let mut findings = Findings { sequences: Vec::with_capacity(self.before.len()), moving: Vec::new(), is_elsewhere: false };
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
        for (partition, before) in self.before {
            if self.in_cluster {
                match next() {
                    Err(error) if is(&error, Ask) => findings.moving.push(partition),
                    other => drop(other?),
                }
            }
            match next().and_then(Sequence::read) {
                Err(error) if is(&error, Ask) => {}
                now => findings.sequences.push((partition, before, now?)),
            }
        }
        match next() {
            Err(error) if self.in_cluster && (is(&error, Ask) || is(&error, Moved)) => findings.is_elsewhere = true,
            other => drop(other?),
        }
        if self.wait.confirms(Some(next())) {
            Ok(findings)
        } else {
            Err(redis::make_extension_error(
                "NOREPLICAS".to_owned(),
                Some("fewer than store.wait_replicas confirm a write".to_owned()),
            ))
        }
    }
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}
