//! What all dialects share: whom they believe, and what identity headers say.

use std::{borrow::Cow, cell::Cell, net::IpAddr, ops::Deref};

use actix_web::http::header::HeaderName;
use rand::{TryRng, rngs::SysRng};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{challenges::Challenges, headers::alias_list};
use crate::{
    counts::Counts,
    directory::Directory,
    domain::{
        access::Level,
        account::AccountKind,
        decide::Grant,
        decision::{Outage, Reason, Via},
        identity::{IdentityHeader, IdentityNames},
        origin::{Origin, ProtectedHosts},
        token::PlainToken,
        trust::{Peer, TrustedProxies},
    },
    gate::{Gate, Verdict},
    metrics::Metrics,
};

/// The request that a proxy asks about, as it described it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'r> {
    pub method: &'r str,
    pub target: &'r [u8],
    pub host: &'r str,
    pub client: Option<IpAddr>,
}

/// What a [`Wire`] is made of.
pub struct WireParts {
    pub gate: std::sync::Arc<Gate>,
    pub metrics: std::sync::Arc<Metrics>,
    pub counts: std::sync::Arc<Counts>,
    pub trusted_proxies: TrustedProxies,
    pub proxy_secret: Option<SecretString>,
    pub outage: Outage,
    pub envoy_use_remote_address: bool,
    pub names: IdentityNames,
    /// Printable ASCII without `"` and `\`.
    pub realm: String,
    pub directory: std::sync::Arc<Directory>,
    /// Where browsers sign in, if anywhere.
    pub portal: Option<Origin>,
    /// From where they can come.
    pub hosts: ProtectedHosts,
}

/// Everything between a proxy's words and the gate.
pub struct Wire {
    pub gate: std::sync::Arc<Gate>,
    pub metrics: std::sync::Arc<Metrics>,
    pub counts: std::sync::Arc<Counts>,
    pub trusted_proxies: TrustedProxies,
    pub outage: Outage,
    pub envoy_use_remote_address: bool,
    pub names: IdentityNames,
    pub directory: std::sync::Arc<Directory>,
    pub portal: Option<Origin>,
    pub hosts: ProtectedHosts,
    proxy_secret: Option<SecretString>,
    pub(super) header_names: Vec<(IdentityHeader, HeaderName)>,
    /// Spellings of identity headers that Envoy is asked to remove on every allow.
    pub(super) aliases: String,
    pub(super) challenges: Challenges,
}

impl Wire {
    /// # Panics
    /// When a configured header name is none; the configuration has checked them.
    #[must_use]
    pub fn new(parts: WireParts) -> Self {
        let WireParts { gate, metrics, trusted_proxies, proxy_secret, outage, envoy_use_remote_address, names, realm, .. } = parts;
        let WireParts { directory, portal, hosts, counts, .. } = parts;
        // Static, or all workers would count the references to each name, on every answer.
        let header_name = |name: &str| {
            let checked = HeaderName::try_from(name).unwrap_or_else(|_| panic!("`{name}` is no header name"));
            HeaderName::from_static(checked.as_str().to_owned().leak())
        };
        let header_names = names.in_use().map(|(header, name)| (header, header_name(name))).collect();
        let challenges = Challenges::new(&realm);
        let aliases = alias_list(&names).join(", ");
        Self {
            gate,
            metrics,
            counts,
            trusted_proxies,
            outage,
            envoy_use_remote_address,
            names,
            directory,
            portal,
            hosts,
            proxy_secret,
            header_names,
            aliases,
            challenges,
        }
    }

    /// Whether this peer may describe a request: by its address, and by the shared secret where one is set.
    pub fn believe(&self, peer: Peer, secret: Option<&[u8]>) -> Result<(), Reason> {
        let knows_secret = match &self.proxy_secret {
            None => true,
            Some(expected) => secret.is_some_and(|secret| bool::from(secret.ct_eq(expected.expose_secret().as_bytes()))),
        };
        if self.trusted_proxies.trusts(peer) && knows_secret { Ok(()) } else { Err(Reason::UntrustedPeer) }
    }

    /// What an upstream is told. The session's own token is made only where somebody wants it.
    pub(super) fn identity<'g>(&self, grant: &Grant<'g>, verdict: &Verdict<'_>, request_id: &'g str) -> Identity<'g> {
        let by_session = matches!(grant.via(), Via::Session | Via::SessionToken);
        let is_wanted = by_session && self.names.get(IdentityHeader::SessionToken).is_some();
        let session_token = verdict.credentials.filter(|_| is_wanted).and_then(|credentials| self.gate.session_token(credentials));
        Identity { grant: *grant, request_id, session_token }
    }
}

/// What the identity headers say of a grant.
pub struct Identity<'g> {
    grant: Grant<'g>,
    request_id: &'g str,
    session_token: Option<PlainToken>,
}

impl Identity<'_> {
    /// What is said by one of a few words, known beforehand. `None` when there is nothing to say, or it is said otherwise.
    #[must_use]
    pub fn word(&self, header: IdentityHeader) -> Option<&'static str> {
        let grant = &self.grant;
        match header {
            IdentityHeader::Kind => grant.kind().map(AccountKind::as_str),
            IdentityHeader::Access => grant.access().map(Level::as_str),
            IdentityHeader::Via => Some(grant.via().as_str()).filter(|_| grant.account().is_some() || grant.via() != Via::None),
            _ => None,
        }
    }

    /// Empty when there is nothing to say.
    #[must_use]
    pub fn value(&self, header: IdentityHeader) -> Cow<'_, str> {
        let grant = &self.grant;
        let value = match header {
            IdentityHeader::Account => grant.account(),
            IdentityHeader::Site => return grant.site().unwrap_or_default(),
            IdentityHeader::Kind | IdentityHeader::Access | IdentityHeader::Via => self.word(header),
            IdentityHeader::Credential => grant.credential(),
            IdentityHeader::Name => grant.name(),
            IdentityHeader::Email => grant.email(),
            IdentityHeader::RequestId => Some(self.request_id),
            IdentityHeader::SessionToken => self.session_token.as_ref().map(PlainToken::expose_secret),
        };
        Cow::Borrowed(value.unwrap_or_default())
    }
}

/// 16 hexadecimal digits: an id for log lines, unlikely to be another's. No secret.
#[derive(Clone, Copy, Debug)]
pub struct RequestId([u8; 16]);

thread_local! {
    /// Each thread counts from a place of its own, so that none waits for what another writes.
    static NEXT_ID: Cell<u64> = Cell::new(SysRng.try_next_u64().unwrap_or_default());
}

impl RequestId {
    #[must_use]
    pub fn next() -> Self {
        let number = NEXT_ID.replace(NEXT_ID.get().wrapping_add(1)).to_be_bytes();
        let digit = |at: usize| (number[at / 2] >> (4 * (1 - at % 2))) & 15;
        Self(std::array::from_fn(|at| b"0123456789abcdef"[usize::from(digit(at))]))
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}
