//! What holds for the life of tokens, what stays in the audit trail, and who is told: the sections `tokens`, `audit` and
//! `notify`.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{
    super::{
        mistake::{Noted, quoted},
        settings::{Audit, Notify},
    },
    Reader,
};
use crate::domain::{
    time::parse_duration,
    token_rules::{OnLeak, TokenRules},
};

/// Far enough for anybody, and near enough that no sum with a present time leaves what a time can be.
const LONGEST: Duration = Duration::from_hours(1000 * 365 * 24);

pub(super) fn rules(reader: &mut Reader<'_>) -> Result<TokenRules, Noted> {
    let default_expiry = reader.optional("tokens.default_expiry", span);
    let max_expiry = reader.optional("tokens.max_expiry", span);
    let must_expire = reader.boolean("tokens.must_expire");
    let warn_before = reader.text("tokens.warn_before", span);
    let unused_after = reader.text("tokens.unused_after", span);
    let revoke_unused_after = reader.optional("tokens.revoke_unused_after", span);
    let keep_ended = reader.text("tokens.keep_ended", span);
    let on_leak = reader.word("tokens.leak", &[("report", OnLeak::Report), ("revoke_family", OnLeak::RevokeFamily)]);
    if let (Ok(Some(default)), Ok(Some(max))) = (default_expiry, max_expiry) {
        refuse_above(reader, ("tokens.default_expiry", default), ("tokens.max_expiry", max));
    }
    if let (Ok(unused), Ok(Some(revoke))) = (unused_after, revoke_unused_after) {
        refuse_above(reader, ("tokens.unused_after", unused), ("tokens.revoke_unused_after", revoke));
    }
    Ok(TokenRules {
        default_expiry: default_expiry?,
        max_expiry: max_expiry?,
        must_expire: must_expire?,
        warn_before: warn_before?,
        unused_after: unused_after?,
        revoke_unused_after: revoke_unused_after?,
        keep_ended: keep_ended?,
        on_leak: on_leak?,
    })
}

/// The first may be as long as the second, and no longer.
pub(super) fn refuse_above(reader: &mut Reader<'_>, (lower, least): (&str, Duration), (upper, most): (&str, Duration)) {
    if least <= most || !reader.whole {
        return;
    }
    let (later, earlier) = reader.later(lower, upper);
    let demand = if later == lower { "not be above" } else { "not be below" };
    let bound = reader.get(earlier).and_then(|node| node.text().ok()).unwrap_or_default();
    reader.refuse(later, format!("it may {demand} `{earlier}`, which is {}", quoted(bound)));
}

pub(super) fn audit(reader: &mut Reader<'_>) -> Result<Audit, Noted> {
    let keep = reader.text("audit.keep", span);
    let refused = reader.number("audit.refused_entries", "1000 to 1000000", |value| (1_000..=1_000_000).contains(&value));
    Ok(Audit { keep: keep?, refused_entries: refused?.into() })
}

pub(super) fn notify(reader: &mut Reader<'_>) -> Result<Notify, Noted> {
    let webhook = reader.secret("notify.webhook", "notify.webhook_file")?;
    if webhook.as_ref().is_some_and(|url| !is_web_url(url.expose_secret())) {
        let key = if reader.get("notify.webhook").is_some() { "notify.webhook" } else { "notify.webhook_file" };
        return Err(reader.refuse(key, "expected a URL such as \"https://hooks.example.com/…\", with http:// or https://"));
    }
    Ok(Notify { webhook })
}

/// By the reader of whoever sends to it, so that what passes here can be sent to.
fn is_web_url(text: &str) -> bool {
    // The reader would put up with blanks at the ends.
    let bare = text.trim() == text && !text.contains(char::is_control);
    bare && reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// A duration in which tokens live: above zero.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text).filter(|span| !span.is_zero() && *span <= LONGEST);
    span.ok_or_else(|| {
        format!("expected a duration such as \"90d\" or \"1y\", above zero and at most 1000y, found {}", quoted(text))
    })
}
