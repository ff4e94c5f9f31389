//! `Idempotency-Key`: a request that is sent again, because its answer was lost, does nothing twice. The note of it is
//! written with the change itself, and refers to what was made; secrets are not in it, so they cannot be had again.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{Actor, Directory, DirectoryError, Edit};
use crate::{
    domain::{account::Format, text::Invalid, time::Timestamp},
    store::{
        Index, Key, StoreError,
        record::{IdempotencyRecord, Made},
    },
};

/// Separates these digests from all others under the server keys.
const CONTEXT: &[u8] = b"kg-idempotency-1";

/// A key that a client chose for one request, and what that request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The name of the note.
    digest: String,
    /// Method, path and body. May hold a password, so it is never kept as it is.
    request: [u8; 32],
}

impl IdempotencyKey {
    pub const MAX_CHARS: u64 = 255;

    /// # Errors
    /// When the key is empty, too long, or not visible ASCII.
    pub fn new(key: &str, request: &[&[u8]]) -> Result<Self, Invalid> {
        if key.len() as u64 > Self::MAX_CHARS {
            return Err(Invalid::over("idempotency_key_too_long", "Idempotency-Key", Self::MAX_CHARS));
        }
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let detail = "an idempotency key is 1 to 255 visible ASCII characters, such as a UUID";
            return Err(Invalid::new("idempotency_key_malformed", "Idempotency-Key", detail));
        }
        Ok(Self { digest: key.to_owned(), request: hash(request) })
    }

    /// The key as this actor's.
    pub(super) fn of(&self, actor: &Actor) -> Self {
        let digest = hash(&[actor.to_string().as_bytes(), self.digest.as_bytes()]);
        Self { digest: URL_SAFE_NO_PAD.encode(digest), request: self.request }
    }
}

impl Directory {
    /// # Errors
    /// `Replayed` when a request under this key has been carried out, `Invalid` when that was another request.
    pub(super) async fn unless_done(&self, actor: &Actor, key: &IdempotencyKey) -> Result<(), DirectoryError> {
        let key = key.of(actor);
        let Some(done) = self.get::<IdempotencyRecord>(Key::Idempotency(key.digest)).await? else { return Ok(()) };
        let same = self.keys.digest(&done.key, &[CONTEXT, &key.request]).is_some_and(|digest| digest.matches(&done.fingerprint));
        if same {
            return Err(DirectoryError::Replayed(done.made));
        }
        let detail = "this key was used for another request; take a new one";
        Err(Invalid::new("idempotency_key_reused", "Idempotency-Key", detail).into())
    }
}

pub(super) fn note(
    edit: &mut Edit,
    directory: &Directory,
    key: &IdempotencyKey,
    made: Made,
    at: Timestamp,
) -> Result<(), StoreError> {
    let (server_key, fingerprint) = directory.keys.digest_to_mint(&[CONTEXT, &key.request]);
    let record = IdempotencyRecord { v: Format, key: server_key, fingerprint, made, at, version: 1 };
    edit.add_to(Index::Idempotency, &member(at, &key.digest));
    edit.create(Key::Idempotency(key.digest.clone()), &record)
}

/// Sorts by time.
fn member(at: Timestamp, digest: &str) -> String {
    format!("{:016}:{digest}", at.as_millis())
}

/// When, and under which digest, a member of [`Index::Idempotency`] was noted.
pub(super) fn read_member(member: &str) -> Option<(Timestamp, &str)> {
    let (at, digest) = member.split_once(':')?;
    Some((Timestamp::from_millis(at.parse().ok()?), digest))
}

/// Each part by itself, so that two of them cannot trade bytes.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut all = Sha256::new();
    for part in parts {
        all.update(Sha256::digest(part));
    }
    all.finalize().into()
}
