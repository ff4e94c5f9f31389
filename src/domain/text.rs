//! Short texts that people choose: logins, names, e-mail addresses. One place for their limits and for
//! the folding by which two of them are the same.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// A value that did not pass: a stable code, the field, a sentence, and the limit that was passed, if any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    pub code: &'static str,
    pub field: &'static str,
    pub detail: String,
    pub limit: Option<u64>,
}

impl Invalid {
    #[must_use]
    pub fn new(code: &'static str, field: &'static str, detail: impl Into<String>) -> Self {
        Self { code, field, detail: detail.into(), limit: None }
    }

    #[must_use]
    pub fn over(code: &'static str, field: &'static str, limit: u64) -> Self {
        let detail = format!("{field} is longer than {limit} characters");
        Self { code, field, detail, limit: Some(limit) }
    }
}

/// NFKC, case folded, NFKC again: the form in which logins and e-mail addresses are compared
/// (Unicode Standard 3.13, "`toNFKC_Casefold`" without the ignorables).
#[must_use]
pub fn fold(text: &str) -> String {
    let composed: String = text.nfkc().collect();
    caseless::default_case_fold_str(&composed).nfkc().collect()
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

fn length(text: &str) -> u64 {
    text.chars().count() as u64
}

/// The name an account logs in with. No white space, no `:` (HTTP Basic, RFC 7617, ends it there), no
/// `,` (several identities in one header), nothing that cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Login(String);

impl Login {
    pub const MAX_CHARS: u64 = 100;

    /// # Errors
    /// When the text is empty, too long, or has characters a login cannot have.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("login_empty", "login", "a login has at least one character"));
        }
        if length(text) > Self::MAX_CHARS {
            return Err(Invalid::over("login_too_long", "login", Self::MAX_CHARS));
        }
        let refused = |c: char| c.is_whitespace() || matches!(c, ':' | ',' | '/' | '\\' | '"' | '<' | '>');
        if has_control(text) || text.contains(refused) {
            let detail = "a login has no white space, control characters or any of : , / \\ \" < >";
            return Err(Invalid::new("login_characters", "login", detail));
        }
        if matches!(text, "." | "..") {
            return Err(Invalid::new("login_characters", "login", "a login of dots cannot be named in a URL"));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which this login is unique.
    #[must_use]
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address as far as we care: something, one `@`, something; at most 254 bytes (RFC 5321 4.5.3.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    pub const MAX_CHARS: u64 = 254;

    /// # Errors
    /// When it is not one local part, one `@` and one domain, or is too long.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() as u64 > Self::MAX_CHARS {
            return Err(Invalid::over("email_too_long", "email", Self::MAX_CHARS));
        }
        let well_formed = match text.split_once('@') {
            Some((local, domain)) => !local.is_empty() && !domain.is_empty() && !domain.contains('@'),
            None => false,
        };
        let refused = |c: char| c.is_whitespace() || matches!(c, ',' | ':' | '"' | '<' | '>' | '(' | ')' | '\\');
        if !well_formed || has_control(text) || text.contains(refused) {
            return Err(Invalid::new("email_malformed", "email", "an e-mail address is written name@host"));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

/// A text for people: the name of an account, site or token, or a device. One line, 1 to 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    pub const MAX_CHARS: u64 = 100;

    /// `field` and `codes` (empty, too long, characters) name the place for the error.
    ///
    /// # Errors
    /// When the text is blank, too long, or holds control characters.
    pub fn parse(text: &str, field: &'static str, codes: [&'static str; 3]) -> Result<Self, Invalid> {
        if length(text) > Self::MAX_CHARS {
            return Err(Invalid::over(codes[1], field, Self::MAX_CHARS));
        }
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::new(codes[0], field, format!("{field} must not be empty")));
        }
        if has_control(text) {
            return Err(Invalid::new(codes[2], field, format!("{field} must not hold control characters")));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! string_in_serde {
    ($type:ident, $parse:expr) => {
        impl TryFrom<String> for $type {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                $parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }
    };
}
string_in_serde!(Login, Login::parse);
string_in_serde!(Email, Email::parse);
string_in_serde!(Label, |text: &str| Label::parse(text, "label", ["label_empty", "label_too_long", "label_characters"]));

/// `text` with every control character shown as `\u{…}`, for messages that quote what came from outside.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if has_control(text) { Cow::Owned(text.escape_debug().to_string()) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_that_look_the_same_are_the_same() {
        for (a, b) in [("Vera", "vera"), ("STRASSE", "straße"), ("ｖera", "vera"), ("ﬁx", "FIX")] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("vera"), fold("vera1"));
    }

    #[test]
    fn logins_refuse_what_would_break_a_header_or_basic() {
        for bad in ["", "a b", "a:b", "a\nb", "a,b", "a\u{202e}b", "a\u{7f}", "..", "."] {
            assert!(Login::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Login::parse(&"x".repeat(101)).is_err());
        assert!(Login::parse("ада@example.com").is_ok());
    }

    #[test]
    fn an_address_has_one_at_sign() {
        assert!(Email::parse("a@b").is_ok());
        for bad in ["a", "@b", "a@", "a@b@c", "a b@c", "a@b,c@d"] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
    }
}
