//! What one has to say of a Redis to keep records in it.

use std::time::Duration;

use secrecy::SecretString;

/// Where Redis is, how long to wait for it, and what it must show before its word is taken.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// - `redis://[user:password@]host[:port][/db]`, or `redis+unix:///path`: one server.
    /// - `redis+sentinel://[user:password@]host[:port],host[:port]/service[/db]`: the master that these sentinels name; user
    ///   and password are those of the master.
    /// - `redis+cluster://[user:password@]host[:port],host[:port]`: a cluster, of which these are some nodes.
    ///
    /// Each of them with `rediss` in the place of `redis` speaks TLS, with the system's certificate authorities.
    pub url: SecretString,
    /// What every key begins with, `kg:` unless there is a reason.
    pub prefix: String,
    /// How long to wait for a connection, and how long for each answer. A read takes at most
    /// twice this; a commit whose script the server has forgotten, one answer more.
    pub timeout: Duration,
    /// For how long a change may go unnoticed by who remembers records.
    pub max_staleness: Duration,
    /// How many replicas must have a change that takes rights away before it is acknowledged.
    pub wait_replicas: u32,
    /// What becomes of a store that has lost what was seen in it.
    pub went_back: WentBack,
}

/// What is done about a store that comes back without a change that was seen in it: from a backup, or by a failover to a
/// replica that had not got it yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WentBack {
    /// It is said, and what the store holds now is what counts.
    #[default]
    Report,
    /// It is said, and nothing is vouched for from then on, until a restart.
    Refuse,
}

impl RedisOptions {
    /// With the usual prefix, `max_staleness` of a second, and no questions asked of replicas.
    pub fn at(url: impl Into<SecretString>, timeout: Duration) -> Self {
        Self {
            url: url.into(),
            prefix: "kg:".to_owned(),
            timeout,
            max_staleness: Duration::from_secs(1),
            wait_replicas: 0,
            went_back: WentBack::Report,
        }
    }
}

/// Why there can be no store with such options. Says nothing of the password in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    #[error(
        "the URL of Redis is not of the form redis://, redis+sentinel://, redis+cluster://, each also as rediss, or redis+unix://"
    )]
    Url,
    #[error("a key prefix has no braces, white space or control characters")]
    Prefix,
}
