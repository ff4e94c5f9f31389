//! `/security/totp`: an authenticator app is set up, by who is in, and by who must have a second factor before he is in. For
//! him the page stands alone, and keeps the way back.

use std::fmt;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    super::{
        PortalState, Refusal,
        arrival::{Arrival, SET_UP, SIGN_IN},
        attempt::Failed,
        form::{Form, Typed},
        go_to, page,
        qr::Picture,
        second_factor::CodeFailed,
        visitor::{Newcomer, SignedIn, keep},
    },
    recovery,
};
use crate::{
    directory::{DirectoryError, Handed, NewTotp, TotpAdded, TotpSetup, fields, handed_over},
    domain::{factor::PresentedCode, seal::Sealed, session::Stage, text::Invalid},
};

/// What is to be filled in again, and why.
enum Problem {
    With {
        field: &'static str,
        text: String,
    },
    /// The code of the factor that there is already did not help.
    Proof(CodeFailed),
}

impl Problem {
    fn with(field: &'static str, text: impl Into<String>) -> Self {
        Self::With { field, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With { text, .. } => f.write_str(text),
            Self::Proof(failed) => failed.fmt(f),
        }
    }
}

/// The form, which both pages have.
struct Asked {
    csrf: String,
    problem: Option<Problem>,
    action: String,
    /// Four letters at a time, for who types it.
    secret: Zeroizing<String>,
    picture: Option<Picture>,
    setup: String,
    name: String,
    /// Whether a code of a factor that there is already is asked for.
    proof: bool,
}

impl Asked {
    fn new(state: &PortalState, visitor: &SignedIn, arrival: &Arrival, begun: &TotpSetup) -> Self {
        let secret = begun.secret.to_base32();
        let groups: Vec<_> = secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        Self {
            csrf: visitor.csrf(),
            problem: None,
            action: arrival.link(SET_UP),
            secret: Zeroizing::new(groups.join(" ")),
            picture: Picture::of(&begun.secret.uri(state.url.host().as_str(), visitor.login())),
            setup: begun.setup.to_text(),
            name: "Authenticator app".to_owned(),
            proof: visitor.account.second_factor,
        }
    }

    fn wrong(&self, field: &str) -> bool {
        match &self.problem {
            Some(Problem::With { field: wrong, .. }) => *wrong == field,
            Some(Problem::Proof(CodeFailed(failed))) => field == "proof" && matches!(failed, Failed::Wrong),
            None => false,
        }
    }
}

/// For who is in.
#[derive(Template)]
#[template(path = "portal/security/totp.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    asked: Asked,
}

/// For who is not.
#[derive(Template)]
#[template(path = "portal/security/totp_first.html")]
struct FirstPage {
    title: &'static str,
    login: String,
    asked: Asked,
}

fn ask(Newcomer { visitor, stage }: Newcomer, asked: Asked) -> Result<HttpResponse, Refusal> {
    let status = match &asked.problem {
        None => 200,
        Some(Problem::With { .. }) => 422,
        Some(Problem::Proof(CodeFailed(failed))) => failed.status(),
    };
    let title = "Set up an authenticator app";
    if stage == Stage::Whole {
        page(status, &Page { title, at: "/security", visitor, asked })
    } else {
        page(status, &FirstPage { title, login: visitor.login().to_owned(), asked })
    }
}

/// Who may be here, and where he goes afterwards.
async fn arrived(state: &PortalState, request: &HttpRequest) -> Result<(Option<Newcomer>, Arrival), Refusal> {
    let arrival = Arrival::read(request.query_string(), &state.hosts);
    let newcomer = Newcomer::find(state, request).await?.filter(|newcomer| newcomer.stage >= Stage::SetsUp);
    Ok((newcomer, arrival))
}

/// `GET /security/totp`
pub(in super::super) async fn show(state: web::Data<PortalState>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let (newcomer, arrival) = arrived(&state, &request).await?;
    match (newcomer, state.clock.now()) {
        (None, _) if request.query_string().is_empty() => Err(Refusal::SignInFirst),
        (None, _) => Ok(go_to(&arrival.link(SIGN_IN))),
        (Some(Newcomer { visitor, stage: Stage::SetsUp }), now) if visitor.has_confirmed(now).is_err() => {
            Ok(go_to(&arrival.link(SIGN_IN)))
        }
        (Some(newcomer), now) => {
            newcomer.visitor.has_confirmed(now)?;
            let begun = state.directory.begin_totp(&newcomer.visitor.actor(&request)).await?;
            let asked = Asked::new(&state, &newcomer.visitor, &arrival, &begun);
            ask(newcomer, asked)
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Fields {
    setup: String,
    name: String,
    code: Typed,
    proof: Option<Typed>,
}

/// `POST /security/totp`
pub(in super::super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let (newcomer, arrival) = arrived(&state, &request).await?;
    let newcomer = newcomer.ok_or(Refusal::SignInFirst)?;
    let Fields { setup, name, code, proof } = form.proven_by(newcomer.visitor.secret())?;
    let actor = newcomer.visitor.actor(&request);
    let setup = Sealed::parse(&setup).ok_or_else(Refusal::stale_form)?;
    let begun = match state.directory.resume_totp(&actor, setup.clone()).await {
        Err(DirectoryError::Refused { code: "setup_stale", .. }) => return Err(Refusal::stale_form()),
        begun => begun?,
    };
    let again = |problem: Problem| Asked {
        problem: Some(problem),
        name: name.clone(),
        ..Asked::new(&state, &newcomer.visitor, &arrival, &begun)
    };
    let new = match read(&setup, &name, &code, proof.as_ref()) {
        Ok(new) => new,
        Err(problem) => {
            let asked = again(problem);
            return ask(newcomer, asked);
        }
    };
    match handed_over(state.directory.add_totp(&actor, &new)).await {
        Ok(Handed { over: TotpAdded { session, codes }, confirmed }) => {
            let visitor = Newcomer::with(&state, session.secret.clone()).await?.and_then(Newcomer::when_in);
            let way_on = if newcomer.stage == Stage::Whole { "/security".to_owned() } else { arrival.link(SIGN_IN) };
            let mut response = match (codes, visitor) {
                (Some(over), Some(visitor)) => recovery::shown(visitor, Handed { over, confirmed }, way_on, true)?,
                _ if !confirmed => go_to("/security?notice=added_unconfirmed"),
                _ => go_to(&way_on),
            };
            keep(&state, &session, &mut response)?;
            Ok(response)
        }
        Err(DirectoryError::Invalid(Invalid { code: "first_code_wrong", .. })) => {
            let asked = again(Problem::with("code", FIRST_CODE_WRONG));
            ask(newcomer, asked)
        }
        Err(DirectoryError::Invalid(invalid)) => {
            let asked = again(Problem::with("name", super::super::problems::sentence(&invalid.detail)));
            ask(newcomer, asked)
        }
        Err(error) => {
            let asked = again(Problem::Proof(CodeFailed(Failed::read(error, state.clock.now())?)));
            ask(newcomer, asked)
        }
    }
}

const FIRST_CODE_WRONG: &str =
    "This is not the code that belongs to this secret. Wait for the next one, and look whether the time of your phone is right.";

fn read(setup: &Sealed, name: &str, code: &Typed, proof: Option<&Typed>) -> Result<NewTotp, Problem> {
    let name = fields::factor_name(name.trim())
        .map_err(|invalid| Problem::with("name", super::super::problems::sentence(&invalid.detail)))?;
    let code = PresentedCode::parse(code.expose()).ok_or_else(|| Problem::with("code", FIRST_CODE_WRONG))?;
    let wrong = || Problem::Proof(CodeFailed(Failed::Wrong));
    let proof = proof.map(|proof| PresentedCode::parse(proof.expose()).ok_or_else(wrong)).transpose()?;
    Ok(NewTotp { setup: setup.clone(), name, code, proof })
}
