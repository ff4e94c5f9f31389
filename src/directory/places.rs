//! Where tokens and accounts stand in the lists that are sorted: the members by which the store's indexes have them. Each
//! begins with a form of the value whose bytes sort as the value does, and ends with the id. A change of a record that moves
//! it in a list moves its member in the same commit.

use super::{Edit, TokenInfo};
use crate::{
    domain::{
        account::Account,
        text::fold,
        time::Timestamp,
        token::{Token, TokenId},
    },
    store::{Direction, Index},
};

/// By what tokens are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSort {
    /// When they were made.
    Created,
    /// By their names, folded.
    Name,
    /// When they end by themselves; those that never do come last.
    Expires,
    /// When they were last used; those that never were, by when they were made.
    Used,
}

impl TokenSort {
    /// Where the tokens stand that are in this order. Those that were used are not in the one by use.
    pub(super) fn index(self) -> Index {
        match self {
            Self::Created => Index::Tokens,
            Self::Name => Index::TokensByName,
            Self::Expires => Index::TokensByEnd,
            Self::Used => Index::UnusedTokens,
        }
    }
}

/// By what accounts are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountSort {
    Login,
    Created,
}

/// By what and in which direction a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort<By> {
    pub by: By,
    pub direction: Direction,
}

impl<By> Sort<By> {
    #[must_use]
    pub const fn ascending(by: By) -> Self {
        Self { by, direction: Direction::Ascending }
    }
}

impl<By: Copy> Sort<By> {
    fn read(text: &str, words: &[(&str, By)]) -> Option<Self> {
        let (word, direction) = match text.strip_prefix('-') {
            Some(word) => (word, Direction::Descending),
            None => (text, Direction::Ascending),
        };
        words.iter().find(|(name, _)| *name == word).map(|(_, by)| Self { by: *by, direction })
    }
}

impl Sort<TokenSort> {
    /// `created`, `name`, `expires` or `used`; with a `-` before it, descending.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        use TokenSort::{Created, Expires, Name, Used};
        Self::read(text, &[("created", Created), ("name", Name), ("expires", Expires), ("used", Used)])
    }
}

impl Sort<AccountSort> {
    /// `login` or `created`; with a `-` before it, descending.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text, &[("login", AccountSort::Login), ("created", AccountSort::Created)])
    }
}

/// What members by time begin with. It comes after every bare id, as which [`Index::Tokens`] has the tokens of before there
/// were orders.
const TIMED: char = '~';
/// In milliseconds; fourteen digits. No clock comes near it, and an end after it is as good as none.
const NEVER: i64 = 99_999_999_999_999;
/// Between a name and an id. No name has it, and it comes before all that a name can have.
const AFTER_NAME: char = '\u{1}';

/// By a time, or the lack of one.
pub(super) fn timed(at: Option<Timestamp>, id: &str) -> String {
    let millis = at.map_or(NEVER, |at| at.as_millis().clamp(0, NEVER));
    format!("{TIMED}{millis:014} {id}")
}

/// A place by time with the token that is there.
pub(super) fn read_timed(place: &str) -> Option<(Timestamp, TokenId)> {
    let (millis, id) = place.strip_prefix(TIMED)?.split_once(' ')?;
    Some((Timestamp::from_millis(millis.parse().ok()?), TokenId::parse(id)?))
}

fn named(name: &str, id: &str) -> String {
    format!("{}{AFTER_NAME}{id}", fold(name))
}

/// The id at the end of a place.
pub(super) fn id_at(place: &str) -> &str {
    place.rsplit([' ', AFTER_NAME]).next().unwrap_or_default()
}

/// Where a token stands now.
pub(super) fn place(by: TokenSort, info: &TokenInfo) -> String {
    let (token, id) = (&info.token, info.token.id.as_str());
    match by {
        TokenSort::Created => timed(Some(token.created_at), id),
        TokenSort::Name => named(token.name.as_str(), id),
        TokenSort::Expires => timed(token.ends_at(), id),
        TokenSort::Used => timed(Some(info.last_used.as_ref().map_or(token.created_at, |last| last.at)), id),
    }
}

/// Where the indexes have a token. Not where it stands by its last use: the store knows that.
fn places(token: &Token) -> [(Index, String); 3] {
    let id = token.id.as_str();
    [
        (Index::Tokens, timed(Some(token.created_at), id)),
        (Index::TokensByName, named(token.name.as_str(), id)),
        (Index::TokensByEnd, timed(token.ends_at(), id)),
    ]
}

/// Where a token stands by its last use as long as it has none.
pub(super) fn unused(token: &Token) -> String {
    timed(Some(token.created_at), token.id.as_str())
}

pub(super) fn list(edit: &mut Edit, token: &Token, is_used: bool) {
    for (index, place) in places(token) {
        edit.add_to(index, &place);
    }
    if !is_used {
        edit.add_to(Index::UnusedTokens, &unused(token));
    }
}

/// Whether the token stands there, in the order that this is a place of.
pub(super) fn stands_at(token: &Token, by: TokenSort, place: &str) -> bool {
    match by {
        TokenSort::Used => unused(token) == place,
        by => places(token).iter().any(|(index, own)| *index == by.index() && own == place),
    }
}

pub(super) fn move_in_lists(edit: &mut Edit, old: &Token, new: &Token) {
    for ((index, old), (_, new)) in places(old).into_iter().zip(places(new)) {
        if old != new {
            edit.remove_from(index.clone(), &old);
            edit.add_to(index, &new);
        }
    }
}

pub(super) fn unlist(edit: &mut Edit, token: &Token) {
    for (index, place) in places(token) {
        edit.remove_from(index, &place);
    }
    edit.remove_from(Index::UnusedTokens, &unused(token));
}

/// Where an account stands among those by their making.
pub(super) fn of_account(account: &Account) -> String {
    timed(Some(account.created_at), account.id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_as_what_they_are_made_of() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let times = [at(-5), at(9), at(10), at(1_700_000_000_000), at(1_800_000_000_000), None];
        assert!(times.map(|time| timed(time, "AbCdEfGh0123")).is_sorted());
        assert_eq!(timed(at(253_402_207_200_000), "A"), timed(None, "A"));
        assert!("zzzzzzzzzzzz" < &*timed(at(0), ""));
        assert!(["a", "a b", "A-b", "Ab", "b"].map(|name| named(name, "zzzzzzzzzzzz")).is_sorted());
        assert!(named("Job", "1") < named("job", "2"));
    }

    #[test]
    fn the_id_is_found_again() {
        let token = TokenId::parse("AbCdEfGh0123").unwrap();
        let at = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(read_timed(&timed(Some(at), token.as_str())), Some((at, token)));
        for place in [timed(Some(at), "AbCdEfGh0123"), named("nightly job", "AbCdEfGh0123"), "AbCdEfGh0123".to_owned()] {
            assert_eq!(id_at(&place), "AbCdEfGh0123");
        }
        for other in ["", "~", "~1 ", "~x AbCdEfGh0123", "AbCdEfGh0123"] {
            assert_eq!(read_timed(other), None);
        }
    }
}
