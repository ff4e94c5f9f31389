//! `/sign-in`: a browser comes from a protected host or by itself, its user signs in, and it goes where it came from. Who is
//! signed in already goes on at once.

use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header::USER_AGENT},
    web,
};
use askama::Template;
use rand::{rand_core::UnwrapErr, rngs::SysRng};
use serde::Deserialize;

use super::{
    PortalState, Refusal,
    arrival::{Arrival, CODE, SET_UP, SIGN_IN},
    attempt::Failed,
    browser, cookies,
    form::{Form, Typed},
    go_to, guarded,
    own_page::OwnPage,
    page,
    times::in_words,
    visitor::{Newcomer, SignedIn},
};
use crate::{
    api::{ClientAddresses, request_id},
    directory::{DirectoryError, SessionCookie, SignIn, SignInError},
    domain::{
        cookie::Cookie,
        csrf,
        password::Password,
        session::{Secret, SessionSecret, Stage},
    },
};

/// Where everything begins.
pub(super) async fn home(_: SignedIn) -> HttpResponse {
    go_to(OwnPage::default().path())
}

/// What is filled in already.
#[derive(Default)]
struct Filled {
    login: String,
    remember: bool,
}

/// Why it has to be filled in again.
enum Problem {
    Missing,
    /// The form is not of this browser.
    Stale,
    Failed(Failed),
}

impl Problem {
    fn status(&self) -> u16 {
        match self {
            Self::Missing => 422,
            Self::Stale => 403,
            Self::Failed(failed) => failed.status(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("Fill in both the login and the password."),
            Self::Stale => f.write_str("The page was open for too long, or your browser keeps no cookies. Please try again."),
            Self::Failed(Failed::Wrong) => f.write_str("The login or the password is wrong."),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

#[derive(Template)]
#[template(path = "portal/sign_in.html")]
struct Page {
    title: &'static str,
    /// The protected host to go back to.
    to: Option<String>,
    refused_address: bool,
    problem: Option<Problem>,
    action: String,
    csrf: String,
    login: String,
    remember: bool,
    remember_for: String,
}

impl Page {
    /// Whether the problem is with what was typed.
    fn wrong(&self) -> bool {
        matches!(self.problem, Some(Problem::Missing | Problem::Failed(Failed::Wrong)))
    }
}

/// The form, bound to a cookie that is set where the browser has none.
fn ask(
    state: &PortalState,
    request: &HttpRequest,
    arrival: &Arrival,
    filled: Filled,
    problem: Option<Problem>,
) -> Result<HttpResponse, Refusal> {
    let known = form_secret(state, request)?;
    let secret = known.clone().unwrap_or_else(|| Secret::generate(&mut UnwrapErr(SysRng)));
    let status = problem.as_ref().map_or(200, Problem::status);
    let form = Page {
        title: "Sign in",
        to: arrival.host(),
        refused_address: matches!(arrival, Arrival::Refused),
        problem,
        action: arrival.link(SIGN_IN),
        csrf: csrf::token(&secret),
        login: filled.login,
        remember: filled.remember,
        remember_for: in_words(state.rules.remember),
    };
    let mut response = page(status, &form)?;
    if let Some(Problem::Failed(failed)) = &form.problem {
        failed.add_retry_after(&mut response);
    }
    if known.is_none() {
        cookies::add(&mut response, Cookie::Form.set(&state.url, &secret.to_text(), None))?;
    }
    Ok(response)
}

fn form_secret(state: &PortalState, request: &HttpRequest) -> Result<Option<Secret>, Refusal> {
    Ok(cookies::read(request, &state.url, Cookie::Form)?.and_then(Secret::parse))
}

/// `GET /sign-in`
pub(super) async fn show(state: web::Data<PortalState>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let arrival = Arrival::read(request.query_string(), &state.hosts);
    // A HEAD makes no code.
    if request.method() == Method::GET
        && let Some(Newcomer { visitor, stage }) = Newcomer::find(&state, &request).await?
    {
        if !is_for_the_user(&request) {
            return Err(Refusal::foreign_form(guarded::sent(request.headers(), "sec-fetch-dest")));
        }
        match stage {
            Stage::AwaitsCode => return Ok(go_to(&arrival.link(CODE))),
            Stage::SetsUp if visitor.has_confirmed(state.clock.now()).is_ok() => return Ok(go_to(&arrival.link(SET_UP))),
            // The password is needed for that.
            Stage::SetsUp => {}
            Stage::Whole => match arrival.go_on(&state, &visitor.cookie).await {
                // Ended at this moment.
                Err(DirectoryError::Unauthenticated(_)) => {}
                gone_on => return gone_on.map_err(Refusal::from),
            },
        }
    }
    ask(&state, &request, &arrival, Filled::default(), None)
}

/// Whether the browser is to show what is answered as the page that its user looks at: not within another one, and not as
/// something that a script reads.
fn is_for_the_user(request: &HttpRequest) -> bool {
    request.headers().get_all("sec-fetch-dest").all(|dest| dest == "document")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    login: String,
    password: Typed,
    remember: Option<String>,
}

/// `POST /sign-in`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let arrival = Arrival::read(request.query_string(), &state.hosts);
    let secret = form_secret(&state, &request)?;
    let Fields { login, remember, .. } = form.typed();
    let filled = Filled { login: login.trim().to_owned(), remember: remember.is_some() };
    let Some(Fields { password, .. }) = secret.and_then(|secret| form.proven_by(&secret).ok()) else {
        Refusal::stale_form().log(&state.directory);
        return ask(&state, &request, &arrival, filled, Some(Problem::Stale));
    };
    if filled.login.is_empty() || password.expose().is_empty() {
        return ask(&state, &request, &arrival, filled, Some(Problem::Missing));
    }
    // One that is too long is nobody's.
    let Some(password) = Password::presented(password.expose().as_bytes()) else {
        return ask(&state, &request, &arrival, filled, Some(Problem::Failed(Failed::Wrong)));
    };
    // Before anybody is signed in: two of them are refused.
    let before = cookies::read(&request, &state.url, Cookie::Portal)?.and_then(SessionSecret::parse);
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sign_in = SignIn { login: filled.login.clone(), password, remember: filled.remember, browser: browser::name(user_agent) };
    let address = ClientAddresses::address(&request);
    let signed_in = state.directory.sign_in(address, request_id(&request), sign_in).await;
    state.metrics.count_sign_in(match &signed_in {
        Ok(SessionCookie { stage: Stage::AwaitsCode, .. }) => "code_awaited",
        Ok(_) => "done",
        Err(SignInError::Refused) => "refused",
        Err(SignInError::Blocked { .. }) => "blocked",
        Err(SignInError::Busy) => "busy",
        Err(SignInError::Store(_)) => "unavailable",
    });
    let failed = match signed_in {
        Ok(session) => return enter(&state, &request, &arrival, &session, before).await,
        Err(SignInError::Refused) => Failed::Wrong,
        Err(SignInError::Busy) => Failed::Busy,
        Err(SignInError::Blocked { until }) => Failed::blocked(until, state.clock.now()),
        Err(SignInError::Store(error)) if error.transient => {
            tracing::debug!(%error, "the store did not answer a sign-in");
            Failed::Away
        }
        Err(SignInError::Store(error)) => return Err(DirectoryError::from(error).into()),
    };
    ask(&state, &request, &arrival, filled, Some(Problem::Failed(failed)))
}

/// Gives the browser its new session, and leads it on. One that it had before ends; that it could not be ended is no reason
/// to lose the new one.
async fn enter(
    state: &PortalState,
    request: &HttpRequest,
    arrival: &Arrival,
    session: &SessionCookie,
    before: Option<SessionSecret>,
) -> Result<HttpResponse, Refusal> {
    if let Some(before) = before {
        let ended = state.directory.sign_out(&before, ClientAddresses::address(request), request_id(request)).await;
        if let Err(error) = ended {
            tracing::warn!(%error, session = %before.session, "the session that a browser had before could not be ended");
        }
    }
    arrival.enter(state, session)
}
