//! Which keys there are, of which type, and what holds when nobody says anything. What a value means is the
//! business of `validate`; the rules, a list of their own, are the business of `rules`.

/// The type of a value, as TOML writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A text that no message ever quotes and that is never shown.
    Secret,
    Integer,
    Boolean,
    /// A list of texts.
    List,
    TextOrList,
}

/// One key with its sections.
#[derive(Debug)]
pub(super) struct Key {
    pub path: &'static str,
    pub kind: Kind,
}

/// Every key outside the rules, in the order in which `config show` prints them.
pub(super) const KEYS: &[Key] = &[
    Key { path: "data_dir", kind: Kind::Text },
    Key { path: "keys.file", kind: Kind::Text },
    Key { path: "store.url", kind: Kind::Secret },
    Key { path: "store.url_file", kind: Kind::Text },
    Key { path: "store.prefix", kind: Kind::Text },
    Key { path: "store.timeout", kind: Kind::Text },
    Key { path: "store.wait_replicas", kind: Kind::Integer },
    Key { path: "store.went_back", kind: Kind::Text },
    Key { path: "check.listen", kind: Kind::Text },
    Key { path: "check.unix", kind: Kind::Text },
    Key { path: "check.unix_mode", kind: Kind::Text },
    Key { path: "check.trusted_proxies", kind: Kind::List },
    Key { path: "check.proxy_secret", kind: Kind::Secret },
    Key { path: "check.proxy_secret_file", kind: Kind::Text },
    Key { path: "check.workers", kind: Kind::Integer },
    Key { path: "portal.listen", kind: Kind::Text },
    Key { path: "portal.url", kind: Kind::Text },
    Key { path: "portal.hosts", kind: Kind::List },
    Key { path: "portal.trusted_proxies", kind: Kind::List },
    Key { path: "portal.requests_per_second", kind: Kind::Integer },
    Key { path: "portal.second_factor", kind: Kind::Text },
    Key { path: "grpc.listen", kind: Kind::Text },
    Key { path: "hot_path.max_staleness", kind: Kind::Text },
    Key { path: "hot_path.entries", kind: Kind::Integer },
    Key { path: "hot_path.memory_mib", kind: Kind::Integer },
    Key { path: "outage.nginx", kind: Kind::Text },
    Key { path: "outage.envoy", kind: Kind::Text },
    Key { path: "outage.traefik", kind: Kind::Text },
    Key { path: "outage.caddy", kind: Kind::Text },
    Key { path: "outage.haproxy", kind: Kind::Text },
    Key { path: "credentials.allow_in_url", kind: Kind::Boolean },
    Key { path: "credentials.query_names", kind: Kind::List },
    Key { path: "credentials.token_prefix", kind: Kind::TextOrList },
    Key { path: "tokens.default_expiry", kind: Kind::Text },
    Key { path: "tokens.max_expiry", kind: Kind::Text },
    Key { path: "tokens.must_expire", kind: Kind::Boolean },
    Key { path: "tokens.warn_before", kind: Kind::Text },
    Key { path: "tokens.unused_after", kind: Kind::Text },
    Key { path: "tokens.revoke_unused_after", kind: Kind::Text },
    Key { path: "tokens.keep_ended", kind: Kind::Text },
    Key { path: "tokens.leak", kind: Kind::Text },
    Key { path: "sessions.idle", kind: Kind::Text },
    Key { path: "sessions.absolute", kind: Kind::Text },
    Key { path: "sessions.remember", kind: Kind::Text },
    Key { path: "guessing.window", kind: Kind::Text },
    Key { path: "guessing.per_address", kind: Kind::Integer },
    Key { path: "guessing.per_login", kind: Kind::Integer },
    Key { path: "guessing.codes_per_login", kind: Kind::Integer },
    Key { path: "guessing.tokens_per_address", kind: Kind::Integer },
    Key { path: "guessing.allow", kind: Kind::List },
    Key { path: "guessing.deny", kind: Kind::List },
    Key { path: "audit.keep", kind: Kind::Text },
    Key { path: "audit.refused_entries", kind: Kind::Integer },
    Key { path: "notify.webhook", kind: Kind::Secret },
    Key { path: "notify.webhook_file", kind: Kind::Text },
    Key { path: "envoy.use_remote_address", kind: Kind::Boolean },
    Key { path: "headers.preset", kind: Kind::Text },
    Key { path: "headers.realm", kind: Kind::Text },
    Key { path: "headers.names.account", kind: Kind::Text },
    Key { path: "headers.names.kind", kind: Kind::Text },
    Key { path: "headers.names.site", kind: Kind::Text },
    Key { path: "headers.names.access", kind: Kind::Text },
    Key { path: "headers.names.via", kind: Kind::Text },
    Key { path: "headers.names.credential", kind: Kind::Text },
    Key { path: "headers.names.name", kind: Kind::Text },
    Key { path: "headers.names.email", kind: Kind::Text },
    Key { path: "headers.names.request_id", kind: Kind::Text },
    Key { path: "headers.names.session_token", kind: Kind::Text },
    Key { path: "password.memory_kib", kind: Kind::Integer },
    Key { path: "password.passes", kind: Kind::Integer },
    Key { path: "password.lanes", kind: Kind::Integer },
    Key { path: "log.level", kind: Kind::Text },
    Key { path: "log.format", kind: Kind::Text },
];

/// Keys and sections that are not built yet.
pub(super) const NOT_BUILT: &[&str] = &["tls"];

pub(super) const NOT_AVAILABLE: &str = "not available in this version";

/// The lowest layer. What is not here is absent unless somebody gives it.
pub(super) const DEFAULTS: &str = r#"
data_dir = "./keygate-data"

[store]
prefix = "kg:"
timeout = "150ms"
wait_replicas = 0
went_back = "report"

[check]
listen = "127.0.0.1:9180"
unix_mode = "0660"
trusted_proxies = ["127.0.0.0/8", "::1/128", "unix"]

[portal]
listen = "127.0.0.1:9181"
hosts = []
trusted_proxies = []
requests_per_second = 500
second_factor = "optional"

[grpc]
listen = "127.0.0.1:9182"

[hot_path]
max_staleness = "1s"
entries = 2000000
memory_mib = 1024

[outage]
nginx = "error"
envoy = "deny"
traefik = "deny"
caddy = "deny"
haproxy = "deny"

[credentials]
allow_in_url = false
query_names = ["token_auth"]
token_prefix = "kg"

[tokens]
must_expire = false
warn_before = "14d"
unused_after = "90d"
keep_ended = "90d"
leak = "report"

[sessions]
idle = "1h"
absolute = "12h"
remember = "14d"

[guessing]
window = "1h"
per_address = 20
per_login = 60
codes_per_login = 10
tokens_per_address = 0
allow = []
deny = []

[audit]
keep = "365d"
refused_entries = 10000

[envoy]
use_remote_address = false

[headers]
preset = "x-auth"
realm = "keygate"

[password]
memory_kib = 19456
passes = 2
lanes = 1

[log]
level = "info"
format = "text"
"#;

/// What a path such as `check.listen` or `check` names.
pub(super) enum Named {
    Key(&'static Key),
    Section,
    NotBuilt,
    Unknown,
}

pub(super) fn look_up(path: &str) -> Named {
    if NOT_BUILT.contains(&path) {
        return Named::NotBuilt;
    }
    if let Some(key) = KEYS.iter().find(|key| key.path == path) {
        return Named::Key(key);
    }
    let is_section = KEYS.iter().any(|key| below(key.path, path).is_some());
    if is_section { Named::Section } else { Named::Unknown }
}

/// `listen` for `check.listen` and the section `check`.
fn below<'p>(path: &'p str, section: &str) -> Option<&'p str> {
    if section.is_empty() { Some(path) } else { path.strip_prefix(section)?.strip_prefix('.') }
}

/// The names that may stand directly in a section; the whole file is the section without a name.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for key in KEYS {
        let name = below(key.path, section).map(|rest| rest.split('.').next().unwrap_or(rest));
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    if section.is_empty() {
        names.push("rules");
    }
    names
}

/// The one key elsewhere that ends in this name: a key under the wrong header is a common slip in TOML. The names under
/// `headers.names` are too common to be meant from afar.
pub(super) fn elsewhere(section: &str, name: &str) -> Option<&'static str> {
    let near = |path: &&str| section == "headers" || !path.starts_with("headers.names.");
    let paths = KEYS.iter().map(|key| key.path).filter(near);
    let mut found = paths.filter(|path| path.rsplit('.').next() == Some(name));
    found.next().filter(|_| found.next().is_none())
}

/// The environment variable that sets a key.
pub(super) fn variable(path: &str) -> String {
    format!("KEYGATE__{}", path.replace('.', "__").to_uppercase())
}
