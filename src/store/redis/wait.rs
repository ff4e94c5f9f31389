//! What replicas have to confirm (`WAIT`).
//!
//! `WAIT` speaks of what its own connection has written; as the first command of a connection it would confirm nothing, and
//! say yes. So it always comes with the write, in one pipeline.

use std::time::Duration;

use redis::{Cmd, FromRedisValue as _, Pipeline, RedisResult, Value};

/// How many replicas, and how long they have.
#[derive(Clone, Copy, Default)]
pub(super) struct Wait {
    replicas: u32,
    millis: u64,
}

impl Wait {
    /// Done before `timeout`, so that what they have not confirmed is an answer, and not none; also where a canary is waiting
    /// just before, on the same connection.
    pub(super) fn new(replicas: u32, timeout: Duration) -> Self {
        Self { replicas, millis: u64::try_from(timeout.as_millis() * 3 / 8).unwrap_or(u64::MAX).max(1) }
    }

    /// Asks for nothing where no replicas are asked for.
    pub(super) fn add_to(self, commands: &mut Pipeline) {
        if self.replicas > 0 {
            commands.cmd("WAIT").arg(self.replicas).arg(self.millis);
        }
    }

    pub(super) fn after(self, write: Cmd) -> Pipeline {
        let mut commands = Pipeline::new();
        commands.ignore_errors().add_command(write);
        self.add_to(&mut commands);
        commands
    }

    /// The answer to the write, and whether it is confirmed.
    pub(super) fn read(self, answers: Vec<RedisResult<Value>>) -> (RedisResult<Value>, bool) {
        let mut answers = answers.into_iter();
        let write = answers.next().unwrap_or(Ok(Value::Nil));
        (write, self.confirms(answers.next()))
    }

    pub(super) fn confirms(self, answer: Option<RedisResult<Value>>) -> bool {
        let replicas = answer.and_then(Result::ok).and_then(|answer| u32::from_redis_value(answer).ok());
        replicas.unwrap_or_default() >= self.replicas
    }
}
