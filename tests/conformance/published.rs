//! What a store promises about what servers publish of themselves.

use std::{sync::Arc, time::Duration};

use keygate::{
    domain::id::ReplicaId,
    store::{Index, Store},
};

use super::members;
use crate::support::programs::wait_for_async;

fn replica(name: &str) -> ReplicaId {
    ReplicaId::parse(&format!("rep_{name}")).unwrap()
}

pub async fn what_servers_publish_is_read_by_all(store: Arc<dyn Store>) {
    let hour = Duration::from_hours(1);
    assert_eq!(store.published().await, Ok(Vec::new()));
    let long = format!("\"ž\\'\u{0}{}", "x".repeat(16 * 1024));
    for (name, said) in [("b", "2"), ("a", "1"), ("c", &long), ("a", "newer"), ("d", "")] {
        store.publish(&replica(name), said, hour).await.unwrap();
    }
    let all = [("a", "newer"), ("b", "2"), ("c", &long), ("d", "")].map(|(name, said)| (replica(name), said.to_owned()));
    assert_eq!(store.published().await.unwrap(), all);
    // It is no record, and in no list.
    assert_eq!(members(&*store, &Index::Accounts).await, [""; 0]);
}

pub async fn what_a_server_publishes_is_forgotten_in_time(store: Arc<dyn Store>) {
    store.publish(&replica("stays"), "here", Duration::from_hours(1)).await.unwrap();
    store.publish(&replica("goes"), "gone", Duration::from_millis(1)).await.unwrap();
    wait_for_async("what was published to be forgotten", async || {
        let published = store.published().await.unwrap();
        (published == [(replica("stays"), "here".to_owned())]).then_some(())
    })
    .await;
    // It may come back, and others do not mind those that went.
    store.publish(&replica("goes"), "again", Duration::from_hours(1)).await.unwrap();
    assert_eq!(store.published().await.unwrap().len(), 2);
}
