//! `/me`: who is asking.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    dto::{AccessView, TokenView},
    extract::{Caller, NoQuery, Query},
    operations::Operations,
};
use crate::domain::{
    account::AccountKind,
    id::AccountId,
    text::{Email, Label},
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_show, show);
}

/// The account, with its access and the token that came with the request. Whoever may open the control socket stands above
/// all accounts, and has only a login, `control:UID`.
#[derive(Serialize, ToSchema)]
struct Me {
    #[schema(required)]
    id: Option<AccountId>,
    login: String,
    #[schema(required)]
    kind: Option<AccountKind>,
    #[schema(required)]
    name: Option<Label>,
    #[schema(required)]
    email: Option<Email>,
    superuser: bool,
    may_mint_tokens: bool,
    access: Vec<AccessView>,
    #[schema(required)]
    token: Option<TokenView>,
}

/// Who is asking
#[utoipa::path(get, path = "/v1/me", responses((status = 200, body = Me)))]
async fn show(state: web::Data<ApiState>, caller: Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let found = state.directory.me(&caller.0).await?;
    let nobody = Me {
        id: None,
        login: caller.0.to_string(),
        kind: None,
        name: None,
        email: None,
        superuser: true,
        may_mint_tokens: true,
        access: Vec::new(),
        token: None,
    };
    let me = found.map_or(nobody, |(account, token, access)| Me {
        id: Some(account.id),
        login: account.login.to_string(),
        kind: Some(account.kind),
        name: account.name,
        email: account.email,
        superuser: account.superuser,
        may_mint_tokens: account.may_mint_tokens,
        access: access.into_iter().map(AccessView::from).collect(),
        token: Some(token.into()),
    });
    Ok(HttpResponse::Ok().json(me))
}
