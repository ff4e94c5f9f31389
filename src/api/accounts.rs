//! `/accounts`: who can be somebody.

use actix_web::{HttpResponse, http::header, web};
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    ApiState, Problem,
    dto::{AccountView, ListBody},
    extract::{Body, Caller, ListQuery, NoBody, NoQuery, Posted, Seen, WaitQuery, login},
};
use crate::{
    directory::{AccountPatch, DirectoryError, FieldPatch, Made, NewAccount, fields},
    domain::{
        account::{Account, AccountKind},
        password::Password,
        text::{Email, Login},
    },
};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/accounts").route(web::get().to(list)).route(web::post().to(create)))
        .service(
            web::resource("/accounts/{login}")
                .route(web::get().to(show))
                .route(web::patch().to(update))
                .route(web::delete().to(delete)),
        )
        .service(web::resource("/accounts/{login}/revoke-all").route(web::post().to(revoke_all)));
}

/// A password on its way in: wiped when dropped, never printed.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
struct SecretText(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateAccount {
    login: String,
    kind: Option<AccountKind>,
    name: Option<String>,
    email: Option<String>,
    superuser: Option<bool>,
    may_mint_tokens: Option<bool>,
    password: Option<SecretText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchAccount {
    login: Option<String>,
    #[serde(default)]
    name: FieldPatch<String>,
    #[serde(default)]
    email: FieldPatch<String>,
    superuser: Option<bool>,
    disabled: Option<bool>,
    may_mint_tokens: Option<bool>,
    password: Option<SecretText>,
}

async fn list(state: web::Data<ApiState>, caller: Caller, query: web::Query<ListQuery>) -> Result<HttpResponse, Problem> {
    let listing = state.directory.accounts(&caller.0, &query.window()?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, AccountView::from)))
}

async fn create(
    state: web::Data<ApiState>,
    _: web::Query<NoQuery>,
    Posted { actor, body }: Posted<CreateAccount>,
) -> Result<HttpResponse, Problem> {
    let new = NewAccount {
        login: Login::parse(&body.login)?,
        kind: body.kind.unwrap_or(AccountKind::Human),
        name: body.name.as_deref().map(fields::account_name).transpose()?,
        email: body.email.as_deref().map(Email::parse).transpose()?,
        superuser: body.superuser.unwrap_or(false),
        may_mint_tokens: body.may_mint_tokens.unwrap_or(true),
        password: body.password.as_ref().map(|password| Password::chosen(&password.0)).transpose()?,
    };
    let account = match state.directory.create_account(&actor, new).await {
        Err(DirectoryError::Replayed(Made::Account(id))) => state.directory.account_by_id(&actor.anew(), &id).await?,
        made => made?,
    };
    let location = format!("/api/v1/accounts/{}", percent_encoded(account.login.as_str()));
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .insert_header(etag(account.version))
        .json(AccountView::from(account)))
}

async fn show(state: web::Data<ApiState>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    Ok(shown(state.directory.account(&caller.0, &login(&path)?).await?))
}

async fn update(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: web::Query<WaitQuery>,
    Body(body): Body<PatchAccount>,
) -> Result<HttpResponse, Problem> {
    let changes = AccountPatch {
        login: body.login.as_deref().map(Login::parse).transpose()?,
        name: body.name.try_map(|name| fields::account_name(&name))?,
        email: body.email.try_map(|email| Email::parse(&email))?,
        superuser: body.superuser,
        disabled: body.disabled,
        may_mint_tokens: body.may_mint_tokens,
        password: body.password.as_ref().map(|password| Password::chosen(&password.0)).transpose()?,
    };
    Ok(shown(state.directory.update_account(&caller.0, &login(&path)?, changes, seen.0).await?))
}

async fn delete(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: web::Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.delete_account(&caller.0, &login(&path)?, seen.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn revoke_all(
    state: web::Data<ApiState>,
    path: web::Path<String>,
    _: web::Query<WaitQuery>,
    Posted { actor, body: NoBody {} }: Posted<NoBody>,
) -> Result<HttpResponse, Problem> {
    Ok(shown(match state.directory.revoke_all(&actor, &login(&path)?).await {
        Err(DirectoryError::Replayed(Made::Account(id))) => state.directory.account_by_id(&actor.anew(), &id).await?,
        done => done?,
    }))
}

fn shown(account: Account) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(account.version)).json(AccountView::from(account))
}

pub(super) fn etag(version: u64) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{version}\""))
}

/// A segment of a path: all but RFC 3986's unreserved characters is encoded.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
