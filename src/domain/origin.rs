//! Origins (RFC 6454): where the portal is, which protected hosts it may send browsers back to, and the one strict reading
//! of a URL to come back to. All of them come from the configuration; nothing that a request says is one.

use std::fmt;

use super::{
    request::{OWN_SEGMENT, read_path},
    site::Host,
};

/// Scheme, host and port. Over plain `http` only on loopback, for trying it out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    secure: bool,
    host: Host,
    /// `None`: the default port of the scheme.
    port: Option<u16>,
}

impl Origin {
    /// Reads `https://shop.example.com`, with a port or without, and nothing after it. Without a scheme it is `https`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (secure, authority) = match text.split_once("://") {
            None => (true, text),
            Some(("https", authority)) => (true, authority),
            Some(("http", authority)) => (false, authority),
            Some(_) => return Err("the scheme is https (or http on loopback)"),
        };
        if authority.contains(['/', '?', '#', '@', '\\']) {
            return Err("give scheme, host and port only, without a path");
        }
        let host = Host::parse(authority).map_err(|_| "this is no host")?;
        let (name, digits) = match authority.rsplit_once(':') {
            Some((name, digits)) if !name.starts_with('[') || name.ends_with(']') => (name, Some(digits)),
            _ => (authority, None),
        };
        let port = digits.map(str::parse).transpose().map_err(|_| "the port is no port")?;
        if name.ends_with('.') {
            return Err("write the host without a dot at its end");
        }
        if !secure && !is_loopback(&host) {
            return Err(
                "plain http is for loopback only (localhost, *.localhost, 127.0.0.1, [::1]); browsers keep the cookies from others",
            );
        }
        let default = if secure { 443 } else { 80 };
        Ok(Self { secure, host, port: port.filter(|port| *port != default) })
    }

    /// Whether cookies are for TLS only and carry `__Host-`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Host and port as a `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        self.port.map_or_else(|| self.host.to_string(), |port| format!("{}:{port}", self.host))
    }
}

/// As browsers write it in `Origin`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

fn is_loopback(host: &Host) -> bool {
    let name = host.as_str();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The protected hosts, each with one origin: cookies know no ports, so two on one host would be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedHosts(Vec<Origin>);

impl ProtectedHosts {
    /// `None` when two have the same host.
    #[must_use]
    pub fn new(origins: Vec<Origin>) -> Option<Self> {
        let twice = |(index, origin): (usize, &Origin)| origins[..index].iter().any(|other| other.host == origin.host);
        (!origins.iter().enumerate().any(twice)).then_some(Self(origins))
    }

    #[must_use]
    pub fn find(&self, host: &Host) -> Option<&Origin> {
        self.0.iter().find(|origin| origin.host == *host)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }

    /// Reads where a browser wants to go back to: an absolute URL of a protected host. `None` for everything that is not
    /// one to the last character, in any reading of any browser.
    #[must_use]
    pub fn return_to(&self, url: &str) -> Option<ReturnTo> {
        self.0.iter().find_map(|origin| {
            let target = url.strip_prefix(&origin.to_string())?;
            let target = if target.is_empty() { "/" } else { target };
            Some(ReturnTo { origin: origin.clone(), target: Target::parse(target)? })
        })
    }
}

/// A place on a protected host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo {
    pub origin: Origin,
    pub target: Target,
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target.as_str())
    }
}

/// Path and query that a browser can be sent to on a host, and that no browser takes for another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    /// Longer ones are not kept.
    pub const MAX_BYTES: usize = 2000;

    /// Printable ASCII, with a path that checks read in one way. Refused besides: `\`, white space and controls plain or
    /// encoded, a fragment, and the paths that are Keygate's own.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.split('?').next().unwrap_or_default();
        // Browsers take `.` and `..` out of a path, also where they are encoded: what is left would not be what was looked at.
        let segments = read_path(path.as_bytes())?;
        let hidden = text.match_indices('%').any(|(at, _)| match text.get(at + 1..at + 3) {
            // Blanks in a query are data; in a path somebody could take them for its end.
            Some(hex) => u8::from_str_radix(hex, 16).map_or(true, |byte| byte < 0x20 || byte == 0x7f),
            None => true,
        });
        let fits = text.len() <= Self::MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
        let plain = !text.contains(['\\', '#']) && !segments.iter().any(|segment| segment.contains(' '));
        (fits && plain && !hidden && segments[0] != OWN_SEGMENT).then(|| Self(text.to_owned()))
    }

    /// Where everything begins.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_and_http_is_for_loopback() {
        for (text, read) in [
            ("shop.example.com", "https://shop.example.com"),
            ("https://Shop.Example.com:443", "https://shop.example.com"),
            ("https://shop.example.com:8443", "https://shop.example.com:8443"),
            ("http://localhost:8000", "http://localhost:8000"),
            ("http://a.localhost:80", "http://a.localhost"),
            ("http://127.0.0.1:9181", "http://127.0.0.1:9181"),
            ("http://[::1]:9181", "http://[::1]:9181"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ] {
            assert_eq!(Origin::parse(text).map(|origin| origin.to_string()), Ok(read.to_owned()), "{text}");
        }
        for text in [
            "http://shop.example.com",
            "https://shop.example.com/",
            "https://u@shop.example.com",
            "ftp://x",
            "",
            "https://",
            "https://shop.example.com.",
            "https://shop.example.com:0x1",
            "https://shop.example.com:99999",
            "https://a b",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_plain_url_of_a_protected_host_is_one_to_go_back_to() {
        let hosts = ["https://shop.example.com", "https://stats.example.org:8443"].map(|text| Origin::parse(text).unwrap());
        let hosts = ProtectedHosts::new(hosts.to_vec()).unwrap();
        for (url, target) in [
            ("https://shop.example.com", "/"),
            ("https://shop.example.com/", "/"),
            ("https://shop.example.com/a/b?c=d%20e&x=//", "/a/b?c=d%20e&x=//"),
            ("https://stats.example.org:8443/x", "/x"),
            ("https://shop.example.com/.well-known/a..b/...?../.keygate", "/.well-known/a..b/...?../.keygate"),
            ("https://shop.example.com/%C3%A4/", "/%C3%A4/"),
        ] {
            assert_eq!(hosts.return_to(url).map(|to| to.target.0), Some(target.to_owned()), "{url}");
        }
        for url in [
            "http://shop.example.com/",
            "https://shop.example.com:8443/",
            "https://shop.example.com.evil.example/",
            "https://shop.example.com@evil.example/",
            "https://shop.example.comevil.example/",
            "https://SHOP.example.com/",
            "//shop.example.com/",
            "/path",
            "https:shop.example.com/",
            "https:///shop.example.com/",
            "https://shop.example.com//evil.example/",
            "https://shop.example.com/\\evil.example",
            "https://shop.example.com\\.evil.example/",
            "https://shop.example.com/a b",
            "https://shop.example.com/%09/evil.example",
            "https://shop.example.com/%0d%0aSet-Cookie:x",
            "https://shop.example.com/%20/x",
            "https://shop.example.com/%2f/x",
            "https://shop.example.com/#x",
            "https://shop.example.com/?%00",
            "https://shop.example.com/%zz",
            "https://shop.example.com/\u{fc}",
            "https://shop.example.com/.keygate/logout",
            "https://shop.example.com/.keygate",
            "https://shop.example.com/.keygate?x",
            "https://shop.example.com/%2ekeygate/logout",
            "https://shop.example.com/.%6beygate/logout",
            "https://shop.example.com/x/../.keygate/logout",
            "https://shop.example.com/x/%2e%2e/.keygate/logout",
            "https://shop.example.com/x/.%2E/.keygate/callback?code=A",
            "https://shop.example.com/%2e/.keygate/logout",
            "https://shop.example.com/./",
            "https://shop.example.com/x/..",
            "https://shop.example.com/..//evil.example",
            "https://shop.example.com/%252e%252e/x",
            "https://shop.example.com/x;y/..;/z",
            " https://shop.example.com/",
            "javascript:alert(1)",
            "",
        ] {
            assert_eq!(hosts.return_to(url), None, "{url}");
        }
        let same = ["https://a.example", "https://a.example:8443"].map(|text| Origin::parse(text).unwrap());
        assert_eq!(ProtectedHosts::new(same.to_vec()), None);
    }
}
