//! A client of the management API, over the control socket of a Keygate of its own.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::Value;

use super::keygate::Keygate;

/// Enough to run; rules and sections may follow.
pub const CONFIG: &str = r#"
data_dir = "./keygate-data"

[check]
listen = "127.0.0.1:9180"

[grpc]
listen = "127.0.0.1:9182"
"#;

pub struct Control {
    pub keygate: Keygate,
    client: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// Speaks HTTP over a Unix socket.
pub fn client(socket: &Path) -> reqwest::Client {
    // Whichever test was first has set it.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().unix_socket(socket.to_owned()).tls_certs_only([]).build().unwrap()
}

impl Control {
    pub fn start() -> Self {
        Self::with("")
    }

    /// With more configuration, such as rules.
    pub fn with(more: &str) -> Self {
        Self::of(Keygate::start(&format!("{CONFIG}\n{more}")))
    }

    pub fn of(keygate: Keygate) -> Self {
        let client = client(&keygate.control());
        Self { keygate, client }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.keygate.data_dir()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://control/api/v1{path}"))
    }

    /// As [`Self::send`], to any path.
    pub async fn send_to(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.client.request(method, format!("http://control{path}"));
        self.answer(if body.is_null() { request } else { request.json(body) }).await
    }

    pub async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status, headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.answer(self.request(Method::GET, path)).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.answer(self.request(method, path).json(body)).await
    }
}
