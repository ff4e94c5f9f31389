//! Passwords that people choose, and the Argon2id hashes that are stored of them (PHC string format).
//!
//! Hashing here is a plain, slow function; the bounded pool it runs on is the gate's.

mod common;

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::text::{Email, Invalid, Login, fold};

/// A password in the clear, on its way to be hashed. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Password(Vec<u8>);

impl Password {
    pub const MIN_BYTES: u64 = 8;
    pub const MAX_BYTES: u64 = 1024;

    /// What a client presents; any bytes, no rule but the upper bound. Text counts in its composed form (NFC), as keyboards
    /// differ in how they write the same letters.
    #[must_use]
    pub fn presented(bytes: &[u8]) -> Option<Self> {
        let composed = |text: &str| Self(text.nfc().collect::<String>().into_bytes());
        let fits = bytes.len() as u64 <= Self::MAX_BYTES;
        fits.then(|| std::str::from_utf8(bytes).map_or_else(|_| Self(bytes.to_vec()), composed))
    }

    /// A new password for an account: 8 to 1,024 bytes, none that everybody would guess.
    ///
    /// # Errors
    /// When it is shorter or longer, or too common.
    pub fn chosen(text: &str) -> Result<Self, Invalid> {
        let too_long = || Invalid::over("password_too_long", "password", Self::MAX_BYTES);
        let password = Self::presented(text.as_bytes()).ok_or_else(too_long)?;
        if (password.0.len() as u64) < Self::MIN_BYTES {
            let mut error = Invalid::new("password_too_short", "password", "a password has at least 8 bytes");
            error.limit = Some(Self::MIN_BYTES);
            return Err(error);
        }
        if password.0.len() as u64 > Self::MAX_BYTES {
            return Err(too_long());
        }
        if common::contains(&password.folded()) {
            return Err(too_common("this is one of the passwords that are tried first; choose another"));
        }
        Ok(password)
    }

    /// For a new password of an account with these names.
    ///
    /// # Errors
    /// When it is one of them.
    pub fn is_not_a_name_of(&self, login: &Login, email: Option<&Email>) -> Result<(), Invalid> {
        let folded = self.folded();
        let address = email.map(Email::folded).unwrap_or_default();
        let local = address.split('@').next().unwrap_or_default();
        if [login.folded().as_str(), address.as_str(), local].contains(&folded.as_str()) {
            return Err(too_common("a login or an e-mail address is no password for its account; choose another"));
        }
        Ok(())
    }

    fn folded(&self) -> String {
        fold(&String::from_utf8_lossy(&self.0))
    }

    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }
}

fn too_common(detail: &str) -> Invalid {
    Invalid::new("password_too_common", "password", detail)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The cost of one hash. Argon2id, version 0x13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// In KiB.
    pub memory: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Cost {
    /// The OWASP minimum: 19 MiB, two passes, one lane.
    pub const DEFAULT: Self = Self { memory: 19 * 1024, passes: 2, lanes: 1 };
    /// No hash that costs more is computed, whatever a record says: it would be a way to stop the server.
    const MOST: Self = Self { memory: 1024 * 1024, passes: 64, lanes: 16 };

    /// `None` when Argon2 has no such parameters, or they are absurd.
    #[must_use]
    pub fn new(memory: u32, passes: u32, lanes: u32) -> Option<Self> {
        let cost = Self { memory, passes, lanes };
        let bounded = memory <= Self::MOST.memory && passes <= Self::MOST.passes && lanes <= Self::MOST.lanes;
        (bounded && cost.params().is_some()).then_some(cost)
    }

    /// What it costs to compute, in KiB filled.
    #[must_use]
    pub fn work(self) -> u64 {
        u64::from(self.memory) * u64::from(self.passes)
    }

    fn params(self) -> Option<Params> {
        Params::new(self.memory, self.passes, self.lanes, Some(OUTPUT_LEN)).ok()
    }
}

const OUTPUT_LEN: usize = 32;
const SALT_LEN: usize = 16;

/// Memory for hashing, used again and again: allocating it anew costs more than half of a hash.
#[derive(Default)]
pub struct Workspace(Vec<Block>);

/// `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash {
    cost: Cost,
    salt: Vec<u8>,
    output: [u8; OUTPUT_LEN],
}

impl PasswordHash {
    pub fn generate(password: &Password, cost: Cost, rng: &mut impl CryptoRng, workspace: &mut Workspace) -> Self {
        let mut salt = vec![0; SALT_LEN];
        rng.fill_bytes(&mut salt);
        let output = compute(password, &salt, cost, workspace);
        Self { cost, salt, output }
    }

    /// A hash that no password has, at this cost: what an unknown login is verified against, so that it takes as long.
    pub fn dummy(cost: Cost, rng: &mut impl CryptoRng) -> Self {
        let mut salt = vec![0; SALT_LEN];
        let mut output = [0; OUTPUT_LEN];
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut output);
        Self { cost, salt, output }
    }

    /// Slow by design: tens of milliseconds.
    #[must_use]
    pub fn verify(&self, password: &Password, workspace: &mut Workspace) -> bool {
        compute(password, &self.salt, self.cost, workspace).ct_eq(&self.output).into()
    }

    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Bytes that change whenever the password is set anew.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8] {
        &self.output
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (costs, salt, output) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let mut costs = costs.split(',');
        let mut cost = |name: &str| -> Option<u32> { costs.next()?.strip_prefix(name)?.parse().ok() };
        let cost = Cost::new(cost("m=")?, cost("t=")?, cost("p=")?)?;
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let output = STANDARD_NO_PAD.decode(output).ok()?.try_into().ok()?;
        (8..=64).contains(&salt.len()).then_some(Self { cost, salt, output })
    }
}

fn compute(password: &Password, salt: &[u8], cost: Cost, workspace: &mut Workspace) -> [u8; OUTPUT_LEN] {
    let mut output = [0; OUTPUT_LEN];
    let Some(params) = cost.params() else { return output };
    if workspace.0.len() < params.block_count() {
        workspace.0.resize(params.block_count(), Block::new());
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2
        .hash_password_into_with_memory(password.expose_secret(), salt, &mut output, &mut workspace.0)
        .unwrap_or_else(|error| unreachable!("parameters and salt were checked: {error}"));
    output
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?}, …)", self.cost)
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("expected an argon2id hash in PHC format")
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        let Cost { memory, passes, lanes } = hash.cost;
        let (salt, output) = (STANDARD_NO_PAD.encode(&hash.salt), STANDARD_NO_PAD.encode(hash.output));
        format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_verifies_its_password_and_survives_the_store() {
        let cheap = Cost::new(8, 1, 1).unwrap();
        let mut workspace = Workspace::default();
        let password = Password::chosen("correct horse").unwrap();
        let hash = PasswordHash::generate(&password, cheap, &mut crate::domain::id::test_rng(), &mut workspace);
        let text = String::from(hash.clone());
        let read = PasswordHash::try_from(text).unwrap();
        assert!(read == hash && read.verify(&password, &mut workspace));
        assert!(!read.verify(&Password::presented(b"correct hors").unwrap(), &mut workspace));
    }

    #[test]
    fn a_new_password_is_long_enough_and_none_that_everybody_guesses() {
        let code = |text: &str| Password::chosen(text).map_err(|error| error.code).map(drop);
        for good in ["correct horse", "       8", "äöüß", "🐎🐎", &"x".repeat(1024), "\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}"]
        {
            assert_eq!(code(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("7 bytes", "password_too_short"),
            // Four letters as they are kept, however they were written.
            ("a\u{308}o\u{308}u\u{308}", "password_too_short"),
            (&"x".repeat(1025), "password_too_long"),
            ("password", "password_too_common"),
            ("PassWord1", "password_too_common"),
            ("ＰＡＳＳＷＯＲＤ", "password_too_common"),
        ] {
            assert_eq!(code(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_password_is_no_name_of_its_account() {
        let (login, email) = (Login::parse("Vera.Example").unwrap(), Email::parse("vera.longname@example.com").unwrap());
        for bad in ["vera.example", "VERA.EXAMPLE", "vera.longname@example.com", "Vera.LongName"] {
            let password = Password::chosen(bad).unwrap();
            let refused = password.is_not_a_name_of(&login, Some(&email)).map_err(|error| error.code);
            assert_eq!(refused, Err("password_too_common"), "{bad}");
        }
        assert!(Password::chosen("vera.example.").unwrap().is_not_a_name_of(&login, None).is_ok());
    }

    #[test]
    fn the_same_letters_are_the_same_password_however_they_are_written() {
        let cheap = Cost::new(8, 1, 1).unwrap();
        let mut workspace = Workspace::default();
        let [composed, decomposed] = ["gr\u{fc}ne Pferde", "gru\u{308}ne Pferde"];
        let hash = PasswordHash::generate(
            &Password::chosen(decomposed).unwrap(),
            cheap,
            &mut crate::domain::id::test_rng(),
            &mut workspace,
        );
        for text in [composed, decomposed] {
            assert!(hash.verify(&Password::presented(text.as_bytes()).unwrap(), &mut workspace), "{text}");
        }
        assert!(!hash.verify(&Password::presented(b"grune Pferde").unwrap(), &mut workspace));
        assert!(Password::presented(b"\xff\xfe").is_some() && Password::presented(&[b'x'; 1025]).is_none());
    }

    #[test]
    fn hashes_made_elsewhere_verify() {
        // Computed with the reference implementation's command line: salt "somesalt", m=65536, t=2, p=1.
        let hash = PasswordHash::try_from(
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc".to_owned(),
        )
        .unwrap();
        assert!(hash.verify(&Password::presented(b"password").unwrap(), &mut Workspace::default()));
    }

    #[test]
    fn absurd_costs_are_refused() {
        for text in [
            "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$x",
            "",
        ] {
            assert!(PasswordHash::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
