//! `/admin`: what happens, accounts, sites, who may do what where, all keys, sessions, who is blocked, the trail, the policy, and
//! why a request is let pass or not. Every page does for the visitor what the API
//! would do for him, so he sees what is his business and nothing else.

mod access;
mod accounts;
mod audit;
mod blocked;
mod explain;
mod keys;
mod overview;
mod policy;
mod sessions;
mod sites;

use actix_web::web;
use serde::Deserialize;

use super::get;
pub use overview::Watchers;

/// How many lines are on one page.
const ON_A_PAGE: usize = 50;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    accounts::configure(cfg);
    sites::configure(cfg);
    access::configure(cfg);
    overview::configure(cfg);
    policy::configure(cfg);
    cfg.service(web::resource("/admin/sessions").route(get().to(sessions::list)).route(web::post().to(sessions::end)))
        .service(web::resource("/admin/blocked").route(get().to(blocked::list)).route(web::post().to(blocked::lift)))
        .service(web::resource("/admin/keys").route(get().to(keys::show)))
        .service(web::resource("/admin/audit").route(get().to(audit::show)))
        .service(web::resource("/admin/explain").route(get().to(explain::show)).route(web::post().to(explain::submit)));
}

/// What has just been done. A link may name one, so none of them says more than that.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Notice {
    Created,
    Changed,
    Deleted,
    Disabled,
    Enabled,
    RevokedAll,
    FactorsReset,
    Ended,
    Lifted,
}

impl Notice {
    fn text(self) -> &'static str {
        match self {
            Self::Created => "Created.",
            Self::Changed => "The changes are in force.",
            Self::Deleted => "Deleted.",
            Self::Disabled => "Disabled. Nobody is let in as this account.",
            Self::Enabled => "Enabled.",
            Self::RevokedAll => "All keys and sessions of this account have ended.",
            Self::FactorsReset => "All second factors are taken away, and all sessions have ended.",
            Self::Ended => "The session has ended.",
            Self::Lifted => "The block is lifted, and the failed attempts are forgotten.",
        }
    }
}
