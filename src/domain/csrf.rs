//! What shows that a request which changes something was made by a page that could read the session's answers: a value that
//! only the holder of a browser's secret can make, in forms and in `X-CSRF-Token`. It gives nothing of the secret away.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::session::Secret;

/// The token of whoever has the secret: base64url of an HMAC-SHA-256.
#[must_use]
pub fn token(secret: &Secret) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose());
    // Any length is a good key.
    mac.map(|mac| URL_SAFE_NO_PAD.encode(mac.chain_update(b"kg-csrf-1").finalize().into_bytes())).unwrap_or_default()
}

/// Whether it is the token of whoever has the secret. Constant-time.
#[must_use]
pub fn is_token(secret: &Secret, text: &str) -> bool {
    let token = token(secret);
    !token.is_empty() && token.as_bytes().ct_eq(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::super::id::test_rng;
    use super::*;

    #[test]
    fn a_token_is_good_for_its_secret_only() {
        let [one, other] = [Secret::generate(&mut test_rng()), Secret::parse(&[b'A'; 43]).unwrap()];
        assert_eq!(token(&one).len(), 43);
        assert!(is_token(&one, &token(&one)) && !is_token(&one, &token(&other)) && !is_token(&one, ""));
        assert_ne!(token(&one), one.to_text());
    }
}
