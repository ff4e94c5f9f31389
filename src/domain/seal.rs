//! Secrets that have to be read again, such as those of authenticator apps: sealed by XChaCha20-Poly1305 under a key that is
//! made of a server key, and bound to their place. Whoever has only the store reads none of them, and cannot move one to
//! another place. What is sealed, and where it belongs, is the business of others.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    key::{KeyId, ServerKeys},
    text::Invalid,
};

/// Random ones of this length never meet.
const NONCE_LEN: usize = 24;

/// A secret that can be read with the server key it names. As text: the key's id, a dot, base64url.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sealed {
    key: KeyId,
    nonce: [u8; NONCE_LEN],
    bytes: Vec<u8>,
}

impl Sealed {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (key, encoded) = text.split_once('.')?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (nonce, bytes) = bytes.split_first_chunk()?;
        Some(Self { key: KeyId::parse(key)?, nonce: *nonce, bytes: bytes.to_vec() })
    }

    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.key.as_str(), URL_SAFE_NO_PAD.encode([&self.nonce[..], &self.bytes].concat()))
    }
}

impl ServerKeys {
    /// Seals a secret for a place: it can be read there, and nowhere else.
    pub fn seal(&self, place: &[&[u8]], secret: &[u8], rng: &mut impl CryptoRng) -> Sealed {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let (key, seals_with) = self.to_seal();
        let place = joined(place);
        let bytes = XChaCha20Poly1305::new((&*seals_with).into())
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: &place })
            .unwrap_or_else(|_| unreachable!("a secret is shorter than 256 GB"));
        Sealed { key: *key, nonce, bytes }
    }

    /// Reads a secret. `None` when its key is not here any more, or it was not sealed for this place.
    #[must_use]
    pub fn open(&self, place: &[&[u8]], sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let seals_with = self.to_open(&sealed.key)?;
        let place = joined(place);
        let payload = Payload { msg: &sealed.bytes, aad: &place };
        XChaCha20Poly1305::new((&*seals_with).into()).decrypt(&XNonce::from(sealed.nonce), payload).ok().map(Zeroizing::new)
    }
}

/// The parts of a place, none of which can be mistaken for another.
fn joined(place: &[&[u8]]) -> Vec<u8> {
    place.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat()).collect()
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.key.as_str())
    }
}

impl TryFrom<String> for Sealed {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text).ok_or_else(|| Invalid::new("sealed_malformed", "secret", "expected a key id, a dot and base64url"))
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> Self {
        sealed.to_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::test_rng;

    fn keys(ids: &[(&str, u8)]) -> ServerKeys {
        use base64::engine::general_purpose::STANDARD;
        let line = |(id, byte): &(&str, u8)| format!("{id}:{}\n", STANDARD.encode([*byte; 32]));
        ServerKeys::parse(&ids.iter().map(line).collect::<String>()).unwrap()
    }

    #[test]
    fn what_is_sealed_is_read_in_its_place_alone_and_with_its_key_alone() {
        let old = keys(&[("k1", 7)]);
        let sealed = old.seal(&[b"acc_1", b"factor"], b"twenty bytes of it", &mut test_rng());
        let read = |keys: &ServerKeys, place: &[&[u8]]| keys.open(place, &sealed).map(|secret| secret.to_vec());
        assert_eq!(read(&old, &[b"acc_1", b"factor"]), Some(b"twenty bytes of it".to_vec()));
        for elsewhere in [&[b"acc_2".as_slice(), b"factor"][..], &[b"acc_1factor"], &[b"acc_1f", b"actor"], &[]] {
            assert_eq!(read(&old, elsewhere), None);
        }
        assert!(read(&keys(&[("k2", 8), ("k1", 7)]), &[b"acc_1", b"factor"]).is_some(), "another key seals now");
        assert!(read(&keys(&[("k2", 8)]), &[b"acc_1", b"factor"]).is_none());
        assert!(read(&keys(&[("k1", 8)]), &[b"acc_1", b"factor"]).is_none());
    }

    #[test]
    fn the_text_of_something_sealed_is_read_back_and_a_changed_one_opens_nothing() {
        let keys = keys(&[("k1", 7)]);
        let sealed = keys.seal(&[b"here"], b"secret", &mut test_rng());
        let text = sealed.to_text();
        assert_eq!(Sealed::parse(&text), Some(sealed.clone()));
        assert!(text.starts_with("k1.") && !format!("{sealed:?}").contains(&text[3..]));
        for place in 3..text.len() {
            let other = if &text[place..=place] == "A" { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..place], &text[place + 1..]);
            assert!(Sealed::parse(&changed).and_then(|sealed| keys.open(&[b"here"], &sealed)).is_none(), "{place}");
        }
        for wrong in ["", "k1", "k1.", ".AAAA", "k1.AAAA", "k 1.AAAA"] {
            assert_eq!(Sealed::parse(wrong), None, "{wrong}");
        }
    }
}
