//! `/api/openapi.json`, and `/api/docs` to read it at: what the API takes and answers, for whoever asks.

mod page;

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    web,
};
use utoipa::openapi::OpenApi;

use super::{
    Problem,
    extract::{NoQuery, Query},
    operations::Operations,
};

/// Both documents, as they are sent.
pub(super) struct Published {
    json: web::Bytes,
    page: web::Bytes,
    policy: String,
}

impl Published {
    pub fn of(document: &OpenApi) -> Self {
        // It holds nothing that has no JSON.
        let document = serde_json::to_value(document).unwrap_or_default();
        let page = page::render(&document).into();
        Self { json: document.to_string().into(), page, policy: page::content_security_policy() }
    }
}

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_openapi, openapi);
    api.add(__path_docs, docs);
}

/// Get this document
#[utoipa::path(get, path = "/openapi.json", security(()), responses((status = 200, content_type = "application/json", body = Object)))]
async fn openapi(published: web::Data<Published>, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().content_type("application/json").body(published.json.clone()))
}

/// Read this document as a page
#[utoipa::path(get, path = "/docs", security(()), responses((status = 200, content_type = "text/html", body = String)))]
async fn docs(published: web::Data<Published>, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, published.policy.clone()))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(published.page.clone()))
}
