//! `/sites`: what access is given on.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem, answer,
    decode::given,
    dto::{ListBody, SiteView},
    extract::{Body, Caller, NoQuery, Once, Posted, Query, Seen},
    operations::Operations,
    values::{Cursor, site_name, sort, window},
    wait::WaitQuery,
};
use crate::{
    directory::{Direction, DirectoryError, FieldPatch, Made, NewSite, SitePatch, fields},
    domain::{
        site::{Host, Site, SiteName},
        text::{Invalid, Label},
    },
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_list, list);
    api.add(__path_create, create);
    api.add(__path_show, show);
    api.add(__path_update, update);
    api.add(__path_delete, delete);
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "id": "shop", "hosts": ["shop.example.com"] }))]
struct CreateSite {
    #[schema(value_type = SiteName)]
    id: String,
    #[schema(value_type = Option<Label>)]
    name: Option<String>,
    /// Each belongs to one site only.
    #[serde(default)]
    #[schema(value_type = Vec<Host>, max_items = 100)]
    hosts: Vec<String>,
}

/// What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "hosts": ["shop.example.com"] }))]
struct PatchSite {
    #[serde(default)]
    #[schema(value_type = Option<Label>)]
    name: FieldPatch<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<Host>, max_items = 100)]
    hosts: Option<Vec<String>>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SiteQuery {
    /// The most items in one answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `next` of the part before.
    cursor: Option<Cursor>,
    /// By id; with a `-` before it, descending.
    #[param(pattern = "^-?id$", default = "id")]
    sort: Option<String>,
}

/// List sites
///
/// For who is no superuser, those that he administers.
#[utoipa::path(get, path = "/v1/sites", params(SiteQuery), responses((status = 200, body = ListBody<SiteView>)))]
async fn list(state: web::Data<ApiState>, caller: Caller, Query(query): Query<SiteQuery>) -> Result<HttpResponse, Problem> {
    let direction = |text: &str| match text {
        "id" => Some(Direction::Ascending),
        "-id" => Some(Direction::Descending),
        _ => None,
    };
    let direction = sort(query.sort.as_deref(), direction, "id")?.unwrap_or_default();
    let listing = state.directory.sites(&caller.0, direction, &window(query.limit, query.cursor.as_ref())?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, SiteView::from)))
}

/// Make a site
#[utoipa::path(post, path = "/v1/sites", params(Once), request_body = CreateSite,
    responses((status = 201, body = SiteView), (status = 404), (status = 409)))]
async fn create(
    state: web::Data<ApiState>,
    _: Query<NoQuery>,
    Posted { actor, body }: Posted<CreateSite>,
) -> Result<HttpResponse, Problem> {
    let new = NewSite {
        site: SiteName::parse(&body.id)?,
        name: body.name.as_deref().map(fields::site_name).transpose()?,
        hosts: hosts(&body.hosts)?,
    };
    let (site, replayed) = match state.directory.create_site(&actor, new).await {
        Err(DirectoryError::Replayed(Made::Site(name))) => (state.directory.site(&actor.anew(), &name).await?, true),
        made => (made?, false),
    };
    Ok(answer::created(&format!("/sites/{}", site.site), site.version, replayed, SiteView::from(site)))
}

/// Show a site
#[utoipa::path(get, path = "/v1/sites/{id}", params(("id" = SiteName, Path)), responses((status = 200, body = SiteView)))]
async fn show(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    Ok(shown(state.directory.site(&caller.0, &site_name(&path)?).await?))
}

/// Change a site
///
/// All of it at once, or nothing.
#[utoipa::path(patch, path = "/v1/sites/{id}", params(("id" = SiteName, Path), Seen, WaitQuery), request_body = PatchSite,
    responses((status = 200, body = SiteView), (status = 409)))]
async fn update(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: Query<WaitQuery>,
    Body(body): Body<PatchSite>,
) -> Result<HttpResponse, Problem> {
    let changes = SitePatch {
        name: body.name.try_map(|name| fields::site_name(&name))?,
        hosts: body.hosts.as_deref().map(hosts).transpose()?,
    };
    Ok(shown(state.directory.update_site(&caller.0, &site_name(&path)?, changes, seen.0).await?))
}

/// Delete a site
///
/// The access to it goes too. A site made under its id again inherits nothing.
#[utoipa::path(delete, path = "/v1/sites/{id}", params(("id" = SiteName, Path), Seen, WaitQuery),
    responses((status = 204), (status = 409)))]
async fn delete(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    seen: Seen,
    _: Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.delete_site(&caller.0, &site_name(&path)?, seen.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn shown(site: Site) -> HttpResponse {
    answer::shown(site.version, SiteView::from(site))
}

fn hosts(texts: &[String]) -> Result<Vec<Host>, Invalid> {
    texts.iter().map(|text| Host::parse(text).map_err(|error| Invalid { field: "hosts", ..error })).collect()
}
