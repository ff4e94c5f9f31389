//! `/api/openapi.json`, and `/api/docs` to read it at: what the API takes and answers, for whoever asks.

use actix_web::{HttpResponse, web};
use utoipa::openapi::OpenApi;

use super::{
    Problem,
    extract::{NoQuery, Query},
    operations::Operations,
};

/// Both documents, as they are sent.
pub(super) struct Published {
    json: web::Bytes,
}

impl Published {
    pub fn of(document: &OpenApi) -> Self {
        Self { json: serde_json::to_vec(document).unwrap_or_default().into() }
    }
}

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_openapi, openapi);
}

/// Get this document
#[utoipa::path(get, path = "/openapi.json", security(()), responses((status = 200, content_type = "application/json", body = Object)))]
async fn openapi(published: web::Data<Published>, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().content_type("application/json").body(published.json.clone()))
}
