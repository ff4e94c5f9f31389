//! `keygate account`: who can be somebody.

use std::io::Read as _;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{
    Failure, Session, Waiting,
    client::Call,
    output::{note, or_dash},
};
use crate::{
    api::dto::AccountView,
    domain::text::{Email, Label},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account
    #[command(
        long_about = "\
Make an account.

A human may be given a password and then log in. A service is an API client: it has tokens, no password, no e-mail.",
        after_help = "\
Examples:
  keygate account create ci --service
  keygate account create vera --name 'Vera B.' --email vera@example.com --password-stdin < password.txt"
    )]
    Create {
        /// What it logs in with, and is named by
        login: String,
        /// An API client instead of a person
        #[arg(long, conflicts_with_all = ["email", "password_stdin", "require_second_factor"])]
        service: bool,
        /// May do everything, on every site
        #[arg(long)]
        superuser: bool,
        /// A name for people to read
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Where the person can be written to
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Read the password from standard input; one line end after it is dropped
        #[arg(long)]
        password_stdin: bool,
        /// Must set up a second factor before anything else
        #[arg(long)]
        require_second_factor: bool,
    },
    /// List all accounts
    List,
    /// Show one account
    Show {
        /// The account
        login: String,
    },
    /// Give an account another login; what it may do and its tokens stay
    Rename {
        /// The login it has
        #[arg(value_name = "OLD")]
        login: String,
        /// The login it is to have
        new: String,
    },
    /// Refuse everything that is the account's, until it is enabled again
    Disable {
        /// The account
        login: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Undo `disable`
    Enable {
        /// The account
        login: String,
    },
    /// Delete an account and its tokens; a new one of the same login inherits nothing
    Delete {
        /// The account
        login: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Make an account stand above all sites, or not any more
    #[command(
        long_about = "\
Make an account stand above all sites, or not any more.

Made a superuser, an account loses its rows of access; they mean nothing any more, and do not come back.",
        after_help = "\
Example:
  keygate account superuser vera on"
    )]
    Superuser {
        /// The account
        login: String,
        /// Whether it is so from now on
        state: Switch,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Let an account make tokens for itself, or not any more
    Minting {
        /// The account
        login: String,
        /// Whether it is so from now on
        state: Switch,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Let an account do nothing until it has a second factor, or not any more
    #[command(
        long_about = "\
Let an account do nothing until it has a second factor, or not any more.

Until there is one, its sessions are good for nothing but setting it up, and its password for no check; its tokens are not \
touched. `portal.second_factor = \"required\"` says so for everybody.",
        after_help = "\
Example:
  keygate account require-second-factor vera on"
    )]
    RequireSecondFactor {
        /// The account
        login: String,
        /// Whether it is so from now on
        state: Switch,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Take the second factors of somebody away who has lost them
    #[command(
        long_about = "\
Take the second factors and recovery codes of somebody away who has lost them. The account's sessions end; at the next \
sign-in the password alone is asked for, and who must have a second factor sets up another one. Be sure that it is him who asks.",
        after_help = "\
Example:
  keygate account reset-second-factor vera"
    )]
    ResetSecondFactor {
        /// The account
        login: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Set a password
    #[command(
        long_about = "\
Set a password.",
        after_help = "\
Example:
  keygate account password vera --password-stdin < password.txt"
    )]
    Password {
        /// The account
        login: String,
        /// Read the password from standard input; one line end after it is dropped
        #[arg(long, required = true)]
        password_stdin: bool,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// End every token and session of an account
    RevokeAll {
        /// The account
        login: String,
        /// Leave in force what the tokens have made for others
        #[arg(long)]
        keep_minted: bool,
        /// Why, for whoever looks at the records
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        waiting: Waiting,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

impl Command {
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        match self {
            Self::Create { login, service, superuser, name, email, password_stdin, require_second_factor } => {
                let mut body = Map::new();
                body.insert("kind".to_owned(), json!(if service { "service" } else { "human" }));
                body.insert("superuser".to_owned(), json!(superuser));
                if require_second_factor {
                    body.insert("must_have_second_factor".to_owned(), json!(true));
                }
                body.extend(name.map(|name| ("name".to_owned(), json!(name))));
                body.extend(email.map(|email| ("email".to_owned(), json!(email))));
                if password_stdin {
                    body.insert("password".to_owned(), json!(*password()?));
                }
                body.insert("login".to_owned(), json!(login));
                create(&session, Value::Object(body)).await
            }
            Self::List => list(&session).await,
            Self::Show { login } => show(&session, &login).await,
            Self::Rename { login, new } => {
                let sentence = format!("`{login}` is `{new}` now");
                patch(&session, &login, json!({ "login": new }), None, &sentence).await
            }
            Self::Disable { login, waiting } => {
                patch(&session, &login, json!({ "disabled": true }), Some(waiting), &format!("disabled `{login}`")).await
            }
            Self::Enable { login } => {
                patch(&session, &login, json!({ "disabled": false }), None, &format!("enabled `{login}`")).await
            }
            Self::Delete { login, waiting } => {
                session.client.tell(Call::delete(&["accounts", &login]).query(waiting.query())).await?;
                session.output.deleted("account", &login);
                Ok(())
            }
            Self::Superuser { login, state, waiting } => {
                let on = state == Switch::On;
                let sentence = format!("`{login}` is {} superuser", if on { "a" } else { "no" });
                patch(&session, &login, json!({ "superuser": on }), Some(waiting), &sentence).await
            }
            Self::Minting { login, state, waiting } => {
                let on = state == Switch::On;
                let sentence = format!("`{login}` may {}make tokens", if on { "" } else { "not " });
                patch(&session, &login, json!({ "may_mint_tokens": on }), Some(waiting), &sentence).await
            }
            Self::RequireSecondFactor { login, state, waiting } => {
                let on = state == Switch::On;
                let sentence = format!("`{login}` {} have a second factor", if on { "must" } else { "need not" });
                patch(&session, &login, json!({ "must_have_second_factor": on }), Some(waiting), &sentence).await
            }
            Self::ResetSecondFactor { login, waiting } => {
                session.client.tell(Call::delete(&["accounts", &login, "factors"]).query(waiting.query())).await?;
                session.output.done(&json!({ "reset": login }), &format!("`{login}` has no second factor any more"));
                Ok(())
            }
            Self::Password { login, waiting, .. } => {
                let body = json!({ "password": *password()? });
                patch(&session, &login, body, Some(waiting), &format!("`{login}` has a new password")).await
            }
            Self::RevokeAll { login, keep_minted, reason, waiting } => {
                let how = json!({ "reason": reason, "keep_minted": keep_minted });
                revoke_all(&session, &login, how, waiting).await
            }
        }
    }
}

async fn create(session: &Session, body: Value) -> Result<(), Failure> {
    let account: AccountView = session.client.call(Call::post(&["accounts"], body)).await?;
    session.output.done(&account, &format!("created {} account `{}`", account.kind, account.login));
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let accounts: Vec<AccountView> = session.client.list(&["accounts"], &[]).await?;
    session.output.list(&accounts, &["LOGIN", "KIND", "NAME", "EMAIL", "FLAGS", "CREATED"], |account| {
        vec![
            account.login.to_string(),
            account.kind.to_string(),
            or_dash(account.name.as_ref().map(Label::as_str)),
            or_dash(account.email.as_ref().map(Email::as_str)),
            flags(account),
            account.created_at.to_string(),
        ]
    });
    Ok(())
}

fn flags(account: &AccountView) -> String {
    let flags = [
        (account.superuser, "superuser"),
        (account.disabled, "disabled"),
        (!account.may_mint_tokens, "no-minting"),
        (account.second_factor, "second-factor"),
        (account.must_have_second_factor, "must-have-second-factor"),
    ];
    let set: Vec<_> = flags.into_iter().filter_map(|(set, name)| set.then_some(name)).collect();
    if set.is_empty() { "-".to_owned() } else { set.join(",") }
}

async fn show(session: &Session, login: &str) -> Result<(), Failure> {
    let account: AccountView = session.client.call(Call::get(&["accounts", login])).await?;
    let fields = [
        ("login", account.login.to_string()),
        ("kind", account.kind.to_string()),
        ("name", or_dash(account.name.as_ref().map(Label::as_str))),
        ("email", or_dash(account.email.as_ref().map(Email::as_str))),
        ("flags", flags(&account)),
        ("created", account.created_at.to_string()),
        ("id", account.id.to_string()),
        ("version", account.version.to_string()),
    ];
    session.output.object(&account, &fields);
    Ok(())
}

async fn patch(session: &Session, login: &str, body: Value, waiting: Option<Waiting>, sentence: &str) -> Result<(), Failure> {
    let query = waiting.map_or(&[][..], Waiting::query);
    let account: AccountView = session.client.call(Call::patch(&["accounts", login], body).query(query)).await?;
    session.output.done(&account, sentence);
    Ok(())
}

/// `how` is the body of the request.
pub(super) async fn revoke_all(session: &Session, login: &str, how: Value, waiting: Waiting) -> Result<(), Failure> {
    let path = ["accounts", login, "revoke-all"];
    let call = Call::post(&path, how).query(waiting.query());
    let account: AccountView = session.client.call(call).await?;
    session.output.done(&account, &format!("revoked every token of `{login}`"));
    Ok(())
}

/// The password on standard input.
fn password() -> Result<Zeroizing<String>, Failure> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        note("type the password, then Enter and Ctrl-D (it is visible; better: --password-stdin < file)");
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::Usage(format!("the password cannot be read from standard input: {error}")))?;
    let end = text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(end);
    Ok(text)
}
