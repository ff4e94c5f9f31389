//! What a store promises about the last uses of tokens.

use std::sync::Arc;

use keygate::{
    domain::{
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    store::{Direction, Index, Key, Store},
};

use super::{get, members};

pub fn token(number: usize) -> TokenId {
    TokenId::parse(&format!("{number:012}")).unwrap()
}

pub fn at(millis: i64, address: &str) -> LastUse {
    LastUse { at: Timestamp::from_millis(millis), address: (!address.is_empty()).then(|| address.parse().unwrap()) }
}

pub async fn the_later_use_stays_in_whatever_order_they_arrive(store: Arc<dyn Store>) {
    let (early, late) = (at(999, "192.0.2.1"), at(1_000, "2001:db8::1"));
    let orders = [[&early, &late], [&late, &early]];
    for (n, [first, second]) in orders.into_iter().enumerate() {
        store.note_uses(&[(token(n), first.clone())]).await.unwrap();
        assert_eq!(store.uses(&[token(n)]).await.unwrap(), [Some(first.clone())]);
        store.note_uses(&[(token(n), second.clone())]).await.unwrap();
        assert_eq!(store.uses(&[token(n)]).await.unwrap(), [Some(late.clone())]);
    }
    for (n, [first, second]) in orders.into_iter().enumerate() {
        let both = [(token(10 + n), first.clone()), (token(10 + n), second.clone())];
        store.note_uses(&both).await.unwrap();
        assert_eq!(store.uses(&[token(10 + n)]).await.unwrap(), [Some(late.clone())]);
    }
    // The address belongs to the use, and may be unknown.
    store.note_uses(&[(token(0), at(1_001, "")), (token(1), at(1, ""))]).await.unwrap();
    assert_eq!(store.uses(&[token(1), token(0)]).await.unwrap(), [Some(late), Some(at(1_001, ""))]);
    // From one digit more to a time before 1970.
    for (n, millis) in [-1, 0, 9, 10, 99_999, 1_800_000_000_000].into_iter().enumerate() {
        store.note_uses(&[(token(20), at(millis, "::"))]).await.unwrap();
        assert_eq!(store.uses(&[token(20)]).await.unwrap(), [Some(at(millis, "::"))], "{n}");
    }
}

pub async fn a_token_that_was_not_used_has_no_last_use(store: Arc<dyn Store>) {
    assert_eq!(store.uses(&[]).await, Ok(Vec::new()));
    assert_eq!(store.note_uses(&[]).await, Ok(()));
    assert_eq!(store.forget_uses(&[]).await, Ok(()));
    assert_eq!(store.uses(&[token(1), token(2)]).await, Ok(vec![None, None]));
    store.note_uses(&[(token(2), at(5, ""))]).await.unwrap();
    let asked = [token(1), token(2), token(3), token(2)];
    assert_eq!(store.uses(&asked).await, Ok(vec![None, Some(at(5, "")), None, Some(at(5, ""))]));
    // It is no part of what is stored of a token.
    assert_eq!(get(&*store, &Key::Token(token(2))).await, None);
    assert_eq!(members(&*store, &Index::Tokens).await, [""; 0]);
}

pub async fn forgotten_uses_are_gone_and_no_others(store: Arc<dyn Store>) {
    let uses: Vec<_> = (0..10).map(|n| (token(n), at(7, "192.0.2.7"))).collect();
    store.note_uses(&uses).await.unwrap();
    store.forget_uses(&[token(3), token(99), token(5), token(3)]).await.unwrap();
    let tokens: Vec<TokenId> = (0..10).map(token).collect();
    for (n, last) in store.uses(&tokens).await.unwrap().into_iter().enumerate() {
        assert_eq!(last, (n != 3 && n != 5).then(|| at(7, "192.0.2.7")), "{n}");
    }
    // An earlier one counts again.
    store.note_uses(&[(token(3), at(1, ""))]).await.unwrap();
    assert_eq!(store.uses(&[token(3)]).await, Ok(vec![Some(at(1, ""))]));
}

pub async fn two_thousand_uses_are_noted_and_read_at_once(store: Arc<dyn Store>) {
    let tokens: Vec<TokenId> = (0..2_000).map(token).collect();
    let of_round = |round: i64| {
        let one = |(n, token): (usize, &TokenId)| (token.clone(), at(round + i64::from(n % 2 == 0) * 10, "198.51.100.1"));
        tokens.iter().enumerate().map(one).collect::<Vec<_>>()
    };
    for round in 1..=3 {
        store.note_uses(&of_round(round)).await.unwrap();
        let read: Vec<_> = store.uses(&tokens).await.unwrap().into_iter().map(Option::unwrap).collect();
        assert!(read.into_iter().eq(of_round(round).into_iter().map(|(_, last)| last)));
    }
    store.forget_uses(&tokens).await.unwrap();
    assert!(store.uses(&tokens).await.unwrap().iter().all(Option::is_none));
}

/// All of the order, `limit` at a time.
async fn walked(store: &dyn Store, direction: Direction, limit: usize) -> Vec<(i64, TokenId)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let part = store.by_last_use(direction, after.as_ref(), limit).await.unwrap();
        assert!(part.len() <= limit);
        all.extend(part.iter().map(|(at, token)| (at.as_millis(), token.clone())));
        match part.last() {
            Some(last) => after = Some(last.clone()),
            None => return all,
        }
    }
}

pub async fn tokens_are_listed_by_their_last_uses_in_both_directions(store: Arc<dyn Store>) {
    assert_eq!(store.by_last_use(Direction::Ascending, None, 5).await, Ok(Vec::new()));
    // Each of them twice, and several at the same time.
    let of_round = |round: i64| -> Vec<_> {
        let time = |n: usize| 1_800_000_000_000 + round * 10_000 + i64::try_from(n * 7 % 50).unwrap();
        (0..200).map(|n| (token(n), at(time(n), "192.0.2.1"))).collect()
    };
    store.note_uses(&of_round(0)).await.unwrap();
    store.note_uses(&of_round(1)[..150]).await.unwrap();
    // Earlier ones, and the same once more, move nobody.
    store.note_uses(&of_round(0)).await.unwrap();
    store.note_uses(&of_round(1)[..50]).await.unwrap();
    store.forget_uses(&[token(3), token(170), token(999)]).await.unwrap();
    let uses = [&of_round(1)[..150], &of_round(0)[150..]].concat();
    let mut expected: Vec<_> = uses.into_iter().map(|(token, last)| (last.at.as_millis(), token)).collect();
    expected.retain(|(_, known)| *known != token(3) && *known != token(170));
    expected.sort();
    for limit in [1, 17, 1_000] {
        assert_eq!(walked(&*store, Direction::Ascending, limit).await, expected, "{limit}");
    }
    expected.reverse();
    assert_eq!(walked(&*store, Direction::Descending, 17).await, expected);
    // From a time on, at which nobody need have been used.
    let from = (Timestamp::from_millis(1_800_000_005_000), token(0));
    let later = store.by_last_use(Direction::Ascending, Some(&from), 1_000).await.unwrap();
    assert_eq!(later.len(), 149);
    assert_eq!(store.by_last_use(Direction::Ascending, None, 0).await, Ok(Vec::new()));
}
