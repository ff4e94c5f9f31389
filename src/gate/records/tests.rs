//! Memory told of changes while records are read: each guard by itself. How they work together is shown from outside.

use std::sync::{Mutex as StdMutex, atomic::AtomicUsize};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    domain::{
        account::{Account, Format},
        id::{AccountId, ReplicaId},
        session::{CheckSession, Secret, SessionId},
        site::Host,
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    store::{
        Change, CommitError, Direction, Entry, EntryId, Index, Live, Memory, Order, Page, Record as _, Step, Stored, Trail,
        embedded::EmbeddedStore,
    },
};

const BOUNDS: Bounds = Bounds { entries: 1000, bytes: 1_000_000 };

fn account() -> Account {
    Account::anonymous(Timestamp::from_millis(1_000))
}

fn key() -> Key {
    Key::Account(AccountId::anonymous())
}

fn known(version: u64) -> Known {
    Known::Record(value::Value::decode(&key(), &Account { version, ..account() }.encode().unwrap()).unwrap())
}

fn version_in(map: &Map) -> Option<u64> {
    map.get(&key()).map(|known| record::<Account>(&known).map_or(0, |account| account.version))
}

#[test]
fn what_was_read_before_a_change_is_not_kept_after_it() {
    let map = Map::new(BOUNDS);
    let began = map.count(&key());
    map.keep(&key(), &known(1), began);
    assert_eq!(version_in(&map), Some(1));
    map.changed(&key());
    assert_eq!(version_in(&map), None, "a change takes it away");
    map.keep(&key(), &known(1), began);
    assert_eq!(version_in(&map), None, "it was read before the change");
    map.keep(&key(), &Known::Absent, began);
    assert_eq!(version_in(&map), None, "that there is none was read before it too");
    map.keep(&key(), &known(2), map.count(&key()));
    assert_eq!(version_in(&map), Some(2));
    assert_eq!(map.stale(), 2);
}

#[test]
fn what_was_read_before_the_tracking_was_lost_is_not_kept_after_it() {
    let map = Map::new(BOUNDS);
    let host = Host::parse("shop.example.com").unwrap();
    let session = SessionId::parse("AbCdEfGh0123").unwrap();
    let of_session = Key::CheckSession(session, host);
    let check = CheckSession {
        v: Format,
        secret: Secret::parse(&[b'A'; 43]).unwrap().digest(),
        created_at: Timestamp::from_millis(1),
        version: 1,
    };
    let stored = check.encode().unwrap();
    let began = (map.count(&key()), map.count(&of_session));
    map.keep(&key(), &known(1), began.0);
    map.keep(&of_session, &Known::Record(value::Value::decode(&of_session, &stored).unwrap()), began.1);
    map.lost(&[of_session.partition()]);
    assert_eq!(version_in(&map), Some(1), "another partition");
    assert!(map.get(&of_session).is_none());
    map.keep(&of_session, &Known::Absent, began.1);
    assert!(map.get(&of_session).is_none());
    map.keep(&of_session, &Known::Absent, map.count(&of_session));
    assert!(matches!(map.get(&of_session), Some(Known::Absent)), "read since");
    map.lost(&Partition::all().collect::<Vec<_>>());
    assert!(version_in(&map).is_none() && map.get(&of_session).is_none());
    map.keep(&key(), &known(2), map.count(&key()));
    assert_eq!(version_in(&map), Some(2), "in the place of what was lost");
}

#[test]
fn neither_entries_nor_bytes_grow_beyond_their_bounds() {
    let map = Map::new(Bounds { entries: 2_000, bytes: 100_000_000 });
    let host = |number: usize| Key::Name(format!("name-{number}"));
    let claim = |number: usize| {
        let json = format!(r#"{{"v":1,"account":"acc_{number}","version":1}}"#);
        Known::Record(value::Value::decode(&host(number), &Stored { version: 1, json }).unwrap())
    };
    for number in 0..20_000 {
        let key = host(number);
        map.keep(&key, &claim(number), map.count(&key));
        let absent = Key::Token(TokenId::parse(&format!("{number:012}")).unwrap());
        map.keep(&absent, &Known::Absent, map.count(&absent));
    }
    let (kept, absent) = map.len();
    assert!((1_000..=2_000).contains(&kept), "{kept}");
    assert!((500..=1_000).contains(&absent), "{absent}");
    let small = Map::new(Bounds { entries: 2_000_000, bytes: 100_000 });
    for number in 0..20_000 {
        let key = host(number);
        small.keep(&key, &claim(number), small.count(&key));
    }
    assert!(small.bytes() <= 100_000 && small.len().0 > 50, "{} bytes", small.bytes());
}

/// A store whose reads wait until they may go on, and which vouches for what the test says.
struct Slow {
    store: EmbeddedStore,
    coherence: Arc<Coherence>,
    memory: StdMutex<Option<Arc<dyn Memory>>>,
    reads: AtomicUsize,
    go: Semaphore,
}

#[async_trait]
impl Store for Slow {
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        *self.memory.lock().unwrap() = Some(memory);
        self.coherence.clone()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let records = self.store.read(keys).await;
        self.go.acquire().await.unwrap().forget();
        records
    }

    async fn page_in(&self, _: &Index, _: Direction, _: Option<&str>, _: usize) -> Result<Page, StoreError> {
        unreachable!()
    }

    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        self.store.commit(change).await
    }

    async fn append(&self, _: Trail, _: Entry, _: u64) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn entries(&self, _: Trail, _: Option<EntryId>, _: Order, _: usize) -> Result<Vec<(EntryId, String)>, StoreError> {
        unreachable!()
    }

    async fn forget_entries(&self, _: Trail, _: Timestamp) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn note_uses(&self, _: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn uses(&self, _: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        unreachable!()
    }

    async fn by_last_use(
        &self,
        _: Direction,
        _: Option<&(Timestamp, TokenId)>,
        _: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError> {
        unreachable!()
    }

    async fn forget_uses(&self, _: &[TokenId]) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn publish(&self, _: &ReplicaId, _: &str, _: Duration) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn published(&self) -> Result<Vec<(ReplicaId, String)>, StoreError> {
        unreachable!()
    }

    async fn forget_expired(&self, _: Timestamp) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn live(&self) -> Live {
        self.store.live().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!()
    }
}

struct House {
    store: Arc<Slow>,
    records: Records,
    _folder: tempfile::TempDir,
}

impl House {
    async fn with(coherence: Coherence) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path()).unwrap();
        let put = Step::Put(key(), account().encode().unwrap());
        store.commit(Change { steps: vec![put], ..Change::default() }).await.unwrap();
        let (memory, reads, go) = (StdMutex::default(), AtomicUsize::new(0), Semaphore::new(0));
        let store = Arc::new(Slow { store, coherence: Arc::new(coherence), memory, reads, go });
        let records = Records::new(store.clone(), &MemoryRules { bounds: BOUNDS, ..MemoryRules::default() });
        Self { store, records, _folder: folder }
    }

    /// Whether a view that begins now may use what it has read.
    async fn look(&self) -> bool {
        let mut view = self.records.view();
        loop {
            match view.get::<Account>(key()) {
                Ok(found) => {
                    assert_eq!(found.unwrap().version, 1);
                    return view.is_vouched() && !view.is_outdated();
                }
                Err(Stop::Missing) => view.fetch().await.unwrap(),
                Err(Stop::Failed(error)) => panic!("{error}"),
            }
        }
    }

    fn reads(&self) -> usize {
        self.store.reads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn many_who_need_a_record_read_it_once() {
    let house = House::with(Coherence::always()).await;
    let go = async {
        tokio::task::yield_now().await;
        house.store.go.add_permits(1);
    };
    let (vouched, ()) = tokio::join!(join_all((0..100).map(|_| house.look())), go);
    assert!(vouched.into_iter().all(|vouched| vouched));
    assert_eq!(house.reads(), 1);
    assert!(house.look().await);
    let counts = house.records.counts();
    assert_eq!((counts.hits, counts.misses, counts.coalesced), (1, 100, 99));
    assert_eq!((house.reads(), counts.remembered), (1, 1));
}

#[tokio::test]
async fn a_read_is_not_joined_after_a_change_has_been_told() {
    let house = House::with(Coherence::always()).await;
    let change = async {
        tokio::task::yield_now().await;
        assert_eq!(house.reads(), 1);
        house.store.memory.lock().unwrap().as_ref().unwrap().changed(&key());
        let second = house.look();
        house.store.go.add_permits(2);
        second.await
    };
    assert_eq!(tokio::join!(house.look(), change), (true, true));
    assert_eq!(house.reads(), 2);
    assert_eq!(house.records.counts().stale, 1, "the first one read before the change");
}

#[tokio::test]
async fn who_waits_for_a_read_that_is_given_up_reads_by_himself() {
    let house = House::with(Coherence::always()).await;
    let first = house.look();
    let second = async {
        tokio::task::yield_now().await;
        house.look().await
    };
    let give_up = async {
        tokio::select! {
            biased;
            _ = first => panic!("nothing lets it go on"),
            () = async { for _ in 0..10 { tokio::task::yield_now().await } } => {}
        }
        house.store.go.add_permits(1);
    };
    let (vouched, ()) = tokio::join!(second, give_up);
    assert!(vouched);
    assert_eq!(house.reads(), 2);
}

#[tokio::test]
async fn memory_counts_only_while_the_store_vouches_for_it() {
    let house = House::with(Coherence::unknown()).await;
    house.store.go.add_permits(100);
    assert!(!house.look().await, "nobody knows whether the store is in order");
    let verify = |at: BootTime| house.store.coherence.verify(Partition::DIRECTORY, at);
    verify(BootTime::now());
    assert!(house.look().await);
    assert_eq!(house.reads(), 1, "it was remembered");
    let too_old = BootTime::from_nanos(BootTime::now().as_nanos() - 1_000_000_001);
    verify(too_old);
    assert!(!house.look().await);
    assert_eq!(house.reads(), 2, "what is remembered is not used");
    let view = house.records.view();
    verify(BootTime::now());
    assert!(view.is_vouched(), "nothing was read for it");
}

#[tokio::test]
async fn a_store_that_shows_itself_while_it_is_read_is_believed() {
    let house = House::with(Coherence::unknown()).await;
    let show = async {
        tokio::task::yield_now().await;
        house.store.coherence.verify(Partition::DIRECTORY, BootTime::now());
        house.store.go.add_permits(1);
    };
    assert!(tokio::join!(house.look(), show).0);
}

/// A master that was replaced may have been read before, and the one in its place vouches for itself only.
#[tokio::test]
async fn what_was_read_before_a_loss_is_not_vouched_for_after_it() {
    let house = House::with(Coherence::unknown()).await;
    let replace = async {
        tokio::task::yield_now().await;
        house.store.memory.lock().unwrap().as_ref().unwrap().lost(&[Partition::DIRECTORY]);
        house.store.coherence.verify(Partition::DIRECTORY, BootTime::now());
        house.store.go.add_permits(100);
    };
    assert!(!tokio::join!(house.look(), replace).0);
    assert!(house.look().await, "it is read anew");
    assert_eq!(house.reads(), 2);
}

#[tokio::test]
async fn what_was_found_is_current_until_its_partition_changes_or_is_lost_or_not_vouched_for() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::new(Arc::new(EmbeddedStore::open(folder.path()).unwrap()), &MemoryRules::default());
    let session = SessionId::parse("AbCdEfGh0123").unwrap();
    let family = Partition::of_id(session.as_str());
    let elsewhere = Partition::all().find(|other| ![Partition::DIRECTORY, family].contains(other)).unwrap();
    let is_current = |stamp: &Stamp, family| records.is_current(stamp, family, BootTime::now());
    for (told, holds) in [
        (Told::Changed(key()), (false, false)),
        (Told::Changed(Key::Session(session.clone())), (true, false)),
        (Told::Lost(vec![Partition::DIRECTORY]), (false, false)),
        (Told::Lost(vec![family]), (true, false)),
        (Told::Lost(vec![elsewhere]), (true, true)),
    ] {
        let (of_token, of_session) = (records.stamp(None), records.stamp(Some(family)));
        assert!(is_current(&of_token, None) && is_current(&of_session, Some(family)));
        match &told {
            Told::Changed(key) => records.map.changed(key),
            Told::Lost(partitions) => records.map.lost(partitions),
        }
        assert_eq!((is_current(&of_token, None), is_current(&of_session, Some(family))), holds, "{told:?}");
    }
    let stamp = records.stamp(None);
    records.coherence().verify(Partition::DIRECTORY, BootTime::from_nanos(0));
    assert!(!is_current(&stamp, None), "nobody vouches for it");
}

#[derive(Debug)]
enum Told {
    Changed(Key),
    Lost(Vec<Partition>),
}
