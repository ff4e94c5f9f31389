//! `POST /explain`: the decision on a request that nobody has made, rule by rule, and why.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    ApiState, Problem,
    extract::{Body, Caller, NoQuery, Query},
    operations::Operations,
    values::{token_id, within},
};
use crate::{
    directory::{Actor, Directory},
    domain::{
        access::Level,
        account::AccountKind,
        request::{ClientHeaders, Described, split_url},
        token::{PresentedToken, TokenId},
        trust::parse_address,
    },
    gate::{Gate, explain::Explanation},
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
    /// In place of a token, the id of one: as if it were sent after `Bearer`, and nothing else.
    #[schema(value_type = Option<TokenId>)]
    token_id: Option<String>,
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
/// Rule by rule, as it would fall on such a request now. For superusers. Nobody has used a token by that.
#[utoipa::path(post, path = "/v1/explain", request_body = Request,
    responses((status = 200, body = ExplanationSchema), (status = 404)))]
async fn explain(
    state: web::Data<ApiState>,
    gate: web::Data<Gate>,
    caller: Caller,
    _: Query<NoQuery>,
    Body(request): Body<Request>,
) -> Result<HttpResponse, Problem> {
    let explanation = explained(&state.directory, &gate, &caller.0, request.into()).await?;
    Ok(HttpResponse::Ok().json(explanation))
}

impl From<Request> for Question {
    fn from(Request { method, url, token, token_id, cookie, from }: Request) -> Self {
        let [token, cookie] = [token, cookie].map(|secret| secret.map(Zeroizing::new));
        Self { method, url, token, token_id, cookie, from }
    }
}

/// What a request would be like that is to be judged.
#[derive(Default)]
pub struct Question {
    pub method: String,
    pub url: String,
    pub token: Option<Zeroizing<String>>,
    /// In place of the token.
    pub token_id: Option<String>,
    pub cookie: Option<Zeroizing<String>>,
    pub from: Option<String>,
}

/// The decision on such a request, for superusers.
///
/// # Errors
/// When the actor is none, or the question is not one, by its field; when there is no such token.
pub async fn explained(directory: &Directory, gate: &Gate, actor: &Actor, question: Question) -> Result<Explanation, Problem> {
    directory.require_superuser(actor).await?;
    let Question { method, url, token, token_id, cookie, from } = question;
    let length = |secret: &Option<Zeroizing<String>>, limit, code, field| {
        within(secret.as_deref().map_or("", String::as_str), limit, code, field)
    };
    within(&method, MAX_METHOD, "method_too_long", "method")?;
    within(&url, MAX_URL, "url_too_long", "url")?;
    length(&token, MAX_TOKEN, "token_too_long", "token")?;
    length(&cookie, MAX_COOKIE, "cookie_too_long", "cookie")?;
    within(from.as_deref().unwrap_or_default(), MAX_ADDRESS, "address_too_long", "from")?;
    if token_id.is_some() && (token.is_some() || cookie.is_some()) {
        let detail = "a token's id stands for a token alone; leave out token and cookie";
        return Err(Problem::new(422, "credential_twice", detail).on("token_id"));
    }
    let (host, target) = split_url(&url)
        .ok_or_else(|| Problem::new(422, "url_malformed", "a URL is written http://host/path or https://host/path").on("url"))?;
    let client = match from.as_deref().map(parse_address) {
        Some(None) => {
            return Err(Problem::new(422, "address_malformed", "an address is written 192.0.2.1 or 2001:db8::1").on("from"));
        }
        address => address.flatten(),
    };
    let known = match &token_id {
        Some(id) => {
            let info = directory.token(actor, &self::token_id(id)?).await?;
            Some(PresentedToken::standing_for(info.token.kind, info.token.judged.id))
        }
        None => None,
    };
    let authorization = token.map(|token| Zeroizing::new(format!("Bearer {}", token.as_str())));
    let named = |cookie: &str| {
        if cookie.contains('=') { cookie.to_owned() } else { format!("{}={cookie}", gate.session_cookie_at(host)) }
    };
    let cookies = cookie.map(|cookie| Zeroizing::new(named(&cookie)));
    let mut headers = ClientHeaders::default();
    if let Some(value) = &authorization {
        headers.take("authorization", value.as_bytes());
    }
    if let Some(value) = &cookies {
        headers.take("cookie", value.as_bytes());
    }
    let described = Described { method: &method, target: target.as_bytes(), host, client, headers: &headers, body: None };
    Ok(gate.explain(described, known.as_ref(), "explain".to_owned()).await)
}
