//! Guessing: whose failures are counted together, how many are borne within a window of time, and when a block ends.
//!
//! A subject is blocked while more failures than its limit lie within the window. Nothing is recorded of one that is
//! blocked, so every block decays. Knows no store and no clock.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{
    account::Format,
    factor::PresentedCode,
    text::{Email, Login, fold},
    time::Timestamp,
    trust::contains,
};

/// How many failures are borne, and of whom.
#[derive(Clone, Debug)]
pub struct GuessingRules {
    /// For so long a failure counts.
    pub window: Duration,
    /// Failed passwords from one address (one /64 in IPv6) that are still borne. `None`: any number.
    pub per_address: Option<NonZeroU32>,
    /// For one login, from wherever.
    pub per_login: Option<NonZeroU32>,
    /// Failed codes for one login, whose password was right each time.
    pub codes_per_login: Option<NonZeroU32>,
    /// Failed tokens from one address; those that are good pass all the same.
    pub tokens_per_address: Option<NonZeroU32>,
    /// These are never blocked by address.
    pub allow: Vec<IpNet>,
    /// These may not try at all; before `allow`.
    pub deny: Vec<IpNet>,
}

impl Default for GuessingRules {
    fn default() -> Self {
        Self {
            window: Duration::from_hours(1),
            per_address: NonZeroU32::new(20),
            per_login: NonZeroU32::new(60),
            codes_per_login: NonZeroU32::new(10),
            tokens_per_address: None,
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

const CODES_COUNT_FOR: Duration = Duration::from_hours(24);

/// The address is one that may not try at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

/// Where attempts come from: an IPv4 address, or the /64 that one site has of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpNet);

impl Source {
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address).into()),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & u128::MAX << 64);
                Self(Ipv6Net::new_assert(network, 64).into())
            }
        }
    }

    /// As it is written, or an address in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let address = text.strip_suffix("/64").filter(|address| address.contains(':')).unwrap_or(text);
        address.parse().ok().map(Self::of)
    }
}

/// `203.0.113.7`, `2001:db8::/64`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(network) => write!(f, "{}", network.addr()),
            IpNet::V6(network) => write!(f, "{network}"),
        }
    }
}

/// Whose failures are counted together. Passwords and tokens are counted apart: nobody is refused his token because his
/// neighbour guesses passwords.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Passwords from there, and codes of second factors.
    Address(Source),
    /// Passwords for a login, folded; whether somebody has it makes no difference.
    Login(String),
    /// Codes of second factors for a login, folded. Only who knows its password makes them fail.
    Codes(String),
    /// Tokens from there.
    TokensFrom(Source),
}

impl Subject {
    /// A text that could be somebody's login or e-mail address. Any other is nobody's, and not worth keeping: it may be a
    /// password in the wrong place.
    #[must_use]
    pub fn login(text: &str) -> Option<Self> {
        // Records are found by the folded form, which can be possible where the text is not.
        let folded = fold(text);
        let possible = [text, &folded].iter().any(|text| Login::parse(text).is_ok() || Email::parse(text).is_ok());
        possible.then_some(Self::Login(folded))
    }

    /// All that this may stand for when people name it.
    #[must_use]
    pub fn named(value: &str) -> Vec<Self> {
        let source = Source::parse(value);
        let by_address = source.into_iter().flat_map(|source| [Self::Address(source), Self::TokensFrom(source)]);
        by_address.chain(Self::login(value).into_iter().flat_map(|login| [Self::Codes(login.value()), login])).collect()
    }

    /// Unique over all subjects, for records and lists.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Address(source) => format!("address:{source}"),
            Self::Login(login) => format!("login:{login}"),
            Self::Codes(login) => format!("codes:{login}"),
            Self::TokensFrom(source) => format!("tokens:{source}"),
        }
    }

    /// Reads [`Subject::name`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.split_once(':')? {
            ("address", source) => Source::parse(source).map(Self::Address),
            ("login", login) => Some(Self::Login(login.to_owned())),
            ("codes", login) => Some(Self::Codes(login.to_owned())),
            ("tokens", source) => Source::parse(source).map(Self::TokensFrom),
            _ => None,
        }
    }

    /// By what it is counted: `address` or `login`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::TokensFrom(_) => "address",
            Self::Login(_) | Self::Codes(_) => "login",
        }
    }

    /// Which of its credentials are counted: `password`, `code` or `token`.
    #[must_use]
    pub fn of(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::Login(_) => "password",
            Self::Codes(_) => "code",
            Self::TokensFrom(_) => "token",
        }
    }

    /// The address, network or login.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Address(source) | Self::TokensFrom(source) => source.to_string(),
            Self::Login(login) | Self::Codes(login) => login.clone(),
        }
    }
}

/// When a subject has failed, as far as it still matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    pub v: Format,
    /// In the order of time.
    at: Vec<Timestamp>,
    pub version: u64,
}

/// More failures lie within the window than are borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub failures: usize,
    /// The failure that was one too many.
    pub since: Timestamp,
    /// At that very instant it has ended.
    pub until: Timestamp,
}

/// What a record of failures becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub failures: Failures,
    /// After this, none of them matters.
    pub until: Timestamp,
    /// The block that began by it.
    pub begun: Option<Block>,
}

impl GuessingRules {
    /// By whom a failed password counts.
    ///
    /// # Errors
    /// When it may not be tried at all.
    pub fn of_password(&self, address: Option<IpAddr>, login: &str) -> Result<Vec<Subject>, Denied> {
        let by_address = self.source(address)?.map(Subject::Address);
        Ok(by_address.into_iter().chain(Subject::login(login)).filter(|subject| self.limit(subject).is_some()).collect())
    }

    /// By whom a failed code of a second factor counts. A recovery code is too long to be guessed: whoever has the password,
    /// and fails with codes, does not keep its owner from using one.
    ///
    /// # Errors
    /// When it may not be tried at all.
    pub fn of_code(&self, address: Option<IpAddr>, login: &Login, code: &PresentedCode) -> Result<Vec<Subject>, Denied> {
        let by_address = self.source(address)?.map(Subject::Address);
        let by_login = matches!(code, PresentedCode::Totp(_)).then(|| Subject::Codes(login.folded()));
        let subjects = by_address.into_iter().chain(by_login);
        Ok(subjects.filter(|subject| self.limit(subject).is_some()).collect())
    }

    /// By whom a failed token counts; `None` where nobody counts them.
    ///
    /// # Errors
    /// When the address may not fail at all.
    pub fn of_token(&self, address: Option<IpAddr>) -> Result<Option<Subject>, Denied> {
        if self.tokens_per_address.is_none() {
            return Ok(None);
        }
        Ok(self.source(address)?.map(Subject::TokensFrom))
    }

    /// Where an attempt comes from; `None` where that is not known, or nobody is blocked by it.
    ///
    /// # Errors
    /// When nothing may be tried from there.
    pub fn source(&self, address: Option<IpAddr>) -> Result<Option<Source>, Denied> {
        match address {
            Some(address) if contains(&self.deny, address) => Err(Denied),
            Some(address) if contains(&self.allow, address) => Ok(None),
            address => Ok(address.map(Source::of)),
        }
    }

    /// How many failures are borne; `None` for any number.
    #[must_use]
    pub fn limit(&self, subject: &Subject) -> Option<usize> {
        let limit = match subject {
            Subject::Address(_) => self.per_address,
            Subject::Login(_) => self.per_login,
            Subject::Codes(_) => self.codes_per_login,
            Subject::TokensFrom(_) => self.tokens_per_address,
        };
        limit.and_then(|limit| usize::try_from(limit.get()).ok())
    }

    /// For how long a failure counts. There are so few codes that those of a whole day count together: ten a day find the right
    /// one of a million in decades, ten an hour in a few years.
    #[must_use]
    pub fn window_of(&self, subject: &Subject) -> Duration {
        if let Subject::Codes(_) = subject { self.window.max(CODES_COUNT_FOR) } else { self.window }
    }

    /// Whether the subject is blocked, by what is recorded of it. By an address that is never blocked, nobody is.
    #[must_use]
    pub fn block(&self, subject: &Subject, failures: &Failures, now: Timestamp) -> Option<Block> {
        let allowed = match subject {
            Subject::Address(Source(network)) | Subject::TokensFrom(Source(network)) => contains(&self.allow, network.addr()),
            Subject::Login(_) | Subject::Codes(_) => false,
        };
        failures.block(self.limit(subject).filter(|_| !allowed)?, self.window_of(subject), now)
    }

    /// Adds failures to the record of a subject. `None` when there is nothing to add: it was blocked by then, or they no
    /// longer matter.
    #[must_use]
    pub fn record(&self, subject: &Subject, old: Option<&Failures>, more: &[Timestamp]) -> Option<Recorded> {
        let (limit, window) = (self.limit(subject)?, self.window_of(subject));
        let mut failures = old.cloned().unwrap_or(Failures { v: Format, at: Vec::new(), version: 0 });
        let mut begun = None;
        let mut added = false;
        for time in more.iter().copied() {
            if failures.block(limit, window, time).is_some() {
                continue;
            }
            let place = failures.at.partition_point(|at| *at <= time);
            failures.at.insert(place, time);
            added = true;
            begun = begun.or_else(|| failures.block(limit, window, time));
        }
        let last = *failures.at.last().filter(|_| added)?;
        failures.at = failures.within(window, last).to_vec();
        failures.version += 1;
        Some(Recorded { failures, until: last.checked_add(window).unwrap_or(last), begun })
    }
}

impl Failures {
    /// How many still count.
    #[must_use]
    pub fn count(&self, window: Duration, now: Timestamp) -> usize {
        self.within(window, now).len()
    }

    fn within(&self, window: Duration, now: Timestamp) -> &[Timestamp] {
        let begin = now.as_millis().saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
        &self.at[self.at.partition_point(|at| at.as_millis() <= begin)..]
    }

    fn block(&self, limit: usize, window: Duration, now: Timestamp) -> Option<Block> {
        let within = self.within(window, now);
        let too_many = within.len().checked_sub(limit).filter(|too_many| *too_many > 0)?;
        // When so many have left the window that the rest is borne.
        let last_to_leave = within[too_many - 1];
        let until = last_to_leave.checked_add(window).unwrap_or(last_to_leave);
        Some(Block { failures: within.len(), since: within[limit], until })
    }
}

#[cfg(test)]
mod tests;
