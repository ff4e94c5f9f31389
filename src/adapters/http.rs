//! The way of the dialects that speak HTTP: a check comes in, the gate is asked, and its verdict becomes an answer. What all
//! dialects share is elsewhere, and so is what stands in a refusal.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
};
use tracing::Instrument;

use super::{
    Carries, Dialect,
    headers::Incoming,
    own,
    record::Asked,
    reply::Reply,
    wire::{Question, Wire},
};
use crate::{
    domain::{
        decide::{Decision, Grant},
        decision::Reason,
        request::Described,
    },
    gate::Verdict,
};

const HEADERS_TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

impl Wire {
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
}

/// The answer over HTTP.
pub(super) fn over_http(reply: &Reply) -> HttpResponse {
    let mut response = HttpResponse::build(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::FORBIDDEN));
    for (name, value) in &reply.headers {
        response.append_header((*name, value.as_str()));
    }
    response.body(reply.body.clone())
}
