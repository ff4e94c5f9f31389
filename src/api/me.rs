//! `/me`: who is asking, as far as he is somebody.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    dto::{AccessView, AccountView, TokenView},
    extract::{Caller, NoQuery, Query},
    operations::Operations,
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_show, show);
}

#[derive(Serialize, ToSchema)]
struct Me {
    #[schema(required)]
    account: Option<AccountView>,
    /// The one that came with the request.
    #[schema(required)]
    token: Option<TokenView>,
    access: Vec<AccessView>,
    superuser: bool,
}

/// Who is asking
///
/// The account with its access, and the token; nothing of these at the control socket.
#[utoipa::path(get, path = "/v1/me", responses((status = 200, body = Me)))]
async fn show(state: web::Data<ApiState>, caller: Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let Some((account, token, access)) = state.directory.me(&caller.0).await? else {
        return Ok(HttpResponse::Ok().json(Me { account: None, token: None, access: Vec::new(), superuser: true }));
    };
    Ok(HttpResponse::Ok().json(Me {
        superuser: account.superuser,
        account: Some(AccountView::from(account)),
        token: Some(TokenView::from(token)),
        access: access.into_iter().map(AccessView::from).collect(),
    }))
}
