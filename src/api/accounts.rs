//! `/accounts`: who can be somebody.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem, answer,
    decode::given,
    dto::{AccountView, ListBody},
    extract::{Body, Caller, NoQuery, Once, Posted, Query, Seen},
    operations::Operations,
    schema,
    values::{Cursor, SecretText, login, sort, wanted, window},
    wait::WaitQuery,
};
use crate::{
    directory::{AccountFilter, AccountPatch, AccountSort, DirectoryError, FieldPatch, Made, NewAccount, Sort, fields},
    domain::{
        account::{Account, AccountKind},
        password::Password,
        text::{Email, Label, Login},
    },
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_list, list);
    api.add(__path_create, create);
    api.add(__path_show, show);
    api.add(__path_update, update);
    api.add(__path_delete, delete);
    api.add(__path_revoke_all, revoke_all);
    api.add(__path_reset_factors, reset_factors);
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "login": "vera", "name": "Vera" }))]
struct CreateAccount {
    #[schema(value_type = Login)]
    login: String,
    #[serde(default = "human")]
    #[schema(schema_with = schema::kind_to_make)]
    kind: AccountKind,
    #[schema(value_type = Option<Label>)]
    name: Option<String>,
    /// Not for a service.
    #[schema(value_type = Option<Email>)]
    email: Option<String>,
    #[serde(default)]
    superuser: bool,
    #[serde(default = "yes")]
    may_mint_tokens: bool,
    /// Not for a service.
    #[serde(default)]
    must_have_second_factor: bool,
    /// 8 to 1,024 bytes. Not for a service.
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    password: Option<SecretText>,
}

fn human() -> AccountKind {
    AccountKind::Human
}

fn yes() -> bool {
    true
}

/// What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Vera", "disabled": false }))]
struct PatchAccount {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Login)]
    login: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Label>)]
    name: FieldPatch<String>,
    #[serde(default)]
    #[schema(value_type = Option<Email>)]
    email: FieldPatch<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool)]
    superuser: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool)]
    disabled: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool)]
    may_mint_tokens: Option<bool>,
    /// Not for a service.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool)]
    must_have_second_factor: Option<bool>,
    /// 8 to 1,024 bytes.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, format = Password, max_length = 1024)]
    password: Option<SecretText>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AccountQuery {
    /// The most items in one answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `next` of the part before.
    cursor: Option<Cursor>,
    /// Only of this login; `*` stands for any characters, and capitals for small letters.
    #[param(max_length = 128)]
    login: Option<String>,
    kind: Option<AccountKind>,
    /// Only those that are disabled, or that are not.
    disabled: Option<bool>,
    /// By what, with a `-` before it for descending.
    #[param(pattern = "^-?(login|created)$", default = "login")]
    sort: Option<String>,
}

/// List accounts
///
/// With filters a part may be short, or empty, and not be the last: go on as long as there is `next`. For who is no superuser,
/// his own.
#[utoipa::path(get, path = "/v1/accounts", params(AccountQuery), responses((status = 200, body = ListBody<AccountView>)))]
async fn list(state: web::Data<ApiState>, caller: Caller, Query(query): Query<AccountQuery>) -> Result<HttpResponse, Problem> {
    let filter = AccountFilter {
        login: wanted(query.login, "login")?,
        kind: query.kind,
        disabled: query.disabled,
        sort: sort(query.sort.as_deref(), Sort::<AccountSort>::parse, "login or created")?,
    };
    let listing = state.directory.accounts(&caller.0, &filter, &window(query.limit, query.cursor.as_ref())?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, AccountView::from)))
}

/// Make an account
#[utoipa::path(post, path = "/v1/accounts", params(Once), request_body = CreateAccount,
    responses((status = 201, body = AccountView), (status = 404), (status = 409)))]
async fn create(
    state: web::Data<ApiState>,
    _: Query<NoQuery>,
    Posted { actor, body }: Posted<CreateAccount>,
) -> Result<HttpResponse, Problem> {
    let new = NewAccount {
        login: Login::parse(&body.login)?,
        kind: body.kind,
        name: body.name.as_deref().map(fields::account_name).transpose()?,
        email: body.email.as_deref().map(Email::parse).transpose()?,
        superuser: body.superuser,
        may_mint_tokens: body.may_mint_tokens,
        must_have_second_factor: body.must_have_second_factor,
        password: body.password.as_ref().map(|password| Password::chosen(&password.0)).transpose()?,
    };
    let (account, replayed) = match state.directory.create_account(&actor, new).await {
        Err(DirectoryError::Replayed(Made::Account(id))) => (state.directory.account_by_id(&actor.anew(), &id).await?, true),
        made => (made?, false),
    };
    let path = format!("/accounts/{}", answer::percent_encoded(account.login.as_str()));
    Ok(answer::created(&path, account.version, replayed, AccountView::from(account)))
}

/// Show an account
#[utoipa::path(get, path = "/v1/accounts/{login}", params(("login" = Login, Path)),
    responses((status = 200, body = AccountView)))]
async fn show(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    Ok(shown(state.directory.account(&caller.0, &login(&path)?).await?))
}

/// Change an account
///
/// All of it at once, or nothing.
#[utoipa::path(patch, path = "/v1/accounts/{login}", params(("login" = Login, Path), Seen, WaitQuery), request_body = PatchAccount,
    responses((status = 200, body = AccountView), (status = 409)))]
async fn update(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: Query<WaitQuery>,
    Body(body): Body<PatchAccount>,
) -> Result<HttpResponse, Problem> {
    let changes = AccountPatch {
        login: body.login.as_deref().map(Login::parse).transpose()?,
        name: body.name.try_map(|name| fields::account_name(&name))?,
        email: body.email.try_map(|email| Email::parse(&email))?,
        superuser: body.superuser,
        disabled: body.disabled,
        may_mint_tokens: body.may_mint_tokens,
        must_have_second_factor: body.must_have_second_factor,
        password: body.password.as_ref().map(|password| Password::chosen(&password.0)).transpose()?,
    };
    Ok(shown(state.directory.update_account(&caller.0, &login(&path)?, changes, seen.0).await?))
}

/// Delete an account
///
/// Its tokens die with it. An account made under its login again inherits nothing.
#[utoipa::path(delete, path = "/v1/accounts/{login}", params(("login" = Login, Path), Seen, WaitQuery),
    responses((status = 204), (status = 409)))]
async fn delete(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.delete_account(&caller.0, &login(&path)?, seen.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "the laptop is lost" }))]
struct RevokeAll {
    /// Why, for whoever looks at the records.
    #[schema(value_type = Option<Label>)]
    reason: Option<String>,
    /// Leave alone what the tokens have made for others.
    #[serde(default)]
    keep_minted: bool,
}

/// Revoke all tokens of an account
///
/// In one write; what they have made for others follows.
#[utoipa::path(post, path = "/v1/accounts/{login}/revoke-all", params(("login" = Login, Path), Once, WaitQuery),
    request_body = RevokeAll, responses((status = 200, body = AccountView), (status = 409)))]
async fn revoke_all(
    state: web::Data<ApiState>,
    path: web::Path<String>,
    _: Query<WaitQuery>,
    Posted { actor, body }: Posted<RevokeAll>,
) -> Result<HttpResponse, Problem> {
    let why = body.reason.as_deref().map(fields::reason).transpose()?;
    let (account, replayed) = match state.directory.revoke_all(&actor, &login(&path)?, body.keep_minted, why.as_ref()).await {
        Err(DirectoryError::Replayed(Made::Account(id))) => (state.directory.account_by_id(&actor.anew(), &id).await?, true),
        done => (done?, false),
    };
    Ok(answer::shown_once(account.version, replayed, AccountView::from(account)))
}

/// Take an account's second factors away
///
/// For who has lost his. The account's sessions end; who must have a second factor sets up another one when he signs in.
#[utoipa::path(delete, path = "/v1/accounts/{login}/factors", params(("login" = Login, Path), WaitQuery),
    responses((status = 204)))]
async fn reset_factors(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    _: Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.reset_factors(&caller.0, &login(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn shown(account: Account) -> HttpResponse {
    answer::shown(account.version, AccountView::from(account))
}
