//! `store.url`: which store, and where. It may hold a password, so no message quotes it.

use std::path::Path;

use secrecy::ExposeSecret;

use super::{
    mistake::{Noted, quoted},
    settings::{Store, WentBack},
    validate::{Reader, duration},
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
    let timeout = reader.text("store.timeout", |text| {
        let above_zero = duration(text)?;
        if above_zero.is_zero() { Err(format!("expected more than 0ms, found {}", quoted(text))) } else { Ok(above_zero) }
    });
    let wait_replicas = reader.number("store.wait_replicas", "0 to 16", |value| value <= 16);
    let went_back = reader.word("store.went_back", &[("report", WentBack::Report), ("refuse", WentBack::Refuse)]);
    let Some(url) = url? else { return Ok(Store::Embedded { dir: data_dir.to_owned() }) };
    match parse(url.expose_secret()) {
        Ok(Backend::Embedded(dir)) => Ok(Store::Embedded { dir: Path::new(dir).to_owned() }),
        Ok(Backend::Redis) => {
            Ok(Store::Redis { prefix: prefix?, timeout: timeout?, wait_replicas: wait_replicas?, went_back: went_back?, url })
        }
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
    let judged = match scheme {
        "redis" | "rediss" => redis(rest),
        "redis+sentinel" | "rediss+sentinel" => sentinels(rest),
        "redis+cluster" | "rediss+cluster" => cluster(rest),
        _ => Err("expected \"embedded:DIRECTORY\", \"redis://HOST:PORT\", \"rediss://HOST:PORT\", \
                  \"redis+sentinel://HOST:PORT,…/SERVICE\" or \"redis+cluster://HOST:PORT,…\""
            .to_owned()),
    };
    judged.map(|()| Backend::Redis)
}

/// What precedes the last `@`, and the rest.
fn split_login(rest: &str) -> Result<(Option<&str>, &str), String> {
    if rest.contains(['?', '#']) || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("the URL has no query, fragment or blanks; in a user name or password write those characters as %3F, %23, %20"
            .to_owned());
    }
    Ok(rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest)))
}

/// `[user:password@]host[:port][/database]`.
fn redis(rest: &str) -> Result<(), String> {
    let (login, place) = split_login(rest)?;
    let (host, database) = place.split_once('/').unwrap_or((place, ""));
    if Host::parse(host).is_err() || login.is_some_and(|login| login.contains('/')) {
        return Err("expected a host after redis://, as in \"redis://127.0.0.1:6379\"; in a password write `/` as %2F".to_owned());
    }
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err("expected a database number after the host, as in \"redis://127.0.0.1:6379/0\", or nothing".to_owned());
    }
    Ok(())
}

/// `[user:password@]host[:port],host[:port]/service[/database]`.
fn sentinels(rest: &str) -> Result<(), String> {
    let (login, place) = split_login(rest)?;
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let (service, database) = path.split_once('/').unwrap_or((path, "0"));
    if service.is_empty() || !are_hosts(hosts) {
        return Err(
            "expected sentinels and the name of their service, as in \"redis+sentinel://a:26379,b:26379/keygate\"".to_owned()
        );
    }
    if database.parse::<u16>().is_err() {
        return Err(
            "expected a database number after the service, as in \"redis+sentinel://a:26379/keygate/0\", or nothing".to_owned()
        );
    }
    judge_login(login)
}

/// `[user:password@]host[:port],host[:port]`. A cluster has one database.
fn cluster(rest: &str) -> Result<(), String> {
    let (login, hosts) = split_login(rest)?;
    if !are_hosts(hosts.strip_suffix('/').unwrap_or(hosts)) {
        return Err("expected some servers of the cluster, as in \"redis+cluster://a:6379,b:6379\", and no database".to_owned());
    }
    judge_login(login)
}

fn are_hosts(list: &str) -> bool {
    list.split(',').all(|host| Host::parse(host).is_ok())
}

/// `user:password` or `:password`.
fn judge_login(login: Option<&str>) -> Result<(), String> {
    let good = login.is_none_or(|login| login.contains(':') && !login.contains(['/', ',', '@']));
    let expected = "expected `user:password@` or `:password@` before the hosts; write `/`, `@` and `,` in them as %2F, %40, %2C";
    if good { Ok(()) } else { Err(expected.to_owned()) }
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
    }

    #[test]
    fn sentinels_are_a_list_with_a_service_and_a_cluster_is_one_without() {
        for good in [
            "redis+sentinel://ops:p%2Fw%25@a,B.example.com:1,[::1]:2,[::2]/shop/3",
            "rediss+sentinel://a/shop",
            "redis+cluster://:pw@a,b:7000/",
            "rediss+cluster://a",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "a/", "/shop", "a,/shop", "a/shop/x", "a/shop/", "u@a/shop", "a,u:p@b/shop"] {
            assert!(parse(&format!("redis+sentinel://{bad}")).is_err(), "{bad}");
        }
        for bad in ["", "a/0", "a,,b", "a b", "a,u:p@b"] {
            assert!(parse(&format!("redis+cluster://{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shown_url_has_no_user_information() {
        assert_eq!(masked("redis://u:s3cret@h:1/2"), "redis://********@h:1/2");
        assert_eq!(masked("redis+sentinel://:s3@cret@a,b/s"), "redis+sentinel://********@a,b/s");
        assert_eq!(masked("redis://h:1"), "redis://h:1");
        assert_eq!(masked("embedded:./a@b"), "embedded:./a@b");
    }

    #[test]
    fn no_message_quotes_a_url() {
        for bad in [
            "redis://u:s3cret@",
            "s3cret",
            "s3cret://u",
            "redis://:s3cret@h/x?s3cret",
            "rediss://:s3/cret@h",
            "redis+cluster://s3@h",
            "redis+sentinel://s3@h/x",
        ] {
            let message = parse(bad).err().unwrap();
            assert!(!message.contains("s3"), "{message}");
        }
    }
}
