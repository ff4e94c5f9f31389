//! `/keys`: the keys that clients hold for somebody. Listed, shown, made, renamed, rotated, revoked; each is one page. A key is
//! what the API calls a token.

mod change;
pub(super) mod create;
mod example;
pub(super) mod listed;
mod made;
pub(super) mod revoke;
mod shown;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    PortalState, Refusal, get,
    own_page::segment,
    page,
    table::{Column, Pager, View},
    visitor::SignedIn,
};
use crate::{
    directory::{TokenFilter, TokenInfo, Window},
    domain::{text::Login, token::TokenId},
};
use listed::{Listed, Unsorted};
pub(super) use shown::KeyShown;

/// How many are on one page.
const ON_A_PAGE: usize = 25;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    let form = |path: &str| web::resource(path);
    cfg.service(web::resource("/keys").route(get().to(list)))
        .service(form("/keys/new").route(get().to(create::show)).route(web::post().to(create::submit)))
        .service(form("/keys/revoke").route(get().to(revoke::show)).route(web::post().to(revoke::submit)))
        .service(form("/keys/{id}/edit").route(get().to(change::show)).route(web::post().to(change::submit)))
        .service(form("/keys/{id}/rotate").route(get().to(made::ask)).route(web::post().to(made::rotate)))
        .service(web::resource("/keys/{id}").route(get().to(show)));
}

/// What has just been done. A link may name one, so none of them says more than that.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Notice {
    Renamed,
    Revoked,
    /// The form was sent twice.
    MadeBefore,
}

impl Notice {
    fn text(self) -> &'static str {
        match self {
            Self::Renamed => "The key has a new description.",
            Self::Revoked => "Revoked. Within a moment, every request with it is refused.",
            Self::MadeBefore => {
                "This key has been made already, and its text was shown then. If you have not kept it, rotate the key to get another."
            }
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    name: String,
    #[serde(default)]
    device: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    sort: String,
    after: Option<String>,
    notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "portal/keys/list.html")]
struct ListPage {
    title: String,
    at: &'static str,
    visitor: SignedIn,
    /// They are the visitor's.
    own: bool,
    owner: String,
    /// The page of their account.
    account: String,
    /// Where this list is.
    path: String,
    /// Where one is made, if he may.
    new: Option<String>,
    notice: Option<Notice>,
    query: Query,
    filtered: bool,
    columns: Vec<Column>,
    keys: Vec<KeyShown>,
    /// How the table is sorted, in words.
    order: &'static str,
    unsorted: Option<Unsorted>,
    pager: Pager,
}

/// `GET /keys`
async fn list(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    let own = visitor.account.login.clone();
    list_of(&state, &request, visitor, own, query).await
}

/// Whose keys are listed where, and made where.
fn places(visitor: &SignedIn, login: &Login) -> (String, String) {
    if *login == visitor.account.login {
        return ("/keys".to_owned(), "/keys/new".to_owned());
    }
    let account = format!("/admin/accounts/{}", segment(login.as_str()));
    (format!("{account}/keys"), format!("{account}/new-key"))
}

/// The keys of an account.
pub(super) async fn list_of(
    state: &PortalState,
    request: &HttpRequest,
    visitor: SignedIn,
    login: Login,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    let mut query = query.map(web::Query::into_inner).unwrap_or_default();
    let own = login == visitor.account.login;
    let (path, new) = places(&visitor, &login);
    let filter = TokenFilter {
        login: Some(login.clone()),
        state: listed::state(&query.state),
        name: listed::like(&query.name),
        device: listed::like(&query.device),
        sort: Some(listed::sorted(&mut query.sort)),
        ..TokenFilter::default()
    };
    let window = Window { after: query.after.clone(), limit: ON_A_PAGE };
    let Listed { items, next, unsorted } = listed::listed(state, &visitor.actor(request), filter, &window).await?;
    let (now, rules) = (state.clock.now(), state.directory.token_rules());
    let keys = items.into_iter().map(|info| KeyShown::new(info, &visitor, rules, now)).collect();
    let order = listed::order(&query.sort, unsorted);
    let view = View::at(&path)
        .with("name", Some(&query.name))
        .with("device", Some(&query.device))
        .with("state", Some(&query.state))
        .with("sort", Some(&query.sort));
    let columns = vec![
        Column::unseen("Choose"),
        view.column("Key", "name"),
        Column::plain("May do"),
        view.column("Created", listed::NEWEST_FIRST),
        view.column("Expires", "expires"),
        view.column("Last used", "-used"),
    ];
    let (filtered, pager) = (view.is_filtered(), view.pager("after", query.after.as_deref(), next.as_deref()));
    let notice = query.notice;
    let title = if own { "Your keys".to_owned() } else { format!("Keys of {login}") };
    let (owner, account) = (login.to_string(), path.trim_end_matches("/keys").to_owned());
    let (at, new) = (at(own), Some(new).filter(|_| visitor.account.may_mint_tokens));
    let list = ListPage {
        title,
        at,
        visitor,
        own,
        owner,
        account,
        path,
        new,
        notice,
        query,
        filtered,
        columns,
        keys,
        order,
        unsorted,
        pager,
    };
    page(200, &list)
}

/// What in the navigation leads to somebody's keys.
fn at(own: bool) -> &'static str {
    if own { "/keys" } else { "/admin/keys" }
}

#[derive(Template)]
#[template(path = "portal/keys/show.html")]
struct ShowPage {
    title: String,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    key: KeyShown,
}

/// `GET /keys/{id}`
async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    let info = find(&state, &request, &visitor, &path).await?;
    let key = KeyShown::new(info, &visitor, state.directory.token_rules(), state.clock.now());
    let notice = query.and_then(|query| query.notice);
    page(200, &ShowPage { title: key.name.clone(), at: at(key.owner.is_none()), visitor, notice, key })
}

/// The key of an id, where the visitor sees it.
async fn find(state: &PortalState, request: &HttpRequest, visitor: &SignedIn, id: &str) -> Result<TokenInfo, Refusal> {
    let id = TokenId::parse(id).ok_or_else(Refusal::not_found)?;
    Ok(state.directory.token(&visitor.actor(request), &id).await?)
}
