//! `store.url`: which store, and where. It may hold a password, so no message quotes it.

use std::path::Path;

use secrecy::ExposeSecret;

use super::{
    keys::NOT_AVAILABLE,
    mistake::{Noted, quoted},
    settings::Store,
    validate::{Reader, store_timeout},
};
use crate::domain::site::Host;

/// What stands for a secret wherever one would be shown.
pub(super) const MASK: &str = "********";

enum Backend<'u> {
    Embedded(&'u str),
    Redis,
}

pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> Result<Store, Noted> {
    let url = reader.secret("store.url", "store.url_file");
    let prefix = reader.text("store.prefix", prefix);
    let timeout = reader.text("store.timeout", store_timeout);
    let Some(url) = url? else { return Ok(Store::Embedded { dir: data_dir.to_owned() }) };
    match parse(url.expose_secret()) {
        Ok(Backend::Embedded(dir)) => Ok(Store::Embedded { dir: Path::new(dir).to_owned() }),
        Ok(Backend::Redis) => Ok(Store::Redis { url, prefix: prefix?, timeout: timeout? }),
        Err(message) => {
            let key = if reader.get("store.url").is_some() { "store.url" } else { "store.url_file" };
            Err(reader.refuse(key, message))
        }
    }
}

fn parse(url: &str) -> Result<Backend<'_>, String> {
    if let Some(dir) = url.strip_prefix("embedded:") {
        return if dir.is_empty() || dir.starts_with("//") || dir.contains('\0') {
            Err("expected a directory, as in \"embedded:./keygate-data\"".to_owned())
        } else {
            Ok(Backend::Embedded(dir))
        };
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match scheme {
        "redis" | "rediss" => redis(rest).map(|()| Backend::Redis),
        "redis+sentinel" | "redis+cluster" => Err(format!("{scheme}:// is {NOT_AVAILABLE}; give redis:// or rediss://")),
        _ => Err("expected \"embedded:DIRECTORY\", \"redis://HOST:PORT\" or \"rediss://HOST:PORT\"".to_owned()),
    }
}

/// `[user:password@]host[:port][/database]`.
fn redis(rest: &str) -> Result<(), String> {
    if rest.contains(['?', '#']) || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("the URL has no query, fragment or blanks; in a user name or password write those characters as %3F, %23, %20"
            .to_owned());
    }
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if Host::parse(host).is_err() {
        return Err("expected a host after redis://, as in \"redis://127.0.0.1:6379\"; in a password write `/` as %2F".to_owned());
    }
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err("expected a database number after the host, as in \"redis://127.0.0.1:6379/0\", or nothing".to_owned());
    }
    Ok(())
}

fn prefix(text: &str) -> Result<String, String> {
    let valid = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'_' | b'-' | b'/'));
    if valid {
        Ok(text.to_owned())
    } else {
        let found = quoted(text);
        Err(format!("expected 1 to 64 letters, digits or : . _ - / such as \"kg:\", found {found}"))
    }
}

/// The URL as it may be shown: without user name and password.
pub(super) fn masked(url: &str) -> String {
    match (url.split_once("://"), url.rfind('@')) {
        (Some((scheme, _)), Some(at)) => format!("{scheme}://{MASK}@{}", &url[at + 1..]),
        _ => url.to_owned(),
    }
}

/// The URL that holds where none was given.
pub(super) fn default(data_dir: &str) -> String {
    format!("embedded:{data_dir}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_embedded_or_redis() {
        for good in [
            "embedded:./keygate-data",
            "embedded:/var/lib/keygate",
            "redis://127.0.0.1:6379",
            "rediss://user:p%2Fw@redis.example.com/3",
            "redis://:p@ss@[::1]:6379/",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "embedded:",
            "embedded://./data",
            "redis://",
            "redis://h:port",
            "redis://h/db",
            "redis://h?x=1",
            "rediss://h/#insecure",
            "http://h",
            "127.0.0.1:6379",
            "REDIS://h",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for later in ["redis+sentinel://h/service", "redis+cluster://a,b"] {
            assert!(parse(later).err().is_some_and(|message| message.contains(NOT_AVAILABLE)), "{later}");
        }
    }

    #[test]
    fn a_shown_url_has_no_user_information() {
        assert_eq!(masked("redis://u:s3cret@h:1/2"), "redis://********@h:1/2");
        assert_eq!(masked("redis://h:1"), "redis://h:1");
        assert_eq!(masked("embedded:./a@b"), "embedded:./a@b");
    }

    #[test]
    fn no_message_quotes_a_url() {
        for bad in ["redis://u:s3cret@", "s3cret", "s3cret://u", "redis://:s3cret@h/x?s3cret", "rediss://:s3/cret@h"] {
            let message = parse(bad).err().unwrap();
            assert!(!message.contains("s3"), "{message}");
        }
    }
}
