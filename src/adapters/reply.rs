//! An answer to a client, whatever carries it: over HTTP as the answer to a check, in a message of Envoy's, or as the answer
//! to a request of its own. Never a success: that is made from a grant alone.

use std::sync::LazyLock;

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::domain::origin::Origin;

/// The one stylesheet of all pages. On a protected host nothing of ours can be loaded, so it stands in the page.
pub const STYLE: &str = include_str!("../portal/style.css");

/// Status, headers in lower case, and body.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Reply {
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: vec![("cache-control", "no-store".to_owned())], body: String::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends a browser elsewhere.
    #[must_use]
    pub fn to(status: u16, location: impl Into<String>) -> Self {
        Self::new(status).with("location", location).with("referrer-policy", "no-referrer")
    }

    #[must_use]
    pub fn json(self, body: String) -> Self {
        Self { body, ..self.with("content-type", "application/json") }
    }

    /// A page that may load nothing and be framed by nobody. A form in it may lead to the portal, which is where signing out
    /// ends (browsers follow a form's redirects only where they are allowed).
    #[must_use]
    pub fn page(self, page: &impl Template, portal: Option<&Origin>) -> Self {
        static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE)));
        let portal = portal.map(|origin| format!(" {origin}")).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; img-src data:; form-action 'self'{portal}; base-uri 'none'; \
             frame-ancestors 'none'",
            *STYLE_HASH
        );
        let reply = self
            .with("content-type", "text/html; charset=utf-8")
            .with("content-security-policy", policy)
            .with("x-content-type-options", "nosniff")
            .with("referrer-policy", "no-referrer");
        let body = page.render().unwrap_or_else(|error| {
            tracing::error!(%error, "a page could not be made");
            String::new()
        });
        Self { body, ..reply }
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }
}
