//! What access is given on: a site, the name that policies and people use for it, and the hosts it lists.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::{
    account::Format,
    id::SiteId,
    text::{Invalid, Label},
    time::Timestamp,
};

/// The id that people and policies use: `shop`, `1`. Letters, digits, `.`, `_`, `-`; compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteName(SmolStr);

impl SiteName {
    pub const MAX_CHARS: u64 = 64;

    /// # Errors
    /// When it is empty, too long, or holds anything but letters, digits, `.`, `_`, `-` (the first a letter or digit).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() as u64 > Self::MAX_CHARS {
            return Err(Invalid::over("site_id_too_long", "id", Self::MAX_CHARS));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts_well || !text.chars().all(allowed) {
            let detail = "a site id starts with a letter or digit and holds only letters, digits and . _ -";
            return Err(Invalid::new("site_id_characters", "id", detail));
        }
        Ok(Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SiteName {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<SiteName> for String {
    fn from(name: SiteName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A host name or address: lower case, no port, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(SmolStr);

impl Host {
    /// RFC 1035 2.3.4, as text.
    pub const MAX_CHARS: u64 = 253;

    /// Reads the value of a `Host` header or `:authority` (RFC 9110 7.2): drops the port and one trailing dot, lowers the case.
    ///
    /// # Errors
    /// When it is no host: user information, lists, white space, an empty label, a port that is no port.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("host_malformed", "host", "a host is a name or an address, with or without a port");
        let (host, port): (SmolStr, _) = if text.starts_with('[') {
            let end = text.find(']').ok_or_else(invalid)?;
            let address: std::net::Ipv6Addr = text[1..end].parse().map_err(|_| invalid())?;
            (format_smolstr!("[{address}]"), &text[end + 1..])
        } else {
            let (name, port) = text.find(':').map_or((text, ""), |colon| text.split_at(colon));
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.len() as u64 > Self::MAX_CHARS {
                return Err(Invalid::over("host_too_long", "host", Self::MAX_CHARS));
            }
            if !is_host_name(name) {
                return Err(invalid());
            }
            let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
            (if is_lower { name.into() } else { name.to_ascii_lowercase().into() }, port)
        };
        let port_is_valid = match port.strip_prefix(':') {
            Some(digits) => {
                digits.len() <= 5
                    && digits.bytes().all(|b| b.is_ascii_digit())
                    && (digits.is_empty() || digits.parse::<u16>().is_ok())
            }
            None => port.is_empty(),
        };
        if port_is_valid { Ok(Self(host)) } else { Err(invalid()) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Labels of letters, digits, `-` and `_`, with dots between them.
fn is_host_name(name: &str) -> bool {
    let mut label = 0;
    let goes_on = name.bytes().all(|byte| {
        let is_dot = byte == b'.';
        let fits = if is_dot { label > 0 } else { label < 63 && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) };
        label = if is_dot { 0 } else { label + 1 };
        fits
    });
    goes_on && label > 0
}

impl TryFrom<String> for Host {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.as_str().to_owned()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    pub v: Format,
    pub id: SiteId,
    pub site: SiteName,
    pub name: Option<Label>,
    pub hosts: Vec<Host>,
    pub created_at: Timestamp,
    pub version: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for spelling in
            ["shop.example.com", "SHOP.Example.COM", "shop.example.com.", "shop.example.com:8443", "shop.example.com.:443"]
        {
            assert_eq!(Host::parse(spelling).unwrap().as_str(), "shop.example.com", "{spelling}");
        }
        assert_eq!(Host::parse("[0:0::1]:80").unwrap().as_str(), "[::1]");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in [
            "",
            ".",
            "a..b",
            "a b",
            "user@host",
            "a,b",
            "a/b",
            "a:b",
            "a:99999",
            "[::1",
            "::1",
            "a\u{0}",
            "ä.example",
            "[::1]x",
            "a:1:2",
        ] {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
    }
}
