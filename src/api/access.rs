//! `/access`: who may do how much on which site.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::{
    ApiState, Problem,
    dto::{AccessView, ListBody},
    extract::{Body, Caller, WaitQuery, login, site_name, window},
};
use crate::{
    directory::AccessFilter,
    domain::{access::Level, text::Invalid},
};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/access").route(web::get().to(list)))
        .service(web::resource("/access/{login}/{site}").route(web::put().to(set)).route(web::delete().to(remove)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetAccess {
    level: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessQuery {
    limit: Option<u64>,
    cursor: Option<String>,
    login: Option<String>,
    site: Option<String>,
}

async fn list(state: web::Data<ApiState>, caller: Caller, query: web::Query<AccessQuery>) -> Result<HttpResponse, Problem> {
    let filter = AccessFilter {
        login: query.login.as_deref().map(login).transpose()?,
        site: query.site.as_deref().map(site_name).transpose()?,
    };
    let listing = state.directory.access(&caller.0, &filter, &window(query.limit, query.cursor.as_deref())?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, AccessView::from)))
}

async fn set(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<(String, String)>,
    _: web::Query<WaitQuery>,
    Body(body): Body<SetAccess>,
) -> Result<HttpResponse, Problem> {
    let level = Level::parse(&body.level).ok_or_else(|| {
        Invalid::new("access_level", "level", format!("`{}` is no level; write none, view, write or admin", body.level))
    })?;
    let entry = state.directory.set_access(&caller.0, &login(&path.0)?, &site_name(&path.1)?, level).await?;
    Ok(HttpResponse::Ok().json(AccessView::from(entry)))
}

async fn remove(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<(String, String)>,
    _: web::Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.set_access(&caller.0, &login(&path.0)?, &site_name(&path.1)?, Level::None).await?;
    Ok(HttpResponse::NoContent().finish())
}
