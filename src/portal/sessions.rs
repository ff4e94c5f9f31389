//! `/sessions`: where somebody is signed in, and ending it.

use std::cmp::Reverse;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    PortalState, Refusal,
    form::{Form, NoFields},
    go_to, page,
    times::Shown,
    visitor::SignedIn,
};
use crate::{
    directory::{DirectoryError, SessionInfo, Window},
    domain::{session::SessionId, time::Timestamp},
};

/// How many are on one page.
const ON_A_PAGE: usize = 50;

/// What has just been done. A link may name one, so none of them says more than that.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Notice {
    Ended,
    OthersEnded,
    Password,
    PasswordUnconfirmed,
    /// The address to go back to was none that anybody is sent to.
    Address,
}

impl Notice {
    /// The class of the note.
    fn class(self) -> &'static str {
        match self {
            Self::Address => "bad",
            Self::PasswordUnconfirmed => "warn",
            Self::Ended | Self::OthersEnded | Self::Password => "",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Ended => "The session has ended.",
            Self::OthersEnded => "All other sessions have ended.",
            Self::Password => "Your password is changed, and all other sessions have ended.",
            Self::PasswordUnconfirmed => {
                "Your password is changed, and all other sessions have ended, but too few replicas of the store have confirmed it: a \
                 failover could bring the old password back. Look in a while whether the new one is good."
            }
            Self::Address => {
                "The link that brought you here names an address that this portal sends nobody to. You are signed in, and stay here."
            }
        }
    }
}

/// One line.
struct Line {
    id: SessionId,
    browser: String,
    address: String,
    since: Shown,
    seen: Shown,
    ends: Shown,
    remembered: bool,
    current: bool,
    /// Somebody has given the password there, and no code yet.
    waits: bool,
}

impl Line {
    fn new(info: SessionInfo, now: Timestamp) -> Self {
        let SessionInfo { session, expires_at, current, .. } = info;
        Self {
            id: session.id,
            browser: session.browser.unwrap_or_else(|| "Unknown browser".to_owned()),
            address: session.address.map_or_else(|| "unknown address".to_owned(), |address| address.to_string()),
            since: Shown::new(session.created_at, now),
            seen: Shown::new(session.seen_at, now),
            ends: Shown::new(expires_at, now),
            remembered: session.remembered,
            current,
            waits: session.awaits_code,
        }
    }
}

#[derive(Template)]
#[template(path = "portal/sessions.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    sessions: Vec<Line>,
    /// Whether there are any besides this one.
    others: bool,
    /// Whether one of them waits for a code.
    waiting: bool,
    /// The link to the following part.
    next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Query {
    after: Option<String>,
    notice: Option<Notice>,
}

/// `GET /sessions`
pub(super) async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    let Query { after, notice } = query.map_or(Query { after: None, notice: None }, web::Query::into_inner);
    let is_first = after.is_none();
    let window = Window { after, limit: ON_A_PAGE };
    let own = visitor.account.login.clone();
    let mut found = state.directory.sessions(&visitor.actor(&request), Some(&own), &window).await?;
    // The one that people look for comes first.
    found.items.sort_by_key(|info| (!info.current, Reverse(info.session.seen_at)));
    let others = !is_first || found.next.is_some() || found.items.iter().any(|info| !info.current);
    let now = state.clock.now();
    let next = found.next.map(|next| {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("after", &next).finish();
        format!("/sessions?{query}")
    });
    let sessions: Vec<_> = found.items.into_iter().map(|info| Line::new(info, now)).collect();
    let waiting = sessions.iter().any(|line| line.waits);
    page(200, &Page { title: "Your sessions", at: "/sessions", visitor, notice, sessions, others, waiting, next })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    id: String,
}

/// `POST /sessions/end`
pub(super) async fn end(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<End>,
) -> Result<HttpResponse, Refusal> {
    form.end(&state, &request, &visitor).await?;
    Ok(go_to("/sessions?notice=ended"))
}

impl Form<End> {
    /// Ends the session that it names, as far as that is the visitor's business.
    pub(super) async fn end(self, state: &PortalState, request: &HttpRequest, visitor: &SignedIn) -> Result<(), Refusal> {
        let End { id } = self.proven_by(visitor.secret())?;
        let id = SessionId::parse(&id).ok_or_else(Refusal::not_found)?;
        Ok(state.directory.end_session(&visitor.actor(request), &id).await?)
    }
}

/// `POST /sessions/end-others`
pub(super) async fn end_others(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<NoFields>,
) -> Result<HttpResponse, Refusal> {
    let NoFields {} = form.proven_by(visitor.secret())?;
    let (actor, login) = (visitor.actor(&request), visitor.account.login.clone());
    let mut window = Window { after: None, limit: Window::MAX_LIMIT };
    loop {
        let found = state.directory.sessions(&actor, Some(&login), &window).await?;
        for info in found.items.into_iter().filter(|info| !info.current) {
            match state.directory.end_session(&actor, &info.session.id).await {
                // It has ended by itself.
                Ok(()) | Err(DirectoryError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if found.next.is_none() {
            break;
        }
        window.after = found.next;
    }
    Ok(go_to("/sessions?notice=others_ended"))
}
