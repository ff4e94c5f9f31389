//! What handlers read of a request: who asks, the body, the version he has seen, which part of a list.

use std::{any::Any, future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest,
    dev::{Extensions, Payload},
    http::{
        StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue, IF_MATCH, ORIGIN},
    },
    web,
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use super::{
    ApiState, ClientAddresses, Problem, decode, operations, request_id, schema,
    values::{Cursor, window},
};
use crate::{
    directory::{Actor, IdempotencyKey, Window},
    domain::{
        cookie::{Cookie, Sent},
        csrf,
        decision::Reason,
        session::SessionSecret,
        token::PresentedToken,
    },
};

/// Data of a connection to the control socket: the user id of the process at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerUid(pub u32);

/// Notes who is at the other end of a connection to a Unix socket; for `HttpServer::on_connect`, followed by
/// `listen_uds` (actix-web 4.18 forgets the callback in `bind_uds`).
pub fn note_peer(connection: &dyn Any, data: &mut Extensions) {
    let stream = connection.downcast_ref::<tokio::net::UnixStream>();
    // The kernel knows it; a connection it knows nothing about is nobody's.
    if let Some(Ok(credentials)) = stream.map(tokio::net::UnixStream::peer_cred) {
        data.insert(PeerUid(credentials.uid()));
    }
}

/// Who asks, as far as he says; whether it is true, the directory finds out.
pub(super) struct Caller(pub Actor);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(actor(request).map(Self))
    }
}

fn actor(request: &HttpRequest) -> Result<Actor, Problem> {
    let actor = match (bearer(request)?, request.conn_data::<PeerUid>()) {
        (Some(token), _) => Actor::bearer(token),
        (None, Some(PeerUid(uid))) => Actor::control(*uid),
        (None, None) => Actor::session(session(request)?.ok_or_else(no_credential)?),
    };
    Ok(actor.from_address(ClientAddresses::address(request)).in_request(request_id(request)))
}

fn no_credential() -> Problem {
    let detail = "send a token that has the scope `manage`, as `Authorization: Bearer kg_…`";
    Problem::new(401, Reason::NoCredential.code(), detail)
}

/// The portal's cookie, where nothing else was presented. A browser sends it with whatever any page makes it send, so what
/// changes something must show that a page of the portal wants it.
fn session(request: &HttpRequest) -> Result<Option<SessionSecret>, Problem> {
    let portal = request.app_data::<web::Data<ApiState>>().and_then(|state| state.portal.as_ref());
    let Some(portal) = portal else { return Ok(None) };
    let lines: Vec<_> = request.headers().get_all(COOKIE).map(HeaderValue::as_bytes).collect();
    let cookie = match Cookie::Portal.find(&lines, portal.is_secure()) {
        Sent::Nothing => return Ok(None),
        Sent::Ambiguous => {
            return Err(Problem::new(400, Reason::AmbiguousCredential.code(), "there are two cookies of one name; delete both"));
        }
        Sent::One(cookie) => SessionSecret::parse(cookie)
            .ok_or_else(|| Problem::new(401, Reason::SessionEnded.code(), "this cookie is of no session; sign in again"))?,
    };
    if !request.method().is_safe() {
        if only(request, ORIGIN.as_str()) != Some(portal.to_string().as_bytes()) {
            let detail = format!("a session changes something only from the portal itself: send `Origin: {portal}`");
            return Err(Problem::new(403, Reason::CrossSite.code(), detail));
        }
        let token = only(request, "x-csrf-token").and_then(|token| std::str::from_utf8(token).ok());
        if !token.is_some_and(|token| csrf::is_token(&cookie.secret, token)) {
            let detail = "send `X-CSRF-Token`, with the `csrf_token` of this session that GET /api/v1/me answers";
            return Err(Problem::new(403, "csrf_token", detail));
        }
    }
    Ok(Some(cookie))
}

/// The value of a header that comes once.
fn only<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r [u8]> {
    let mut values = request.headers().get_all(name);
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}

/// The token in `Authorization: Bearer` (RFC 6750 2.1), the one place where it is looked for.
fn bearer(request: &HttpRequest) -> Result<Option<PresentedToken>, Problem> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let Some(header) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err(Problem::new(400, Reason::AmbiguousCredential.code(), "send one Authorization header"));
    }
    let bytes = header.as_bytes().trim_ascii();
    let end = bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len());
    let (scheme, token) = bytes.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Problem::new(401, Reason::CredentialKind.code(), "the management API takes `Authorization: Bearer` only"));
    }
    let prefixes = request.app_data::<web::Data<ApiState>>().map(|state| &state.prefixes);
    let token = prefixes.and_then(|prefixes| prefixes.parse(token.trim_ascii()));
    token.map(Some).ok_or_else(|| Problem::new(401, Reason::Malformed.code(), "this is no token, or not all of one"))
}

/// What somebody posts: who he is, and a JSON body. With an `Idempotency-Key` it is carried out once.
pub(super) struct Posted<T> {
    pub actor: Actor,
    pub body: T,
}

impl<T: DeserializeOwned> FromRequest for Posted<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let actor = actor(request);
        let keys: Vec<_> = request.headers().get_all("idempotency-key").map(|key| key.as_bytes().to_vec()).collect();
        let line = [request.method().as_str(), request.path(), request.query_string()].map(|part| part.as_bytes().to_vec());
        let json = json_body(request, payload);
        Box::pin(async move {
            let actor = actor?;
            let json = json.await?;
            let key = match keys.as_slice() {
                [] => None,
                [key] => {
                    let key = std::str::from_utf8(key).unwrap_or_default();
                    Some(IdempotencyKey::new(key, &[&line[0], &line[1], &line[2], &json])?)
                }
                _ => return Err(Problem::new(400, "idempotency_key_malformed", "send one Idempotency-Key header")),
            };
            Ok(Self { actor: actor.once(key), body: decode::json(&json)? })
        })
    }
}

/// A JSON body. An empty one is an empty object.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let json = json_body(request, payload);
        Box::pin(async move { decode::json(&json.await?).map(Self) })
    }
}

fn json_body(request: &HttpRequest, payload: &mut Payload) -> impl Future<Output = Result<web::Bytes, Problem>> + use<> {
    let bytes = web::Bytes::from_request(request, payload);
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json");
    async move {
        let bytes = bytes.await.map_err(|error| match error.as_response_error().status_code() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(413, "body_too_large", "the body is larger than 65536 bytes").limit(super::MAX_BODY as u64)
            }
            _ => Problem::new(400, "body_unreadable", "the body could not be read"),
        })?;
        if !bytes.is_empty() && !is_json {
            // A form can be sent from any page of the web; JSON cannot, without being asked first.
            return Err(Problem::new(415, "not_json", "send the body with `Content-Type: application/json`"));
        }
        Ok(bytes)
    }
}

/// The version in `If-Match`, if the caller minds. `*` and absence mean any; a tag that is none of ours is no version.
pub(super) struct Seen(pub Option<u64>);

impl FromRequest for Seen {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut headers = request.headers().get_all(IF_MATCH);
        let first = headers.next();
        if headers.next().is_some() {
            return std::future::ready(Err(Problem::new(400, "if_match_twice", "send one If-Match header")));
        }
        let seen = first.map(HeaderValue::as_bytes).filter(|value| *value != b"*").map(|value| {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
            // No record has version 0.
            number.unwrap_or(0)
        });
        std::future::ready(Ok(Self(seen)))
    }
}

impl IntoParams for Seen {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The `ETag` of the version that you have seen, so that nobody's change is lost; `*` is any.";
        vec![operations::request_header("If-Match", schema::if_match(), description)]
    }
}

/// What [`Posted`] reads beside the body, for annotations.
pub(super) struct Once;

impl IntoParams for Once {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "A text of your choice, such as a UUID. The request is carried out once, however often it is sent.";
        vec![operations::request_header("Idempotency-Key", schema::idempotency_key(), description)]
    }
}

/// The query. Names that are not known, and names that come twice, are refused.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(decode::query(request.query_string()).map(Self))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

/// The query of a list without filters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The most items in one answer.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `next` of the part before.
    cursor: Option<Cursor>,
}

impl ListQuery {
    pub fn window(&self) -> Result<Window, Problem> {
        window(self.limit, self.cursor.as_ref())
    }
}
