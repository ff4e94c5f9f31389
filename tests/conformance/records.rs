//! What a record may be: large, oddly named, damaged, of a later format, of any version below the limit.

use std::{collections::BTreeSet, sync::Arc};

use keygate::{
    domain::{account::Format, id::AccountId},
    store::{
        Change, CommitError, Expect, Index, Key, Record as _, Step, Store, StoreError, Stored,
        record::{HostClaim, NameClaim},
    },
};

use super::{add, get, members, name, put, record, steps, version};

/// A store may refuse to read the record, or the record to be decoded: the end is the same.
async fn decode(store: &dyn Store, key: &Key) -> Result<NameClaim, StoreError> {
    let stored = store.read(std::slice::from_ref(key)).await?.remove(0).expect("the record is not absent");
    NameClaim::decode(key, &stored)
}

pub async fn large_records_come_back_whole(store: Arc<dyn Store>) {
    let keys: Vec<Key> = (0..10).map(|n| name(n.to_string())).collect();
    let large: Vec<Stored> = (0..10).map(|n| record(7, &format!("{n}é").repeat(34_000))).collect();
    let all = keys.iter().zip(&large).map(|(key, stored)| Step::Put(key.clone(), stored.clone()));
    store.commit(steps(all)).await.unwrap();
    let read = store.read(&keys).await.unwrap();
    assert!(read.into_iter().map(Option::unwrap).eq(large));
    let change = Change { expect: vec![(keys[0].clone(), Expect::Version(7))], steps: vec![put(&keys[0], 8)], ..Change::default() };
    store.commit(change).await.unwrap();
    assert_eq!(version(&*store, &keys[0]).await, Some(8));
}

pub async fn keys_and_members_may_have_odd_characters(store: Arc<dyn Store>) {
    let odd = [
        "",
        " ",
        "a b",
        "a\nb",
        "a\r\nb",
        "'; DROP TABLE record; --",
        "\"",
        "%s",
        "{x}",
        "}",
        "*",
        "a*",
        "\\",
        "é",
        "e\u{301}",
        "😀",
        "a\0b",
        "a",
    ];
    for (n, text) in odd.iter().enumerate() {
        let version = n as u64 + 1;
        let change = steps([Step::Put(name(*text), record(version, text)), add(&Index::Accounts, text)]);
        store.commit(change).await.unwrap();
    }
    for (n, text) in odd.iter().enumerate() {
        assert_eq!(get(&*store, &name(*text)).await, Some(record(n as u64 + 1, text)), "{text:?}");
    }
    assert_eq!(
        members(&*store, &Index::Accounts).await.into_iter().collect::<BTreeSet<_>>(),
        odd.iter().map(|&t| t.to_owned()).collect()
    );
    store.commit(steps(odd.iter().map(|text| Step::Delete(name(*text))))).await.unwrap();
    let keys = odd.map(name);
    assert_eq!(store.read(&keys).await.unwrap(), odd.map(|_| None));
}

pub async fn a_damaged_record_is_an_error_and_not_absent(store: Arc<dyn Store>) {
    let claim = NameClaim { v: Format, account: AccountId::anonymous(), version: 3 };
    let key = name("claimed");
    let whole = claim.encode().unwrap();
    store.commit(steps([Step::Put(key.clone(), whole.clone())])).await.unwrap();
    assert_eq!(decode(&*store, &key).await, Ok(claim));

    let half = &whole.json[..whole.json.len() / 2];
    for json in [half, "", "null", "[]", "17", r#"{"version":3}"#, r#"{"v":1,"account":"x","version":-3}"#, "\u{0}", "not JSON"] {
        let damaged = Stored { version: 3, json: json.to_owned() };
        store.commit(steps([Step::Put(key.clone(), damaged)])).await.unwrap();
        let error = decode(&*store, &key).await.unwrap_err();
        assert!(!error.transient && error.message.contains("name:claimed"), "{json:?}: {error}");
        let taken = Change { expect: vec![(key.clone(), Expect::Absent)], steps: vec![put(&key, 1)], ..Change::default() };
        assert_eq!(store.commit(taken).await, Err(CommitError::Conflict(key.clone())), "{json:?}");
    }
    // It is of another kind, and still not taken for it.
    assert!(HostClaim::decode(&key, &whole).is_err());
}

pub async fn a_record_of_a_future_format_is_an_error_and_not_absent(store: Arc<dyn Store>) {
    let key = name("future");
    let future = Stored { version: 3, json: r#"{"v":2,"owner":{"account":"acc_anonymous"},"version":3}"#.to_owned() };
    store.commit(steps([Step::Put(key.clone(), future)])).await.unwrap();
    let error = decode(&*store, &key).await.unwrap_err();
    assert!(!error.transient && error.message.contains("name:future") && error.message.contains("NameClaim"), "{error}");
}

pub async fn a_damaged_record_can_be_replaced(store: Arc<dyn Store>) {
    let key = name("damaged");
    store.commit(steps([Step::Put(key.clone(), Stored { version: 1, json: "not JSON".to_owned() })])).await.unwrap();
    store.commit(steps([put(&key, 2)])).await.unwrap();
    assert_eq!(version(&*store, &key).await, Some(2));
}

pub async fn versions_are_exact_up_to_their_limit(store: Arc<dyn Store>) {
    let key = name("old and busy");
    let last = Stored::VERSION_LIMIT - 1;
    store.commit(steps([put(&key, last)])).await.unwrap();
    assert_eq!(version(&*store, &key).await, Some(last));
    for wrong in [last - 1, last + 1, last + 2, u64::MAX] {
        let change = Change { expect: vec![(key.clone(), Expect::Version(wrong))], ..Change::default() };
        assert_eq!(store.commit(change).await, Err(CommitError::Conflict(key.clone())), "{wrong}");
    }
    let change = Change { expect: vec![(key.clone(), Expect::Version(last))], ..Change::default() };
    assert_eq!(store.commit(change).await, Ok(()));

    let too_far = store.commit(steps([add(&Index::Sites, "not applied"), put(&key, last + 1)])).await;
    assert!(matches!(too_far, Err(CommitError::Store(StoreError { transient: false, .. }))), "{too_far:?}");
    assert_eq!(version(&*store, &key).await, Some(last));
    assert_eq!(members(&*store, &Index::Sites).await, [""; 0]);
}
