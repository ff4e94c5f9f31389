//! The store dies at each step of each use case.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use keygate::{
    clock::SystemClock,
    directory::{
        self, AccountPatch, Actor, Directory, DirectoryError, Expiry, FieldPatch, Found, IdempotencyKey, NewAccount, NewSite,
        NewToken, Redeemed, SignIn, SitePatch, TokenFilter, TrailRules, Window, fields,
    },
    domain::{
        access::Level,
        account::AccountKind,
        guessing::GuessingRules,
        id::ReplicaId,
        key::ServerKeys,
        origin::{Origin, ProtectedHosts, ReturnTo, Target},
        password::{Cost, Password},
        session::{Secret, SessionRules, SessionSecret},
        site::{Host, SiteName},
        text::{Email, Login},
        time::Timestamp,
        token::{LastUse, PresentedToken, Scope, TokenId, TokenPrefix, TokenPrefixes},
        token_rules::TokenRules,
    },
    gate::{guessing::Guessing, hasher::Hasher, passwords::LocalPasswords, signs::Signs},
    store::{
        Change, Coherence, CommitError, Direction, Entry, EntryId, Index, Key, Live, Memory, Order, Page, Store, StoreError,
        Stored, Trail,
        embedded::EmbeddedStore,
        redis::{RedisOptions, RedisStore},
    },
};

use super::contents::Contents;
use crate::support::{
    keygate::KEY,
    redis::{Program, Server},
};

/// A store that answers so many calls and then never again.
struct Dying {
    store: Arc<dyn Store>,
    left: AtomicUsize,
    /// Whether the last call is carried out, and only its answer lost.
    carried_out: bool,
    /// Whether it dies of changes only.
    of_changes: bool,
}

enum Fate {
    Lives,
    LastWords,
    Dead,
}

fn dead() -> StoreError {
    StoreError::transient("the store has died")
}

impl Dying {
    fn fate(&self) -> Fate {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).unwrap_or(0);
        match left {
            1 if self.carried_out => Fate::LastWords,
            0 | 1 => Fate::Dead,
            _ => Fate::Lives,
        }
    }
}

/// Carries a call out as its fate is.
macro_rules! call {
    ($self:ident, $call:expr) => {
        match $self.fate() {
            Fate::Lives => $call,
            Fate::LastWords => {
                let _lost = $call;
                Err(dead().into())
            }
            Fate::Dead => Err(dead().into()),
        }
    };
}

#[async_trait]
impl Store for Dying {
    fn tell(&self, memory: Arc<dyn Memory>) -> Arc<Coherence> {
        self.store.tell(memory)
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        if self.of_changes {
            return self.store.read(keys).await;
        }
        call!(self, self.store.read(keys).await)
    }
    async fn page_in(&self, index: &Index, direction: Direction, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        if self.of_changes {
            return self.store.page_in(index, direction, after, limit).await;
        }
        call!(self, self.store.page_in(index, direction, after, limit).await)
    }
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        call!(self, self.store.commit(change).await)
    }
    async fn append(&self, trail: Trail, entry: Entry, at_most: u64) -> Result<(), StoreError> {
        call!(self, self.store.append(trail, entry, at_most).await)
    }
    async fn entries(
        &self,
        trail: Trail,
        past: Option<EntryId>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        call!(self, self.store.entries(trail, past, order, limit).await)
    }
    async fn forget_entries(&self, trail: Trail, time: Timestamp) -> Result<(), StoreError> {
        call!(self, self.store.forget_entries(trail, time).await)
    }
    async fn note_uses(&self, uses: &[(TokenId, LastUse)]) -> Result<(), StoreError> {
        call!(self, self.store.note_uses(uses).await)
    }
    async fn uses(&self, tokens: &[TokenId]) -> Result<Vec<Option<LastUse>>, StoreError> {
        call!(self, self.store.uses(tokens).await)
    }
    async fn by_last_use(
        &self,
        direction: Direction,
        after: Option<&(Timestamp, TokenId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, TokenId)>, StoreError> {
        call!(self, self.store.by_last_use(direction, after, limit).await)
    }
    async fn forget_uses(&self, tokens: &[TokenId]) -> Result<(), StoreError> {
        call!(self, self.store.forget_uses(tokens).await)
    }
    async fn publish(&self, replica: &ReplicaId, said: &str, keep: Duration) -> Result<(), StoreError> {
        call!(self, self.store.publish(replica, said, keep).await)
    }
    async fn published(&self) -> Result<Vec<(ReplicaId, String)>, StoreError> {
        self.store.published().await
    }
    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        call!(self, self.store.forget_expired(now).await)
    }

    async fn live(&self) -> Live {
        self.store.live().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        call!(self, self.store.ping().await)
    }
}

fn prefixes() -> TokenPrefixes {
    TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap()
}

fn login(text: &str) -> Login {
    Login::parse(text).unwrap()
}

fn site(text: &str) -> SiteName {
    SiteName::parse(text).unwrap()
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

const PASSWORD: &str = "correct horse";

const ROOT: Actor = Actor::control(0);

fn directory_on(store: Arc<dyn Store>) -> Directory {
    let hasher = Arc::new(Hasher::start(Cost::new(8, 1, 1).unwrap()));
    Directory::new(directory::Parts {
        store: store.clone(),
        clock: Arc::new(SystemClock),
        keys: Arc::new(ServerKeys::parse(KEY).unwrap()),
        prefixes: prefixes(),
        passwords: Arc::new(LocalPasswords::new(hasher.clone())),
        hasher,
        signs: Arc::new(Signs::new().0),
        guessing: Arc::new(Guessing::new(store, Arc::new(SystemClock), GuessingRules::default())),
        notices: None,
        // What has ended may go at once.
        token_rules: TokenRules { keep_ended: Duration::ZERO, ..TokenRules::default() },
        session_rules: SessionRules::default(),
        hosts: ProtectedHosts::new(vec![Origin::parse("shop.example.com").unwrap()]).unwrap(),
        trail_rules: TrailRules { keep: Duration::from_hours(24), refused_entries: 1000 },
        coherence: Arc::new(Coherence::always()),
        max_staleness: Duration::from_secs(1),
    })
}

/// What the use cases work on.
struct House {
    /// vera's, which has minted one that has minted another, and was itself made by a rotation.
    minter: PresentedToken,
    plain: TokenId,
    /// The predecessor of `minter`.
    first: TokenId,
    /// vera's, at the shop too.
    session: SessionSecret,
    check: SessionSecret,
    /// For another session at the shop.
    code: SessionSecret,
    nonce: Secret,
}

/// `many` tokens of vera's: more than fit one commit, or only a few.
async fn furnish(directory: &Directory, many: usize) -> House {
    directory.bootstrap().await.unwrap();
    for name in ["shop", "blog"] {
        let hosts = vec![host(&format!("{name}.example.com")), host(&format!("www.{name}.example.com"))];
        directory.create_site(&ROOT, NewSite { site: site(name), name: None, hosts }).await.unwrap();
    }
    let email = Some(Email::parse("vera@example.com").unwrap());
    let password = Some(password(PASSWORD));
    let vera = NewAccount { email, password, ..NewAccount::new(login("vera"), AccountKind::Human) };
    directory.create_account(&ROOT, vera).await.unwrap();
    for name in ["root", "ada"] {
        let new = NewAccount { superuser: true, ..NewAccount::new(login(name), AccountKind::Human) };
        directory.create_account(&ROOT, new).await.unwrap();
    }
    for name in ["shop", "blog"] {
        directory.set_access(&ROOT, &login("vera"), &site(name), Level::Admin).await.unwrap();
    }
    let manage = |name: &str| NewToken {
        scopes: vec![Scope::parse("manage").unwrap()],
        ..NewToken::new(login("vera"), fields::token_name(name).unwrap())
    };
    let (_, first) = directory.create_token(&ROOT, manage("minter")).await.unwrap();
    let (text, _) = directory.rotate_token(&ROOT, &first.token.id, Duration::from_hours(1)).await.unwrap();
    let minter = prefixes().parse(text.expose_secret().as_bytes()).unwrap();
    let actor = Actor::bearer(minter.clone());
    let made = join_all((0..many).map(|_| directory.create_token(&actor, manage("minted")))).await;
    let (text, _) = made.into_iter().next().unwrap().unwrap();
    let child = prefixes().parse(text.expose_secret().as_bytes()).unwrap();
    directory.create_token(&Actor::bearer(child), manage("grandchild")).await.unwrap();
    let plain = directory.create_token(&ROOT, manage("plain")).await.unwrap().1.token.judged.id;
    let session = sign_in(directory).await.unwrap();
    let nonce = Secret::generate(&mut rand::rand_core::UnwrapErr(rand::rngs::SysRng));
    let code = directory.hand_over(&session, &shop(), nonce.digest()).await.unwrap();
    let opened = directory.redeem(&code, &shop().origin, Some(&nonce), None).await.unwrap();
    let Redeemed::Opened { cookie: check, .. } = opened else { panic!("{opened:?}") };
    let code = directory.hand_over(&session, &shop(), nonce.digest()).await.unwrap();
    House { minter, plain, first: first.token.judged.id, session, check, code, nonce }
}

fn password(text: &str) -> Password {
    Password::chosen(text).unwrap()
}

fn shop() -> ReturnTo {
    ReturnTo { origin: Origin::parse("shop.example.com").unwrap(), target: Target::root() }
}

async fn sign_in(directory: &Directory) -> Result<SessionSecret, DirectoryError> {
    let ask = SignIn { login: "vera".to_owned(), password: password(PASSWORD), remember: false, browser: None };
    Ok(directory.sign_in(None, None, ask).await?.secret)
}

/// Each takes something, and may be asked for again.
const USE_CASES: &[&str] = &[
    "create an account",
    "rename an account",
    "promote an account",
    "demote a superuser",
    "disable an account",
    "delete an account",
    "revoke all",
    "create a site",
    "change its hosts",
    "delete a site",
    "make it again",
    "give access",
    "take access",
    "mint with a token",
    "mint once",
    "rotate",
    "revoke one",
    "revoke with what it minted",
    "revoke what is named so",
    "warn of one",
    "let go of what has ended",
    "sign in",
    "hand a session over",
    "redeem a code",
    "redeem it wrongly",
    "sign out",
    "sign out at a host",
    "end a session",
    "confirm the password",
    "change the password",
    "let go of sessions",
];

async fn perform(name: &str, directory: &Directory, house: &House) -> Result<(), DirectoryError> {
    let patch = async |patch: AccountPatch| directory.update_account(&ROOT, &login("vera"), patch, None).await;
    let new_token = || NewToken {
        scopes: vec![Scope::parse("manage").unwrap()],
        ..NewToken::new(login("vera"), fields::token_name("new").unwrap())
    };
    match name {
        "create an account" => {
            let email = Some(Email::parse("zoe@example.com").unwrap());
            let new = NewAccount { email, superuser: true, ..NewAccount::new(login("zoe"), AccountKind::Human) };
            directory.create_account(&ROOT, new).await.map(drop)
        }
        "rename an account" => {
            let email = FieldPatch::Set(Email::parse("wera@example.com").unwrap());
            patch(AccountPatch { login: Some(login("wera")), email, ..AccountPatch::default() }).await.map(drop)
        }
        "promote an account" => patch(AccountPatch { superuser: Some(true), ..AccountPatch::default() }).await.map(drop),
        "demote a superuser" => {
            let patch = AccountPatch { superuser: Some(false), ..AccountPatch::default() };
            directory.update_account(&ROOT, &login("ada"), patch, None).await.map(drop)
        }
        "disable an account" => patch(AccountPatch { disabled: Some(true), ..AccountPatch::default() }).await.map(drop),
        "delete an account" => directory.delete_account(&ROOT, &login("vera"), None).await,
        "revoke all" => directory.revoke_all(&ROOT, &login("vera"), false, None).await.map(drop),
        "create a site" => {
            let new = NewSite { site: site("wiki"), name: None, hosts: vec![host("wiki.example.com")] };
            directory.create_site(&ROOT, new).await.map(drop)
        }
        "change its hosts" => {
            let patch = SitePatch { hosts: Some(vec![host("shop.example.com"), host("new.example.com")]), ..SitePatch::default() };
            directory.update_site(&ROOT, &site("shop"), patch, None).await.map(drop)
        }
        "delete a site" => directory.delete_site(&ROOT, &site("shop"), None).await,
        "make it again" => {
            directory.delete_site(&ROOT, &site("blog"), None).await?;
            directory.create_site(&ROOT, NewSite { site: site("blog"), name: None, hosts: Vec::new() }).await.map(drop)
        }
        "give access" => directory.set_access(&ROOT, &login("vera"), &site("shop"), Level::View).await.map(drop),
        "take access" => directory.set_access(&ROOT, &login("vera"), &site("shop"), Level::None).await.map(drop),
        "mint with a token" => directory.create_token(&Actor::bearer(house.minter.clone()), new_token()).await.map(drop),
        "mint once" => {
            let actor = ROOT.once(Some(IdempotencyKey::new("key", &[b"request"]).unwrap()));
            directory.create_token(&actor, new_token()).await.map(drop)
        }
        "rotate" => directory.rotate_token(&ROOT, &house.plain, Duration::from_hours(1)).await.map(drop),
        "revoke one" => directory.revoke_token(&ROOT, &house.plain, false, None, None).await.map(drop),
        "revoke with what it minted" => directory.revoke_token(&ROOT, &house.minter.id, false, None, None).await.map(drop),
        "revoke what is named so" => {
            let filter = TokenFilter { name: Some("minte*".to_owned()), ..TokenFilter::default() };
            directory.revoke_tokens(&ROOT, &filter, &Found::Revoke(None), &Window { after: None, limit: 3 }).await.map(drop)
        }
        "warn of one" => {
            let expires = Some(Expiry::After(Duration::from_hours(1)));
            directory.create_token(&ROOT, NewToken { expires, ..new_token() }).await?;
            Ok(directory.look_after_tokens(None).await.map(drop)?)
        }
        "let go of what has ended" => {
            directory.revoke_token(&ROOT, &house.first, true, None, None).await?;
            directory.rotate_token(&ROOT, &house.minter.id, Duration::ZERO).await?;
            // The predecessor first, and then what has minted others.
            for _ in 0..2 {
                directory.look_after_tokens(None).await?;
            }
            Ok(())
        }
        "sign in" => sign_in(directory).await.map(drop),
        "hand a session over" => directory.hand_over(&house.session, &shop(), house.nonce.digest()).await.map(drop),
        "redeem a code" => {
            Ok(directory.redeem(&house.code, &shop().origin, Some(&house.nonce), Some(&house.check)).await.map(drop)?)
        }
        "redeem it wrongly" => Ok(directory.redeem(&house.code, &shop().origin, None, Some(&house.check)).await.map(drop)?),
        "sign out" => Ok(directory.sign_out(&house.session, None, None).await.map(drop)?),
        "sign out at a host" => Ok(directory.sign_out_at(&house.check, shop().origin.host(), None, None).await.map(drop)?),
        "end a session" => directory.end_session(&ROOT, &house.session.session).await,
        "confirm the password" => {
            directory.confirm_password(&Actor::session(house.session.clone()), password(PASSWORD), None).await.map(drop)
        }
        "change the password" => {
            let actor = Actor::session(house.session.clone());
            directory.change_password(&actor, password(PASSWORD), password("battery staple")).await.map(drop)
        }
        "let go of sessions" => {
            directory.revoke_all(&ROOT, &login("vera"), true, None).await?;
            Ok(directory.look_after_sessions(None).await.map(drop)?)
        }
        other => panic!("{other}"),
    }
}

/// Lets the store die at the first, the second, … call of the use case, until it lives through all of it.
async fn die_at_each_step<S>(
    name: &str,
    carried_out: bool,
    many: usize,
    new: impl AsyncFn() -> (S, Arc<dyn Store>),
    contents: impl Fn(&S) -> Contents,
) {
    for calls in 1.. {
        let (medium, store) = new().await;
        let house = furnish(&directory_on(store.clone()), many).await;
        assert_eq!(contents(&medium).dangling(), [""; 0], "before {name}");
        let dying = Dying { store: store.clone(), left: AtomicUsize::new(calls), carried_out, of_changes: many > 100 };
        let outcome = perform(name, &directory_on(Arc::new(dying)), &house).await;
        assert_eq!(contents(&medium).dangling(), [""; 0], "{name}, dead at call {calls}, {carried_out}");
        // What fits one commit ends in one; the rest waits for the upkeep, or for who asks again.
        assert!(many > 100 || contents(&medium).outliving().is_empty(), "{name}, dead at call {calls}, {carried_out}");
        // Asked again it is done, or was done already.
        let again = perform(name, &directory_on(store.clone()), &house).await;
        let was_done = |error: &DirectoryError| !matches!(error, DirectoryError::Store(_) | DirectoryError::Contended);
        assert!(again.as_ref().err().is_none_or(was_done), "{name}, dead at call {calls}: {again:?}");
        assert_eq!(contents(&medium).dangling(), [""; 0], "{name}, again after call {calls}, {carried_out}");
        assert_eq!(contents(&medium).outliving(), [""; 0], "{name}, again after call {calls}, {carried_out}");
        if outcome.is_ok() {
            assert!(calls > 2, "{name} asks the store more than once");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_that_dies_at_any_step_leaves_nothing_dangling() {
    for name in USE_CASES {
        for carried_out in [false, true] {
            let new = async || {
                let directory = tempfile::tempdir().unwrap();
                let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(directory.path()).unwrap());
                (directory, store)
            };
            die_at_each_step(name, carried_out, 3, new, |directory| Contents::of_embedded(directory.path())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_at_any_step_leaves_nothing_dangling() {
    let server = Server::start(Program::Redis);
    let new = async || {
        assert_eq!(server.command(&["FLUSHALL"]), "+OK");
        let options = RedisOptions::at(server.url(), Duration::from_secs(5));
        let store: Arc<dyn Store> = Arc::new(RedisStore::new(&options).unwrap());
        ((), store)
    };
    for name in USE_CASES {
        for carried_out in [false, true] {
            die_at_each_step(name, carried_out, 3, new, |()| Contents::of_redis(&server.url())).await;
        }
    }
    // More tokens than one commit takes.
    for name in ["delete an account", "revoke with what it minted"] {
        die_at_each_step(name, true, 600, new, |()| Contents::of_redis(&server.url())).await;
    }
}
