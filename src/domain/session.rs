//! Sessions: what a browser holds, what is stored of it, and when it ends.
//!
//! A *portal session* begins when somebody signs in, and stays on the portal's host. Each protected host gets a *check
//! session* below it, by a one-time *code*. All of one sign-in are a family: its id is the session's public name, and the
//! hash tag of its records. A browser holds `<id><secret>`; the store holds SHA-256 of the secret.

use std::{fmt, net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    account::{Account, AccountKind, Format},
    decision::Reason,
    id::{AccountId, SHORT_ID_LEN, short_id},
    key::{Digest, short},
    time::Timestamp,
};

const SECRET_LEN: usize = 32;
/// 32 bytes in base64url without padding.
const SECRET_CHARS: usize = 43;

short_id!(
    /// The public name of a session and of its family. Lists and identity headers show it.
    SessionId,
    "session_id_malformed",
    "a session id is twelve letters and digits"
);

/// 256 random bits. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; SECRET_LEN]);

impl Secret {
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; SECRET_LEN];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// 43 characters of base64url, or nothing.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; SECRET_LEN];
        let right = text.len() == SECRET_CHARS && URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(SECRET_LEN);
        right.then_some(Self(bytes))
    }

    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What may be stored or shown in its place: SHA-256, so that a change of the server key ends no session.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.0)
    }

    #[must_use]
    pub fn expose(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What proves a session, a check session or a code: which family, and the secret. As text it is always 55 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSecret {
    pub session: SessionId,
    pub secret: Secret,
}

impl SessionSecret {
    /// A new secret in the family.
    pub fn generate(session: SessionId, rng: &mut impl CryptoRng) -> Self {
        Self { session, secret: Secret::generate(rng) }
    }

    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (id, secret) = text.split_at_checked(SHORT_ID_LEN)?;
        let session = SessionId::parse(std::str::from_utf8(id).ok()?)?;
        Some(Self { session, secret: Secret::parse(secret)? })
    }

    /// For a cookie or a URL.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}{}", self.session, self.secret.to_text())
    }

    /// Constant-time.
    #[must_use]
    pub fn verifies(&self, digest: &Digest) -> bool {
        self.secret.digest().matches(digest)
    }
}

/// When sessions end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// After so much time without a request; not for sessions that are remembered.
    pub idle: Duration,
    /// So long after the sign-in, whatever happens.
    pub absolute: Duration,
    /// The same for sessions that are remembered.
    pub remember: Duration,
    /// Whether all people must have a second factor, whatever their accounts say.
    pub must_have_second_factor: bool,
}

impl SessionRules {
    /// Whether the account must have a second factor. Only people sign in.
    #[must_use]
    pub fn demand_second_factor(&self, account: &Account) -> bool {
        account.kind == AccountKind::Human && (self.must_have_second_factor || account.must_have_second_factor)
    }

    /// Whether the account's password alone lets nobody in.
    #[must_use]
    pub fn need_more_than_password(&self, account: &Account) -> bool {
        account.second_factor || self.demand_second_factor(account)
    }
}

impl Default for SessionRules {
    fn default() -> Self {
        let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
        Self { idle: hour, absolute: day / 2, remember: day * 14, must_have_second_factor: false }
    }
}

/// A portal session. Everything that is judged about the family is in here. There may be millions: what is as it mostly is
/// takes no room in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub v: Format,
    pub id: SessionId,
    pub account: AccountId,
    /// Of the portal's cookie.
    #[serde(with = "short")]
    pub secret: Digest,
    /// Of the account when the session began; see [`Account::generation`] and [`Account::session_generation`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub generation: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub session_generation: u64,
    pub created_at: Timestamp,
    /// Written at most every [`Session::touch_every`].
    pub seen_at: Timestamp,
    /// Where it was last seen, as far as it is known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub address: Option<IpAddr>,
    /// Which browser it is, in a few words for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub browser: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub remembered: bool,
    /// When the password was last given.
    pub confirmed_at: Timestamp,
    /// The password was right, and the second factor is still to be shown: until then it is good for nothing else.
    #[serde(default, skip_serializing_if = "is_default")]
    pub awaits_code: bool,
    pub version: u64,
}

/// How far somebody has come who is signing in, in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The second factor has to be shown.
    AwaitsCode,
    /// A second factor has to be set up.
    SetsUp,
    /// He is signed in.
    Whole,
}

impl Session {
    /// For so long a second factor may be shown after the password.
    pub const CODE_WITHIN: Duration = Duration::from_mins(10);
    /// For so long a password counts as just given.
    pub const CONFIRMED_FOR: Duration = Duration::from_mins(30);
    /// And so much of it must be left when something begins that needs it.
    pub const CONFIRMED_LEFT: Duration = Duration::from_mins(15);
    /// A browser's name is cut to this.
    pub const MAX_BROWSER: usize = 60;

    /// Whether the other is the same but for what is seen of it: what is done with this one may go on.
    #[must_use]
    pub fn is_unchanged(&self, other: &Self) -> bool {
        let Self { seen_at, address, version, .. } = other.clone();
        Self { seen_at, address, version, ..self.clone() } == *other
    }

    /// When it ends if nothing more is seen of it. At that very instant it has ended.
    #[must_use]
    pub fn ends_at(&self, rules: &SessionRules) -> Timestamp {
        let latest = self.ends_at_latest(rules);
        if self.remembered { latest } else { latest.min(after(self.seen_at, rules.idle)) }
    }

    /// When it ends however much is seen of it.
    #[must_use]
    pub fn ends_at_latest(&self, rules: &SessionRules) -> Timestamp {
        let whole = if self.remembered { rules.remember } else { rules.absolute };
        after(self.created_at, if self.awaits_code { whole.min(Self::CODE_WITHIN) } else { whole })
    }

    /// How long it still lives if nothing more is seen of it.
    #[must_use]
    pub fn left(&self, rules: &SessionRules, now: Timestamp) -> Duration {
        let left = self.ends_at(rules).as_millis() - now.as_millis();
        Duration::from_millis(u64::try_from(left).unwrap_or_default())
    }

    /// Whether it is alive and may act for the account.
    ///
    /// # Errors
    /// Why it may not.
    pub fn alive(&self, account: &Account, rules: &SessionRules, now: Timestamp) -> Result<(), Reason> {
        match self.stage(account, rules, now)? {
            Stage::Whole => Ok(()),
            Stage::AwaitsCode | Stage::SetsUp => Err(Reason::SecondFactorRequired),
        }
    }

    /// How far it has come, if it lives.
    ///
    /// # Errors
    /// Why it does not.
    pub fn stage(&self, account: &Account, rules: &SessionRules, now: Timestamp) -> Result<Stage, Reason> {
        // Disabling ends sessions too; as long as it lasts, it is what their people have to know.
        if self.account == account.id && account.disabled {
            return Err(Reason::AccountDisabled);
        }
        let same = self.account == account.id
            && self.generation == account.generation
            && self.session_generation == account.session_generation;
        if !same || now >= self.ends_at(rules) {
            return Err(Reason::SessionEnded);
        }
        Ok(match (self.awaits_code, account.second_factor) {
            (true, _) => Stage::AwaitsCode,
            (false, false) if rules.demand_second_factor(account) => Stage::SetsUp,
            (false, _) => Stage::Whole,
        })
    }

    /// How far the time last seen may lag behind before it is written anew: little enough that the idle end stays what it
    /// is said to be, and enough that a busy session costs next to nothing.
    #[must_use]
    pub fn touch_every(rules: &SessionRules) -> Duration {
        (rules.idle / 10).min(Duration::from_mins(5))
    }

    /// Whether the time last seen lags so far behind that it is written anew.
    #[must_use]
    pub fn is_to_be_written(&self, rules: &SessionRules, now: Timestamp) -> bool {
        self.seen_at.checked_add(Self::touch_every(rules)).is_some_and(|then| now >= then)
    }

    /// Until when a store has to keep the record as it is.
    #[must_use]
    pub fn kept_until(&self, rules: &SessionRules) -> Timestamp {
        kept_until(self.ends_at(rules))
    }

    /// How long the password counts as just given.
    #[must_use]
    pub fn confirmation_left(&self, now: Timestamp) -> Duration {
        let since = u64::try_from(now.as_millis() - self.confirmed_at.as_millis()).unwrap_or_default();
        Self::CONFIRMED_FOR.saturating_sub(Duration::from_millis(since))
    }

    /// Whether something may begin that needs the password to have been given just now.
    #[must_use]
    pub fn is_confirmed(&self, now: Timestamp) -> bool {
        self.confirmation_left(now) >= Self::CONFIRMED_LEFT
    }
}

/// Until when a store has to keep what ends then. Whether it is alive is judged and not left to the store, whose clock may be
/// another one; so there is an hour to spare.
#[must_use]
pub fn kept_until(end: Timestamp) -> Timestamp {
    after(end, Duration::from_hours(1))
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(time)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a protected host has of a session. Its record lies under the family and the host, so that there is one for each
/// host, and none of them is good at another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSession {
    pub v: Format,
    #[serde(with = "short")]
    pub secret: Digest,
    pub created_at: Timestamp,
    pub version: u64,
}

/// A one-time code, by which a browser brings its check session to a protected host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    pub v: Format,
    /// Scheme, host and port for which it was made.
    pub origin: String,
    /// SHA-256 of what the protected host has set in the browser before.
    pub nonce: Digest,
    /// Path and query that the browser wanted to see.
    pub target: String,
    pub ends_at: Timestamp,
    pub version: u64,
}

impl Code {
    pub const LIFE: Duration = Duration::from_secs(30);
}

#[cfg(test)]
mod tests {
    use super::super::id::test_rng;
    use super::*;

    const RULES: SessionRules = SessionRules {
        idle: Duration::from_hours(1),
        absolute: Duration::from_hours(12),
        remember: Duration::from_hours(24 * 14),
        must_have_second_factor: false,
    };

    fn minutes(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + minutes * 60_000)
    }

    fn session(remembered: bool, seen: i64) -> (Session, Account) {
        let account = Account::anonymous(minutes(0));
        let secret = Secret::generate(&mut test_rng());
        let session = Session {
            v: Format,
            id: SessionId::generate(&mut test_rng()),
            account: account.id.clone(),
            secret: secret.digest(),
            generation: 0,
            session_generation: 0,
            created_at: minutes(0),
            seen_at: minutes(seen),
            address: None,
            browser: None,
            remembered,
            confirmed_at: minutes(0),
            awaits_code: false,
            version: 1,
        };
        (session, account)
    }

    #[test]
    fn the_text_of_a_secret_is_read_back_and_nothing_else_is() {
        let secret = SessionSecret::generate(SessionId::generate(&mut test_rng()), &mut test_rng());
        let text = secret.to_text();
        assert_eq!(text.len(), 55);
        assert_eq!(SessionSecret::parse(text.as_bytes()), Some(secret.clone()));
        assert!(secret.verifies(&secret.secret.digest()));
        assert!(!format!("{secret:?}").contains(&text[12..]));
        let longer = format!("{text}A");
        for wrong in [&text[1..], &longer, "", &text.replace(&text[..1], "-"), &format!("{}=", &text[..54])] {
            assert_eq!(SessionSecret::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_as_it_mostly_is_takes_no_room_in_a_record() {
        let (plain, _) = session(false, 5);
        let full = Session {
            generation: 3,
            session_generation: 7,
            address: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            browser: Some("Firefox on Linux".to_owned()),
            remembered: true,
            awaits_code: true,
            ..plain.clone()
        };
        for (session, members) in [(plain, 8), (full, 14)] {
            let mut json = serde_json::to_value(&session).unwrap();
            assert_eq!((json.as_object().unwrap().len(), json["secret"].as_str().map(str::len)), (members, Some(43)), "{json}");
            assert_eq!(serde_json::from_value::<Session>(json.clone()).unwrap(), session);
            json["secret"] = "a".repeat(64).into();
            assert!(serde_json::from_value::<Session>(json).is_err());
        }
    }

    #[test]
    fn a_session_ends_at_the_very_instant() {
        for (remembered, seen, alive_at, ended_at) in
            [(false, 0, 59, 60), (false, 30, 89, 90), (false, 700, 719, 720), (true, 0, 14 * 1440 - 1, 14 * 1440)]
        {
            let (session, account) = session(remembered, seen);
            assert_eq!(session.alive(&account, &RULES, minutes(alive_at)), Ok(()));
            assert_eq!(session.alive(&account, &RULES, minutes(ended_at)), Err(Reason::SessionEnded));
        }
    }

    #[test]
    fn a_record_outlives_its_session_by_an_hour() {
        for (remembered, minute) in [(false, 30 + 120), (true, 14 * 1440 + 60)] {
            assert_eq!(session(remembered, 30).0.kept_until(&RULES), minutes(minute));
        }
        assert_eq!(kept_until(minutes(720)), minutes(780));
    }

    #[test]
    fn a_session_ends_with_its_generation_and_not_with_another_account() {
        let (session, account) = session(false, 0);
        let later = Account { generation: 1, ..account.clone() };
        let new_password = Account { session_generation: 1, ..account.clone() };
        let disabled = Account { disabled: true, ..account };
        assert_eq!(session.alive(&later, &RULES, minutes(1)), Err(Reason::SessionEnded));
        assert_eq!(session.alive(&new_password, &RULES, minutes(1)), Err(Reason::SessionEnded));
        assert_eq!(session.alive(&disabled, &RULES, minutes(1)), Err(Reason::AccountDisabled));
    }

    #[test]
    fn a_password_counts_for_half_an_hour_and_must_have_half_of_it_left() {
        let (session, _) = session(false, 0);
        assert_eq!([14, 15, 16, 31].map(|at| session.is_confirmed(minutes(at))), [true, true, false, false]);
        assert_eq!(session.confirmation_left(minutes(31)), Duration::ZERO);
    }
}
