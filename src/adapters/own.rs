//! What Keygate serves on protected hosts, under `/.keygate/`: where a browser comes back from signing in, where it signs
//! out, and why a request was refused. Asked through the checks of most proxies, and by requests of their own from those
//! that show no bodies. Sessions begin and end in the directory; nothing here knows one from another.
//!
//! No answer is ever a success: to a proxy that would be an allow.

mod words;

use askama::Template;
use rand::{rand_core::UnwrapErr, rngs::SysRng};

use super::{
    headers::{Describing, Incoming},
    nginx,
    record::Asked,
    reply::{Reply, STYLE},
    wire::{Question, RequestId, Wire},
};
use crate::{
    directory::{CodeFault, Redeemed},
    domain::{
        cookie::{Cookie, Sent},
        decide::Decision,
        decision::Reason,
        origin::{Origin, ReturnTo, Target},
        request::{CheckRequest, ClientHeaders, Described},
        session::{Secret, SessionSecret},
    },
    gate::Verdict,
};
use words::{NOT_SIGNED_IN, NOTHING_KNOWN, Words, words};

/// What every path begins with that is answered here.
pub const PREFIX: &str = "/.keygate/";
/// What they are called in the log where they are asked for by requests of their own.
const DIALECT: &str = "own";
/// How long a browser may take to sign in.
const NONCE_LIFE: std::time::Duration = std::time::Duration::from_mins(10);

#[derive(Template)]
#[template(path = "adapters/own/why.html")]
struct WhyPage<'a> {
    style: &'static str,
    title: &'static str,
    text: &'static str,
    ways: Option<Ways>,
    request_id: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "adapters/own/sign_out.html")]
struct SignOutPage {
    style: &'static str,
    title: &'static str,
}

/// A request to one of these paths, on a host that has sessions.
struct Visit<'a> {
    asked: Asked<'a>,
    request: &'a CheckRequest<'a>,
    origin: &'a Origin,
    portal: &'a Origin,
}

/// Answers requests that a proxy has sent on as they are, and describes like its checks.
pub(super) async fn answer(incoming: &Incoming<'_>, wire: &Wire) -> Reply {
    let secret = incoming.optional(Describing::ProxySecret).ok().flatten();
    let believed = wire.believe(incoming.peer(), secret.map(str::as_bytes));
    let described = believed.and_then(|()| nginx::describe(incoming, wire));
    let request_id = RequestId::next();
    match described {
        Ok(question) if is_own(&question) => wire.serve_own(DIALECT, question, incoming.client_headers(), &request_id).await,
        described => {
            let asked = Asked { dialect: DIALECT, question: described.ok(), request_id: &request_id, sample: None };
            let reason = described.err().unwrap_or(Reason::MissingDescription);
            wire.refuse_own(&asked, &Decision::Deny(reason), None, None)
        }
    }
}

/// Whether the request is for one of the paths here.
pub(super) fn is_own(question: &Question<'_>) -> bool {
    question.target.starts_with(PREFIX.as_bytes())
}

impl Wire {
    /// Answers a request for one of the paths here.
    pub(super) async fn serve_own(
        &self,
        dialect: &'static str,
        question: Question<'_>,
        headers: &ClientHeaders<'_>,
        request_id: &str,
    ) -> Reply {
        let asked = Asked { dialect, question: Some(question), request_id, sample: None };
        let Question { method, target, host, client } = question;
        let described = Described { method, target, host, client, headers, body: None };
        let request = match CheckRequest::parse(described) {
            Ok(request) => request,
            Err(reason) => return self.refuse_own(&asked, &Decision::Deny(reason), None, None),
        };
        let origin = self.hosts.find(&request.host);
        let (Some(origin), Some(portal)) = (origin, &self.portal) else {
            return self.refuse_own(&asked, &Decision::Deny(Reason::NoRule), Some(&request), None);
        };
        let visit = Visit { asked, request: &request, origin, portal };
        let reply = match request.segments.get(1).map(AsRef::as_ref) {
            Some("callback") if request.segments.len() == 2 => self.callback(&visit).await,
            Some("logout") if request.segments.len() == 2 => self.sign_out(&visit).await,
            Some("why") if request.segments.len() == 2 => Ok(visit.why()),
            _ => return self.refuse_own(&asked, &Decision::Deny(Reason::NoRule), Some(&request), Some(origin)),
        };
        reply.unwrap_or_else(|reason| self.refuse_own(&asked, &Decision::Unavailable(reason), Some(&request), Some(origin)))
    }

    /// A refusal here, and its line in the log.
    fn refuse_own(
        &self,
        asked: &Asked<'_>,
        decision: &Decision<'_>,
        request: Option<&CheckRequest<'_>>,
        origin: Option<&Origin>,
    ) -> Reply {
        self.record_refusal(asked, decision);
        // Forms lead here too.
        let page_for = request.filter(|request| request.headers.fetch.may_navigate());
        self.refuse(decision, page_for, origin, asked.request_id)
    }

    /// Where a browser comes back to with a code. The code is gone then, whoever has shown it; a session begins only for a
    /// browser that says that its user is on his way here.
    async fn callback(&self, visit: &Visit<'_>) -> Result<Reply, Reason> {
        let Visit { request, origin, .. } = visit;
        let code = request.query.get("code").ok().flatten().and_then(|code| SessionSecret::parse(code.as_bytes()));
        let Some(code) = code else {
            self.record_code(&visit.asked, None, "malformed");
            return Ok(visit.not_signed_in());
        };
        let acts = request.method == "GET" && request.headers.fetch.is_said_to_navigate();
        let (nonce, check) = if acts { (nonce_of(request, origin), check_of(request, origin)) } else { (None, None) };
        let go_on = |target: Target| {
            let to = ReturnTo { origin: (*origin).clone(), target };
            Reply::to(303, to.to_string()).with("x-content-type-options", "nosniff")
        };
        let redeemed = self.directory.redeem(&code, origin, nonce.as_ref(), check.as_ref()).await;
        let redeemed = redeemed.map_err(|error| visit.no_store(error))?;
        self.metrics.count_code(match &redeemed {
            Redeemed::Opened { .. } => "opened",
            Redeemed::AlreadyOpen { .. } => "already_open",
            Redeemed::Refused(_) => "refused",
        });
        Ok(match redeemed {
            Redeemed::Opened { cookie, max_age, target } => go_on(target)
                .with("set-cookie", Cookie::Check.set(origin, &cookie.to_text(), max_age))
                .with("set-cookie", Cookie::Nonce.clear(origin)),
            Redeemed::AlreadyOpen { target } => go_on(target),
            Redeemed::Refused(fault) => {
                let fault = if fault == CodeFault::OtherBrowser && !acts { "no navigation" } else { fault.as_str() };
                self.record_code(&visit.asked, Some(&code), fault);
                visit.not_signed_in()
            }
        })
    }

    /// Signs out everywhere, if a page of this host or the user himself asks for it; else he is asked. A GET counts only where
    /// the browser says that he is on his way here: images and scripts of the same pages send one too; and nothing counts that it asks for ahead of him.
    async fn sign_out(&self, visit: &Visit<'_>) -> Result<Reply, Reason> {
        let Visit { asked, request, origin, portal } = visit;
        let fetch = &request.headers.fetch;
        let acts = match request.method {
            "GET" => fetch.is_said_to_navigate(),
            "POST" => true,
            _ => false,
        };
        if !acts || fetch.is_ahead() || fetch.is_own(Some(*origin)) != Some(true) {
            let page = SignOutPage { style: STYLE, title: "Do you want to sign out?" };
            return Ok(Reply::new(403).page(&page, Some(*portal)));
        }
        if let Some(check) = check_of(request, origin) {
            let ended = self.directory.sign_out_at(&check, origin.host(), request.client, Some(asked.request_id.to_owned())).await;
            ended.map_err(|error| visit.no_store(error))?;
        }
        Ok(Reply::to(303, format!("{portal}/signed-out")).with("set-cookie", Cookie::Check.clear(origin)))
    }

    /// A refusal for a browser that can be sent to sign in: where to, and what ties the way back to it.
    pub(super) fn sign_in(&self, verdict: &Verdict<'_>, target: &[u8]) -> Option<(String, String)> {
        let (request, origin, portal) = (verdict.request?, verdict.origin?, self.portal.as_ref()?);
        let nonce = nonce_of(request, origin).unwrap_or_else(|| Secret::generate(&mut UnwrapErr(SysRng)));
        // What nobody can be sent back to is not worth failing for.
        let target = std::str::from_utf8(target).ok().and_then(Target::parse).unwrap_or_else(Target::root);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("rd", &ReturnTo { origin: origin.clone(), target }.to_string())
            .append_pair("nonce", &nonce.digest().to_base64url())
            .finish();
        let cookie = Cookie::Nonce.set(origin, &nonce.to_text(), Some(NONCE_LIFE));
        Some((format!("{portal}/sign-in?{query}"), cookie))
    }

    /// The page that says why, as the body of a refusal.
    pub(super) fn explain_to_people(
        &self,
        reply: Reply,
        reason: Reason,
        (request, origin): (&CheckRequest<'_>, Option<&Origin>),
        request_id: &str,
    ) -> Reply {
        let portal = self.portal.as_ref();
        let place = origin.zip(portal).filter(|_| matches!(reason.status(), 401 | 403));
        let ways = place.map(|(origin, portal)| Ways::out_of(Some(reason), request, origin, portal));
        reply.page(&why_page(words(reason), ways, Some(request_id)), portal)
    }
}

impl Visit<'_> {
    /// `?reason=CODE&id=REQUEST_ID`: anybody can make up such a link, so only what is known is said.
    fn why(&self) -> Reply {
        let parameter = |name| self.request.query.get(name).ok().flatten();
        let reason = parameter("reason").and_then(Reason::parse);
        let said = reason.map_or(NOTHING_KNOWN, words);
        let is_id = |id: &&str| id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        self.told(said, reason, parameter("id").filter(is_id))
    }

    fn no_store(&self, error: impl std::fmt::Display) -> Reason {
        tracing::error!(%error, request_id = self.asked.request_id, "the store could not answer a browser");
        Reason::StoreUnavailable
    }

    fn not_signed_in(&self) -> Reply {
        self.told(NOT_SIGNED_IN, None, Some(self.asked.request_id))
    }

    fn told(&self, said: Words, reason: Option<Reason>, request_id: Option<&str>) -> Reply {
        let ways = Ways::out_of(reason, self.request, self.origin, self.portal);
        Reply::new(403).page(&why_page(said, Some(ways), request_id), Some(self.portal))
    }
}

/// What somebody can do who was refused, beside reading why.
struct Ways {
    /// Where he signs in; `None` where that would lead him straight back.
    sign_in: Option<String>,
}

impl Ways {
    /// Whoever is signed in and still may not, does not get on by signing in: the portal knows him.
    fn out_of(reason: Option<Reason>, request: &CheckRequest<'_>, origin: &Origin, portal: &Origin) -> Self {
        let is_known = reason.is_some_and(|reason| reason.status() == 403) && check_of(request, origin).is_some();
        let query = || form_urlencoded::Serializer::new(String::new()).append_pair("rd", &format!("{origin}/")).finish();
        Self { sign_in: (!is_known).then(|| format!("{portal}/sign-in?{}", query())) }
    }
}

fn why_page((title, text): Words, ways: Option<Ways>, request_id: Option<&str>) -> WhyPage<'_> {
    WhyPage { style: STYLE, title, text, ways, request_id }
}

/// What this host has set in the browser before it was sent to sign in.
fn nonce_of(request: &CheckRequest<'_>, origin: &Origin) -> Option<Secret> {
    match Cookie::Nonce.find(&request.headers.cookies, origin.is_secure()) {
        Sent::One(value) => Secret::parse(value),
        Sent::Nothing | Sent::Ambiguous => None,
    }
}

fn check_of(request: &CheckRequest<'_>, origin: &Origin) -> Option<SessionSecret> {
    match Cookie::Check.find(&request.headers.cookies, origin.is_secure()) {
        Sent::One(value) => SessionSecret::parse(value),
        Sent::Nothing | Sent::Ambiguous => None,
    }
}
