//! Redis 7 or Valkey, one server, RESP3.
//!
//! Owns the connection; `keys` spells the keys, `scripts` and `uses` hold what runs inside Redis, `errors` is the way
//! from the driver's errors to ours. A record is a string of JSON there, an index a sorted set whose scores are all 0,
//! so its order is that of the bytes, a trail a stream. Of a record nothing but its `version` is read.

mod errors;
mod keys;
mod live;
mod scripts;
mod uses;

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo as _, Pipeline, ProtocolVersion, RedisError, RedisResult,
    ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::runtime::Handle;

use self::{
    errors::{commit_error, needs_another, store_error},
    keys::Keyspace,
    scripts::{ChangeScripts, ENTRY_FIELD},
};
use super::{
    Change, Coherence, CommitError, Entry, EntryId, Index, Key, Live, Memory, Order, Page, Step, Store, StoreError, Stored, Trail,
    live::Server,
};
use crate::domain::{
    time::Timestamp,
    token::{LastUse, TokenId},
};

/// Where Redis is and how long to wait for it.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS with the system's certificate
    /// authorities, `redis+unix:///path`.
    pub url: SecretString,
    /// What every key begins with, `kg:` unless there is a reason.
    pub prefix: String,
    /// How long to wait for a connection, and how long for each answer. A read takes at most
    /// twice this; a commit whose script the server has forgotten, one answer more.
    pub timeout: Duration,
}

/// Why there can be no store with such options. Says nothing of the password in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    #[error("the URL of Redis is not of the form redis://, rediss:// or redis+unix://")]
    Url,
    #[error("a key prefix has no braces, white space or control characters")]
    Prefix,
    #[error("{0}")]
    Driver(String),
}

/// Records in one Redis or Valkey server.
pub struct RedisStore {
    connector: Connector,
    /// Reconnects by itself when a connection breaks; see [`needs_another`] for when it does not.
    manager: ArcSwap<ConnectionManager>,
    keys: Keyspace,
    scripts: ChangeScripts,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.connector.client.get_connection_info().addr().to_string();
        f.debug_struct("RedisStore").field("address", &address).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects when it is first asked something, so Redis may be away now. The connection lives in the runtime
    /// in which this is called, whichever runtime's task asks first, and must not outlive it.
    ///
    /// # Errors
    /// When the options can never work.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(options: &RedisOptions) -> Result<Self, InvalidOptions> {
        let keys = Keyspace::new(&options.prefix).ok_or(InvalidOptions::Prefix)?;
        let connector = Connector::new(options)?;
        let manager = connector.manager().map_err(|error| InvalidOptions::Driver(error.to_string()))?;
        Ok(Self { connector, manager: ArcSwap::from_pointee(manager), keys, scripts: ChangeScripts::new() })
    }

    /// Sends a command once. Neither this nor the driver sends it again.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let manager = self.manager.load_full();
        let mut connection = ConnectionManager::clone(&manager);
        let answer = self.connector.in_runtime(command.query_async(&mut connection)).await;
        self.replace_where_needed(&manager, answer.as_ref().err());
        answer
    }

    /// Sends several commands in one round trip. They succeed and fail one by one; the error is that of the first to fail.
    async fn ask_all(&self, mut commands: Pipeline) -> Result<(), RedisError> {
        // The driver's own error for several is a list of all of them, and has lost their codes.
        commands.ignore_errors();
        let manager = self.manager.load_full();
        let mut connection = ConnectionManager::clone(&manager);
        let answers: Result<Vec<RedisResult<()>>, _> = self.connector.in_runtime(commands.query_async(&mut connection)).await;
        let answer = answers.and_then(|answers| answers.into_iter().collect());
        self.replace_where_needed(&manager, answer.as_ref().err());
        answer
    }

    fn replace_where_needed(&self, manager: &Arc<ConnectionManager>, error: Option<&RedisError>) {
        if error.is_some_and(needs_another)
            && let Ok(fresh) = self.connector.manager()
        {
            // Only one of the callers that failed together replaces it.
            self.manager.compare_and_swap(manager, Arc::new(fresh));
        }
    }

    async fn values(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(keys);
        let values: Vec<Option<Vec<u8>>> = self.ask(&command).await.map_err(|error| store_error(&error))?;
        if values.len() == keys.len() {
            Ok(values)
        } else {
            Err(StoreError::permanent("Redis answered for another number of keys than it was asked for"))
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    /// Until changes are pushed: nothing is remembered for longer than a moment.
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        let coherence = Arc::new(Coherence::unknown());
        let (told, manager) = (coherence.clone(), self.manager.load_full());
        self.connector.runtime.spawn(async move {
            let partitions: Vec<_> = super::Partition::all().collect();
            loop {
                let now = crate::clock::BootTime::now();
                let mut connection = ConnectionManager::clone(&manager);
                if redis::cmd("PING").query_async::<()>(&mut connection).await.is_ok() {
                    memory.lost(&partitions);
                    for partition in &partitions {
                        told.verify(*partition, now);
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        coherence
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
        let mut members: Vec<String> = self.ask(&command).await.map_err(|error| store_error(&error))?;
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
        let mut answer: Result<(usize, String), RedisError> = self.ask(&script.by_name(&self.keys, &change)).await;
        if matches!(&answer, Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)) {
            // Redis has restarted or was told to forget its scripts. It says so instead of running one, so this
            // is still the first time that the change is tried.
            answer = self.ask(&script.in_full(&self.keys, &change)).await;
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
        let _id: String = self.ask(&command).await.map_err(|error| store_error(&error))?;
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
        let entries: Vec<(String, Vec<String>)> = self.ask(&command).await.map_err(|error| store_error(&error))?;
        let read = |(id, fields): (String, Vec<String>)| match (EntryId::parse(&id), <[String; 2]>::try_from(fields)) {
            (Some(id), Ok([field, json])) if field == ENTRY_FIELD => Ok((id, json)),
            _ => Err(StoreError::permanent(format!("the entry {id} of {key} in Redis is none that was written there"))),
        };
        entries.into_iter().map(read).collect()
    }

    async fn forget_entries(&self, trail: Trail, time: Timestamp) -> Result<(), StoreError> {
        let mut command = redis::cmd("XTRIM");
        command.arg(self.keys.trail(trail)).arg("MINID").arg(time.as_millis().max(0));
        let _gone: u64 = self.ask(&command).await.map_err(|error| store_error(&error))?;
        Ok(())
    }

    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        self.ask_all(uses::note(&self.keys, uses)).await.map_err(|error| store_error(&error))
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
        let _gone: u64 = self.ask(&command).await.map_err(|error| store_error(&error))?;
        Ok(())
    }

    /// Redis does it by itself.
    async fn forget_expired(&self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn live(&self) -> Live {
        let answer = live::answer(self.ask(&live::question()).await);
        let address = self.connector.client.get_connection_info().addr().to_string();
        Live { kind: "redis", wait_replicas: 0, servers: vec![Server { address, answer }] }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ask(&redis::cmd("PING")).await.map_err(|error| store_error(&error))
    }
}

/// Makes connections, all in one runtime.
struct Connector {
    client: Client,
    config: ConnectionManagerConfig,
    runtime: Handle,
}

impl Connector {
    fn new(options: &RedisOptions) -> Result<Self, InvalidOptions> {
        // The driver's own words may repeat the URL.
        let info = options.url.expose_secret().into_connection_info().map_err(|_| InvalidOptions::Url)?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(redis).set_tcp_settings(tcp_settings(options.timeout));
        let client = Client::open(info).map_err(|_| InvalidOptions::Url)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.timeout))
            .set_response_timeout(Some(options.timeout))
            // A check must fail fast while Redis is away. The next one tries to connect again.
            .set_number_of_retries(0)
            // The driver's 50 would make checks wait for each other before they are even sent.
            .set_pipeline_buffer_size(1024);
        Ok(Self { client, config, runtime: Handle::current() })
    }

    fn manager(&self) -> Result<ConnectionManager, RedisError> {
        let _inside = self.runtime.enter();
        ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())
    }

    /// Polls `future` as if it ran in our runtime. The driver ties sockets, timers and its background task to
    /// the runtime of whoever happens to need the connection first; an HTTP worker has a runtime of its own,
    /// and everybody's connection would end with that worker.
    async fn in_runtime<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            let _inside = self.runtime.enter();
            future.as_mut().poll(context)
        })
        .await
    }
}

fn tcp_settings(timeout: Duration) -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    // Without it a connection whose other end has vanished without a word stays "open" for a quarter of an
    // hour, and every call on it times out.
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout((timeout * 10).max(Duration::from_secs(1)));
    #[cfg(not(target_os = "linux"))]
    let _ = timeout;
    settings
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
