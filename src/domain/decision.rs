//! The words of a verdict: reasons, their statuses, and how a credential came in.

use std::fmt;

use serde::Serialize;

/// Why a request does not pass. The words and statuses are the contract with clients; they never say more
/// than a client may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    // 401: we do not know who you are.
    NoCredential,
    Malformed,
    Unknown,
    Mismatch,
    Expired,
    Revoked,
    Superseded,
    AccountDisabled,
    SessionEnded,
    SecondFactorRequired,
    // 403: we know, and no.
    NoRule,
    SiteAccess,
    SiteUnknown,
    SiteMissing,
    Scope,
    Network,
    CredentialKind,
    UrlTokenRefused,
    TokenTooPowerful,
    UntrustedPeer,
    CrossSite,
    // 400: the request has no single reading.
    AmbiguousPath,
    AmbiguousQuery,
    AmbiguousCredential,
    MissingDescription,
    // 429: not now.
    TooManyFailures,
    // 503: neither.
    StoreUnavailable,
    Busy,
}

impl Reason {
    pub const ALL: [Self; 28] = [
        Self::NoCredential,
        Self::Malformed,
        Self::Unknown,
        Self::Mismatch,
        Self::Expired,
        Self::Revoked,
        Self::Superseded,
        Self::AccountDisabled,
        Self::SessionEnded,
        Self::SecondFactorRequired,
        Self::NoRule,
        Self::SiteAccess,
        Self::SiteUnknown,
        Self::SiteMissing,
        Self::Scope,
        Self::Network,
        Self::CredentialKind,
        Self::UrlTokenRefused,
        Self::TokenTooPowerful,
        Self::UntrustedPeer,
        Self::CrossSite,
        Self::AmbiguousPath,
        Self::AmbiguousQuery,
        Self::AmbiguousCredential,
        Self::MissingDescription,
        Self::TooManyFailures,
        Self::StoreUnavailable,
        Self::Busy,
    ];

    /// The reason with this code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Mismatch => "mismatch",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Superseded => "superseded",
            Self::AccountDisabled => "account_disabled",
            Self::SessionEnded => "session_ended",
            Self::SecondFactorRequired => "second_factor_required",
            Self::NoRule => "no_rule",
            Self::SiteAccess => "site_access",
            Self::SiteUnknown => "site_unknown",
            Self::SiteMissing => "site_missing",
            Self::Scope => "scope",
            Self::Network => "network",
            Self::CredentialKind => "credential_kind",
            Self::UrlTokenRefused => "url_token_refused",
            Self::TokenTooPowerful => "token_too_powerful",
            Self::UntrustedPeer => "untrusted_peer",
            Self::CrossSite => "cross_site",
            Self::AmbiguousPath => "ambiguous_path",
            Self::AmbiguousQuery => "ambiguous_query",
            Self::AmbiguousCredential => "ambiguous_credential",
            Self::MissingDescription => "missing_description",
            Self::TooManyFailures => "too_many_failures",
            Self::StoreUnavailable => "store_unavailable",
            Self::Busy => "busy",
        }
    }

    /// The HTTP status of the refusal, before a dialect bends it to what its proxy understands.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NoCredential
            | Self::Malformed
            | Self::Unknown
            | Self::Mismatch
            | Self::Expired
            | Self::Revoked
            | Self::Superseded
            | Self::AccountDisabled
            | Self::SessionEnded
            | Self::SecondFactorRequired => 401,
            Self::NoRule
            | Self::SiteAccess
            | Self::SiteUnknown
            | Self::SiteMissing
            | Self::Scope
            | Self::Network
            | Self::CredentialKind
            | Self::UrlTokenRefused
            | Self::TokenTooPowerful
            | Self::UntrustedPeer
            | Self::CrossSite => 403,
            Self::AmbiguousPath | Self::AmbiguousQuery | Self::AmbiguousCredential | Self::MissingDescription => 400,
            Self::TooManyFailures => 429,
            Self::StoreUnavailable | Self::Busy => 503,
        }
    }

    /// Whether it is the outage policy that says what this becomes. Not of `busy`: whoever guesses passwords makes that, and
    /// where a proxy lets requests in on errors it would open the door for him.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        matches!(self, Self::StoreUnavailable)
    }

    /// What an operator reads, where the code alone does not say what to do.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NoCredential => "no credential was presented",
            Self::Malformed => "the credential is not well-formed; no record was looked up",
            Self::Unknown => "there is no record of this credential",
            Self::Mismatch => "there is a record, but the secret is not its secret",
            Self::Expired => "the token has expired",
            Self::Revoked => "the token has been revoked",
            Self::Superseded => "the token was rotated and its grace has ended",
            Self::AccountDisabled => "the account is disabled",
            Self::SessionEnded => "the session cookie names no living session",
            Self::SecondFactorRequired => {
                "the account has, or must have, a second factor, and it has not been shown; sign in with a browser"
            }
            Self::NoRule => "no rule of the policy matches",
            Self::SiteAccess => "the account, or the token, has too little access on the site",
            Self::SiteUnknown => "the site does not exist",
            Self::SiteMissing => "the request names no site",
            Self::Scope => "the token does not have the scope of the rule",
            Self::Network => "the token may not be used from this address",
            Self::CredentialKind => "the rule does not take this kind of credential",
            Self::UrlTokenRefused => "a token in a URL is not accepted",
            Self::TokenTooPowerful => "the token can do more than the rule tolerates",
            Self::UntrustedPeer => "the request does not come from a trusted proxy",
            Self::AmbiguousPath => "the path can be read in more than one way",
            Self::AmbiguousQuery => "a query parameter that the policy reads can be read in more than one way",
            Self::AmbiguousCredential => "more than one credential was presented",
            Self::MissingDescription => "the proxy's description of the request is missing, doubled or unreadable",
            Self::CrossSite => "a page of another site has sent this request with the browser's session",
            Self::TooManyFailures => "too many attempts have failed; later ones count again when earlier ones are forgotten",
            Self::StoreUnavailable => "the store does not answer",
            Self::Busy => "too many passwords are waiting to be verified",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// By which way a credential came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    Bearer,
    Basic,
    Body,
    Query,
    Session,
    /// The session's own API token, together with its cookie.
    SessionToken,
    None,
}

impl Via {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Body => "body",
            Self::Query => "query",
            Self::Session => "session",
            Self::SessionToken => "session-token",
            Self::None => "none",
        }
    }
}

/// What a credential is, and where it stood. They differ for a session's own token alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub via: Via,
    pub place: Via,
}

impl Way {
    #[must_use]
    pub const fn plain(via: Via) -> Self {
        Self { via, place: via }
    }
}

/// The kinds of credential that a rule takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialKinds(u8);

impl CredentialKinds {
    pub const NAMES: [(&'static str, Via); 5] =
        [("bearer", Via::Bearer), ("basic", Via::Basic), ("body", Via::Body), ("query", Via::Query), ("session", Via::Session)];

    #[must_use]
    pub fn new(kinds: &[Via]) -> Self {
        Self(kinds.iter().fold(0, |bits, via| bits | 1 << *via as u8))
    }

    #[must_use]
    pub const fn takes(self, via: Via) -> bool {
        self.0 & (1 << via as u8) != 0
    }
}

impl Default for CredentialKinds {
    fn default() -> Self {
        Self::new(&[Via::Bearer, Via::Session])
    }
}

/// "We do not know who you are": why, and which challenges go with it (RFC 9110 11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub reason: Reason,
    /// A bearer token was presented and is no good: `error="invalid_token"` (RFC 6750 3).
    pub invalid_token: bool,
    /// The rule takes Basic as well.
    pub basic: bool,
    /// A browser asks that can be sent to sign in, and the rule wants it to be.
    pub sign_in: bool,
}

/// What a dialect answers while neither yes nor no can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutagePolicy {
    /// An error: the proxy's own failure mode decides.
    Error,
    /// A definite no.
    Deny,
}

/// The outage policy of each dialect. A 5xx towards Envoy with `failure_mode_allow` is an open door, so only NGINX,
/// which turns every error into a refusal, has `error` by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub nginx: OutagePolicy,
    /// Both of Envoy's protocols.
    pub envoy: OutagePolicy,
    pub traefik: OutagePolicy,
    pub caddy: OutagePolicy,
    pub haproxy: OutagePolicy,
}

impl Default for Outage {
    fn default() -> Self {
        let deny = OutagePolicy::Deny;
        Self { nginx: OutagePolicy::Error, envoy: deny, traefik: deny, caddy: deny, haproxy: deny }
    }
}
