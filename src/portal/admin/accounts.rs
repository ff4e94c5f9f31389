//! `/admin/accounts`: people and services. For superusers; the keys of a service also for administrators of its sites.

mod deeds;
mod edit;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{
        PortalState, Refusal,
        form::Form,
        get,
        keys::{self, create},
        own_page::segment,
        page,
        table::{Column, Pager, View},
        times::Shown,
        visitor::SignedIn,
    },
    Notice, ON_A_PAGE,
};
use crate::{
    directory::{AccessEntry, AccessFilter, AccountFilter, AccountSort, Sort, TokenFilter, Window},
    domain::{
        account::{Account, AccountKind},
        text::Login,
        time::Timestamp,
        token::TokenState,
    },
};

const AT: &str = "/admin/accounts";

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource(AT).route(get().to(list)))
        .service(web::resource("/admin/new-account").route(get().to(edit::new)).route(web::post().to(edit::create)))
        .service(web::resource("/admin/accounts/{login}").route(get().to(show)))
        .service(web::resource("/admin/accounts/{login}/edit").route(get().to(edit::show)).route(web::post().to(edit::change)))
        .service(web::resource("/admin/accounts/{login}/keys").route(get().to(keys_of)))
        .service(web::resource("/admin/accounts/{login}/new-key").route(get().to(new_key)).route(web::post().to(make_key)))
        .service(
            web::resource("/admin/accounts/{login}/{deed}").route(get().to(deeds::ask)).route(web::post().to(deeds::carry_out)),
        );
}

/// One account as pages show it.
#[expect(clippy::struct_excessive_bools, reason = "as its record has them")]
struct AccountShown {
    login: String,
    /// Where its page is.
    path: String,
    /// The login as a piece of an address.
    segment: String,
    kind: AccountKind,
    name: Option<String>,
    email: Option<String>,
    superuser: bool,
    disabled: bool,
    may_mint: bool,
    has_factor: bool,
    must_have_factor: bool,
    created: Shown,
    version: u64,
}

impl AccountShown {
    fn new(account: Account, now: Timestamp) -> Self {
        Self {
            path: path(&account.login),
            segment: segment(account.login.as_str()),
            login: account.login.to_string(),
            kind: account.kind,
            name: account.name.map(|name| name.as_str().to_owned()),
            email: account.email.map(|email| email.as_str().to_owned()),
            superuser: account.superuser,
            disabled: account.disabled,
            may_mint: account.may_mint_tokens,
            has_factor: account.second_factor,
            must_have_factor: account.must_have_second_factor,
            created: Shown::new(account.created_at, now),
            version: account.version,
        }
    }

    // For templates.

    fn kind_in_words(&self) -> &'static str {
        match self.kind {
            AccountKind::Human => "Person",
            AccountKind::Service => "Service",
            AccountKind::Anonymous => "Built in",
        }
    }

    fn is_service(&self) -> bool {
        self.kind == AccountKind::Service
    }

    /// It is always there.
    fn is_built_in(&self) -> bool {
        self.kind == AccountKind::Anonymous
    }
}

fn path(login: &Login) -> String {
    format!("{AT}/{}", segment(login.as_str()))
}

/// A login in a path, where there may be anything.
fn login(text: &str) -> Result<Login, Refusal> {
    Login::parse(text).map_err(|_| Refusal::not_found())
}

#[derive(Default, Deserialize)]
struct Query {
    /// A login, or the beginning of one; `*` stands for any text.
    #[serde(default)]
    login: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    state: String,
    sort: Option<String>,
    after: Option<String>,
    notice: Option<Notice>,
}

impl Query {
    fn filter(&self) -> AccountFilter {
        let login = Some(self.login.trim()).filter(|login| !login.is_empty());
        AccountFilter {
            login: login.map(|login| if login.contains('*') { login.to_owned() } else { format!("{login}*") }),
            kind: [AccountKind::Human, AccountKind::Service].into_iter().find(|kind| kind.as_str() == self.kind),
            disabled: match self.state.as_str() {
                "enabled" => Some(false),
                "disabled" => Some(true),
                _ => None,
            },
            sort: self.sort.as_deref().and_then(Sort::<AccountSort>::parse),
        }
    }
}

#[derive(Template)]
#[template(path = "portal/admin/accounts.html")]
struct ListPage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    query: Query,
    filtered: bool,
    columns: Vec<Column>,
    accounts: Vec<AccountShown>,
    pager: Pager,
}

/// `GET /admin/accounts`
async fn list(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let query = query.map(web::Query::into_inner).unwrap_or_default();
    let view = View::at(AT)
        .with("login", Some(&query.login))
        .with("kind", Some(&query.kind))
        .with("state", Some(&query.state))
        .with("sort", Some(query.sort.as_deref().unwrap_or("login")));
    let window = Window { after: query.after.clone(), limit: ON_A_PAGE };
    let found = state.directory.accounts(&visitor.actor(&request), &query.filter(), &window).await?;
    let (next, now) = (found.next, state.clock.now());
    let accounts = found.items.into_iter().map(|account| AccountShown::new(account, now)).collect();
    let columns =
        vec![view.column("Account", "login"), Column::plain("Kind"), Column::plain("E-mail"), view.column("Created", "-created")];
    let (filtered, pager) = (view.is_filtered(), view.pager("after", query.after.as_deref(), next.as_deref()));
    let notice = query.notice;
    page(200, &ListPage { title: "Accounts", at: AT, visitor, notice, query, filtered, columns, accounts, pager })
}

/// What an account has, as far as it is counted.
#[derive(Debug, Default)]
struct Holdings {
    keys: usize,
    /// There are more than were counted.
    more_keys: bool,
    /// The key that was used last, and when and from where.
    last_key: Option<(String, String)>,
    sessions: usize,
    /// The same of sessions.
    more_sessions: bool,
    access: Vec<AccessEntry>,
}

impl Holdings {
    async fn of(state: &PortalState, request: &HttpRequest, visitor: &SignedIn, login: &Login) -> Result<Self, Refusal> {
        let (actor, now) = (visitor.actor(request), state.clock.now());
        let all = Window { after: None, limit: Window::MAX_LIMIT };
        let filter = TokenFilter { login: Some(login.clone()), ..TokenFilter::default() };
        let tokens = state.directory.tokens(&actor, &filter, &all).await?;
        let sessions = state.directory.sessions(&actor, Some(login), &all).await?;
        let filter = AccessFilter { login: Some(login.clone()), site: None };
        let access = state.directory.access(&actor, &filter, &all).await?.items;
        let good: Vec<_> = tokens.items.into_iter().filter(|info| info.state == TokenState::Active).collect();
        let last = good.iter().filter_map(|info| Some((info.last_used.clone()?, info))).max_by_key(|(used, _)| used.at);
        let last_key = last.map(|(used, info)| {
            let from = used.address.map(|address| format!(" from {address}")).unwrap_or_default();
            (info.token.name.as_str().to_owned(), format!("{}{from}", Shown::new(used.at, now).ago))
        });
        Ok(Self {
            keys: good.len(),
            more_keys: tokens.next.is_some(),
            last_key,
            sessions: sessions.items.len(),
            more_sessions: sessions.next.is_some(),
            access,
        })
    }
}

#[derive(Template)]
#[template(path = "portal/admin/account.html")]
struct ShowPage {
    title: String,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    account: AccountShown,
    holdings: Holdings,
}

/// `GET /admin/accounts/{login}`
async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    let account = find(&state, &request, &visitor, &path).await?;
    let holdings = Holdings::of(&state, &request, &visitor, &account.login).await?;
    let notice = query.and_then(|query| query.notice);
    let account = AccountShown::new(account, state.clock.now());
    page(200, &ShowPage { title: account.login.clone(), at: AT, visitor, notice, account, holdings })
}

/// The account of a login, for who may manage it.
async fn find(state: &PortalState, request: &HttpRequest, visitor: &SignedIn, text: &str) -> Result<Account, Refusal> {
    visitor.has_to_be_superuser()?;
    Ok(state.directory.account(&visitor.actor(request), &login(text)?).await?)
}

/// `GET /admin/accounts/{login}/keys`
async fn keys_of(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    query: Option<web::Query<keys::Query>>,
) -> Result<HttpResponse, Refusal> {
    keys::list_of(&state, &request, visitor, login(&path)?, query).await
}

fn for_service(text: &str) -> Result<create::For, Refusal> {
    let login = login(text)?;
    Ok(create::For {
        action: format!("{}/new-key", path(&login)),
        cancel: format!("{}/keys", path(&login)),
        login,
        at: "/admin/keys",
    })
}

/// `GET /admin/accounts/{login}/new-key`
async fn new_key(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    create::ask(&state, &request, visitor, for_service(&path)?).await
}

/// `POST /admin/accounts/{login}/new-key`
async fn make_key(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    form: Form<create::Fields>,
) -> Result<HttpResponse, Refusal> {
    create::make(&state, &request, visitor, for_service(&path)?, form).await
}
