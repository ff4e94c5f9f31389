//! `/me`: who is asking, as far as he is somebody.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::{
    ApiState, Problem,
    dto::{AccessView, AccountView, TokenView},
    extract::{Caller, NoQuery},
};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/me").route(web::get().to(show)));
}

/// The account with its access and the token that it came with; nothing of these at the control socket.
async fn show(state: web::Data<ApiState>, caller: Caller, _: web::Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let Some((account, token, access)) = state.directory.me(&caller.0).await? else {
        return Ok(HttpResponse::Ok().json(json!({ "account": null, "token": null, "access": [], "superuser": true })));
    };
    let access: Vec<_> = access.into_iter().map(AccessView::from).collect();
    let superuser = account.superuser;
    Ok(HttpResponse::Ok().json(json!({
        "account": AccountView::from(account),
        "token": TokenView::from(token),
        "access": access,
        "superuser": superuser,
    })))
}
