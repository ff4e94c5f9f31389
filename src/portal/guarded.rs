//! What holds for every page, whoever wrote it: it is served at the portal's own host only, what changes something comes from
//! a page of the same origin, and each answer tells the browser what it may do with it.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};

use super::{PortalState, Refusal, own_page::OwnPage, style};
use crate::{api, domain::origin::Origin};

/// Referrer-Policy: with `no-referrer`, browsers send `Origin: null` with forms, to the portal itself too (Fetch, "append a
/// request `Origin` header"); `same-origin` tells other origins as little.
const HEADERS: [(&str, &str); 7] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
];

/// What a page may load and where its forms may lead. Some browsers also ask it about every redirect that follows a form, to
/// the last: so no answer to a form sends anybody to another origin.
fn content_security_policy() -> String {
    let style = style::hash();
    format!(
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' {style}; img-src 'self' data:; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}

/// Around all pages, and around what refuses a request before one is asked. The API and an application without pages go
/// through as they are.
pub async fn guarded(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let request_id = api::request_id(&request);
    let state = request.app_data::<web::Data<PortalState>>().cloned().filter(|_| !is_api(request.path()));
    let Some(state) = state else { return Ok(next.call(request).await?.map_into_boxed_body()) };
    let here = OwnPage::of(request.method(), request.path());
    let instead = |refusal: Refusal| {
        refusal.log(&state.directory);
        refusal.response(request_id, &here)
    };
    let response = if let Some(refusal) = refused_at_once(&state.url, &request) {
        request.into_response(instead(refusal))
    } else {
        let response = next.call(request).await?.map_into_boxed_body();
        match refused(&response) {
            Some(refusal) => response.into_response(instead(refusal)),
            None => response,
        }
    };
    Ok(with_headers(response.map_into_boxed_body()))
}

/// Why a request does not even reach a page.
fn refused_at_once(url: &Origin, request: &ServiceRequest) -> Option<Refusal> {
    let headers = request.headers();
    if !is_for(url, headers) {
        return Some(Refusal::Misdirected { url: url.clone(), received: sent(headers, "host") });
    }
    let foreign = may_change(request.method()) && !comes_from(url, headers);
    foreign.then(|| Refusal::foreign_form(sent(headers, "origin")))
}

fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// Which page stands for this answer.
fn refused<B>(response: &ServiceResponse<B>) -> Option<Refusal> {
    let error = response.response().error();
    let ours = error.and_then(|error| error.as_error::<Refusal>()).cloned();
    let limit = || error.and_then(|error| error.as_error::<api::Problem>()).map(Refusal::from);
    let method = || (response.status() == StatusCode::METHOD_NOT_ALLOWED).then(Refusal::wrong_method);
    ours.or_else(limit).or_else(method)
}

/// Whether exactly the portal's host is asked for.
fn is_for(url: &Origin, headers: &HeaderMap) -> bool {
    only(headers, &header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(url.authority().as_bytes()))
}

fn may_change(method: &Method) -> bool {
    method != Method::GET && method != Method::HEAD
}

/// Whether a page of the portal sent it. Sibling hosts are of the same site, so cookies alone say nothing.
fn comes_from(url: &Origin, headers: &HeaderMap) -> bool {
    only(headers, &header::ORIGIN).is_some_and(|origin| origin == url.to_string().as_bytes())
}

/// What a header says, or all headers of that name.
pub(super) fn sent(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// Adds what every answer says; what a page says otherwise stays.
fn with_headers<B>(mut response: ServiceResponse<B>) -> ServiceResponse<B> {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(policy) = HeaderValue::from_str(&content_security_policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
