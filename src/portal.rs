//! The pages: people sign in, manage their keys, sessions and what they prove themselves by; administrators everything else.
//! Rendered here, and good without any script.
//!
//! One file per page, its template beside it. A page reads a request, calls the directory, and shows what came of it: it
//! decides nothing about who may do what, and refuses to know stores and protected hosts' requests.

mod admin;
mod arrival;
mod attempt;
mod browser;
mod chart;
mod confirm;
mod cookies;
mod form;
mod guarded;
mod keys;
mod navigation;
mod once;
mod own_page;
mod password;
mod problems;
mod qr;
mod refusal;
mod second_factor;
mod security;
mod sessions;
mod sign_in;
mod sign_out;
mod style;
mod table;
mod times;
mod visitor;

use std::sync::Arc;

use actix_web::{
    HttpResponse, Route, guard,
    http::header::{CONTENT_TYPE, LOCATION},
    web,
};
use arc_swap::ArcSwap;
use askama::Template;

use crate::{
    clock::Clock,
    directory::Directory,
    domain::{
        origin::{Origin, ProtectedHosts},
        policy::Policy,
        session::SessionRules,
    },
    metrics::Metrics,
};
pub use admin::Watchers;
pub use guarded::guarded;
use refusal::Refusal;

/// The largest form that is read.
const MAX_BODY: usize = 16 * 1024;

/// What the pages work with; one for all workers.
pub struct PortalState {
    pub directory: Arc<Directory>,
    pub clock: Arc<dyn Clock>,
    /// Where browsers find the pages. Requests to other hosts get no page but the way here.
    pub url: Origin,
    /// Where they may be sent back to.
    pub hosts: ProtectedHosts,
    pub rules: SessionRules,
    pub metrics: Arc<Metrics>,
    /// What scopes there are, and what a new key could be tried at.
    pub policy: Arc<ArcSwap<Policy>>,
    pub watchers: Arc<Watchers>,
}

/// Adds the pages to an application, or to a scope of one, that [`guarded`] is wrapped around; every path but the API's is
/// theirs.
pub fn configure(cfg: &mut web::ServiceConfig, state: &Arc<PortalState>) {
    cfg.app_data(web::Data::from(state.clone()))
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .service(web::resource("/").route(get().to(sign_in::home)))
        .service(web::resource("/sign-in").route(get().to(sign_in::show)).route(web::post().to(sign_in::submit)))
        .service(web::resource("/sign-out").route(web::post().to(sign_out::submit)))
        .service(web::resource("/signed-out").route(get().to(sign_out::done)))
        .service(web::resource("/sessions").route(get().to(sessions::show)))
        .service(web::resource("/sessions/end").route(web::post().to(sessions::end)))
        .service(web::resource("/sessions/end-others").route(web::post().to(sessions::end_others)))
        .service(web::resource("/password").route(get().to(password::show)).route(web::post().to(password::submit)))
        .service(web::resource(arrival::CODE).route(get().to(second_factor::show)).route(web::post().to(second_factor::submit)))
        .service(web::resource("/security").route(get().to(security::show)))
        .service(web::resource(arrival::SET_UP).route(get().to(security::totp::show)).route(web::post().to(security::totp::submit)))
        .service(
            web::resource("/security/recovery-codes")
                .route(get().to(security::recovery::show))
                .route(web::post().to(security::recovery::submit)),
        )
        .service(
            web::resource("/security/factors/{id}/remove")
                .route(get().to(security::remove::show))
                .route(web::post().to(security::remove::submit)),
        )
        .service(web::resource("/confirm").route(get().to(confirm::show)).route(web::post().to(confirm::submit)))
        .configure(keys::configure)
        .configure(admin::configure)
        .service(web::resource("/admin").route(get().to(navigation::admin)))
        .service(web::resource(style::path()).route(get().to(style::serve)))
        .service(web::resource(style::pictures_path()).route(get().to(style::serve_pictures)))
        .service(web::resource(style::script_path()).route(get().to(style::serve_script)))
        .default_service(web::to(refusal::nothing_here));
}

/// GET, and HEAD, which is GET without the body.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A page with the status that is said.
fn page(status: u16, template: &impl Template) -> Result<HttpResponse, Refusal> {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    let body = template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be written");
        Refusal::failed()
    })?;
    Ok(HttpResponse::build(status).insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(body))
}

/// Sends the browser on, by GET.
fn go_to(place: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, place)).finish()
}
