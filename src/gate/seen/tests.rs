//! Over the embedded store, so that its conditions are the real ones.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    domain::{account::Format, id::AccountId, id::test_rng, session::Secret},
    store::embedded::EmbeddedStore,
};

const RULES: SessionRules = SessionRules {
    idle: Duration::from_hours(1),
    absolute: Duration::from_hours(12),
    remember: Duration::from_hours(24),
    must_have_second_factor: false,
};

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + minutes * 60_000)
}

fn seen(minutes: i64, address: &str) -> Sighting {
    Sighting { at: at(minutes), address: address.parse().ok() }
}

struct House {
    store: Arc<EmbeddedStore>,
    _folder: tempfile::TempDir,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    House { store: Arc::new(EmbeddedStore::open(folder.path()).unwrap()), _folder: folder }
}

impl House {
    async fn put(&self, session: &Session) {
        let step = Step::PutUntil(Key::Session(session.id.clone()), session.encode().unwrap(), session.kept_until(&RULES));
        self.store.commit(Change { steps: vec![step], ..Change::default() }).await.unwrap();
    }

    async fn get(&self, id: &SessionId) -> Option<Session> {
        let key = Key::Session(id.clone());
        let stored = self.store.read(std::slice::from_ref(&key)).await.unwrap().pop().flatten();
        stored.map(|stored| Session::decode(&key, &stored).unwrap())
    }
}

fn session() -> Session {
    let mut rng = test_rng();
    Session {
        v: Format,
        id: SessionId::generate(&mut rng),
        account: AccountId::anonymous(),
        secret: Secret::generate(&mut rng).digest(),
        generation: 0,
        session_generation: 0,
        created_at: at(0),
        seen_at: at(0),
        address: "192.0.2.1".parse().ok(),
        browser: None,
        remembered: false,
        confirmed_at: at(0),
        awaits_code: false,
        version: 7,
    }
}

#[tokio::test]
async fn what_was_seen_last_counts_at_once_and_is_written_once() {
    let (house, session, sessions) = (house(), session(), SeenSessions::new());
    house.put(&session).await;
    for sighting in [seen(6, "192.0.2.6"), seen(8, "192.0.2.8"), seen(7, "192.0.2.7")] {
        sessions.note(&session.id, sighting);
    }
    assert_eq!(sessions.last(&session.id), Some(at(8)));
    sessions.write(house.store.as_ref(), &RULES).await.unwrap();
    assert_eq!(sessions.last(&session.id), None);
    let written = house.get(&session.id).await.unwrap();
    assert_eq!((written.seen_at, written.address, written.version), (at(8), "192.0.2.8".parse().ok(), 8));
    // Where nothing is known about the address, the last one that was stays; and no time goes back.
    for sighting in [Sighting { at: at(9), address: None }, seen(3, "192.0.2.3")] {
        sessions.note(&session.id, sighting);
        sessions.write(house.store.as_ref(), &RULES).await.unwrap();
    }
    let written = house.get(&session.id).await.unwrap();
    assert_eq!((written.seen_at, written.address, written.version), (at(9), "192.0.2.8".parse().ok(), 9));
}

#[tokio::test]
async fn a_session_that_has_ended_stays_ended() {
    let (house, session, sessions) = (house(), session(), SeenSessions::new());
    sessions.note(&session.id, seen(6, "192.0.2.6"));
    sessions.write(house.store.as_ref(), &RULES).await.unwrap();
    assert_eq!((house.get(&session.id).await, sessions.last(&session.id)), (None, None));
}

#[test]
fn there_is_an_end_to_what_waits_and_what_is_too_much_is_counted() {
    let sessions = SeenSessions::new();
    for number in 0..=MOST {
        sessions.note(&SessionId::parse(&format!("{number:012}")).unwrap(), seen(1, "192.0.2.1"));
    }
    assert_eq!((sessions.waiting().len(), sessions.take_dropped()), (MOST, 1));
    assert_eq!(sessions.take_dropped(), 0, "each is counted once");
}
