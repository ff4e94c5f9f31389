//! `/security`: the password and what somebody shows besides it. Setting that up, taking it away and new recovery codes are
//! pages of their own.

pub(super) mod recovery;
pub(super) mod remove;
pub(super) mod totp;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

// `style`: for the layout of the pages below.
use super::{PortalState, Refusal, page, times::Shown, visitor::SignedIn};
use crate::{
    directory::FactorsInfo,
    domain::{
        factor::{Factor, FactorId, FactorKind},
        time::Timestamp,
    },
};

/// So few recovery codes are few.
const FEW: usize = 3;

/// What has just been done.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Notice {
    AddedUnconfirmed,
    Removed,
    RemovedUnconfirmed,
}

impl Notice {
    /// The class of the note.
    fn class(self) -> &'static str {
        match self {
            Self::Removed => "",
            Self::AddedUnconfirmed | Self::RemovedUnconfirmed => "warn",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::AddedUnconfirmed => {
                "The second factor is added, and all other sessions have ended, but too few replicas of the store have confirmed it: \
                 a failover could undo it. Look here in a while whether it is there."
            }
            Self::Removed => "The second factor is removed, and all other sessions have ended.",
            Self::RemovedUnconfirmed => {
                "The second factor is removed, and all other sessions have ended, but too few replicas of the store have confirmed \
                 it: a failover could bring it back. Look here in a while whether it is gone."
            }
        }
    }
}

/// A factor as it is listed.
struct Line {
    id: FactorId,
    name: String,
    kind: &'static str,
    since: Shown,
    used: Option<Shown>,
}

impl Line {
    fn new(factor: Factor, now: Timestamp) -> Self {
        let kind = match factor.kind {
            FactorKind::Totp { .. } => "Authenticator app",
        };
        Self {
            id: factor.id,
            name: factor.name.as_str().to_owned(),
            kind,
            since: Shown::new(factor.created_at, now),
            used: factor.used_at.map(|used| Shown::new(used, now)),
        }
    }
}

#[derive(Template)]
#[template(path = "portal/security/overview.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    factors: Vec<Line>,
    recovery_codes: usize,
    few: bool,
    required: bool,
}

#[derive(Deserialize)]
pub(super) struct Query {
    notice: Option<Notice>,
}

/// `GET /security`
pub(super) async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    let FactorsInfo { factors, recovery_codes, required } = state.directory.factors(&visitor.actor(&request)).await?;
    let now = state.clock.now();
    let factors = factors.into_iter().map(|factor| Line::new(factor, now)).collect();
    let notice = query.and_then(|query| query.notice);
    let few = recovery_codes <= FEW;
    page(200, &Page { title: "Security", at: "/security", visitor, notice, factors, recovery_codes, few, required })
}

/// The factor of that id, of whoever asks.
async fn own(state: &PortalState, visitor: &SignedIn, request: &HttpRequest, id: &str) -> Result<(Line, bool), Refusal> {
    let id = FactorId::parse(id).ok_or_else(Refusal::not_found)?;
    let found = state.directory.factors(&visitor.actor(request)).await?;
    let is_last = found.factors.len() == 1;
    let factor = found.factors.into_iter().find(|factor| factor.id == id).ok_or_else(Refusal::not_found)?;
    Ok((Line::new(factor, state.clock.now()), is_last))
}
