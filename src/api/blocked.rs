//! `/blocked`: who may not try a password, or hears no more of failing tokens, because too many have failed.

use actix_web::{HttpResponse, web};

use super::{
    ApiState, Problem,
    dto::{BlockedView, ListBody},
    extract::{Caller, ListQuery, NoQuery, Query},
    operations::Operations,
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_list, list);
    api.add(__path_lift, lift);
}

/// List who is blocked
///
/// By address first. For superusers.
#[utoipa::path(get, path = "/v1/blocked", params(ListQuery), responses((status = 200, body = ListBody<BlockedView>)))]
async fn list(state: web::Data<ApiState>, caller: Caller, Query(query): Query<ListQuery>) -> Result<HttpResponse, Problem> {
    let listing = state.directory.blocked(&caller.0, &query.window()?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, BlockedView::from)))
}

/// Lift a block
///
/// All blocks of an address, of the /64 that it lies in, or of a login; its failures are forgotten. For superusers.
#[utoipa::path(delete, path = "/v1/blocked/{value}", params(("value" = String, Path)), responses((status = 204), (status = 409)))]
async fn lift(
    state: web::Data<ApiState>,
    caller: Caller,
    value: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.lift_blocks(&caller.0, &value).await?;
    Ok(HttpResponse::NoContent().finish())
}
