//! An actor whose records a store hands out that has not shown that it is in order.

use super::*;
use crate::{clock::BootTime, domain::password::Password, gate::hasher::Hasher, store::Partition};

/// The same store, of which so much is known.
fn directory_of(fixture: &Fixture, coherence: &Arc<Coherence>) -> Directory {
    let rules = Rules { keys: keys(KEY_1), tokens: TokenRules::default(), notices: None };
    let hasher = Arc::new(Hasher::start(Cost::new(8, 1, 1).unwrap()));
    let parts = parts(fixture.store.clone(), fixture.clock.clone(), hasher, rules);
    Directory::new(Parts { coherence: coherence.clone(), max_staleness: Duration::from_millis(100), ..parts })
}

#[tokio::test]
async fn a_token_is_believed_when_the_store_has_shown_that_it_is_in_order_and_not_before() {
    let fixture = fixture().await;
    fixture.superuser("root").await;
    let (root, _) = fixture.manager("root").await;
    let root = Actor::bearer(prefixes().parse(root.expose_secret().as_bytes()).unwrap());
    fixture.superuser("ada").await;
    let (gone, _) = fixture.manager("ada").await;
    let unknown = Actor::bearer(prefixes().parse(gone.expose_secret().as_bytes()).unwrap());
    fixture.directory.delete_account(&ADMIN, &login("ada"), None).await.unwrap();
    let coherence = Arc::new(Coherence::unknown());
    let directory = directory_of(&fixture, &coherence);
    for actor in [&root, &unknown] {
        assert_eq!(code(directory.me(actor).await), "store", "nobody knows whether he was revoked, or made, elsewhere");
    }
    coherence.verify(Partition::DIRECTORY, BootTime::from_nanos(u64::MAX));
    directory.me(&root).await.unwrap();
    assert_eq!(code(directory.me(&unknown).await), "unknown");
    // Who stands above all accounts is read nowhere.
    coherence.verify(Partition::DIRECTORY, BootTime::from_nanos(0));
    directory.require_superuser(&ADMIN).await.unwrap();
}

#[tokio::test]
async fn a_session_is_believed_when_the_part_of_the_store_where_it_lies_has_shown_it_too() {
    let fixture = fixture().await;
    let password = || Password::chosen("correct horse").unwrap();
    let new = NewAccount { password: Some(password()), ..NewAccount::new(login("vera"), AccountKind::Human) };
    fixture.directory.create_account(&ADMIN, new).await.unwrap();
    let ask = SignIn { login: "vera".to_owned(), password: password(), remember: false, browser: None };
    let cookie = fixture.directory.sign_in(None, None, ask).await.unwrap().secret;
    let coherence = Arc::new(Coherence::unknown());
    let directory = directory_of(&fixture, &coherence);
    let vouched = BootTime::from_nanos(u64::MAX);
    assert!(directory.visitor(&cookie).await.is_err_and(|error| error.transient));
    coherence.verify(Partition::DIRECTORY, vouched);
    assert!(directory.visitor(&cookie).await.is_err_and(|error| error.transient));
    assert_eq!(code(directory.me(&Actor::session(cookie.clone())).await), "store");
    coherence.verify(Key::Session(cookie.session.clone()).partition(), vouched);
    assert!(directory.visitor(&cookie).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_read_before_another_server_took_over_is_read_again() {
    let coherence = Arc::new(Coherence::always());
    let fixture = fixture().await;
    let directory = directory_of(&fixture, &coherence);
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let read = || -> crate::directory::vouched::Reading<'_, usize> {
        Box::pin(async {
            let number = reads.fetch_add(1, Ordering::Relaxed);
            if number < 2 {
                coherence.lose();
            }
            Ok(number)
        })
    };
    assert_eq!(directory.vouched(None, read).await, Ok(2));
}
