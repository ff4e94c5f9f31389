//! REST: `/api/v1`. Reads requests, calls the directory, writes the contract's JSON.
//!
//! One file per resource. It decides nothing about who may do what: it says who the caller is, and the directory
//! decides. It refuses to know stores.

mod access;
mod accounts;
mod audit;
mod client;
mod explain;
mod extract;
mod limit;
mod me;
mod policy;
mod problem;
mod sites;
mod span;
mod tokens;

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::header,
    middleware::{DefaultHeaders, from_fn},
    web,
};
use arc_swap::ArcSwap;

/// The JSON of the contract, for both of its ends: what the handlers write, and the command line reads.
pub mod dto {
    pub use crate::directory::shown::*;
}

pub use client::ClientAddresses;
pub use extract::{PeerUid, note_peer};
pub use limit::{RateLimit, within_limit};
pub use problem::{Document, Problem};
pub use span::RequestSpan;

use crate::{
    directory::Directory,
    domain::{policy::Policy, token::TokenPrefixes},
};

/// The largest body that is read.
const MAX_BODY: usize = 64 * 1024;

/// What the handlers work with; `web::Data<ApiState>` in the application.
#[derive(Clone, Debug)]
pub struct ApiState {
    pub directory: Arc<Directory>,
    pub policy: Arc<ArcSwap<Policy>>,
    /// What a bearer token begins with.
    pub prefixes: TokenPrefixes,
    /// The realm of the challenges.
    pub realm: String,
}

/// Adds `/api/v1` to an application that has [`ApiState`], and whose connections carry [`PeerUid`].
pub fn configure(cfg: &mut web::ServiceConfig) {
    let scope = web::scope("/api/v1")
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .app_data(web::QueryConfig::default().error_handler(|error, _| Problem::bad_query(error.to_string()).into()))
        .wrap(from_fn(problem::complete))
        .wrap(DefaultHeaders::new().add((header::CACHE_CONTROL, "no-store")))
        .configure(accounts::configure)
        .configure(sites::configure)
        .configure(access::configure)
        .configure(tokens::configure)
        .configure(me::configure)
        .configure(audit::configure)
        .configure(policy::configure)
        .configure(explain::configure)
        .default_service(web::to(elsewhere));
    cfg.service(scope);
}

/// Every path that is not served: those of the contract say so.
async fn elsewhere(request: actix_web::HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.path().strip_prefix("/api/v1/").unwrap_or_default();
    match path.split('/').next().unwrap_or_default() {
        "sessions" => Err(Problem::not_available(404)),
        _ => Err(Problem::new(404, "not_found", "there is nothing at this path")),
    }
}
