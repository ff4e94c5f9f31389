//! `/confirm`: somebody who is signed in gives his password once more, and a code where he has a second factor, before
//! something that could do harm. Afterwards he goes on where he was.

use std::fmt;

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
    second_factor::CodeFailed,
    visitor::{SignedIn, keep},
};
use crate::{
    directory::{DirectoryError, handed_over},
    domain::{factor::PresentedCode, password::Password},
};

/// What did not help.
enum Problem {
    Password(Failed),
    Code(CodeFailed),
}

impl Problem {
    fn failed(&self) -> &Failed {
        match self {
            Self::Password(failed) | Self::Code(CodeFailed(failed)) => failed,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(failed) => failed.fmt(f),
            Self::Code(failed) => failed.fmt(f),
        }
    }
}

#[derive(Template)]
#[template(path = "portal/confirm.html")]
struct Page {
    title: &'static str,
    visitor: SignedIn,
    problem: Option<Problem>,
    next: OwnPage,
}

impl Page {
    fn wrong(&self, field: &str) -> bool {
        match &self.problem {
            Some(Problem::Password(Failed::Wrong)) => field == "password",
            Some(Problem::Code(CodeFailed(Failed::Wrong))) => field == "code",
            _ => false,
        }
    }
}

fn ask(visitor: SignedIn, next: OwnPage, problem: Option<Problem>) -> Result<HttpResponse, Refusal> {
    let status = problem.as_ref().map_or(200, |problem| problem.failed().status());
    let title = if visitor.account.second_factor { "Confirm that it is you" } else { "Confirm your password" };
    let confirm = Page { title, visitor, problem, next };
    let mut response = page(status, &confirm)?;
    if let Some(problem) = &confirm.problem {
        problem.failed().add_retry_after(&mut response);
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
    /// Where there is a second factor.
    code: Option<Typed>,
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
    let Fields { password, code, .. } = form.proven_by(visitor.secret())?;
    let Some(password) = Password::presented(password.expose().as_bytes()) else {
        return ask(visitor, next, Some(Problem::Password(Failed::Wrong)));
    };
    // One that is none, where one is needed, is wrong like any other.
    let code = code.and_then(|code| PresentedCode::parse(code.expose()));
    // Whatever is confirmed of it: the cookie has another secret now.
    match handed_over(state.directory.confirm_password(&visitor.actor(&request), password, code.as_ref())).await {
        Ok(session) => {
            let mut response = go_to(next.path());
            keep(&state, &session.over, &mut response)?;
            Ok(response)
        }
        Err(DirectoryError::Refused { code: "code_required" | "wrong_code", .. }) => {
            ask(visitor, next, Some(Problem::Code(CodeFailed(Failed::Wrong))))
        }
        Err(error) => {
            let failed = Failed::read(error, state.clock.now())?;
            ask(visitor, next, Some(Problem::Password(failed)))
        }
    }
}
