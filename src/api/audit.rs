//! `/audit`: who did what to which record, or tried to.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::{
    ApiState, Problem,
    dto::{EventView, ListBody},
    extract::{Caller, window},
};
use crate::{
    directory::{Order, TrailFilter},
    domain::{event::Outcome, time::Timestamp},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    limit: Option<u64>,
    cursor: Option<String>,
    /// By this account, or about it.
    account: Option<String>,
    /// An RFC 3339 time.
    since: Option<String>,
    action: Option<String>,
    outcome: Option<Outcome>,
    #[serde(default)]
    order: OrderAsk,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OrderAsk {
    #[default]
    Newest,
    Oldest,
}

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/audit").route(web::get().to(list)));
}

async fn list(state: web::Data<ApiState>, caller: Caller, query: web::Query<AuditQuery>) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    let since = query.since.as_deref().map(|text| {
        let detail = format!("`{text}` is no RFC 3339 time such as 2030-01-31T12:00:00Z");
        Timestamp::parse(text).ok_or_else(|| Problem::bad_query(detail).on("since"))
    });
    let filter = TrailFilter {
        login: query.account,
        since: since.transpose()?,
        action: query.action,
        outcome: query.outcome,
        order: match query.order {
            OrderAsk::Newest => Order::NewestFirst,
            OrderAsk::Oldest => Order::OldestFirst,
        },
    };
    let listing = state.directory.trail(&caller.0, &filter, &window(query.limit, query.cursor.as_deref())?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, EventView::from)))
}
