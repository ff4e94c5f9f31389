//! Where the Keygate is that is spoken to, and what that means: which client of HTTP, which URLs, and what to do about
//! a connection that fails. A token goes to the URL it was meant for and nowhere else.

use std::{error::Error as _, fmt, io, net::IpAddr, path::PathBuf, time::Duration};

use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};

use crate::{
    api::Problem,
    cli::{Failure, output::note},
    domain::text::printable,
};

/// Holds the token that is sent to a URL. In the environment only: arguments are seen by every user of the machine.
const TOKEN: &str = "KEYGATE_TOKEN";

pub(in crate::cli) enum Place {
    /// The control socket in this data directory.
    Directory(PathBuf),
    /// A portal, by its URL, and what is sent there to say who asks.
    Server { url: Url, authorization: Option<HeaderValue> },
}

impl Place {
    /// A portal by its URL, which is asked by nobody in particular.
    pub fn server(text: &str) -> Result<Self, Failure> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let wrong = |what: &str| Failure::Usage(format!("`{}` {what}", printable(text)));
        let url = url.ok_or_else(|| wrong("is no URL of a Keygate; write it as https://auth.example.com"))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(Failure::Usage(format!(
                "the URL of a Keygate has a host, and perhaps a port and a path; the token goes in {TOKEN}"
            )));
        }
        Ok(Self::Server { url, authorization: None })
    }

    /// The same, where whoever asks is known: to a portal by the token in the environment, to a socket by opening it.
    pub fn identified(self) -> Result<Self, Failure> {
        let Self::Server { url, .. } = self else {
            return Ok(self);
        };
        let token = std::env::var_os(TOKEN).unwrap_or_default();
        let token = token.to_str().map(str::trim).filter(|token| !token.is_empty()).ok_or_else(|| {
            Failure::Usage(format!("set {TOKEN} to a token that has the scope `manage`; it says to {url} who asks"))
        })?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            Failure::Usage(format!("{TOKEN} holds no token; set it to the line that `keygate token create` printed"))
        })?;
        authorization.set_sensitive(true);
        if url.scheme() == "http" && !is_loopback(&url) {
            note(&format!("keygate: warning: the token travels to {url} unencrypted; use an https URL"));
        }
        Ok(Self::Server { url, authorization: Some(authorization) })
    }

    /// A client for this place. One that speaks to a socket reads no certificates, which would take longer than the rest.
    pub fn http(&self, timeout: Duration) -> Result<reqwest::Client, Failure> {
        // Refused only where it has been done before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = reqwest::Client::builder().timeout(timeout).redirect(redirect::Policy::none()).no_proxy();
        let builder = match self {
            Self::Directory(directory) => builder.unix_socket(directory.join("control.sock")).tls_certs_only([]),
            Self::Server { url, authorization } => {
                let builder = builder
                    .default_headers(authorization.iter().map(|value| (AUTHORIZATION, value.clone())).collect::<HeaderMap>());
                if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) }
            }
        };
        builder.build().map_err(|error| {
            let cause = causes(&error).last().map(ToString::to_string).unwrap_or_default();
            Failure::Unreachable(format!("no connection can be prepared: {cause}; is the package ca-certificates installed?"))
        })
    }

    /// A resource of the API.
    pub fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
        // A URL cannot carry these as segments.
        if let Some(odd) = path.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
            return Err(Failure::Usage(format!("`{odd}` is no name of anything; write the whole name")));
        }
        let mut url = self.below(&[&["api", "v1"], path].concat())?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// What is served at this path.
    pub fn below(&self, path: &[&str]) -> Result<Url, Failure> {
        let mut url = match self {
            Self::Directory(_) => Url::parse("http://control").map_err(|error| Failure::Usage(error.to_string()))?,
            Self::Server { url, .. } => url.clone(),
        };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        Ok(url)
    }

    /// What an answer means that only a portal gives: about the URL, and about the token.
    pub fn refusal(&self, status: StatusCode, problem: Option<&Problem>) -> Option<Failure> {
        let Self::Server { url, .. } = self else {
            return None;
        };
        let code = problem.map(|problem| problem.document().kind.trim_start_matches("about:blank#"));
        let detail = problem.map_or_else(String::new, |problem| format!(": {}", printable(&problem.document().detail)));
        match status {
            _ if status.is_redirection() => Some(Failure::Usage(format!(
                "{url} sends on to another place, and a token is not sent on; give the Keygate's own URL with --server"
            ))),
            StatusCode::UNAUTHORIZED => Some(Failure::Refused(format!(
                "{url} does not take the token in {TOKEN}{detail}; set it to one that is in force and has the scope `manage`"
            ))),
            StatusCode::FORBIDDEN if code == Some("scope") => Some(Failure::Refused(format!(
                "the token in {TOKEN} lacks the scope `manage`; make one with `keygate token create LOGIN --name TEXT --scope manage`"
            ))),
            _ if problem.is_none() => Some(Failure::Unreachable(format!(
                "{url} answers {status}, and not as a Keygate does; give the URL of a Keygate's portal with --server"
            ))),
            _ => None,
        }
    }

    /// Why there was no answer.
    pub fn explain(&self, error: &reqwest::Error) -> String {
        let kind = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last().map(io::Error::kind);
        let last = || causes(error).last().map(ToString::to_string).unwrap_or_default();
        let directory = match self {
            Self::Directory(directory) => directory.display(),
            Self::Server { url, .. } if error.is_connect() => {
                return format!("nothing answers at {url}: {}; see that Keygate runs there, and that the URL is right", last());
            }
            Self::Server { url, .. } => return format!("the Keygate at {url} broke off: {}; try again, and see its log", last()),
        };
        match kind {
            Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => format!(
                "no Keygate is running on {directory}: start one with `keygate serve`, or name its data directory with --data-dir"
            ),
            Some(io::ErrorKind::PermissionDenied) => {
                format!("this user may not open {directory}/control.sock: run the command as the user that Keygate runs as")
            }
            Some(io::ErrorKind::InvalidInput) => {
                format!(
                    "the path {directory}/control.sock is too long for a socket: name the data directory by a shorter one with --data-dir"
                )
            }
            _ => format!("the Keygate on {directory} broke off: {}; try again, and see its log", last()),
        }
    }
}

/// As sentences name it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "{}", directory.display()),
            Self::Server { url, .. } => write!(f, "{url}"),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error and what lies below it.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn std::error::Error + 'static)| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Place {
        Place::Server { url: Url::parse(url).unwrap(), authorization: None }
    }

    #[test]
    fn names_are_encoded_below_the_path_of_the_place() {
        let url = |place: &Place, path: &[&str]| place.url(path, &[("account", "a b&c")]).unwrap().to_string();
        let directory = Place::Directory(PathBuf::from("x"));
        assert_eq!(url(&directory, &["accounts", "a/../b?c"]), "http://control/api/v1/accounts/a%2F..%2Fb%3Fc?account=a+b%26c");
        for base in ["https://auth.example.com/below", "https://auth.example.com/below/"] {
            assert_eq!(url(&at(base), &["tokens"]), "https://auth.example.com/below/api/v1/tokens?account=a+b%26c");
        }
        assert!(directory.url(&["accounts", ".."], &[]).is_err());
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for (url, loopback) in [
            ("http://127.0.0.2:9181", true),
            ("http://[::1]:9181", true),
            ("http://localhost", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }
}
