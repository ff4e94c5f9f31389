//! What all dialects share: whom they believe, and what identity headers say; and how a verdict becomes an HTTP answer.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
};
use rand::{TryRng, rngs::SysRng};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tracing::Instrument;

use super::{
    Carries, Dialect,
    headers::{Incoming, alias_list},
    own,
    record::Asked,
    refusal::Challenges,
    reply::Reply,
};
use crate::{
    directory::Directory,
    domain::{
        access::Level,
        account::AccountKind,
        decide::{Decision, Grant},
        decision::{Outage, Reason, Via},
        identity::{IdentityHeader, IdentityNames},
        origin::{Origin, ProtectedHosts},
        request::Described,
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
    pub trusted_proxies: TrustedProxies,
    pub outage: Outage,
    pub envoy_use_remote_address: bool,
    pub names: IdentityNames,
    pub directory: std::sync::Arc<Directory>,
    pub portal: Option<Origin>,
    pub hosts: ProtectedHosts,
    pub request_ids: RequestIds,
    proxy_secret: Option<SecretString>,
    header_names: Vec<(IdentityHeader, HeaderName)>,
    /// Spellings of identity headers that Envoy is asked to remove on every allow.
    aliases: String,
    pub(super) challenges: Challenges,
}

const HEADERS_TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
impl Wire {
    /// # Panics
    /// When a configured header name is none; the configuration has checked them.
    #[must_use]
    pub fn new(parts: WireParts) -> Self {
        let WireParts { gate, metrics, trusted_proxies, proxy_secret, outage, envoy_use_remote_address, names, realm, .. } = parts;
        let WireParts { directory, portal, hosts, .. } = parts;
        let header_name = |name| HeaderName::try_from(name).unwrap_or_else(|_| panic!("`{name}` is no header name"));
        let header_names = names.in_use().map(|(header, name)| (header, header_name(name))).collect();
        let challenges = Challenges::new(&realm);
        let aliases = alias_list(&names).join(", ");
        let request_ids = RequestIds::new();
        Self {
            gate,
            metrics,
            trusted_proxies,
            outage,
            envoy_use_remote_address,
            names,
            directory,
            portal,
            hosts,
            request_ids,
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

    /// The way of every HTTP dialect.
    pub(super) async fn answer(&self, dialect: &Dialect, request: &HttpRequest) -> HttpResponse {
        let incoming = Incoming::new(request);
        let secret = incoming.optional("x-auth-proxy-secret").ok().flatten();
        let question = self.believe(incoming.peer(), secret.map(str::as_bytes)).and_then(|()| (dialect.describe)(&incoming, self));
        let request_id = self.request_ids.next();
        if let Ok(question) = question
            && dialect.carries == Carries::Everything
            && own::is_own(&question)
        {
            let reply = self.serve_own(dialect.name, question, &incoming.client_headers(), &request_id).await;
            return over_http(&self.bent(dialect, reply));
        }
        self.judge(dialect.name, &incoming, question, &request_id, |verdict| match &verdict.decision {
            Decision::Allow(grant) => self.render_allow(dialect, &incoming, grant, verdict, &request_id),
            Decision::Challenge(_) | Decision::Deny(_) | Decision::Unavailable(_) => {
                let target = question.map_or(&b"/"[..], |question| question.target);
                let reply = self.refusal(verdict, target, dialect.carries, &request_id);
                over_http(&self.bent(dialect, reply))
            }
        })
        .await
    }

    /// Asks the gate, then logs and counts what it said.
    pub(super) async fn judge<T>(
        &self,
        dialect: &'static str,
        incoming: &Incoming<'_>,
        question: Result<Question<'_>, Reason>,
        request_id: &str,
        render: impl FnOnce(&Verdict<'_>) -> T,
    ) -> T {
        let headers = incoming.client_headers();
        let described = question.map(|Question { method, target, host, client }| Described {
            method,
            target,
            host,
            client,
            headers: &headers,
            body: None,
        });
        let span = tracing::debug_span!("check", dialect, request_id);
        self.gate
            .check(described, |verdict| {
                self.record(&Asked { dialect, question: question.ok(), request_id }, verdict);
                render(verdict)
            })
            .instrument(span)
            .await
    }

    fn render_allow(
        &self,
        dialect: &Dialect,
        incoming: &Incoming<'_>,
        grant: &Grant<'_>,
        verdict: &Verdict<'_>,
        request_id: &str,
    ) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        response.insert_header(("cache-control", "no-store"));
        let mut absent = String::new();
        let identity = self.identity(grant, verdict, request_id);
        for (header, name) in &self.header_names {
            let value = identity.value(*header);
            match HeaderValue::from_bytes(value.as_bytes()) {
                Ok(value) if !(dialect.removes_headers && value.is_empty()) => {
                    response.insert_header((name.clone(), value));
                }
                // The whole set, always: what there is nothing to say about is removed or emptied, never the client's.
                _ if dialect.removes_headers => absent.extend([", ", name.as_str()]),
                _ => {
                    response.insert_header((name.clone(), HeaderValue::from_static("")));
                }
            }
        }
        if dialect.returns_cookies {
            let cookies = incoming.other_cookies();
            if !cookies.is_empty() {
                response.insert_header(("cookie", cookies));
            }
        }
        if dialect.removes_headers {
            let is_own = |alias: &&str| self.header_names.iter().any(|(_, own)| own.as_str() == *alias);
            for alias in incoming.aliases(&self.names).filter(|alias| !is_own(alias)) {
                absent.extend([", ", alias]);
            }
            let used = verdict.credentials.is_some_and(|credentials| credentials.in_authorization);
            let credential = if used { ", authorization" } else { "" };
            response.insert_header((HEADERS_TO_REMOVE, format!("{}{absent}{credential}", self.aliases)));
        }
        response.finish()
    }

    /// What an upstream is told. The session's own token is made only where somebody wants it.
    pub(super) fn identity<'g>(&self, grant: &Grant<'g>, verdict: &Verdict<'_>, request_id: &'g str) -> Identity<'g> {
        let by_session = matches!(grant.via(), Via::Session | Via::SessionToken);
        let is_wanted = by_session && self.names.get(IdentityHeader::SessionToken).is_some();
        let session_token = verdict.credentials.filter(|_| is_wanted).and_then(|credentials| self.gate.session_token(credentials));
        Identity { grant: *grant, request_id, session_token }
    }
}

/// The answer over HTTP.
pub(super) fn over_http(reply: &Reply) -> HttpResponse {
    let mut response = HttpResponse::build(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::FORBIDDEN));
    for (name, value) in &reply.headers {
        response.append_header((*name, value.as_str()));
    }
    response.body(reply.body.clone())
}

/// What the identity headers say of a grant.
pub struct Identity<'g> {
    grant: Grant<'g>,
    request_id: &'g str,
    session_token: Option<PlainToken>,
}

impl Identity<'_> {
    /// Empty when there is nothing to say.
    #[must_use]
    pub fn value(&self, header: IdentityHeader) -> Cow<'_, str> {
        let grant = &self.grant;
        let value = match header {
            IdentityHeader::Account => grant.account(),
            IdentityHeader::Kind => grant.kind().map(AccountKind::as_str),
            IdentityHeader::Site => return Cow::Owned(grant.site().unwrap_or_default()),
            IdentityHeader::Access => grant.access().map(Level::as_str),
            IdentityHeader::Via => Some(grant.via().as_str()).filter(|_| grant.account().is_some() || grant.via() != Via::None),
            IdentityHeader::Credential => grant.credential(),
            IdentityHeader::Name => grant.name(),
            IdentityHeader::Email => grant.email(),
            IdentityHeader::RequestId => Some(self.request_id),
            IdentityHeader::SessionToken => self.session_token.as_ref().map(PlainToken::expose_secret),
        };
        Cow::Borrowed(value.unwrap_or_default())
    }
}

/// Ids for log lines: unique within a process and unlikely to meet another's. No secret.
pub struct RequestIds(AtomicU64);

impl RequestIds {
    fn new() -> Self {
        Self(AtomicU64::new(SysRng.try_next_u64().unwrap_or_default()))
    }

    #[must_use]
    pub fn next(&self) -> String {
        format!("{:016x}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}
