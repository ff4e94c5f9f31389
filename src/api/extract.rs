//! What handlers read of a request: who asks, the body, the version he has seen, which part of a list.

use std::{any::Any, future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest,
    dev::{Extensions, Payload},
    http::{
        StatusCode,
        header::{CONTENT_TYPE, HeaderValue, IF_MATCH},
    },
    web,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Problem, dto::ListBody};
use crate::{
    directory::{Actor, Listing, Window},
    domain::{site::SiteName, text::Login, token::TokenId},
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

/// Who asks.
pub(super) struct Caller(pub Actor);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.conn_data::<PeerUid>().map(|PeerUid(uid)| Self(Actor::Control { uid: *uid }));
        std::future::ready(caller.ok_or_else(|| Problem::new(401, "no_credential", "this needs the control socket")))
    }
}

/// A JSON body. An empty one is an empty object.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = web::Bytes::from_request(request, payload);
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is_json = essence.eq_ignore_ascii_case("application/json");
        Box::pin(async move {
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
            let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
            serde_json::from_slice(text).map(Self).map_err(|error| {
                let (status, code) = if error.is_data() { (422, "body_invalid") } else { (400, "body_malformed") };
                Problem::new(status, code, without_values(&error.to_string()))
            })
        })
    }
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

/// `?wait=true` on what takes away. A change already holds everywhere when it is acknowledged, because each check
/// asks the store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    #[serde(default, rename = "wait")]
    _wait: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    pub limit: Option<u64>,
    pub cursor: Option<String>,
    pub account: Option<String>,
    pub login: Option<String>,
    pub site: Option<String>,
}

impl ListQuery {
    /// Refuses filters that this list does not have.
    pub fn only(self, allowed: &[&str]) -> Result<Self, Problem> {
        for (name, value) in [("account", &self.account), ("login", &self.login), ("site", &self.site)] {
            if value.is_some() && !allowed.contains(&name) {
                return Err(Problem::bad_query(format!("this list has no filter `{name}`")).on(name));
            }
        }
        Ok(self)
    }

    pub fn window(&self) -> Result<Window, Problem> {
        let most = Window::MAX_LIMIT as u64;
        let limit = match self.limit {
            None => Window::DEFAULT_LIMIT,
            Some(limit) if (1..=most).contains(&limit) => usize::try_from(limit).unwrap_or(Window::MAX_LIMIT),
            Some(_) => return Err(Problem::bad_query(format!("limit is 1 to {most}")).on("limit").limit(most)),
        };
        let after = self.cursor.as_deref().map(|cursor| {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
            bytes
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| Problem::bad_query("this is no cursor of ours").on("cursor"))
        });
        Ok(Window { after: after.transpose()?, limit })
    }
}

impl<T> ListBody<T> {
    pub(super) fn of<U>(listing: Listing<U>, view: impl FnMut(U) -> T) -> Self {
        let next = listing.next.map(|next| URL_SAFE_NO_PAD.encode(next));
        Self { items: listing.items.into_iter().map(view).collect(), next }
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
