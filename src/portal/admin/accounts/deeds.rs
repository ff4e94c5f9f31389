//! What ends something of an account, and what takes that back: each by a page that says what it means.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::super::{PortalState, Refusal, form::Form, go_to, page, visitor::SignedIn},
    AT, AccountShown, Holdings, find, login,
};
use crate::directory::AccountPatch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Deed {
    Disable,
    Enable,
    RevokeAll,
    ResetFactors,
    Delete,
}

impl Deed {
    fn title(self, login: &str) -> String {
        match self {
            Self::Disable => format!("Disable {login}?"),
            Self::Enable => format!("Enable {login}?"),
            Self::RevokeAll => format!("End all keys and sessions of {login}?"),
            Self::ResetFactors => format!("Take all second factors of {login} away?"),
            Self::Delete => format!("Delete {login}?"),
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Disable => {
                "Nobody is let in as this account, by whatever means, until it is enabled again. Its sessions end for good."
            }
            Self::Enable => "Its keys are good again, and who has its password can sign in.",
            Self::RevokeAll => "Every client has to get a new key, and everybody has to sign in again. This cannot be undone.",
            Self::ResetFactors => {
                "For who has lost his. Be sure that it is he who asks for it: from then on the password alone is enough, until \
                 another factor is set up. His sessions end."
            }
            Self::Delete => {
                "Its keys, and those that were made with them, its sessions and its access go with it. This cannot be undone. \
                 To stop somebody for a while, disable the account."
            }
        }
    }

    fn button(self) -> &'static str {
        match self {
            Self::Disable => "Disable the account",
            Self::Enable => "Enable the account",
            Self::RevokeAll => "End them all",
            Self::ResetFactors => "Take them away",
            Self::Delete => "Delete the account",
        }
    }

    fn breaks(self) -> bool {
        !matches!(self, Self::Enable | Self::ResetFactors)
    }
}

#[derive(Template)]
#[template(path = "portal/admin/account_deed.html")]
struct DeedPage {
    title: String,
    at: &'static str,
    visitor: SignedIn,
    account: AccountShown,
    holdings: Holdings,
    deed: Deed,
    action: String,
}

/// `GET /admin/accounts/{login}/{deed}`
pub(super) async fn ask(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<(String, Deed)>,
) -> Result<HttpResponse, Refusal> {
    let (login, deed) = path.into_inner();
    let account = find(&state, &request, &visitor, &login).await?;
    if matches!(deed, Deed::Enable | Deed::ResetFactors) {
        visitor.has_confirmed(state.clock.now())?;
    }
    let holdings = Holdings::of(&state, &request, &visitor, &account.login).await?;
    let account = AccountShown::new(account, state.clock.now());
    let (title, action) = (deed.title(&account.login), request.path().to_owned());
    page(200, &DeedPage { title, at: AT, visitor, account, holdings, deed, action })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// The version that was looked at.
    version: u64,
}

/// `POST /admin/accounts/{login}/{deed}`
pub(super) async fn carry_out(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    path: web::Path<(String, Deed)>,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let Fields { version } = form.proven_by(visitor.secret())?;
    let (text, deed) = path.into_inner();
    let (login, actor) = (login(&text)?, visitor.actor(&request));
    let enabled = |disabled| AccountPatch { disabled: Some(disabled), ..AccountPatch::default() };
    let notice = match deed {
        Deed::Disable => {
            state.directory.update_account(&actor, &login, enabled(true), Some(version)).await?;
            "disabled"
        }
        Deed::Enable => {
            state.directory.update_account(&actor, &login, enabled(false), Some(version)).await?;
            "enabled"
        }
        Deed::RevokeAll => {
            state.directory.revoke_all(&actor, &login, false, None).await?;
            "revoked_all"
        }
        Deed::ResetFactors => {
            state.directory.reset_factors(&actor, &login).await?;
            "factors_reset"
        }
        Deed::Delete => {
            state.directory.delete_account(&actor, &login, Some(version)).await?;
            return Ok(go_to(&format!("{AT}?notice=deleted")));
        }
    };
    Ok(go_to(&format!("{}?notice={notice}", super::path(&login))))
}
