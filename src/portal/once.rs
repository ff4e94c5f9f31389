//! Forms that make something, which is made once however often they are sent: each has a word of its own in it.

use actix_web::HttpRequest;
use rand::{rand_core::UnwrapErr, rngs::SysRng};

use super::Refusal;
use crate::{directory::IdempotencyKey, domain::session::Secret};

/// For the field `once` of a new form.
pub(super) fn new() -> String {
    Secret::generate(&mut UnwrapErr(SysRng)).to_text()
}

/// What the field says, for the actor. Whatever else is in the form when it is sent again, it was sent before.
///
/// # Errors
/// When no form of ours has it.
pub(super) fn read(request: &HttpRequest, once: &str) -> Result<IdempotencyKey, Refusal> {
    IdempotencyKey::new(once, &[b"form", request.path().as_bytes()]).map_err(|_| Refusal::bad_form())
}
