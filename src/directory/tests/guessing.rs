//! Failures in the store: what is written, whom the trail tells of, and how a block is lifted.

use std::net::IpAddr;

use super::*;
use crate::{domain::guessing::Failures, gate::guessing::Attempt};

const ADDRESS: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)));

impl Fixture {
    async fn fails(&self, login: &str) -> bool {
        let attempt = self.directory.guessing.attempt(ADDRESS, login).await;
        let passed = attempt.is_ok();
        drop(attempt.map(Attempt::failed));
        while let Some(writing) = self.directory.guessing.next() {
            self.directory.write_failures(writing).await.unwrap();
        }
        passed
    }

    async fn blocked(&self) -> Vec<(&'static str, &'static str, String, usize)> {
        let listing = self.directory.blocked(&ADMIN, &Window::default()).await.unwrap();
        let row =
            |blocked: Blocked| (blocked.subject.kind(), blocked.subject.of(), blocked.subject.value(), blocked.block.failures);
        listing.items.into_iter().map(row).collect()
    }

    async fn trail(&self) -> Vec<Event> {
        let filter = TrailFilter { order: Order::OldestFirst, ..TrailFilter::default() };
        let listing = self.directory.trail(&ADMIN, &filter, &Window::default()).await.unwrap();
        listing.items.into_iter().map(|recorded| recorded.event).filter(|event| event.action.starts_with("guessing.")).collect()
    }
}

#[tokio::test]
async fn a_block_is_listed_told_of_once_and_lifted() {
    let fixture = fixture().await;
    for number in 0..21 {
        assert!(fixture.blocked().await.is_empty());
        assert!(fixture.fails(&format!("login{number}")).await);
    }
    for _ in 0..5 {
        assert!(!fixture.fails("vera").await);
    }
    assert_eq!(fixture.blocked().await, [("address", "password", "203.0.113.7".to_owned(), 21)]);
    fixture.directory.lift_blocks(&ADMIN, "203.0.113.7").await.unwrap();
    assert_eq!(fixture.blocked().await, []);
    assert!(fixture.fails("vera").await);
    let told = fixture.trail().await;
    let words: Vec<_> = told.iter().map(|event| (event.action.as_str(), event.actor.account.as_deref().unwrap())).collect();
    assert_eq!(words, [("guessing.block", "system:guessing"), ("guessing.unblock", "control:1000")]);
    assert!(told.iter().all(|event| (event.target.kind.as_str(), event.target.id.as_str()) == ("address", "203.0.113.7")));
    assert_eq!(told[0].after, told[1].before);
}

#[tokio::test]
async fn a_login_that_nobody_has_is_counted_like_any_other() {
    let fixture = fixture().await;
    fixture.account("vera").await;
    for login in ["vera", "nobody"] {
        for number in 0..61 {
            let from = IpAddr::from([10, 0, 0, number]);
            let attempt = fixture.directory.guessing.attempt(Some(from), login).await;
            attempt.map(Attempt::failed).map_err(|_| number).unwrap();
            while let Some(writing) = fixture.directory.guessing.next() {
                fixture.directory.write_failures(writing).await.unwrap();
            }
        }
        assert!(!fixture.fails(login).await, "{login}");
    }
    let names: Vec<_> = fixture.blocked().await.into_iter().map(|(kind, _, name, failures)| (kind, name, failures)).collect();
    assert_eq!(names, [("login", "nobody".to_owned(), 61), ("login", "vera".to_owned(), 61)]);
    assert!(fixture.trail().await[0].concerns("vera"));
}

#[tokio::test]
async fn only_superusers_see_and_lift_blocks_and_only_those_that_there_are() {
    let fixture = fixture().await;
    fixture.account("vera").await;
    let missing = fixture.directory.lift_blocks(&ADMIN, "203.0.113.7").await;
    assert!(matches!(missing, Err(DirectoryError::NotFound { what: "block", .. })));
    // Short of a block there is nothing to lift.
    fixture.fails("vera").await;
    assert!(matches!(fixture.directory.lift_blocks(&ADMIN, "vera").await, Err(DirectoryError::NotFound { .. })));
}

#[tokio::test]
async fn a_block_that_has_ended_leaves_nothing_behind() {
    let fixture = fixture().await;
    for _ in 0..21 {
        fixture.fails("vera").await;
    }
    let key = Key::Failures("address:203.0.113.7".to_owned());
    assert!(fixture.directory.get::<Failures>(key.clone()).await.unwrap().is_some());
    fixture.directory.look_after_the_rest().await.unwrap();
    assert_eq!(fixture.store.page(&Index::Blocked, None, 9).await.unwrap().members, ["address:203.0.113.7"]);
    fixture.clock.0.fetch_add(3_600_001, Ordering::Relaxed);
    assert_eq!(fixture.blocked().await, []);
    fixture.directory.look_after_the_rest().await.unwrap();
    assert!(fixture.store.page(&Index::Blocked, None, 9).await.unwrap().members.is_empty());
    assert_eq!(fixture.directory.get::<Failures>(key).await.unwrap(), None);
}
