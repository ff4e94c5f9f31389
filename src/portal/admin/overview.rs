//! `/admin/overview`: pictures of what all servers have decided in the last hour, and how these are. For superusers. The
//! pictures follow by themselves where there is a script.

mod live;
mod shown;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header::CONTENT_TYPE, web};
use askama::Template;

pub use self::live::Watchers;
use self::shown::Pictures;
pub(super) use self::shown::grouped;
use super::super::{PortalState, Refusal, get, page, visitor::SignedIn};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/admin/overview").route(get().to(show)))
        .service(web::resource("/admin/overview/events").route(web::get().to(events)));
}

#[derive(Template)]
#[template(path = "portal/admin/overview/page.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    pictures: Pictures,
}

/// `GET /admin/overview`
async fn show(state: web::Data<PortalState>, request: HttpRequest, visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let overview = state.directory.overview(&visitor.actor(&request)).await?;
    let pictures = Pictures::new(overview, state.clock.now());
    page(200, &Page { title: "Overview", at: "/admin/overview", visitor, pictures })
}

/// `GET /admin/overview/events`: the pictures anew, every ten seconds.
async fn events(state: web::Data<PortalState>, visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let state = state.into_inner();
    let watching = state.watchers.enter(&visitor.account.id);
    let stream = live::events(Arc::clone(&state), visitor.cookie, watching);
    // Proxies are not to wait until there is more of it.
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, "text/event-stream")).insert_header(("x-accel-buffering", "no"));
    Ok(response.streaming(stream))
}
