//! Lists in every order: each token once, whatever else happens meanwhile; filters; and stores from before there were orders.

use std::collections::BTreeSet;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::*;
use crate::{
    domain::{text::fold, token::LastUse},
    store::{Change, Step, record::Meta},
};

const DAY: Duration = Duration::from_hours(24);
const ORDERS: [&str; 8] = ["created", "-created", "name", "-name", "expires", "-expires", "used", "-used"];

fn by(order: &str) -> TokenFilter {
    TokenFilter { sort: Some(Sort::<TokenSort>::parse(order).unwrap()), ..TokenFilter::default() }
}

fn ids(tokens: &[TokenInfo]) -> Vec<String> {
    tokens.iter().map(|info| info.token.id.to_string()).collect()
}

impl Fixture {
    async fn listed(&self, filter: &TokenFilter, limit: usize) -> Vec<TokenInfo> {
        self.listed_for(&ADMIN, filter, limit).await
    }

    async fn listed_for(&self, actor: &Actor, filter: &TokenFilter, limit: usize) -> Vec<TokenInfo> {
        let (mut all, mut window) = (Vec::new(), Window { after: None, limit });
        loop {
            let part = self.directory.tokens(actor, filter, &window).await.unwrap();
            assert!(part.items.len() <= limit);
            all.extend(part.items);
            window.after = part.next;
            if window.after.is_none() {
                return all;
            }
        }
    }

    async fn named(&self, account: &str, name: &str, expires: Option<Expiry>) -> TokenInfo {
        let new = NewToken { expires, ..NewToken::new(login(account), fields::token_name(name).unwrap()) };
        self.directory.create_token(&ADMIN, new).await.unwrap().1
    }

    async fn used(&self, token: &TokenId, at: Timestamp) {
        self.store.note_uses(&[(token.clone(), LastUse { at, address: None })]).await.unwrap();
    }

    async fn names(&self, filter: &TokenFilter) -> Vec<String> {
        self.listed(filter, 2).await.into_iter().map(|info| info.token.name.as_str().to_owned()).collect()
    }

    /// Does something to one of these tokens, or makes one more.
    async fn stir(&self, rng: &mut StdRng, movers: &mut Vec<TokenId>) {
        let name = fields::token_name(&format!("Mover {}", rng.random_range(0..50))).unwrap();
        let one = movers.choose(rng).unwrap().clone();
        let directory = &self.directory;
        match rng.random_range(0..6) {
            0 => movers.push(self.named("eve", name.as_str(), Some(any_end(rng))).await.token.id.clone()),
            1 => {
                let patch = TokenPatch { name: Some(name), ..TokenPatch::default() };
                drop(directory.update_token(&ADMIN, &one, patch, None).await.unwrap());
            }
            2 => self.used(&one, self.clock.now()).await,
            3 => drop(directory.revoke_token(&ADMIN, &one, false, None, None).await.unwrap()),
            4 => {
                if let Ok((_, made)) = directory.rotate_token(&ADMIN, &one, DAY * rng.random_range(0..3)).await {
                    movers.push(made.token.id.clone());
                }
            }
            _ => drop(directory.look_after_places(TokenSort::Used, None).await.unwrap()),
        }
    }
}

fn any_end(rng: &mut StdRng) -> Expiry {
    if rng.random_bool(0.3) { Expiry::Never } else { Expiry::After(DAY * rng.random_range(1..300)) }
}

/// As a list should be sorted, by what is shown of its tokens.
fn sorted(order: &str, mut tokens: Vec<TokenInfo>) -> Vec<String> {
    let created = |info: &TokenInfo| info.token.created_at.as_millis();
    let key = |info: &TokenInfo| match order.trim_start_matches('-') {
        "created" => (created(info), String::new()),
        "name" => (0, fold(info.token.name.as_str())),
        "expires" => (info.token.expires_at.map_or(i64::MAX, Timestamp::as_millis), String::new()),
        _ => (info.last_used.as_ref().map_or(created(info), |last| last.at.as_millis()), String::new()),
    };
    tokens.sort_by_cached_key(|info| (key(info), info.token.id.to_string()));
    if order.starts_with('-') {
        tokens.reverse();
    }
    ids(&tokens)
}

#[tokio::test]
async fn a_walk_in_any_order_sees_every_token_once_while_others_change() {
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let fixture = fixture().await;
        fixture.account("ada").await;
        fixture.account("eve").await;
        let (mut still, mut movers) = (Vec::new(), Vec::new());
        for number in 0..60 {
            // Several of one name, one time and one end.
            let name = format!("{} {}", ["job", "Job", "job b", "É", "z"][number % 5], number % 7);
            let account = if number % 2 == 0 { "ada" } else { "eve" };
            let made = fixture.named(account, &name, Some(any_end(&mut rng))).await.token.judged.id;
            if rng.random_bool(0.5) {
                fixture.used(&made, fixture.clock.now()).await;
            }
            let list = if number % 2 == 0 { &mut still } else { &mut movers };
            list.push(made);
            fixture.pass(Duration::from_millis(rng.random_range(0..3)));
        }
        let still: BTreeSet<String> = still.iter().map(ToString::to_string).collect();
        for order in ORDERS {
            for filter in [by(order), TokenFilter { login: Some(login("ada")), ..by(order) }] {
                let expected: Vec<_> = fixture.listed(&TokenFilter::default(), 7).await;
                let expected: Vec<_> = expected.into_iter().filter(|info| still.contains(info.token.id.as_str())).collect();
                assert_eq!(expected.len(), still.len());
                let (mut seen, mut window) = (Vec::new(), Window::default());
                loop {
                    window.limit = rng.random_range(1..9);
                    let part = fixture.directory.tokens(&ADMIN, &filter, &window).await.unwrap();
                    seen.extend(ids(&part.items).into_iter().filter(|id| still.contains(id)));
                    window.after = part.next;
                    if window.after.is_none() {
                        break;
                    }
                    fixture.pass(Duration::from_millis(rng.random_range(0..3)));
                    fixture.stir(&mut rng, &mut movers).await;
                }
                assert_eq!(seen, sorted(order, expected), "{order} {seed}");
            }
        }
        // When nothing moves any more, nobody is missing and nobody is twice.
        let all: BTreeSet<_> = ids(&fixture.listed(&TokenFilter::default(), 7).await).into_iter().collect();
        for order in ORDERS {
            let listed = ids(&fixture.listed(&by(order), 7).await);
            assert_eq!(listed.len(), all.len(), "{order}");
            assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), all, "{order}");
        }
    }
}

#[tokio::test]
async fn filters_say_from_where_and_up_to_where_an_order_is_read() {
    let fixture = fixture().await;
    for name in ["ada", "eve"] {
        fixture.account(name).await;
    }
    let within = |days| Some(Expiry::After(DAY * days));
    let old = fixture.named("ada", "old", Some(Expiry::Never)).await.token.judged.id;
    fixture.pass(Duration::from_millis(1));
    let over = fixture.named("ada", "over", within(1)).await;
    fixture.pass(DAY * 10);
    fixture.named("eve", "nightly a", within(5)).await;
    let rested = fixture.named("eve", "Nightly B", within(3)).await.token.judged.id;
    fixture.named("eve", "nightly c", within(50)).await;
    let dead = fixture.named("eve", "dead", within(4)).await.token.judged.id;
    fixture.directory.revoke_token(&ADMIN, &dead, false, None, None).await.unwrap();
    fixture.used(&old, fixture.clock.now()).await;
    fixture.used(&rested, fixture.clock.now()).await;
    fixture.pass(DAY);
    let none = TokenFilter::default;
    let expiring = |days: u32| TokenFilter { expiring: Some(DAY * days), ..none() };
    let like = |name: &str| TokenFilter { name: Some(name.to_owned()), ..none() };
    assert_eq!(fixture.names(&expiring(4)).await, ["Nightly B", "nightly a"]);
    assert_eq!(fixture.names(&TokenFilter { sort: by("-expires").sort, ..expiring(4) }).await, ["nightly a", "Nightly B"]);
    assert_eq!(
        fixture.names(&TokenFilter { sort: by("-name").sort, ..expiring(90) }).await,
        ["nightly c", "Nightly B", "nightly a"]
    );
    let unused = TokenFilter { unused: Some(DAY), ..none() };
    assert_eq!(
        fixture.names(&TokenFilter { sort: by("name").sort, ..unused.clone() }).await,
        ["nightly a", "Nightly B", "nightly c", "old"]
    );
    fixture.used(&rested, fixture.clock.now()).await;
    assert_eq!(fixture.names(&unused).await.len(), 3);
    assert_eq!(fixture.names(&like("nightly *")).await, ["nightly a", "nightly c"]);
    assert_eq!(fixture.names(&like("*ightly*")).await.len(), 3);
    assert_eq!(fixture.names(&like("n*")).await.len(), 2);
    assert_eq!(fixture.names(&like("old")).await, ["old"]);
    assert_eq!(fixture.names(&like("e\u{301}*")).await, [""; 0]);
    let older = TokenFilter { older_than: Some(DAY * 2), ..none() };
    assert_eq!(fixture.names(&older).await, ["old", "over"]);
    assert_eq!(fixture.names(&TokenFilter { sort: by("-created").sort, ..older }).await, ["over", "old"]);
    let state = |state| TokenFilter { state: Some(state), ..by("name") };
    assert_eq!(fixture.names(&state(TokenState::Revoked)).await, ["dead"]);
    assert_eq!(fixture.names(&state(TokenState::Expired)).await, [over.token.name.as_str()]);
    let creator = |name: &str| TokenFilter { creator: Some(name.to_owned()), ..none() };
    assert_eq!(fixture.names(&creator("control:1000")).await.len(), 6);
    assert_eq!(fixture.names(&creator("ada")).await, [""; 0]);
}

#[tokio::test]
async fn who_does_not_see_all_has_his_own_sorted_and_learns_nothing_of_others() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    fixture.account("eve").await;
    for number in 0..9 {
        fixture.named("ada", &format!("job {}", number * 5 % 9), None).await;
        fixture.named("eve", &format!("job {number} of eve"), None).await;
    }
    let (manager, _) = fixture.manager("ada").await;
    let ada = || Actor::bearer(prefixes().parse(manager.expose_secret().as_bytes()).unwrap());
    for order in ORDERS {
        for filter in [by(order), TokenFilter { login: Some(login("ada")), ..by(order) }] {
            let listed = fixture.listed_for(&ada(), &filter, 3).await;
            assert!(listed.iter().all(|info| info.login == login("ada")));
            assert_eq!(ids(&listed), sorted(order, listed), "{order}");
        }
        assert_eq!(fixture.listed_for(&ada(), &by(order), 3).await.len(), 10);
        let first = Window { after: None, limit: 3 };
        let cursor = fixture.directory.tokens(&ada(), &by(order), &first).await.unwrap().next.unwrap();
        assert!(!cursor.contains("eve"), "{cursor}");
        // What others make up, leads to no token of others.
        for cursor in ["", "~", "job 4 of eve\u{1}zzzzzzzzzzzz", "~99999999999999 zzzzzzzzzzzz", "\u{10ffff}"] {
            let window = Window { after: Some(cursor.to_owned()), limit: 100 };
            let listed = fixture.directory.tokens(&ada(), &by(order), &window).await.unwrap();
            assert!(listed.items.iter().all(|info| info.login == login("ada")), "{order} {cursor}");
        }
        let others = TokenFilter { login: Some(login("eve")), ..by(order) };
        assert_eq!(code(fixture.directory.tokens(&ada(), &others, &first).await), "not_found");
    }
    assert_eq!(
        code(fixture.directory.tokens(&ADMIN, &by("used"), &Window { after: Some("x".to_owned()), limit: 1 }).await),
        "query_invalid"
    );
}

/// Takes the store to where it was before there were orders.
async fn as_before(fixture: &Fixture) {
    let mut steps: Vec<_> =
        [Index::Tokens, Index::TokensByName, Index::TokensByEnd, Index::UnusedTokens, Index::AccountsByCreation]
            .map(Step::Clear)
            .into();
    let tokens = fixture.listed(&TokenFilter::default(), 100).await;
    steps.extend(tokens.iter().map(|info| Step::AddTo(Index::Tokens, info.token.id.to_string())));
    let meta: Meta = fixture.directory.get(Key::Meta).await.unwrap().unwrap();
    steps.push(Step::Put(Key::Meta, Meta { lists: 0, version: meta.version + 1, ..meta }.encode().unwrap()));
    fixture.store.commit(Change { steps, ..Change::default() }).await.unwrap();
}

#[tokio::test]
async fn a_store_from_before_there_were_orders_is_put_in_order() {
    let mut fixture = fixture().await;
    for name in ["ada", "eve"] {
        fixture.pass(DAY);
        fixture.account(name).await;
    }
    let mut made = Vec::new();
    for number in 0..9 {
        let info = fixture.named("ada", &format!("job {}", number * 5 % 9), None).await;
        if number % 2 == 0 {
            fixture.used(&info.token.id, fixture.clock.now()).await;
        }
        made.push(info.token.judged.id);
        fixture.pass(DAY);
    }
    as_before(&fixture).await;
    fixture.directory = directory_on(fixture.store.clone(), fixture.clock.clone(), keys(KEY_1));
    fixture.directory.bootstrap().await.unwrap();
    // Until then nobody is shown a list that lacks something, and all is found in some order.
    let window = Window::default();
    for order in ORDERS {
        let listed = fixture.directory.tokens(&ADMIN, &by(order), &window).await;
        assert_eq!(listed.is_ok(), order == "created", "{order}");
        if let Err(error) = listed {
            assert_eq!(error, DirectoryError::ListsInTheMaking);
        }
        assert_eq!(fixture.listed(&TokenFilter { login: Some(login("ada")), ..by(order) }, 2).await.len(), 9, "{order}");
    }
    let by_making = AccountFilter { sort: Sort::<AccountSort>::parse("-created"), ..AccountFilter::default() };
    assert_eq!(code(fixture.directory.accounts(&ADMIN, &by_making, &window).await), "lists_in_the_making");
    let unused = TokenFilter { unused: Some(DAY), ..TokenFilter::default() };
    assert_eq!(fixture.listed(&unused, 2).await.len(), 9);
    // Life goes on: one is renamed, one goes, one comes.
    let patch = TokenPatch { name: Some(fields::token_name("a").unwrap()), ..TokenPatch::default() };
    fixture.directory.update_token(&ADMIN, &made[3], patch, None).await.unwrap();
    fixture.store.commit(Change { steps: vec![Step::Delete(Key::Token(made[4].clone()))], ..Change::default() }).await.unwrap();
    fixture.named("eve", "b", None).await;
    let mut after = None;
    loop {
        after = fixture.directory.complete_lists(after).await.unwrap();
        if after.is_none() {
            break;
        }
    }
    for order in ORDERS {
        let listed = fixture.listed(&by(order), 4).await;
        assert_eq!(listed.len(), 9, "{order}");
        assert_eq!(ids(&listed), sorted(order, listed), "{order}");
    }
    for (index, members) in [
        (Index::Tokens, 9),
        (Index::TokensByName, 9),
        (Index::TokensByEnd, 9),
        (Index::UnusedTokens, 5),
        (Index::AccountsByCreation, 3),
    ] {
        assert_eq!(fixture.members(index.clone()).await.len(), members, "{index:?}");
    }
    let accounts = fixture.directory.accounts(&ADMIN, &by_making, &window).await.unwrap().items;
    assert_eq!(accounts.iter().map(|account| account.login.as_str()).collect::<Vec<_>>(), ["eve", "ada", "anonymous"]);
    // What a server of before still makes is found by the next sweep.
    let late = fixture.named("eve", "c", None).await.token;
    let place = fixture.members(Index::Tokens).await.pop().unwrap();
    let steps = vec![Step::RemoveFrom(Index::Tokens, place), Step::AddTo(Index::Tokens, late.id.to_string())];
    fixture.store.commit(Change { steps, ..Change::default() }).await.unwrap();
    assert_eq!(fixture.directory.complete_lists(None).await.unwrap(), None);
    assert_eq!(ids(&fixture.listed(&by("-created"), 4).await)[0], late.id.as_str());
}

#[tokio::test]
async fn what_was_used_goes_from_the_list_of_the_unused_and_what_is_gone_from_all() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    let [used, unused] = [fixture.token("ada").await, fixture.token("ada").await].map(|info| info.token.judged.id);
    fixture.used(&used, fixture.clock.now()).await;
    assert_eq!(fixture.members(Index::UnusedTokens).await.len(), 2);
    // It is not listed twice meanwhile.
    assert_eq!(fixture.listed(&by("used"), 1).await.len(), 2);
    assert_eq!(fixture.directory.look_after_places(TokenSort::Used, None).await.unwrap(), None);
    let left = fixture.members(Index::UnusedTokens).await;
    assert!(left.len() == 1 && left[0].ends_with(unused.as_str()), "{left:?}");
    fixture.directory.delete_account(&ADMIN, &login("ada"), None).await.unwrap();
    for index in [Index::Tokens, Index::TokensByName, Index::TokensByEnd, Index::UnusedTokens] {
        assert_eq!(fixture.members(index).await, [""; 0]);
    }
    assert_eq!(fixture.store.by_last_use(Direction::Ascending, None, 9).await, Ok(Vec::new()));
}

/// A server of before changes records and knows nothing of orders; and nobody knows where a damaged token stood.
#[tokio::test]
async fn places_where_nothing_stands_go_and_what_stands_elsewhere_is_put_there() {
    let fixture = fixture().await;
    fixture.account("ada").await;
    fixture.account("eve").await;
    let mut tokens = Vec::new();
    for name in ["one", "two", "three", "four"] {
        fixture.pass(DAY);
        tokens.push(fixture.named("ada", name, Some(Expiry::After(DAY * 30))).await.token);
    }
    let commit = async |steps: Vec<Step>| fixture.store.commit(Change { steps, ..Change::default() }).await.unwrap();
    let [renamed, deleted, damaged, stays] = [0, 1, 2, 3].map(|at: usize| tokens[at].clone());
    // Renamed, deleted, and an account made and another one deleted, as an earlier version does.
    let mut new = renamed.clone();
    new.name = fields::token_name("uno").unwrap();
    new.judged.version += 1;
    commit(vec![Step::Put(Key::Token(renamed.id.clone()), new.encode().unwrap())]).await;
    let of_ada = Index::TokensOf(deleted.account.clone());
    commit(vec![Step::Delete(Key::Token(deleted.id.clone())), Step::RemoveFrom(of_ada, deleted.id.to_string())]).await;
    let eve = fixture.directory.account(&ADMIN, &login("eve")).await.unwrap();
    commit(vec![Step::Delete(Key::Account(eve.id.clone()))]).await;
    let ada = fixture.directory.account(&ADMIN, &login("ada")).await.unwrap();
    commit(vec![Step::RemoveFrom(Index::AccountsByCreation, places::of_account(&ada))]).await;
    // One whose record is damaged is still left alone.
    let broken = crate::store::Stored { version: 9, json: "{\"version\":9}".to_owned() };
    commit(vec![Step::Put(Key::Token(damaged.id.clone()), broken)]).await;
    let orders = [TokenSort::Created, TokenSort::Name, TokenSort::Expires, TokenSort::Used];
    let sweep = async || {
        for order in orders {
            assert_eq!(fixture.directory.look_after_places(order, None).await, Ok(None));
        }
        assert_eq!(fixture.directory.put_accounts_in_lists(None).await, Ok(None));
        assert_eq!(fixture.directory.look_after_account_places(None).await, Ok(None));
    };
    let stand = async |order: TokenSort| {
        let places = fixture.members(order.index()).await;
        let mut ids: Vec<_> = places.iter().map(|place| places::id_at(place).to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    let sorted = |tokens: &[&crate::domain::token::Token]| {
        let mut ids: Vec<_> = tokens.iter().map(|token| token.id.to_string()).collect();
        ids.sort_unstable();
        ids
    };
    sweep().await;
    for order in orders {
        assert_eq!(stand(order).await, sorted(&[&renamed, &damaged, &stays]), "{order:?}");
    }
    assert_eq!(fixture.names(&by("name")).await, ["four", "uno"]);
    assert_eq!(fixture.members(Index::AccountsByCreation).await.len(), 2, "of ada and of anonymous");
    // Deleted with its account, it has left its places.
    fixture.directory.delete_account(&ADMIN, &login("ada"), None).await.unwrap();
    assert_eq!(stand(TokenSort::Name).await, sorted(&[&damaged]));
    sweep().await;
    for order in orders {
        assert_eq!(stand(order).await, [""; 0], "{order:?}");
    }
}

#[tokio::test]
async fn accounts_and_sites_are_listed_in_both_directions() {
    let fixture = fixture().await;
    fixture.pass(DAY);
    for name in ["eve", "Ada", "bob"] {
        fixture.account(name).await;
        fixture.site(&format!("{}-1", name.to_lowercase())).await;
        fixture.pass(DAY);
    }
    fixture.patch("bob", AccountPatch { disabled: Some(true), ..AccountPatch::default() }).await.unwrap();
    fixture.patch("Ada", AccountPatch { login: Some(login("zoe")), ..AccountPatch::default() }).await.unwrap();
    let accounts = async |filter: AccountFilter| {
        let (mut all, mut window) = (Vec::new(), Window { after: None, limit: 1 });
        loop {
            let part = fixture.directory.accounts(&ADMIN, &filter, &window).await.unwrap();
            all.extend(part.items.into_iter().map(|account| account.login.to_string()));
            window.after = part.next;
            if window.after.is_none() {
                return all;
            }
        }
    };
    let by = |order: &str| AccountFilter { sort: Sort::<AccountSort>::parse(order), ..AccountFilter::default() };
    assert_eq!(accounts(AccountFilter::default()).await, ["anonymous", "bob", "eve", "zoe"]);
    assert_eq!(accounts(by("-login")).await, ["zoe", "eve", "bob", "anonymous"]);
    assert_eq!(accounts(by("created")).await[1..], ["eve", "zoe", "bob"]);
    assert_eq!(accounts(by("-created")).await[..3], ["bob", "zoe", "eve"]);
    assert_eq!(accounts(AccountFilter { login: Some("*O*".to_owned()), ..by("-created") }).await, ["bob", "zoe", "anonymous"]);
    assert_eq!(accounts(AccountFilter { login: Some("E*".to_owned()), ..by("login") }).await, ["eve"]);
    assert_eq!(accounts(AccountFilter { disabled: Some(true), ..by("-login") }).await, ["bob"]);
    assert_eq!(accounts(AccountFilter { kind: Some(AccountKind::Anonymous), ..by("login") }).await, ["anonymous"]);
    for (direction, expected) in
        [(Direction::Ascending, ["ada-1", "bob-1", "eve-1"]), (Direction::Descending, ["eve-1", "bob-1", "ada-1"])]
    {
        let mut after = None;
        for id in expected {
            let part = fixture.directory.sites(&ADMIN, direction, &Window { after, limit: 1 }).await.unwrap();
            assert_eq!(part.items[0].site, site_name(id));
            after = part.next;
        }
        assert_eq!(after, None);
    }
}
