//! Sends commands to where they belong, and again where a cluster says that this was not the place. A command that may have
//! been carried out is never sent again.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use redis::{
    Cmd, ConnectionAddr, ErrorKind, FromRedisValue as _, Pipeline, RedisError, RedisResult,
    ServerErrorKind::{Ask, Moved, NoScript, TryAgain},
    Value,
};
use tokio::time::{Instant, sleep};

use super::{
    errors::{commit_error, store_error},
    link::Link,
    routes::Routes,
};
use crate::store::{Partition, StoreError};

/// From one try to the next, while a slot is on the move.
const PAUSE: Duration = Duration::from_millis(10);

/// Why there is no answer.
pub(super) enum Failure {
    /// Nothing was done.
    Unsent(StoreError),
    Sent(RedisError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Unsent(error)
    }
}

impl Failure {
    pub(super) fn of_change(self) -> StoreError {
        match self {
            Self::Unsent(error) => error,
            Self::Sent(error) => commit_error(&error),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent(error) => error,
            Failure::Sent(error) => store_error(&error),
        }
    }
}

pub(super) struct Answer {
    pub(super) value: Value,
    /// As many replicas have what was written as are asked for.
    pub(super) is_confirmed: bool,
    /// It comes from a node that does not tell us when it changes.
    pub(super) is_untold: bool,
}

/// How a command is to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A script by its name.
    Short,
    /// For a server that does not know it.
    Full,
}

impl Routes {
    /// One command about one partition, which takes rights away or does not.
    pub(super) async fn ask_at(
        &self,
        partition: Partition,
        must_hold: bool,
        command: impl Fn(Form) -> Cmd,
    ) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.timeout();
        let mut form = Form::Short;
        let mut table = self.table().await?;
        loop {
            let connection = table.link(partition)?.connection().await?;
            let answer = if must_hold {
                connection.take_away(command(form)).await
            } else {
                connection.ask(&command(form)).await.map(|value| (value, true))
            };
            let error = match answer {
                Ok((value, is_confirmed)) => return Ok(Answer { value, is_confirmed, is_untold: false }),
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Server(NoScript) && form == Form::Short {
                // Redis has restarted or was told to forget its scripts. It says so instead of running one.
                form = Form::Full;
                continue;
            }
            if !self.is_elsewhere(&error) {
                return Err(Failure::Sent(error));
            }
            if Instant::now() > deadline {
                return Err(StoreError::transient(format!("Redis: {error}; nothing was done")).into());
            }
            match error.kind() {
                ErrorKind::Server(Moved) => table = self.after(&table).await?,
                ErrorKind::Server(Ask) => {
                    match self.ask_there(&error, connection.address(), must_hold, command(Form::Full)).await {
                        Err(Failure::Sent(error)) if self.is_elsewhere(&error) => sleep(PAUSE).await,
                        answer => return answer,
                    }
                }
                _ => sleep(PAUSE).await,
            }
        }
    }

    async fn ask_there(
        &self,
        error: &RedisError,
        asked: &ConnectionAddr,
        must_hold: bool,
        command: Cmd,
    ) -> Result<Answer, Failure> {
        let wait = self.wait(must_hold);
        let answers = self.visit(error, asked, wait.after(command)).await.map_err(Failure::Sent)?;
        let (value, is_confirmed) = wait.read(answers);
        Ok(Answer { value: value.map_err(Failure::Sent)?, is_confirmed, is_untold: true })
    }

    /// Several commands, each about one partition, in one round trip. They succeed and fail one by one.
    async fn ask_each(&self, commands: &[(Partition, Cmd)]) -> Result<Vec<RedisResult<Value>>, StoreError> {
        let table = self.table().await?;
        let mut groups: Vec<(&Arc<Link>, Vec<usize>)> = Vec::new();
        for (number, (partition, _)) in commands.iter().enumerate() {
            let link = table.link(*partition)?;
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, link)) {
                Some((_, numbers)) => numbers.push(number),
                None => groups.push((link, vec![number])),
            }
        }
        let questions = groups.into_iter().map(async |(link, numbers)| {
            let mut pipeline = Pipeline::with_capacity(numbers.len());
            for &number in &numbers {
                pipeline.add_command(commands[number].1.clone());
            }
            let answers = link.connection().await?.ask_all(pipeline).await.map_err(|error| store_error(&error))?;
            Ok::<_, StoreError>(numbers.into_iter().zip(answers).collect::<Vec<_>>())
        });
        let mut answers: Vec<_> = try_join_all(questions).await?.into_iter().flatten().collect();
        answers.sort_by_key(|(number, _)| *number);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Several commands for their answers.
    pub(super) async fn answers(&self, commands: &[(Partition, Cmd)]) -> Result<Vec<Value>, StoreError> {
        let mut values = Vec::with_capacity(commands.len());
        for (answer, (partition, command)) in self.ask_each(commands).await?.into_iter().zip(commands) {
            values.push(match answer {
                Err(error) if self.is_elsewhere(&error) => self.ask_at(*partition, false, |_| command.clone()).await?.value,
                answer => answer.map_err(|error| store_error(&error))?,
            });
        }
        Ok(values)
    }

    /// Several commands for their effect.
    pub(super) async fn tell_each(&self, commands: &[(Partition, Cmd)]) -> Result<(), StoreError> {
        self.answers(commands).await.map(drop)
    }

    /// The strings under keys, in their order, and whether each came without our being told of its changes.
    pub(super) async fn values(&self, keys: &[(Partition, String)]) -> Result<Vec<(Option<Vec<u8>>, bool)>, StoreError> {
        let mut partitions: Vec<Partition> = keys.iter().map(|(partition, _)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let of = |partition| keys.iter().enumerate().filter(move |(_, (lies, _))| *lies == partition);
        let questions: Vec<_> = partitions
            .iter()
            .map(|&partition| {
                let mut question = redis::cmd("MGET");
                for (_, (_, key)) in of(partition) {
                    question.arg(key);
                }
                (partition, question)
            })
            .collect();
        let mut values = vec![None; keys.len()];
        for (answer, &partition) in self.ask_each(&questions).await?.into_iter().zip(&partitions) {
            match answer.and_then(|values| Ok(Vec::<Option<Vec<u8>>>::from_redis_value(values)?)) {
                Ok(found) => {
                    for ((number, _), value) in of(partition).zip(found) {
                        values[number] = Some((value, false));
                    }
                }
                // What is on the move cannot be asked for together.
                Err(error) if self.is_elsewhere(&error) => {
                    for (number, (_, key)) in of(partition) {
                        let get = |_| redis::cmd("GET").arg(key).take();
                        let answer = self.ask_at(partition, false, get).await?;
                        let value = Option::from_redis_value(answer.value).map_err(|error| store_error(&error.into()))?;
                        values[number] = Some((value, answer.is_untold));
                    }
                }
                Err(error) => return Err(store_error(&error)),
            }
        }
        values
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::permanent("Redis answered for another number of keys than it was asked for"))
    }

    /// Whether this was not the place, and nothing was done.
    fn is_elsewhere(&self, error: &RedisError) -> bool {
        self.is_cluster() && matches!(error.kind(), ErrorKind::Server(Moved | Ask | TryAgain))
    }
}
