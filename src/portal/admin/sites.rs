//! `/admin/sites`: what access is given on. Their administrators see theirs, and name them; superusers all, with the hosts.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{
        PortalState, Refusal,
        form::Form,
        get, go_to, once, page,
        problems::{Problems, sentence},
        table::{Column, Pager, View},
        visitor::SignedIn,
    },
    Notice, ON_A_PAGE,
};
use crate::{
    directory::{AccessFilter, Direction, DirectoryError, FieldPatch, Made, NewSite, SitePatch, Window, fields},
    domain::{
        site::{Host, Site, SiteName},
        text::{Invalid, Label},
    },
};

const AT: &str = "/admin/sites";

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource(AT).route(get().to(list)))
        .service(web::resource("/admin/new-site").route(get().to(new)).route(web::post().to(create)))
        .service(web::resource("/admin/sites/{site}").route(get().to(show)).route(web::post().to(change)))
        .service(web::resource("/admin/sites/{site}/delete").route(get().to(ask_to_delete)).route(web::post().to(delete)));
}

#[derive(Default, Deserialize)]
struct Query {
    sort: Option<String>,
    after: Option<String>,
    notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "portal/admin/sites.html")]
struct ListPage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    columns: Vec<Column>,
    sites: Vec<Site>,
    pager: Pager,
}

/// `GET /admin/sites`
async fn list(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    is_administrator(&visitor)?;
    let Query { sort, after, notice } = query.map(web::Query::into_inner).unwrap_or_default();
    let window = Window { after: after.clone(), limit: ON_A_PAGE };
    let direction = if sort.as_deref() == Some("-id") { Direction::Descending } else { Direction::Ascending };
    let found = state.directory.sites(&visitor.actor(&request), direction, &window).await?;
    let view = View::at(AT).with("sort", Some(sort.as_deref().unwrap_or("id")));
    let columns = vec![view.column("Site", "id"), Column::plain("Hosts"), Column::plain("Access")];
    let pager = view.pager("after", after.as_deref(), found.next.as_deref());
    page(200, &ListPage { title: "Sites", at: AT, visitor, notice, columns, sites: found.items, pager })
}

pub(super) fn is_administrator(visitor: &SignedIn) -> Result<(), Refusal> {
    if visitor.account.superuser || visitor.administers_sites { Ok(()) } else { Err(Refusal::not_found()) }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// Of a new one.
    #[serde(default)]
    once: String,
    #[serde(default)]
    id: String,
    /// The version that was looked at, of one that is there.
    #[serde(default)]
    version: u64,
    #[serde(default)]
    name: String,
    hosts: Option<String>,
}

impl Fields {
    fn name(&self, problems: &mut Problems) -> Option<Label> {
        let name = Some(self.name.trim()).filter(|name| !name.is_empty())?;
        problems.take("name", fields::site_name(name))
    }

    fn hosts(&self, problems: &mut Problems) -> Vec<Host> {
        let words = self.hosts.as_deref().unwrap_or_default().split([' ', ',', '\r', '\n', '\t']);
        let hosts = words.filter(|word| !word.is_empty()).map(Host::parse).collect::<Result<Vec<_>, Invalid>>();
        problems.take("hosts", hosts).unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "portal/admin/site.html")]
struct EditPage {
    title: String,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    /// `None`: it is a new one.
    site: Option<SiteName>,
    action: String,
    typed: Fields,
    problems: Problems,
}

fn ask(
    visitor: SignedIn,
    site: Option<SiteName>,
    notice: Option<Notice>,
    typed: Fields,
    problems: Problems,
) -> Result<HttpResponse, Refusal> {
    let status = if problems.is_empty() { 200 } else { 422 };
    let title = site.as_ref().map_or_else(|| "New site".to_owned(), ToString::to_string);
    let action = site.as_ref().map_or_else(|| "/admin/new-site".to_owned(), |site| format!("{AT}/{site}"));
    page(status, &EditPage { title, at: AT, visitor, notice, site, action, typed, problems })
}

/// `GET /admin/new-site`
async fn new(visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    ask(visitor, None, None, Fields { once: once::new(), ..Fields::default() }, Problems::default())
}

/// `POST /admin/new-site`
async fn create(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let typed = form.proven_by(visitor.secret())?;
    let actor = visitor.actor(&request).once(Some(once::read(&request, &typed.once)?));
    let mut problems = Problems::default();
    let site = problems.take("id", SiteName::parse(typed.id.trim()));
    let (name, hosts) = (typed.name(&mut problems), typed.hosts(&mut problems));
    if let (Some(site), true) = (site, problems.is_empty()) {
        match state.directory.create_site(&actor, NewSite { site, name, hosts }).await {
            Ok(site) => return Ok(go_to(&format!("{AT}/{}?notice=created", site.site))),
            Err(DirectoryError::Replayed(Made::Site(site))) => return Ok(go_to(&format!("{AT}/{site}"))),
            Err(error) => note(error, &mut problems)?,
        }
    }
    ask(visitor, None, None, typed, problems)
}

/// What can be mended in the form.
fn note(error: DirectoryError, problems: &mut Problems) -> Result<(), Refusal> {
    match error {
        DirectoryError::Invalid(invalid) => problems.note(&invalid),
        DirectoryError::Taken { field, detail, .. } => problems.add(field, sentence(&detail)),
        error => return Err(error.into()),
    }
    Ok(())
}

async fn find(state: &PortalState, request: &HttpRequest, visitor: &SignedIn, text: &str) -> Result<Site, Refusal> {
    let site = SiteName::parse(text).map_err(|_| Refusal::not_found())?;
    match state.directory.site(&visitor.actor(request), &site).await {
        // He knows it, and does not administer it.
        Err(DirectoryError::Refused { code: "site_admin_required", .. }) => Err(Refusal::not_found()),
        found => Ok(found?),
    }
}

/// `GET /admin/sites/{site}`
async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    let site = find(&state, &request, &visitor, &path).await?;
    // A host gives who has access more to get to.
    if visitor.account.superuser {
        visitor.has_confirmed(state.clock.now())?;
    }
    let typed = Fields {
        version: site.version,
        name: site.name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
        hosts: Some(site.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        ..Fields::default()
    };
    let notice = query.and_then(|query| query.notice);
    ask(visitor, Some(site.site), notice, typed, Problems::default())
}

/// `POST /admin/sites/{site}`
async fn change(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let typed = form.proven_by(visitor.secret())?;
    let site = SiteName::parse(&path).map_err(|_| Refusal::not_found())?;
    let mut problems = Problems::default();
    let name = typed.name(&mut problems).map_or(FieldPatch::Clear, FieldPatch::Set);
    let hosts = typed.hosts.is_some().then(|| typed.hosts(&mut problems));
    if problems.is_empty() {
        let changes = SitePatch { name, hosts };
        match state.directory.update_site(&visitor.actor(&request), &site, changes, Some(typed.version)).await {
            Ok(site) => return Ok(go_to(&format!("{AT}/{}?notice=changed", site.site))),
            Err(error) => note(error, &mut problems)?,
        }
    }
    ask(visitor, Some(site), None, typed, problems)
}

#[derive(Template)]
#[template(path = "portal/admin/site_delete.html")]
struct DeletePage {
    title: String,
    at: &'static str,
    visitor: SignedIn,
    site: Site,
    /// How many have access to it, as far as they are counted.
    people: usize,
    more: bool,
}

/// `GET /admin/sites/{site}/delete`
async fn ask_to_delete(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let site = find(&state, &request, &visitor, &path).await?;
    let filter = AccessFilter { login: None, site: Some(site.site.clone()) };
    let window = Window { after: None, limit: Window::MAX_LIMIT };
    let access = state.directory.access(&visitor.actor(&request), &filter, &window).await?;
    let title = format!("Delete {}?", site.site);
    page(200, &DeletePage { title, at: AT, visitor, site, people: access.items.len(), more: access.next.is_some() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    version: u64,
}

/// `POST /admin/sites/{site}/delete`
async fn delete(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<String>,
    form: Form<Version>,
) -> Result<HttpResponse, Refusal> {
    let Version { version } = form.proven_by(visitor.secret())?;
    let site = SiteName::parse(&path).map_err(|_| Refusal::not_found())?;
    state.directory.delete_site(&visitor.actor(&request), &site, Some(version)).await?;
    Ok(go_to(&format!("{AT}?notice=deleted")))
}
