//! `POST /explain`: the decision on a request that nobody has made, rule by rule, and why.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::{
    ApiState, Problem,
    extract::{Body, Caller},
};
use crate::{
    domain::{
        request::{ClientHeaders, Described, split_url},
        trust::parse_address,
    },
    gate::Gate,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default = "get")]
    method: String,
    /// With its scheme; path and query are judged exactly as they are written here.
    url: String,
    /// A token, as a client would send it after `Bearer`.
    token: Option<String>,
    /// The client's address.
    from: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/explain").route(web::post().to(explain)));
}

async fn explain(
    state: web::Data<ApiState>,
    gate: web::Data<Gate>,
    caller: Caller,
    Body(request): Body<Request>,
) -> Result<HttpResponse, Problem> {
    state.directory.require_superuser(&caller.0).await?;
    let Request { method, url, token, from } = request;
    let (host, target) = split_url(&url)
        .ok_or_else(|| Problem::new(422, "url_malformed", "a URL is written http://host/path or https://host/path").on("url"))?;
    let client = match from.as_deref().map(parse_address) {
        Some(None) => {
            return Err(Problem::new(422, "address_malformed", "an address is written 192.0.2.1 or 2001:db8::1").on("from"));
        }
        address => address.flatten(),
    };
    let authorization = token.map(|token| zeroize::Zeroizing::new(format!("Bearer {token}")));
    let mut headers = ClientHeaders::default();
    if let Some(value) = &authorization {
        headers.take("authorization", value.as_bytes());
    }
    let described = Described { method: &method, target: target.as_bytes(), host, client, headers: &headers, body: None };
    Ok(HttpResponse::Ok().json(gate.explain(described, "explain".to_owned()).await))
}
