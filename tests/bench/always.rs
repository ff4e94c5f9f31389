//! The answer of the floor over HTTP: an allow as Keygate gives it, made of what is known beforehand.

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};

/// What Keygate says of the benchmark's callers, who have neither name nor e-mail address.
pub const IDENTITY: [(&str, &str); 9] = [
    ("x-auth-account", "client-42"),
    ("x-auth-kind", "service"),
    ("x-auth-site", "shop"),
    ("x-auth-access", "write"),
    ("x-auth-via", "bearer"),
    ("x-auth-credential", "AbCdEfGh0123"),
    ("x-auth-name", ""),
    ("x-auth-email", ""),
    ("x-auth-request-id", "0123456789abcdef"),
];

pub async fn allow() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store")));
    for (name, value) in IDENTITY {
        response.insert_header((HeaderName::from_static(name), HeaderValue::from_static(value)));
    }
    response.finish()
}
