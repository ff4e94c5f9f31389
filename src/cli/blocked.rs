//! `keygate blocked`: who may not try for a while, because too many attempts have failed.

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Session, client::Call};
use crate::{api::dto::BlockedView, domain::text::printable};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List who is blocked, since when, and until when
    List,
    /// Lift all blocks of an address or a login, and forget its failures
    #[command(after_help = "\
Examples:
  keygate blocked lift 203.0.113.7
  keygate blocked lift 2001:db8:1:2::/64
  keygate blocked lift vera")]
    Lift {
        /// An address, a network as the list names it, or a login
        value: String,
    },
}

impl Command {
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::List => {
                let blocked: Vec<BlockedView> = client.list(&["blocked"], &[]).await?;
                output.list(&blocked, &["SUBJECT", "VALUE", "OF", "FAILURES", "SINCE", "UNTIL"], |blocked| {
                    let BlockedView { subject, value, of, failures, since, until } = blocked;
                    vec![
                        printable(subject).into_owned(),
                        printable(value).into_owned(),
                        printable(of).into_owned(),
                        failures.to_string(),
                        since.to_string(),
                        until.to_string(),
                    ]
                });
            }
            Self::Lift { value } => {
                client.tell(Call::delete(&["blocked", &value])).await?;
                output.done(&json!({ "lifted": value }), &format!("lifted what blocked `{value}`"));
            }
        }
        Ok(())
    }
}
