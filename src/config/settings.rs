//! The settings of a running Keygate: values that are right, whatever was written where.

use std::{fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use crate::domain::{
    decision::Outage,
    guessing::GuessingRules,
    identity::IdentityNames,
    origin::{Origin, ProtectedHosts},
    password::Cost,
    session::SessionRules,
    token::TokenPrefixes,
    token_rules::TokenRules,
    trust::TrustedProxies,
};

/// Everything but the rules. Relative paths are relative to the working directory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds the control socket, and the embedded store where nothing else is said.
    pub data_dir: PathBuf,
    /// `None`: `keygate.key` in the data directory.
    pub keys_file: Option<PathBuf>,
    pub store: Store,
    pub hot_path: HotPath,
    pub check: Check,
    pub portal: Portal,
    /// Where gRPC listens.
    pub grpc_listen: SocketAddr,
    pub outage: Outage,
    pub credentials: Credentials,
    pub tokens: TokenRules,
    pub sessions: SessionRules,
    pub guessing: GuessingRules,
    pub audit: Audit,
    pub notify: Notify,
    /// The listener overwrites `X-Forwarded-For`, so that over HTTP Envoy's word about the client's address counts.
    pub envoy_use_remote_address: bool,
    pub identity_names: IdentityNames,
    pub realm: Realm,
    pub password_cost: Cost,
    pub log: Log,
}

/// The secrets among the settings, as one value that equals another when all of them do.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretsFingerprint([u8; 32]);

impl SecretsFingerprint {
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let url = match &settings.store {
            Store::Redis { url, .. } => Some(url),
            Store::Embedded { .. } => None,
        };
        let mut hash = Sha256::new();
        for secret in [url, settings.check.proxy_secret.as_ref(), settings.notify.webhook.as_ref()] {
            // Each by itself, so that two of them cannot trade letters.
            hash.update(Sha256::digest(secret.map_or("", |secret| secret.expose_secret())));
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Debug for SecretsFingerprint {
    /// Short secrets can be guessed by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretsFingerprint(…)")
    }
}

impl Settings {
    /// What is no mistake, and most likely not meant. `memory`: how many bytes there are of it for the process, where that is
    /// known.
    #[must_use]
    pub fn hints(&self, memory: Option<u64>) -> Vec<String> {
        let behind_proxy = self.portal.url.as_ref().is_some_and(Origin::is_secure);
        let nobody_is_believed = self.portal.trusted_proxies.networks.is_empty();
        let mut hints = Vec::new();
        if behind_proxy && nobody_is_believed {
            hints.push(
                "the portal is behind a proxy that brings it TLS, and `portal.trusted_proxies` names none: everybody has the \
                 proxy's address, so that whoever guesses passwords shuts everybody out; name the proxy's address"
                    .to_owned(),
            );
        }
        if let Some(memory) = memory.filter(|memory| self.hot_path.bytes > *memory) {
            hints.push(format!(
                "`hot_path.memory_mib` is {}, and there are {} MiB of memory for all of this process: it may be killed once \
                 enough is remembered; give it a part of that",
                self.hot_path.bytes >> 20,
                memory >> 20
            ));
        }
        hints
    }
}

/// Where the records live.
#[derive(Clone, Debug)]
pub enum Store {
    Embedded {
        dir: PathBuf,
    },
    Redis {
        /// `redis://`, `redis+sentinel://`, `redis+cluster://`, or `rediss` in its place; may hold a password.
        url: SecretString,
        /// What every key begins with.
        prefix: String,
        /// For one round trip; above zero and never above [`HotPath::max_staleness`].
        timeout: Duration,
        /// How many replicas must confirm what takes away; at most 16.
        wait_replicas: u32,
        went_back: WentBack,
    },
}

/// What becomes of checks once the store has come back without something that was seen in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WentBack {
    /// They go on, by what the store says now.
    Report,
    /// They are `unavailable`.
    Refuse,
}

/// What is remembered of the store, so that a check need not ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotPath {
    /// For how long a change that takes something away may go unnoticed: 50 ms to 1 min.
    pub max_staleness: Duration,
    /// How many records are remembered.
    pub entries: u32,
    /// About how much memory they may take, in bytes.
    pub bytes: u64,
}

/// The listener that proxies ask.
#[derive(Clone, Debug)]
pub struct Check {
    pub listen: SocketAddr,
    pub unix: Option<UnixSocket>,
    /// Whose description of a request is believed; holds for gRPC too.
    pub trusted_proxies: TrustedProxies,
    /// What a proxy must show besides, if set: visible ASCII, so that a header can carry it.
    pub proxy_secret: Option<SecretString>,
    /// Threads that answer over HTTP, and as many over gRPC. `None`: one for every two cores.
    pub workers: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    pub path: PathBuf,
    /// Permission bits, at most `0o777`.
    pub mode: u32,
}

/// The listener for people and programs that manage what Keygate knows.
#[derive(Clone, Debug)]
pub struct Portal {
    pub listen: SocketAddr,
    /// Where browsers find the pages: as configured, or where it listens if that is loopback. `None`: there are no pages.
    pub url: Option<Origin>,
    /// The hosts that browsers may be sent back to; the portal's is none of them.
    pub hosts: ProtectedHosts,
    /// Whose `X-Forwarded-For` is believed; it has no Unix socket.
    pub trusted_proxies: TrustedProxies,
    /// How many requests one client address may send in the long run, and twice as many at once. `None`: any number.
    pub requests_per_second: Option<NonZeroU32>,
}

/// How credentials are looked for.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whether a token in a query parameter is accepted at all.
    pub allow_in_url: bool,
    /// The parameters, in query or body, that may hold a token.
    pub query_names: Vec<String>,
    pub token_prefixes: TokenPrefixes,
}

/// What stays of what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// How long a change stays in the trail; above zero.
    pub keep: Duration,
    /// About how many refused attempts stay.
    pub refused_entries: u64,
}

/// Who is told of tokens that need somebody's care.
#[derive(Clone, Debug)]
pub struct Notify {
    /// An `http://` or `https://` URL that events are sent to. A secret: such URLs hold keys.
    pub webhook: Option<SecretString>,
}

/// The realm of the challenges (RFC 9110 11.5): 1 to 100 printable ASCII characters without `"` and `\`, so that it
/// stands in quotes as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(String);

impl Realm {
    pub fn parse(text: &str) -> Result<Self, String> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
        if printable && (1..=100).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected 1 to 100 printable ASCII characters without `\"` and `\\`".to_owned())
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}
