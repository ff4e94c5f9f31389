//! The values in requests, read from their texts: each has a limit, and its problem names the field and the limit.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Problem, dto::ListBody};
use crate::{
    directory::{Listing, Window},
    domain::{
        factor::FactorId,
        session::SessionId,
        site::SiteName,
        text::{Invalid, Login, printable},
        time::{Timestamp, parse_duration},
        token::TokenId,
    },
};

/// Characters of a duration, of a time, and of a network or an address.
pub(super) const MAX_DURATION: u64 = 24;
pub(super) const MAX_TIME: u64 = 64;
pub(super) const MAX_NETWORK: u64 = 64;
/// Of a text that is one of a few words.
pub(super) const MAX_WORD: u64 = 64;
/// Of a text that is compared with others, and not kept.
pub(super) const MAX_WANTED: u64 = 128;

/// A password on its way in: wiped when dropped, never printed.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(super) struct SecretText(pub String);

/// Where the next part of a list begins.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, max_length = 8192, pattern = "^[A-Za-z0-9_-]*$")]
pub(super) struct Cursor(String);

impl Cursor {
    const MAX_CHARS: u64 = 8192;

    fn position(&self) -> Result<String, Invalid> {
        within(&self.0, Self::MAX_CHARS, "query_invalid", "cursor")?;
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).ok();
        let position = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        position.ok_or_else(|| Invalid::new("query_invalid", "cursor", "this is no cursor of ours"))
    }
}

/// Which part of a list is wanted. In the query of each list with filters these two are members of their own: serde does
/// not refuse unknown names where one structure is flattened into another.
pub(super) fn window(limit: Option<u64>, cursor: Option<&Cursor>) -> Result<Window, Problem> {
    let most = Window::MAX_LIMIT as u64;
    let limit = match limit {
        None => Window::DEFAULT_LIMIT,
        Some(limit) if (1..=most).contains(&limit) => usize::try_from(limit).unwrap_or(Window::MAX_LIMIT),
        Some(_) => return Err(Problem::bad_query(format!("limit is 1 to {most}")).on("limit").limit(most)),
    };
    Ok(Window { after: cursor.map(Cursor::position).transpose()?, limit })
}

pub(super) fn encoded(cursor: Option<String>) -> Option<String> {
    cursor.map(|cursor| URL_SAFE_NO_PAD.encode(cursor))
}

impl<T> ListBody<T> {
    pub(super) fn of<U>(listing: Listing<U>, view: impl FnMut(U) -> T) -> Self {
        Self { items: listing.items.into_iter().map(view).collect(), next: encoded(listing.next) }
    }
}

/// Refuses a text of more characters than that.
pub(super) fn within(text: &str, limit: u64, code: &'static str, field: &'static str) -> Result<(), Invalid> {
    if text.chars().count() as u64 > limit { Err(Invalid::over(code, field, limit)) } else { Ok(()) }
}

/// A text that is looked for.
pub(super) fn wanted(text: Option<String>, field: &'static str) -> Result<Option<String>, Invalid> {
    if let Some(text) = &text {
        within(text, MAX_WANTED, "text_too_long", field)?;
    }
    Ok(text)
}

/// How a list is to be sorted. `words` are those there are.
pub(super) fn sort<T>(text: Option<&str>, parse: impl Fn(&str) -> Option<T>, words: &str) -> Result<Option<T>, Invalid> {
    let unknown = |text: &str| {
        let detail = format!("`{}` is no order; sort by {words}, with a - before it for descending", printable(text));
        Invalid::new("query_invalid", "sort", detail)
    };
    let Some(text) = text else { return Ok(None) };
    within(text, MAX_WORD, "text_too_long", "sort")?;
    parse(text).map(Some).ok_or_else(|| unknown(text))
}

/// A duration such as `90d` in a field.
pub(super) fn duration(text: &str, field: &'static str) -> Result<Duration, Invalid> {
    within(text, MAX_DURATION, "duration_too_long", field)?;
    let detail = format!("`{text}` is no duration such as 30s, 15m, 12h or 90d");
    parse_duration(text).ok_or_else(|| Invalid::new("duration_malformed", field, detail))
}

/// An RFC 3339 time in a field.
pub(super) fn time(text: &str, field: &'static str) -> Result<Timestamp, Invalid> {
    within(text, MAX_TIME, "time_too_long", field)?;
    let detail = format!("`{text}` is no RFC 3339 time such as 2030-01-31T12:00:00Z");
    Timestamp::parse(text).ok_or_else(|| Invalid::new("time_malformed", field, detail))
}

/// A text that is no login names no account.
pub(super) fn login(text: &str) -> Result<Login, Problem> {
    Login::parse(text).map_err(|_| Problem::new(404, "account_not_found", format!("there is no account `{text}`")))
}

pub(super) fn site_name(text: &str) -> Result<SiteName, Problem> {
    SiteName::parse(text).map_err(|_| Problem::new(404, "site_not_found", format!("there is no site `{text}`")))
}

/// What is no id may be a cookie, so it is not repeated.
pub(super) fn session_id(text: &str) -> Result<SessionId, Problem> {
    SessionId::parse(text).ok_or_else(|| Problem::new(404, "session_not_found", "there is no such session"))
}

/// What is no id may be a code, so it is not repeated.
pub(super) fn factor_id(text: &str) -> Result<FactorId, Problem> {
    FactorId::parse(text).ok_or_else(|| Problem::new(404, "factor_not_found", "there is no such factor"))
}

/// What is no id may be a whole token, so it is not repeated.
pub(super) fn token_id(text: &str) -> Result<TokenId, Problem> {
    let detail = "there is no such token; a token's id is the first twelve characters after `kg_u_` or `kg_s_`";
    TokenId::parse(text).ok_or_else(|| Problem::new(404, "token_not_found", detail))
}
