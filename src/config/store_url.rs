//! `store.url`: which store, and where. It may hold a password, so no message quotes it.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{
    mistake::{Noted, quoted},
    settings::{Login, ServerAddress, Servers, Store, WentBack},
    validate::{Reader, duration},
};
use crate::domain::site::Host;

/// What stands for a secret wherever one would be shown.
pub(super) const MASK: &str = "********";

enum Backend<'u> {
    Embedded(&'u str),
    Redis(Servers),
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
        Ok(Backend::Redis(servers)) => Ok(Store::Redis {
            servers,
            prefix: prefix?,
            timeout: timeout?,
            wait_replicas: u8::try_from(wait_replicas?).unwrap_or(u8::MAX),
            went_back: went_back?,
            url,
        }),
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
    let servers = match scheme {
        "redis" | "rediss" => redis(rest),
        "redis+sentinel" => sentinels(rest),
        "redis+cluster" => cluster(rest),
        _ => Err("expected \"embedded:DIRECTORY\", \"redis://HOST:PORT\", \"rediss://HOST:PORT\", \
                  \"redis+sentinel://HOST:PORT,…/SERVICE\" or \"redis+cluster://HOST:PORT,…\""
            .to_owned()),
    };
    servers.map(Backend::Redis)
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
fn redis(rest: &str) -> Result<Servers, String> {
    let (login, place) = split_login(rest)?;
    let (host, database) = place.split_once('/').unwrap_or((place, ""));
    if Host::parse(host).is_err() || login.is_some_and(|login| login.contains('/')) {
        return Err("expected a host after redis://, as in \"redis://127.0.0.1:6379\"; in a password write `/` as %2F".to_owned());
    }
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err("expected a database number after the host, as in \"redis://127.0.0.1:6379/0\", or nothing".to_owned());
    }
    Ok(Servers::One)
}

/// `[user:password@]host[:port],host[:port]/service[/database]`.
fn sentinels(rest: &str) -> Result<Servers, String> {
    let (userinfo, place) = split_login(rest)?;
    let expected = "expected sentinels and the name of their service, as in \"redis+sentinel://a:26379,b:26379/keygate\"";
    let (hosts, path) = place.split_once('/').ok_or(expected)?;
    let (service, database) = path.split_once('/').unwrap_or((path, "0"));
    if service.is_empty() {
        return Err(expected.to_owned());
    }
    let database = database
        .parse()
        .map_err(|_| "expected a database number after the service, as in \"redis+sentinel://a:26379/keygate/0\", or nothing")?;
    let at = addresses(hosts, 26379).ok_or(expected)?;
    Ok(Servers::Sentinels { at, service: service.to_owned(), database, login: login(userinfo)? })
}

/// `[user:password@]host[:port],host[:port]`. A cluster has one database.
fn cluster(rest: &str) -> Result<Servers, String> {
    let (userinfo, hosts) = split_login(rest)?;
    let expected = "expected some servers of the cluster, as in \"redis+cluster://a:6379,b:6379\", and no database";
    let at = addresses(hosts.strip_suffix('/').unwrap_or(hosts), 6379).ok_or(expected)?;
    Ok(Servers::Cluster { at, login: login(userinfo)? })
}

fn addresses(hosts: &str, default_port: u16) -> Option<Vec<ServerAddress>> {
    let address = |text: &str| {
        let host = Host::parse(text).ok()?;
        // A colon that is not of an address of IPv6.
        let port = text.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']') && !port.is_empty());
        let port = port.map_or(Some(default_port), |port| port.parse().ok()).filter(|port| *port > 0)?;
        let host = host.as_str();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(ServerAddress { host: bare.to_owned(), port })
    };
    hosts.split(',').map(address).collect()
}

/// `user:password` or `:password`, percent-encoded.
fn login(userinfo: Option<&str>) -> Result<Option<Login>, String> {
    let Some(userinfo) = userinfo else { return Ok(None) };
    let expected =
        "expected `user:password@` or `:password@` before the hosts; write `/`, `@`, `:` and `%` in them as %2F, %40, %3A, %25";
    let decoded = |text: &str| decoded(text).ok_or(expected);
    let (user, password) = userinfo.split_once(':').filter(|_| !userinfo.contains(['/', '@', ','])).ok_or(expected)?;
    let user = if user.is_empty() { None } else { Some(decoded(user)?) };
    Ok(Some(Login { user, password: SecretString::from(decoded(password)?) }))
}

/// Percent-decoded UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) =
            part.split_at_checked(2).filter(|(digits, _)| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
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

    fn servers(url: &str) -> Option<Servers> {
        match parse(url) {
            Ok(Backend::Redis(servers)) => Some(servers),
            _ => None,
        }
    }

    fn shown(at: &[ServerAddress]) -> Vec<String> {
        at.iter().map(|server| format!("{} {}", server.host, server.port)).collect()
    }

    #[test]
    fn sentinels_are_a_list_with_a_service() {
        let url = "redis+sentinel://ops:p%2Fw%25@a,B.example.com:1,[::1]:2,[::2]/shop/3";
        let Some(Servers::Sentinels { at, service, database, login: Some(login) }) = servers(url) else { panic!() };
        assert_eq!(shown(&at), ["a 26379", "b.example.com 1", "::1 2", "::2 26379"]);
        assert_eq!((service.as_str(), database), ("shop", 3));
        assert_eq!((login.user.as_deref(), login.password.expose_secret()), (Some("ops"), "p/w%"));
        let Some(Servers::Sentinels { database: 0, login: None, .. }) = servers("redis+sentinel://a/shop") else { panic!() };
        for bad in ["", "a", "a/", "/shop", "a,/shop", "a/shop/x", "a/shop/", "a:0/shop", "u@a/shop", ":%zz@a/shop", ":%ff@a/shop"]
        {
            assert!(parse(&format!("redis+sentinel://{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cluster_is_a_list_without_a_database() {
        let Some(Servers::Cluster { at, login: Some(login) }) = servers("redis+cluster://:pw@a,b:7000/") else { panic!() };
        assert_eq!(shown(&at), ["a 6379", "b 7000"]);
        assert_eq!((login.user, login.password.expose_secret()), (None, "pw"));
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
            "redis+sentinel://:s3%zz@h/x",
        ] {
            let message = parse(bad).err().unwrap();
            assert!(!message.contains("s3"), "{message}");
        }
    }
}
