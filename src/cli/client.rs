//! Speaks HTTP to a running Keygate, over its control socket or to its URL, and turns what goes wrong into a sentence.

mod place;

use std::time::Duration;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) use place::Place;

use super::Failure;
use crate::{
    api::{Problem, dto::ListBody},
    domain::text::printable,
};

/// Long enough for a busy store, short enough for a person.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer an answer may take that waits until a change holds everywhere: twice the longest bound there can be.
const WAITING: Duration = Duration::from_mins(2);
/// As much of a list as one answer may hold.
const PAGE: &str = "1000";

pub(super) struct Client {
    http: reqwest::Client,
    place: Place,
}

/// One request: segments of the path below `/api/v1`, each encoded on its way.
pub(super) struct Call<'a> {
    pub method: Method,
    pub path: &'a [&'a str],
    pub query: &'a [(&'a str, &'a str)],
    pub body: Option<Value>,
    /// Whether the answer may take as long as a change takes to hold everywhere.
    pub long: bool,
}

impl<'a> Call<'a> {
    pub fn get(path: &'a [&'a str]) -> Self {
        Self { method: Method::GET, path, query: &[], body: None, long: false }
    }

    pub fn post(path: &'a [&'a str], body: Value) -> Self {
        Self { method: Method::POST, path, query: &[], body: Some(body), long: false }
    }

    pub fn patch(path: &'a [&'a str], body: Value) -> Self {
        Self { method: Method::PATCH, path, query: &[], body: Some(body), long: false }
    }

    pub fn put(path: &'a [&'a str], body: Value) -> Self {
        Self { method: Method::PUT, path, query: &[], body: Some(body), long: false }
    }

    pub fn delete(path: &'a [&'a str]) -> Self {
        Self { method: Method::DELETE, path, query: &[], body: None, long: false }
    }

    pub fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, long: query.contains(&("wait", "true")), ..self }
    }

    pub fn long(self) -> Self {
        Self { long: true, ..self }
    }
}

impl Client {
    pub fn new(place: Place) -> Result<Self, Failure> {
        let http = place.http(TIMEOUT)?;
        Ok(Self { http, place })
    }

    /// An answer with a JSON body.
    pub async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Failure> {
        let response = self.send(call).await?;
        let bytes = response.bytes().await.map_err(|error| self.explain(&error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Unreachable(format!("{} answers what this version does not understand: {error}", self.place)))
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
        let mut request = self.http.request(call.method, self.place.url(call.path, call.query)?);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        if call.long {
            request = request.timeout(TIMEOUT + WAITING);
        }
        let response = request.send().await.map_err(|error| self.explain(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // Anybody may answer at a URL: what comes from there reaches no terminal with its control characters.
        let problem = response.json::<Problem>().await.ok();
        let sentence = problem.as_ref().map(|problem| printable(&problem.document().detail).into_owned());
        if let Some(failure) = self.place.refusal(status, problem.as_ref()) {
            return Err(failure);
        }
        let sentence = sentence.unwrap_or_else(|| format!("{} answers {status}", self.place));
        Err(match status.as_u16() {
            400 | 413 | 415 | 422 => Failure::Usage(sentence),
            500.. => Failure::Unreachable(sentence),
            _ => Failure::Refused(sentence),
        })
    }

    fn explain(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable(if error.is_timeout() {
            format!("the Keygate on {} did not answer in time; see its log", self.place)
        } else {
            self.place.explain(error)
        })
    }
}
