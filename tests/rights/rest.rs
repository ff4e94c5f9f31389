//! The table of rights, asked of a running Keygate: as the control socket, or on the portal with a token.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Ask, Asker, Way};
use crate::support::control::Control;

pub struct Rest {
    control: Control,
    portal: reqwest::Client,
    /// Id and text.
    tokens: BTreeMap<String, (String, String)>,
}

impl Rest {
    pub fn new() -> Self {
        Self {
            control: Control::with("[portal]\ntrusted_proxies = [\"127.0.0.0/8\"]\n"),
            portal: reqwest::Client::new(),
            tokens: BTreeMap::new(),
        }
    }

    async fn send(&self, asker: &Asker, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request = match asker.name.as_str() {
            "control" => self.control.request(method, path),
            name => {
                let url = format!("http://{}/api/v1{path}", self.control.keygate.portal);
                let request = self.portal.request(method, url).header("X-Forwarded-For", &asker.address);
                match name {
                    "nobody" => request,
                    "unknown" => request.bearer_auth("kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf"),
                    name => request.bearer_auth(&self.tokens[name].1),
                }
            }
        };
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = self.control.answer(request).await;
        if answer.status < 300 {
            return Ok(answer.body);
        }
        assert_eq!(answer.header("www-authenticate").is_empty(), answer.status != 401, "{answer:?}");
        Err(answer.body["type"].as_str().unwrap().strip_prefix("about:blank#").unwrap().to_owned())
    }

    async fn list(&self, asker: &Asker, what: &str) -> Result<String, String> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.send(asker, Method::GET, &format!("/{what}?limit=3{cursor}"), None).await?;
            items.extend(page["items"].as_array().unwrap().iter().map(|item| {
                let text = |name: &str| item[name].as_str().unwrap().to_owned();
                match what {
                    "accounts" => text("login"),
                    "sites" => text("id"),
                    "access" => format!("{}/{}", text("login"), text("site")),
                    _ => text("name"),
                }
            }));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        items.sort();
        Ok(if items.is_empty() { "-".to_owned() } else { items.join(",") })
    }

    async fn mint(&mut self, asker: &Asker, name: &str, owner: &str, ask: &Ask) -> Result<(), String> {
        let body = json!({
            "account": owner, "name": name, "levels": ask.levels(), "scopes": ask.options("scopes"), "networks": ask.options("nets"),
            "secure_only": ask.word("secure"), "system": ask.word("system"), "expires_in": ask.option("ends"),
        });
        let made = self.send(asker, Method::POST, "/tokens", Some(body)).await?;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.tokens.insert(name.to_owned(), (text(&made["record"]["id"]), text(&made["token"])));
        Ok(())
    }

    async fn perform(&mut self, asker: &Asker, ask: &Ask) -> Result<String, String> {
        let target = ask.target.as_str();
        let token = || format!("/tokens/{}", self.tokens[target].0);
        let (account, site) = (format!("/accounts/{target}"), format!("/sites/{target}"));
        let (method, path, body) = match ask.verb.as_str() {
            "site" | "site-create" => (Method::POST, "/sites".to_owned(), Some(json!({ "id": target }))),
            "site-rename" => (Method::PATCH, site, Some(json!({ "name": "New" }))),
            "site-hosts" => (Method::PATCH, site, Some(json!({ "hosts": ["new.example.com"] }))),
            "site-delete" => (Method::DELETE, site, None),
            "account" | "account-create" => {
                let kind = if ask.word("service") { "service" } else { "human" };
                let body = json!({
                    "login": target, "kind": kind, "superuser": ask.word("superuser"), "may_mint_tokens": target != "quiet",
                    "must_have_second_factor": ask.word("must"),
                });
                (Method::POST, "/accounts".to_owned(), Some(body))
            }
            "account-show" => (Method::GET, account, None),
            "account-rename" => (Method::PATCH, account, Some(json!({ "name": "New" }))),
            "disable" => (Method::PATCH, account, Some(json!({ "disabled": true }))),
            "promote" => (Method::PATCH, account, Some(json!({ "superuser": true }))),
            "require-factor" => (Method::PATCH, account, Some(json!({ "must_have_second_factor": true }))),
            "release-factor" => (Method::PATCH, account, Some(json!({ "must_have_second_factor": false }))),
            "reset-factors" => (Method::DELETE, format!("{account}/factors"), None),
            "begin-factor" => (Method::POST, "/me/factors/totp".to_owned(), None),
            "factors" => (Method::GET, "/me/factors".to_owned(), None),
            "delete-account" => (Method::DELETE, account, None),
            "revoke-all" => (Method::POST, format!("{account}/revoke-all"), Some(json!({}))),
            "access" => {
                let words = ask.words();
                (Method::PUT, format!("/access/{target}/{}", words[0]), Some(json!({ "level": words[1] })))
            }
            "give" => {
                let (row, level) = target.split_once('=').unwrap();
                (Method::PUT, format!("/access/{row}"), Some(json!({ "level": level })))
            }
            "token" => return self.mint(asker, target, ask.words()[0], ask).await.map(|()| "ok".to_owned()),
            "mint" => return self.mint(asker, "minted", target, ask).await.map(|()| "ok".to_owned()),
            "show" => (Method::GET, token(), None),
            "rename" => (Method::PATCH, token(), Some(json!({ "name": "new" }))),
            "revoke" => (Method::DELETE, token(), None),
            "rotate" => {
                let path = format!("{}/rotate", token());
                let made = self.send(asker, Method::POST, &path, Some(json!({}))).await?;
                let successor = format!("/tokens/{}", made["record"]["id"].as_str().unwrap());
                // So that it is told apart from its predecessor.
                self.send(&Asker::control(), Method::PATCH, &successor, Some(json!({ "name": "successor" }))).await?;
                return Ok("ok".to_owned());
            }
            "list" => return self.list(asker, target).await,
            "audit" => (Method::GET, "/audit".to_owned(), None),
            "blocked" => (Method::GET, "/blocked".to_owned(), None),
            "lift" => (Method::DELETE, format!("/blocked/{target}"), None),
            other => panic!("{other}"),
        };
        self.send(asker, method, &path, body).await.map(|_| "ok".to_owned())
    }
}

impl Way for Rest {
    async fn ask(&mut self, asker: &Asker, ask: &Ask) -> String {
        self.perform(asker, ask).await.unwrap_or_else(|code| code)
    }
}
