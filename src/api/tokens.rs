//! `/tokens`: what clients hold. The text of a token is in the answer to its creation or rotation only.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::header, web};
use serde::Deserialize;
use serde_json::json;

use super::{
    ApiState, Problem,
    accounts::etag,
    dto::{ListBody, TokenView},
    extract::{Body, Caller, NoQuery, Posted, Seen, WaitQuery, duration, encoded, login, token_id, window},
};
use crate::{
    directory::{
        Actor, CeilingAsk, DirectoryError, Expiry, FieldPatch, Made, NewToken, TokenFilter, TokenInfo, TokenPatch, fields,
    },
    domain::{
        access::Level,
        site::SiteName,
        text::{Invalid, Login},
        time::Timestamp,
        token::{PlainToken, Scope},
    },
};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/tokens").route(web::get().to(list)).route(web::post().to(create)))
        // Before the ids, none of which is this short.
        .service(web::resource("/tokens/revoke").route(web::post().to(revoke_many)))
        .service(
            web::resource("/tokens/{id}").route(web::get().to(show)).route(web::patch().to(update)).route(web::delete().to(revoke)),
        )
        .service(web::resource("/tokens/{id}/rotate").route(web::post().to(rotate)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateToken {
    account: String,
    name: String,
    device: Option<String>,
    levels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    secure_only: bool,
    #[serde(default)]
    system: bool,
    /// RFC 3339.
    expires_at: Option<String>,
    /// A duration such as `90d`, instead.
    expires_in: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchToken {
    name: Option<String>,
    #[serde(default)]
    device: FieldPatch<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateToken {
    /// A duration such as `1h`; none at all unless given.
    grace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenQuery {
    limit: Option<u64>,
    cursor: Option<String>,
    account: Option<String>,
    expiring: Option<String>,
    unused: Option<String>,
}

async fn list(state: web::Data<ApiState>, caller: Caller, query: web::Query<TokenQuery>) -> Result<HttpResponse, Problem> {
    let filter = TokenFilter {
        login: query.account.as_deref().map(login).transpose()?,
        expiring: query.expiring.as_deref().map(|text| duration(text, "expiring")).transpose()?,
        unused: query.unused.as_deref().map(|text| duration(text, "unused")).transpose()?,
        ..TokenFilter::default()
    };
    let window = window(query.limit, query.cursor.as_deref())?;
    let listing = state.directory.tokens(&caller.0, &filter, &window).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, TokenView::from)))
}

async fn create(
    state: web::Data<ApiState>,
    _: web::Query<NoQuery>,
    Posted { actor, body }: Posted<CreateToken>,
) -> Result<HttpResponse, Problem> {
    let new = NewToken {
        account: Login::parse(&body.account).map_err(|error| Invalid { field: "account", ..error })?,
        name: fields::token_name(&body.name)?,
        device: body.device.as_deref().map(fields::device).transpose()?,
        ceiling: ceiling(body.levels)?,
        scopes: body.scopes.iter().map(|scope| Scope::parse(scope)).collect::<Result<_, _>>()?,
        networks: body.networks.iter().map(|network| fields::network(network)).collect::<Result<_, _>>()?,
        secure_only: body.secure_only,
        expires: expiry(body.expires_at.as_deref(), body.expires_in.as_deref())?,
        system: body.system,
    };
    let made = state.directory.create_token(&actor, new).await;
    answer_made(&state, &actor, made).await
}

async fn show(state: web::Data<ApiState>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    Ok(shown(state.directory.token(&caller.0, &token_id(&path)?).await?))
}

async fn update(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: web::Query<WaitQuery>,
    Body(body): Body<PatchToken>,
) -> Result<HttpResponse, Problem> {
    let changes = TokenPatch {
        name: body.name.as_deref().map(fields::token_name).transpose()?,
        device: body.device.try_map(|device| fields::device(&device))?,
    };
    Ok(shown(state.directory.update_token(&caller.0, &token_id(&path)?, changes, seen.0).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeQuery {
    #[serde(default, rename = "wait")]
    _wait: bool,
    /// Leave alone what was minted with it.
    #[serde(default)]
    keep_minted: bool,
}

/// The record stays, so it is the answer.
async fn revoke(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    query: web::Query<RevokeQuery>,
) -> Result<HttpResponse, Problem> {
    Ok(shown(state.directory.revoke_token(&caller.0, &token_id(&path)?, query.keep_minted, seen.0).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeTokens {
    account: Option<String>,
    older_than: Option<String>,
    unused: Option<String>,
    name: Option<String>,
    /// Only say which.
    #[serde(default)]
    dry_run: bool,
    /// `next` of the part before.
    cursor: Option<String>,
}

/// In parts, so that each request is short however many tokens there are.
async fn revoke_many(
    state: web::Data<ApiState>,
    _: web::Query<WaitQuery>,
    Posted { actor, body }: Posted<RevokeTokens>,
) -> Result<HttpResponse, Problem> {
    let filter = TokenFilter {
        login: body.account.as_deref().map(login).transpose()?,
        older_than: body.older_than.as_deref().map(|text| duration(text, "older_than")).transpose()?,
        unused: body.unused.as_deref().map(|text| duration(text, "unused")).transpose()?,
        name: body.name,
        ..TokenFilter::default()
    };
    if filter.older_than.is_none() && filter.unused.is_none() && filter.name.is_none() {
        let detail = "say which tokens: older_than, unused or name; `/accounts/{login}/revoke-all` ends all of an account";
        return Err(Invalid::new("filter_missing", "older_than", detail).into());
    }
    let window = window(None, body.cursor.as_deref())?;
    // Done again it finds nothing more to do, so it needs no note of having been done.
    let revoked = state.directory.revoke_tokens(&actor.anew(), &filter, body.dry_run, &window).await?;
    let tokens: Vec<_> = revoked.tokens.into_iter().map(TokenView::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "revoked": tokens, "next": encoded(revoked.next) })))
}

async fn rotate(
    state: web::Data<ApiState>,
    path: web::Path<String>,
    _: web::Query<WaitQuery>,
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
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/tokens/{}", record.id)))
        .insert_header(etag(record.version))
        .json(json!({ "token": text.as_ref().map(PlainToken::expose_secret), "record": record })))
}

fn shown(info: TokenInfo) -> HttpResponse {
    let record = TokenView::from(info);
    HttpResponse::Ok().insert_header(etag(record.version)).json(record)
}

/// `null`, `{"*": LEVEL}`, or a level per site.
fn ceiling(levels: Option<BTreeMap<String, String>>) -> Result<CeilingAsk, Invalid> {
    let invalid = |detail: String| Invalid::new("token_level", "levels", detail);
    let level = |text: &str| {
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
        (Some(at), None) => {
            let detail = format!("`{at}` is no RFC 3339 time such as 2030-01-31T12:00:00Z");
            let at = Timestamp::parse(at).ok_or_else(|| Invalid::new("time_malformed", "expires_at", detail))?;
            Ok(Some(Expiry::At(at)))
        }
    }
}
