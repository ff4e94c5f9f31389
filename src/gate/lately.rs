//! What a worker has gathered lately for each credential, so that a check of one that it has just seen looks up nothing:
//! neither shares it a table with the other workers, nor a count of references.
//!
//! The rule is that of [`Records`](super::records::Records): first the clock, then how far the store vouches, then whether
//! anything has changed since the records were looked up. Only then are they used. The secret is verified each time.

mod places;

use std::{cell::RefCell, net::IpAddr, rc::Rc};

use self::places::{Hash, Places};
use super::{Gate, Gathered, Verification, find::Search, records::Stamp};
use crate::{
    clock::BootTime,
    domain::{id::AccountId, policy::SiteAsk, site::Host, time::Timestamp},
    store::Partition,
};

/// How many questions for sites are kept in one place.
const ASKED: usize = 8;
/// The same use again is told after so many milliseconds.
const QUIET_MILLIS: i64 = 1_000;

thread_local! {
    static LATELY: RefCell<Lately> = RefCell::new(Lately::new(0));
}

/// What lies in which slot is said by [`Places`], and checked by what lies there.
pub(super) struct Lately {
    /// Whose records these are, as a process may have several gates.
    of: u64,
    places: Places,
    /// About seventeen megabytes when all are taken, and none before.
    slots: Vec<Slot>,
    /// The one that came last of those that have no slot.
    passing: Option<Slot>,
    /// What was asked for last: most requests ask for the same sites, which then lie in one place.
    asked: Vec<Rc<Asked>>,
}

/// Begins with a line of the processor's cache. Which credential it is of is said by its record.
#[repr(align(64))]
struct Slot {
    asked: Rc<Asked>,
    stamp: Stamp,
    gathered: Gathered,
    noted: Noted,
}

/// What was asked for with a credential.
struct Asked {
    sites: SiteAsk<'static>,
    /// The host whose check session it is.
    host: Option<Host>,
}

impl Asked {
    fn is(&self, search: &Search<'_>, sites: &SiteAsk<'_>) -> bool {
        self.sites == *sites && self.host.as_ref() == host(search)
    }
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
    fn new(of: u64) -> Self {
        Self { of, places: Places::new(), slots: Vec::new(), passing: None, asked: Vec::new() }
    }

    pub fn with<T>(then: impl FnOnce(&mut Self) -> T) -> T {
        LATELY.with_borrow_mut(then)
    }

    /// The records of a credential that is what it says it is; `None` where it is not, or nobody knows without reading.
    pub fn find(&mut self, gate: &Gate, search: &Search<'_>, asked: &SiteAsk<'_>) -> Option<(&Gathered, &mut Noted)> {
        let records = &gate.parts.records;
        if self.of != records.id() {
            *self = Self::new(records.id());
        }
        let hash = hash_of(search)?;
        let began = BootTime::now();
        let family = family(search);
        let mut places = self.places.of(hash);
        let own = places.find(|place| self.slots.get(*place).is_some_and(|slot| slot.is_for(search, asked)));
        drop(places);
        let known = own.filter(|own| records.is_current(&self.slots[*own].stamp, family, began));
        let slot = if let Some(known) = known {
            let known = &mut self.slots[known];
            if !gate.still_verifies(search, &known.gathered) {
                return None;
            }
            records.count_hits(known.gathered.count());
            known
        } else {
            let gathered = Slot::gather(gate, search, asked, || self.shared(search, asked))?;
            match own.or_else(|| self.places.make_room(hash)) {
                Some(own) if own < self.slots.len() => {
                    self.slots[own] = gathered;
                    &mut self.slots[own]
                }
                Some(_) => {
                    self.slots.push(gathered);
                    self.slots.last_mut()?
                }
                None => self.passing.insert(gathered),
            }
        };
        Some((&slot.gathered, &mut slot.noted))
    }

    fn shared(&mut self, search: &Search<'_>, sites: &SiteAsk<'_>) -> Rc<Asked> {
        if let Some(known) = self.asked.iter().find(|known| known.is(search, sites)) {
            return known.clone();
        }
        let new = Rc::new(Asked { sites: sites.clone().into_static(), host: host(search).cloned() });
        self.asked.truncate(ASKED - 1);
        self.asked.insert(0, new.clone());
        new
    }
}

impl Slot {
    fn is_for(&self, search: &Search<'_>, sites: &SiteAsk<'_>) -> bool {
        let same = match (search, &self.gathered) {
            (Search::Anonymous, Gathered { token: None, session: None, .. }) => true,
            (Search::Token { token, .. }, Gathered { token: Some(known), .. }) => token.id == known.id,
            (Search::Session { cookie, .. }, Gathered { session: Some(known), .. }) => cookie.session == known.id,
            _ => false,
        };
        same && self.asked.is(search, sites)
    }

    /// Looks everything up once, where all of it is remembered.
    fn gather(gate: &Gate, search: &Search<'_>, sites: &SiteAsk<'_>, shared: impl FnOnce() -> Rc<Asked>) -> Option<Self> {
        let records = &gate.parts.records;
        // Before anything is looked up: what changes meanwhile makes all of it old.
        let stamp = records.stamp(family(search));
        let mut view = records.view();
        match (gate.look_up(search, sites, &mut view), view.take_hits()) {
            (Ok((gathered, Verification::Verified)), hits) => {
                records.count_hits(hits);
                Some(Self { asked: shared(), stamp, gathered, noted: Noted::default() })
            }
            _ => None,
        }
    }
}

fn host<'a>(search: &Search<'a>) -> Option<&'a Host> {
    if let Search::Session { host, .. } = search { Some(host) } else { None }
}

/// Of what belongs to a session.
fn family(search: &Search<'_>) -> Option<Partition> {
    if let Search::Session { cookie, .. } = search { Some(Partition::of_id(cookie.session.as_str())) } else { None }
}

fn hash_of(search: &Search<'_>) -> Option<Hash> {
    match search {
        Search::Anonymous => Hash::of(AccountId::anonymous().as_str().as_bytes()),
        Search::Token { token, .. } => Hash::of(token.id.as_bytes()),
        Search::Session { cookie, .. } => Hash::of(cookie.session.as_bytes()),
        Search::Known(_) | Search::Password { .. } => None,
    }
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
