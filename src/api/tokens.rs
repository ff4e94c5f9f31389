//! `/tokens`: what clients hold. The text of a token is in the answer to its creation or rotation only.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpResponse, http::header, web};
use serde::Deserialize;
use serde_json::json;

use super::{
    ApiState, Problem,
    accounts::etag,
    dto::{ListBody, TokenView},
    extract::{Body, Caller, ListQuery, NoQuery, Seen, WaitQuery, login, token_id},
};
use crate::{
    directory::{CeilingAsk, Expiry, FieldPatch, NewToken, TokenInfo, TokenPatch, fields},
    domain::{
        access::Level,
        site::SiteName,
        text::{Invalid, Login},
        time::{Timestamp, parse_duration},
        token::{PlainToken, Scope},
    },
};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/tokens").route(web::get().to(list)).route(web::post().to(create)))
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

async fn list(state: web::Data<ApiState>, caller: Caller, query: web::Query<ListQuery>) -> Result<HttpResponse, Problem> {
    let query = query.into_inner().only(&["account"])?;
    let of = query.account.as_deref().map(login).transpose()?;
    let listing = state.directory.tokens(&caller.0, of.as_ref(), &query.window()?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, TokenView::from)))
}

async fn create(
    state: web::Data<ApiState>,
    caller: Caller,
    _: web::Query<NoQuery>,
    Body(body): Body<CreateToken>,
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
    };
    let (text, info) = state.directory.create_token(&caller.0, new).await?;
    Ok(made(&text, info))
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

/// The record stays, so it is the answer.
async fn revoke(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: web::Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    Ok(shown(state.directory.revoke_token(&caller.0, &token_id(&path)?, seen.0).await?))
}

async fn rotate(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    _: web::Query<WaitQuery>,
    Body(body): Body<RotateToken>,
) -> Result<HttpResponse, Problem> {
    let grace = body.grace.as_deref().map(|grace| duration(grace, "grace")).transpose()?.unwrap_or_default();
    let (text, info) = state.directory.rotate_token(&caller.0, &token_id(&path)?, grace).await?;
    Ok(made(&text, info))
}

fn made(text: &PlainToken, info: TokenInfo) -> HttpResponse {
    let record = TokenView::from(info);
    HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/tokens/{}", record.id)))
        .insert_header(etag(record.version))
        .json(json!({ "token": text.expose_secret(), "record": record }))
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
        (None, Some(within)) => Ok(Some(Expiry::After(duration(within, "expires_in")?))),
        (Some(at), None) => {
            let detail = format!("`{at}` is no RFC 3339 time such as 2030-01-31T12:00:00Z");
            let at = Timestamp::parse(at).ok_or_else(|| Invalid::new("time_malformed", "expires_at", detail))?;
            Ok(Some(Expiry::At(at)))
        }
    }
}

fn duration(text: &str, field: &'static str) -> Result<Duration, Invalid> {
    let detail = format!("`{text}` is no duration such as 30s, 15m, 12h or 90d");
    parse_duration(text).ok_or_else(|| Invalid::new("duration_malformed", field, detail))
}
