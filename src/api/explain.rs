//! `POST /explain`: the decision on a request that nobody has made, rule by rule, and why.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    extract::{Body, Caller, NoQuery, Query},
    operations::Operations,
    values::within,
};
use crate::{
    domain::{
        access::Level,
        account::AccountKind,
        request::{ClientHeaders, Described, split_url},
        trust::parse_address,
    },
    gate::Gate,
};

const MAX_METHOD: u64 = 64;
const MAX_URL: u64 = 8192;
const MAX_TOKEN: u64 = 1024;
const MAX_COOKIE: u64 = 4096;
const MAX_ADDRESS: u64 = 64;

/// A request that nobody has made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RequestToExplain)]
struct Request {
    #[serde(default = "get")]
    #[schema(max_length = 64, example = "GET")]
    method: String,
    /// With its scheme; path and query are judged exactly as they are written here.
    #[schema(max_length = 8192, pattern = "^[Hh][Tt][Tt][Pp][Ss]?://", example = "http://shop.example.com/orders/7")]
    url: String,
    /// A token, as a client would send it after `Bearer`.
    #[schema(max_length = 1024)]
    token: Option<String>,
    /// What a browser holds as its session at the URL's host: the cookie's value, or all its cookies as it would send them.
    #[schema(max_length = 4096)]
    cookie: Option<String>,
    /// The client's address.
    #[schema(max_length = 64, example = "192.0.2.7")]
    from: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// What the gate tells.
#[derive(ToSchema)]
#[schema(as = Explanation)]
#[expect(dead_code, reason = "the description of the gate's explanation")]
struct ExplanationSchema {
    /// As it is judged; `null` when the request has no single reading.
    #[schema(required)]
    path: Option<String>,
    #[schema(required)]
    host: Option<String>,
    rules: Vec<RuleLineSchema>,
    /// `allow`, `challenge`, `deny` or `unavailable`.
    decision: String,
    status: u16,
    #[schema(required)]
    reason: Option<String>,
    #[schema(required)]
    rule: Option<String>,
    #[schema(required)]
    account: Option<String>,
    #[schema(required)]
    kind: Option<AccountKind>,
    #[schema(required)]
    site: Option<String>,
    #[schema(required)]
    access: Option<Level>,
    via: String,
    #[schema(required)]
    credential: Option<String>,
    request_id: String,
    /// Why, in a sentence.
    because: String,
    /// What becomes of a browser that nobody is signed in with, where the rule sends browsers to sign in; else `null`.
    #[schema(required)]
    sign_in: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = RuleLine)]
#[expect(dead_code, reason = "a part of the description of the gate's explanation")]
struct RuleLineSchema {
    rule: String,
    /// `matches`, or what differs.
    verdict: String,
}

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_explain, explain);
}

/// Explain a decision
///
/// Rule by rule, as it would fall on such a request now. For superusers.
#[utoipa::path(post, path = "/v1/explain", request_body = Request, responses((status = 200, body = ExplanationSchema)))]
async fn explain(
    state: web::Data<ApiState>,
    gate: web::Data<Gate>,
    caller: Caller,
    _: Query<NoQuery>,
    Body(request): Body<Request>,
) -> Result<HttpResponse, Problem> {
    state.directory.require_superuser(&caller.0).await?;
    let Request { method, url, token, cookie, from } = request;
    within(&method, MAX_METHOD, "method_too_long", "method")?;
    within(&url, MAX_URL, "url_too_long", "url")?;
    within(token.as_deref().unwrap_or_default(), MAX_TOKEN, "token_too_long", "token")?;
    within(cookie.as_deref().unwrap_or_default(), MAX_COOKIE, "cookie_too_long", "cookie")?;
    within(from.as_deref().unwrap_or_default(), MAX_ADDRESS, "address_too_long", "from")?;
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
    let named = |cookie: String| if cookie.contains('=') { cookie } else { format!("{}={cookie}", gate.session_cookie_at(host)) };
    let cookies = cookie.map(|cookie| zeroize::Zeroizing::new(named(cookie)));
    if let Some(value) = &cookies {
        headers.take("cookie", value.as_bytes());
    }
    let described = Described { method: &method, target: target.as_bytes(), host, client, headers: &headers, body: None };
    Ok(HttpResponse::Ok().json(gate.explain(described, "explain".to_owned()).await))
}
