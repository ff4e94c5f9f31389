//! `/me/factors`: what somebody shows besides his password. All but the list is for who has signed in with a browser.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    dto::FactorView,
    extract::{Body, Caller, NoQuery, Query},
    me::{Renewed, new_cookie, renewed},
    operations::Operations,
    values::{SecretText, factor_id},
};
use crate::{
    directory::{Handed, NewTotp, TotpAdded, fields, handed_over},
    domain::{
        factor::{FactorId, PresentedCode, RecoveryCode},
        seal::Sealed,
        text::{Invalid, Label},
    },
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_factors, factors);
    api.add(__path_begin_totp, begin_totp);
    api.add(__path_add_totp, add_totp);
    api.add(__path_remove_factor, remove_factor);
    api.add(__path_renew_recovery_codes, renew_recovery_codes);
}

#[derive(Serialize, ToSchema)]
struct Factors {
    items: Vec<FactorView>,
    /// How many of them are left.
    recovery_codes: usize,
    /// Whether there must be a second factor.
    required: bool,
}

/// List second factors
#[utoipa::path(get, path = "/v1/me/factors", responses((status = 200, body = Factors)))]
async fn factors(state: web::Data<ApiState>, Caller(actor): Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let found = state.directory.factors(&actor).await?;
    let items = found.factors.into_iter().map(FactorView::from).collect();
    Ok(HttpResponse::Ok().json(Factors { items, recovery_codes: found.recovery_codes, required: found.required }))
}

/// The secret of an authenticator app, which is shown this once.
#[derive(Serialize, ToSchema)]
struct TotpSetup {
    /// Base32.
    secret: String,
    /// For a QR code.
    uri: String,
    /// To be brought back with the first code.
    setup: String,
}

/// Begin to set up an authenticator app
///
/// In a session whose password was given within the last 15 minutes. Nothing is changed by this.
#[utoipa::path(post, path = "/v1/me/factors/totp", security(("session" = [])), responses((status = 200, body = TotpSetup)))]
async fn begin_totp(state: web::Data<ApiState>, Caller(actor): Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let begun = state.directory.begin_totp(&actor).await?;
    let issuer = state.portal.as_ref().map_or("Keygate", |portal| portal.host().as_str());
    let body = TotpSetup {
        secret: begun.secret.to_base32().to_string(),
        uri: begun.secret.uri(issuer, begun.login.as_str()).to_string(),
        setup: begun.setup.to_text(),
    };
    Ok(HttpResponse::Ok().json(body))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "setup": "k1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "name": "Phone", "code": "123456" }))]
struct AddTotp {
    /// Of the beginning.
    #[schema(value_type = String, max_length = 512)]
    setup: SecretText,
    #[schema(value_type = Label)]
    name: String,
    /// That the app shows now.
    #[schema(value_type = String, max_length = 64)]
    code: SecretText,
    /// Where there is a second factor already: a code of it, or a recovery code.
    #[schema(value_type = Option<String>, max_length = 64)]
    proof: Option<SecretText>,
}

/// The session goes on as another one, whose cookie comes with the answer.
#[derive(Serialize, ToSchema)]
struct Added {
    /// For `X-CSRF-Token`, from now on.
    csrf_token: String,
    /// With the first factor. They are shown this once.
    #[schema(required)]
    recovery_codes: Option<Vec<String>>,
    /// Whether enough replicas of the store have confirmed it; otherwise a failover could undo it.
    confirmed: bool,
}

/// Add an authenticator app
///
/// It shows its first code by this. All other sessions of the account end.
#[utoipa::path(post, path = "/v1/me/factors", request_body = AddTotp, security(("session" = [])),
    responses((status = 200, body = Added)))]
async fn add_totp(
    state: web::Data<ApiState>,
    Caller(actor): Caller,
    _: Query<NoQuery>,
    Body(body): Body<AddTotp>,
) -> Result<HttpResponse, Problem> {
    let setup = Sealed::parse(&body.setup.0);
    let new = NewTotp {
        setup: setup.ok_or_else(|| Invalid::new("setup_malformed", "setup", "give the `setup` of the beginning as it was"))?,
        name: fields::factor_name(&body.name)?,
        code: presented(&body.code, "code")?,
        proof: body.proof.as_ref().map(|proof| presented(proof, "proof")).transpose()?,
    };
    let Handed { over: TotpAdded { session, codes }, confirmed } = handed_over(state.directory.add_totp(&actor, &new)).await?;
    let (mut answer, csrf_token) = new_cookie(&state, &session);
    Ok(answer.json(Added { csrf_token, recovery_codes: codes.as_deref().map(texts), confirmed }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "123456" }))]
struct Proof {
    /// Of one of the factors, or a recovery code.
    #[schema(value_type = String, max_length = 64)]
    code: SecretText,
}

/// Remove a second factor
///
/// With the last one the recovery codes go. All other sessions of the account end.
#[utoipa::path(post, path = "/v1/me/factors/{id}/remove", params(("id" = FactorId, Path)), request_body = Proof,
    security(("session" = [])), responses((status = 200, body = Renewed)))]
async fn remove_factor(
    state: web::Data<ApiState>,
    Caller(actor): Caller,
    path: web::Path<String>,
    _: Query<NoQuery>,
    Body(body): Body<Proof>,
) -> Result<HttpResponse, Problem> {
    let (id, code) = (factor_id(&path)?, presented(&body.code, "code")?);
    Ok(renewed(&state, &handed_over(state.directory.remove_factor(&actor, &id, &code)).await?))
}

/// Shown this once.
#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    recovery_codes: Vec<String>,
    /// Whether enough replicas of the store have confirmed it; otherwise a failover could undo it.
    confirmed: bool,
}

/// Make new recovery codes
///
/// The old ones are good for nothing any more.
#[utoipa::path(post, path = "/v1/me/factors/recovery-codes", request_body = Proof, security(("session" = [])),
    responses((status = 200, body = RecoveryCodes)))]
async fn renew_recovery_codes(
    state: web::Data<ApiState>,
    Caller(actor): Caller,
    _: Query<NoQuery>,
    Body(body): Body<Proof>,
) -> Result<HttpResponse, Problem> {
    let code = presented(&body.code, "code")?;
    let Handed { over: codes, confirmed } = handed_over(state.directory.renew_recovery_codes(&actor, &code)).await?;
    Ok(HttpResponse::Ok().json(RecoveryCodes { recovery_codes: texts(&codes), confirmed }))
}

pub(super) fn presented(text: &SecretText, field: &'static str) -> Result<PresentedCode, Invalid> {
    let detail = "a code is six digits, and a recovery code sixteen letters and digits";
    PresentedCode::parse(&text.0).ok_or_else(|| Invalid::new("code_malformed", field, detail))
}

fn texts(codes: &[RecoveryCode]) -> Vec<String> {
    codes.iter().map(RecoveryCode::to_text).collect()
}
