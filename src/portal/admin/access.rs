//! `/admin/access`: who may do how much where, accounts by sites; and changing one of these.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{
        PortalState, Refusal,
        form::Form,
        get, go_to,
        own_page::segment,
        page,
        problems::{Problems, sentence},
        table::{Pager, View},
        visitor::SignedIn,
    },
    Notice,
    sites::is_administrator,
};
use crate::{
    directory::{AccessFilter, Actor, Direction, DirectoryError, Window},
    domain::{access::Level, site::SiteName, text::Login},
};

const AT: &str = "/admin/access";
/// Sites beside each other, and accounts beneath each other, on one page.
const SITES: usize = 5;
const ACCOUNTS: usize = 25;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource(AT).route(get().to(show)))
        .service(web::resource("/admin/give-access").route(get().to(ask)).route(web::post().to(set)));
}

#[derive(Default, Deserialize)]
struct Query {
    /// Only this site.
    #[serde(default)]
    site: String,
    /// Only the account of this login; or else those whose login has this in it.
    #[serde(default)]
    q: String,
    /// The last site of the page before.
    after: Option<String>,
    /// The last account that was looked at for the part before, and how many of this part were on the pages before.
    from: Option<String>,
    skip: Option<usize>,
    notice: Option<Notice>,
}

/// One account, with its level on each of the sites.
struct Row {
    login: String,
    /// The same as a piece of an address.
    segment: String,
    levels: Vec<Level>,
}

#[derive(Template)]
#[template(path = "portal/admin/access.html")]
struct MatrixPage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    query: Query,
    filtered: bool,
    sites: Vec<SiteName>,
    rows: Vec<Row>,
    /// These are not all who have access to one of the sites.
    parted: bool,
    /// Through accounts, and through sites.
    pager: Pager,
    other_sites: Pager,
}

/// A part of the matrix.
#[derive(Default)]
struct Part {
    sites: Vec<SiteName>,
    next_site: Option<String>,
    levels: BTreeMap<Login, Vec<Level>>,
    /// The last account that was looked at, where there are more.
    next: Option<String>,
}

impl Part {
    /// The line of an account, with the sites that it has access to; `None` where there is no such account for who asks.
    async fn of(state: &PortalState, actor: &Actor, login: Login, query: &Query) -> Result<Option<Self>, Refusal> {
        let site = match query.site.trim() {
            "" => None,
            site => match SiteName::parse(site) {
                Ok(site) => Some(site),
                Err(_) => return Ok(None),
            },
        };
        let filter = AccessFilter { login: Some(login), site };
        let window = Window { after: query.after.clone(), limit: SITES };
        let found = match state.directory.access(actor, &filter, &window).await {
            Err(DirectoryError::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let mut part = Self { next_site: found.next, ..Self::default() };
        for row in found.items {
            part.sites.push(row.site);
            part.levels.entry(row.login).or_default().push(row.level);
        }
        Ok(Some(part))
    }

    /// Accounts on the sites that are shown beside each other: those that come first by their ids, which is the order in which
    /// they are found.
    async fn all(state: &PortalState, actor: &Actor, query: &Query) -> Result<Self, Refusal> {
        let (sites, next_site) = if query.site.is_empty() {
            let window = Window { after: query.after.clone(), limit: SITES };
            let found = state.directory.sites(actor, Direction::Ascending, &window).await?;
            (found.items.into_iter().map(|site| site.site).collect::<Vec<_>>(), found.next)
        } else {
            (SiteName::parse(query.site.trim()).into_iter().collect(), None)
        };
        let wanted = query.q.trim().to_lowercase();
        let mut rows = Vec::new();
        let mut next: Option<String> = None;
        for (index, site) in sites.iter().enumerate() {
            let filter = AccessFilter { login: None, site: Some(site.clone()) };
            let part = Window { after: query.from.clone(), limit: Window::MAX_LIMIT };
            let found = match state.directory.access(actor, &filter, &part).await {
                // It has gone, or is none of his business: nobody has access there.
                Err(DirectoryError::NotFound { .. } | DirectoryError::Refused { .. }) => continue,
                found => found?,
            };
            rows.extend(found.items.into_iter().map(|row| (index, row)));
            next = match (next, found.next) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        // Of accounts beyond that, not all sites have been looked at.
        rows.retain(|(_, row)| next.as_deref().is_none_or(|last| row.account.as_str() <= last));
        let mut levels = BTreeMap::new();
        for (index, row) in rows.into_iter().filter(|(_, row)| row.login.folded().contains(&wanted)) {
            levels.entry(row.login).or_insert_with(|| vec![Level::None; sites.len()])[index] = row.level;
        }
        Ok(Self { sites, next_site, levels, next })
    }
}

/// `GET /admin/access`
async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    is_administrator(&visitor)?;
    let query = query.map(web::Query::into_inner).unwrap_or_default();
    let actor = visitor.actor(&request);
    let one = match Login::parse(query.q.trim()) {
        Ok(login) => Part::of(&state, &actor, login, &query).await?,
        Err(_) => None,
    };
    let Part { sites, next_site, levels, next: next_part } = match one {
        Some(part) => part,
        None => Part::all(&state, &actor, &query).await?,
    };
    let skip = query.skip.unwrap_or(0);
    let next = Some(skip.saturating_add(ACCOUNTS)).filter(|next| *next < levels.len()).map(|next| next.to_string());
    let parted = next_part.is_some() || query.from.is_some();
    let row = |(login, levels): (Login, _)| Row { segment: segment(login.as_str()), login: login.to_string(), levels };
    let rows = levels.into_iter().skip(skip).take(ACCOUNTS).map(row).collect();
    let view = View::at(AT).with("site", Some(&query.site)).with("q", Some(&query.q));
    let filtered = view.is_filtered();
    let other_sites = view.pager("after", query.after.as_deref(), next_site.as_deref());
    let view = view.with("after", query.after.as_deref());
    let begun = query.skip.map(|skip| skip.to_string()).or_else(|| query.from.clone());
    let first = view.pager("", begun.as_deref(), None).first;
    let next = match next {
        Some(skip) => view.with("from", query.from.as_deref()).pager("skip", None, Some(&skip)).next,
        None => view.pager("from", None, next_part.as_deref()).next,
    };
    let (notice, pager) = (query.notice, Pager { first, next });
    page(200, &MatrixPage { title: "Access", at: AT, visitor, notice, query, filtered, sites, rows, parted, pager, other_sites })
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    login: String,
    #[serde(default)]
    site: String,
    #[serde(default)]
    level: String,
}

#[derive(Template)]
#[template(path = "portal/admin/access_edit.html")]
struct EditPage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    /// What it is now, where that is known.
    now: Option<Level>,
    typed: Fields,
    problems: Problems,
    sites: Vec<SiteName>,
}

/// `GET /admin/give-access?login=…&site=…`
async fn ask(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Fields>>,
) -> Result<HttpResponse, Refusal> {
    is_administrator(&visitor)?;
    visitor.has_confirmed(state.clock.now())?;
    let mut typed = query.map(web::Query::into_inner).unwrap_or_default();
    let now = match (Login::parse(&typed.login), SiteName::parse(&typed.site)) {
        (Ok(login), Ok(site)) => {
            let filter = AccessFilter { login: Some(login), site: Some(site) };
            match state.directory.access(&visitor.actor(&request), &filter, &Window::default()).await {
                Ok(found) => Some(found.items.first().map_or(Level::None, |row| row.level)),
                Err(DirectoryError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            }
        }
        _ => None,
    };
    if let Some(now) = now {
        now.as_str().clone_into(&mut typed.level);
    }
    form(&state, &request, visitor, now, typed, Problems::default()).await
}

async fn form(
    state: &PortalState,
    request: &HttpRequest,
    visitor: SignedIn,
    now: Option<Level>,
    typed: Fields,
    problems: Problems,
) -> Result<HttpResponse, Refusal> {
    let window = Window { after: None, limit: Window::DEFAULT_LIMIT };
    let sites = state.directory.sites(&visitor.actor(request), Direction::Ascending, &window).await?;
    let sites = sites.items.into_iter().map(|site| site.site).collect();
    let status = if problems.is_empty() { 200 } else { 422 };
    page(status, &EditPage { title: "Give or take access", at: AT, visitor, now, typed, problems, sites })
}

/// `POST /admin/give-access`
async fn set(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form_sent: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let typed = form_sent.proven_by(visitor.secret())?;
    is_administrator(&visitor)?;
    let mut problems = Problems::default();
    let login = problems.take("login", Login::parse(typed.login.trim()));
    let site = problems.take("site", SiteName::parse(typed.site.trim()));
    let level = Level::parse(&typed.level);
    if level.is_none() {
        problems.add("level", "Choose a level.");
    }
    if let (Some(login), Some(site), Some(level)) = (login, site, level) {
        match state.directory.set_access(&visitor.actor(&request), &login, &site, level).await {
            Ok(_) => return Ok(go_to(&format!("{AT}?notice=changed"))),
            Err(DirectoryError::NotFound { what, name }) => {
                let field = if what == "site" { "site" } else { "login" };
                problems.add(field, format!("There is no {what} “{name}”."));
            }
            Err(DirectoryError::Invalid(invalid)) => problems.note(&invalid),
            Err(DirectoryError::Refused { code, detail, .. }) if code != "password_confirmation_required" => {
                problems.add("level", sentence(&detail));
            }
            Err(error) => return Err(error.into()),
        }
    }
    form(&state, &request, visitor, None, typed, problems).await
}
