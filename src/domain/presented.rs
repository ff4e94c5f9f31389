//! Which credential a request presents: found in the places the contract names, read once, and refused when
//! two of them disagree. Whether it is any good is not known here.

use base64::{
    Engine as _,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    cookie::{Cookie, Sent},
    decision::{Via, Way},
    origin::{Origin, ProtectedHosts},
    parameters::Parameters,
    password::Password,
    request::CheckRequest,
    session::SessionSecret,
    token::{PresentedToken, TokenKind, TokenPrefixes},
};

/// RFC 7617 user-pass, padded or not.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// A credential as it was presented. Never printed: see the types inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    Nothing,
    /// Two that disagree, or one place twice.
    Ambiguous,
    /// Something that means to be a credential and is not well-formed.
    Malformed(Via),
    Token {
        via: Via,
        token: PresentedToken,
        /// The login that HTTP Basic gave beside it; the token must be this account's.
        login: Option<String>,
    },
    Password {
        login: String,
        password: Password,
    },
    /// A check session's cookie and nothing else.
    Session(SessionSecret),
    /// A session's own API token, which is worth nothing without the cookie.
    SessionToken {
        place: Via,
        token: PresentedToken,
        /// The well-formed one of the same request.
        cookie: Option<SessionSecret>,
    },
}

impl Presented {
    #[must_use]
    pub fn way(&self) -> Way {
        match self {
            Self::Nothing | Self::Ambiguous => Way::plain(Via::None),
            Self::Malformed(via) | Self::Token { via, .. } => Way::plain(*via),
            Self::Password { .. } => Way::plain(Via::Basic),
            Self::Session(_) => Way::plain(Via::Session),
            Self::SessionToken { place, .. } => Way { via: Via::SessionToken, place: *place },
        }
    }

    /// The cookie of a session that is presented.
    #[must_use]
    pub fn cookie(&self) -> Option<&SessionSecret> {
        match self {
            Self::Session(cookie) => Some(cookie),
            Self::SessionToken { cookie, .. } => cookie.as_ref(),
            _ => None,
        }
    }
}

/// What is read from a request: the credential, and the places it must not travel on from.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub presented: Presented,
    pub in_authorization: bool,
    /// The query parameters that hold it.
    pub in_query: Vec<String>,
}

/// Reads credentials as this installation is configured.
#[derive(Clone, Debug)]
pub struct CredentialReader {
    pub prefixes: TokenPrefixes,
    /// The names under which a token may stand in a query or body.
    pub query_names: Vec<String>,
    /// The hosts that have sessions.
    pub hosts: ProtectedHosts,
}

impl CredentialReader {
    /// A body is looked into only for a rule that takes credentials from it.
    #[must_use]
    pub fn read(&self, request: &CheckRequest<'_>, takes_body: bool) -> Credentials {
        let authorization = &request.headers.authorization;
        let mut found = Found::default();
        if authorization.len() > 1 {
            found.ambiguous = true;
        } else if let Some(value) = authorization.first() {
            self.read_authorization(value, &mut found);
        }
        let in_authorization = found.ambiguous || found.first.is_some();
        if let Some(parameters) = takes_body.then(|| request.body_parameters()).flatten() {
            self.read_parameters(&parameters, Via::Body, &mut found);
        }
        let in_query = self.read_parameters(&request.query, Via::Query, &mut found);
        let presented = match (found.ambiguous, found.first.take()) {
            (true, _) => Presented::Ambiguous,
            (false, Some((mut text, presented))) => {
                zeroize::Zeroize::zeroize(&mut text);
                match presented {
                    Presented::Token { via, token, .. } if token.kind == TokenKind::Session => {
                        self.with_cookie(request, |cookie| Presented::SessionToken { place: via, token, cookie })
                    }
                    presented => presented,
                }
            }
            (false, None) => self.read_cookie(request),
        };
        Credentials { presented, in_authorization, in_query }
    }

    fn read_authorization(&self, value: &[u8], found: &mut Found) {
        let value = value.trim_ascii();
        let (scheme, rest) = match value.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
            Some(blank) => (&value[..blank], value[blank..].trim_ascii()),
            None => (value, &[][..]),
        };
        // Neither a token nor base64 holds a comma: it is what a proxy puts between two headers it merged.
        let merged = value.contains(&b',');
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let token = if merged { None } else { Some(rest) };
            found.add_token_or_ambiguous(token, |text| self.token(text, Via::Bearer));
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            if merged {
                found.ambiguous = true;
            } else {
                self.read_basic(rest, found);
            }
        } else if merged && mentions_our_scheme(value) {
            found.ambiguous = true;
        }
        // Any other scheme is not for us: it is not a credential that we could judge.
    }

    /// Login and password, login and token, or a token as the login.
    fn read_basic(&self, encoded: &[u8], found: &mut Found) {
        let decoded = BASIC.decode(encoded).ok();
        let halves = decoded.as_deref().and_then(|pair| {
            let colon = pair.iter().position(|byte| *byte == b':')?;
            Some((std::str::from_utf8(&pair[..colon]).ok()?, &pair[colon + 1..]))
        });
        let Some((login, secret)) = halves else {
            return found.add(encoded, Presented::Malformed(Via::Basic));
        };
        match (self.prefixes.claims(login.as_bytes()), self.prefixes.claims(secret)) {
            (true, true) if login.as_bytes() != secret => found.ambiguous = true,
            (true, _) => found.add(login.as_bytes(), self.token(login.as_bytes(), Via::Basic)),
            (false, true) => {
                let presented = match self.token(secret, Via::Basic) {
                    Presented::Token { via, token, .. } => Presented::Token { via, token, login: Some(login.to_owned()) },
                    malformed => malformed,
                };
                found.add(secret, presented);
            }
            (false, false) => match Password::presented(secret) {
                Some(password) if !login.is_empty() => {
                    found.add(encoded, Presented::Password { login: login.to_owned(), password });
                }
                _ => found.add(encoded, Presented::Malformed(Via::Basic)),
            },
        }
    }

    fn read_parameters(&self, parameters: &Parameters<'_>, via: Via, found: &mut Found) -> Vec<String> {
        let mut present = Vec::new();
        for name in &self.query_names {
            match parameters.get(name) {
                Ok(None | Some("")) => {}
                Ok(Some(text)) => {
                    present.push(name.clone());
                    found.add(text.as_bytes(), self.token(text.as_bytes(), via));
                }
                Err(_) => {
                    present.push(name.clone());
                    found.ambiguous = true;
                }
            }
        }
        present
    }

    /// What a session's token is together with the cookie of its request.
    fn with_cookie(&self, request: &CheckRequest<'_>, token: impl FnOnce(Option<SessionSecret>) -> Presented) -> Presented {
        match self.read_cookie(request) {
            Presented::Ambiguous => Presented::Ambiguous,
            Presented::Session(cookie) => token(Some(cookie)),
            _ => token(None),
        }
    }

    /// Looks for the cookie of a check session under the name that belongs to the host's origin. A host that is not
    /// configured has no sessions.
    fn read_cookie(&self, request: &CheckRequest<'_>) -> Presented {
        let origin = self.hosts.find(&request.host);
        let sent = Cookie::Check.find(&request.headers.cookies, origin.is_none_or(Origin::is_secure));
        match sent {
            Sent::Nothing => Presented::Nothing,
            Sent::Ambiguous => Presented::Ambiguous,
            Sent::One(value) if origin.is_some() => {
                SessionSecret::parse(value).map_or(Presented::Malformed(Via::Session), Presented::Session)
            }
            Sent::One(_) => Presented::Malformed(Via::Session),
        }
    }

    fn token(&self, text: &[u8], via: Via) -> Presented {
        match self.prefixes.parse(text) {
            Some(token) => Presented::Token { via, token, login: None },
            None => Presented::Malformed(via),
        }
    }
}

/// Whether one of the values merged into a header would be ours if it stood alone.
fn mentions_our_scheme(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|part| {
        let part = part.trim_ascii();
        ["bearer", "basic"]
            .iter()
            .any(|scheme| part.len() > scheme.len() && part[..scheme.len()].eq_ignore_ascii_case(scheme.as_bytes()))
    })
}

/// The first credential found, by its text, and whether a later one disagreed with it.
#[derive(Default)]
struct Found {
    first: Option<(Vec<u8>, Presented)>,
    ambiguous: bool,
}

impl Found {
    /// The places are read in the order of precedence, so that of equal ones the first decides how it came.
    fn add(&mut self, text: &[u8], presented: Presented) {
        match &self.first {
            None => self.first = Some((text.to_vec(), presented)),
            Some((known, _)) => self.ambiguous |= known != text,
        }
    }

    fn add_token_or_ambiguous(&mut self, text: Option<&[u8]>, read: impl FnOnce(&[u8]) -> Presented) {
        match text {
            Some(text) => self.add(text, read(text)),
            None => self.ambiguous = true,
        }
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if let Some((text, _)) = &mut self.first {
            zeroize::Zeroize::zeroize(text);
        }
    }
}

#[cfg(test)]
mod tests;
