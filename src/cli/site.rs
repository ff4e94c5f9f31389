//! `keygate site`: what access is given on.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{Failure, Session, Waiting, client::Call, output::or_dash};
use crate::{
    api::dto::SiteView,
    domain::{site::Host, text::Label},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a site
    #[command(
        long_about = "\
Make a site. Its id is what rules of the policy name; its hosts serve rules that find the site by the host.",
        after_help = "\
Examples:
  keygate site create shop --name 'The shop' --host shop.example.com --host www.shop.example.com
  keygate site create 1"
    )]
    Create {
        /// What rules and access name it by
        id: String,
        /// A name for people to read
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// A host that belongs to the site; may be given several times
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// List all sites
    List,
    /// Show one site
    Show {
        /// The site
        id: String,
    },
    /// Change the name of a site, or all of its hosts
    #[command(
        long_about = "\
Change the name of a site, or all of its hosts: the hosts given are the ones it has from then on. \
An empty name removes it, and so does an empty host all hosts.",
        after_help = "\
Examples:
  keygate site update shop --name 'The new shop'
  keygate site update shop --host shop.example.com --host shop.example.org
  keygate site update shop --host ''"
    )]
    Update {
        /// The site
        id: String,
        /// A name for people to read
        #[arg(long, value_name = "TEXT", required_unless_present = "hosts")]
        name: Option<String>,
        /// A host that belongs to the site; may be given several times
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Delete a site; a new one of the same id inherits no access
    Delete {
        /// The site
        id: String,
        #[command(flatten)]
        waiting: Waiting,
    },
}

impl Command {
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::Create { id, name, hosts } => {
                let body = json!({ "id": id, "name": name, "hosts": hosts });
                let site: SiteView = client.call(Call::post(&["sites"], body)).await?;
                output.done(&site, &format!("created site `{}`", site.id));
            }
            Self::List => {
                let sites: Vec<SiteView> = client.list(&["sites"], &[]).await?;
                output.list(&sites, &["ID", "NAME", "HOSTS"], |site| vec![site.id.to_string(), name_of(site), hosts_of(site)]);
            }
            Self::Show { id } => {
                let site: SiteView = client.call(Call::get(&["sites", &id])).await?;
                let fields = [
                    ("id", site.id.to_string()),
                    ("name", name_of(&site)),
                    ("hosts", hosts_of(&site)),
                    ("version", site.version.to_string()),
                ];
                output.object(&site, &fields);
            }
            Self::Update { id, name, mut hosts, waiting } => {
                let mut body = Map::new();
                body.extend(name.map(|name| ("name".to_owned(), if name.is_empty() { Value::Null } else { json!(name) })));
                if !hosts.is_empty() {
                    hosts.retain(|host| !host.is_empty());
                    body.insert("hosts".to_owned(), json!(hosts));
                }
                let path = ["sites", id.as_str()];
                let site: SiteView = client.call(Call::patch(&path, Value::Object(body)).query(waiting.query())).await?;
                output.done(&site, &format!("updated site `{id}`"));
            }
            Self::Delete { id, waiting } => {
                client.tell(Call::delete(&["sites", &id]).query(waiting.query())).await?;
                output.deleted("site", &id);
            }
        }
        Ok(())
    }
}

fn name_of(site: &SiteView) -> String {
    or_dash(site.name.as_ref().map(Label::as_str))
}

fn hosts_of(site: &SiteView) -> String {
    let hosts: Vec<_> = site.hosts.iter().map(Host::as_str).collect();
    if hosts.is_empty() { "-".to_owned() } else { hosts.join(",") }
}
