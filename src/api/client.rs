//! Where a request to the API came from: the peer, or the client whom a trusted proxy tells of. Knows no account and
//! judges nothing.

use std::net::IpAddr;

use actix_web::{HttpRequest, http::header::HeaderValue};

use crate::domain::trust::{Peer, TrustedProxies};

/// Whose `X-Forwarded-For` is believed; data of the application. Without it nobody's is.
#[derive(Clone, Debug, Default)]
pub struct ClientAddresses(pub TrustedProxies);

impl ClientAddresses {
    /// The address of the client; of the peer where a trusted proxy names none, or none that can be read: limits count by
    /// it, and whoever had none would be counted nowhere. `None` over a Unix socket.
    #[must_use]
    pub fn address(request: &HttpRequest) -> Option<IpAddr> {
        let peer = Peer::Ip(request.peer_addr()?.ip());
        match request.app_data::<Self>() {
            Some(Self(proxies)) if proxies.trusts(peer) => {
                let lines = request.headers().get_all("x-forwarded-for").map(HeaderValue::as_bytes);
                proxies.client_by(lines).ok().flatten().or(peer.address())
            }
            _ => peer.address(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn address(peer: &str, forwarded_for: &[&str]) -> Option<String> {
        let proxies = TrustedProxies { networks: vec!["10.0.0.0/8".parse().unwrap()], unix: false };
        let request = TestRequest::default().app_data(ClientAddresses(proxies)).peer_addr(peer.parse().unwrap());
        let request = forwarded_for.iter().fold(request, |request, line| request.append_header(("X-Forwarded-For", *line)));
        ClientAddresses::address(&request.to_http_request()).map(|address| address.to_string())
    }

    #[test]
    fn a_proxy_is_believed_only_where_it_is_trusted() {
        let client = Some("203.0.113.7".to_owned());
        assert_eq!(address("203.0.113.7:5", &["192.0.2.1"]), client);
        assert_eq!(address("10.0.0.1:5", &["192.0.2.1, 203.0.113.7"]), client);
        assert_eq!(address("[::ffff:10.0.0.1]:5", &["192.0.2.1", "203.0.113.7, 10.0.0.2"]), client);
        assert_eq!(address("10.0.0.1:5", &[]), Some("10.0.0.1".to_owned()));
        assert_eq!(address("10.0.0.1:5", &["203.0.113.7, junk"]), Some("10.0.0.1".to_owned()));
        assert_eq!(address("10.0.0.1:5", &["junk, 203.0.113.7"]), client);
        assert_eq!(address("[::ffff:203.0.113.7]:5", &["junk"]), client);
    }

    #[test]
    fn without_a_peer_or_without_trust_no_header_counts() {
        let request = || TestRequest::default().append_header(("X-Forwarded-For", "203.0.113.7"));
        let trusting = ClientAddresses(TrustedProxies { networks: vec!["0.0.0.0/0".parse().unwrap()], unix: true });
        assert_eq!(ClientAddresses::address(&request().app_data(trusting).to_http_request()), None);
        let peer = "10.0.0.1:5".parse().unwrap();
        let found = ClientAddresses::address(&request().peer_addr(peer).to_http_request());
        assert_eq!(found, Some(peer.ip()));
    }
}
