//! `/sessions`: where people are signed in.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    ApiState, Problem,
    dto::{ListBody, SessionView},
    extract::{Caller, Query},
    operations::Operations,
    values::{Cursor, login, session_id, window},
    wait::WaitQuery,
};
use crate::domain::{session::SessionId, text::Login};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_list, list);
    api.add(__path_end, end);
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SessionQuery {
    /// The most items in one answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `next` of the part before.
    cursor: Option<Cursor>,
    /// Only of this account.
    #[param(value_type = Option<Login>)]
    account: Option<String>,
}

/// List sessions
///
/// Those that are alive; for who is no superuser, his own.
#[utoipa::path(get, path = "/v1/sessions", params(SessionQuery),
    responses((status = 200, body = ListBody<SessionView>), (status = 404)))]
async fn list(state: web::Data<ApiState>, caller: Caller, Query(query): Query<SessionQuery>) -> Result<HttpResponse, Problem> {
    let of = query.account.as_deref().map(login).transpose()?;
    let window = window(query.limit, query.cursor.as_ref())?;
    let listing = state.directory.sessions(&caller.0, of.as_ref(), &window).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, SessionView::from)))
}

/// End a session
///
/// Everywhere: whoever has its cookies is signed out.
#[utoipa::path(delete, path = "/v1/sessions/{id}", params(("id" = SessionId, Path), WaitQuery), responses((status = 204)))]
async fn end(
    state: web::Data<ApiState>,
    caller: Caller,
    path: web::Path<String>,
    _: Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    state.directory.end_session(&caller.0, &session_id(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
