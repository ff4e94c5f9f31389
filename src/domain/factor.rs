//! Second factors: what somebody shows besides his password, and the codes for when he has lost it.
//!
//! A record for each account that has any: its *factors*, each of a kind, and its *recovery codes*. A code of an
//! authenticator app (TOTP, RFC 6238) is accepted once, a recovery code is gone when it is used: both are changes of the
//! record, so of two that show the same code one is refused. Knows no store, no clock and no session.

use std::fmt;

use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{
    account::Format,
    id::{AccountId, short_id},
    key::{Digest, KeyId, ServerKeys, short},
    seal::Sealed,
    text::Label,
    time::Timestamp,
};

short_id!(
    /// The public name of a factor.
    FactorId,
    "factor_id_malformed",
    "a factor id is twelve letters and digits"
);

/// Everything that the account can show besides its password. There is a factor in it, or there is no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    pub v: Format,
    pub account: AccountId,
    pub factors: Vec<Factor>,
    /// Those that are left.
    pub recovery: Vec<RecoveryDigest>,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    pub id: FactorId,
    /// For its owner, who may have several.
    pub name: Label,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    #[serde(flatten)]
    pub kind: FactorKind,
}

/// What a factor is, and what it is proven by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FactorKind {
    /// An authenticator app.
    Totp {
        secret: Sealed,
        /// Of the last code that was accepted. It and those before it are accepted no more.
        step: u64,
    },
}

impl FactorKind {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Totp { .. } => "totp",
        }
    }
}

/// What is stored of a recovery code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryDigest {
    key: KeyId,
    #[serde(with = "short")]
    digest: Digest,
}

/// By what somebody has shown that it is him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Factor(FactorId),
    RecoveryCode,
}

impl Proof {
    /// For the trail.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Factor(_) => "totp",
            Self::RecoveryCode => "recovery_code",
        }
    }
}

impl Factors {
    /// How many factors an account may have.
    pub const MOST: usize = 10;
    /// How many recovery codes are made at a time.
    pub const RECOVERY_CODES: usize = 10;

    /// What the record becomes by this code, and by what it is good; `None` when it is not. Whoever writes the new record
    /// in the place of exactly this one has accepted the code.
    pub fn accept(
        &self,
        code: &PresentedCode,
        keys: &ServerKeys,
        now: Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Option<(Self, Proof)> {
        let mut accepted = self.clone();
        accepted.version += 1;
        match code {
            PresentedCode::Totp(code) => {
                let factor = accepted.factors.iter_mut().find_map(|factor| {
                    let FactorKind::Totp { secret, step } = &mut factor.kind;
                    let opened = TotpSecret::open(keys, &self.account, &factor.id, secret)?;
                    *step = opened.step_of(code, now).filter(|found| *found > *step)?;
                    // Under the key that seals now, so that an old one can be put away one day.
                    *secret = opened.seal(keys, &self.account, &factor.id, rng);
                    Some(factor)
                })?;
                factor.used_at = Some(now);
                let proof = Proof::Factor(factor.id.clone());
                Some((accepted, proof))
            }
            PresentedCode::Recovery(code) => {
                let place = self.recovery.iter().position(|known| code.verifies(known, &self.account, keys))?;
                accepted.recovery.remove(place);
                Some((accepted, Proof::RecoveryCode))
            }
        }
    }

    /// Replaces all recovery codes. The new ones are shown once.
    pub fn renew_recovery(&mut self, keys: &ServerKeys, rng: &mut impl CryptoRng) -> Vec<RecoveryCode> {
        let codes: Vec<_> = (0..Self::RECOVERY_CODES).map(|_| RecoveryCode::generate(rng)).collect();
        self.recovery = codes.iter().map(|code| code.digest(&self.account, keys)).collect();
        codes
    }
}

/// What somebody typed where a code is asked for.
#[derive(Clone, Debug)]
pub enum PresentedCode {
    Totp(TotpCode),
    Recovery(RecoveryCode),
}

impl PresentedCode {
    /// Reads a code as people write it, with blanks and hyphens; `None` for what is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect());
        TotpCode::parse(&plain).map(Self::Totp).or_else(|| RecoveryCode::parse(&plain).map(Self::Recovery))
    }
}

/// Six digits. Never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TotpCode(String);

impl TotpCode {
    fn parse(text: &str) -> Option<Self> {
        (text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpCode(…)")
    }
}

/// What an authenticator app makes its codes of: 160 random bits. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TotpSecret([u8; 20]);

impl TotpSecret {
    /// Seconds for which a code is shown.
    const STEP: u64 = 30;

    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 20];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// As people type it: 32 characters of base32.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(totp_rs::Secret::new_stack(self.0).to_base32())
    }

    /// What the picture says that authenticator apps read. `issuer` is the name of the place that the code is for; no blanks
    /// are in either.
    #[must_use]
    pub fn uri(&self, issuer: &str, login: &str) -> Zeroizing<String> {
        let [issuer, login] = [issuer, login].map(|text| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
        let (secret, step) = (self.to_base32(), Self::STEP);
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{login}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period={step}",
            *secret
        ))
    }

    /// Sealed for its place in the record.
    pub fn seal(&self, keys: &ServerKeys, account: &AccountId, id: &FactorId, rng: &mut impl CryptoRng) -> Sealed {
        keys.seal(&Self::place(account, id), &self.0, rng)
    }

    fn open(keys: &ServerKeys, account: &AccountId, id: &FactorId, sealed: &Sealed) -> Option<Self> {
        Self::from_bytes(&keys.open(&Self::place(account, id), sealed)?)
    }

    fn place<'p>(account: &'p AccountId, id: &'p FactorId) -> [&'p [u8]; 3] {
        [b"totp", account.as_str().as_bytes(), id.as_str().as_bytes()]
    }

    /// Sealed for whoever sets it up, who brings it back with the first code: for his session as it is now.
    pub fn seal_for_setup(&self, keys: &ServerKeys, account: &AccountId, session: &Digest, rng: &mut impl CryptoRng) -> Sealed {
        keys.seal(&[b"totp-setup", account.as_str().as_bytes(), session.to_hex().as_bytes()], &self.0, rng)
    }

    /// Reads what [`Self::seal_for_setup`] has sealed for the same session.
    #[must_use]
    pub fn open_for_setup(keys: &ServerKeys, account: &AccountId, session: &Digest, sealed: &Sealed) -> Option<Self> {
        let session = session.to_hex();
        Self::from_bytes(&keys.open(&[b"totp-setup", account.as_str().as_bytes(), session.as_bytes()], sealed)?)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Which step the code is of: the one that is now, or one beside it, as clocks differ. The latest, should it be of two.
    #[must_use]
    pub fn step_of(&self, code: &TotpCode, now: Timestamp) -> Option<u64> {
        let totp = totp_rs::Builder::new()
            .with_secret(totp_rs::Secret::new_stack(self.0))
            .with_step_duration(Self::STEP)
            .with_skew(0)
            .build_noncompliant();
        let now = u64::try_from(now.as_millis()).unwrap_or_default() / 1000 / Self::STEP;
        let steps = [now + 1, now, now.saturating_sub(1)];
        steps.into_iter().find(|step| totp.check(&code.0, step * Self::STEP).is_some())
    }
}

#[cfg(test)]
impl TotpSecret {
    /// What an authenticator app shows, so many steps from now.
    #[must_use]
    pub fn shown(&self, now: Timestamp, steps: i64) -> String {
        let time = u64::try_from(now.as_millis() / 1000 + 30 * steps).unwrap_or_default();
        totp_rs::Builder::new().with_secret(totp_rs::Secret::new_stack(self.0)).build_noncompliant().generate(time).to_string()
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// 80 random bits that stand for a factor once. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryCode(String);

impl RecoveryCode {
    /// Crockford's, whose letters are not mistaken for digits.
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    const CHARS: usize = 16;

    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; Self::CHARS]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes.iter().map(|byte| char::from(Self::ALPHABET[usize::from(byte % 32)])).collect())
    }

    fn parse(text: &str) -> Option<Self> {
        let read = |c: char| match c.to_ascii_lowercase() {
            'o' => Some('0'),
            'i' | 'l' => Some('1'),
            c => u8::try_from(c).is_ok_and(|byte| Self::ALPHABET.contains(&byte)).then_some(c),
        };
        (text.len() == Self::CHARS).then(|| text.chars().map(read).collect::<Option<String>>().map(Self)).flatten()
    }

    /// As people read it: four by four.
    #[must_use]
    pub fn to_text(&self) -> String {
        let groups: Vec<_> = (0..Self::CHARS).step_by(4).map(|at| &self.0[at..at + 4]).collect();
        groups.join("-")
    }

    fn parts<'c>(&'c self, account: &'c AccountId) -> [&'c [u8]; 4] {
        [b"kg-recovery-1", account.as_str().as_bytes(), b"\0", self.0.as_bytes()]
    }

    fn digest(&self, account: &AccountId, keys: &ServerKeys) -> RecoveryDigest {
        let (key, digest) = keys.digest_to_mint(&self.parts(account));
        RecoveryDigest { key, digest }
    }

    fn verifies(&self, known: &RecoveryDigest, account: &AccountId, keys: &ServerKeys) -> bool {
        keys.digest(&known.key, &self.parts(account)).is_some_and(|digest| digest.matches(&known.digest))
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests;
