//! The server keys: what turns a token's secret into the digest that is stored. Whoever has only the store
//! cannot test a guess. Several keys live at once; the first one mints.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Which server key made a digest: the word before the colon in the key file.
///
/// 1 to 32 letters, digits, `-` or `_`; what is shorter ends in zeros. Inline, for every token's record holds one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// Nothing, where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let mut id = [0; 32];
        id.get_mut(..text.len()).filter(|_| is_valid)?.copy_from_slice(text.as_bytes());
        Some(Self(id))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default().trim_end_matches('\0')
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.as_str())
    }
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or(KEY_ID_WORDS)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.as_str().to_owned()
    }
}

const KEY_ID_WORDS: &str = "a key id is 1 to 32 letters, digits, - or _";

/// What is stored of a secret: its HMAC-SHA-256 under a server key, or SHA-256 of a long one. Compared in constant time only.
#[derive(Clone)]
pub struct Digest([u8; 32]);

impl Digest {
    /// SHA-256 without a key, of what has 256 random bits itself.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(Sha256::digest(bytes).into())
    }

    /// 64 hexadecimal digits, or nothing.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        Self::from_hex(hex)
    }

    /// 43 characters of base64url, or nothing.
    #[must_use]
    pub fn parse_base64url(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        let right = text.len() == 43 && URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(bytes.len());
        right.then_some(Self(bytes))
    }

    /// For a URL.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            hex.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            hex.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
            hex
        })
    }

    fn from_hex(hex: &str) -> Option<Self> {
        let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other)
    }
}
impl Eq for Digest {}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hexadecimal digits"))
    }
}

/// A digest in a third less room than hexadecimal digits take: for records of which there are many.
pub mod short {
    use super::Digest;

    pub fn serialize<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest.to_base64url())
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        let expected = || serde::de::Error::custom("expected 43 characters of base64url");
        Digest::parse_base64url(text.as_bytes()).ok_or_else(expected)
    }
}

/// One server key, its HMAC state computed once.
struct ServerKey {
    id: KeyId,
    mac: Hmac<Sha256>,
}

/// All server keys in use, in the order of the file.
pub struct ServerKeys(Vec<ServerKey>);

/// What is wrong with a key file; `line` counts from 1, and 0 stands for the file as a whole.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if *line == 0 { String::new() } else { format!("line {line}: ") })]
pub struct KeyFileError {
    pub line: usize,
    pub problem: &'static str,
}

impl ServerKeys {
    /// Reads lines of `id:base64(32 bytes)`. Empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is not a key, an id that occurs twice, or a file without any key.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let mut keys: Vec<ServerKey> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let error = |problem| KeyFileError { line: line_number, problem };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, encoded) = line.split_once(':').ok_or_else(|| error("expected id:base64(32 bytes)"))?;
            let id = KeyId::parse(id).ok_or_else(|| error(KEY_ID_WORDS))?;
            if keys.iter().any(|key| key.id == id) {
                return Err(error("this key id occurs twice"));
            }
            let mut bytes = STANDARD.decode(encoded.trim()).map_err(|_| error("the key is not base64"))?;
            let mac = (bytes.len() == 32).then(|| Hmac::<Sha256>::new_from_slice(&bytes).ok()).flatten();
            bytes.zeroize();
            let mac = mac.ok_or_else(|| error("a key is exactly 32 bytes"))?;
            keys.push(ServerKey { id, mac });
        }
        if keys.is_empty() {
            return Err(KeyFileError {
                line: 0,
                problem: "no key in the file; make one with: printf 'k1:%s\\n' \"$(head -c32 /dev/urandom | base64)\"",
            });
        }
        Ok(Self(keys))
    }

    /// The text of a key file with one new key.
    pub fn generate_file(rng: &mut impl CryptoRng) -> String {
        let mut bytes = [0_u8; 32];
        rng.fill_bytes(&mut bytes);
        let text = format!("k1:{}\n", STANDARD.encode(bytes));
        bytes.zeroize();
        text
    }

    /// The id of the key that mints, and the digest of `parts` under it.
    #[must_use]
    pub fn digest_to_mint(&self, parts: &[&[u8]]) -> (KeyId, Digest) {
        let first = &self.0[0];
        (first.id, first.digest(parts))
    }

    /// The digest of `parts` under the key `id`; `None` when that key is not here any more.
    #[must_use]
    pub fn digest(&self, id: &KeyId, parts: &[&[u8]]) -> Option<Digest> {
        self.0.iter().find(|key| key.id == *id).map(|key| key.digest(parts))
    }

    /// The id of the key that seals, and what it seals with.
    pub(super) fn to_seal(&self) -> (&KeyId, Zeroizing<[u8; 32]>) {
        let first = &self.0[0];
        (&first.id, first.seals_with())
    }

    /// What the key `id` seals with; `None` when that key is not here any more.
    pub(super) fn to_open(&self, id: &KeyId) -> Option<Zeroizing<[u8; 32]>> {
        self.0.iter().find(|key| key.id == *id).map(ServerKey::seals_with)
    }

    /// One value per key by which two servers can tell whether they hold the same one, without showing it.
    pub fn check_values(&self) -> impl Iterator<Item = (&KeyId, String)> {
        self.0.iter().map(|key| (&key.id, key.digest(&[b"kg-check-1"]).to_hex()))
    }
}

impl ServerKey {
    fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut mac = self.mac.clone();
        for part in parts {
            mac.update(part);
        }
        Digest(mac.finalize().into_bytes().into())
    }

    /// A key of its own, so that nothing that is sealed says anything about a digest.
    fn seals_with(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.digest(&[b"kg-seal-1"]).0)
    }
}

impl fmt::Debug for ServerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_read_line_by_line_and_errors_name_the_line() {
        let good = format!("# mine\n\nk2:{}\nk1:{}\n", STANDARD.encode([7; 32]), STANDARD.encode([8; 32]));
        let keys = ServerKeys::parse(&good).unwrap();
        assert_eq!(keys.digest_to_mint(&[b"x"]).0.as_str(), "k2");
        for (text, line) in [("", 0), ("k1", 1), ("k1:AAAA", 1), ("\nk1:!", 2), ("k 1:AA", 1)] {
            assert_eq!(ServerKeys::parse(text).unwrap_err().line, line, "{text:?}");
        }
        let twice = format!("k1:{0}\nk1:{0}\n", STANDARD.encode([7; 32]));
        assert_eq!(ServerKeys::parse(&twice).unwrap_err().line, 2);
    }

    #[test]
    fn keys_do_not_print_themselves() {
        let file = ServerKeys::generate_file(&mut crate::domain::id::test_rng());
        let keys = ServerKeys::parse(&file).unwrap();
        let secret = file.trim().split_once(':').unwrap().1;
        assert!(!format!("{keys:?}").contains(secret));
    }
}
