//! A Keygate with one site, one account and one token: enough to see what the service around a check does.

use super::dialects::{Verdict, ask};
use super::http::Request;
use super::keygate::Keygate;
use super::redis::Server;

/// Beside the site's rule one that is public, and one that takes passwords.
pub const CONFIG: &str = r#"
data_dir = "./keygate-data"

[check]
listen = "127.0.0.1:9180"

[grpc]
listen = "127.0.0.1:9182"

[[rules]]
name = "public"
match = { path = "/public/{*rest}" }
public = true

[[rules]]
name = "with a password"
match = { path = "/basic/{*rest}" }
site = "shop"
access = "view"
credentials = ["basic"]

[[rules]]
name = "orders"
match = { path = "/orders/{*rest}" }
site = "shop"
access = { read = "view", write = "write" }
"#;

pub struct Shop {
    pub keygate: Keygate,
    pub token: String,
}

impl Shop {
    pub fn start(config: &str) -> Self {
        Self::furnish(Keygate::start(config))
    }

    pub fn on_redis(config: &str, server: &Server) -> Self {
        let mut keygate = Keygate::prepare_on_redis(config, &server.url());
        keygate.restart();
        Self::furnish(keygate)
    }

    /// Gives a running and empty Keygate what the rules speak of.
    pub fn furnish(keygate: Keygate) -> Self {
        keygate.must(&["site", "create", "shop"]);
        keygate.must(&["account", "create", "robot", "--service"]);
        keygate.must(&["access", "set", "robot", "shop", "write", "--no-wait"]);
        let token = keygate.must(&["token", "create", "robot", "--name", "robot"]);
        Self { keygate, token }
    }

    /// What a client asks of the site, with the token.
    pub fn request(&self) -> Request {
        bearing(&self.token)
    }

    /// The status of the client's request over NGINX's dialect.
    pub fn status(&self) -> u16 {
        self.ask("nginx", &self.request()).status
    }

    pub fn ask(&self, dialect: &str, client: &Request) -> Verdict {
        ask(&self.keygate, dialect, client).unwrap_or_else(|error| panic!("{dialect}: {error}\n{}", self.keygate.log()))
    }
}

pub fn get(target: &str) -> Request {
    Request::new("GET", target).header("Host", "shop.example.com")
}

pub fn bearing(token: &str) -> Request {
    get("/orders/7").header("Authorization", &format!("Bearer {token}"))
}
