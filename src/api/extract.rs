//! What handlers read of a request: who asks, the body, the version he has seen, which part of a list.

use std::{any::Any, future::Future, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::{Extensions, Payload},
    http::{
        StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH},
    },
    web,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};

use super::{ApiState, ClientAddresses, Problem, dto::ListBody};
use crate::{
    directory::{Actor, IdempotencyKey, Listing, Window},
    domain::{
        decision::Reason,
        site::SiteName,
        text::{Invalid, Login},
        time::parse_duration,
        token::{PresentedToken, TokenId},
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
        (None, None) => {
            let detail = "send a token that has the scope `manage`, as `Authorization: Bearer kg_…`";
            return Err(Problem::new(401, Reason::NoCredential.code(), detail));
        }
    };
    let request_id = request.extensions().get::<tracing_actix_web::RequestId>().map(ToString::to_string);
    Ok(actor.from_address(ClientAddresses::address(request)).in_request(request_id))
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
            Ok(Self { actor: actor.once(key), body: read_json(&json)? })
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
        Box::pin(async move { read_json(&json.await?).map(Self) })
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

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(text).map_err(|error| {
        let (status, code) = if error.is_data() { (422, "body_invalid") } else { (400, "body_malformed") };
        Problem::new(status, code, without_values(&error.to_string()))
    })
}

/// What the JSON reader says without the value it stumbled over, which may be a password in the wrong place.
fn without_values(message: &str) -> String {
    match (message.split_once(": "), message.rsplit_once(", expected ")) {
        (Some((kind @ ("invalid type" | "invalid value" | "invalid length"), _)), Some((_, expected))) => {
            format!("{kind}, expected {expected}")
        }
        _ => message.to_owned(),
    }
}

/// The version in `If-Match`, if the caller minds. `*` and absence mean any; a tag that is none of ours is no version.
pub(super) struct Seen(pub Option<u64>);

impl FromRequest for Seen {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let seen = request.headers().get(IF_MATCH).map(HeaderValue::as_bytes).filter(|value| *value != b"*").map(|value| {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
            // No record has version 0.
            number.unwrap_or(0)
        });
        std::future::ready(Ok(Self(seen)))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

/// `?wait=true` on what takes away. A change already holds everywhere when it is acknowledged, because each check
/// asks the store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    #[serde(default, rename = "wait")]
    _wait: bool,
}

/// The query of a list without filters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<u64>,
    cursor: Option<String>,
}

impl ListQuery {
    pub fn window(&self) -> Result<Window, Problem> {
        window(self.limit, self.cursor.as_deref())
    }
}

/// Which part of a list is wanted. In the query of each list with filters these two are members of their own: serde does
/// not refuse unknown names where one structure is flattened into another.
pub(super) fn window(limit: Option<u64>, cursor: Option<&str>) -> Result<Window, Problem> {
    let most = Window::MAX_LIMIT as u64;
    let limit = match limit {
        None => Window::DEFAULT_LIMIT,
        Some(limit) if (1..=most).contains(&limit) => usize::try_from(limit).unwrap_or(Window::MAX_LIMIT),
        Some(_) => return Err(Problem::bad_query(format!("limit is 1 to {most}")).on("limit").limit(most)),
    };
    let after = cursor.map(|cursor| {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
        bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| Problem::bad_query("this is no cursor of ours").on("cursor"))
    });
    Ok(Window { after: after.transpose()?, limit })
}

/// A duration such as `90d` in a field.
pub(super) fn duration(text: &str, field: &'static str) -> Result<Duration, Invalid> {
    let detail = format!("`{text}` is no duration such as 30s, 15m, 12h or 90d");
    parse_duration(text).ok_or_else(|| Invalid::new("duration_malformed", field, detail))
}

pub(super) fn encoded(cursor: Option<String>) -> Option<String> {
    cursor.map(|cursor| URL_SAFE_NO_PAD.encode(cursor))
}

impl<T> ListBody<T> {
    pub(super) fn of<U>(listing: Listing<U>, view: impl FnMut(U) -> T) -> Self {
        Self { items: listing.items.into_iter().map(view).collect(), next: encoded(listing.next) }
    }
}

/// A text that is no login names no account.
pub(super) fn login(text: &str) -> Result<Login, Problem> {
    Login::parse(text).map_err(|_| Problem::new(404, "account_not_found", format!("there is no account `{text}`")))
}

pub(super) fn site_name(text: &str) -> Result<SiteName, Problem> {
    SiteName::parse(text).map_err(|_| Problem::new(404, "site_not_found", format!("there is no site `{text}`")))
}

/// What is no id may be a whole token, so it is not repeated.
pub(super) fn token_id(text: &str) -> Result<TokenId, Problem> {
    let detail = "there is no such token; a token's id is the first twelve characters after `kg_u_` or `kg_s_`";
    TokenId::parse(text).ok_or_else(|| Problem::new(404, "token_not_found", detail))
}
