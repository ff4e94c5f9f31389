//! `/store`: what the records are kept in, and how stale a server's memory of them may be.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    dto::StoreView,
    extract::{Body, Caller, NoQuery, Query},
    operations::Operations,
    schema::DurationText,
    values::duration,
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_show, show);
    api.add(__path_update, update);
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "max_staleness": "2s" }))]
struct PatchStore {
    /// The largest `hot_path.max_staleness` that a server may have: `50ms` to `1m`.
    #[schema(value_type = DurationText)]
    max_staleness: String,
}

/// Show the store
///
/// What it is at the moment. For superusers.
#[utoipa::path(get, path = "/v1/store", responses((status = 200, body = StoreView)))]
async fn show(state: web::Data<ApiState>, caller: Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(StoreView::from(state.directory.store_state(&caller.0).await?)))
}

/// Set the bound
///
/// A server that has more stops serving. Lowering it answers when nobody waits for longer any more, which takes as long as
/// the bound was before. For superusers.
#[utoipa::path(patch, path = "/v1/store", request_body = PatchStore, responses((status = 200, body = StoreView), (status = 409)))]
async fn update(
    state: web::Data<ApiState>,
    caller: Caller,
    _: Query<NoQuery>,
    Body(body): Body<PatchStore>,
) -> Result<HttpResponse, Problem> {
    let bound = duration(&body.max_staleness, "max_staleness")?;
    state.directory.allow_staleness(&caller.0, bound).await?;
    Ok(HttpResponse::Ok().json(StoreView::from(state.directory.store_state(&caller.0).await?)))
}
