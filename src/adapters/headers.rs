//! Reads the headers of a check over HTTP, each at most once where it describes something; and knows which headers
//! an upstream must never see from a client.

use std::net::IpAddr;

use actix_http::{
    Request, RequestHead,
    header::{COOKIE, HeaderMap, HeaderName},
};

use crate::domain::{
    cookie::Cookie,
    decision::Reason,
    few::Values,
    identity::{IdentityNames, fold_header_name},
    request::ClientHeaders,
    trust::{Peer, TrustedProxies, parse_address},
};

/// Data of a connection that came through a Unix socket.
#[derive(Clone, Copy, Debug)]
pub struct OverUnix;

/// The headers by which proxies describe a request.
#[derive(Clone, Copy, Debug)]
pub enum Describing {
    OriginalMethod,
    OriginalUri,
    OriginalHost,
    OriginalProto,
    RealIp,
    ForwardedMethod,
    ForwardedUri,
    ForwardedHost,
    ForwardedProto,
    ForwardedFor,
    Host,
    /// What a proxy proves by that it may.
    ProxySecret,
}

impl Describing {
    const COUNT: usize = Self::ProxySecret as usize + 1;

    /// By its name in lower case.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "x-original-method" => Self::OriginalMethod,
            "x-original-uri" => Self::OriginalUri,
            "x-original-host" => Self::OriginalHost,
            "x-original-proto" => Self::OriginalProto,
            "x-real-ip" => Self::RealIp,
            "x-forwarded-method" => Self::ForwardedMethod,
            "x-forwarded-uri" => Self::ForwardedUri,
            "x-forwarded-host" => Self::ForwardedHost,
            "x-forwarded-proto" => Self::ForwardedProto,
            "x-forwarded-for" => Self::ForwardedFor,
            "host" => Self::Host,
            "x-auth-proxy-secret" => Self::ProxySecret,
            _ => return None,
        })
    }
}

/// A check as it came over HTTP.
pub struct Incoming<'r> {
    head: &'r RequestHead,
    peer: Peer,
    describing: [Values<'r>; Describing::COUNT],
    client: ClientHeaders<'r>,
}

impl<'r> Incoming<'r> {
    #[must_use]
    pub fn new(request: &'r Request) -> Self {
        let peer = match (request.peer_addr(), request.conn_data::<OverUnix>()) {
            (Some(address), _) => Peer::Ip(address.ip()),
            (None, Some(OverUnix)) => Peer::Unix,
            (None, None) => Peer::Unknown,
        };
        let head = request.head();
        let (mut describing, mut client) = (<[Values<'r>; Describing::COUNT]>::default(), ClientHeaders::default());
        for (name, value) in head.headers() {
            match Describing::named(name.as_str()) {
                Some(header) => describing[header as usize].push(value.as_bytes()),
                None => client.take(name.as_str(), value.as_bytes()),
            }
        }
        Self { head, peer, describing, client }
    }

    fn headers(&self) -> &'r HeaderMap {
        self.head.headers()
    }

    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// As it came, not decoded.
    #[must_use]
    pub fn path(&self) -> &'r str {
        self.head.uri.path()
    }

    #[must_use]
    pub fn query(&self) -> &'r str {
        self.head.uri.query().unwrap_or_default()
    }

    #[must_use]
    pub fn method(&self) -> &'r str {
        self.head.method.as_str()
    }

    /// Path and query, exactly as they came.
    #[must_use]
    pub fn target(&self) -> &'r str {
        self.head.uri.path_and_query().map_or("", |target| target.as_str())
    }

    /// The one value of a header; `None` when it is absent.
    pub fn optional(&self, header: Describing) -> Result<Option<&'r str>, Reason> {
        match *self.describing[header as usize] {
            [] => Ok(None),
            [value] => std::str::from_utf8(value).map(Some).map_err(|_| Reason::MissingDescription),
            _ => Err(Reason::MissingDescription),
        }
    }

    /// The one value of a header that must be there.
    pub fn required(&self, header: Describing) -> Result<&'r str, Reason> {
        match self.optional(header)? {
            Some("") | None => Err(Reason::MissingDescription),
            Some(value) => Ok(value),
        }
    }

    /// Accepts `http` and `https`, and `ws` and `wss`, which some proxies say of an upgrade; without the header it is http.
    pub fn protocol(&self, header: Describing) -> Result<(), Reason> {
        match self.optional(header)? {
            None => Ok(()),
            Some(scheme) if ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => Ok(()),
            Some(_) => Err(Reason::MissingDescription),
        }
    }

    /// One address; `None` when the header is absent.
    pub fn address(&self, header: Describing) -> Result<Option<IpAddr>, Reason> {
        match self.optional(header)? {
            None | Some("") => Ok(None),
            Some(text) => parse_address(text).map(Some).ok_or(Reason::MissingDescription),
        }
    }

    /// The client by `X-Forwarded-For`, whose lines are one list.
    pub fn forwarded_for(&self, trusted: &TrustedProxies) -> Result<Option<IpAddr>, Reason> {
        let lines = self.describing[Describing::ForwardedFor as usize].iter().copied();
        trusted.client_by(lines).map_err(|_| Reason::MissingDescription)
    }

    /// The client's cookies that are not ours.
    #[must_use]
    pub fn other_cookies(&self) -> String {
        let lines: Vec<&str> =
            self.headers().get_all(COOKIE).filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()).collect();
        let cookies = lines.join("; ");
        without_our_cookies(&cookies).unwrap_or(cookies)
    }

    /// Headers of the request that some server would take for an identity header.
    pub fn aliases<'n>(&self, names: &'n IdentityNames) -> impl Iterator<Item = &'r str> + use<'r, 'n> {
        self.headers().keys().map(HeaderName::as_str).filter(|name| names.is_alias(name))
    }

    /// The client's own headers that a check may look at.
    #[must_use]
    pub fn client_headers(&self) -> &ClientHeaders<'r> {
        &self.client
    }
}

/// Every spelling of the identity headers that a proxy without patterns can remove by name: with `_` and with `.`.
#[must_use]
pub fn alias_list(names: &IdentityNames) -> Vec<String> {
    names
        .in_use()
        .flat_map(|(_, name)| {
            let folded = fold_header_name(name);
            [folded.replace('-', "_"), folded.replace('-', ".")]
        })
        .collect()
}

/// A `Cookie` header without our own cookies, those of the portal included; `None` when there is nothing of ours in it.
#[must_use]
pub fn without_our_cookies(cookie: &str) -> Option<String> {
    let is_ours = |pair: &&str| Cookie::is_any(pair.split('=').next().unwrap_or_default().trim());
    let pairs = || cookie.split(';').filter(|pair| !pair.trim().is_empty());
    pairs().any(|pair| is_ours(&pair)).then(|| {
        let others: Vec<&str> = pairs().filter(|pair| !is_ours(pair)).map(str::trim).collect();
        others.join("; ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookies_are_taken_out_and_the_others_stay() {
        assert_eq!(without_our_cookies("a=b; c=d"), None);
        assert_eq!(without_our_cookies("a=b; __Host-keygate-check=x; c=d"), Some("a=b; c=d".to_owned()));
        assert_eq!(without_our_cookies("keygate-check=x; __Host-keygate=y; keygate-nonce=z"), Some(String::new()));
    }
}
