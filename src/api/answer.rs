//! Answers that carry a record: its version as `ETag`, and where it is.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{ETAG, LOCATION},
};
use serde::Serialize;

use super::operations::{REPLAYED, ROOT};

/// A record as it is now.
pub(super) fn shown(version: u64, record: impl Serialize) -> HttpResponse {
    tagged(HttpResponse::Ok(), version).json(record)
}

/// A record as it is after a request that is carried out once only. `replayed` where that was done before.
pub(super) fn shown_once(version: u64, replayed: bool, record: impl Serialize) -> HttpResponse {
    noted(tagged(HttpResponse::Ok(), version), replayed).json(record)
}

/// A new record, at this path below the root; a segment of it is [`percent_encoded`].
pub(super) fn created(path: &str, version: u64, replayed: bool, body: impl Serialize) -> HttpResponse {
    let mut answer = tagged(HttpResponse::Created(), version);
    answer.insert_header((LOCATION, format!("{ROOT}/v1{path}")));
    noted(answer, replayed).json(body)
}

fn tagged(mut answer: HttpResponseBuilder, version: u64) -> HttpResponseBuilder {
    answer.insert_header((ETAG, format!("\"{version}\"")));
    answer
}

fn noted(mut answer: HttpResponseBuilder, replayed: bool) -> HttpResponseBuilder {
    if replayed {
        answer.insert_header((REPLAYED, "true"));
    }
    answer
}

/// A segment of a path: all but RFC 3986's unreserved characters is encoded.
pub(super) fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
