//! Who looks at a page: the living session behind the portal's cookie.

use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, web};

use super::{
    PortalState, Refusal, cookies,
    navigation::{self, Entry},
};
use crate::{
    api::{ClientAddresses, request_id},
    directory::{Actor, DirectoryError, SessionCookie, Visitor},
    domain::{
        account::Account,
        cookie::Cookie,
        csrf,
        session::{Secret, Session, SessionSecret, Stage},
        time::Timestamp,
    },
};

/// How long somebody may take to fill in a form.
const TO_TYPE: Duration = Duration::from_mins(5);

/// Somebody who is signed in; as an argument of a handler, the page is for such people only.
pub(super) struct SignedIn {
    pub cookie: SessionSecret,
    pub account: Account,
    pub administers_sites: bool,
    session: Session,
}

impl SignedIn {
    /// Who is signed in, if anybody.
    pub async fn find(state: &PortalState, request: &HttpRequest) -> Result<Option<Self>, Refusal> {
        Ok(Newcomer::find(state, request).await?.and_then(Newcomer::when_in))
    }

    /// What the forms of this session are bound to.
    pub fn secret(&self) -> &Secret {
        &self.cookie.secret
    }

    /// On whose behalf things are changed.
    pub fn actor(&self, request: &HttpRequest) -> Actor {
        Actor::session(self.cookie.clone()).from_address(ClientAddresses::address(request)).in_request(request_id(request))
    }

    /// For pages with the form of something that needs the password to have been given just now: it is asked for before
    /// anything is typed, and with some minutes to type.
    ///
    /// # Errors
    /// When it has to be given first.
    pub fn has_confirmed(&self, now: Timestamp) -> Result<(), Refusal> {
        let then = now.checked_add(TO_TYPE).unwrap_or(now);
        if self.session.is_confirmed(then) { Ok(()) } else { Err(Refusal::ConfirmFirst) }
    }

    /// For pages that others have not got, for all they know.
    ///
    /// # Errors
    /// When he is none.
    pub fn has_to_be_superuser(&self) -> Result<(), Refusal> {
        if self.account.superuser { Ok(()) } else { Err(Refusal::not_found()) }
    }

    // For templates.

    pub fn pages(&self) -> impl Iterator<Item = &'static Entry> {
        navigation::pages(self)
    }

    pub fn administration(&self) -> impl Iterator<Item = &'static Entry> {
        navigation::administration(self)
    }

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

/// Somebody who is signed in, or on his way there.
pub(super) struct Newcomer {
    /// Who he is when he is in.
    pub visitor: SignedIn,
    pub stage: Stage,
}

impl Newcomer {
    /// Who has given a password, if anybody.
    pub async fn find(state: &PortalState, request: &HttpRequest) -> Result<Option<Self>, Refusal> {
        let cookie = cookies::read(request, &state.url, Cookie::Portal)?;
        match cookie.and_then(SessionSecret::parse) {
            Some(cookie) => Self::with(state, cookie).await,
            None => Ok(None),
        }
    }

    /// Whose session this is, which may have begun just now.
    pub async fn with(state: &PortalState, cookie: SessionSecret) -> Result<Option<Self>, Refusal> {
        let found = state.directory.newcomer(&cookie).await.map_err(DirectoryError::from)?;
        Ok(found.map(|Visitor { session, account, stage, administers_sites }| Self {
            visitor: SignedIn { cookie, account, administers_sites, session },
            stage,
        }))
    }

    /// Nobody, as long as something is still to be done.
    pub fn when_in(self) -> Option<SignedIn> {
        (self.stage == Stage::Whole).then_some(self.visitor)
    }
}

impl FromRequest for SignedIn {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = request.app_data::<web::Data<PortalState>>().ok_or_else(Refusal::failed)?;
            Self::find(state, &request).await?.ok_or(Refusal::SignInFirst)
        })
    }
}

/// Gives the browser the cookie of a session that has just begun or got a new secret.
pub(super) fn keep(state: &PortalState, session: &SessionCookie, response: &mut HttpResponse) -> Result<(), Refusal> {
    cookies::add(response, Cookie::Portal.set(&state.url, &session.secret.to_text(), session.max_age))
}
