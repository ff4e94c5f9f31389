//! What went wrong, as RFC 9457 has it: `application/problem+json`.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{ALLOW, AUTHORIZATION, HeaderValue, HttpDate, WWW_AUTHENTICATE},
    },
    middleware::Next,
    web,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiState;
use crate::{
    directory::DirectoryError,
    domain::{decision::Reason, text::Invalid, time::Timestamp},
};

/// A problem, small enough to be passed on by `?`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

/// The document that tells a client of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// `about:blank#` and a stable code.
    #[serde(rename = "type")]
    #[schema(pattern = "^about:blank#[a-z_]+$")]
    pub kind: String,
    pub title: String,
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What to do, in a sentence.
    pub detail: String,
    /// The member or parameter that is wrong.
    #[schema(required)]
    pub field: Option<String>,
    /// What it went beyond.
    #[schema(required)]
    pub limit: Option<u64>,
    /// By which the log knows the request.
    #[schema(required)]
    pub request_id: Option<String>,
    /// When it may be tried again, for `Retry-After`.
    #[serde(skip)]
    until: Option<Timestamp>,
}

impl Problem {
    /// A `code` of the contract's kind: lower case and `_`. The detail says what to do.
    #[must_use]
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
        Self(Box::new(Document {
            kind: format!("about:blank#{code}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            field: None,
            limit: None,
            request_id: None,
            until: None,
        }))
    }

    #[must_use]
    pub fn document(&self) -> &Document {
        &self.0
    }

    #[must_use]
    pub(super) fn on(mut self, field: &str) -> Self {
        self.0.field = Some(field.to_owned());
        self
    }

    #[must_use]
    pub(super) fn limit(mut self, limit: u64) -> Self {
        self.0.limit = Some(limit);
        self
    }

    #[must_use]
    fn until(mut self, until: Option<Timestamp>) -> Self {
        self.0.until = until;
        self
    }

    /// Tells in the document which request it answers, by the id that the log has.
    #[must_use]
    pub(super) fn answering(mut self, request_id: Option<String>) -> Self {
        self.0.request_id = request_id;
        self
    }

    pub(super) fn bad_query(detail: impl Into<String>) -> Self {
        Self::new(422, "query_invalid", detail)
    }

    /// RFC 6750 3: what to present, and that what was presented is not good.
    fn challenge(&self, realm: &str, presented: bool) -> Option<HeaderValue> {
        let presented = if presented { ", error=\"invalid_token\"" } else { "" };
        let challenge = format!("Bearer realm=\"{realm}\"{presented}");
        (self.0.status == 401).then(|| HeaderValue::from_str(&challenge).ok()).flatten()
    }

    fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        // The rate limit lets at least one request a second through.
        if matches!(self.0.status, 429 | 503) {
            match self.0.until.and_then(|until| u64::try_from(until.as_millis()).ok()) {
                Some(until) => {
                    response.insert_header(("Retry-After", HttpDate::from(UNIX_EPOCH + Duration::from_millis(until)).to_string()))
                }
                None => response.insert_header(("Retry-After", "1")),
            };
        }
        let body = serde_json::to_string(self).unwrap_or_default();
        response.content_type("application/problem+json").body(body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

impl From<Invalid> for Problem {
    fn from(error: Invalid) -> Self {
        let mut problem = Self::new(422, error.code, error.detail).on(error.field);
        problem.0.limit = error.limit;
        problem
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        let detail = error.to_string();
        if error.is_unconfirmed() {
            tracing::warn!("a change was made, and too few replicas of the store have confirmed it");
            return Self::new(503, "unconfirmed", detail);
        }
        if error.is_full() {
            tracing::error!("the store is full: it takes nothing but what takes away");
            return Self::new(503, "store_full", detail);
        }
        match error {
            DirectoryError::NotFound { what, .. } => Self::new(404, &format!("{what}_not_found"), detail),
            DirectoryError::Invalid(invalid) => invalid.into(),
            DirectoryError::Taken { code, field, .. } => Self::new(409, code, detail).on(field),
            DirectoryError::Refused { code, field, .. } => {
                let problem = Self::new(403, code, detail);
                match field {
                    Some(field) => problem.on(field),
                    None => problem,
                }
            }
            DirectoryError::Unauthenticated(reason) => Self::new(reason.status(), reason.code(), detail),
            // The handlers answer it with what was made; those that cannot have nothing better to say.
            DirectoryError::Replayed(_) => Self::new(409, "done_before", detail),
            DirectoryError::Precondition { .. } => Self::new(412, "version_differs", detail),
            DirectoryError::Contended => Self::new(409, "changed_meanwhile", detail),
            DirectoryError::Blocked { until } => {
                let problem = Self::new(429, Reason::TooManyFailures.code(), detail);
                problem.until(until)
            }
            DirectoryError::Busy => Self::new(503, "busy", detail),
            DirectoryError::ListsInTheMaking => Self::new(503, "lists_in_the_making", detail),
            DirectoryError::Store(error) => {
                tracing::error!(transient = error.transient, %error, "the store failed");
                let (status, code) = if error.transient { (503, "store_unavailable") } else { (500, "store_failed") };
                Self::new(status, code, detail)
            }
        }
    }
}

/// The id by which the log knows a request.
pub fn request_id<M: HttpMessage>(request: &M) -> Option<String> {
    request.extensions().get::<tracing_actix_web::RequestId>().map(ToString::to_string)
}

/// Refuses what is not available, and completes the problem documents of all handlers: the request's id, and a
/// body where the framework has none.
pub(super) async fn complete(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let request_id = request_id(&request);
    let with_id = |problem: &Problem| problem.clone().answering(request_id.clone());
    let realm = request.app_data::<web::Data<ApiState>>().map(|state| state.realm.clone()).unwrap_or_default();
    if !is_well_encoded(request.uri().path()) {
        let problem = Problem::new(404, "not_found", "the path is not percent-encoded UTF-8, so there is nothing at it");
        return Ok(request.error_response(with_id(&problem)));
    }
    let presented = request.headers().contains_key(AUTHORIZATION);
    let response = next.call(request).await?.map_into_boxed_body();
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>()).map(with_id);
    if let Some(problem) = problem {
        let mut answer = problem.response();
        if let Some(challenge) = problem.challenge(&realm, presented) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        return Ok(response.into_response(answer.map_into_boxed_body()));
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let problem = Problem::new(405, "method_not_allowed", "this path does not take this method");
        let mut answer = with_id(&problem).response();
        if let Some(methods) = response.headers().get(ALLOW) {
            answer.headers_mut().insert(ALLOW, methods.clone());
        }
        return Ok(response.into_response(answer.map_into_boxed_body()));
    }
    Ok(response)
}

/// Whether a path can be read without a guess (RFC 3986 2.1, and UTF-8).
fn is_well_encoded(path: &str) -> bool {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let hex =
            |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(match byte {
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return false,
            },
            byte => byte,
        });
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// At every path that is not served.
pub async fn nothing_here(request: HttpRequest) -> HttpResponse {
    Problem::new(404, "not_found", "there is nothing at this path").answering(request_id(&request)).response()
}
