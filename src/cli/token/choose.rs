//! `keygate token revoke`, and which tokens a filter finds.

use std::time::Duration;

use clap::Args;

use super::{Failure, Session, Waiting, tokens};
use crate::{
    api::dto::TokenView,
    cli::{account, client::Call},
    clock::{Clock, SystemClock},
    domain::{
        time::{Timestamp, parse_duration},
        token::TokenState,
    },
};

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["id", "account", "older_than", "unused", "name"])]
pub(in crate::cli) struct Arguments {
    /// The token's id, or the token itself
    #[arg(value_parser = super::id_of)]
    id: Option<String>,
    /// Every token and session of this account
    #[arg(long, value_name = "LOGIN")]
    account: Option<String>,
    /// Every token that was made longer ago than this
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    #[arg(long, value_name = "DURATION", hide = true)]
    unused: Option<String>,
    /// Every token of this name; `*` stands for any text
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Arguments {
    pub async fn run(self, session: &Session) -> Result<(), Failure> {
        if self.unused.is_some() {
            return Err(Failure::not_available("--unused"));
        }
        if let Some(id) = &self.id {
            let token = revoke(session, id, self.waiting).await?;
            session.output.done(&token, &format!("revoked token {id} of `{}`", token.account));
            return Ok(());
        }
        if let Some(login) = &self.account {
            return account::revoke_all(session, login, self.waiting).await;
        }
        let age = self.older_than.as_deref().map(duration).transpose()?;
        let now = SystemClock.now();
        let chosen = tokens(session, None).await?.into_iter().filter(|token| {
            token.state != TokenState::Revoked
                && age.is_none_or(|age| token.created_at.checked_add(age).is_some_and(|end| end <= now))
                && self.name.as_deref().is_none_or(|pattern| is_like(token.name.as_str(), pattern))
        });
        let mut revoked = Vec::new();
        for token in chosen {
            revoked.push(revoke(session, token.id.as_str(), self.waiting).await?);
        }
        session.output.done(&revoked, &format!("revoked {} token{}", revoked.len(), if revoked.len() == 1 { "" } else { "s" }));
        Ok(())
    }
}

async fn revoke(session: &Session, id: &str, waiting: Waiting) -> Result<TokenView, Failure> {
    session.client.call(Call::delete(&["tokens", id]).query(waiting.query())).await
}

/// Tokens that are good now and end within a time.
pub(super) fn expiring(tokens: Vec<TokenView>, within: Duration) -> Vec<TokenView> {
    let horizon = SystemClock.now().checked_add(within);
    let ends = |end: Timestamp| horizon.is_none_or(|horizon| end <= horizon);
    tokens.into_iter().filter(|token| token.state == TokenState::Active && token.expires_at.is_some_and(ends)).collect()
}

pub(super) fn duration(text: &str) -> Result<Duration, Failure> {
    parse_duration(text).ok_or_else(|| Failure::Usage(format!("`{text}` is no duration; write 30s, 15m, 12h, 90d or 1y")))
}

/// Whether the whole name is the pattern, in which `*` stands for any text.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (name, pattern) in
            [("a", "a"), ("nightly job", "nightly *"), ("x", "*"), ("aXbYc", "a*b*c"), ("ab", "a*b"), ("aa", "a*a")]
        {
            assert!(is_like(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("ab", "a"), ("a", "a*a"), ("x nightly", "nightly*"), ("acb", "a*b*c"), ("", "a")] {
            assert!(!is_like(name, pattern), "{name} {pattern}");
        }
    }
}
