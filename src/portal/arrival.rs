//! Where somebody comes from who signs in, and where he goes when he is in. All pages on the way there have the same query,
//! so that none of them loses it.

use actix_web::HttpResponse;
use askama::Template;

use super::{PortalState, Refusal, go_to, own_page::OwnPage, page, visitor::keep};
use crate::{
    directory::{DirectoryError, SessionCookie},
    domain::{
        key::Digest,
        origin::{ProtectedHosts, ReturnTo},
        session::{SessionSecret, Stage},
    },
};

/// The pages on the way in: for the password, for a code, and for setting up what is asked for by it.
pub(super) const SIGN_IN: &str = "/sign-in";
pub(super) const CODE: &str = "/second-factor";
pub(super) const SET_UP: &str = "/security/totp";

/// Where it is said that nobody is sent to the address that was wished.
const ADDRESS_REFUSED: &str = "/sessions?notice=address";

/// Where a browser came from, and wants to go back to.
pub(super) enum Arrival {
    /// By itself; afterwards to a page of ours.
    Here { next: OwnPage },
    /// From a protected host, with the digest of what that host has set in it.
    From { to: ReturnTo, nonce: Option<Digest> },
    /// With an address that nobody is sent to.
    Refused,
}

impl Arrival {
    pub fn read(query: &str, hosts: &ProtectedHosts) -> Self {
        let pairs = || form_urlencoded::parse(query.as_bytes());
        let mut all = pairs().filter(|(name, _)| name == "rd").map(|(_, value)| value);
        let one = |name: &str| {
            let mut values = pairs().filter(|(key, _)| key == name).map(|(_, value)| value);
            values.next().filter(|_| values.next().is_none())
        };
        match (all.next(), all.next()) {
            (None, _) => Self::Here { next: OwnPage::at(one("next").as_deref().unwrap_or_default()) },
            (Some(rd), None) => match hosts.return_to(&rd) {
                // The digest is written as secrets are.
                Some(to) => Self::From { to, nonce: one("nonce").and_then(|nonce| Digest::parse_base64url(nonce.as_bytes())) },
                None => Self::Refused,
            },
            (Some(_), Some(_)) => Self::Refused,
        }
    }

    /// The page with the same way back: what was read of it, written anew.
    pub fn link(&self, page: &str) -> String {
        let query = match self {
            Self::Here { next } if *next == OwnPage::default() => return page.to_owned(),
            Self::Refused => return page.to_owned(),
            Self::Here { next } => format!("next={}", next.as_parameter()),
            Self::From { to, nonce } => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("rd", &to.to_string());
                if let Some(nonce) = nonce {
                    query.append_pair("nonce", &nonce.to_base64url());
                }
                query.finish()
            }
        };
        format!("{page}?{query}")
    }

    /// The protected host that it came from.
    pub fn host(&self) -> Option<String> {
        match self {
            Self::From { to, .. } => Some(to.origin.authority()),
            Self::Here { .. } | Self::Refused => None,
        }
    }

    /// Sends the browser where it wants to go, with the session that it has here.
    pub async fn go_on(&self, state: &PortalState, session: &SessionSecret) -> Result<HttpResponse, DirectoryError> {
        match self {
            Self::Here { next } => Ok(go_to(next.path())),
            Self::Refused => Ok(go_to(ADDRESS_REFUSED)),
            // The host has set nothing in it: it does so when it is asked once more.
            Self::From { to, nonce: None } => Ok(go_to(&to.to_string())),
            Self::From { to, nonce: Some(nonce) } => {
                let code = state.directory.hand_over(session, to, nonce.clone()).await?;
                Ok(go_to(&format!("{}/.keygate/callback?code={}", to.origin, code.to_text())))
            }
        }
    }

    /// Gives the browser its session, and leads it on: to where it wants to go, or to what is still to be done.
    pub fn enter(&self, state: &PortalState, session: &SessionCookie) -> Result<HttpResponse, Refusal> {
        let mut response = match (session.stage, self) {
            (Stage::AwaitsCode, _) => go_to(&self.link(CODE)),
            (Stage::SetsUp, _) => go_to(&self.link(SET_UP)),
            (Stage::Whole, Self::From { to, .. }) => {
                page(200, &GoingOn { title: "You are signed in", to: to.origin.authority(), link: self.link(SIGN_IN) })?
            }
            (Stage::Whole, Self::Here { next }) => go_to(next.path()),
            (Stage::Whole, Self::Refused) => go_to(ADDRESS_REFUSED),
        };
        keep(state, session, &mut response)?;
        Ok(response)
    }
}

/// Leads on to a protected host. Not by a redirect: that would follow a form, and browsers would hold the application to our
/// `form-action`, wherever it sends them. The page leads to the sign-in page, which sends on whoever is signed in.
#[derive(Template)]
#[template(path = "portal/going_on.html")]
struct GoingOn {
    title: &'static str,
    to: String,
    link: String,
}
