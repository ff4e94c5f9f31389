//! REST: `/api/v1`, and what describes it. Reads requests, calls the directory, writes the contract's JSON.
//!
//! One file per resource. It decides nothing about who may do what: it says who the caller is, and the directory
//! decides. It refuses to know stores.

mod access;
mod accounts;
mod answer;
mod audit;
mod blocked;
mod client;
mod decode;
mod documents;
mod explain;
mod extract;
mod factors;
mod limit;
mod me;
mod operations;
mod overview;
mod policy;
mod problem;
mod schema;
mod sessions;
mod sites;
mod span;
mod store;
mod tokens;
mod values;
mod wait;

use std::sync::Arc;

use actix_web::{
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
pub use explain::{Question, explained};
pub use extract::{PeerUid, note_peer};
pub use limit::{RateLimit, within_limit};
pub use problem::{Document, Problem, request_id};
pub use span::RequestSpan;

use crate::{
    directory::Directory,
    domain::{origin::Origin, policy::Policy, token::TokenPrefixes},
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
    /// Where browsers find the portal; without it there are no sessions.
    pub portal: Option<Origin>,
}

/// Adds the API, its description and the page to read it at to an application that has [`ApiState`], and whose connections
/// carry [`PeerUid`]. What is at no path gets a problem document, too.
pub fn configure(cfg: &mut web::ServiceConfig) {
    let operations = operations();
    let published = web::Data::new(documents::Published::of(operations.document()));
    let scope = web::scope(operations::ROOT)
        .app_data(published)
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .wrap(from_fn(wait::until_it_holds))
        .wrap(from_fn(problem::complete))
        .wrap(DefaultHeaders::new().add((header::CACHE_CONTROL, "no-store")))
        .configure(|cfg| operations.serve(cfg))
        .default_service(web::to(problem::nothing_here));
    cfg.service(scope).default_service(web::to(problem::nothing_here));
}

fn operations() -> operations::Operations {
    let mut api = operations::Operations::new();
    for enter in [
        accounts::operations,
        sites::operations,
        access::operations,
        tokens::operations,
        sessions::operations,
        me::operations,
        factors::operations,
        audit::operations,
        blocked::operations,
        store::operations,
        overview::operations,
        policy::operations,
        explain::operations,
        documents::operations,
    ] {
        enter(&mut api);
    }
    api
}
