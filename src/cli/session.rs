//! `keygate session`: where people are signed in.

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Session, Waiting, client::Call, output::or_dash};
use crate::api::dto::SessionView;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the sessions that are open, all or of one account
    #[command(after_help = "\
Examples:
  keygate session list
  keygate session list vera")]
    List {
        /// Only those of this account
        login: Option<String>,
    },
    /// End a session: its browser is signed out, at the portal and everywhere else
    #[command(
        long_about = "\
End a session: its browser is signed out, at the portal and everywhere else. `keygate token revoke --account LOGIN` ends \
every token and session of an account.",
        after_help = "\
Examples:
  keygate session revoke ZyXwVuTs9876"
    )]
    Revoke {
        /// The session's id
        id: String,
        #[command(flatten)]
        waiting: Waiting,
    },
}

impl Command {
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::List { login } => {
                let query: Vec<_> = login.as_deref().map(|login| ("account", login)).into_iter().collect();
                let mut sessions: Vec<SessionView> = client.list(&["sessions"], &query).await?;
                sessions.sort_by(|a, b| (&a.account, a.created_at, &a.id).cmp(&(&b.account, b.created_at, &b.id)));
                let columns = ["ID", "ACCOUNT", "BROWSER", "LAST SEEN", "SINCE", "EXPIRES", "STATE"];
                output.list(&sessions, &columns, |session| {
                    let seen = match session.address {
                        Some(address) => format!("{} from {address}", session.last_seen),
                        None => session.last_seen.to_string(),
                    };
                    vec![
                        session.id.to_string(),
                        session.account.to_string(),
                        or_dash(session.browser.as_ref()),
                        seen,
                        session.created_at.to_string(),
                        session.expires_at.to_string(),
                        if session.awaits_code { "waits for a code" } else { "signed in" }.to_owned(),
                    ]
                });
            }
            Self::Revoke { id, waiting } => {
                client.tell(Call::delete(&["sessions", &id]).query(waiting.query())).await?;
                output.done(&json!({ "deleted": id }), &format!("ended session `{id}`"));
            }
        }
        Ok(())
    }
}
