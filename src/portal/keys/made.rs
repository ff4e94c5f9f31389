//! A key's text, shown this once: of one that was just made, or of the successor in a rotation.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{PortalState, Refusal, form::Form, go_to, once, page, visitor::SignedIn},
    at, example, find,
    shown::KeyShown,
};
use crate::{
    directory::{AccessFilter, DirectoryError, Handed, Made, TokenInfo, Window, handed_over},
    domain::{
        access::Level,
        token::{PlainToken, TokenId},
    },
};

#[derive(Template)]
#[template(path = "portal/keys/made.html")]
struct MadePage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    text: PlainToken,
    key: KeyShown,
    /// Something that it may read.
    url: Option<String>,
    /// Otherwise a failover of the store could undo it.
    confirmed: bool,
}

/// The page that shows it.
pub(super) async fn show(
    state: &PortalState,
    request: &HttpRequest,
    visitor: SignedIn,
    made: Handed<(PlainToken, TokenInfo)>,
) -> Result<HttpResponse, Refusal> {
    let Handed { over: (text, info), confirmed } = made;
    let url = url(state, request, &visitor, &info).await;
    let key = KeyShown::new(info, &visitor, state.directory.token_rules(), state.clock.now());
    page(200, &MadePage { title: "Copy your key", at: at(key.owner.is_none()), visitor, text, key, url, confirmed })
}

/// That nobody can tell where to try it is no reason not to show it.
async fn url(state: &PortalState, request: &HttpRequest, visitor: &SignedIn, info: &TokenInfo) -> Option<String> {
    let own = info.token.account == visitor.account.id;
    let all = own && visitor.account.superuser;
    let filter = AccessFilter { login: Some(info.login.clone()), site: None };
    let window = Window { after: None, limit: Window::MAX_LIMIT };
    let access = state.directory.access(&visitor.actor(request), &filter, &window).await.ok()?.items;
    example::url(state, &info.token, |site| match access.iter().find(|row| row.site == *site) {
        _ if all => Level::Superuser,
        Some(row) => row.level,
        None => Level::None,
    })
}

/// For how long the predecessor may live on.
const GRACES: [(&str, &str, Duration); 5] = [
    ("none", "Not at all: it is refused within a moment", Duration::ZERO),
    ("1h", "For one hour", Duration::from_hours(1)),
    ("1d", "For one day", Duration::from_hours(24)),
    ("7d", "For 7 days", Duration::from_hours(7 * 24)),
    ("30d", "For 30 days", Duration::from_hours(30 * 24)),
];

#[derive(Template)]
#[template(path = "portal/keys/rotate.html")]
struct RotatePage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    key: KeyShown,
    graces: [(&'static str, &'static str, Duration); 5],
    once: String,
}

/// `GET /keys/{id}/rotate`
pub(super) async fn ask(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let info = find(&state, &request, &visitor, &path).await?;
    visitor.has_confirmed(state.clock.now())?;
    let key = KeyShown::new(info, &visitor, state.directory.token_rules(), state.clock.now());
    page(200, &RotatePage { title: "Rotate a key", at: at(key.owner.is_none()), visitor, key, graces: GRACES, once: once::new() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    once: String,
    grace: String,
}

/// `POST /keys/{id}/rotate`
pub(super) async fn rotate(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let Fields { once, grace } = form.proven_by(visitor.secret())?;
    let id = TokenId::parse(&path).ok_or_else(Refusal::not_found)?;
    let grace = GRACES.iter().find(|(word, ..)| *word == grace).map(|(.., grace)| *grace).ok_or_else(Refusal::bad_form)?;
    let actor = visitor.actor(&request).once(Some(once::read(&request, &once)?));
    match handed_over(state.directory.rotate_token(&actor, &id, grace)).await {
        Ok(made) => show(&state, &request, visitor, made).await,
        Err(error) => made_before(error),
    }
}

/// A form that was sent twice leads to what the first one has made.
pub(super) fn made_before(error: DirectoryError) -> Result<HttpResponse, Refusal> {
    match error {
        DirectoryError::Replayed(Made::Token(id)) => Ok(go_to(&format!("/keys/{id}?notice=made_before"))),
        error => Err(error.into()),
    }
}
