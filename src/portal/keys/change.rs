//! What a key is called, and on which device it is. What it may do is for good.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{PortalState, Refusal, form::Form, go_to, page, problems::Problems, visitor::SignedIn},
    at, find,
    shown::KeyShown,
};
use crate::{
    directory::{DirectoryError, FieldPatch, TokenPatch, fields},
    domain::token::TokenId,
};

#[derive(Template)]
#[template(path = "portal/keys/edit.html")]
struct EditPage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    key: KeyShown,
    name: String,
    device: String,
    problems: Problems,
}

/// `GET /keys/{id}/edit`
pub(super) async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    ask(&state, &request, visitor, &path, None).await
}

async fn ask(
    state: &PortalState,
    request: &HttpRequest,
    visitor: SignedIn,
    id: &str,
    typed: Option<(Fields, Problems)>,
) -> Result<HttpResponse, Refusal> {
    let info = find(state, request, &visitor, id).await?;
    if typed.is_none() {
        visitor.has_confirmed(state.clock.now())?;
    }
    let key = KeyShown::new(info, &visitor, state.directory.token_rules(), state.clock.now());
    let status = if typed.is_some() { 422 } else { 200 };
    let as_it_is = || (Fields { name: key.name.clone(), device: key.device.clone().unwrap_or_default() }, Problems::default());
    let (Fields { name, device }, problems) = typed.unwrap_or_else(as_it_is);
    page(status, &EditPage { title: "Rename a key", at: at(key.owner.is_none()), visitor, key, name, device, problems })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    name: String,
    device: String,
}

/// `POST /keys/{id}/edit`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let typed = form.proven_by(visitor.secret())?;
    let id = TokenId::parse(&path).ok_or_else(Refusal::not_found)?;
    let mut problems = Problems::default();
    let name = problems.take("name", fields::token_name(&typed.name));
    let device = match typed.device.trim() {
        "" => Some(FieldPatch::Clear),
        device => problems.take("device", fields::device(device)).map(FieldPatch::Set),
    };
    if let (Some(name), Some(device)) = (name, device) {
        let described = TokenPatch { name: Some(name), device };
        match state.directory.update_token(&visitor.actor(&request), &id, described, None).await {
            Ok(_) => return Ok(go_to(&format!("/keys/{id}?notice=renamed"))),
            Err(DirectoryError::Invalid(invalid)) => problems.note(&invalid),
            Err(error) => return Err(error.into()),
        }
    }
    ask(&state, &request, visitor, id.as_str(), Some((typed, problems))).await
}
