//! Random identifiers, and the base-62 alphabet they are written in. Never derived from anything, never
//! used again.

use std::fmt;

use rand::CryptoRng;
use serde::{Deserialize, Serialize};

use super::text::Invalid;

/// The alphabet of identifiers, secrets and checksums, in the order of their base-62 values.
pub const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `N` characters of [`BASE62`], each equally likely (rejection sampling; 5.95 bits a character).
pub fn random_base62<const N: usize>(rng: &mut impl CryptoRng) -> [u8; N] {
    let mut text = [0; N];
    let mut filled = 0;
    let mut pool = [0_u8; 64];
    while filled < N {
        rng.fill_bytes(&mut pool);
        for byte in pool {
            // 248 is the largest multiple of 62 that fits a byte.
            if byte < 248 && filled < N {
                text[filled] = BASE62[usize::from(byte % 62)];
                filled += 1;
            }
        }
    }
    zeroize::Zeroize::zeroize(&mut pool);
    text
}

pub(super) fn is_base62(bytes: &[u8]) -> bool {
    // All of them in any case: that is faster than to look whether to stop.
    bytes.iter().fold(true, |all, byte| all & byte.is_ascii_alphanumeric())
}

/// The prefix and sixteen letters and digits. Shorter ones are filled up with zeros.
const PREFIXED_ID_LEN: usize = 20;

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; PREFIXED_ID_LEN]);

        impl $name {
            /// Takes the generator, so that tests can be repeated.
            pub fn generate(rng: &mut impl CryptoRng) -> Self {
                let mut text = [0; PREFIXED_ID_LEN];
                text[..$prefix.len()].copy_from_slice($prefix.as_bytes());
                text[$prefix.len()..].copy_from_slice(&random_base62::<16>(rng));
                Self(text)
            }

            /// At most twenty visible ASCII characters, or nothing.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; PREFIXED_ID_LEN];
                let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
                bytes.get_mut(..text.len()).filter(|_| is_visible)?.copy_from_slice(text.as_bytes());
                Some(Self(bytes))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(PREFIXED_ID_LEN);
                std::str::from_utf8(&self.0[..length]).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(&text).ok_or_else(|| Invalid::new("id_malformed", "id", "an id is at most twenty visible characters"))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }
    };
}

prefixed_id!(
    /// Names an account for ever, whatever its login becomes.
    AccountId,
    "acc_"
);
prefixed_id!(
    /// Names a site for ever; a site that is deleted and made again under the same name is another site.
    SiteId,
    "sit_"
);

prefixed_id!(
    /// Names a server from its start to its end.
    ReplicaId,
    "rep_"
);

impl AccountId {
    /// The built-in account that stands for nobody in particular. It exists in every store.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self(*b"acc_anonymous\0\0\0\0\0\0\0")
    }
}

/// The length of the ids that people see in lists: 71 bits.
pub(super) const SHORT_ID_LEN: usize = 12;

/// An id of twelve letters and digits, and the error of a text that is none.
macro_rules! short_id {
    ($(#[$doc:meta])* $name:ident, $code:literal, $words:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; crate::domain::id::SHORT_ID_LEN]);

        impl $name {
            pub fn generate(rng: &mut impl rand::CryptoRng) -> Self {
                Self(crate::domain::id::random_base62(rng))
            }

            /// Twelve letters and digits, or nothing.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let bytes: [u8; crate::domain::id::SHORT_ID_LEN] = text.as_bytes().try_into().ok()?;
                crate::domain::id::is_base62(&bytes).then_some(Self(bytes))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// Its letters and digits.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; crate::domain::id::SHORT_ID_LEN] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        impl TryFrom<String> for $name {
            type Error = crate::domain::text::Invalid;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text).ok_or_else(|| crate::domain::text::Invalid::new($code, "id", $words))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }
    };
}
pub(super) use short_id;

/// A generator for tests, which have no other place to take one from.
#[cfg(test)]
pub(crate) fn test_rng() -> impl CryptoRng {
    rand::rand_core::UnwrapErr(rand::rngs::SysRng)
}
