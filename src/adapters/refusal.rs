//! What a client gets that does not pass: words for programs, a page for people, or the way to sign in. Which of them,
//! the decision and the proxy say; nothing is decided here.

use actix_web::HttpResponseBuilder;

use super::{Carries, Dialect, reply::Reply, wire::Wire};
use crate::{
    domain::{
        decide::Decision,
        decision::{Challenge, Reason},
        origin::Origin,
        request::CheckRequest,
    },
    gate::Verdict,
};

const X_AUTH_REASON: &str = "x-auth-reason";
const X_AUTH_REQUEST_ID: &str = "x-auth-request-id";
/// How long a client should wait before it asks again, in seconds.
const RETRY_AFTER: &str = "1";

/// The values of `WWW-Authenticate`, made once.
pub struct Challenges {
    bearer: String,
    bearer_invalid_token: String,
    basic: String,
}

impl Challenges {
    pub(super) fn new(realm: &str) -> Self {
        Self {
            bearer: format!("Bearer realm=\"{realm}\""),
            bearer_invalid_token: format!("Bearer realm=\"{realm}\", error=\"invalid_token\""),
            basic: format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
        }
    }

    /// The challenges of one 401: `error` only when a token was presented (RFC 6750 3), Basic where the rule takes it.
    fn of(&self, challenge: Challenge) -> impl Iterator<Item = &str> {
        let bearer = if challenge.invalid_token { &self.bearer_invalid_token } else { &self.bearer };
        std::iter::once(bearer.as_str()).chain(challenge.basic.then_some(self.basic.as_str()))
    }
}

impl Wire {
    /// What a client gets that does not pass: a browser is sent to sign in where the rule says so, or shown a page; everybody
    /// else gets a few words for programs.
    pub(super) fn refusal(&self, verdict: &Verdict<'_>, target: &[u8], carries: Carries, request_id: &str) -> Reply {
        let decision = &verdict.decision;
        if let Decision::Challenge(Challenge { reason, sign_in: true, .. }) = decision
            && let Some((location, cookie)) = self.sign_in(verdict, target)
        {
            let reply = if carries == Carries::Refusals {
                self.refuse(decision, None, None, request_id).with("x-auth-redirect", location)
            } else {
                marked(Reply::to(302, location), *reason, request_id)
            };
            return reply.with("set-cookie", cookie);
        }
        let page_for = verdict.request.filter(|request| carries == Carries::Everything && request.is_navigation());
        self.refuse(decision, page_for, verdict.origin, request_id)
    }

    /// A refusal as it is, without a way out of it. Of an allow, only what every answer has. `page_for`: the request of somebody
    /// who looks at the answer.
    pub(super) fn refuse(
        &self,
        decision: &Decision<'_>,
        page_for: Option<&CheckRequest<'_>>,
        origin: Option<&Origin>,
        request_id: &str,
    ) -> Reply {
        let Some(reason) = decision.reason() else { return Reply::new(403).with(X_AUTH_REQUEST_ID, request_id) };
        let mut reply = marked(Reply::new(reason.status()), reason, request_id);
        if reason.status() == 503 {
            reply = reply.with("retry-after", RETRY_AFTER);
        }
        if let Decision::Challenge(challenge) = decision {
            reply.headers.extend(self.challenges.of(*challenge).map(|value| ("www-authenticate", value.to_owned())));
        }
        match page_for {
            Some(request) => self.explain_to_people(reply, reason, (request, origin), request_id),
            None => reply.json(refusal_body(reason, request_id)),
        }
    }

    /// The headers of a refusal; of an allow, only those that every answer has.
    pub(super) fn add_refusal(&self, response: &mut HttpResponseBuilder, decision: &Decision<'_>, request_id: &str) {
        for (name, value) in self.refuse(decision, None, None, request_id).headers {
            if name != "content-type" {
                response.append_header((name, value));
            }
        }
    }

    /// An answer with the status that this proxy needs to see.
    pub(super) fn bent(&self, dialect: &Dialect, reply: Reply) -> Reply {
        let reason = reply.header(X_AUTH_REASON).and_then(Reason::parse);
        let is_redirect = reply.header("location").is_some();
        match reason.filter(|_| !is_redirect) {
            Some(reason) => Reply { status: (dialect.status)(reason, self), ..reply },
            None => reply,
        }
    }
}

/// Says what it really is, and how it is found in the log.
fn marked(reply: Reply, reason: Reason, request_id: &str) -> Reply {
    reply.with(X_AUTH_REQUEST_ID, request_id).with("x-auth-status", reason.status().to_string()).with(X_AUTH_REASON, reason.code())
}

/// What the client reads: a short code, and the id by which the operator finds the rest in the log.
fn refusal_body(reason: Reason, request_id: &str) -> String {
    format!("{{\"status\":{},\"reason\":\"{}\",\"request_id\":\"{request_id}\"}}\n", reason.status(), reason.code())
}
