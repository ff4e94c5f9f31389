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
            Sent::One(_) | Sent::Misplaced => Presented::Malformed(Via::Session),
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
mod tests {
    use super::super::{
        id::test_rng,
        request::{ClientHeaders, Described},
        session::SessionId,
        token::TokenPrefix,
    };
    use super::*;

    use base64::engine::general_purpose;

    const TOKEN: &str = "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf";

    const ORIGINS: [&str; 2] = ["https://h", "http://localhost"];

    fn read(target: &str, headers: &[(&str, &str)]) -> Credentials {
        read_at("h", target, headers)
    }

    fn read_at(host: &str, target: &str, headers: &[(&str, &str)]) -> Credentials {
        let reader = CredentialReader {
            prefixes: TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap(),
            query_names: vec!["token_auth".to_owned()],
            hosts: ProtectedHosts::new(ORIGINS.map(|origin| Origin::parse(origin).unwrap()).to_vec()).unwrap(),
        };
        let mut client = ClientHeaders::default();
        for (name, value) in headers {
            client.take(name, value.as_bytes());
        }
        let described = Described { method: "GET", target: target.as_bytes(), host, client: None, headers: &client, body: None };
        reader.read(&CheckRequest::parse(described).unwrap(), true)
    }

    fn kind(target: &str, headers: &[(&str, &str)]) -> String {
        kind_of(&read(target, headers).presented)
    }

    fn kind_of(presented: &Presented) -> String {
        match presented {
            Presented::Nothing => "nothing".to_owned(),
            Presented::Ambiguous => "ambiguous".to_owned(),
            Presented::Malformed(via) => format!("malformed {}", via.as_str()),
            Presented::Token { via, login, .. } => {
                format!("token {} {}", via.as_str(), login.as_deref().unwrap_or_default()).trim().to_owned()
            }
            Presented::Password { login, .. } => format!("password {login}"),
            Presented::Session(_) => "session".to_owned(),
            Presented::SessionToken { place, cookie, .. } => {
                format!("session token {} {}", place.as_str(), if cookie.is_some() { "with cookie" } else { "alone" })
            }
        }
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", general_purpose::STANDARD.encode(pair))
    }

    #[test]
    fn authorization_is_read_in_any_case_and_trimmed() {
        for value in [format!("Bearer {TOKEN}"), format!("bEARER   {TOKEN} "), format!("Bearer\t{TOKEN}")] {
            assert_eq!(kind("/", &[("authorization", &value)]), "token bearer", "{value}");
        }
        for value in ["Bearer", "Bearer ", "bearer x", "Bearer kg_u_x"] {
            assert_eq!(kind("/", &[("authorization", value)]), "malformed bearer", "{value}");
        }
        for value in ["", "realm=T", "Digest username=x", "Negotiate abc", TOKEN] {
            assert_eq!(kind("/", &[("authorization", value)]), "nothing", "{value}");
        }
    }

    #[test]
    fn basic_carries_a_password_or_a_token() {
        let with = |pair: &str| kind("/", &[("authorization", &basic(pair))]);
        assert_eq!(with("vera:pass:word"), "password vera");
        assert_eq!(with(&format!("vera:{TOKEN}")), "token basic vera");
        assert_eq!(with(&format!("{TOKEN}:")), "token basic");
        assert_eq!(with(&format!("{TOKEN}:x")), "token basic");
        assert_eq!(with(&format!("{TOKEN}:{TOKEN}")), "token basic");
        assert_eq!(with(&format!("{TOKEN}:kg_u_other")), "ambiguous");
        assert_eq!(with("vera:kg_u_junk"), "malformed basic");
        for pair in ["vera", ":", ":x"] {
            assert_eq!(with(pair), "malformed basic", "{pair}");
        }
        assert_eq!(kind("/", &[("authorization", "Basic !!!")]), "malformed basic");
    }

    #[test]
    fn two_that_disagree_are_ambiguous_and_two_that_agree_are_one() {
        let bearer = format!("Bearer {TOKEN}");
        let query = format!("/?token_auth={TOKEN}");
        assert_eq!(kind(&query, &[]), "token query");
        assert_eq!(kind(&query, &[("authorization", &bearer)]), "token bearer");
        assert_eq!(kind("/?token_auth=other", &[("authorization", &bearer)]), "ambiguous");
        assert_eq!(kind(&query, &[("authorization", &basic("vera:secret"))]), "ambiguous");
        assert_eq!(kind("/", &[("authorization", &bearer), ("authorization", &bearer)]), "ambiguous");
        assert_eq!(kind("/", &[("authorization", &format!("{bearer},{bearer}"))]), "ambiguous");
        assert_eq!(kind("/", &[("authorization", &format!("Digest x, {bearer}"))]), "ambiguous");
        assert_eq!(kind(&format!("{query}&token_auth={TOKEN}"), &[]), "ambiguous");
        assert_eq!(kind("/?token_auth=", &[]), "nothing");
        assert_eq!(read(&query, &[]).in_query, ["token_auth"]);
    }

    fn cookie() -> SessionSecret {
        SessionSecret::generate(SessionId::generate(&mut test_rng()), &mut test_rng())
    }

    #[test]
    fn our_cookie_is_found_once_under_its_own_name_or_refused() {
        let text = cookie().to_text();
        let at = |host: &str, value: &str| kind_of(&read_at(host, "/", &[("cookie", &value.replace("SECRET", &text))]).presented);
        assert_eq!(at("h", "a=b; __Host-keygate-check=SECRET"), "session");
        assert_eq!(at("localhost", "a=b; keygate-check=SECRET"), "session");
        assert_eq!(at("h", "a=b; x__Host-keygate-check=SECRET"), "nothing");
        assert_eq!(at("h", "__Host-keygate-check=xyz"), "malformed session");
        assert_eq!(at("h", "keygate-check=SECRET"), "malformed session", "planted by a sibling");
        assert_eq!(at("localhost", "__Host-keygate-check=SECRET"), "malformed session");
        assert_eq!(at("elsewhere", "__Host-keygate-check=SECRET"), "malformed session", "no sessions there");
        assert_eq!(at("h", "keygate-check=x; __Host-keygate-check=SECRET"), "ambiguous");
        let both = [("cookie", "__Host-keygate-check=x"), ("authorization", &*format!("Bearer {TOKEN}"))];
        assert_eq!(kind("/", &both), "token bearer", "an explicit token comes before a cookie");
    }

    #[test]
    fn a_sessions_token_keeps_the_cookie_beside_it() {
        let prefixes = TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap();
        let bearer = format!("Bearer {}", prefixes.session_token(&cookie()).expose_secret());
        let sent = format!("__Host-keygate-check={}", cookie().to_text());
        let with = |cookies: &str| kind("/", &[("authorization", &bearer), ("cookie", cookies)]);
        assert_eq!(with(&sent), "session token bearer with cookie");
        assert_eq!(with("a=b"), "session token bearer alone");
        assert_eq!(with("__Host-keygate-check=junk"), "session token bearer alone");
        assert_eq!(with(&format!("{sent}; {sent}")), "ambiguous");
    }
}
