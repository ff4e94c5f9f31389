//! `keygate token create`: what a token is to be.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, Made, Session, present};
use crate::{
    cli::client::Call,
    domain::time::{Timestamp, parse_duration},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The account whose token it is
    login: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Where it is used
    #[arg(long, value_name = "TEXT")]
    device: Option<String>,
    /// At most this level everywhere, or SITE=LEVEL: at most these, and nothing elsewhere; may be given several times
    #[arg(long, value_name = "LEVEL|SITE=LEVEL")]
    access: Vec<String>,
    /// A use it serves, and no others; may be given several times
    #[arg(long = "scope", value_name = "NAME")]
    scopes: Vec<String>,
    /// When it ends: a time from now such as 90d, an RFC 3339 time, or never [default: as the service is configured]
    #[arg(long, value_name = "DURATION|TIME|never")]
    expires: Option<String>,
    /// A network it may come from; may be given several times
    #[arg(long = "from", value_name = "CIDR")]
    networks: Vec<String>,
    /// Refuse it in URLs
    #[arg(long)]
    secure_only: bool,
    /// A token of the installation: its account does not see it in lists, superusers do
    #[arg(long)]
    system: bool,
}

impl Arguments {
    pub async fn run(self, session: &Session) -> Result<(), Failure> {
        let made: Made = session.client.call(Call::post(&["tokens"], self.body()?)).await?;
        present(session, &made);
        Ok(())
    }

    fn body(self) -> Result<Value, Failure> {
        let mut body = Map::new();
        let mut put = |name: &str, value| body.insert(name.to_owned(), value);
        if let Some(levels) = levels(&self.access)? {
            put("levels", json!(levels));
        }
        if let Some(expires) = self.expires {
            if expires == "never" || parse_duration(&expires).is_some() {
                put("expires_in", json!(expires));
            } else if Timestamp::parse(&expires).is_some() {
                put("expires_at", json!(expires));
            } else {
                return Err(Failure::Usage(format!(
                    "`{expires}` is neither a duration such as 90d, nor a time such as 2030-01-31T12:00:00Z, nor `never`"
                )));
            }
        }
        put("account", json!(self.login));
        put("name", json!(self.name));
        put("device", json!(self.device));
        put("scopes", json!(self.scopes));
        put("networks", json!(self.networks));
        put("secure_only", json!(self.secure_only));
        if self.system {
            put("system", json!(true));
        }
        Ok(Value::Object(body))
    }
}

/// `*` stands for every site, as in the API.
fn levels(access: &[String]) -> Result<Option<BTreeMap<&str, &str>>, Failure> {
    let mut levels = BTreeMap::new();
    for one in access {
        let (site, level) = one.split_once('=').unwrap_or(("*", one));
        if levels.insert(site, level).is_some() {
            return Err(Failure::Usage(match site {
                "*" => "give one --access LEVEL, or --access SITE=LEVEL for each site".to_owned(),
                site => format!("the site `{site}` occurs twice in --access; give it one level"),
            }));
        }
    }
    if levels.contains_key("*") && levels.len() > 1 {
        return Err(Failure::Usage("give --access LEVEL or --access SITE=LEVEL, not both".to_owned()));
    }
    Ok((!levels.is_empty()).then_some(levels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_is_one_level_or_one_for_each_site() {
        let levels = |access: &[&str]| {
            let access: Vec<_> = access.iter().map(ToString::to_string).collect();
            levels(&access).map(|levels| json!(levels)).map_err(|failure| failure.to_string().contains("--access"))
        };
        assert_eq!(levels(&[]), Ok(Value::Null));
        assert_eq!(levels(&["view"]), Ok(json!({ "*": "view" })));
        assert_eq!(levels(&["shop=view", "blog=write"]), Ok(json!({ "blog": "write", "shop": "view" })));
        for bad in [&["view", "write"][..], &["view", "shop=write"], &["shop=view", "shop=write"]] {
            assert_eq!(levels(bad), Err(true), "{bad:?}");
        }
    }
}
