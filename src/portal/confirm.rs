//! `/confirm`: somebody who is signed in gives his password once more, before something that could do harm. Afterwards he
//! goes on where he was.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    PortalState, Refusal,
    attempt::Failed,
    form::{Form, Typed},
    go_to,
    own_page::OwnPage,
    page,
    visitor::{SignedIn, keep},
};
use crate::domain::password::Password;

#[derive(Template)]
#[template(path = "portal/confirm.html")]
struct Page {
    title: &'static str,
    visitor: SignedIn,
    problem: Option<Failed>,
    next: OwnPage,
}

impl Page {
    fn wrong(&self) -> bool {
        matches!(self.problem, Some(Failed::Wrong))
    }
}

fn ask(visitor: SignedIn, next: OwnPage, problem: Option<Failed>) -> Result<HttpResponse, Refusal> {
    let status = problem.as_ref().map_or(200, Failed::status);
    let confirm = Page { title: "Confirm your password", visitor, problem, next };
    let mut response = page(status, &confirm)?;
    if let Some(failed) = &confirm.problem {
        failed.add_retry_after(&mut response);
    }
    Ok(response)
}

/// Where to go on; a page of ours, whatever is asked for.
#[derive(Default, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    next: String,
}

fn next(query: Option<web::Query<Query>>) -> OwnPage {
    OwnPage::at(&query.map(web::Query::into_inner).unwrap_or_default().next)
}

/// `GET /confirm`
pub(super) async fn show(visitor: SignedIn, query: Option<web::Query<Query>>) -> Result<HttpResponse, Refusal> {
    ask(visitor, next(query), None)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// For password managers; nothing is read of it.
    #[serde(rename = "login")]
    _login: String,
    password: Typed,
}

/// `POST /confirm`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let next = next(query);
    let Fields { password, .. } = form.proven_by(visitor.secret())?;
    let Some(password) = Password::presented(password.expose().as_bytes()) else {
        return ask(visitor, next, Some(Failed::Wrong));
    };
    match state.directory.confirm_password(&visitor.actor(&request), password).await {
        Ok(session) => {
            let mut response = go_to(next.path());
            keep(&state, &session, &mut response)?;
            Ok(response)
        }
        Err(error) => {
            let failed = Failed::read(error, state.clock.now())?;
            ask(visitor, next, Some(failed))
        }
    }
}
