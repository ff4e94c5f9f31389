//! Redis 7 or Valkey, one server, RESP3.
//!
//! `link` holds the connections up and vouches for what it was told, with `tracking`, `canary` and `sequence`; `keys` spells
//! the keys, `scripts` and `uses` hold what runs inside Redis, `errors` is the way from the driver's errors to ours. A record
//! is a string of JSON there, an index a sorted set whose scores are all 0, so its order is that of the bytes, a trail a
//! stream. Of a record nothing but its `version` is read.
//!
//! A user of Redis needs the commands that the README names, for keys of the prefix: `CLIENT TRACKING` and the like are in
//! `@connection`, `INFO` says which server it is and whether a master, `HMGET`, `HSETNX` and `HINCRBY` are for the sequence.

mod canary;
mod connector;
mod errors;
mod keys;
mod link;
mod live;
mod options;
mod scripts;
mod sequence;
mod tracking;
mod uses;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use redis::{Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo as _, RedisError, ServerErrorKind};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

pub use self::options::{InvalidOptions, RedisOptions, WentBack};
use self::{
    errors::{commit_error, store_error},
    keys::Keyspace,
    link::{Link, Shared},
    scripts::{ChangeScripts, ENTRY_FIELD},
};
use super::{
    Change, Coherence, CommitError, Entry, EntryId, Index, Key, Live, Memory, Order, Page, Partition, Step, Store, StoreError,
    Stored, Trail,
    coherence::Listener,
    live::{Answer, Server},
};
use crate::domain::{
    time::Timestamp,
    token::{LastUse, TokenId},
};

/// Records in Redis or Valkey.
pub struct RedisStore {
    address: String,
    wait_replicas: u32,
    link: Link,
    keys: Keyspace,
    scripts: ChangeScripts,
    coherence: Arc<Coherence>,
    listener: Listener,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("address", &self.address).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Redis may be away now: connections are made, and made again, by tasks of the runtime in which this is called. They
    /// end with the store.
    ///
    /// # Errors
    /// When the options can never work.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(options: &RedisOptions) -> Result<Self, InvalidOptions> {
        let keys = Keyspace::new(&options.prefix).ok_or(InvalidOptions::Prefix)?;
        // The driver's own words may repeat the URL.
        let info = options.url.expose_secret().into_connection_info().map_err(|_| InvalidOptions::Url)?;
        let address = info.addr().clone();
        let (coherence, listener) = (Arc::new(Coherence::unknown()), Listener::default());
        let shared = Shared::new(options, info, keys.clone(), coherence.clone(), listener.clone());
        let link = Link::start(Arc::new(shared), address.clone(), Partition::all().collect());
        Ok(Self {
            address: address.to_string(),
            wait_replicas: options.wait_replicas,
            link,
            keys,
            scripts: ChangeScripts::new(),
            coherence,
            listener,
        })
    }

    /// Sends a command once.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.link.connection().await?.ask(command).await.map_err(|error| store_error(&error))
    }

    async fn values(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(keys);
        let values: Vec<Option<Vec<u8>>> = self.ask(&command).await?;
        if values.len() == keys.len() {
            Ok(values)
        } else {
            Err(StoreError::permanent("Redis answered for another number of keys than it was asked for"))
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        self.listener.set(memory);
        self.coherence.clone()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        let keys: Vec<String> = keys.iter().map(|key| self.keys.record(key)).collect();
        let values = self.values(&keys).await?;
        keys.iter().zip(values).map(|(key, value)| value.map(|value| stored(key, value)).transpose()).collect()
    }

    async fn page(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let first = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let one_more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys.index(index)).arg(first).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(one_more);
        let mut members: Vec<String> = self.ask(&command).await?;
        let more = members.len() > limit;
        members.truncate(limit);
        Ok(Page { members, more })
    }

    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        change.check_family()?;
        for step in &change.steps {
            if let Step::Put(_, stored) | Step::PutUntil(_, stored, _) = step {
                stored.check_version()?;
            }
        }
        let script = self.scripts.of(&change);
        let connection = self.link.connection().await?;
        let mut answer: Result<(usize, String), RedisError> = connection.ask(&script.by_name(&self.keys, &change)).await;
        if matches!(&answer, Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)) {
            // Redis has restarted or was told to forget its scripts. It says so instead of running one, so this
            // is still the first time that the change is tried.
            answer = connection.ask(&script.in_full(&self.keys, &change)).await;
        }
        let (condition, without_entries) = answer.map_err(|error| commit_error(&error))?;
        if !without_entries.is_empty() {
            let error = without_entries;
            tracing::error!(error, "the audit trail cannot be written; a change that takes rights away goes on without it");
        }
        let Some(condition) = condition.checked_sub(1) else { return Ok(()) };
        let Change { mut expect, mut counts, .. } = change;
        if condition < expect.len() {
            return Err(CommitError::Conflict(expect.swap_remove(condition).0));
        }
        let count = condition - expect.len();
        if count < counts.len() {
            return Err(CommitError::Miscounted(counts.swap_remove(count).0));
        }
        Err(StoreError::permanent("the script in Redis named a condition that there is not").into())
    }

    async fn append(&self, trail: Trail, entry: Entry, at_most: u64) -> Result<(), StoreError> {
        let mut command = redis::cmd("XADD");
        // `~` leaves some more than that, because Redis then lets go of whole blocks only, which costs next to nothing.
        command.arg(self.keys.trail(trail)).arg("MAXLEN").arg("~").arg(at_most).arg("*").arg(ENTRY_FIELD).arg(entry.json);
        let _id: String = self.ask(&command).await?;
        Ok(())
    }

    async fn entries(
        &self,
        trail: Trail,
        past: Option<EntryId>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        let (name, from, to, end) = match order {
            Order::OldestFirst => ("XRANGE", "-", "+", EntryId { millis: u64::MAX, count: u64::MAX }),
            Order::NewestFirst => ("XREVRANGE", "+", "-", EntryId { millis: 0, count: 0 }),
        };
        // There is nothing past the last id there can be; Redis calls the question an error.
        if past == Some(end) {
            return Ok(Vec::new());
        }
        let from = past.map_or_else(|| from.to_owned(), |past| format!("({past}"));
        let key = self.keys.trail(trail);
        let mut command = redis::cmd(name);
        command.arg(&key).arg(from).arg(to).arg("COUNT").arg(i64::try_from(limit).unwrap_or(i64::MAX));
        let entries: Vec<(String, Vec<String>)> = self.ask(&command).await?;
        let read = |(id, fields): (String, Vec<String>)| match (EntryId::parse(&id), <[String; 2]>::try_from(fields)) {
            (Some(id), Ok([field, json])) if field == ENTRY_FIELD => Ok((id, json)),
            _ => Err(StoreError::permanent(format!("the entry {id} of {key} in Redis is none that was written there"))),
        };
        entries.into_iter().map(read).collect()
    }

    async fn forget_entries(&self, trail: Trail, time: Timestamp) -> Result<(), StoreError> {
        let mut command = redis::cmd("XTRIM");
        command.arg(self.keys.trail(trail)).arg("MINID").arg(time.as_millis().max(0));
        let _gone: u64 = self.ask(&command).await?;
        Ok(())
    }

    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let answers = self.link.connection().await?.ask_all(uses::note(&self.keys, uses)).await;
        let first_error = answers.and_then(|answers| answers.into_iter().try_for_each(|answer| answer.map(drop)));
        first_error.map_err(|error| store_error(&error))
    }

    async fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        let keys: Vec<String> = tokens.iter().map(|token| self.keys.last_use(token)).collect();
        let values = self.values(&keys).await?;
        keys.iter().zip(values).map(|(key, value)| value.map(|value| uses::read(key, &value)).transpose()).collect()
    }

    async fn forget_uses(&self, tokens: &[TokenId]) -> Result<(), StoreError> {
        if tokens.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("DEL");
        for token in tokens {
            command.arg(self.keys.last_use(token));
        }
        let _gone: u64 = self.ask(&command).await?;
        Ok(())
    }

    /// Redis does it by itself.
    async fn forget_expired(&self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn live(&self) -> Live {
        let answer = match self.link.connection().await {
            Ok(connection) => live::answer(connection.ask(&live::question()).await),
            Err(error) => Answer::Away(error.to_string()),
        };
        Live { kind: "redis", wait_replicas: self.wait_replicas, servers: vec![Server { address: self.address.clone(), answer }] }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ask(&redis::cmd("PING")).await
    }
}

fn stored(key: &str, json: Vec<u8>) -> Result<Stored, StoreError> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let damaged = |error: &dyn fmt::Display| StoreError::permanent(format!("{key} in Redis is damaged: {error}"));
    let json = String::from_utf8(json).map_err(|error| damaged(&error))?;
    let Version { version } = serde_json::from_str(&json).map_err(|error| damaged(&format_args!("it has no version: {error}")))?;
    Ok(Stored { version, json })
}
