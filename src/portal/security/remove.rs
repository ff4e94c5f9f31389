//! `/security/factors/{id}/remove`: says what comes of it, and asks for a code.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{
        PortalState, Refusal,
        attempt::Failed,
        form::{Form, Typed},
        go_to, page,
        second_factor::CodeFailed,
        visitor::{SignedIn, keep},
    },
    Line, own,
};
use crate::{
    directory::{Handed, handed_over},
    domain::factor::PresentedCode,
};

#[derive(Template)]
#[template(path = "portal/security/remove.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    problem: Option<CodeFailed>,
    factor: Line,
    last: bool,
    /// It is the last one, and there must be one.
    needed: bool,
}

async fn ask(
    state: &PortalState,
    request: &HttpRequest,
    id: &str,
    visitor: SignedIn,
    problem: Option<Failed>,
) -> Result<HttpResponse, Refusal> {
    let (factor, last) = own(state, &visitor, request, id).await?;
    let needed = last && state.rules.demand_second_factor(&visitor.account);
    let status = problem.as_ref().map_or(200, Failed::status);
    let problem = problem.map(CodeFailed);
    let form = Page { title: "Remove a second factor", at: "/security", visitor, problem, factor, last, needed };
    let mut response = page(status, &form)?;
    if let Some(CodeFailed(failed)) = &form.problem {
        failed.add_retry_after(&mut response);
    }
    Ok(response)
}

/// `GET /security/factors/{id}/remove`
pub(in super::super) async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    id: web::Path<String>,
    visitor: SignedIn,
) -> Result<HttpResponse, Refusal> {
    visitor.has_confirmed(state.clock.now())?;
    ask(&state, &request, &id, visitor, None).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Fields {
    code: Typed,
}

/// `POST /security/factors/{id}/remove`
pub(in super::super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    id: web::Path<String>,
    visitor: SignedIn,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let Fields { code } = form.proven_by(visitor.secret())?;
    let (factor, _) = own(&state, &visitor, &request, &id).await?;
    let Some(code) = PresentedCode::parse(code.expose()) else {
        return ask(&state, &request, &id, visitor, Some(Failed::Wrong)).await;
    };
    match handed_over(state.directory.remove_factor(&visitor.actor(&request), &factor.id, &code)).await {
        Ok(Handed { over: session, confirmed }) => {
            let notice = if confirmed { "removed" } else { "removed_unconfirmed" };
            let mut response = go_to(&format!("/security?notice={notice}"));
            keep(&state, &session, &mut response)?;
            Ok(response)
        }
        Err(error) => {
            let failed = Failed::read(error, state.clock.now())?;
            ask(&state, &request, &id, visitor, Some(failed)).await
        }
    }
}
