//! Indexes: their order, their pages, and that they do not mix.

use std::sync::Arc;

use keygate::store::{Direction, Index, Store};

use super::{add, get, index_of, members, name, remove, steps};

pub async fn pages_have_an_order_a_cursor_and_an_end(store: Arc<dyn Store>) {
    let index = Index::Accounts;
    let empty = store.page(&index, None, 10).await.unwrap();
    assert_eq!((empty.members.as_slice(), empty.more), (&[][..], false));

    store.commit(steps(["d", "b", "a", "e", "c"].map(|member| add(&index, member)))).await.unwrap();
    let cases: [(Option<&str>, usize, &[&str], bool); 12] = [
        (None, 10, &["a", "b", "c", "d", "e"], false),
        (None, 5, &["a", "b", "c", "d", "e"], false),
        (None, 4, &["a", "b", "c", "d"], true),
        (None, usize::MAX, &["a", "b", "c", "d", "e"], false),
        (None, 0, &[], true),
        (Some("b"), 2, &["c", "d"], true),
        (Some("b"), 3, &["c", "d", "e"], false),
        (Some("e"), 1, &[], false),
        (Some("e"), 0, &[], false),
        // A cursor need not be a member: it may have been removed since.
        (Some("bb"), 1, &["c"], true),
        (Some(""), 1, &["a"], true),
        (Some("z"), 9, &[], false),
    ];
    for (after, limit, expected, more) in cases {
        let page = store.page(&index, after, limit).await.unwrap();
        assert_eq!((page.members, page.more), (expected.iter().map(|&m| m.to_owned()).collect(), more), "{after:?} {limit}");
    }

    store.commit(steps(["a", "b", "c", "d", "e"].map(|member| remove(&index, member)))).await.unwrap();
    assert_eq!(members(&*store, &index).await, [""; 0]);
}

pub async fn members_sort_by_their_bytes(store: Arc<dyn Store>) {
    let mut all = [
        "", "a", "A", "b", "aa", "a\u{1}", "Z", "z", "é", "e\u{301}", "ß", "ss", "ж", "漢", "\u{ffff}", "😀", "-", "(", "[", "+",
        "10", "9",
    ];
    store.commit(steps(all.map(|member| add(&Index::Sites, member)))).await.unwrap();
    all.sort_unstable();
    assert_eq!(members(&*store, &Index::Sites).await, all);
    for (n, after) in all.iter().enumerate() {
        let page = store.page(&Index::Sites, Some(after), 1).await.unwrap();
        assert_eq!(page.members.first().map(String::as_str), all.get(n + 1).copied(), "{after:?}");
        assert_eq!(page.more, n + 2 < all.len(), "{after:?}");
    }
}

pub async fn ten_thousand_members_are_paged_once_each(store: Arc<dyn Store>) {
    let all: Vec<String> = (0..10_000).map(|n| format!("member-{n:05}")).collect();
    for chunk in all.chunks(1000) {
        store.commit(steps(chunk.iter().rev().map(|member| add(&Index::Tokens, member)))).await.unwrap();
    }
    let (mut paged, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = store.page(&Index::Tokens, after.as_deref(), 333).await.unwrap();
        assert!(page.members.len() == 333 || !page.more);
        after = page.members.last().cloned();
        paged.extend(page.members);
        if !page.more {
            break;
        }
    }
    assert!(paged == all);
}

pub async fn adding_twice_is_adding_once(store: Arc<dyn Store>) {
    let index = Index::Superusers;
    store.commit(steps([add(&index, "x"), add(&index, "x")])).await.unwrap();
    store.commit(steps([add(&index, "x")])).await.unwrap();
    assert_eq!(members(&*store, &index).await, ["x"]);
    store.commit(steps([remove(&index, "x"), remove(&index, "x")])).await.unwrap();
    assert_eq!(members(&*store, &index).await, [""; 0]);
}

pub async fn indexes_do_not_mix(store: Arc<dyn Store>) {
    let indexes = [Index::Accounts, Index::Sites, Index::Tokens, Index::Superusers, index_of("one"), index_of("two")];
    store.commit(steps(indexes.iter().enumerate().map(|(n, index)| add(index, &n.to_string())))).await.unwrap();
    for (n, index) in indexes.iter().enumerate() {
        assert_eq!(members(&*store, index).await, [n.to_string()]);
    }
    // Nor with records of the same name.
    assert_eq!(get(&*store, &name("accounts")).await, None);
}

pub async fn an_index_is_read_in_both_directions(store: Arc<dyn Store>) {
    let backward = async |after: Option<&str>, limit| store.page_in(&Index::Sites, Direction::Descending, after, limit).await;
    assert_eq!(backward(None, 3).await.unwrap().members, [""; 0]);
    let mut all = ["", "a", "A", "b\u{1}1", "b 1", "bb", "é", "漢", "\u{ffff}", "😀", "-", "(", "[", "+", "~1", "z"];
    store.commit(steps(all.map(|member| add(&Index::Sites, member)))).await.unwrap();
    all.sort_unstable();
    all.reverse();
    for limit in [1, 3, all.len(), usize::MAX] {
        let (mut paged, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = backward(after.as_deref(), limit).await.unwrap();
            assert!(page.members.len() == limit || !page.more);
            after = page.members.last().cloned();
            paged.extend(page.members);
            if !page.more {
                break;
            }
        }
        assert_eq!(paged, all, "{limit}");
    }
    // A cursor need not be a member, and nothing comes before the first.
    let page = backward(Some("ba"), 1).await.unwrap();
    assert_eq!((page.members, page.more), (vec!["b 1".to_owned()], true));
    for (after, limit) in [("", 9), ("", 0)] {
        let page = backward(Some(after), limit).await.unwrap();
        assert_eq!((page.members.len(), page.more), (0, false));
    }
}
