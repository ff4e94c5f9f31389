//! The rules of the directory, on the embedded store in a directory of its own.

mod confirm;
mod descent;
mod factors;
mod guessing;
mod leaks;
mod lists;
mod races;
mod rules;
mod sessions;
mod upkeep;
mod vouched;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    domain::{
        access::Level,
        account::AccountKind,
        event::{Event, Outcome},
        guessing::GuessingRules,
        origin::Origin,
        password::Cost,
        site::Site,
        text::Email,
        time::Timestamp,
        token::{PlainToken, Scope, TokenId, TokenPrefix, TokenState},
    },
    gate::passwords::LocalPasswords,
    store::embedded::EmbeddedStore,
};

pub(super) const ADMIN: Actor = Actor::control(1000);

/// Stands still until it is told to go on.
pub(super) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

pub(super) struct Fixture {
    pub directory: Arc<Directory>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<TestClock>,
    _medium: tempfile::TempDir,
}

pub(super) fn keys(text: &str) -> Arc<ServerKeys> {
    Arc::new(ServerKeys::parse(text).unwrap())
}

pub(super) const KEY_1: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(super) const KEY_2: &str = "k2:HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub(super) fn directory_on(store: Arc<dyn Store>, clock: Arc<TestClock>, keys: Arc<ServerKeys>) -> Arc<Directory> {
    directory_by(store, clock, keys, TokenRules::default(), None)
}

pub(super) fn prefixes() -> TokenPrefixes {
    TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap()
}

/// Two hosts that sessions are handed over to.
pub(super) fn hosts() -> ProtectedHosts {
    let origins = ["shop.example.com", "stats.example.org:8443"].map(|origin| Origin::parse(origin).unwrap());
    ProtectedHosts::new(origins.to_vec()).unwrap()
}

fn directory_by(
    store: Arc<dyn Store>,
    clock: Arc<TestClock>,
    keys: Arc<ServerKeys>,
    token_rules: TokenRules,
    notices: Option<Arc<dyn Notices>>,
) -> Arc<Directory> {
    let hasher = Arc::new(Hasher::start(Cost::new(8, 1, 1).unwrap()));
    Arc::new(Directory::new(parts(store, clock, hasher, Rules { keys, tokens: token_rules, notices })))
}

/// The same store where hashes have another cost.
pub(super) fn directory_with(store: Arc<dyn Store>, clock: Arc<TestClock>, hasher: Arc<Hasher>) -> Arc<Directory> {
    let rules = Rules { keys: keys(KEY_1), tokens: TokenRules::default(), notices: None };
    Arc::new(Directory::new(parts(store, clock, hasher, rules)))
}

/// What differs between directories, beside what they work on.
struct Rules {
    keys: Arc<ServerKeys>,
    tokens: TokenRules,
    notices: Option<Arc<dyn Notices>>,
}

fn parts(store: Arc<dyn Store>, clock: Arc<TestClock>, hasher: Arc<Hasher>, rules: Rules) -> Parts {
    let Rules { keys, tokens: token_rules, notices } = rules;
    let trail_rules = TrailRules { keep: Duration::from_hours(24), refused_entries: 1000 };
    let passwords = Arc::new(LocalPasswords::new(hasher.clone()));
    let guessing = Arc::new(Guessing::new(store.clone(), clock.clone(), GuessingRules::default()));
    let (signs, prefixes, session_rules, hosts) = (Arc::new(Signs::new().0), prefixes(), SessionRules::default(), hosts());
    Parts {
        store,
        clock,
        keys,
        prefixes,
        hasher,
        passwords,
        signs,
        guessing,
        notices,
        token_rules,
        session_rules,
        hosts,
        trail_rules,
        coherence: Arc::new(Coherence::always()),
        max_staleness: Duration::from_secs(1),
    }
}

pub(super) async fn fixture() -> Fixture {
    let medium = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(medium.path()).unwrap());
    let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000)));
    let directory = directory_on(store.clone(), clock.clone(), keys(KEY_1));
    directory.bootstrap().await.unwrap();
    Fixture { directory, store, clock, _medium: medium }
}

pub(super) fn login(text: &str) -> Login {
    Login::parse(text).unwrap()
}

pub(super) fn site_name(text: &str) -> SiteName {
    SiteName::parse(text).unwrap()
}

pub(super) fn tokens_of(name: &str) -> TokenFilter {
    TokenFilter { login: Some(login(name)), ..TokenFilter::default() }
}

impl Fixture {
    pub async fn account(&self, name: &str) -> Account {
        self.directory.create_account(&ADMIN, NewAccount::new(login(name), AccountKind::Human)).await.unwrap()
    }

    pub async fn superuser(&self, name: &str) -> Account {
        let new = NewAccount { superuser: true, ..NewAccount::new(login(name), AccountKind::Human) };
        self.directory.create_account(&ADMIN, new).await.unwrap()
    }

    pub async fn site(&self, name: &str) -> Site {
        let new = NewSite { site: site_name(name), name: None, hosts: Vec::new() };
        self.directory.create_site(&ADMIN, new).await.unwrap()
    }

    pub async fn token(&self, name: &str) -> TokenInfo {
        let new = NewToken::new(login(name), fields::token_name("job").unwrap());
        self.directory.create_token(&ADMIN, new).await.unwrap().1
    }

    pub async fn patch(&self, name: &str, patch: AccountPatch) -> Result<Account, DirectoryError> {
        self.directory.update_account(&ADMIN, &login(name), patch, None).await
    }

    pub async fn state(&self, id: &TokenId) -> TokenState {
        self.directory.token(&ADMIN, id).await.unwrap().state
    }

    pub async fn access(&self, filter: AccessFilter) -> Vec<String> {
        let mut rows = Vec::new();
        // Two at a time, so that every list is read in several parts.
        let mut window = Window { after: None, limit: 2 };
        loop {
            let listing = self.directory.access(&ADMIN, &filter, &window).await.unwrap();
            rows.extend(listing.items.iter().map(|row| format!("{} {} {}", row.login, row.site, row.level)));
            window.after = listing.next;
            if window.after.is_none() {
                rows.sort();
                return rows;
            }
        }
    }

    pub fn pass(&self, duration: Duration) {
        self.clock.0.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Every key and member that speaks of the text, as a backend holds them.
    pub async fn members(&self, index: Index) -> Vec<String> {
        self.store.page(&index, None, 1000).await.unwrap().members
    }
}

/// What somebody was told, beside the trail.
#[derive(Default)]
pub(super) struct Told(std::sync::Mutex<Vec<Recorded>>);

impl Notices for Told {
    fn tell(&self, recorded: Recorded) {
        self.0.lock().unwrap().push(recorded);
    }
}

impl Told {
    /// What was told since this was last asked: action and token.
    pub fn take(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(told.iter().all(|recorded| recorded.id.starts_with('c')), "{told:?}");
        told.into_iter().map(|recorded| format!("{} {}", recorded.event.action, recorded.event.target.id)).collect()
    }
}

impl Fixture {
    /// The same store under other rules, and what is told there.
    pub fn by(&self, rules: TokenRules) -> (Arc<Directory>, Arc<Told>) {
        let told = Arc::new(Told::default());
        (directory_by(self.store.clone(), self.clock.clone(), keys(KEY_1), rules, Some(told.clone())), told)
    }

    /// A token that is made by another.
    pub async fn minted_with(&self, minter: &PlainToken, name: &str) -> TokenInfo {
        let presented = prefixes().parse(minter.expose_secret().as_bytes()).unwrap();
        let new = NewToken { scopes: vec![manage()], ..NewToken::new(login(name), fields::token_name("minted").unwrap()) };
        self.directory.create_token(&Actor::bearer(presented), new).await.unwrap().1
    }

    pub async fn manager(&self, name: &str) -> (PlainToken, TokenInfo) {
        let new = NewToken { scopes: vec![manage()], ..NewToken::new(login(name), fields::token_name("manager").unwrap()) };
        self.directory.create_token(&ADMIN, new).await.unwrap()
    }

    /// The actions in the trail of what was done, with their targets, from a time on.
    pub async fn done_since(&self, since: Timestamp) -> Vec<Event> {
        let filter = TrailFilter { since: Some(since), outcome: Some(Outcome::Done), ..TrailFilter::default() };
        let listing = self.directory.trail(&ADMIN, &filter, &Window { after: None, limit: 1000 }).await.unwrap();
        listing.items.into_iter().map(|recorded| recorded.event).collect()
    }
}

fn manage() -> Scope {
    Scope::parse(Scope::MANAGE).unwrap()
}

/// The code of a refusal.
pub(super) fn code<T: std::fmt::Debug>(result: Result<T, DirectoryError>) -> &'static str {
    match result.unwrap_err() {
        DirectoryError::NotFound { .. } => "not_found",
        DirectoryError::Invalid(invalid) => invalid.code,
        DirectoryError::Taken { code, .. } | DirectoryError::Refused { code, .. } => code,
        DirectoryError::Unauthenticated(reason) => reason.code(),
        DirectoryError::Replayed(_) => "replayed",
        DirectoryError::Precondition { .. } => "precondition",
        DirectoryError::Contended => "contended",
        DirectoryError::Blocked { .. } => "blocked",
        DirectoryError::Busy => "busy",
        DirectoryError::ListsInTheMaking => "lists_in_the_making",
        DirectoryError::Store(_) => "store",
    }
}
