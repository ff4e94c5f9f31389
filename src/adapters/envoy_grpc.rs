//! Envoy `ext_authz` over gRPC (`envoy.service.auth.v3.Authorization/Check`). The proxy passes all headers, so what
//! must not travel on is removed here by name: the credential, our cookie, and every alias of an identity header.
//!
//! A reply whose `status.code` is 0 is an allow to Envoy, whatever else is in it: only a `Grant` makes one.

use std::{borrow::Cow, sync::Arc};

use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption, address::Address, header_value_option::HeaderAppendAction},
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::HttpRequest,
            authorization_server::{Authorization, AuthorizationServer},
            check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::rpc,
};
use tonic::{Request, Response, Status};

use super::{
    Carries,
    headers::without_our_cookies,
    own,
    record::Asked,
    reply::Reply,
    wire::{Question, RequestId, Wire},
};
use crate::{
    domain::{
        decide::{Decision, Grant},
        decision::{OutagePolicy, Reason},
        request::{ClientHeaders, Described},
        trust::{Peer, parse_address},
    },
    gate::Verdict,
};

const DIALECT: &str = "envoy-grpc";
/// Envoy counts a message that is refused for its size as an error, which `failure_mode_allow` lets in.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// `google.rpc.Code`.
const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// The gRPC service.
pub struct ExtAuthz {
    wire: Arc<Wire>,
}

impl ExtAuthz {
    #[must_use]
    pub fn server(wire: Arc<Wire>) -> AuthorizationServer<Self> {
        AuthorizationServer::new(Self { wire }).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        // This listener has no Unix socket, so a peer without an address is one that has gone.
        let peer = request.remote_addr().map_or(Peer::Unknown, |address| Peer::Ip(address.ip()));
        let mut secrets = request.metadata().get_all("x-auth-proxy-secret").iter();
        let secret = secrets.next().filter(|_| secrets.next().is_none()).map(tonic::metadata::MetadataValue::as_bytes);
        let believed = self.wire.believe(peer, secret);
        let attributes = request.get_ref().attributes.as_ref();
        let http = attributes.and_then(|attributes| attributes.request.as_ref()?.http.as_ref());
        let seen = http.map(Seen::read).unwrap_or_default();
        let question = believed.and_then(|()| {
            let (attributes, http) = attributes.zip(http).ok_or(Reason::MissingDescription)?;
            describe(attributes, http, &seen)
        });
        let mut headers = seen.client_headers();
        headers.known_empty = http.is_some_and(|http| seen.known_empty(http));
        let body = http.and_then(|http| seen.whole_body(http));
        let described = question.map(|Question { method, target, host, client }| Described {
            method,
            target,
            host,
            client,
            headers: &headers,
            body,
        });
        let request_id = RequestId::next();
        if let Ok(question) = question
            && own::is_own(&question)
        {
            return Box::pin(self.serve_own(question, &headers, &request_id)).await;
        }
        let sample = self.wire.counts.sample();
        self.wire
            .gate
            .check(described, |verdict| {
                self.wire.record(&Asked { dialect: DIALECT, question: question.ok(), request_id: &request_id, sample }, verdict);
                match &verdict.decision {
                    Decision::Allow(grant) => Ok(self.allow(grant, verdict, &seen, &request_id)),
                    Decision::Unavailable(reason) if reason.is_outage() && self.wire.outage.envoy == OutagePolicy::Error => {
                        Err(Status::unavailable(reason.code()))
                    }
                    Decision::Challenge(_) | Decision::Deny(_) | Decision::Unavailable(_) => {
                        let target = question.map_or(&b"/"[..], |question| question.target);
                        Ok(Self::deny(self.wire.refusal(verdict, target, Carries::Everything, &request_id)))
                    }
                }
            })
            .await
            .map(Response::new)
    }
}

/// The headers of the request that is judged, wherever this Envoy puts them. Names in lower case.
#[derive(Default)]
struct Seen<'r> {
    headers: Vec<(Cow<'r, str>, &'r [u8])>,
}

impl<'r> Seen<'r> {
    /// `header_map` when raw headers are encoded, else `headers`, in which Envoy has merged doubles with a comma.
    fn read(http: &'r HttpRequest) -> Self {
        let merged = http.headers.iter().map(|(name, value)| (in_lower_case(name), value.as_bytes()));
        let raw = http.header_map.iter().flat_map(|map| &map.headers).map(|header| {
            let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
            (in_lower_case(&header.key), value)
        });
        Self { headers: merged.chain(raw).collect() }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.headers.iter().filter(move |(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn client_headers(&self) -> ClientHeaders<'r> {
        let mut headers = ClientHeaders::default();
        for (name, value) in &self.headers {
            headers.take(name, value);
        }
        headers
    }

    /// The length that the client has announced, if it is one number.
    fn announced_length(&self) -> Option<usize> {
        let mut lengths = self.all("content-length");
        let length = lengths.next().filter(|_| lengths.next().is_none())?;
        std::str::from_utf8(length).ok()?.parse().ok()
    }

    fn known_empty(&self, http: &HttpRequest) -> bool {
        let chunked = self.all("transfer-encoding").next().is_some();
        self.announced_length() == Some(0) && !chunked && http.body.is_empty() && http.raw_body.is_empty()
    }

    /// The body, unless Envoy has cut it.
    fn whole_body(&self, http: &'r HttpRequest) -> Option<&'r [u8]> {
        let body = if http.raw_body.is_empty() { http.body.as_bytes() } else { &http.raw_body };
        let cut = self.all("x-envoy-auth-partial-body").any(|value| value != b"false");
        let announced = self.all("content-length").next().is_some();
        let whole = !announced || self.announced_length() == Some(body.len());
        (!body.is_empty() && !cut && whole).then_some(body)
    }
}

/// The description in the attributes, which must not contradict the pseudo-headers where those are passed too.
fn describe<'r>(attributes: &'r AttributeContext, http: &'r HttpRequest, seen: &Seen<'r>) -> Result<Question<'r>, Reason> {
    let one = |pseudo: &str, attribute: &'r str| {
        let mut spellings = seen.all(pseudo).map(|value| std::str::from_utf8(value).unwrap_or_default());
        let described = if attribute.is_empty() { spellings.next().unwrap_or_default() } else { attribute };
        if described.is_empty() || spellings.any(|other| other != described) {
            Err(Reason::MissingDescription)
        } else {
            Ok(described)
        }
    };
    let address = attributes.source.as_ref().and_then(|source| source.address.as_ref()?.address.as_ref());
    let client = match address {
        Some(Address::SocketAddress(socket)) => Some(parse_address(&socket.address).ok_or(Reason::MissingDescription)?),
        _ => None,
    };
    // Envoy leaves these empty: query and fragment are part of the path.
    let elsewhere = !http.query.is_empty() || !http.fragment.is_empty();
    if elsewhere || !matches!(http.scheme.as_str(), "" | "http" | "https") {
        return Err(Reason::MissingDescription);
    }
    Ok(Question {
        method: one(":method", &http.method)?,
        target: one(":path", &http.path)?.as_bytes(),
        host: one(":authority", &http.host)?,
        client,
    })
}

impl ExtAuthz {
    async fn serve_own(
        &self,
        question: Question<'_>,
        headers: &ClientHeaders<'_>,
        request_id: &str,
    ) -> Result<Response<CheckResponse>, Status> {
        let reply = self.wire.serve_own(DIALECT, question, headers, request_id).await;
        if reply.status == 503 && self.wire.outage.envoy == OutagePolicy::Error {
            return Err(Status::unavailable(Reason::StoreUnavailable.code()));
        }
        Ok(Response::new(Self::deny(reply)))
    }

    fn allow(&self, grant: &Grant<'_>, verdict: &Verdict<'_>, seen: &Seen<'_>, request_id: &str) -> CheckResponse {
        let names = &self.wire.names;
        let mut headers = Vec::with_capacity(10);
        let mut remove: Vec<String> = Vec::new();
        let identity = self.wire.identity(grant, verdict, request_id);
        for (header, name) in &self.wire.header_names {
            let value = identity.value(*header);
            // Envoy sets first and removes last, so a name is never in both.
            if value.is_empty() {
                remove.push(name.as_str().to_owned());
            } else {
                headers.push(set(name.as_str(), value.into_owned()));
            }
        }
        for (name, _) in seen.headers.iter().filter(|(name, _)| names.is_alias(name)) {
            let is_set = headers.iter().any(|set| set.header.as_ref().is_some_and(|header| header.key == *name));
            if !is_set && !remove.iter().any(|removed| removed == name) {
                remove.push(name.clone().into_owned());
            }
        }
        let credentials = verdict.credentials;
        if credentials.is_some_and(|credentials| credentials.in_authorization) {
            remove.push("authorization".to_owned());
        }
        let cookies: Vec<&str> = seen.all("cookie").filter_map(|value| std::str::from_utf8(value).ok()).collect();
        match without_our_cookies(&cookies.join("; ")) {
            Some(others) if others.is_empty() => remove.push("cookie".to_owned()),
            Some(others) => headers.push(set("cookie", others)),
            None => {}
        }
        let ok = OkHttpResponse {
            headers,
            headers_to_remove: remove,
            query_parameters_to_remove: credentials.map_or_else(Vec::new, |credentials| credentials.in_query.clone()),
            ..OkHttpResponse::default()
        };
        CheckResponse {
            status: Some(rpc::Status { code: OK, ..rpc::Status::default() }),
            http_response: Some(HttpResponse::OkResponse(ok)),
            ..CheckResponse::default()
        }
    }

    /// A denied response takes its headers as a list: two challenges and two cookies stay two.
    fn deny(reply: Reply) -> CheckResponse {
        let code = if reply.status == 401 { UNAUTHENTICATED } else { PERMISSION_DENIED };
        let message = reply.header("x-auth-reason").unwrap_or_default().to_owned();
        let denied = DeniedHttpResponse {
            status: Some(HttpStatus { code: i32::from(reply.status) }),
            headers: reply.headers.into_iter().map(|(name, value)| set(name, value)).collect(),
            body: reply.body,
        };
        CheckResponse {
            status: Some(rpc::Status { code, message, ..rpc::Status::default() }),
            http_response: Some(HttpResponse::DeniedResponse(denied)),
            ..CheckResponse::default()
        }
    }
}

/// Envoy's names are already.
fn in_lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

/// A header that replaces whatever the client sent under its name.
fn set(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}
