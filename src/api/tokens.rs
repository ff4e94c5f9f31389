//! `/tokens`: what clients hold. The text of a token is in the answer to its creation or rotation only.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem, answer,
    decode::given,
    dto::{ListBody, TokenView},
    extract::{Body, Caller, NoQuery, Once, Posted, Query, Seen},
    operations::Operations,
    schema::{self, DurationText, NetworkText},
    values::{Cursor, MAX_NETWORK, MAX_WORD, duration, encoded, login, sort, time, token_id, wanted, window, within},
    wait::WaitQuery,
};
use crate::{
    directory::{
        Actor, CeilingAsk, DirectoryError, Expiry, FieldPatch, Found, Made, NewToken, Sort, TokenFilter, TokenInfo, TokenPatch,
        TokenSort, fields,
    },
    domain::{
        access::Level,
        site::SiteName,
        text::{Invalid, Label, Login},
        time::Timestamp,
        token::{PlainToken, Scope, TokenId, TokenState},
    },
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_list, list);
    api.add(__path_create, create);
    api.add(__path_revoke_many, revoke_many);
    api.add(__path_show, show);
    api.add(__path_update, update);
    api.add(__path_revoke, revoke);
    api.add(__path_rotate, rotate);
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account": "vera", "name": "nightly job", "levels": { "shop": "view" }, "expires_in": "90d" }))]
struct CreateToken {
    /// The owner.
    #[schema(value_type = Login)]
    account: String,
    #[schema(value_type = Label)]
    name: String,
    #[schema(value_type = Option<Label>)]
    device: Option<String>,
    #[schema(schema_with = schema::levels_to_ask)]
    levels: Option<BTreeMap<String, String>>,
    /// With `manage` it reaches this API.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>, max_items = 100)]
    scopes: Vec<String>,
    /// Where it may be used from; none: everywhere.
    #[serde(default)]
    #[schema(value_type = Vec<NetworkText>, max_items = 100)]
    networks: Vec<String>,
    /// Refused in URLs.
    #[serde(default)]
    secure_only: bool,
    /// For the needs of the installation: not in the owner's list. Superusers only.
    #[serde(default)]
    system: bool,
    #[schema(value_type = Option<Timestamp>)]
    expires_at: Option<String>,
    /// A duration such as `90d`, or `never`; instead of `expires_at`.
    #[schema(value_type = Option<String>, min_length = 2, max_length = 24, pattern = "^(never|[0-9]+(ms|s|m|h|d|y))$")]
    expires_in: Option<String>,
}

/// What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "nightly job" }))]
struct PatchToken {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Label)]
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Label>)]
    device: FieldPatch<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "grace": "1h" }))]
struct RotateToken {
    /// How long the predecessor lives on, at most `30d`; not at all unless given.
    #[schema(value_type = Option<DurationText>)]
    grace: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TokenQuery {
    /// The most items in one answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `next` of the part before.
    cursor: Option<Cursor>,
    /// Only of this account.
    #[param(value_type = Option<Login>)]
    account: Option<String>,
    /// Only those that end within this.
    #[param(value_type = Option<DurationText>)]
    expiring: Option<String>,
    /// Only those that have not been used for this long.
    #[param(value_type = Option<DurationText>)]
    unused: Option<String>,
    /// Only of this name; `*` stands for any characters.
    #[param(max_length = 128)]
    name: Option<String>,
    /// Only on this device; `*` stands for any characters.
    #[param(max_length = 128)]
    device: Option<String>,
    /// Only in this state.
    #[param(inline)]
    state: Option<StateAsk>,
    /// Only those that this account, or `control:UID`, has made.
    #[param(max_length = 128)]
    creator: Option<String>,
    /// By what, with a `-` before it for descending. Those that never end come last, and one that was never used stands where
    /// it was made. Without it in no order that lasts.
    #[param(pattern = "^-?(created|name|expires|used)$")]
    sort: Option<String>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StateAsk {
    Active,
    Expired,
    Revoked,
    Superseded,
}

impl From<StateAsk> for TokenState {
    fn from(ask: StateAsk) -> Self {
        match ask {
            StateAsk::Active => Self::Active,
            StateAsk::Expired => Self::Expired,
            StateAsk::Revoked => Self::Revoked,
            StateAsk::Superseded => Self::Superseded,
        }
    }
}

/// List tokens
///
/// With filters a part may be short, or empty, and not be the last: go on as long as there is `next`. For who is no superuser, his own, and those of the services of the sites that he administers.
#[utoipa::path(get, path = "/v1/tokens", params(TokenQuery),
    responses((status = 200, body = ListBody<TokenView>), (status = 404)))]
async fn list(state: web::Data<ApiState>, caller: Caller, Query(query): Query<TokenQuery>) -> Result<HttpResponse, Problem> {
    let filter = TokenFilter {
        login: query.account.as_deref().map(login).transpose()?,
        expiring: query.expiring.as_deref().map(|text| duration(text, "expiring")).transpose()?,
        unused: query.unused.as_deref().map(|text| duration(text, "unused")).transpose()?,
        name: wanted(query.name, "name")?,
        state: query.state.map(TokenState::from),
        device: wanted(query.device, "device")?,
        creator: wanted(query.creator, "creator")?,
        sort: sort(query.sort.as_deref(), Sort::<TokenSort>::parse, "created, name, expires or used")?,
        ..TokenFilter::default()
    };
    let window = window(query.limit, query.cursor.as_ref())?;
    let listing = state.directory.tokens(&caller.0, &filter, &window).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, TokenView::from)))
}

/// Make a token
///
/// The only answer that has its text. It can do no more than the token that makes it.
#[utoipa::path(post, path = "/v1/tokens", params(Once), request_body = CreateToken,
    responses((status = 201, body = MadeToken), (status = 404), (status = 409)))]
async fn create(
    state: web::Data<ApiState>,
    _: Query<NoQuery>,
    Posted { actor, body }: Posted<CreateToken>,
) -> Result<HttpResponse, Problem> {
    let new = NewToken {
        account: Login::parse(&body.account).map_err(|error| Invalid { field: "account", ..error })?,
        name: fields::token_name(&body.name)?,
        device: body.device.as_deref().map(fields::device).transpose()?,
        ceiling: ceiling(body.levels)?,
        scopes: body.scopes.iter().map(|scope| Scope::parse(scope)).collect::<Result<_, _>>()?,
        networks: body.networks.iter().map(|text| network(text)).collect::<Result<_, _>>()?,
        secure_only: body.secure_only,
        expires: expiry(body.expires_at.as_deref(), body.expires_in.as_deref())?,
        system: body.system,
    };
    let made = state.directory.create_token(&actor, new).await;
    answer_made(&state, &actor, made).await
}

/// Show a token
#[utoipa::path(get, path = "/v1/tokens/{id}", params(("id" = TokenId, Path)), responses((status = 200, body = TokenView)))]
async fn show(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    Ok(shown(state.directory.token(&caller.0, &token_id(&path)?).await?))
}

/// Describe a token
///
/// What it may do is for good.
#[utoipa::path(patch, path = "/v1/tokens/{id}", params(("id" = TokenId, Path), Seen, WaitQuery), request_body = PatchToken,
    responses((status = 200, body = TokenView), (status = 409)))]
async fn update(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: Query<WaitQuery>,
    Body(body): Body<PatchToken>,
) -> Result<HttpResponse, Problem> {
    let changes = TokenPatch {
        name: body.name.as_deref().map(fields::token_name).transpose()?,
        device: body.device.try_map(|device| fields::device(&device))?,
    };
    Ok(shown(state.directory.update_token(&caller.0, &token_id(&path)?, changes, seen.0).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RevokeQuery {
    /// Answer only when the change holds everywhere: within `hot_path.max_staleness`.
    #[serde(default, rename = "wait")]
    #[param(required = false)]
    _wait: bool,
    /// Leave alone what was minted with it.
    #[serde(default)]
    #[param(required = false)]
    keep_minted: bool,
    /// Why, for whoever looks at the record.
    #[param(value_type = Option<Label>)]
    reason: Option<String>,
}

/// Revoke a token
///
/// For good, with what was minted with it. The record stays for a while, so it is the answer.
#[utoipa::path(delete, path = "/v1/tokens/{id}", params(("id" = TokenId, Path), Seen, RevokeQuery),
    responses((status = 200, body = TokenView), (status = 409)))]
async fn revoke(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    Query(query): Query<RevokeQuery>,
) -> Result<HttpResponse, Problem> {
    let why = query.reason.as_deref().map(fields::reason).transpose()?;
    let id = token_id(&path)?;
    Ok(shown(state.directory.revoke_token(&caller.0, &id, query.keep_minted, why.as_ref(), seen.0).await?))
}

/// At least one of `older_than`, `unused` and `name`; all that are given must fit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "nightly *", "dry_run": true }))]
struct RevokeTokens {
    #[schema(value_type = Option<Login>)]
    account: Option<String>,
    #[schema(value_type = Option<DurationText>)]
    older_than: Option<String>,
    #[schema(value_type = Option<DurationText>)]
    unused: Option<String>,
    /// `*` stands for any characters.
    #[schema(max_length = 128)]
    name: Option<String>,
    /// Why, for whoever looks at the records.
    #[schema(value_type = Option<Label>)]
    reason: Option<String>,
    /// Only say which.
    #[serde(default)]
    dry_run: bool,
    /// `next` of the part before.
    cursor: Option<Cursor>,
}

#[derive(Serialize, ToSchema)]
struct RevokedTokens {
    revoked: Vec<TokenView>,
    /// Give it as `cursor` to go on.
    #[schema(required)]
    next: Option<String>,
}

/// Revoke many tokens
///
/// In parts, so that each request is short however many tokens there are: ask again until there is no `next`.
#[utoipa::path(post, path = "/v1/tokens/revoke", params(Once, WaitQuery), request_body = RevokeTokens,
    responses((status = 200, body = RevokedTokens), (status = 404), (status = 409)))]
async fn revoke_many(
    state: web::Data<ApiState>,
    _: Query<WaitQuery>,
    Posted { actor, body }: Posted<RevokeTokens>,
) -> Result<HttpResponse, Problem> {
    let filter = TokenFilter {
        login: body.account.as_deref().map(login).transpose()?,
        older_than: body.older_than.as_deref().map(|text| duration(text, "older_than")).transpose()?,
        unused: body.unused.as_deref().map(|text| duration(text, "unused")).transpose()?,
        name: wanted(body.name, "name")?,
        ..TokenFilter::default()
    };
    if filter.older_than.is_none() && filter.unused.is_none() && filter.name.is_none() {
        let detail = "say which tokens: older_than, unused or name; `/accounts/{login}/revoke-all` ends all of an account";
        return Err(Invalid::new("filter_missing", "older_than", detail).into());
    }
    let window = window(None, body.cursor.as_ref())?;
    let why = body.reason.as_deref().map(fields::reason).transpose()?;
    let found = if body.dry_run { Found::OnlyTell } else { Found::Revoke(why) };
    // Done again it finds nothing more to do, so it needs no note of having been done.
    let revoked = state.directory.revoke_tokens(&actor.anew(), &filter, &found, &window).await?;
    let tokens = revoked.tokens.into_iter().map(TokenView::from).collect();
    Ok(HttpResponse::Ok().json(RevokedTokens { revoked: tokens, next: encoded(revoked.next) }))
}

#[derive(Serialize, ToSchema)]
struct MadeToken<'a> {
    /// Its text, this once. `null` when the request was carried out before: it is not kept.
    #[schema(required)]
    token: Option<&'a str>,
    record: TokenView,
}

/// Replace a token
///
/// By a successor with the same rights and the same end.
#[utoipa::path(post, path = "/v1/tokens/{id}/rotate", params(("id" = TokenId, Path), Once, WaitQuery), request_body = RotateToken,
    responses((status = 201, body = MadeToken), (status = 409)))]
async fn rotate(
    state: web::Data<ApiState>,
    path: web::Path<String>,
    _: Query<WaitQuery>,
    Posted { actor, body }: Posted<RotateToken>,
) -> Result<HttpResponse, Problem> {
    let grace = body.grace.as_deref().map(|grace| duration(grace, "grace")).transpose()?.unwrap_or_default();
    let made = state.directory.rotate_token(&actor, &token_id(&path)?, grace).await;
    answer_made(&state, &actor, made).await
}

/// With its text, this once. Asked again under the same idempotency key the answer is the record alone.
async fn answer_made(
    state: &ApiState,
    actor: &Actor,
    made: Result<(PlainToken, TokenInfo), DirectoryError>,
) -> Result<HttpResponse, Problem> {
    let (text, info) = match made {
        Ok((text, info)) => (Some(text), info),
        Err(DirectoryError::Replayed(Made::Token(id))) => (None, state.directory.token(&actor.anew(), &id).await?),
        Err(error) => return Err(error.into()),
    };
    let record = TokenView::from(info);
    let (path, version) = (format!("/tokens/{}", record.id), record.version);
    let token = text.as_ref().map(PlainToken::expose_secret);
    let body = MadeToken { token, record };
    Ok(answer::created(&path, version, text.is_none(), body))
}

fn shown(info: TokenInfo) -> HttpResponse {
    let record = TokenView::from(info);
    answer::shown(record.version, record)
}

fn network(text: &str) -> Result<IpNet, Invalid> {
    within(text, MAX_NETWORK, "network_too_long", "networks")?;
    fields::network(text)
}

/// `null`, `{"*": LEVEL}`, or a level per site.
fn ceiling(levels: Option<BTreeMap<String, String>>) -> Result<CeilingAsk, Invalid> {
    let invalid = |detail: String| Invalid::new("token_level", "levels", detail);
    let level = |text: &str| {
        within(text, MAX_WORD, "level_too_long", "levels")?;
        Level::parse(text).ok_or_else(|| invalid(format!("`{text}` is no level; write view, write, admin or superuser")))
    };
    match levels {
        None => Ok(CeilingAsk::Owner),
        Some(levels) if levels.is_empty() => Err(invalid("levels without any site would give nothing; leave them out".to_owned())),
        Some(levels) => match levels.get("*") {
            Some(every) if levels.len() == 1 => Ok(CeilingAsk::EverySite(level(every)?)),
            Some(_) => Err(invalid("a level for every site, or a level per site, but not both".to_owned())),
            None => {
                let row = |(site, text): (&String, &String)| {
                    let site = SiteName::parse(site).map_err(|error| Invalid { field: "levels", ..error })?;
                    Ok((site, level(text)?))
                };
                Ok(CeilingAsk::PerSite(levels.iter().map(row).collect::<Result<_, _>>()?))
            }
        },
    }
}

fn expiry(at: Option<&str>, within: Option<&str>) -> Result<Option<Expiry>, Invalid> {
    match (at, within) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Invalid::new("expiry_twice", "expires_in", "give expires_at or expires_in, not both")),
        (None, Some("never")) => Ok(Some(Expiry::Never)),
        (None, Some(within)) => Ok(Some(Expiry::After(duration(within, "expires_in")?))),
        (Some(at), None) => Ok(Some(Expiry::At(time(at, "expires_at")?))),
    }
}
