//! `/audit`: who did what to which record, or tried to.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem,
    dto::{EventView, ListBody},
    extract::{Caller, Query},
    operations::Operations,
    values::{Cursor, time, wanted, window},
};
use crate::{
    directory::{Order, TrailFilter},
    domain::{event::Outcome, time::Timestamp},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// The most items in one answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `next` of the part before.
    cursor: Option<Cursor>,
    /// By this account, or about it.
    #[param(max_length = 128)]
    account: Option<String>,
    /// Not before this time.
    #[param(value_type = Option<Timestamp>)]
    since: Option<String>,
    /// Such as `token.revoke`.
    #[param(max_length = 128)]
    action: Option<String>,
    outcome: Option<Outcome>,
    /// Which events come first. With the oldest first there is always a next part: ask again later.
    #[serde(default)]
    #[param(required = false, inline)]
    order: OrderAsk,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OrderAsk {
    #[default]
    Newest,
    Oldest,
}

/// What a line of the trail looks like; an event is written flat beside its id.
#[derive(ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "the description of `EventView`")]
struct EventSchema {
    id: String,
    at: Timestamp,
    actor: ActorSchema,
    /// `record.verb`, such as `token.revoke`.
    action: String,
    target: TargetSchema,
    outcome: Outcome,
    /// What changed, as it was.
    #[schema(required)]
    before: Option<Map<String, Value>>,
    /// What changed, as it is now.
    #[schema(required)]
    after: Option<Map<String, Value>>,
    /// Why it was refused.
    #[schema(nullable = false)]
    reason: Option<String>,
    #[schema(required)]
    request_id: Option<String>,
}

/// Who did it: a login, `control:UID` or `system:NAME`, and what he came with.
#[derive(ToSchema)]
#[schema(as = Actor)]
#[expect(dead_code, reason = "a part of the description of `EventView`")]
struct ActorSchema {
    #[schema(required)]
    account: Option<String>,
    #[schema(required)]
    credential: Option<String>,
    #[schema(required)]
    address: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = Target)]
#[expect(dead_code, reason = "a part of the description of `EventView`")]
struct TargetSchema {
    r#type: String,
    id: String,
}

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_list, list);
}

/// Read the audit trail
///
/// Every change, and every refused attempt at one. For superusers.
#[utoipa::path(get, path = "/v1/audit", params(AuditQuery), responses((status = 200, body = ListBody<EventSchema>)))]
async fn list(state: web::Data<ApiState>, caller: Caller, Query(query): Query<AuditQuery>) -> Result<HttpResponse, Problem> {
    let filter = TrailFilter {
        login: wanted(query.account, "account")?,
        since: query.since.as_deref().map(|since| time(since, "since")).transpose()?,
        action: wanted(query.action, "action")?,
        outcome: query.outcome,
        order: match query.order {
            OrderAsk::Newest => Order::NewestFirst,
            OrderAsk::Oldest => Order::OldestFirst,
        },
    };
    let listing = state.directory.trail(&caller.0, &filter, &window(query.limit, query.cursor.as_ref())?).await?;
    Ok(HttpResponse::Ok().json(ListBody::of(listing, EventView::from)))
}
