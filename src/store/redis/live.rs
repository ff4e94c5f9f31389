//! What servers say of how they are set up, as far as it matters to who keeps records there.

use redis::{Pipeline, RedisError, RedisResult, Value};

use super::{errors::store_error, link::Connection};
use crate::store::StoreError;

/// One master, as it is set up now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveFacts {
    /// Host and port.
    pub address: String,
    /// Name and version, such as `Redis 7.0.15`.
    pub program: String,
    /// `master`, always: nothing else is taken for one.
    pub role: String,
    /// How many replicas are connected.
    pub replicas: u32,
    /// Bytes; 0 for no bound.
    pub maxmemory: u64,
    pub maxmemory_policy: String,
    /// Whether every change is written to a file (`appendonly yes`).
    pub appendonly: bool,
    /// How many replicas must be there for a write to be taken; `None` where we may not ask.
    pub min_replicas_to_write: Option<u32>,
    /// Seconds; `None` where we may not ask.
    pub min_replicas_max_lag: Option<u32>,
}

impl LiveFacts {
    pub(super) async fn ask(connection: &Connection) -> Result<Self, StoreError> {
        let mut questions = Pipeline::new();
        questions.cmd("INFO").arg("server").arg("memory").arg("persistence").arg("replication");
        questions.cmd("CONFIG").arg("GET").arg("min-replicas-*");
        let answers = connection.ask_all(questions).await.map_err(|error| store_error(&error))?;
        Self::read(connection.address().to_string(), answers).map_err(|error| store_error(&error))
    }

    fn read(address: String, answers: Vec<RedisResult<Value>>) -> Result<Self, RedisError> {
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
        let info: String = redis::from_redis_value(next()?)?;
        let config: Vec<(String, u32)> = next().and_then(|config| Ok(redis::from_redis_value(config)?)).unwrap_or_default();
        let of = |name: &str| {
            let lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next()
        };
        let setting = |name: &str| config.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let program = match of("valkey_version") {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", of("redis_version").unwrap_or_default()),
        };
        Ok(Self {
            address,
            program,
            role: of("role").unwrap_or_default(),
            replicas: of("connected_slaves").and_then(|number| number.parse().ok()).unwrap_or_default(),
            maxmemory: of("maxmemory").and_then(|number| number.parse().ok()).unwrap_or_default(),
            maxmemory_policy: of("maxmemory_policy").unwrap_or_default(),
            appendonly: of("aof_enabled").as_deref() == Some("1"),
            min_replicas_to_write: setting("min-replicas-to-write"),
            min_replicas_max_lag: setting("min-replicas-max-lag"),
        })
    }
}
