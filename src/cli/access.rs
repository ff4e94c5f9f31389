//! `keygate access`: who may do how much on which site.

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Session, Waiting, client::Call};
use crate::api::dto::AccessView;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Give an account a level on a site, instead of the one it has
    #[command(
        long_about = "\
Give an account a level on a site, instead of the one it has: none, view, write or admin. None takes it away.

Access given to `anonymous` holds for requests without a credential, where a rule says `otherwise = \"anonymous\"`.",
        after_help = "\
Examples:
  keygate access set vera shop write
  keygate access set anonymous shop view
  keygate access set vera shop none"
    )]
    Set {
        /// The account
        login: String,
        /// The id of the site
        site: String,
        /// How much it may do there
        #[arg(value_parser = ["none", "view", "write", "admin"])]
        level: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// List who has access to what
    #[command(
        long_about = "\
List who has access to what. Superusers have every access everywhere and are not listed.",
        after_help = "\
Examples:
  keygate access list
  keygate access list vera
  keygate access list --site shop"
    )]
    List {
        /// Only what this account has
        login: Option<String>,
        /// Only what is given on this site
        #[arg(long, value_name = "ID")]
        site: Option<String>,
    },
}

impl Command {
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        match self {
            Self::Set { login, site, level, waiting } => {
                let path = ["access", login.as_str(), site.as_str()];
                let call = Call::put(&path, json!({ "level": level })).query(waiting.query());
                let row: AccessView = session.client.call(call).await?;
                session.output.done(&row, &format!("`{}` has {} access to site `{}`", row.login, adjective(&level), row.site));
            }
            Self::List { login, site } => {
                let filters = [("login", &login), ("site", &site)];
                let query: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
                let mut rows: Vec<AccessView> = session.client.list(&["access"], &query).await?;
                rows.sort_by(|a, b| (&a.login, &a.site).cmp(&(&b.login, &b.site)));
                session.output.list(&rows, &["LOGIN", "SITE", "LEVEL"], |row| {
                    vec![row.login.to_string(), row.site.to_string(), row.level.to_string()]
                });
            }
        }
        Ok(())
    }
}

fn adjective(level: &str) -> &str {
    if level == "none" { "no" } else { level }
}
