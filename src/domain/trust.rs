//! Whom we believe: which peers may describe a request, and how a client's address is found behind them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Ip(IpAddr),
    /// Came through a Unix socket.
    Unix,
    /// Cannot be told. Never trusted.
    Unknown,
}

impl Peer {
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.to_canonical()),
            Self::Unix | Self::Unknown => None,
        }
    }
}

/// The peers that are believed. Empty trusts no one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    pub networks: Vec<IpNet>,
    pub unix: bool,
}

impl TrustedProxies {
    #[must_use]
    pub fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => self.trusts_address(address),
            Peer::Unix => self.unix,
            Peer::Unknown => false,
        }
    }

    fn trusts_address(&self, address: IpAddr) -> bool {
        contains(&self.networks, address)
    }

    /// Walks the lines of `X-Forwarded-For`, which are one list, from the right, past trusted proxies: the first that is not
    /// one is the client; when all are, the leftmost is. What stands left of the client he may have written himself, and is
    /// not looked at. `None` without any line, `Err` when an entry on the way is no address.
    pub fn client_by<'l>(&self, lines: impl Iterator<Item = &'l [u8]>) -> Result<Option<IpAddr>, NoAddress> {
        let lines: Vec<_> = lines.collect();
        let mut client = None;
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
            let address = std::str::from_utf8(hop).ok().and_then(|hop| parse_address(hop.trim())).ok_or(NoAddress)?;
            client = Some(address);
            if !self.trusts_address(address) {
                break;
            }
        }
        Ok(client)
    }
}

/// The IPv4 network where a network is written in the IPv4-mapped form of IPv6 (RFC 4291 2.5.5.2): addresses are compared
/// in their IPv4 form. Any other is as it was.
#[must_use]
pub fn canonical_network(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(net) if net.prefix_len() >= 96 => {
            net.addr().to_ipv4_mapped().and_then(|address| Ipv4Net::new(address, net.prefix_len() - 96).ok())
        }
        IpNet::V6(_) | IpNet::V4(_) => None,
    };
    mapped.map_or(network, IpNet::V4)
}

/// An entry that should have been an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAddress;

/// An address as proxies write it: bare, in brackets, or with a port.
#[must_use]
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let address = match text.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(bare) => IpAddr::V6(bare.parse().ok()?),
            None => text.parse::<std::net::SocketAddr>().ok()?.ip(),
        },
    };
    Some(address.to_canonical())
}

/// Whether the address lies in one of the networks. An IPv4 address mapped into IPv6 is the IPv4 address.
#[must_use]
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_proxy() {
        let trusted = TrustedProxies { networks: vec!["10.0.0.0/8".parse().unwrap()], unix: false };
        let by_lines =
            |lines: &[&'static [u8]]| trusted.client_by(lines.iter().copied()).map(|client| client.map(|ip| ip.to_string()));
        let client = |line: &'static str| by_lines(&[line.as_bytes()]);
        assert_eq!(client("203.0.113.7"), Ok(Some("203.0.113.7".into())));
        assert_eq!(client("1.1.1.1, 203.0.113.7, 10.0.0.1"), Ok(Some("203.0.113.7".into())));
        assert_eq!(client("10.0.0.2,10.0.0.1"), Ok(Some("10.0.0.2".into())));
        assert_eq!(client("junk, 203.0.113.7"), Ok(Some("203.0.113.7".into())));
        assert_eq!(client("junk, 10.0.0.1"), Err(NoAddress));
        assert_eq!(client(""), Err(NoAddress));
        assert_eq!(client("[2001:db8::1]:443"), Ok(Some("2001:db8::1".into())));
        assert_eq!(by_lines(&[]), Ok(None));
        assert_eq!(by_lines(&[b"1.1.1.1", b"203.0.113.7, 10.0.0.2", b"10.0.0.1"]), Ok(Some("203.0.113.7".into())));
        // What the client wrote himself is not looked at.
        assert_eq!(by_lines(&[b"\xff", b"203.0.113.7"]), Ok(Some("203.0.113.7".into())));
        assert_eq!(by_lines(&[b"\xff, 203.0.113.7,10.0.0.1"]), Ok(Some("203.0.113.7".into())));
        assert_eq!(by_lines(&[b"", b"203.0.113.7"]), Ok(Some("203.0.113.7".into())));
        for unreadable in [&b"203.0.113.7, \xff"[..], b"203.0.113.7\xff", b"203.0.113.7,", b"203.0.113.7,\xff,10.0.0.1"] {
            assert_eq!(by_lines(&[unreadable]), Err(NoAddress), "{unreadable:?}");
        }
    }

    #[test]
    fn an_empty_list_trusts_no_one() {
        let nobody = TrustedProxies::default();
        assert!(!nobody.trusts(Peer::Unix) && !nobody.trusts(Peer::Ip("127.0.0.1".parse().unwrap())));
        let local = TrustedProxies { networks: vec!["127.0.0.0/8".parse().unwrap()], unix: true };
        assert!(local.trusts(Peer::Ip("::ffff:127.0.0.1".parse().unwrap())) && local.trusts(Peer::Unix));
    }
}
