//! Redis 7 or Valkey, one server, RESP3.
//!
//! Owns the connection, and the way from the driver's errors to ours; `keys` spells the keys, `scripts` holds
//! what runs inside Redis. A record is a string of JSON there, an index a sorted set whose scores are all 0,
//! so its order is that of the bytes. Of a record nothing but its `version` is read.

mod keys;
mod scripts;

use std::{error::Error, fmt, io, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo as _, ProtocolVersion, RedisError, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::runtime::Handle;

use self::{keys::Keyspace, scripts::ChangeScript};
use super::{Change, CommitError, Entry, EntryId, Index, Key, Order, Page, Step, Store, StoreError, Stored, Trail};
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
    script: ChangeScript,
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
        Ok(Self { connector, manager: ArcSwap::from_pointee(manager), keys, script: ChangeScript::new() })
    }

    /// Sends a command once. Neither this nor the driver sends it again.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let manager = self.manager.load_full();
        let mut connection = ConnectionManager::clone(&manager);
        let answer = self.connector.in_runtime(command.query_async(&mut connection)).await;
        if let Err(error) = &answer
            && needs_another(error)
            && let Ok(fresh) = self.connector.manager()
        {
            // Only one of the callers that failed together replaces it.
            self.manager.compare_and_swap(&manager, Arc::new(fresh));
        }
        answer
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(self.keys.record(key));
        }
        let records: Vec<Option<String>> = self.ask(&command).await.map_err(|error| store_error(&error))?;
        if records.len() != keys.len() {
            return Err(StoreError::permanent("Redis answered for another number of keys than it was asked for"));
        }
        records.into_iter().map(|record| record.map(stored).transpose()).collect()
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
        if !change.counts.is_empty() || !change.entries.is_empty() {
            return Err(not_yet().into());
        }
        for step in &change.steps {
            if let Step::Put(_, stored) = step {
                stored.check_version()?;
            }
        }
        let mut answer: Result<usize, RedisError> = self.ask(&self.script.by_name(&self.keys, &change)).await;
        if matches!(&answer, Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)) {
            // Redis has restarted or was told to forget its scripts. It says so instead of running one, so this
            // is still the first time that the change is tried.
            answer = self.ask(&ChangeScript::in_full(&self.keys, &change)).await;
        }
        match answer {
            Ok(0) => Ok(()),
            Ok(condition) => match change.expect.into_iter().nth(condition - 1) {
                Some((key, _)) => Err(CommitError::Conflict(key)),
                None => Err(StoreError::permanent("the script in Redis named a condition that there is not").into()),
            },
            Err(error) => Err(commit_error(&error).into()),
        }
    }

    async fn append(&self, _trail: Trail, _entry: Entry, _at_most: u64) -> Result<(), StoreError> {
        Err(not_yet())
    }

    async fn entries(
        &self,
        _trail: Trail,
        _past: Option<EntryId>,
        _order: Order,
        _limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        Err(not_yet())
    }

    async fn forget_entries(&self, _trail: Trail, _time: Timestamp) -> Result<(), StoreError> {
        Err(not_yet())
    }

    async fn note_uses(&self, _uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        Err(not_yet())
    }

    async fn uses(&self, _tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        Err(not_yet())
    }

    async fn forget_uses(&self, _tokens: &[TokenId]) -> Result<(), StoreError> {
        Err(not_yet())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ask(&redis::cmd("PING")).await.map_err(|error| store_error(&error))
    }
}

fn not_yet() -> StoreError {
    StoreError::permanent("the Redis store keeps no audit trail and no last uses yet")
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

fn stored(json: String) -> Result<Stored, StoreError> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Version { version } = serde_json::from_str(&json)
        .map_err(|error| StoreError::permanent(format!("a record in Redis is damaged: it has no version: {error}")))?;
    Ok(Stored { version, json })
}

/// Whether this connection will not get better by itself. The driver reconnects when a connection breaks; one
/// that could not be set up for another reason (a password that was wrong and is right by now) it keeps, broken,
/// for ever. A server that has become a replica stays connected, while its address may lead to the new master.
fn needs_another(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::AuthenticationFailed
        | ErrorKind::RESP3NotSupported
        | ErrorKind::Client
        | ErrorKind::Parse
        | ErrorKind::Server(ServerErrorKind::ReadOnly) => true,
        _ => is_refused_login(error) || is_full(error),
    }
}

fn is_refused_login(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// `ERR max number of clients reached`: Redis has no code for it.
fn is_full(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error.detail().is_some_and(|detail| detail.contains("max number of clients"))
}

fn is_transient(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io => !is_bad_certificate(error),
        ErrorKind::Server(kind) => {
            matches!(
                kind,
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
            ) || is_full(error)
        }
        // BUSY: somebody's script runs for too long. NOREPLICAS: too few replicas to accept a write.
        _ => matches!(error.code(), Some("BUSY" | "NOREPLICAS")),
    }
}

/// rustls reports a certificate that it does not trust as an IO error; waiting does not help there.
fn is_bad_certificate(error: &RedisError) -> bool {
    let source = error.source();
    // The driver hands its inner error out together with the pointer it keeps it by.
    let shared = source.and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let inner = shared.and_then(|shared| shared.downcast_ref::<io::Error>());
    inner.is_some_and(|inner| inner.kind() == io::ErrorKind::InvalidData)
}

fn store_error(error: &RedisError) -> StoreError {
    StoreError { transient: is_transient(error), message: format!("Redis: {error}") }
}

/// The error of a change. An answer from Redis that is an error means that nothing was done; no answer, or one
/// that makes no sense, leaves it open.
fn commit_error(error: &RedisError) -> StoreError {
    let is_open = match error.kind() {
        ErrorKind::Io => !error.is_connection_refusal() && !is_bad_certificate(error),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => true,
        _ => false,
    };
    let mut error = store_error(error);
    if is_open {
        error.message.push_str("; the change may or may not have been applied");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_error(kind: io::ErrorKind) -> RedisError {
        io::Error::new(kind, "why").into()
    }

    fn code(code: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some("why".to_owned()))
    }

    fn server(kind: ServerErrorKind) -> RedisError {
        (ErrorKind::Server(kind), "why").into()
    }

    #[test]
    fn what_may_get_better_in_a_moment_is_transient() {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
        for kind in [BusyLoading, TryAgain, ClusterDown, MasterDown, ReadOnly] {
            assert!(is_transient(&server(kind)), "{kind:?}");
        }
        for name in ["BUSY", "NOREPLICAS"] {
            assert!(is_transient(&code(name)), "{name}");
        }
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::ConnectionRefused, io::ErrorKind::BrokenPipe] {
            assert!(is_transient(&io_error(kind)), "{kind}");
        }
    }

    #[test]
    fn what_an_operator_must_mend_is_not() {
        use ServerErrorKind::{CrossSlot, Moved, NoPerm, NoScript, ResponseError};
        for kind in [CrossSlot, Moved, NoPerm, NoScript, ResponseError] {
            assert!(!is_transient(&server(kind)), "{kind:?}");
        }
        for name in ["OOM", "WRONGTYPE", "NOAUTH", "WRONGPASS", "MISCONF", "DAMAGED"] {
            assert!(!is_transient(&code(name)), "{name}");
        }
        assert!(!is_transient(&(ErrorKind::AuthenticationFailed, "why").into()));
        assert!(!is_transient(&io_error(io::ErrorKind::InvalidData)), "a certificate");
    }

    #[test]
    fn only_a_lost_answer_leaves_a_change_open() {
        let is_open = |error: RedisError| commit_error(&error).message.contains("may or may not");
        assert!(is_open(io_error(io::ErrorKind::TimedOut)) && is_open(io_error(io::ErrorKind::ConnectionReset)));
        assert!(!is_open(io_error(io::ErrorKind::ConnectionRefused)) && !is_open(io_error(io::ErrorKind::InvalidData)));
        assert!(!is_open(code("BUSY")) && !is_open(server(ServerErrorKind::ReadOnly)));
    }
}
