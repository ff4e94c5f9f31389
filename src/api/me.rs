//! `/me`: who is asking, and what he does about the session he is in.

use actix_web::{HttpResponse, HttpResponseBuilder, http::header::SET_COOKIE, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    dto::{AccessView, SessionView, TokenRulesView, TokenView},
    extract::{Body, Caller, NoQuery, Query},
    factors::presented as presented_code,
    operations::Operations,
    values::SecretText,
};
use crate::{
    directory::{Came, Handed, SessionCookie, handed_over},
    domain::{
        account::AccountKind,
        cookie::Cookie,
        csrf,
        id::AccountId,
        password::Password,
        text::{Email, Invalid, Label},
        token::Scope,
    },
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_show, show);
    api.add(__path_confirm, confirm);
    api.add(__path_password, password);
    api.add(__path_sign_out, sign_out);
}

/// The account, with its access and the token or the session that came with the request. Whoever may open the control socket
/// stands above all accounts, and has only a login, `control:UID`.
#[derive(Serialize, ToSchema)]
struct Me {
    #[schema(required)]
    id: Option<AccountId>,
    login: String,
    #[schema(required)]
    kind: Option<AccountKind>,
    #[schema(required)]
    name: Option<Label>,
    #[schema(required)]
    email: Option<Email>,
    superuser: bool,
    may_mint_tokens: bool,
    access: Vec<AccessView>,
    /// Those that rules of the policy ask for: what a new token can be made for.
    scopes: Vec<Scope>,
    token_rules: TokenRulesView,
    #[schema(required)]
    token: Option<TokenView>,
    #[schema(required)]
    session: Option<SessionView>,
    /// For `X-CSRF-Token`, in a session.
    #[schema(required)]
    csrf_token: Option<String>,
}

/// Who is asking
#[utoipa::path(get, path = "/v1/me", responses((status = 200, body = Me)))]
async fn show(state: web::Data<ApiState>, caller: Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let scopes: Vec<_> = state.policy.load().scopes().into_iter().cloned().collect();
    let token_rules = TokenRulesView::from(state.directory.token_rules());
    let nobody = Me {
        id: None,
        login: caller.0.to_string(),
        kind: None,
        name: None,
        email: None,
        superuser: true,
        may_mint_tokens: true,
        access: Vec::new(),
        scopes: scopes.clone(),
        token_rules: token_rules.clone(),
        token: None,
        session: None,
        csrf_token: None,
    };
    let Some(found) = state.directory.me(&caller.0).await? else { return Ok(HttpResponse::Ok().json(nobody)) };
    let (token, session) = match found.came {
        Came::WithToken(token) => (Some(TokenView::from(*token)), None),
        Came::InSession(session) => (None, Some(session.into())),
    };
    let account = found.account;
    let me = Me {
        id: Some(account.id),
        login: account.login.to_string(),
        kind: Some(account.kind),
        name: account.name,
        email: account.email,
        superuser: account.superuser,
        may_mint_tokens: account.may_mint_tokens,
        access: found.access.into_iter().map(AccessView::from).collect(),
        scopes,
        token_rules,
        token,
        session,
        csrf_token: caller.0.cookie().map(|cookie| csrf::token(&cookie.secret)),
    };
    Ok(HttpResponse::Ok().json(me))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "password": "correct horse" }))]
struct Confirm {
    #[schema(value_type = String, format = Password, max_length = 1024)]
    password: SecretText,
    /// Needed where there is a second factor: a code of it, or a recovery code.
    #[schema(value_type = Option<String>, max_length = 64)]
    code: Option<SecretText>,
}

/// The session goes on under another cookie, or as another one, whose cookie comes with the answer.
#[derive(Serialize, ToSchema)]
pub(super) struct Renewed {
    /// For `X-CSRF-Token`, from now on.
    csrf_token: String,
    /// Whether enough replicas of the store have confirmed it; otherwise a failover could undo it.
    confirmed: bool,
}

/// Give the password again
///
/// In a session; with a code too, where there is a second factor. What mints or grants may be done for 15 minutes then.
#[utoipa::path(post, path = "/v1/me/confirm", request_body = Confirm, security(("session" = [])),
    responses((status = 200, body = Renewed)))]
async fn confirm(
    state: web::Data<ApiState>,
    Caller(actor): Caller,
    _: Query<NoQuery>,
    Body(body): Body<Confirm>,
) -> Result<HttpResponse, Problem> {
    let password = presented(&body.password, "password")?;
    let code = body.code.as_ref().map(|code| presented_code(code, "code")).transpose()?;
    Ok(renewed(&state, &handed_over(state.directory.confirm_password(&actor, password, code.as_ref())).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "current": "correct horse", "new": "battery staple" }))]
struct ChangePassword {
    #[schema(value_type = String, format = Password, max_length = 1024)]
    current: SecretText,
    /// 8 to 1,024 bytes, and none of the commonest.
    #[schema(value_type = String, format = Password, max_length = 1024)]
    new: SecretText,
}

/// Take another password
///
/// In a session. All sessions of the account end; another one begins for who asks.
#[utoipa::path(post, path = "/v1/me/password", request_body = ChangePassword, security(("session" = [])),
    responses((status = 200, body = Renewed)))]
async fn password(
    state: web::Data<ApiState>,
    Caller(actor): Caller,
    _: Query<NoQuery>,
    Body(body): Body<ChangePassword>,
) -> Result<HttpResponse, Problem> {
    let current = presented(&body.current, "current")?;
    let new = Password::chosen(&body.new.0).map_err(|error| Invalid { field: "new", ..error })?;
    Ok(renewed(&state, &handed_over(state.directory.change_password(&actor, current, new)).await?))
}

/// Sign out
///
/// Ends the session everywhere.
#[utoipa::path(post, path = "/v1/me/sign-out", security(("session" = [])), responses((status = 204)))]
async fn sign_out(state: web::Data<ApiState>, Caller(actor): Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    state.directory.leave(&actor).await?;
    let mut answer = HttpResponse::NoContent();
    if let Some(portal) = &state.portal {
        answer.insert_header((SET_COOKIE, Cookie::Portal.clear(portal)));
    }
    Ok(answer.finish())
}

fn presented(text: &SecretText, field: &'static str) -> Result<Password, Invalid> {
    let too_long = || Invalid::over("password_too_long", field, Password::MAX_BYTES);
    Password::presented(text.0.as_bytes()).ok_or_else(too_long)
}

pub(super) fn renewed(state: &ApiState, cookie: &Handed<SessionCookie>) -> HttpResponse {
    let (mut answer, csrf_token) = new_cookie(state, &cookie.over);
    answer.json(Renewed { csrf_token, confirmed: cookie.confirmed })
}

/// An answer with the cookie of a session that goes on under it, and the token for what changes something from now on.
pub(super) fn new_cookie(state: &ApiState, cookie: &SessionCookie) -> (HttpResponseBuilder, String) {
    let SessionCookie { secret, max_age, .. } = cookie;
    let mut answer = HttpResponse::Ok();
    if let Some(portal) = &state.portal {
        answer.insert_header((SET_COOKIE, Cookie::Portal.set(portal, &secret.to_text(), *max_age)));
    }
    (answer, csrf::token(&secret.secret))
}
