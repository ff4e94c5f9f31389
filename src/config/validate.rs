//! From merged layers to [`Settings`]: what each value means, and which values do not go together. Goes on after a
//! mistake, so that one run finds all of them.

mod hot_path;
mod portal;
mod tokens;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{
    layers::Layer,
    mistake::{Mistakes, Noted, Place, listed, quoted, suggestion},
    raw::{Node, Toml},
    settings::{Check, Credentials, Log, LogFormat, LogLevel, Realm, Settings, Store, UnixSocket},
    store_url,
};
use crate::domain::{
    decision::{Outage, OutagePolicy},
    identity::{IdentityHeader, IdentityNames},
    key::ServerKeys,
    password::Cost,
    time::parse_duration,
    token::{TokenPrefix, TokenPrefixes},
    trust::{TrustedProxies, canonical_network},
};

/// `whole` is false when the file could not be read: what would go together with a value of the file is not known then,
/// and not judged.
pub(super) fn settings(values: &Layer, whole: bool, mistakes: &mut Mistakes) -> Result<Settings, Noted> {
    let mut reader = Reader { values, whole, mistakes };
    let data_dir = reader.text("data_dir", path);
    let keys_file = reader.optional("keys.file", path);
    let store = store_url::read(&mut reader, data_dir.as_deref().unwrap_or(Path::new("")));
    let in_redis = !matches!(store, Ok(Store::Embedded { .. }));
    let hot_path = hot_path::hot_path(&mut reader, in_redis);
    let check = check(&mut reader);
    let portal = portal::portal(&mut reader);
    let grpc_listen = reader.text("grpc.listen", socket_address);
    let listeners = [
        ("check.listen", check.as_ref().map(|check| check.listen)),
        ("portal.listen", portal.as_ref().map(|portal| portal.listen)),
        ("grpc.listen", grpc_listen.as_ref().copied()),
    ];
    refuse_one_address(&mut reader, &listeners);
    let outage = outage(&mut reader);
    let credentials = credentials(&mut reader);
    let tokens = tokens::rules(&mut reader);
    let sessions = portal::sessions(&mut reader);
    let guessing = portal::guessing(&mut reader);
    let audit = tokens::audit(&mut reader);
    let notify = tokens::notify(&mut reader);
    let envoy_use_remote_address = reader.boolean("envoy.use_remote_address");
    let identity_names = identity_names(&mut reader);
    let realm = reader.text("headers.realm", Realm::parse);
    let password_cost = password_cost(&mut reader);
    let log = log(&mut reader);
    Ok(Settings {
        data_dir: data_dir?,
        keys_file: keys_file?,
        store: store?,
        hot_path: hot_path?,
        check: check?,
        portal: portal?,
        grpc_listen: grpc_listen?,
        outage: outage?,
        credentials: credentials?,
        tokens: tokens?,
        sessions: sessions?,
        guessing: guessing?,
        audit: audit?,
        notify: notify?,
        envoy_use_remote_address: envoy_use_remote_address?,
        identity_names: identity_names?,
        realm: realm?,
        password_cost: password_cost?,
        log: log?,
    })
}

/// Reads values by key and notes what is wrong with them.
pub(super) struct Reader<'a> {
    values: &'a Layer,
    whole: bool,
    mistakes: &'a mut Mistakes,
}

impl<'a> Reader<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.values.get(key)
    }

    pub(super) fn refuse(&mut self, key: &str, message: impl Into<String>) -> Noted {
        let place = self.values.get(key).map_or(Place::Flag("configuration"), |node| node.place.clone());
        self.mistakes.add(&place, key, message)
    }

    fn keep<T>(&mut self, key: &str, result: Result<T, String>) -> Result<T, Noted> {
        result.map_err(|message| self.refuse(key, message))
    }

    /// Which of two values that do not go together is to blame, and then the other: the one that stands later, a default
    /// never before what somebody gave.
    fn later<'k>(&self, one: &'k str, other: &'k str) -> (&'k str, &'k str) {
        let place = |key| self.get(key).map(|node| &node.place);
        if place(one) > place(other) { (one, other) } else { (other, one) }
    }

    fn required(&mut self, key: &str) -> Result<&'a Node, Noted> {
        self.values.get(key).ok_or_else(|| self.refuse(key, format!("`{key}` has no value")))
    }

    pub(super) fn text<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Noted> {
        let node = self.required(key)?;
        self.keep(key, node.text().and_then(read))
    }

    pub(super) fn optional<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Noted> {
        if self.values.contains_key(key) { self.text(key, read).map(Some) } else { Ok(None) }
    }

    fn boolean(&mut self, key: &str) -> Result<bool, Noted> {
        let node = self.required(key)?;
        self.keep(key, node.boolean())
    }

    fn integer(&mut self, key: &str) -> Result<i64, Noted> {
        let node = self.required(key)?;
        self.keep(key, node.integer())
    }

    /// An integer that is possible, or what was `expected`.
    pub(super) fn number(&mut self, key: &str, expected: &str, possible: impl Fn(u32) -> bool) -> Result<u32, Noted> {
        let value = self.integer(key)?;
        let number = u32::try_from(value).ok().filter(|value| possible(*value));
        self.keep(key, number.ok_or_else(|| format!("expected {expected}, found {value}")))
    }

    /// Each item of a list of texts; a single text is a list of one.
    fn items<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Noted> {
        let node = self.required(key)?;
        let items = match &node.value {
            Toml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let read: Vec<Result<T, Noted>> =
            items.iter().map(|item| self.mistakes.keep(&item.place, key, item.text().and_then(&read))).collect();
        read.into_iter().collect()
    }

    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<T, Noted> {
        self.text(key, |text| one_of(text, words))
    }

    /// A secret given as `key`, or as the file that `key_file` names.
    pub(super) fn secret(&mut self, key: &str, key_file: &str) -> Result<Option<SecretString>, Noted> {
        match (self.get(key), self.get(key_file)) {
            (Some(direct), Some(file)) => {
                // The one that stands later is shown, with the place of the other.
                let (blamed, other, earlier) =
                    if direct.place > file.place { (key, key_file, file) } else { (key_file, key, direct) };
                Err(self.refuse(blamed, format!("`{other}` is given too ({}); keep one of the two", earlier.place)))
            }
            (Some(_), None) => self.optional(key, |text| Ok(SecretString::from(text))),
            (None, _) => self.optional(key_file, read_secret),
        }
    }
}

/// A file's text without the newline that editors put at the end. The path is not quoted: in its place may stand, by a
/// slip, the secret itself.
fn read_secret(path: &str) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    let text = SecretString::from(text);
    let line = text.expose_secret();
    let line = line.strip_suffix('\n').unwrap_or(line);
    Ok(SecretString::from(line.strip_suffix('\r').unwrap_or(line)))
}

pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let hint = suggestion(text, &known);
        let hint = if hint.starts_with("; known") { String::new() } else { hint };
        format!("expected one of {}, found {}{hint}", listed(&known), quoted(text))
    })
}

fn path(text: &str) -> Result<std::path::PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("expected a path, found {}", quoted(text)));
    }
    Ok(Path::new(text).to_owned())
}

/// Whether a configured file of server keys holds any. Says nothing of what stands in it but the line.
pub(super) fn server_keys(values: &Layer, mistakes: &mut Mistakes) {
    let Some(node) = values.get("keys.file") else { return };
    let Ok(file) = node.text().and_then(path) else { return };
    match std::fs::read_to_string(&file).map(Zeroizing::new) {
        Ok(text) => {
            if let Err(error) = ServerKeys::parse(&text) {
                let place = Place::File { path: Arc::from(file), line: error.line, column: 0 };
                mistakes.add(&place, "keys.file", error.problem);
            }
        }
        // The path is not quoted: in its place may stand, by a slip, the key itself.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = "the key file does not exist; make it once for all replicas with \
                           `printf 'k1:%s\\n' \"$(head -c32 /dev/urandom | base64)\"`, and keep it secret";
            mistakes.add(&node.place, "keys.file", message);
        }
        Err(error) => {
            mistakes.add(&node.place, "keys.file", format!("the key file cannot be read: {error}"));
        }
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("expected an address such as \"127.0.0.1:9180\", found {}", quoted(text)))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("expected a duration such as \"150ms\" or \"1s\", found {}", quoted(text)))
}

fn check(reader: &mut Reader<'_>) -> Result<Check, Noted> {
    let listen = reader.text("check.listen", socket_address);
    let unix_path = reader.optional("check.unix", |text| {
        // The kernel's sockaddr_un holds 107 bytes and a zero, and the socket is bound by a longer name first.
        if text.len() > 90 {
            Err("the path of the socket is too long; choose one of at most 90 bytes".to_owned())
        } else {
            path(text)
        }
    });
    let mode = reader.text("check.unix_mode", |text| {
        let octal = matches!(text.len(), 3 | 4).then(|| u32::from_str_radix(text, 8).ok()).flatten();
        let mode = octal.filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| format!("expected permissions in octal such as \"0660\", found {}", quoted(text)))
    });
    let networks = reader.items("check.trusted_proxies", trusted);
    let secret = reader.secret("check.proxy_secret", "check.proxy_secret_file");
    let workers =
        reader.get("check.workers").map(|_| reader.number("check.workers", "1 to 1024", |value| (1..=1024).contains(&value)));
    if let Ok(Some(secret)) = &secret {
        let text = secret.expose_secret();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let key = if reader.get("check.proxy_secret").is_some() { "check.proxy_secret" } else { "check.proxy_secret_file" };
            reader.refuse(key, "a proxy shows the secret in a header: expected visible ASCII characters without blanks");
        }
    }
    let networks = networks?;
    let trusted_proxies = TrustedProxies { unix: networks.contains(&None), networks: networks.into_iter().flatten().collect() };
    let unix = match unix_path? {
        Some(path) => Some(UnixSocket { path, mode: mode? }),
        None => None,
    };
    mode?;
    let workers = workers.transpose()?.map(|workers| workers as usize);
    Ok(Check { listen: listen?, unix, trusted_proxies, proxy_secret: secret?, workers })
}

/// A network or an address; `None` is whoever comes through the Unix socket.
fn trusted(text: &str) -> Result<Option<IpNet>, String> {
    if text == "unix" {
        return Ok(None);
    }
    let expected = || format!("expected an address, a network such as \"10.0.0.0/8\", or \"unix\", found {}", quoted(text));
    network(text).map(Some).ok_or_else(expected)
}

/// One address is a network too.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().or_else(|| Some(text.parse::<IpAddr>().ok()?.into()));
    network.map(canonical_network)
}

/// Two listeners at one address, where the kernel was not left to choose the port.
fn refuse_one_address(reader: &mut Reader<'_>, listeners: &[(&str, Result<SocketAddr, &Noted>)]) {
    for (index, (one, address)) in listeners.iter().enumerate() {
        let Ok(address) = address else { continue };
        let same = |(_, other): &&(&str, Result<SocketAddr, &Noted>)| other.as_ref().is_ok_and(|other| other == address);
        for (other, _) in listeners[index + 1..].iter().filter(same) {
            if address.port() != 0 && reader.whole {
                let (later, other) = reader.later(one, other);
                reader.refuse(later, format!("{other} has the same address; choose another port"));
            }
        }
    }
}

fn outage(reader: &mut Reader<'_>) -> Result<Outage, Noted> {
    let words = [("error", OutagePolicy::Error), ("deny", OutagePolicy::Deny)];
    let keys = ["outage.nginx", "outage.envoy", "outage.traefik", "outage.caddy", "outage.haproxy"];
    let [nginx, envoy, traefik, caddy, haproxy] = keys.map(|key| reader.word(key, &words));
    Ok(Outage { nginx: nginx?, envoy: envoy?, traefik: traefik?, caddy: caddy?, haproxy: haproxy? })
}

fn credentials(reader: &mut Reader<'_>) -> Result<Credentials, Noted> {
    let allow_in_url = reader.boolean("credentials.allow_in_url");
    let query_names = reader.items("credentials.query_names", |text| {
        let valid = !text.is_empty() && !text.chars().any(char::is_control);
        if valid { Ok(text.to_owned()) } else { Err(format!("expected the name of a query parameter, found {}", quoted(text))) }
    });
    let prefixes = reader.items("credentials.token_prefix", |text| {
        TokenPrefix::parse(text).map_err(|error| format!("{error}, found {}", quoted(text)))
    });
    let token_prefixes = prefixes.and_then(|prefixes| {
        let empty = "the list is empty; name at least the prefix that new tokens get";
        TokenPrefixes::new(prefixes).ok_or_else(|| reader.refuse("credentials.token_prefix", empty))
    });
    Ok(Credentials { allow_in_url: allow_in_url?, query_names: query_names?, token_prefixes: token_prefixes? })
}

fn identity_names(reader: &mut Reader<'_>) -> Result<IdentityNames, Noted> {
    let remote = reader.word("headers.preset", &[("x-auth", false), ("remote", true)]);
    let mut names = if let Ok(true) = remote { IdentityNames::remote() } else { IdentityNames::default() };
    let keys = IdentityHeader::ALL.map(|header| (header, format!("headers.names.{}", header.key())));
    let given: Vec<_> = keys.iter().filter_map(|(header, key)| Some((*header, key, reader.get(key)?.text().ok()?))).collect();
    // Old names go first, so that two headers can swap theirs. Those that are not known cannot be in the way either.
    let known = reader.whole && remote.is_ok();
    for header in IdentityHeader::ALL.into_iter().filter(|header| !known || given.iter().any(|(given, ..)| given == header)) {
        drop(names.rename(header, &format!("unnamed-{}", header as usize)));
    }
    let mut all = Ok(());
    for (header, key, name) in given {
        let renamed = names.rename(header, name).map_err(|error| format!("{error}, found {}", quoted(name)));
        all = all.and(reader.keep(key, renamed));
    }
    remote.and(all).map(|()| names)
}

fn password_cost(reader: &mut Reader<'_>) -> Result<Cost, Noted> {
    let memory = reader.number("password.memory_kib", "8 to 1048576", |value| Cost::new(value, 1, 1).is_some());
    let passes = reader.number("password.passes", "1 to 64", |value| Cost::new(Cost::DEFAULT.memory, value, 1).is_some());
    let lanes = reader.number("password.lanes", "1 to 16", |value| Cost::new(Cost::DEFAULT.memory, 1, value).is_some());
    let (memory, passes, lanes) = (memory?, passes?, lanes?);
    // Without the file either may be a default that the file replaces; nothing will be served by it.
    let fallback = (!reader.whole).then_some(Cost::DEFAULT);
    Cost::new(memory, passes, lanes).or(fallback).ok_or_else(|| {
        let least = 8 * lanes;
        reader.refuse("password.memory_kib", format!("expected at least {least} (8 KiB for each lane), found {memory}"))
    })
}

fn log(reader: &mut Reader<'_>) -> Result<Log, Noted> {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let level = reader.word("log.level", &levels);
    let format = reader.word("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    Ok(Log { level: level?, format: format? })
}
