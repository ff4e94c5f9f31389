//! `/security/recovery-codes`: new recovery codes in the place of the old ones. They are shown once, here and when the first
//! factor is set up.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::{
    PortalState, Refusal,
    attempt::Failed,
    form::{Form, Typed},
    page,
    second_factor::CodeFailed,
    visitor::SignedIn,
};
use crate::{
    directory::{Handed, handed_over},
    domain::factor::{PresentedCode, RecoveryCode},
};

#[derive(Template)]
#[template(path = "portal/security/recovery.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    problem: Option<CodeFailed>,
    left: usize,
}

async fn ask(
    state: &PortalState,
    request: &HttpRequest,
    visitor: SignedIn,
    problem: Option<Failed>,
) -> Result<HttpResponse, Refusal> {
    let found = state.directory.factors(&visitor.actor(request)).await?;
    if found.factors.is_empty() {
        return Err(Refusal::not_found());
    }
    let status = problem.as_ref().map_or(200, Failed::status);
    let (left, problem) = (found.recovery_codes, problem.map(CodeFailed));
    let form = Page { title: "Make new recovery codes", at: "/security", visitor, problem, left };
    let mut response = page(status, &form)?;
    if let Some(CodeFailed(failed)) = &form.problem {
        failed.add_retry_after(&mut response);
    }
    Ok(response)
}

/// `GET /security/recovery-codes`
pub(in super::super) async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
) -> Result<HttpResponse, Refusal> {
    visitor.has_confirmed(state.clock.now())?;
    ask(&state, &request, visitor, None).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Fields {
    code: Typed,
}

/// `POST /security/recovery-codes`
pub(in super::super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let Fields { code } = form.proven_by(visitor.secret())?;
    let Some(code) = PresentedCode::parse(code.expose()) else {
        return ask(&state, &request, visitor, Some(Failed::Wrong)).await;
    };
    match handed_over(state.directory.renew_recovery_codes(&visitor.actor(&request), &code)).await {
        Ok(codes) => shown(visitor, codes, "/security".to_owned(), false),
        Err(error) => {
            let failed = Failed::read(error, state.clock.now())?;
            ask(&state, &request, visitor, Some(failed)).await
        }
    }
}

#[derive(Template)]
#[template(path = "portal/security/recovery_shown.html")]
struct Shown {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    codes: Vec<RecoveryCode>,
    way_on: String,
    /// They come with the first factor.
    begun: bool,
    /// Otherwise a failover of the store could undo it.
    confirmed: bool,
}

/// The page that shows them, and the way on from there.
pub(super) fn shown(
    visitor: SignedIn,
    codes: Handed<Vec<RecoveryCode>>,
    way_on: String,
    begun: bool,
) -> Result<HttpResponse, Refusal> {
    let Handed { over: codes, confirmed } = codes;
    page(200, &Shown { title: "Your recovery codes", at: "/security", visitor, codes, way_on, begun, confirmed })
}
