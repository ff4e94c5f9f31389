//! Redis 7 or Valkey, RESP3: one server, a master with sentinels, or a cluster.
//!
//! `link` holds the connections to a master up and vouches for what it was told, with `tracking`, `canary` and `sequence`;
//! `routes` knows which link leads to which partition, `asking` sends commands along them. `keys` spells the keys, `scripts`,
//! `uses` and `published` hold what runs inside Redis, `errors` is the way from the driver's errors to ours. A record is a string of JSON
//! there, an index a sorted set whose scores are all 0, so its order is that of the bytes, a trail a stream. Of a record nothing but its `version` is read.
//!
//! A user of Redis needs the commands that the README names, for keys of the prefix: `CLIENT TRACKING` and the like are in
//! `@connection`, `INFO` says which server it is and whether a master, `HMGET`, `HSETNX` and `HINCRBY` are for the sequence. In
//! a cluster it needs `EXISTS`, `CLUSTER INFO` and `CLUSTER SLOTS` as well.

mod asking;
mod canary;
mod connector;
mod errors;
mod keys;
mod link;
mod live;
mod options;
mod place;
mod published;
mod rights;
mod routes;
mod scripts;
mod sequence;
mod servers;
mod slots;
mod tracking;
mod uses;
mod wait;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

pub use self::options::{InvalidOptions, RedisOptions, WentBack};
use self::{
    asking::{Failure, Form},
    errors::{commit_error, store_error},
    keys::Keyspace,
    link::Shared,
    place::{Place, Sentinels},
    routes::Routes,
    scripts::{ChangeScripts, ENTRY_FIELD},
    servers::Servers,
};
use super::{
    Change, Coherence, CommitError, Direction, Entry, EntryId, Index, Key, Live, Memory, Order, Page, Partition, Step, Store,
    StoreError, Stored, Trail, Trouble,
    coherence::Listener,
    live::{Answer, Server},
};
use crate::domain::{
    id::ReplicaId,
    time::Timestamp,
    token::{LastUse, TokenId},
};

/// Records in Redis or Valkey.
pub struct RedisStore {
    /// Where it was said to be, without secrets.
    address: String,
    wait_replicas: u32,
    routes: Routes,
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
        let servers = Servers::parse(options.url.expose_secret()).ok_or(InvalidOptions::Url)?;
        let (coherence, listener) = (Arc::new(Coherence::unknown()), Listener::default());
        let info = servers.info().clone();
        let address = info.addr().to_string();
        let shared = Arc::new(Shared::new(options, info.clone(), keys.clone(), coherence.clone(), listener.clone()));
        let routes = match servers {
            Servers::One(info) => Routes::to_one(shared, Place::Given(info.addr().clone())),
            Servers::Sentinel(info, sentinels, service) => {
                let sentinels = Sentinels::new(sentinels, service, info, options.timeout);
                Routes::to_one(shared, Place::Asked(Arc::new(sentinels)))
            }
            Servers::Cluster(info, nodes) => Routes::to_cluster(shared, nodes, info),
        };
        Ok(Self { address, wait_replicas: options.wait_replicas, routes, keys, scripts: ChangeScripts::new(), coherence, listener })
    }

    /// A server that is not reached, under the name that it was given.
    fn away(&self, error: &StoreError) -> Server {
        Server { address: self.address.clone(), answer: Answer::Away(error.to_string()), denied: Vec::new() }
    }

    /// Asks something of the directory.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let answer = self.routes.ask_at(Partition::DIRECTORY, false, |_| command.clone()).await?;
        T::from_redis_value(answer.value).map_err(|error| store_error(&error.into()))
    }
}

#[async_trait]
impl Store for RedisStore {
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        self.listener.set(memory);
        self.coherence.clone()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        let names: Vec<_> = keys.iter().map(|key| (key.partition(), self.keys.record(key))).collect();
        let values = self.routes.values(&names).await?;
        for (key, (_, is_untold)) in keys.iter().zip(&values) {
            // What the store says of itself is not remembered, and doubting it for having read it would never end.
            if *is_untold && *key != Key::Meta {
                self.listener.changed(key);
            }
        }
        names.iter().zip(values).map(|((_, name), (value, _))| value.map(|value| stored(name, value)).transpose()).collect()
    }

    async fn page_in(&self, index: &Index, direction: Direction, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let command = range(&self.keys.index(index), direction, after, limit.saturating_add(1));
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
        let command = |form| match form {
            Form::Short => script.by_name(&self.keys, &change),
            Form::Full => script.in_full(&self.keys, &change),
        };
        let answer = self.routes.ask_at(change.partition(), change.is_to_hold(), command).await.map_err(Failure::of_change)?;
        let (condition, without_entries) =
            <(usize, String)>::from_redis_value(answer.value).map_err(|e| commit_error(&e.into()))?;
        if !without_entries.is_empty() {
            let error = without_entries;
            tracing::error!(error, "the audit trail cannot be written; a change that takes rights away goes on without it");
        }
        let Some(condition) = condition.checked_sub(1) else {
            return if answer.is_confirmed {
                Ok(())
            } else {
                let message = "Redis: the change was applied, and fewer replicas than store.wait_replicas have confirmed that";
                Err(StoreError::transient(message).with(Trouble::Unconfirmed).into())
            };
        };
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
        let mut uses: Vec<_> = uses.iter().map(|one| (Partition::of_id(one.0.as_str()), one)).collect();
        uses.sort_by_key(|(partition, _)| *partition);
        let together = uses.chunk_by(|(one, _), (other, _)| one == other);
        let notes: Vec<_> = together.map(|uses| (uses[0].0, uses::note(&self.keys, uses[0].0, uses))).collect();
        self.routes.tell_each(&notes).await
    }

    async fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        let name = |token: &TokenId| (Partition::of_id(token.as_str()), self.keys.last_use(token));
        let names: Vec<_> = tokens.iter().map(name).collect();
        let values = self.routes.values(&names).await?;
        names.iter().zip(values).map(|((_, name), (value, _))| value.map(|value| uses::read(name, &value)).transpose()).collect()
    }

    async fn by_last_use(
        &self,
        direction: Direction,
        after: Option<&(Timestamp, TokenId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError> {
        let after = after.map(|(at, token)| uses::place(*at, token));
        let question = |partition| (partition, range(&self.keys.order_of_uses(partition), direction, after.as_deref(), limit));
        let questions: Vec<_> = Partition::of_ids().map(question).collect();
        let mut places = Vec::new();
        for answer in self.routes.answers(&questions).await? {
            places.extend(Vec::<String>::from_redis_value(answer).map_err(|error| store_error(&error.into()))?);
        }
        places.sort_unstable();
        if direction == Direction::Descending {
            places.reverse();
        }
        places.truncate(limit);
        // What is no place is of nobody.
        Ok(places.iter().filter_map(|place| uses::read_place(place)).collect())
    }

    async fn forget_uses(&self, tokens: &[TokenId]) -> Result<(), StoreError> {
        let forget = |token: &TokenId| (Partition::of_id(token.as_str()), uses::forget(&self.keys, token));
        self.routes.tell_each(&tokens.iter().map(forget).collect::<Vec<_>>()).await
    }

    async fn publish(&self, replica: &ReplicaId, said: &str, keep: Duration) -> Result<(), StoreError> {
        let command = published::put(&self.keys, replica, said, keep);
        self.routes.tell_each(&[(Partition::DIRECTORY, command)]).await
    }

    async fn published(&self) -> Result<Vec<(ReplicaId, String)>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys.published()).arg("-").arg("+").arg("BYLEX");
        let ids: Vec<String> = self.ask(&command).await?;
        let ids: Vec<ReplicaId> = ids.iter().filter_map(|id| ReplicaId::parse(id)).collect();
        let names: Vec<_> = ids.iter().map(|id| (Partition::DIRECTORY, self.keys.published_by(id))).collect();
        let values = self.routes.values(&names).await?;
        let said = |(id, (value, _)): (ReplicaId, (Option<Vec<u8>>, bool))| Some((id, String::from_utf8(value?).ok()?));
        Ok(ids.into_iter().zip(values).filter_map(said).collect())
    }

    /// Redis does it by itself.
    async fn forget_expired(&self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn live(&self) -> Live {
        let mut servers = Vec::new();
        let (rights, names) = rights::question(&self.keys, self.routes.is_cluster());
        match self.routes.table().await {
            Ok(table) => {
                for link in table.links() {
                    servers.push(match link.connection().await {
                        Ok(connection) => {
                            let answer = live::answer(connection.ask(&live::question()).await);
                            let denied = rights::denied(connection.ask(&rights).await, &names);
                            Server { address: connection.address().to_string(), answer, denied }
                        }
                        Err(error) => self.away(&error),
                    });
                }
            }
            Err(error) => servers.push(self.away(&error)),
        }
        Live { kind: "redis", wait_replicas: self.wait_replicas, servers }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        for link in self.routes.table().await?.links() {
            let _pong: String = link.connection().await?.ask(&redis::cmd("PING")).await.map_err(|error| store_error(&error))?;
        }
        Ok(())
    }
}

/// Members of a sorted set without scores.
fn range(key: &str, direction: Direction, after: Option<&str>, limit: usize) -> Cmd {
    let (from, to) = match direction {
        Direction::Ascending => ("-", "+"),
        Direction::Descending => ("+", "-"),
    };
    let from = after.map_or_else(|| from.to_owned(), |after| format!("({after}"));
    let mut command = redis::cmd("ZRANGE");
    command.arg(key).arg(from).arg(to).arg("BYLEX");
    if direction == Direction::Descending {
        command.arg("REV");
    }
    command.arg("LIMIT").arg(0).arg(i64::try_from(limit).unwrap_or(i64::MAX));
    command
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
