//! `/access`: who may do how much on which site.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem,
    dto::{AccessView, ListBody},
    extract::{Body, Caller, Query},
    operations::Operations,
    schema,
    values::{Cursor, MAX_WORD, login, site_name, window, within},
    wait::WaitQuery,
};
use crate::{
    directory::AccessFilter,
    domain::{
        access::Level,
        site::SiteName,
        text::{Invalid, Login},
    },
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_list, list);
    api.add(__path_set, set);
    api.add(__path_remove, remove);
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "level": "view" }))]
struct SetAccess {
    #[schema(schema_with = schema::level_to_give)]
    level: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AccessQuery {
    /// The most items in one answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `next` of the part before.
    cursor: Option<Cursor>,
    /// Only of this account.
    #[param(value_type = Option<Login>)]
    login: Option<String>,
    /// Only on this site.
    #[param(value_type = Option<SiteName>)]
    site: Option<String>,
}

/// List access
///
/// For who is no superuser, on the sites that he administers.
#[utoipa::path(get, path = "/v1/access", params(AccessQuery),
    responses((status = 200, body = ListBody<AccessView>), (status = 404)))]
async fn list(state: web::Data<ApiState>, caller: Caller, Query(query): Query<AccessQuery>) -> Result<HttpResponse, Problem> {
    let filter = AccessFilter {
        login: query.login.as_deref().map(login).transpose()?,
        site: query.site.as_deref().map(site_name).transpose()?,
    };
    let listing = state.directory.access(&caller.0, &filter, &window(query.limit, query.cursor.as_ref())?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, AccessView::from)))
}

/// Give access
///
/// `none` takes it away.
#[utoipa::path(put, path = "/v1/access/{login}/{site}",
    params(("login" = Login, Path), ("site" = SiteName, Path), WaitQuery), request_body = SetAccess,
    responses((status = 200, body = AccessView), (status = 409)))]
async fn set(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<(String, String)>,
    _: Query<WaitQuery>,
    Body(body): Body<SetAccess>,
) -> Result<HttpResponse, Problem> {
    within(&body.level, MAX_WORD, "level_too_long", "level")?;
    let level = Level::parse(&body.level).ok_or_else(|| {
        Invalid::new("access_level", "level", format!("`{}` is no level; write none, view, write or admin", body.level))
    })?;
    let entry = state.directory.set_access(&caller.0, &login(&path.0)?, &site_name(&path.1)?, level).await?;
    Ok(HttpResponse::Ok().json(AccessView::from(entry)))
}

/// Take access away
#[utoipa::path(delete, path = "/v1/access/{login}/{site}",
    params(("login" = Login, Path), ("site" = SiteName, Path), WaitQuery),
    responses((status = 204), (status = 409)))]
async fn remove(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<(String, String)>,
    _: Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.set_access(&caller.0, &login(&path.0)?, &site_name(&path.1)?, Level::None).await?;
    Ok(HttpResponse::NoContent().finish())
}
