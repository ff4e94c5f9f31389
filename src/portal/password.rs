//! `/password`: somebody who is signed in chooses a new password. His other sessions end with the old one.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    PortalState, Refusal,
    attempt::Failed,
    form::{Form, Typed},
    go_to, page,
    visitor::{SignedIn, keep},
};
use crate::{
    directory::DirectoryError,
    domain::{password::Password, text::Invalid},
};

/// What is to be filled in again, and why.
struct Problem {
    status: u16,
    field: &'static str,
    text: String,
}

impl Problem {
    fn on(field: &'static str, text: impl Into<String>) -> Self {
        Self { status: 422, field, text: text.into() }
    }
}

#[derive(Template)]
#[template(path = "portal/password.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    problem: Option<Problem>,
}

impl Page {
    fn wrong(&self, field: &str) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem.field == field)
    }
}

fn ask(visitor: SignedIn, problem: Option<Problem>) -> Result<HttpResponse, Refusal> {
    let status = problem.as_ref().map_or(200, |problem| problem.status);
    page(status, &Page { title: "Change your password", at: "/password", visitor, problem })
}

/// `GET /password`
pub(super) async fn show(visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    ask(visitor, None)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// For password managers; nothing is read of it.
    #[serde(rename = "login")]
    _login: String,
    current: Typed,
    new: Typed,
    again: Typed,
}

/// `POST /password`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let Fields { current, new, again, .. } = form.proven_by(visitor.secret())?;
    if new.expose() != again.expose() {
        return ask(visitor, Some(Problem::on("again", "The new password is not the same in both fields.")));
    }
    let new = match Password::chosen(new.expose()) {
        Ok(new) => new,
        Err(invalid) => return ask(visitor, Some(Problem::on("new", in_words(&invalid)))),
    };
    let Some(current) = Password::presented(current.expose().as_bytes()) else {
        return ask(visitor, Some(Problem { status: 403, field: "current", text: Failed::Wrong.to_string() }));
    };
    match state.directory.change_password(&visitor.actor(&request), current, new).await {
        Ok(session) => {
            let mut response = go_to("/sessions?notice=password");
            keep(&state, &session, &mut response).await?;
            Ok(response)
        }
        Err(DirectoryError::Invalid(invalid)) => ask(visitor, Some(Problem::on("new", in_words(&invalid)))),
        Err(error) => {
            let failed = Failed::read(error, state.clock.now())?;
            ask(visitor, Some(Problem { status: failed.status(), field: "current", text: failed.to_string() }))
        }
    }
}

/// Why a password is not taken, for who does not count in bytes.
fn in_words(invalid: &Invalid) -> String {
    match invalid.code {
        "password_too_short" => "The new password is too short: it needs at least 8 characters.".to_owned(),
        "password_too_long" => "The new password is too long: 200 characters always fit.".to_owned(),
        _ => {
            let mut letters = invalid.detail.chars();
            letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
        }
    }
}
