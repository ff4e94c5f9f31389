//! `/sites`: what access is given on.

use actix_web::{HttpResponse, http::header, web};
use serde::Deserialize;

use super::{
    ApiState, Problem,
    accounts::etag,
    dto::{ListBody, SiteView},
    extract::{Body, Caller, ListQuery, NoQuery, Posted, Seen, WaitQuery, site_name},
};
use crate::{
    directory::{DirectoryError, FieldPatch, Made, NewSite, SitePatch, fields},
    domain::{
        site::{Host, Site, SiteName},
        text::Invalid,
    },
};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/sites").route(web::get().to(list)).route(web::post().to(create))).service(
        web::resource("/sites/{id}").route(web::get().to(show)).route(web::patch().to(update)).route(web::delete().to(delete)),
    );
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateSite {
    id: String,
    name: Option<String>,
    #[serde(default)]
    hosts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchSite {
    #[serde(default)]
    name: FieldPatch<String>,
    hosts: Option<Vec<String>>,
}

async fn list(state: web::Data<ApiState>, caller: Caller, query: web::Query<ListQuery>) -> Result<HttpResponse, Problem> {
    let listing = state.directory.sites(&caller.0, &query.window()?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, SiteView::from)))
}

async fn create(
    state: web::Data<ApiState>,
    _: web::Query<NoQuery>,
    Posted { actor, body }: Posted<CreateSite>,
) -> Result<HttpResponse, Problem> {
    let new = NewSite {
        site: SiteName::parse(&body.id)?,
        name: body.name.as_deref().map(fields::site_name).transpose()?,
        hosts: hosts(&body.hosts)?,
    };
    let site = match state.directory.create_site(&actor, new).await {
        Err(DirectoryError::Replayed(Made::Site(name))) => state.directory.site(&actor.anew(), &name).await?,
        made => made?,
    };
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/sites/{}", site.site)))
        .insert_header(etag(site.version))
        .json(SiteView::from(site)))
}

async fn show(state: web::Data<ApiState>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    Ok(shown(state.directory.site(&caller.0, &site_name(&path)?).await?))
}

async fn update(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: web::Query<WaitQuery>,
    Body(body): Body<PatchSite>,
) -> Result<HttpResponse, Problem> {
    let changes = SitePatch {
        name: body.name.try_map(|name| fields::site_name(&name))?,
        hosts: body.hosts.as_deref().map(hosts).transpose()?,
    };
    Ok(shown(state.directory.update_site(&caller.0, &site_name(&path)?, changes, seen.0).await?))
}

async fn delete(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: web::Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.delete_site(&caller.0, &site_name(&path)?, seen.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn shown(site: Site) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(site.version)).json(SiteView::from(site))
}

fn hosts(texts: &[String]) -> Result<Vec<Host>, Invalid> {
    texts.iter().map(|text| Host::parse(text).map_err(|error| Invalid { field: "hosts", ..error })).collect()
}
