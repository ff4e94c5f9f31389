//! `/sign-out`, which ends the session everywhere, and `/signed-out`, which says so.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::{
    PortalState, Refusal, cookies,
    form::{Form, NoFields},
    go_to, page,
    visitor::Newcomer,
};
use crate::{
    api::{ClientAddresses, request_id},
    directory::DirectoryError,
    domain::cookie::Cookie,
};

/// `POST /sign-out`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    form: Form<NoFields>,
) -> Result<HttpResponse, Refusal> {
    if let Some(Newcomer { visitor: signed_in, .. }) = Newcomer::find(&state, &request).await? {
        form.proven_by(signed_in.secret())?;
        let address = ClientAddresses::address(&request);
        state.directory.sign_out(&signed_in.cookie, address, request_id(&request)).await.map_err(DirectoryError::from)?;
    }
    let mut response = go_to("/signed-out");
    cookies::add(&mut response, Cookie::Portal.clear(&state.url))?;
    Ok(response)
}

#[derive(Template)]
#[template(path = "portal/signed_out.html")]
struct Page {
    title: &'static str,
}

/// `GET /signed-out`
pub(super) async fn done() -> Result<HttpResponse, Refusal> {
    page(200, &Page { title: "Signed out" })
}
