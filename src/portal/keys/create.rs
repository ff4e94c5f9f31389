//! `/keys/new`: a key is made, no stronger than its owner. Before a powerful one it is said in words what it could do.

mod choices;
mod read;

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{PortalState, Refusal, form::Form, once, page, problems::Problems, visitor::SignedIn},
    made,
};
use crate::{
    directory::{DirectoryError, handed_over},
    domain::text::{Invalid, Login},
};
pub(in super::super) use choices::Choices;

/// What was chosen, as the form has it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in super::super) struct Fields {
    once: String,
    name: String,
    #[serde(default)]
    device: String,
    /// `all`, `every` or `sites`.
    rights: String,
    /// The level for every site.
    #[serde(default)]
    every: String,
    /// A site that is not among those that are offered, and the level there.
    #[serde(default)]
    other_site: String,
    #[serde(default)]
    other_level: String,
    expires: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    networks: String,
    /// It is taken in URLs too.
    #[serde(default)]
    in_urls: Option<String>,
    /// `really`, or `back` to the form.
    #[serde(default)]
    step: String,
    /// `site.NAME`: its level; `scope.NAME`: chosen.
    #[serde(flatten)]
    more: BTreeMap<String, String>,
}

impl Fields {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = [
            ("once", &self.once),
            ("name", &self.name),
            ("device", &self.device),
            ("rights", &self.rights),
            ("every", &self.every),
            ("other_site", &self.other_site),
            ("other_level", &self.other_level),
            ("expires", &self.expires),
            ("until", &self.until),
            ("networks", &self.networks),
        ];
        let own = own.into_iter().map(|(name, value)| (name, value.as_str()));
        let more = self.more.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(self.in_urls.as_deref().map(|value| ("in_urls", value))).chain(more)
    }
}

#[derive(Template)]
#[template(path = "portal/keys/new.html")]
struct FormPage {
    title: String,
    at: &'static str,
    visitor: SignedIn,
    action: String,
    cancel: String,
    choices: Choices,
    typed: Fields,
    problems: Problems,
}

#[derive(Template)]
#[template(path = "portal/keys/sure.html")]
struct SurePage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    action: String,
    owner: Option<Login>,
    name: String,
    warnings: Vec<String>,
    typed: Fields,
}

/// For whom a key is made, and by the form at which address.
pub(in super::super) struct For {
    pub login: Login,
    pub action: String,
    /// Where it goes without one.
    pub cancel: String,
    pub at: &'static str,
}

impl For {
    fn oneself(visitor: &SignedIn) -> Self {
        Self { login: visitor.account.login.clone(), action: "/keys/new".to_owned(), cancel: "/keys".to_owned(), at: "/keys" }
    }
}

/// `GET /keys/new`
pub(super) async fn show(state: web::Data<PortalState>, request: HttpRequest, visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    let whom = For::oneself(&visitor);
    ask(&state, &request, visitor, whom).await
}

/// `POST /keys/new`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let whom = For::oneself(&visitor);
    make(&state, &request, visitor, whom, form).await
}

/// The form, with nothing in it yet.
pub(in super::super) async fn ask(
    state: &PortalState,
    request: &HttpRequest,
    visitor: SignedIn,
    whom: For,
) -> Result<HttpResponse, Refusal> {
    let choices = Choices::of(state, request, &visitor, &whom.login).await?;
    if choices.may_mint {
        visitor.has_confirmed(state.clock.now())?;
    }
    let typed = Fields {
        once: once::new(),
        rights: "all".to_owned(),
        expires: choices.expiries.iter().find(|choice| choice.usual).map(|choice| choice.value.clone()).unwrap_or_default(),
        ..Fields::default()
    };
    filled(200, visitor, whom, choices, typed, Problems::default())
}

fn filled(
    status: u16,
    visitor: SignedIn,
    whom: For,
    choices: Choices,
    typed: Fields,
    problems: Problems,
) -> Result<HttpResponse, Refusal> {
    let title = if choices.own { "Create a key".to_owned() } else { format!("Create a key for {}", whom.login) };
    page(status, &FormPage { title, at: whom.at, visitor, action: whom.action, cancel: whom.cancel, choices, typed, problems })
}

/// What the form came to: the key, the warning before it, or the form again.
pub(in super::super) async fn make(
    state: &PortalState,
    request: &HttpRequest,
    visitor: SignedIn,
    whom: For,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let typed = form.proven_by(visitor.secret())?;
    if !typed.are_known() {
        return Err(Refusal::bad_form());
    }
    let key = once::read(request, &typed.once)?;
    let choices = Choices::of(state, request, &visitor, &whom.login).await?;
    let mut problems = Problems::default();
    let Some(new) = read::token(&typed, &whom.login, &choices, &mut problems) else {
        return filled(422, visitor, whom, choices, typed, problems);
    };
    if typed.step == "back" {
        return filled(200, visitor, whom, choices, typed, problems);
    }
    let warnings = choices.warnings(&new);
    if !warnings.is_empty() && typed.step != "really" {
        let owner = (!choices.own).then_some(whom.login);
        let name = new.name.as_str().to_owned();
        let title = "Do you really want this key?";
        return page(200, &SurePage { title, at: whom.at, visitor, action: whom.action, owner, name, warnings, typed });
    }
    match handed_over(state.directory.create_token(&visitor.actor(request).once(Some(key)), new)).await {
        Ok(made) => made::show(state, request, visitor, made).await,
        Err(DirectoryError::Invalid(invalid)) => {
            problems.note(&read::beside(invalid));
            filled(422, visitor, whom, choices, typed, problems)
        }
        Err(DirectoryError::Refused { field: Some(field), detail, .. }) => {
            problems.note(&read::beside(Invalid::new("refused", field, detail)));
            filled(422, visitor, whom, choices, typed, problems)
        }
        Err(DirectoryError::NotFound { what: "site", name }) => {
            problems.add("rights", format!("There is no site “{name}” that this key could be for."));
            filled(422, visitor, whom, choices, typed, problems)
        }
        Err(error) => made::made_before(error),
    }
}
