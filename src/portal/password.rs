//! `/password`: somebody who is signed in chooses a new password. His other sessions end with the old one.

use std::fmt;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    PortalState, Refusal,
    attempt::Failed,
    form::{Form, Typed},
    go_to, page,
    problems::sentence,
    visitor::{SignedIn, keep},
};
use crate::{
    directory::{DirectoryError, Handed, handed_over},
    domain::{password::Password, text::Invalid},
};

/// What is to be filled in again, and why.
enum Problem {
    /// The new password is none that is taken.
    With { field: &'static str, text: String },
    /// The current one did not help.
    Failed(Failed),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With { text, .. } => f.write_str(text),
            Self::Failed(failed) => failed.fmt(f),
        }
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
        match &self.problem {
            Some(Problem::With { field: wrong, .. }) => *wrong == field,
            Some(Problem::Failed(Failed::Wrong)) => field == "current",
            Some(Problem::Failed(_)) | None => false,
        }
    }
}

fn ask(visitor: SignedIn, problem: Option<Problem>) -> Result<HttpResponse, Refusal> {
    let status = match &problem {
        None => 200,
        Some(Problem::With { .. }) => 422,
        Some(Problem::Failed(failed)) => failed.status(),
    };
    let form = Page { title: "Change your password", at: "/security", visitor, problem };
    let mut response = page(status, &form)?;
    if let Some(Problem::Failed(failed)) = &form.problem {
        failed.add_retry_after(&mut response);
    }
    Ok(response)
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
    let with = |field, text: String| Some(Problem::With { field, text });
    if new.expose() != again.expose() {
        return ask(visitor, with("again", "The new password is not the same in both fields.".to_owned()));
    }
    let new = match Password::chosen(new.expose()) {
        Ok(new) => new,
        Err(invalid) => return ask(visitor, with("new", in_words(&invalid))),
    };
    // One that is too long is nobody's.
    let Some(current) = Password::presented(current.expose().as_bytes()) else {
        return ask(visitor, Some(Problem::Failed(Failed::Wrong)));
    };
    match handed_over(state.directory.change_password(&visitor.actor(&request), current, new)).await {
        Ok(Handed { over: session, confirmed }) => {
            let notice = if confirmed { "password" } else { "password_unconfirmed" };
            let mut response = go_to(&format!("/sessions?notice={notice}"));
            keep(&state, &session, &mut response)?;
            Ok(response)
        }
        Err(DirectoryError::Invalid(invalid)) => ask(visitor, with("new", in_words(&invalid))),
        Err(error) => ask(visitor, Some(Problem::Failed(Failed::read(error, state.clock.now())?))),
    }
}

/// Why a password is not taken, for who does not count in bytes.
fn in_words(invalid: &Invalid) -> String {
    match invalid.code {
        "password_too_short" => "The new password is too short: it needs at least 8 characters.".to_owned(),
        "password_too_long" => "The new password is too long: 200 characters always fit.".to_owned(),
        _ => sentence(&invalid.detail),
    }
}
