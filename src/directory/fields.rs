//! The texts of a record's fields, read with the error codes of their place.

use ipnet::IpNet;

use crate::domain::{
    text::{Invalid, Label},
    token::TokenPrefixes,
    trust::canonical_network,
};

/// What a list in one record holds at most.
pub(super) const MAX_LIST: usize = 100;

pub fn account_name(text: &str) -> Result<Label, Invalid> {
    Label::parse(text, "name", ["account_name_empty", "account_name_too_long", "account_name_characters"])
}

pub fn site_name(text: &str) -> Result<Label, Invalid> {
    Label::parse(text, "name", ["site_name_empty", "site_name_too_long", "site_name_characters"])
}

pub fn token_name(text: &str) -> Result<Label, Invalid> {
    Label::parse(text, "name", ["token_name_empty", "token_name_too_long", "token_name_characters"])
}

pub fn factor_name(text: &str) -> Result<Label, Invalid> {
    Label::parse(text, "name", ["factor_name_empty", "factor_name_too_long", "factor_name_characters"])
}

pub fn device(text: &str) -> Result<Label, Invalid> {
    Label::parse(text, "device", ["device_empty", "device_too_long", "device_characters"])
}

pub fn reason(text: &str) -> Result<Label, Invalid> {
    Label::parse(text, "reason", ["reason_empty", "reason_too_long", "reason_characters"])
}

/// A network in CIDR notation; a bare address is the network of that address alone. Host bits are dropped, and an
/// IPv4-mapped IPv6 network is the IPv4 network.
pub fn network(text: &str) -> Result<IpNet, Invalid> {
    let bare = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| bare()).map(|network| canonical_network(network.trunc())).map_err(|_| {
        Invalid::new(
            "network_malformed",
            "networks",
            format!("`{text}` is no network: write 192.0.2.0/24, 2001:db8::/32 or an address"),
        )
    })
}

/// Refuses texts that hold a token: they are shown to others, and written down.
pub(super) fn without_tokens<'a>(
    prefixes: &TokenPrefixes,
    texts: impl IntoIterator<Item = (&'static str, Option<&'a str>)>,
) -> Result<(), Invalid> {
    for (field, text) in texts {
        let mut words = text.unwrap_or_default().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if words.any(|word| prefixes.parse(word.as_bytes()).is_some()) {
            return Err(Invalid::new(
                "holds_a_token",
                field,
                "this text holds a token, which is a secret; revoke it, and leave it out",
            ));
        }
    }
    Ok(())
}

/// Refuses a list that would make its record too large.
pub(super) fn bounded<T>(list: &[T], code: &'static str, field: &'static str) -> Result<(), Invalid> {
    if list.len() <= MAX_LIST {
        return Ok(());
    }
    let mut error = Invalid::new(code, field, format!("{field} holds more than {MAX_LIST} entries"));
    error.limit = Some(MAX_LIST as u64);
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_in_many_ways_and_kept_in_one() {
        for (text, kept) in [
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()), Ok(kept.to_owned()), "{text}");
        }
        assert!(network("192.0.2.0/33").is_err() && network("here").is_err());
    }
}
