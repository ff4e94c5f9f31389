//! What a worker has gathered lately for each credential, so that a check of one that it has just seen looks up nothing:
//! neither shares it a table with the other workers, nor a count of references.
//!
//! The rule is that of [`Records`](super::records::Records): first the clock, then how far the store vouches, then whether
//! anything has changed since the records were looked up. Only then are they used. The secret is verified each time.

use std::{cell::RefCell, net::IpAddr, rc::Rc};

use super::{Gate, Gathered, Verification, find::Search, records::Stamp};
use crate::{
    clock::BootTime,
    domain::{policy::SiteAsk, session::SessionId, site::Host, time::Timestamp, token::TokenId},
    store::Partition,
};

/// How many credentials a worker has at hand: about two megabytes.
const SLOTS: usize = 8_192;
/// How many questions for sites are kept in one place.
const ASKED: usize = 8;
/// The same use again is told after so many milliseconds.
const QUIET_MILLIS: i64 = 1_000;

thread_local! {
    static LATELY: RefCell<Lately> = const { RefCell::new(Lately { of: 0, slots: Vec::new(), asked: Vec::new() }) };
}

/// Each credential has one slot, which it shares with others.
pub(super) struct Lately {
    /// Whose records these are, as a process may have several gates.
    of: u64,
    slots: Vec<Option<Slot>>,
    /// What was asked for last: most requests ask for the same sites, which then lie in one place.
    asked: Vec<Rc<SiteAsk<'static>>>,
}

struct Slot {
    credential: Credential,
    sites: Rc<SiteAsk<'static>>,
    stamp: Stamp,
    gathered: Gathered,
    noted: Noted,
    /// How many records it took.
    hits: u64,
}

/// What a search was for, without its secret.
enum Credential {
    Anonymous,
    Token(TokenId),
    Session(SessionId, Host),
}

/// When and from where a use was told last.
#[derive(Default)]
pub(super) struct Noted(Option<(Timestamp, Option<IpAddr>)>);

impl Noted {
    /// Whether a use is to be told.
    pub fn renew(&mut self, now: Timestamp, client: Option<IpAddr>) -> bool {
        let is_news = |(at, from): (Timestamp, Option<IpAddr>)| {
            from != client || !(0..QUIET_MILLIS).contains(&(now.as_millis() - at.as_millis()))
        };
        let is_news = self.0.is_none_or(is_news);
        if is_news {
            self.0 = Some((now, client));
        }
        is_news
    }
}

impl Lately {
    pub fn with<T>(then: impl FnOnce(&mut Self) -> T) -> T {
        LATELY.with_borrow_mut(then)
    }

    /// The records of a credential that is what it says it is; `None` where it is not, or nobody knows without reading.
    pub fn find(&mut self, gate: &Gate, search: &Search<'_>, asked: &SiteAsk<'_>) -> Option<(&Gathered, &mut Noted)> {
        let records = &gate.parts.records;
        if self.of != records.id() {
            self.of = records.id();
            self.slots.clear();
            self.slots.resize_with(SLOTS, || None);
        }
        let index = index(search)?;
        let slot = &self.slots[index];
        let began = BootTime::now();
        let known = slot.as_ref().filter(|slot| slot.is_for(search, asked) && records.is_current(&slot.stamp, began));
        match known {
            Some(known) if !gate.still_verifies(search, &known.gathered) => return None,
            Some(known) => records.count_hits(known.hits),
            None => {
                let gathered = Slot::gather(gate, search, asked, || self.shared(asked))?;
                self.slots[index] = Some(gathered);
            }
        }
        self.slots[index].as_mut().map(|slot| (&slot.gathered, &mut slot.noted))
    }

    fn shared(&mut self, asked: &SiteAsk<'_>) -> Rc<SiteAsk<'static>> {
        if let Some(known) = self.asked.iter().find(|known| ***known == *asked) {
            return known.clone();
        }
        let new = Rc::new(asked.clone().into_static());
        self.asked.truncate(ASKED - 1);
        self.asked.insert(0, new.clone());
        new
    }
}

impl Slot {
    fn is_for(&self, search: &Search<'_>, asked: &SiteAsk<'_>) -> bool {
        let same = match (&self.credential, search) {
            (Credential::Anonymous, Search::Anonymous) => true,
            (Credential::Token(id), Search::Token { token, .. }) => *id == token.id,
            (Credential::Session(id, at), Search::Session { cookie, host }) => *id == cookie.session && at == *host,
            _ => false,
        };
        same && *self.sites == *asked
    }

    /// Looks everything up once, where all of it is remembered.
    fn gather(
        gate: &Gate,
        search: &Search<'_>,
        asked: &SiteAsk<'_>,
        shared: impl FnOnce() -> Rc<SiteAsk<'static>>,
    ) -> Option<Self> {
        let credential = match search {
            Search::Anonymous => Credential::Anonymous,
            Search::Token { token, .. } => Credential::Token(token.id.clone()),
            Search::Session { cookie, host } => Credential::Session(cookie.session.clone(), (*host).clone()),
            Search::Known(_) | Search::Password { .. } => return None,
        };
        let records = &gate.parts.records;
        let family = match search {
            Search::Session { cookie, .. } => Some(Partition::of_id(cookie.session.as_str())),
            _ => None,
        };
        // Before anything is looked up: what changes meanwhile makes all of it old.
        let stamp = records.stamp(family);
        let mut view = records.view();
        let (Ok((gathered, Verification::Verified)), hits) = (gate.look_up(search, asked, &mut view), view.take_hits()) else {
            return None;
        };
        records.count_hits(hits);
        Some(Self { credential, sites: shared(), stamp, gathered, noted: Noted::default(), hits })
    }
}

/// Ids are random, so their first letters are as good as any hash of them.
fn index(search: &Search<'_>) -> Option<usize> {
    let id = match search {
        Search::Anonymous => return Some(0),
        Search::Token { token, .. } => token.id.as_bytes(),
        Search::Session { cookie, .. } => cookie.session.as_bytes(),
        Search::Known(_) | Search::Password { .. } => return None,
    };
    let letters = u64::from_le_bytes(*id.first_chunk()?);
    usize::try_from(letters.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOTS.ilog2())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_use_is_told_once_a_second() {
        let mut noted = Noted::default();
        let at = Timestamp::from_millis;
        let here = Some(IpAddr::from([192, 0, 2, 1]));
        for (millis, client, is_told) in [
            (5_000, here, true),
            (5_999, here, false),
            (6_000, here, true),
            (6_001, None, true),
            (6_002, None, false),
            // Somebody has set the clock back.
            (3_000, None, true),
        ] {
            assert_eq!(noted.renew(at(millis), client), is_told, "{millis}");
        }
    }
}
