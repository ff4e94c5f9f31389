//! Speaks HTTP to a running Keygate over its control socket, and turns what goes wrong into a sentence.

use std::{io, path::PathBuf, time::Duration};

use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Failure;
use crate::api::{Problem, dto::ListBody};

/// Long enough for a busy store, short enough for a person.
const TIMEOUT: Duration = Duration::from_secs(30);
/// As much of a list as one answer may hold.
const PAGE: &str = "1000";

pub(super) struct Client {
    http: reqwest::Client,
    data_dir: PathBuf,
    socket: PathBuf,
}

/// One request: segments of the path below `/api/v1`, each encoded on its way.
pub(super) struct Call<'a> {
    pub method: Method,
    pub path: &'a [&'a str],
    pub query: &'a [(&'a str, &'a str)],
    pub body: Option<Value>,
}

impl<'a> Call<'a> {
    pub fn get(path: &'a [&'a str]) -> Self {
        Self { method: Method::GET, path, query: &[], body: None }
    }

    pub fn post(path: &'a [&'a str], body: Value) -> Self {
        Self { method: Method::POST, path, query: &[], body: Some(body) }
    }

    pub fn patch(path: &'a [&'a str], body: Value) -> Self {
        Self { method: Method::PATCH, path, query: &[], body: Some(body) }
    }

    pub fn put(path: &'a [&'a str], body: Value) -> Self {
        Self { method: Method::PUT, path, query: &[], body: Some(body) }
    }

    pub fn delete(path: &'a [&'a str]) -> Self {
        Self { method: Method::DELETE, path, query: &[], body: None }
    }

    pub fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..self }
    }
}

impl Client {
    pub fn new(data_dir: PathBuf) -> Result<Self, Failure> {
        let socket = data_dir.join("control.sock");
        let http = reqwest::Client::builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::Unreachable(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { http, data_dir, socket })
    }

    /// An answer with a JSON body.
    pub async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Failure> {
        let response = self.send(call).await?;
        let bytes = response.bytes().await.map_err(|error| self.explain(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::Unreachable(format!("{} answers what this version does not understand: {error}", self.socket.display()))
        })
    }

    /// An answer without a body.
    pub async fn tell(&self, call: Call<'_>) -> Result<(), Failure> {
        self.send(call).await.map(drop)
    }

    /// A whole list, page by page.
    pub async fn list<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", PAGE));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: ListBody<T> = self.call(Call::get(path).query(&query)).await?;
            items.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }

    async fn send(&self, call: Call<'_>) -> Result<reqwest::Response, Failure> {
        let mut request = self.http.request(call.method, url(call.path, call.query)?);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.explain(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let sentence = match response.json::<Problem>().await {
            Ok(problem) => problem.document().detail.clone(),
            Err(_) => format!("{} answers {status}", self.socket.display()),
        };
        Err(match status.as_u16() {
            400 | 413 | 415 | 422 => Failure::Usage(sentence),
            500.. => Failure::Unreachable(sentence),
            _ => Failure::Refused(sentence),
        })
    }

    fn explain(&self, error: &reqwest::Error) -> Failure {
        let (directory, socket) = (self.data_dir.display(), self.socket.display());
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        let mut kind = None;
        while let Some(cause) = source {
            kind = cause.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
            source = cause.source();
        }
        Failure::Unreachable(match kind {
            _ if error.is_timeout() => {
                format!("the Keygate on {directory} did not answer in {} seconds; see its log", TIMEOUT.as_secs())
            }
            Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => format!(
                "no Keygate is running on {directory}: start one with `keygate serve`, or name its data directory with --data-dir"
            ),
            Some(io::ErrorKind::PermissionDenied) => {
                format!("this user may not open {socket}: run the command as the user that Keygate runs as")
            }
            Some(io::ErrorKind::InvalidInput) => {
                format!("the path {socket} is too long for a socket: name the data directory by a shorter one with --data-dir")
            }
            _ => format!("the Keygate on {directory} broke off: {error}; try again, and see its log"),
        })
    }
}

fn url(path: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
    // A URL cannot carry these two as segments.
    if let Some(odd) = path.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
        return Err(Failure::Usage(format!("`{odd}` is no name of anything; write the whole name")));
    }
    let mut url = Url::parse("http://control/api/v1").map_err(|error| Failure::Usage(error.to_string()))?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}
