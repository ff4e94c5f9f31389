//! Lists in an order, of whatever length: each part is read where it begins, from an index that the store keeps sorted, and a
//! filter that says something of the order narrows down what is read. Who does not see everything has his few sorted here: a
//! place in an index says something of what stands there, and a cursor is a place.

mod part;

use std::sync::atomic::Ordering;

use super::{
    Directory, DirectoryError, Listing, TokenFilter, TokenInfo, TokenSort, Window,
    places::{Sort, id_at, place, read_timed, timed},
    standing::Standing,
};
use crate::{
    domain::{
        text::{Invalid, fold},
        time::Timestamp,
        token::TokenId,
    },
    store::{Key, StoreError, record::Meta},
};
pub(super) use part::{Part, Range};

/// Tokens that are sorted here, at most: as many as are looked at for one part of any list.
const SORTED_HERE: usize = part::LOOKS;
/// The same for superusers, of one account: to find them among all takes more than that.
const SORTED_FOR_SUPERUSERS: usize = 10_000;
/// Parts in which they are found: most of what is looked through may be of others.
const PARTS: usize = 20;

impl Directory {
    pub(super) async fn sorted_tokens(
        &self,
        standing: &Standing,
        filter: &TokenFilter,
        window: &Window,
    ) -> Result<Listing<TokenInfo>, DirectoryError> {
        if filter.login.is_none() && standing.authority.is_superuser() {
            return self.tokens_by_index(standing, filter, window).await;
        }
        let sort = filter.order();
        let most = if standing.authority.is_superuser() { SORTED_FOR_SUPERUSERS } else { SORTED_HERE };
        let mut ids = Vec::new();
        let mut part = Window { after: None, limit: Window::MAX_LIMIT };
        for looked in 1.. {
            let (some, next) = self.token_ids(standing, filter.login.as_ref(), &part).await?;
            ids.extend(some);
            part.after = next;
            if ids.len() > most || (part.after.is_some() && looked >= PARTS) {
                if standing.authority.is_superuser() {
                    // There are so many of this account that they are found among all.
                    return self.tokens_by_index(standing, filter, window).await;
                }
                let detail = "these are too many tokens to be sorted; leave out `sort`, or name one account that has fewer";
                return Err(DirectoryError::refused("too_many_to_sort", detail));
            }
            if part.after.is_none() {
                break;
            }
        }
        let mut found: Vec<_> = self.infos(standing, &ids).await?.into_iter().flatten().collect();
        found.retain(|info| filter.takes(info, standing.now));
        let mut found: Vec<_> = found.into_iter().map(|info| (place(sort.by, &info), Some(info))).collect();
        found.sort_by(|(one, _), (other, _)| sort.direction.compare(one, other));
        if let Some(after) = window.after.as_deref() {
            found.retain(|(place, _)| sort.direction.compare(place, after).is_gt());
        }
        let mut all = Part::new(window, sort.direction, Range::default());
        let ended = all.take(found, false, |_, _| true);
        Ok(ended.unwrap_or(Listing { items: Vec::new(), next: None }))
    }

    async fn tokens_by_index(
        &self,
        standing: &Standing,
        filter: &TokenFilter,
        window: &Window,
    ) -> Result<Listing<TokenInfo>, DirectoryError> {
        let mut sort = filter.order();
        if sort != Sort::ascending(TokenSort::Created) && !self.lists_are_made().await? {
            if filter.sort.is_some() {
                return Err(DirectoryError::ListsInTheMaking);
            }
            sort = Sort::ascending(TokenSort::Created);
        }
        let mut part = Part::new(window, sort.direction, filter.range(sort.by, standing.now));
        loop {
            let at_once = part.at_once(filter.is_narrow());
            let (places, more) = self.token_places(sort, part.position(), at_once).await?;
            let ids: Vec<_> = places.iter().map(|place| TokenId::parse(id_at(place))).collect();
            let known: Vec<_> = ids.iter().flatten().cloned().collect();
            let mut infos = self.infos(standing, &known).await?.into_iter();
            let infos = ids.iter().map(|id| id.as_ref().and_then(|_| infos.next().flatten()));
            let found = places.into_iter().zip(infos).collect();
            let wanted = |place: &str, info: &TokenInfo| filter.takes(info, standing.now) && is_here(sort, place, info);
            if let Some(listing) = part.take(found, more, wanted) {
                return Ok(listing);
            }
        }
    }

    /// The next places of an order, and whether there are more.
    async fn token_places(
        &self,
        sort: Sort<TokenSort>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), DirectoryError> {
        let page = self.store.page_in(&sort.by.index(), sort.direction, after, limit).await?;
        if sort.by != TokenSort::Used {
            return Ok((page.members, page.more));
        }
        let bad_cursor = || Invalid::new("query_invalid", "cursor", "this cursor is of another list");
        let after = after.map(|after| read_timed(after).ok_or_else(bad_cursor)).transpose()?;
        let used = self.store.by_last_use(sort.direction, after.as_ref(), limit).await?;
        let more = page.more || used.len() == limit;
        let mut places = page.members;
        places.extend(used.into_iter().map(|(at, token)| timed(Some(at), token.as_str())));
        places.sort_by(|one, other| sort.direction.compare(one, other));
        places.dedup();
        let more = more || places.len() > limit;
        // Beyond this many, some of the other list may be missing in between.
        places.truncate(limit);
        Ok((places, more))
    }

    /// Whether what was there before there were orders is in them.
    pub(super) async fn lists_are_made(&self) -> Result<bool, StoreError> {
        if !self.lists_made.load(Ordering::Relaxed) {
            let meta: Option<Meta> = self.get(Key::Meta).await?;
            self.lists_made.store(meta.is_some_and(|meta| meta.has_all_lists()), Ordering::Relaxed);
        }
        Ok(self.lists_made.load(Ordering::Relaxed))
    }
}

/// Whether a token belongs where it was found. It may have moved since, or be on its way out of the list of the unused: then
/// it is shown at its other place, or was.
fn is_here(sort: Sort<TokenSort>, found_at: &str, info: &TokenInfo) -> bool {
    let now = place(sort.by, info);
    if sort.by == TokenSort::Created || now == found_at {
        return true;
    }
    let among_the_unused = sort.by == TokenSort::Used && found_at == timed(Some(info.token.created_at), info.token.id.as_str());
    !among_the_unused && sort.direction.compare(&now, found_at).is_lt()
}

impl TokenFilter {
    /// The order that was asked for, or the one in which the fewest have to be looked at.
    pub(super) fn order(&self) -> Sort<TokenSort> {
        let by = if self.expiring.is_some() {
            TokenSort::Expires
        } else if self.unused.is_some() {
            TokenSort::Used
        } else if self.name.as_deref().and_then(beginning).is_some() {
            TokenSort::Name
        } else {
            TokenSort::Created
        };
        self.sort.unwrap_or(Sort::ascending(by))
    }

    /// Where in an order all are that can be wanted.
    fn range(&self, by: TokenSort, now: Timestamp) -> Range {
        // No two ids that are made are these.
        let [first, last] = ["000000000000", "zzzzzzzzzzzz"];
        let before = |age: Option<std::time::Duration>| {
            let age = i64::try_from(age?.as_millis()).unwrap_or(i64::MAX);
            Some(timed(Some(Timestamp::from_millis(now.as_millis().saturating_sub(age))), last))
        };
        match by {
            TokenSort::Created => Range { from: None, to: before(self.older_than) },
            TokenSort::Used => Range { from: None, to: before(self.unused) },
            TokenSort::Expires => match self.expiring {
                Some(within) => Range { from: Some(timed(Some(now), first)), to: Some(timed(now.checked_add(within), last)) },
                None => Range::default(),
            },
            TokenSort::Name => self.name.as_deref().and_then(beginning).map(Range::of_beginning).unwrap_or_default(),
        }
    }
}

/// What the folded texts begin with that are like a pattern, as far as that is certain.
pub(super) fn beginning(pattern: &str) -> Option<String> {
    let fixed = pattern.split('*').next().unwrap_or_default();
    let ascii = &fixed[..fixed.bytes().take_while(u8::is_ascii).count()];
    // Folding may join the last letter with the one that follows.
    let certain = if ascii.len() == pattern.len() { ascii } else { &ascii[..ascii.len().saturating_sub(1)] };
    (!certain.is_empty()).then(|| fold(certain))
}
