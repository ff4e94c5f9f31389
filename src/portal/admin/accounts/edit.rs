//! The form of an account, for a new one and for one that is there.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::super::{
        PortalState, Refusal,
        form::{Form, Typed},
        go_to, once, page,
        problems::{Problems, sentence},
        visitor::SignedIn,
    },
    AT, AccountShown, find, login, path,
};
use crate::{
    directory::{AccountPatch, DirectoryError, FieldPatch, Made, NewAccount, fields},
    domain::{
        account::AccountKind,
        password::Password,
        text::{Email, Login},
    },
};

#[derive(Template)]
#[template(path = "portal/admin/account_edit.html")]
struct EditPage {
    title: String,
    at: &'static str,
    visitor: SignedIn,
    /// `None`: it is a new one.
    account: Option<AccountShown>,
    action: String,
    typed: Fields,
    problems: Problems,
}

impl EditPage {
    /// Whether it is one already; a new one may become either.
    fn is_service(&self) -> bool {
        self.account.as_ref().is_some_and(AccountShown::is_service)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// Of a new one.
    #[serde(default)]
    once: String,
    /// `human` or `service`, of a new one.
    #[serde(default)]
    kind: String,
    /// The version that was looked at, of one that is there.
    #[serde(default)]
    version: u64,
    login: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: Option<Typed>,
    #[serde(default)]
    superuser: Option<String>,
    #[serde(default)]
    may_mint: Option<String>,
    #[serde(default)]
    second_factor: Option<String>,
}

/// What of the fields can be in a record.
struct Read {
    login: Login,
    name: Option<crate::domain::text::Label>,
    email: Option<Email>,
    password: Option<Password>,
}

impl Fields {
    fn read(&self, problems: &mut Problems) -> Option<Read> {
        let login = problems.take("login", Login::parse(self.login.trim()));
        let name = Some(self.name.trim()).filter(|name| !name.is_empty());
        let name = name.map(|name| problems.take("name", fields::account_name(name)));
        let email = Some(self.email.trim()).filter(|email| !email.is_empty());
        let email = email.map(|email| problems.take("email", Email::parse(email)));
        let password = self.password.as_ref().map(Typed::expose).filter(|password| !password.is_empty());
        let password = password.map(|password| problems.take("password", Password::chosen(password)));
        if !problems.is_empty() {
            return None;
        }
        Some(Read { login: login?, name: name.flatten(), email: email.flatten(), password: password.flatten() })
    }
}

fn ask(visitor: SignedIn, account: Option<AccountShown>, typed: Fields, problems: Problems) -> Result<HttpResponse, Refusal> {
    let status = if problems.is_empty() { 200 } else { 422 };
    let title = account.as_ref().map_or_else(|| "New account".to_owned(), |account| format!("Edit {}", account.login));
    let action = account.as_ref().map_or_else(|| "/admin/new-account".to_owned(), |account| format!("{}/edit", account.path));
    page(status, &EditPage { title, at: AT, visitor, account, action, typed, problems })
}

/// `GET /admin/new-account`
pub(super) async fn new(state: web::Data<PortalState>, visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    visitor.has_confirmed(state.clock.now())?;
    let typed = Fields { once: once::new(), kind: "human".to_owned(), may_mint: Some("on".to_owned()), ..Fields::default() };
    ask(visitor, None, typed, Problems::default())
}

/// `POST /admin/new-account`
pub(super) async fn create(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let typed = form.proven_by(visitor.secret())?;
    let kind = match typed.kind.as_str() {
        "human" => AccountKind::Human,
        "service" => AccountKind::Service,
        _ => return Err(Refusal::bad_form()),
    };
    let actor = visitor.actor(&request).once(Some(once::read(&request, &typed.once)?));
    let mut problems = Problems::default();
    if let Some(Read { login, name, email, password }) = typed.read(&mut problems) {
        let new = NewAccount {
            name,
            email,
            superuser: typed.superuser.is_some(),
            may_mint_tokens: typed.may_mint.is_some(),
            must_have_second_factor: typed.second_factor.is_some(),
            password,
            ..NewAccount::new(login, kind)
        };
        match state.directory.create_account(&actor, new).await {
            Ok(account) => return Ok(go_to(&format!("{}?notice=created", path(&account.login)))),
            Err(DirectoryError::Replayed(Made::Account(id))) => {
                let account = state.directory.account_by_id(&actor.anew(), &id).await?;
                return Ok(go_to(&path(&account.login)));
            }
            Err(error) => note(error, &mut problems)?,
        }
    }
    ask(visitor, None, typed, problems)
}

/// `GET /admin/accounts/{login}/edit`
pub(super) async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let account = find(&state, &request, &visitor, &path).await?;
    visitor.has_confirmed(state.clock.now())?;
    let account = AccountShown::new(account, state.clock.now());
    let on = |is: bool| is.then(|| "on".to_owned());
    let typed = Fields {
        login: account.login.clone(),
        version: account.version,
        name: account.name.clone().unwrap_or_default(),
        email: account.email.clone().unwrap_or_default(),
        superuser: on(account.superuser),
        may_mint: on(account.may_mint),
        second_factor: on(account.must_have_factor),
        ..Fields::default()
    };
    ask(visitor, Some(account), typed, Problems::default())
}

/// `POST /admin/accounts/{login}/edit`
pub(super) async fn change(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let typed = form.proven_by(visitor.secret())?;
    let old = login(&path)?;
    let mut problems = Problems::default();
    if let Some(Read { login, name, email, password }) = typed.read(&mut problems) {
        let changes = AccountPatch {
            login: Some(login),
            name: name.map_or(FieldPatch::Clear, FieldPatch::Set),
            email: email.map_or(FieldPatch::Clear, FieldPatch::Set),
            superuser: Some(typed.superuser.is_some()),
            disabled: None,
            may_mint_tokens: Some(typed.may_mint.is_some()),
            must_have_second_factor: Some(typed.second_factor.is_some()),
            password,
        };
        match state.directory.update_account(&visitor.actor(&request), &old, changes, Some(typed.version)).await {
            Ok(account) => return Ok(go_to(&format!("{}?notice=changed", super::path(&account.login)))),
            Err(error) => note(error, &mut problems)?,
        }
    }
    let account = find(&state, &request, &visitor, old.as_str()).await?;
    ask(visitor, Some(AccountShown::new(account, state.clock.now())), typed, problems)
}

/// What can be mended in the form.
fn note(error: DirectoryError, problems: &mut Problems) -> Result<(), Refusal> {
    match error {
        DirectoryError::Invalid(invalid) => problems.note(&invalid),
        DirectoryError::Taken { field, detail, .. } => problems.add(field, sentence(&detail)),
        DirectoryError::Refused { code: "last_superuser", detail, .. } => problems.add("superuser", sentence(&detail)),
        error => return Err(error.into()),
    }
    Ok(())
}
