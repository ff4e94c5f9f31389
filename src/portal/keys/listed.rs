//! Keys as tables list them: filtered and sorted by the directory, and in words how. Whose they are is the page's business.

use super::super::{PortalState, form::given};
use crate::{
    directory::{Actor, Direction, DirectoryError, Sort, TokenFilter, TokenInfo, TokenSort, Window},
    domain::token::TokenState,
};

/// What is asked for most.
pub(in super::super) const NEWEST_FIRST: &str = "-created";

/// A part of a list.
#[derive(Default)]
pub(in super::super) struct Listed {
    pub items: Vec<TokenInfo>,
    pub next: Option<String>,
    /// Why they are in no order, where they are not.
    pub unsorted: Option<Unsorted>,
}

/// Why the directory has no order of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Unsorted {
    /// The lists are being put in order.
    InTheMaking,
    /// There are too many of them for who asks.
    TooMany,
}

impl Unsorted {
    pub fn text(self) -> &'static str {
        match self {
            Self::InTheMaking => {
                "The lists are being put in order, once after an update. Until that is done, in some minutes, they are shown in no \
                 order."
            }
            Self::TooMany => {
                "These are too many to be sorted, more than about 2,000: they are shown in no order, one page after the other. The \
                 filters look through each page by itself, so go on as long as there are more."
            }
        }
    }
}

/// The keys that a filter takes: in its order, or as they are found where there is none.
///
/// # Errors
/// Those of the directory.
pub(in super::super) async fn listed(
    state: &PortalState,
    actor: &Actor,
    filter: TokenFilter,
    window: &Window,
) -> Result<Listed, DirectoryError> {
    let (found, unsorted) = match state.directory.tokens(actor, &filter, window).await {
        Err(DirectoryError::ListsInTheMaking) => (None, Some(Unsorted::InTheMaking)),
        Err(DirectoryError::Refused { code: "too_many_to_sort", .. }) => (None, Some(Unsorted::TooMany)),
        found => (Some(found?), None),
    };
    let found = match found {
        Some(found) => found,
        None => state.directory.tokens(actor, &TokenFilter { sort: None, ..filter }, window).await?,
    };
    Ok(Listed { items: found.items, next: found.next, unsorted })
}

/// What a page is sorted by. A word that says nothing becomes the usual one.
pub(in super::super) fn sorted(word: &mut String) -> Sort<TokenSort> {
    Sort::<TokenSort>::parse(word).unwrap_or_else(|| {
        NEWEST_FIRST.clone_into(word);
        Sort { by: TokenSort::Created, direction: Direction::Descending }
    })
}

/// How a table is sorted, in words.
pub(in super::super) fn order(word: &str, unsorted: Option<Unsorted>) -> &'static str {
    match (word.trim_start_matches('-'), word.starts_with('-')) {
        _ if unsorted.is_some() => "in no order",
        ("created", true) => "the newest first",
        ("created", false) => "the oldest first",
        ("expires", false) => "those that end first",
        ("expires", true) => "those that end last, or never, first",
        ("used", true) => "those used last first; one that was never used stands where it was made",
        ("used", false) => "those that rest the longest first; one that was never used stands where it was made",
        (_, false) => "by name",
        (_, true) => "by name, from the end",
    }
}

/// The names that are wanted: a part of one is enough.
pub(in super::super) fn like(text: &str) -> Option<String> {
    given(text).map(|text| if text.contains('*') { text } else { format!("*{text}*") })
}

pub(in super::super) fn state(word: &str) -> Option<TokenState> {
    match word {
        "active" => Some(TokenState::Active),
        "expired" => Some(TokenState::Expired),
        "revoked" => Some(TokenState::Revoked),
        "superseded" => Some(TokenState::Superseded),
        _ => None,
    }
}
