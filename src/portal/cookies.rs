//! The portal's own cookies, read from a request and put into an answer.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{COOKIE, HeaderValue, SET_COOKIE},
};

use super::Refusal;
use crate::domain::{
    cookie::{Cookie, Sent},
    origin::Origin,
};

/// The value of a cookie, as far as the browser has one that was set here.
///
/// # Errors
/// When there are two: one of them was planted, and nobody knows which. That needs plain http.
pub(super) fn read<'r>(request: &'r HttpRequest, url: &Origin, cookie: Cookie) -> Result<Option<&'r [u8]>, Refusal> {
    let lines: Vec<_> = request.headers().get_all(COOKIE).map(HeaderValue::as_bytes).collect();
    match cookie.find(&lines, url.is_secure()) {
        Sent::One(value) => Ok(Some(value)),
        Sent::Nothing => Ok(None),
        Sent::Ambiguous => Err(Refusal::two_cookies(cookie.name(url.is_secure()))),
    }
}

/// Adds a `Set-Cookie`.
///
/// # Errors
/// When it is no header value, which no cookie of ours is.
pub(super) fn add(response: &mut HttpResponse, set_cookie: String) -> Result<(), Refusal> {
    let value = HeaderValue::try_from(set_cookie).map_err(|_| Refusal::failed())?;
    response.headers_mut().append(SET_COOKIE, value);
    Ok(())
}
