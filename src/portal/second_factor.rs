//! `/second-factor`: the second half of signing in. Whoever has given the password shows a code of his factor, or one for
//! recovery, and goes on where he came from.

use std::fmt;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    PortalState, Refusal,
    arrival::{Arrival, CODE, SIGN_IN},
    attempt::Failed,
    form::{Form, Typed},
    go_to, page,
    visitor::{Newcomer, SignedIn},
};
use crate::{
    directory::{DirectoryError, handed_over},
    domain::{factor::PresentedCode, session::Stage},
};

/// Why a code did not help.
pub(super) struct CodeFailed(pub Failed);

impl fmt::Display for CodeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Failed::Wrong => f.write_str("The code is wrong, or has been used already. Wait for the next one, and try again."),
            failed => failed.fmt(f),
        }
    }
}

#[derive(Template)]
#[template(path = "portal/second_factor.html")]
struct Page {
    title: &'static str,
    visitor: SignedIn,
    /// The protected host to go back to.
    to: Option<String>,
    problem: Option<CodeFailed>,
    action: String,
    /// The page for the other kind of code.
    other: String,
    recovery: bool,
}

/// Whether a recovery code is asked for; the rest of the query is the way back.
fn wants_recovery(request: &HttpRequest) -> bool {
    form_urlencoded::parse(request.query_string().as_bytes()).any(|(name, _)| name == "recovery")
}

fn ask(visitor: SignedIn, arrival: &Arrival, recovery: bool, problem: Option<Failed>) -> Result<HttpResponse, Refusal> {
    let status = problem.as_ref().map_or(200, Failed::status);
    let plain = arrival.link(CODE);
    let with = format!("{plain}{}recovery=1", if plain.contains('?') { '&' } else { '?' });
    let (action, other) = if recovery { (with, plain) } else { (plain, with) };
    let problem = problem.map(CodeFailed);
    let form = Page { title: "Confirm that it is you", visitor, to: arrival.host(), problem, action, other, recovery };
    let mut response = page(status, &form)?;
    if let Some(CodeFailed(failed)) = &form.problem {
        failed.add_retry_after(&mut response);
    }
    Ok(response)
}

/// `GET /second-factor`
pub(super) async fn show(state: web::Data<PortalState>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let arrival = Arrival::read(request.query_string(), &state.hosts);
    match Newcomer::find(&state, &request).await? {
        Some(Newcomer { visitor, stage: Stage::AwaitsCode }) => ask(visitor, &arrival, wants_recovery(&request), None),
        // Nobody has given a password, or that was all that was asked for.
        _ => Ok(go_to(&arrival.link(SIGN_IN))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    code: Typed,
}

/// `POST /second-factor`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let arrival = Arrival::read(request.query_string(), &state.hosts);
    let newcomer = Newcomer::find(&state, &request).await?;
    let Some(Newcomer { visitor, stage }) = newcomer else { return Ok(go_to(&arrival.link(SIGN_IN))) };
    let Fields { code } = form.proven_by(visitor.secret())?;
    if stage != Stage::AwaitsCode {
        return Ok(go_to(&arrival.link(SIGN_IN)));
    }
    let recovery = wants_recovery(&request);
    let Some(code) = PresentedCode::parse(code.expose()) else {
        return ask(visitor, &arrival, recovery, Some(Failed::Wrong));
    };
    // Whatever is confirmed of it: the code is used up, and he is in.
    let shown = handed_over(state.directory.show_code(&visitor.actor(&request), &code)).await;
    state.metrics.count_sign_in(match &shown {
        Ok(_) => "done",
        Err(DirectoryError::Refused { .. } | DirectoryError::Unauthenticated(_)) => "refused",
        Err(DirectoryError::Blocked { .. }) => "blocked",
        Err(DirectoryError::Busy) => "busy",
        Err(_) => "unavailable",
    });
    match shown {
        Ok(session) => arrival.enter(&state, &session.over),
        Err(DirectoryError::Unauthenticated(_)) => Ok(go_to(&arrival.link(SIGN_IN))),
        Err(error) => ask(visitor, &arrival, recovery, Some(Failed::read(error, state.clock.now())?)),
    }
}
