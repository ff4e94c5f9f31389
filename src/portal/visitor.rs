//! Who looks at a page: the living session behind the portal's cookie, and where a visitor may go next.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, web};

use super::{PortalState, Refusal, cookies};
use crate::{
    api::{ClientAddresses, request_id},
    directory::{Actor, DirectoryError, SessionCookie},
    domain::{
        account::Account,
        cookie::Cookie,
        csrf,
        session::{Secret, SessionSecret},
    },
};

/// Somebody who is signed in; as an argument of a handler, the page is for such people only.
pub(super) struct SignedIn {
    pub cookie: SessionSecret,
    pub account: Account,
}

impl SignedIn {
    /// Who is signed in, if anybody.
    pub async fn find(state: &PortalState, request: &HttpRequest) -> Result<Option<Self>, Refusal> {
        let cookie = cookies::read(request, &state.url, Cookie::Portal)?;
        let Some(cookie) = cookie.and_then(SessionSecret::parse) else { return Ok(None) };
        let visitor = state.directory.visitor(&cookie).await.map_err(DirectoryError::from)?;
        Ok(visitor.map(|visitor| Self { cookie, account: visitor.account }))
    }

    /// What the forms of this session are bound to.
    pub fn secret(&self) -> &Secret {
        &self.cookie.secret
    }

    /// On whose behalf things are changed.
    pub fn actor(&self, request: &HttpRequest) -> Actor {
        Actor::session(self.cookie.clone()).from_address(ClientAddresses::address(request)).in_request(request_id(request))
    }

    // For templates.

    pub fn name(&self) -> &str {
        self.account.name.as_ref().map_or(self.login(), |name| name.as_str())
    }

    pub fn login(&self) -> &str {
        self.account.login.as_str()
    }

    pub fn csrf(&self) -> String {
        csrf::token(self.secret())
    }
}

impl FromRequest for SignedIn {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = request.app_data::<web::Data<PortalState>>().ok_or_else(Refusal::failed)?;
            let next = own_page(request.path());
            Self::find(state, &request).await?.ok_or(Refusal::SignInFirst { next })
        })
    }
}

/// Gives the browser the cookie of a session that has just begun or got a new secret.
pub(super) fn keep(state: &PortalState, session: &SessionCookie, response: &mut HttpResponse) -> Result<(), Refusal> {
    cookies::add(response, Cookie::Portal.set(&state.url, &session.secret.to_text(), session.max_age))
}

/// Pages that somebody can be sent back to. Nothing that a request says is repeated in a link.
const OWN_PAGES: [&str; 2] = ["/sessions", "/password"];

/// The page of that path; the first one for every other path.
pub(super) fn own_page(path: &str) -> &'static str {
    OWN_PAGES.into_iter().find(|page| *page == path).unwrap_or(OWN_PAGES[0])
}
