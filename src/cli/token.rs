//! `keygate token`: what API clients hold.

pub(super) mod choose;
mod create;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Failure, Session, Waiting,
    client::Call,
    output::{note, or_dash},
};
use crate::{
    api::dto::TokenView,
    directory::{Sort, TokenSort},
    domain::{text::Label, token::TokenState},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token; it is the only thing on standard output, and shown this once
    #[command(
        long_about = "\
Make a token. It is the only thing on standard output, and shown this once; only its digest is kept.

Without --access it may do what its account may; with it at most that. Without --from it may come from any network, \
without --scope it passes rules of any scope. The management API takes only tokens that name the scope `manage`.",
        after_help = "\
Examples:
  keygate token create ci --name 'nightly job' --expires 90d > token.txt
  keygate token create vera --name laptop --access view --from 192.0.2.0/24
  keygate token create ci --name deploy --access shop=write --access blog=view --secure-only
  keygate token create vera --name admin-script --scope manage --expires 12h"
    )]
    Create(create::Arguments),
    /// List tokens, all or of one account
    #[command(after_help = "\
Examples:
  keygate token list
  keygate token list ci
  keygate token list --expiring 14d
  keygate token list --unused 90d
  keygate token list --sort -used")]
    List {
        /// Only those of this account
        login: Option<String>,
        /// Only tokens that will end within this time
        #[arg(long, value_name = "DURATION", value_parser = choose::duration)]
        expiring: Option<String>,
        /// Only tokens in force that were not used for this time
        #[arg(long, value_name = "DURATION", value_parser = choose::duration)]
        unused: Option<String>,
        /// Only tokens of this name; `*` stands for any text
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Only tokens in this state
        #[arg(long, value_parser = ["active", "expired", "revoked", "superseded"])]
        state: Option<String>,
        /// Only tokens that this account, or control:UID, has made
        #[arg(long, value_name = "LOGIN")]
        creator: Option<String>,
        /// In this order, with a - before it from the end: created, name, expires or used; else by account
        #[arg(long, value_name = "ORDER", value_parser = order, allow_hyphen_values = true)]
        sort: Option<String>,
    },
    /// Show one token's record
    Show {
        /// The token's id, or the token itself
        #[arg(value_parser = id_of)]
        id: String,
    },
    /// Revoke tokens: one, or all that the filters find
    #[command(
        long_about = "\
Revoke tokens, for good: one by its id, all of an account, or all that the filters find. Several filters find the \
tokens that each of them finds. A revoked token stays in the lists.

One that is revoked by its id takes with it what was made by it. --account alone ends every token and session of the \
account in one write.",
        after_help = "\
Examples:
  keygate token revoke AbCdEfGh0123
  keygate token revoke --account ci
  keygate token revoke --older-than 1y
  keygate token revoke --account ci --unused 90d --dry-run
  keygate token revoke --name 'nightly *'"
    )]
    Revoke(choose::Arguments),
    /// Make a successor of a token with the same rights
    #[command(
        long_about = "\
Make a successor of a token with the same rights and the same end. The successor is the only thing on standard \
output. The old token lives on until the grace is over; without --grace it is dead at once. Its use after that is \
reported as a leak.",
        after_help = "\
Examples:
  keygate token rotate AbCdEfGh0123
  keygate token rotate AbCdEfGh0123 --grace 1h > token.txt"
    )]
    Rotate {
        /// The token's id, or the token itself
        #[arg(value_parser = id_of)]
        id: String,
        /// How long the old token lives on
        #[arg(long, value_name = "DURATION", value_parser = choose::duration)]
        grace: Option<String>,
        #[command(flatten)]
        waiting: Waiting,
    },
}

/// The answer to a creation or rotation. It goes straight to standard output, and prints itself nowhere else.
#[derive(Serialize, Deserialize)]
struct Made {
    token: String,
    record: TokenView,
}

impl Command {
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        match self {
            Self::Create(arguments) => arguments.run(&session).await,
            Self::List { login, expiring, unused, name, state, creator, sort } => {
                let filters = [("account", login), ("expiring", expiring), ("unused", unused), ("name", name)];
                let others = [("state", state), ("creator", creator), ("sort", sort)];
                list(&session, &[filters.as_slice(), &others].concat()).await
            }
            Self::Show { id } => show(&session, &id).await,
            Self::Revoke(arguments) => arguments.run(&session).await,
            Self::Rotate { id, grace, waiting } => {
                let mut body = Map::new();
                body.extend(grace.map(|grace| ("grace".to_owned(), json!(grace))));
                let path = ["tokens", id.as_str(), "rotate"];
                let call = Call::post(&path, Value::Object(body)).query(waiting.query());
                let made: Made = session.client.call(call).await?;
                present(&session, &made);
                Ok(())
            }
        }
    }
}

/// Who has a token at hand may give it instead of its id; no more than the id is sent on, or shown.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a value parser")]
fn id_of(text: &str) -> Result<String, std::convert::Infallible> {
    let body = text.rsplit('_').next().unwrap_or_default();
    let is_token = text.contains('_') && body.len() == 50 && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Ok(if is_token { body[..12].to_owned() } else { text.to_owned() })
}

/// Passed on as it is written; refused here where it is none.
fn order(text: &str) -> Result<String, &'static str> {
    Sort::<TokenSort>::parse(text)
        .map(|_| text.to_owned())
        .ok_or("an order is created, name, expires or used, or one of them after a -")
}

fn present(session: &Session, made: &Made) {
    session.output.token(made, &made.token);
    if !session.output.json {
        note(&format!("token {} of `{}`; it is shown this once", made.record.id, made.record.account));
    }
}

async fn list(session: &Session, filters: &[(&str, Option<String>)]) -> Result<(), Failure> {
    let query: Vec<_> = filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let mut tokens: Vec<TokenView> = session.client.list(&["tokens"], &query).await?;
    if query.iter().all(|(name, _)| *name != "sort") {
        in_order(&mut tokens);
    }
    table(session, &tokens);
    Ok(())
}

/// By account, the oldest first; by their ids, which are random, nobody finds anything.
fn in_order(tokens: &mut [TokenView]) {
    tokens.sort_by(|a, b| (&a.account, a.created_at, &a.id).cmp(&(&b.account, b.created_at, &b.id)));
}

fn table(session: &Session, tokens: &[TokenView]) {
    let columns = ["ID", "ACCOUNT", "NAME", "ACCESS", "STATE", "EXPIRES", "LAST USED", "CREATED", "BY"];
    session.output.list(tokens, &columns, |token| {
        vec![
            token.id.to_string(),
            token.account.to_string(),
            token.name.as_str().to_owned(),
            access(token),
            state(token),
            or_dash(token.expires_at),
            last_used(token),
            token.created_at.to_string(),
            token.created_by.clone(),
        ]
    });
}

fn last_used(token: &TokenView) -> String {
    or_dash(token.last_used.as_ref().map(|last| match &last.address {
        Some(address) => format!("{} from {address}", last.at),
        None => last.at.to_string(),
    }))
}

async fn show(session: &Session, id: &str) -> Result<(), Failure> {
    let token: TokenView = session.client.call(Call::get(&["tokens", id])).await?;
    let listed = |list: Vec<String>| if list.is_empty() { "any".to_owned() } else { list.join(", ") };
    let fields = [
        ("id", token.id.to_string()),
        ("account", format!("{} ({})", token.account, token.kind)),
        ("name", token.name.as_str().to_owned()),
        ("device", or_dash(token.device.as_ref().map(Label::as_str))),
        ("state", state(&token)),
        ("access", access(&token)),
        ("scopes", listed(token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect())),
        ("networks", listed(token.networks.iter().map(ToString::to_string).collect())),
        ("secure only", if token.secure_only { "yes" } else { "no" }.to_owned()),
        ("system", if token.system { "yes" } else { "no" }.to_owned()),
        ("created", format!("{} by {}", token.created_at, token.created_by)),
        ("made with", or_dash(token.created_with.as_ref())),
        ("expires", or_dash(token.expires_at)),
        ("last used", last_used(&token)),
        ("revoked", revoked(&token)),
        ("superseded by", or_dash(token.superseded_by.as_ref())),
        ("version", token.version.to_string()),
    ];
    session.output.object(&token, &fields);
    Ok(())
}

fn revoked(token: &TokenView) -> String {
    let by = |at| format!("{at} by {}", token.revoked_by.as_deref().unwrap_or("-"));
    let because = token.revoked_because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    token.revoked_at.map_or_else(|| "-".to_owned(), |at| by(at) + &because)
}

/// What the token itself says; its account may have less.
fn access(token: &TokenView) -> String {
    match &token.levels {
        None => "as its account".to_owned(),
        Some(levels) => {
            let level = |(site, level): (&String, _)| if site == "*" { format!("{level}") } else { format!("{site}={level}") };
            levels.iter().map(level).collect::<Vec<_>>().join(",")
        }
    }
}

fn state(token: &TokenView) -> String {
    match token.state {
        TokenState::Active => "active",
        TokenState::Expired => "expired",
        TokenState::Revoked => "revoked",
        TokenState::Superseded => "superseded",
    }
    .to_owned()
}
