//! `/admin/sessions`: who is signed in, and ending that. For superusers.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{
        PortalState, Refusal,
        form::Form,
        go_to,
        own_page::segment,
        page,
        sessions::End,
        table::{Column, Pager, View},
        times::Shown,
        visitor::SignedIn,
    },
    Notice, ON_A_PAGE,
};
use crate::{
    directory::{DirectoryError, Listing, SessionInfo, Window},
    domain::{session::SessionId, text::Login, time::Timestamp},
};

const AT: &str = "/admin/sessions";

/// One line.
struct Line {
    id: SessionId,
    login: String,
    account: String,
    browser: String,
    address: String,
    seen: Shown,
    since: Shown,
    ends: Shown,
    current: bool,
    /// Somebody has given the password there, and no code yet.
    waits: bool,
}

impl Line {
    fn new(info: SessionInfo, now: Timestamp) -> Self {
        let SessionInfo { session, login, expires_at, current } = info;
        Self {
            id: session.id,
            account: segment(login.as_str()),
            login: login.to_string(),
            browser: session.browser.unwrap_or_else(|| "Unknown browser".to_owned()),
            address: session.address.map_or_else(|| "unknown address".to_owned(), |address| address.to_string()),
            seen: Shown::new(session.seen_at, now),
            since: Shown::new(session.created_at, now),
            ends: Shown::coming(expires_at, now),
            current,
            waits: session.awaits_code,
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    login: String,
    after: Option<String>,
    notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "portal/admin/sessions.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    query: Query,
    filtered: bool,
    columns: Vec<Column>,
    sessions: Vec<Line>,
    pager: Pager,
}

/// `GET /admin/sessions`
pub(super) async fn list(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let query = query.map(web::Query::into_inner).unwrap_or_default();
    let view = View::at(AT).with("login", Some(&query.login));
    let window = Window { after: query.after.clone(), limit: ON_A_PAGE };
    let nothing = || Listing { items: Vec::new(), next: None };
    let found = match Login::parse(query.login.trim()) {
        Ok(login) => match state.directory.sessions(&visitor.actor(&request), Some(&login), &window).await {
            Err(DirectoryError::NotFound { .. }) => nothing(),
            found => found?,
        },
        Err(_) if query.login.is_empty() => state.directory.sessions(&visitor.actor(&request), None, &window).await?,
        Err(_) => nothing(),
    };
    let now = state.clock.now();
    let sessions = found.items.into_iter().map(|info| Line::new(info, now)).collect();
    let mut columns: Vec<_> = ["Account", "Browser", "Last seen", "Signed in", "Ends"].map(Column::plain).into();
    columns.push(Column::unseen("End it"));
    let (filtered, pager) = (view.is_filtered(), view.pager("after", query.after.as_deref(), found.next.as_deref()));
    let notice = query.notice;
    page(200, &Page { title: "Sessions", at: AT, visitor, notice, query, filtered, columns, sessions, pager })
}

/// `POST /admin/sessions`
pub(super) async fn end(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<End>,
) -> Result<HttpResponse, Refusal> {
    form.end(&state, &request, &visitor).await?;
    Ok(go_to(&format!("{AT}?notice=ended")))
}
