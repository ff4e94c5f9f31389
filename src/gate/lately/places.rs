//! Which credentials a worker has at hand, and in which slot each of them lies. Knows nothing of what lies there.
//!
//! Each credential has two places, which it shares with others. Where both are taken it drives one of them out, but only when it
//! comes for the second time: where there are more credentials than places, most of those that come are not seen again for long.

use std::num::NonZeroU32;

/// Each credential may be in so many places, so that two which share them do not drive each other out.
const WAYS: usize = 2;
/// So many times as many credentials have a place, 131,072. A power of two.
const SETS: usize = 65_536;
/// Among so many those are told apart that came once. A power of two.
const COMERS: usize = 4 * SETS;

pub(super) struct Places {
    sets: Vec<[Option<Place>; WAYS]>,
    taken: usize,
    /// The marks of those that came and got no place.
    comers: Vec<Option<NonZeroU32>>,
    /// Counts those that drove another one out: they take turns in whom.
    turn: usize,
}

#[derive(Clone, Copy)]
struct Place {
    mark: NonZeroU32,
    slot: u32,
}

/// What is made of a credential's id: ids are random, so their first letters are as good as any hash of them.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    pub fn of(id: &[u8]) -> Option<Self> {
        Some(Self(u64::from_le_bytes(*id.first_chunk()?).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Below `many`, a power of two.
    fn one_of(self, many: usize) -> usize {
        usize::try_from(self.0 >> (u64::BITS - many.ilog2())).unwrap_or_default()
    }

    /// Tells most of those apart that share a place.
    fn mark(self) -> NonZeroU32 {
        NonZeroU32::MIN | u32::try_from((self.0 >> 16) & u64::from(u32::MAX)).unwrap_or_default()
    }
}

impl Places {
    pub fn new() -> Self {
        Self { sets: vec![[None; WAYS]; SETS], taken: 0, comers: vec![None; COMERS], turn: 0 }
    }

    /// The slots in which a credential may lie: hardly ever is it another one that does.
    pub fn of(&self, hash: Hash) -> impl Iterator<Item = usize> {
        let places = self.sets[hash.one_of(SETS)].iter().flatten();
        places.filter(move |place| place.mark == hash.mark()).map(|place| place.slot as usize)
    }

    /// The slot of a credential that comes and has none; `None` where it is to have none. Slots are numbered as they are given.
    pub fn make_room(&mut self, hash: Hash) -> Option<usize> {
        let set = &mut self.sets[hash.one_of(SETS)];
        let slot = if let Some(free) = set.iter_mut().find(|place| place.is_none()) {
            let slot = u32::try_from(self.taken).ok()?;
            self.taken += 1;
            free.insert(Place { mark: hash.mark(), slot }).slot
        } else {
            let comer = &mut self.comers[hash.one_of(COMERS)];
            if comer.replace(hash.mark()) != Some(hash.mark()) {
                return None;
            }
            self.turn = self.turn.wrapping_add(1);
            let place = set[self.turn % WAYS].as_mut()?;
            place.mark = hash.mark();
            place.slot
        };
        Some(slot as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{random_base62, test_rng};

    /// Those with the same first letters share their places, and the last ones tell them apart.
    fn of_one_set(number: u64) -> Hash {
        Hash(number << 17)
    }

    #[test]
    fn one_that_comes_again_drives_another_out_and_one_that_came_once_does_not() {
        let mut places = Places::new();
        let [a, b, c, d] = [1, 2, 3, 4].map(of_one_set);
        let slot = |places: &Places, hash| places.of(hash).next();
        assert_eq!((places.make_room(a), places.make_room(b)), (Some(0), Some(1)));
        assert_eq!([a, b, c].map(|hash| slot(&places, hash)), [Some(0), Some(1), None]);
        assert_eq!(places.make_room(c), None);
        assert_eq!(places.make_room(d), None);
        assert_eq!(places.make_room(c), None, "another one came in between");
        let taken = places.make_room(c);
        assert!(taken.is_some_and(|slot| slot < 2));
        assert_eq!(slot(&places, c), taken);
        assert_eq!([a, b].iter().filter(|hash| slot(&places, **hash).is_some()).count(), 1);
        let other = Hash(1 << 63);
        assert_eq!((slot(&places, other), places.make_room(other)), (None, Some(2)));
    }

    #[test]
    fn ids_spread_over_all_places() {
        let (mut places, mut rng) = (Places::new(), test_rng());
        let mut slots = 0;
        for _ in 0..12 * WAYS * SETS {
            let id = random_base62::<12>(&mut rng);
            slots += usize::from(places.make_room(Hash::of(&id).unwrap()).is_some());
        }
        assert!(slots >= WAYS * SETS, "{slots}");
    }
}
