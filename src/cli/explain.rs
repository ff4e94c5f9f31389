//! `keygate explain`: the decision on a request that nobody has made, rule by rule, and why.

use std::{fmt::Write as _, io::Read as _};

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Failure, Session, client::Call, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  printf '%s' \"$TOKEN\" | keygate explain --method GET --url https://shop.example.com/orders/7 --token-stdin
  keygate explain --url https://shop.example.com/orders/7 --token-id AbCdEfGh0123")]
pub struct Explain {
    /// The method of the request
    #[arg(long, default_value = "GET")]
    method: String,
    /// The URL, exactly as a client would send it
    #[arg(long)]
    url: String,
    /// Read a token from standard input
    #[arg(long)]
    token_stdin: bool,
    /// The id of a token, as if that token were sent
    #[arg(long, value_name = "ID", conflicts_with_all = ["token_stdin", "cookie_stdin"])]
    token_id: Option<String>,
    /// Read a session cookie from standard input: its value, or all cookies as a browser sends them
    #[arg(long, conflicts_with = "token_stdin")]
    cookie_stdin: bool,
    /// The client's address
    #[arg(long, value_name = "IP")]
    from: Option<String>,
}

impl Explain {
    pub(super) async fn run(self, session: Session) -> Result<(), Failure> {
        let token = if self.token_stdin { Some(read("token")?) } else { None };
        let cookie = if self.cookie_stdin { Some(read("cookie")?) } else { None };
        let body = json!({
            "method": self.method,
            "url": self.url,
            "token": token,
            "token_id": self.token_id,
            "cookie": cookie,
            "from": self.from,
        });
        let call = Call { method: Method::POST, path: &["explain"], query: &[], body: Some(body), long: false };
        let told: Value = session.client.call(call).await?;
        if session.output.json {
            session.output.done(&told, "");
        } else {
            output::say(&story(&told));
        }
        Ok(())
    }
}

fn read(what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(4096).read_to_string(&mut text);
    read.map_err(|error| Failure::Usage(format!("no {what} could be read from standard input: {error}")))?;
    match text.trim() {
        "" => Err(Failure::Usage(format!("standard input holds no {what}"))),
        credential => Ok(credential.to_owned()),
    }
}

fn story(told: &Value) -> String {
    let text = |name: &str| told[name].as_str().unwrap_or("-").to_owned();
    let mut story = format!("request    host {}, path {}\n", text("host"), text("path"));
    for (number, line) in told["rules"].as_array().into_iter().flatten().enumerate() {
        let verdict = match line["verdict"].as_str().unwrap_or_default() {
            "matches" => "matches",
            "host_differs" => "no: another host",
            "path_differs" => "no: another path",
            "method_differs" => "no: another method",
            "query_differs" => "no: another query",
            _ => "not reached",
        };
        let rule = line["rule"].as_str().unwrap_or_default();
        let _infallible = writeln!(story, "rule {:<5} {rule}: {verdict}", number + 1);
    }
    let status = told["status"].as_u64().unwrap_or_default();
    let reason = told["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let _infallible = writeln!(story, "decision   {} {status}{reason}\nbecause    {}", text("decision"), text("because"));
    for (label, name) in [
        ("sign-in", "sign_in"),
        ("account", "account"),
        ("site", "site"),
        ("access", "access"),
        ("via", "via"),
        ("credential", "credential"),
    ] {
        if let Some(value) = told[name].as_str() {
            let _infallible = writeln!(story, "{label:<10} {value}");
        }
    }
    story
}
