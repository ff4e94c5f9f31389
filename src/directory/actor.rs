//! On whose behalf records are changed: what a request says of its author, before anything of it is believed.

use std::{fmt, net::IpAddr};

use super::IdempotencyKey;
use crate::domain::{
    session::SessionSecret,
    token::{PresentedToken, TokenId},
};

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct Actor {
    pub(super) credential: Credential,
    pub(super) address: Option<IpAddr>,
    pub(super) request_id: Option<String>,
    pub(super) idempotency: Option<IdempotencyKey>,
}

#[derive(Clone, Debug)]
pub(super) enum Credential {
    /// Somebody at the control socket, by the user id of his process. He stands above all accounts.
    Control { uid: u32 },
    /// Keygate itself, by the name of what it was doing.
    System(&'static str),
    /// Whoever has the portal's cookie of a session.
    Session(SessionSecret),
    /// Whoever holds the token; what he may is found out when he does something.
    Token(PresentedToken),
}

impl Actor {
    const fn new(credential: Credential) -> Self {
        Self { credential, address: None, request_id: None, idempotency: None }
    }

    #[must_use]
    pub const fn control(uid: u32) -> Self {
        Self::new(Credential::Control { uid })
    }

    #[must_use]
    pub const fn system(name: &'static str) -> Self {
        Self::new(Credential::System(name))
    }

    #[must_use]
    pub const fn bearer(token: PresentedToken) -> Self {
        Self::new(Credential::Token(token))
    }

    #[must_use]
    pub const fn session(cookie: SessionSecret) -> Self {
        Self::new(Credential::Session(cookie))
    }

    /// The client's address, where it is known.
    #[must_use]
    pub fn from_address(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// The id of his request, for the trail.
    #[must_use]
    pub fn in_request(self, request_id: Option<String>) -> Self {
        Self { request_id, ..self }
    }

    /// What he does under this key is done once, however often he asks.
    #[must_use]
    pub fn once(self, idempotency: Option<IdempotencyKey>) -> Self {
        Self { idempotency, ..self }
    }

    /// For another request of his.
    #[must_use]
    pub fn anew(&self) -> Self {
        self.clone().once(None)
    }

    /// The cookie of the session in which he asks.
    #[must_use]
    pub fn cookie(&self) -> Option<&SessionSecret> {
        match &self.credential {
            Credential::Session(cookie) => Some(cookie),
            Credential::Control { .. } | Credential::System(_) | Credential::Token(_) => None,
        }
    }

    /// Whether this is his credential.
    pub(super) fn comes_with(&self, id: &TokenId) -> bool {
        matches!(&self.credential, Credential::Token(token) if token.id == *id)
    }
}

/// As the trail has him: `control:UID`, `system:NAME`; `token:ID` or `session:ID` as long as nobody has looked whose it is. Two requests
/// under one idempotency key are the same only when they come from the same one.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credential {
            Credential::Control { uid } => write!(f, "control:{uid}"),
            Credential::System(name) => write!(f, "system:{name}"),
            Credential::Session(cookie) => write!(f, "session:{}", cookie.session),
            Credential::Token(token) => write!(f, "token:{}", token.id),
        }
    }
}
