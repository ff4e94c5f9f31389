//! `keygate token revoke`: which tokens, and what was done to them.

use clap::{ArgGroup, Args};
use serde::Deserialize;
use serde_json::json;

use super::{Failure, Session, Waiting, in_order, table};
use crate::{
    api::dto::TokenView,
    cli::{account, client::Call, output::Progress},
    domain::{time::parse_duration, token::TokenState},
};

const FILTERS: [&str; 4] = ["account", "older_than", "unused", "name"];

#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["id"]).args(FILTERS))]
pub(in crate::cli) struct Arguments {
    /// The token's id, or the token itself
    #[arg(value_parser = super::id_of, conflicts_with_all = FILTERS)]
    id: Option<String>,
    /// Every token and session of this account; with filters, those of its tokens that they find
    #[arg(long, value_name = "LOGIN")]
    account: Option<String>,
    /// Every token that was made longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<String>,
    /// Every token that was not used for this time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    unused: Option<String>,
    /// Every token of this name; `*` stands for any text
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Leave in force what was made by the token, or by those of the account
    #[arg(long, conflicts_with_all = ["older_than", "unused", "name"])]
    keep_minted: bool,
    /// Why, for whoever looks at the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only list the tokens that would be revoked
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What one request has revoked, and where the next goes on.
#[derive(Deserialize)]
struct Part {
    revoked: Vec<TokenView>,
    next: Option<String>,
}

impl Arguments {
    pub async fn run(self, session: &Session) -> Result<(), Failure> {
        if let Some(id) = &self.id {
            let mut query = self.waiting.query().to_vec();
            query.extend(self.keep_minted.then_some(("keep_minted", "true")));
            query.extend(self.reason.as_deref().map(|reason| ("reason", reason)));
            let token: TokenView = session.client.call(Call::delete(&["tokens", id]).query(&query)).await?;
            session.output.done(&token, &format!("revoked token {id} of `{}`", token.account));
            return Ok(());
        }
        let filtered = self.older_than.is_some() || self.unused.is_some() || self.name.is_some();
        match &self.account {
            Some(login) if !filtered && self.dry_run => {
                let mut tokens: Vec<TokenView> = session.client.list(&["tokens"], &[("account", login)]).await?;
                tokens.retain(|token| token.state == TokenState::Active);
                in_order(&mut tokens);
                table(session, &tokens);
                Ok(())
            }
            Some(login) if !filtered => {
                let how = json!({ "reason": self.reason, "keep_minted": self.keep_minted });
                account::revoke_all(session, login, how, self.waiting).await
            }
            _ => self.revoke_found(session).await,
        }
    }

    /// The service finds and revokes, a part at each request, so that none of them takes long. Only in the end, with the
    /// last part once more, it is waited until all of it holds everywhere.
    async fn revoke_found(&self, session: &Session) -> Result<(), Failure> {
        let mut found: Vec<TokenView> = Vec::new();
        let mut cursor: Option<String> = None;
        let mut progress = Progress::new(if self.dry_run { "tokens found" } else { "tokens revoked" });
        loop {
            let part = self.revoke_part(session, cursor.as_deref(), &[]).await?;
            found.extend(part.revoked);
            progress.at(found.len());
            if part.next.is_none() {
                break;
            }
            cursor = part.next;
        }
        if !self.dry_run && !self.waiting.query().is_empty() {
            let mut late = self.revoke_part(session, cursor.as_deref(), self.waiting.query()).await?.revoked;
            late.retain(|token| found.iter().all(|known| known.id != token.id));
            found.append(&mut late);
        }
        drop(progress);
        in_order(&mut found);
        if self.dry_run {
            table(session, &found);
        } else {
            session.output.done(&found, &format!("revoked {} token{}", found.len(), if found.len() == 1 { "" } else { "s" }));
        }
        Ok(())
    }

    async fn revoke_part(&self, session: &Session, cursor: Option<&str>, query: &[(&str, &str)]) -> Result<Part, Failure> {
        let body = json!({
            "account": self.account,
            "older_than": self.older_than,
            "unused": self.unused,
            "name": self.name,
            "reason": self.reason,
            "cursor": cursor,
            "dry_run": self.dry_run,
        });
        session.client.call(Call::post(&["tokens", "revoke"], body).query(query)).await
    }
}

/// Passed on as it is written; refused here where it is none.
pub(in crate::cli) fn duration(text: &str) -> Result<String, &'static str> {
    parse_duration(text).map(|_| text.to_owned()).ok_or("a duration is written 30s, 15m, 12h, 90d or 1y")
}
