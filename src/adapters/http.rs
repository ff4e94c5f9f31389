//! The way of the dialects that speak HTTP: a check comes in, the gate is asked, and its verdict becomes an answer. What all
//! dialects share is elsewhere, and so is what stands in a refusal.

use std::cell::RefCell;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, COOKIE, HeaderName, HeaderValue, InvalidHeaderValue},
    },
    web::BytesMut,
};
use tracing::{Instrument, Span};

use super::{
    Carries, Dialect,
    headers::{Describing, Incoming},
    own,
    record::Asked,
    reply::Reply,
    wire::{Question, RequestId, Wire},
};
use crate::{
    domain::{
        decide::{Decision, Grant},
        decision::Reason,
        request::{ClientHeaders, Described},
    },
    gate::Verdict,
};

const HEADERS_TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

const EMPTY: HeaderValue = HeaderValue::from_static("");

thread_local! {
    /// What a worker cuts the values of its answers from, which are short and soon gone, so that it need not ask for memory for
    /// each of them.
    static ROOM: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}
/// How much of it is asked for at a time.
const ROOM_BYTES: usize = 4096;

/// Empty where it can be no value of a header.
fn header_value(text: &str) -> HeaderValue {
    if text.is_empty() {
        return EMPTY;
    }
    let value = ROOM.with_borrow_mut(|room| {
        if room.capacity() < text.len() {
            room.reserve(text.len().max(ROOM_BYTES));
        }
        room.extend_from_slice(text.as_bytes());
        room.split().freeze()
    });
    HeaderValue::from_maybe_shared(value).unwrap_or(EMPTY)
}

impl Wire {
    /// The way of every HTTP dialect, where everything is known that it takes; `None` where it is not.
    pub(super) fn answer_at_once(&self, dialect: &Dialect, incoming: &Incoming<'_>) -> Option<HttpResponse> {
        let question = self.question(dialect, incoming);
        if is_own(dialect, question) {
            return None;
        }
        let request_id = RequestId::next();
        let _entered = span(dialect.name, &request_id).entered();
        let sample = self.counts.sample();
        let answer = self.gate.check_at_once(described(question, incoming.client_headers()), |verdict| {
            self.record(&Asked { dialect: dialect.name, question: question.ok(), request_id: &request_id, sample }, verdict);
            self.render(dialect, incoming, question, verdict, &request_id)
        });
        answer.ok()
    }

    /// The way of every HTTP dialect.
    pub(super) async fn answer(&self, dialect: &Dialect, incoming: &Incoming<'_>) -> HttpResponse {
        let question = self.question(dialect, incoming);
        let request_id = RequestId::next();
        if let Ok(question) = question
            && is_own(dialect, Ok(question))
        {
            let reply = self.serve_own(dialect.name, question, incoming.client_headers(), &request_id).await;
            return over_http(&self.bent(dialect, reply));
        }
        let render = |verdict: &Verdict<'_>| self.render(dialect, incoming, question, verdict, &request_id);
        self.judge(dialect.name, incoming, question, &request_id, render).await
    }

    fn question<'r>(&self, dialect: &Dialect, incoming: &Incoming<'r>) -> Result<Question<'r>, Reason> {
        let secret = incoming.optional(Describing::ProxySecret).ok().flatten();
        self.believe(incoming.peer(), secret.map(str::as_bytes))?;
        (dialect.describe)(incoming, self)
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
        let sample = self.counts.sample();
        self.gate
            .check(described(question, incoming.client_headers()), |verdict| {
                self.record(&Asked { dialect, question: question.ok(), request_id, sample }, verdict);
                render(verdict)
            })
            .instrument(span(dialect, request_id))
            .await
    }

    fn render(
        &self,
        dialect: &Dialect,
        incoming: &Incoming<'_>,
        question: Result<Question<'_>, Reason>,
        verdict: &Verdict<'_>,
        request_id: &str,
    ) -> HttpResponse {
        match &verdict.decision {
            Decision::Allow(grant) => {
                let allow = self.render_allow(dialect, incoming, grant, verdict, request_id);
                allow.unwrap_or_else(|_| HttpResponse::InternalServerError().finish())
            }
            Decision::Challenge(_) | Decision::Deny(_) | Decision::Unavailable(_) => {
                let target = question.map_or(&b"/"[..], |question| question.target);
                let reply = self.refusal(verdict, target, dialect.carries, request_id);
                over_http(&self.bent(dialect, reply))
            }
        }
    }

    /// # Errors
    /// When a header cannot be said; then it is no allow either.
    fn render_allow(
        &self,
        dialect: &Dialect,
        incoming: &Incoming<'_>,
        grant: &Grant<'_>,
        verdict: &Verdict<'_>,
        request_id: &str,
    ) -> Result<HttpResponse, InvalidHeaderValue> {
        let mut response = HttpResponse::new(StatusCode::OK);
        let said = response.headers_mut();
        said.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut absent = String::new();
        let identity = self.identity(grant, verdict, request_id);
        for (header, name) in &self.header_names {
            let value = match identity.word(*header) {
                Some(word) => HeaderValue::from_static(word),
                None => header_value(&identity.value(*header)),
            };
            // The whole set, always: what there is nothing to say about is removed or emptied, never the client's.
            if value.is_empty() && dialect.removes_headers {
                absent.extend([", ", name.as_str()]);
            } else {
                said.insert(name.clone(), value);
            }
        }
        if dialect.returns_cookies {
            let cookies = incoming.other_cookies();
            if !cookies.is_empty() {
                said.insert(COOKIE, cookies.try_into()?);
            }
        }
        if dialect.removes_headers {
            let is_own = |alias: &&str| self.header_names.iter().any(|(_, own)| own.as_str() == *alias);
            for alias in incoming.aliases(&self.names).filter(|alias| !is_own(alias)) {
                absent.extend([", ", alias]);
            }
            let used = verdict.credentials.is_some_and(|credentials| credentials.in_authorization);
            let credential = if used { ", authorization" } else { "" };
            said.insert(HEADERS_TO_REMOVE, format!("{}{absent}{credential}", self.aliases).try_into()?);
        }
        Ok(response)
    }
}

fn span(dialect: &'static str, request_id: &str) -> Span {
    tracing::debug_span!("check", dialect, request_id)
}

fn described<'r>(question: Result<Question<'r>, Reason>, headers: &'r ClientHeaders<'r>) -> Result<Described<'r>, Reason> {
    question.map(|Question { method, target, host, client }| Described { method, target, host, client, headers, body: None })
}

/// Whether it is for one of the paths of our own, which come with the checks of some proxies.
fn is_own(dialect: &Dialect, question: Result<Question<'_>, Reason>) -> bool {
    dialect.carries == Carries::Everything && question.is_ok_and(|question| own::is_own(&question))
}

/// The answer over HTTP.
pub(super) fn over_http(reply: &Reply) -> HttpResponse {
    let mut response = HttpResponse::build(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::FORBIDDEN));
    for (name, value) in &reply.headers {
        response.append_header((*name, value.as_str()));
    }
    response.body(reply.body.clone())
}
