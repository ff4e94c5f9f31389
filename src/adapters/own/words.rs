//! Why a request was refused, in words for whoever sits before the browser. They say no more than the reason's code does.

use crate::domain::decision::Reason;

/// A heading and a sentence or two.
pub(super) type Words = (&'static str, &'static str);

/// For a sign-in that did not come to its end.
pub(super) const NOT_SIGNED_IN: Words = (
    "The sign-in was not completed",
    "The link that leads back from signing in works once, for half a minute, in the browser in which it began. Please sign in again.",
);
/// For whoever comes without a reason.
pub(super) const NOTHING_KNOWN: Words = ("This request was refused", "Nothing more is known about it here.");

pub(super) fn words(reason: Reason) -> Words {
    match reason {
        Reason::NoCredential => ("Please sign in", "This page is for people who are signed in."),
        Reason::SessionEnded => {
            ("Your session has ended", "You were signed out, or nothing was heard of you for a while. Sign in again to go on.")
        }
        Reason::SecondFactorRequired => (
            "A second factor is missing",
            "Your password alone is not enough here. Sign in with a browser, and show or set up your second factor.",
        ),
        Reason::AccountDisabled => ("Your account is disabled", "Whoever looks after the accounts here can tell you why."),
        Reason::Malformed | Reason::Unknown | Reason::Mismatch => (
            "This key opens nothing",
            "What was sent as a login or an access token is not a valid one. Perhaps it was not copied whole.",
        ),
        Reason::Expired => ("The access token has expired", "Its time is over. Make a new one, or ask whoever gave it to you."),
        Reason::Revoked => ("The access token was revoked", "It is not valid any more. Ask whoever gave it to you."),
        Reason::Superseded => {
            ("The access token was replaced", "There is a newer one in its place, and this one is not valid any more.")
        }
        Reason::NoRule => ("This address is not open", "Nobody has said who may use it, so nobody may."),
        Reason::SiteAccess => (
            "You have no access here",
            "You are signed in, and your account may not do this here. Ask whoever looks after this site.",
        ),
        Reason::SiteUnknown | Reason::SiteMissing => {
            ("There is no such site", "The address names a site that is not known here, or none. Look at it once more.")
        }
        Reason::Scope | Reason::TokenTooPowerful => {
            ("This access token is not for this", "It is valid, and it was made for something else.")
        }
        Reason::Network => ("Not from this network", "This access token may be used from other addresses only."),
        Reason::CredentialKind => {
            ("Not with this kind of key", "What was sent may be valid, but it is not taken here in this way.")
        }
        Reason::UrlTokenRefused => (
            "An access token in an address is not safe",
            "Addresses are kept in histories and logs, so tokens in them are not taken here. Send it in a header.",
        ),
        Reason::CrossSite => (
            "Another website has sent this request",
            "It was refused to protect you. If you did want this, open the page here and do it from there.",
        ),
        Reason::AmbiguousPath | Reason::AmbiguousQuery => {
            ("The address can be read in two ways", "Such addresses are refused. Perhaps a link was put together wrongly.")
        }
        Reason::AmbiguousCredential => (
            "Two keys at once",
            "The browser has sent two logins, tokens or sessions that disagree. Deleting the cookies of this site helps most often.",
        ),
        Reason::UntrustedPeer | Reason::MissingDescription => (
            "This server is not set up correctly",
            "Something is wrong on the way to this site, and not with you. Tell whoever runs it.",
        ),
        Reason::TooManyFailures => ("Too many failed attempts", "Wait for a while, and try again."),
        Reason::StoreUnavailable | Reason::Busy => {
            ("Not available at the moment", "Nobody can be let in for the moment. You are still signed in; try again shortly.")
        }
    }
}
