//! Pages instead of the one that was asked for: what went wrong, in human words, and what to do; with the id by which the log
//! knows the request.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header::RETRY_AFTER},
};
use askama::Template;

use super::{go_to, own_page::OwnPage, page, problems::sentence, style};
use crate::{
    api::Problem,
    directory::{Directory, DirectoryError},
    domain::{decision::Reason, origin::Origin, text::Invalid},
};

/// Of what a request says, the log has no more characters.
const MOST_LOGGED: usize = 100;

/// Why there is something else than what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody is signed in. Afterwards, there is a way back to the page that was looked at.
    SignInFirst,
    /// The password has to be given again; the same afterwards.
    ConfirmFirst,
    /// The portal was looked for at another host.
    Misdirected { url: Origin, received: Option<String> },
    Said {
        status: StatusCode,
        /// For the log, as is what was wrong, where that is no secret.
        code: &'static str,
        received: Option<String>,
        title: &'static str,
        text: String,
        retry_after: Option<u64>,
    },
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, title: &'static str, text: impl Into<String>) -> Self {
        Self::Said { status, code, received: None, title, text: text.into(), retry_after: None }
    }

    fn later(status: StatusCode, code: &'static str, title: &'static str, text: impl Into<String>, seconds: u64) -> Self {
        Self::Said { status, code, received: None, title, text: text.into(), retry_after: Some(seconds) }
    }

    fn about(mut self, what: Option<String>) -> Self {
        if let Self::Said { received, .. } = &mut self {
            *received = what;
        }
        self
    }

    pub fn not_found() -> Self {
        let text = "The address may be misspelt, or the page may have moved.";
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such page", text)
    }

    pub fn failed() -> Self {
        let text = "This is not your fault. The operator's log has the reason, under the request id below.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "Something went wrong here", text)
    }

    pub fn two_cookies(cookie: &'static str) -> Self {
        let text = "Your browser sent the same cookie twice, so somebody else may have set one of them. Delete the cookies of this \
                    site in your browser's settings, and sign in again.";
        Self::new(StatusCode::BAD_REQUEST, "two_cookies", "Two cookies where one belongs", text).about(Some(cookie.to_owned()))
    }

    pub fn bad_form() -> Self {
        let text = "What arrived is not what the form on this page sends. Go back, reload the page, and try again.";
        Self::new(StatusCode::BAD_REQUEST, "form_unreadable", "This form cannot be read", text)
    }

    pub fn stale_form() -> Self {
        let text = "You have signed in or out since the page was opened, or your browser keeps no cookies. Nothing was done. Go \
                    back, reload the page, and try again.";
        Self::new(StatusCode::FORBIDDEN, "form_stale", "This form is out of date", text)
    }

    /// `from`: what the browser says of the page that sent it.
    pub fn foreign_form(from: Option<String>) -> Self {
        let text = "This was not sent from a page of this portal, so nothing was done. If you did not expect to come here, close \
                    this page.";
        Self::new(StatusCode::FORBIDDEN, "foreign_form", "Sent from somewhere else", text).about(from)
    }

    pub fn wrong_method() -> Self {
        let text = "Go back, reload the page, and try again.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This page does not do that", text)
    }

    pub fn busy() -> Self {
        let text = "Too many people are signing in at this moment. Try again in a few seconds.";
        Self::later(StatusCode::SERVICE_UNAVAILABLE, "busy", "Just a moment", text, 5)
    }

    fn store_away() -> Self {
        let text = "Keygate cannot reach its store at the moment. You are not signed out; try again in a moment.";
        Self::later(StatusCode::SERVICE_UNAVAILABLE, Reason::StoreUnavailable.code(), "Not available at the moment", text, 5)
    }

    /// One line for each page that shows the id of its request, which the span has.
    pub fn log(&self, directory: &Directory) {
        let shown = |received: &Option<String>| received.as_deref().and_then(|text| directory.shown(text, MOST_LOGGED));
        match self {
            Self::SignInFirst | Self::ConfirmFirst => {}
            Self::Misdirected { url, received } => {
                tracing::info!(code = "misdirected", expected = url.authority(), received = shown(received), "refused");
            }
            Self::Said { code, received, .. } => tracing::info!(code, received = shown(received), "refused"),
        }
    }

    /// The page, or the way to another one, from where there is one back `here`.
    pub fn response(&self, request_id: Option<String>, here: &OwnPage) -> HttpResponse {
        match self {
            Self::SignInFirst => go_to(&format!("/sign-in?next={}", here.as_parameter())),
            Self::ConfirmFirst => go_to(&format!("/confirm?next={}", here.as_parameter())),
            Self::Misdirected { url, .. } => misdirected(url, request_id),
            Self::Said { status, title, text, retry_after, .. } => {
                let page = page(status.as_u16(), &Page { title, text, request_id, way: way_on(*status) });
                let mut response = page.unwrap_or_else(|_| HttpResponse::new(*status));
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, (*seconds).into());
                }
                response
            }
        }
    }
}

/// What helps, as a button.
fn way_on(status: StatusCode) -> Option<(&'static str, &'static str)> {
    match status {
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Some(("/", "Go to the start page")),
        _ => None,
    }
}

#[derive(Template)]
#[template(path = "portal/refusal.html")]
struct Page<'a> {
    title: &'a str,
    text: &'a str,
    request_id: Option<String>,
    way: Option<(&'static str, &'static str)>,
}

/// Says where the portal is to a browser that looks for it elsewhere. Nothing else is served there, so its style is in it.
fn misdirected(url: &Origin, request_id: Option<String>) -> HttpResponse {
    #[derive(Template)]
    #[template(path = "portal/misdirected.html")]
    struct Page {
        title: &'static str,
        style: &'static str,
        url: String,
        request_id: Option<String>,
    }
    let page = page(421, &Page { title: "Not here", style: style::STYLE, url: url.to_string(), request_id });
    page.unwrap_or_else(|_| HttpResponse::new(StatusCode::MISDIRECTED_REQUEST))
}

/// At every path that has no page.
pub(super) async fn nothing_here() -> Result<HttpResponse, Refusal> {
    Err(Refusal::not_found())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignInFirst => f.write_str("nobody is signed in"),
            Self::ConfirmFirst => f.write_str("the password has to be confirmed"),
            Self::Misdirected { .. } => f.write_str("the portal is at another host"),
            Self::Said { title, .. } => f.write_str(title),
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignInFirst | Self::ConfirmFirst => StatusCode::SEE_OTHER,
            Self::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::Said { status, .. } => *status,
        }
    }

    /// Where nothing is known of the request; the layer around the pages knows it.
    fn error_response(&self) -> HttpResponse {
        self.response(None, &OwnPage::default())
    }
}

/// What is refused in the API's words before a page is asked, such as too many requests.
impl From<&Problem> for Refusal {
    fn from(problem: &Problem) -> Self {
        match problem.status_code() {
            StatusCode::TOO_MANY_REQUESTS => {
                let text = "Too many requests come from your network. Try again in a few seconds.";
                Self::later(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "A little slower, please", text, 1)
            }
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Self::wrong_method(),
            StatusCode::SERVICE_UNAVAILABLE => Self::store_away(),
            status if status.is_server_error() => Self::failed(),
            status => Self::new(status, "refused", "That is not possible", format!("{problem}.")),
        }
    }
}

impl From<DirectoryError> for Refusal {
    fn from(error: DirectoryError) -> Self {
        let (detail, is_open) = (sentence(&error.to_string()), error.is_open());
        match error {
            error if error.is_unconfirmed() => {
                tracing::warn!("a change was made, and too few replicas of the store have confirmed it");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed", "Done, but not confirmed", detail)
            }
            error if error.is_full() => {
                tracing::error!("the store is full: it takes nothing but what takes away");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_full", "There is no room left", detail)
            }
            DirectoryError::Store(error) if is_open => {
                tracing::error!(%error, "the store's answer to a page was lost");
                let status = if error.transient { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
                Self::new(status, "open", "This may or may not have been done", detail)
            }
            DirectoryError::Unauthenticated(_) => Self::SignInFirst,
            DirectoryError::NotFound { .. } => Self::not_found(),
            DirectoryError::Busy => Self::busy(),
            DirectoryError::ListsInTheMaking => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::later(
                    status,
                    "lists_in_the_making",
                    "Not in order yet",
                    "The lists are being put in order, once after an update, which takes some minutes. Reload the page then.",
                    60,
                )
            }
            DirectoryError::Store(error) if error.transient => {
                tracing::debug!(%error, "the store did not answer a page");
                Self::store_away()
            }
            DirectoryError::Store(error) => {
                tracing::error!(%error, "the store failed");
                Self::failed()
            }
            DirectoryError::Contended | DirectoryError::Precondition { .. } | DirectoryError::Replayed(_) => {
                let text = "Somebody changed the same at the same time. Go back, reload the page, and look before you try again.";
                Self::new(StatusCode::CONFLICT, "changed_meanwhile", "Changed meanwhile", text)
            }
            DirectoryError::Blocked { .. } => {
                let text = "Too many attempts have failed. Wait for a while, and try again.";
                Self::new(StatusCode::TOO_MANY_REQUESTS, Reason::TooManyFailures.code(), "Too many failed attempts", text)
            }
            DirectoryError::Refused { code: "password_confirmation_required", .. } => Self::ConfirmFirst,
            DirectoryError::Invalid(Invalid { code, .. })
            | DirectoryError::Taken { code, .. }
            | DirectoryError::Refused { code, .. } => Self::new(StatusCode::FORBIDDEN, code, "That is not possible", detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoreError, Trouble};

    #[test]
    fn what_was_done_or_may_have_been_is_not_called_undone() {
        let said = |trouble: Trouble| match Refusal::from(DirectoryError::from(StoreError::transient("lost").with(trouble))) {
            Refusal::Said { status, code, title, text, .. } => (status.as_u16(), code, title, text),
            refusal => panic!("{refusal:?}"),
        };
        let (status, code, title, text) = said(Trouble::Unconfirmed);
        assert_eq!((status, code, title), (503, "unconfirmed", "Done, but not confirmed"));
        assert!(text.starts_with("This was done, but too few replicas"), "{text}");
        let (status, code, _, text) = said(Trouble::Open);
        assert_eq!((status, code), (503, "open"));
        assert!(text.contains("may or may not have been done; look before you ask for it again."), "{text}");
        let (status, code, _, text) = said(Trouble::Full);
        assert_eq!((status, code), (503, "store_full"));
        assert!(text.starts_with("Redis is full"), "{text}");
        assert_eq!(said(Trouble::Plain).1, "store_unavailable");
    }

    #[test]
    fn a_problem_of_the_api_keeps_its_status() {
        for status in [400, 401, 403, 404, 405, 409, 422, 429, 500, 503] {
            let refusal = Refusal::from(&Problem::new(status, "code", "detail"));
            assert_eq!(refusal.status_code().as_u16(), status, "{refusal:?}");
            assert_eq!(
                refusal.response(None, &OwnPage::default()).headers().contains_key(RETRY_AFTER),
                matches!(status, 429 | 503),
                "{status}"
            );
        }
    }
}
