//! The text of a token, `<prefix>_<kind>_<id><secret><crc>`, as a client holds it: made, read, and compared with what is
//! stored of it. The way from the text to the record is one-way. Knows no rights.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::JudgedToken;
use crate::domain::{
    id::{BASE62, SHORT_ID_LEN as ID_LEN, is_base62, random_base62, short_id},
    key::{Digest, KeyId, ServerKeys},
    session::SessionSecret,
    text::Invalid,
};

const SECRET_LEN: usize = 32;
const CRC_LEN: usize = 6;
/// `kg-token-1`: domain separation, so that a digest made for another purpose is never a token's.
const DIGEST_CONTEXT: &[u8] = b"kg-token-1";
const SESSION_CONTEXT: &[u8] = b"kg-session-token-1";

short_id!(
    /// The public part of a token, and the name of its record.
    TokenId,
    "token_id_malformed",
    "a token id is twelve letters and digits"
);

/// The letter in the token's text; it must equal the record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenKind {
    /// Of a human account.
    #[serde(rename = "u")]
    User,
    /// Of a service account.
    #[serde(rename = "s")]
    Service,
    /// Bound to a session; valid only together with its cookie.
    #[serde(rename = "x")]
    Session,
}

impl TokenKind {
    const fn letter(self) -> u8 {
        match self {
            Self::User => b'u',
            Self::Service => b's',
            Self::Session => b'x',
        }
    }

    const fn parse(letter: u8) -> Option<Self> {
        match letter {
            b'u' => Some(Self::User),
            b's' => Some(Self::Service),
            b'x' => Some(Self::Session),
            _ => None,
        }
    }
}

/// The word that tokens begin with: `[a-z][a-z0-9]{1,7}`, so that a leaked one can be found by a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPrefix(String);

impl TokenPrefix {
    /// # Errors
    /// When it is not a lower-case letter followed by one to seven lower-case letters or digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let valid = (2..=8).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            let detail = "a token prefix is a lower-case letter and one to seven lower-case letters or digits";
            Err(Invalid::new("token_prefix_malformed", "token_prefix", detail))
        }
    }
}

/// All prefixes that are read; the first one mints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPrefixes(Vec<TokenPrefix>);

impl TokenPrefixes {
    /// `None` for an empty list: nothing could be minted.
    #[must_use]
    pub fn new(prefixes: Vec<TokenPrefix>) -> Option<Self> {
        (!prefixes.is_empty()).then_some(Self(prefixes))
    }

    /// The rest after `<prefix>_`, when the text begins like one of our tokens, right or wrong.
    fn strip<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.0.iter().find_map(|prefix| text.strip_prefix(prefix.0.as_bytes())?.strip_prefix(b"_"))
    }

    /// Whether the text means to be one of our tokens: `<prefix>_<kind>_…`. It may still be malformed.
    #[must_use]
    pub fn claims(&self, text: &[u8]) -> bool {
        matches!(self.strip(text), Some([kind, b'_', ..]) if TokenKind::parse(*kind).is_some())
    }

    /// Reads a token's text. `None` for anything that is not one to the last character: wrong prefix, kind, length,
    /// alphabet or checksum. No record is ever looked up for those.
    #[must_use]
    pub fn parse(&self, text: &[u8]) -> Option<PresentedToken> {
        let [kind, b'_', body @ ..] = self.strip(text)? else { return None };
        let kind = TokenKind::parse(*kind)?;
        if body.len() != ID_LEN + SECRET_LEN + CRC_LEN || !is_base62(body) {
            return None;
        }
        let (covered, crc) = text.split_at(text.len() - CRC_LEN);
        if crc != checksum(covered) {
            return None;
        }
        let (id, rest) = body.split_at(ID_LEN);
        let mut secret = [0; SECRET_LEN];
        secret.copy_from_slice(&rest[..SECRET_LEN]);
        Some(PresentedToken { kind, id: TokenId(id.try_into().ok()?), secret: TokenSecret(secret) })
    }

    /// Makes a new token's text and what is stored of it.
    pub fn mint(&self, kind: TokenKind, keys: &ServerKeys, rng: &mut impl CryptoRng) -> Minted {
        let id = TokenId(random_base62(rng));
        let secret = TokenSecret(random_base62(rng));
        let (key, digest) = keys.digest_to_mint(&digest_parts(kind, &id, &secret));
        let text = self.write(kind, &id, &secret);
        Minted { id, key, digest, text }
    }

    /// The session's own API token. Nothing is stored of it: it follows from the check session's cookie, and proves
    /// nothing without it.
    #[must_use]
    pub fn session_token(&self, cookie: &SessionSecret) -> PlainToken {
        let (id, secret) = session_parts(cookie);
        self.write(TokenKind::Session, &id, &secret)
    }

    fn write(&self, kind: TokenKind, id: &TokenId, secret: &TokenSecret) -> PlainToken {
        let mut text = format!("{}_{}_{id}", self.0[0].0, char::from(kind.letter())).into_bytes();
        text.extend_from_slice(&secret.0);
        let crc = checksum(&text);
        text.extend_from_slice(&crc);
        PlainToken(String::from_utf8(text).unwrap_or_default())
    }
}

/// CRC-32/ISO-HDLC of all bytes before it, as a big-endian base-62 number padded with `0`.
fn checksum(covered: &[u8]) -> [u8; CRC_LEN] {
    let mut value = crc32fast::hash(covered);
    let mut text = [b'0'; CRC_LEN];
    for digit in text.iter_mut().rev() {
        *digit = BASE62[(value % 62) as usize];
        value /= 62;
    }
    text
}

fn digest_parts<'a>(kind: TokenKind, id: &'a TokenId, secret: &'a TokenSecret) -> [&'a [u8]; 4] {
    let letter: &'static [u8] = match kind {
        TokenKind::User => b"u",
        TokenKind::Service => b"s",
        TokenKind::Session => b"x",
    };
    [DIGEST_CONTEXT, letter, &id.0, &secret.0]
}

/// Id and secret of the token that belongs to the cookie. The remainder by 62 makes some letters likelier than others; 181
/// bits are left to guess.
fn session_parts(cookie: &SessionSecret) -> (TokenId, TokenSecret) {
    let mut id = [0; ID_LEN];
    id.copy_from_slice(cookie.session.as_str().as_bytes());
    let mut mac =
        Hmac::<Sha256>::new_from_slice(cookie.secret.expose()).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(SESSION_CONTEXT);
    mac.update(&id);
    let letters: [u8; SECRET_LEN] = mac.finalize().into_bytes().into();
    (TokenId(id), TokenSecret(letters.map(|byte| BASE62[usize::from(byte % 62)])))
}

#[derive(Clone, Zeroize, ZeroizeOnDrop, PartialEq, Eq)]
struct TokenSecret([u8; SECRET_LEN]);

/// A token as a client presented it: well-formed, with nothing said yet about who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedToken {
    pub kind: TokenKind,
    pub id: TokenId,
    secret: TokenSecret,
}

impl PresentedToken {
    /// Stands for a token of which the record is known, and not the secret: for who explains what would become of it. It
    /// verifies as none.
    #[must_use]
    pub fn standing_for(kind: TokenKind, id: TokenId) -> Self {
        Self { kind, id, secret: TokenSecret([0; SECRET_LEN]) }
    }

    /// Whether this is the token of `record`: same kind, same digest under the record's key.
    #[must_use]
    pub fn verifies(&self, record: &JudgedToken, keys: &ServerKeys) -> bool {
        self.kind == record.kind
            && keys
                .digest(&record.key, &digest_parts(self.kind, &self.id, &self.secret))
                .is_some_and(|digest| digest.matches(&record.digest))
    }

    /// Whether this is the token that belongs to the cookie. Constant-time in the secret.
    #[must_use]
    pub fn is_of(&self, cookie: &SessionSecret) -> bool {
        let (id, secret) = session_parts(cookie);
        self.kind == TokenKind::Session && self.id == id && bool::from(self.secret.0.ct_eq(&secret.0))
    }
}

impl fmt::Debug for PresentedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedToken({}, …)", self.id)
    }
}

/// The whole text of a token, on its way to the one who asked for it and nowhere else.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PlainToken(String);

impl PlainToken {
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PlainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainToken(…)")
    }
}

/// What minting yields: the text to show once, and what the record keeps.
#[derive(Debug)]
pub struct Minted {
    pub id: TokenId,
    pub key: KeyId,
    pub digest: Digest,
    pub text: PlainToken,
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    const EXAMPLE: &str = "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf";

    fn prefixes() -> TokenPrefixes {
        TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap(), TokenPrefix::parse("old1").unwrap()]).unwrap()
    }

    fn keys() -> ServerKeys {
        let bytes: Vec<u8> = (0..32).collect();
        ServerKeys::parse(&format!("k1:{}", base64::engine::general_purpose::STANDARD.encode(bytes))).unwrap()
    }

    #[test]
    fn the_published_example_is_read_and_has_the_published_digest() {
        let token = prefixes().parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((token.kind, token.id.as_str()), (TokenKind::User, "AbCdEfGh0123"));
        let (_, digest) = keys().digest_to_mint(&digest_parts(token.kind, &token.id, &token.secret));
        assert_eq!(digest.to_hex(), "c61bd0337493c7320703c5fecbce982014e780bf5f8e547fe2769dbe0e87960a");
    }

    #[test]
    fn one_changed_character_anywhere_is_refused() {
        let prefixes = prefixes();
        for index in 0..EXAMPLE.len() {
            for replacement in [b'0', b'z', b'_', b'-', 0xff] {
                let mut text = EXAMPLE.as_bytes().to_vec();
                if text[index] != replacement {
                    text[index] = replacement;
                    assert_eq!(prefixes.parse(&text), None, "{index}");
                }
            }
        }
        assert_eq!(prefixes.parse(&EXAMPLE.as_bytes()[1..]), None);
        assert_eq!(prefixes.parse(format!("{EXAMPLE}0").as_bytes()), None);
        assert_eq!(prefixes.parse(b""), None);
    }

    #[test]
    fn what_is_minted_is_read_back_and_prints_no_secret() {
        let minted = prefixes().mint(TokenKind::Service, &keys(), &mut crate::domain::id::test_rng());
        let text = minted.text.expose_secret();
        let read = prefixes().parse(text.as_bytes()).unwrap();
        assert_eq!(read.id, minted.id);
        assert_eq!(text.len(), "kg_s_".len() + ID_LEN + SECRET_LEN + CRC_LEN);
        let secret = &text[17..49];
        assert!(!format!("{read:?} {minted:?}").contains(secret));
        assert!(prefixes().claims(b"kg_u_x") && !prefixes().claims(b"kg_q_x") && !prefixes().claims(b"password"));
    }

    #[test]
    fn the_token_of_a_session_belongs_to_its_cookie_and_to_no_other() {
        let mut rng = crate::domain::id::test_rng();
        let cookie = SessionSecret::generate(crate::domain::session::SessionId::generate(&mut rng), &mut rng);
        let text = prefixes().session_token(&cookie);
        let read = prefixes().parse(text.expose_secret().as_bytes()).unwrap();
        assert_eq!((read.kind, read.id.as_str()), (TokenKind::Session, cookie.session.as_str()));
        assert!(read.is_of(&cookie));
        let other_secret = SessionSecret::generate(cookie.session.clone(), &mut rng);
        let other_id = SessionSecret { session: crate::domain::session::SessionId::generate(&mut rng), ..cookie.clone() };
        assert!(!read.is_of(&other_secret) && !read.is_of(&other_id));
        let of_user = prefixes().write(TokenKind::User, &read.id, &read.secret);
        assert!(!prefixes().parse(of_user.expose_secret().as_bytes()).unwrap().is_of(&cookie));
        assert!(!text.expose_secret().contains(&cookie.secret.to_text()));
    }

    #[test]
    fn a_prefix_is_two_to_eight_lower_case_characters() {
        for good in ["kg", "k9", "keygate1"] {
            assert!(TokenPrefix::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "k", "9k", "KG", "keygate12", "k_g"] {
            assert!(TokenPrefix::parse(bad).is_err(), "{bad}");
        }
    }
}
