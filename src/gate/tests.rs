//! A session judged over time, with a clock of the test's own: what is seen of it counts before it is written, and a check
//! writes nothing by itself.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use super::{
    find::Search,
    records::{MemoryRules, Stop},
    *,
};
use crate::{
    domain::{
        access::{Level, SiteLevel},
        account::{AccountKind, Format},
        decision::CredentialKinds,
        guessing::GuessingRules,
        id::{AccountId, SiteId, test_rng},
        origin::ProtectedHosts,
        password::Cost,
        policy::{Matcher, SiteAsk, SiteSource},
        request::ClientHeaders,
        session::{CheckSession, Secret, SessionId, SessionSecret},
        site::{Host, Site, SiteName},
        text::Login,
        token::{TokenPrefix, TokenPrefixes},
    },
    store::{Change, Key, Record, Step, Store, embedded::EmbeddedStore, record::NameClaim},
};

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

struct House {
    gate: Gate,
    clock: Arc<TestClock>,
    store: Arc<EmbeddedStore>,
    signs: Arc<Signs>,
    cookie: SessionSecret,
    _folder: tempfile::TempDir,
}

const RULES: SessionRules = SessionRules {
    idle: Duration::from_hours(1),
    absolute: Duration::from_hours(12),
    remember: Duration::from_hours(24),
    must_have_second_factor: false,
};
const BEGIN: i64 = 1_800_000_000_000;

fn policy() -> Policy {
    let demand = Demand {
        site: SiteSource::Named(vec![SiteName::parse("shop").unwrap()]),
        read: Level::View,
        write: Level::Write,
        scope: None,
        credentials: CredentialKinds::default(),
        max_token_access: Level::Superuser,
        otherwise: Otherwise::Challenge,
        allows_cross_site: false,
    };
    Policy::new(vec![Rule { name: "all".to_owned(), matcher: Matcher::default(), demand: Some(demand), body_ignored: false }])
}

async fn house() -> House {
    let mut rng = test_rng();
    let now = Timestamp::from_millis(BEGIN);
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let account = Account { login: Login::parse("vera").unwrap(), kind: AccountKind::Human, ..Account::anonymous(now) };
    let site = Site {
        v: Format,
        id: SiteId::generate(&mut rng),
        site: SiteName::parse("shop").unwrap(),
        name: None,
        hosts: Vec::new(),
        created_at: now,
        version: 1,
    };
    let rows = [(site.id.clone(), SiteLevel { site: site.site.clone(), level: Level::View })].into_iter().collect();
    let access = AccessRows { v: Format, account: account.id.clone(), rows, version: 1 };
    let cookie = SessionSecret::generate(SessionId::generate(&mut rng), &mut rng);
    let session = Session {
        v: Format,
        id: cookie.session.clone(),
        account: account.id.clone(),
        secret: Secret::generate(&mut rng).digest(),
        generation: 0,
        session_generation: 0,
        created_at: now,
        seen_at: now,
        address: None,
        browser: None,
        remembered: false,
        confirmed_at: now,
        awaits_code: false,
        version: 1,
    };
    let check = CheckSession { v: Format, secret: cookie.secret.digest(), created_at: now, version: 1 };
    let host = Host::parse("shop.example.com").unwrap();
    let records = vec![
        Step::Put(Key::Account(account.id.clone()), account.encode().unwrap()),
        Step::Put(Key::Site(site.site.clone()), site.encode().unwrap()),
        Step::Put(Key::Access(account.id.clone()), access.encode().unwrap()),
    ];
    let family = vec![
        Step::PutUntil(Key::Session(session.id.clone()), session.encode().unwrap(), session.kept_until(&RULES)),
        Step::PutUntil(Key::CheckSession(session.id.clone(), host), check.encode().unwrap(), session.kept_until(&RULES)),
    ];
    for steps in [records, family] {
        store.commit(Change { steps, ..Change::default() }).await.unwrap();
    }
    let clock = Arc::new(TestClock(AtomicI64::new(BEGIN)));
    let signs = Arc::new(Signs::new().0);
    let hosts = ProtectedHosts::new(vec![Origin::parse("https://shop.example.com").unwrap()]).unwrap();
    let prefixes = TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap();
    let hasher = Arc::new(hasher::Hasher::start(Cost::new(8, 1, 1).unwrap()));
    let gate = Gate::new(Parts {
        records: Arc::new(Records::new(store.clone(), &MemoryRules::default())),
        clock: clock.clone(),
        keys: Arc::new(ServerKeys::parse(&ServerKeys::generate_file(&mut rng)).unwrap()),
        passwords: Arc::new(passwords::LocalPasswords::new(hasher)),
        signs: signs.clone(),
        guessing: Arc::new(Guessing::new(store.clone(), clock.clone(), GuessingRules::default())),
        policy: Arc::new(ArcSwap::from_pointee(policy())),
        reader: CredentialReader { prefixes, query_names: Vec::new(), hosts },
        allow_in_url: false,
        session_rules: RULES,
    });
    House { gate, clock, store, signs, cookie, _folder: folder }
}

impl House {
    /// What a check says so many minutes after the beginning.
    async fn after(&self, minutes: i64) -> String {
        self.clock.0.store(BEGIN + minutes * 60_000, Ordering::Relaxed);
        match self.at_once(&self.cookie) {
            Some(said) => said,
            None => self.check().await,
        }
    }

    /// What a check says now without reading anything.
    fn at_once(&self, cookie: &SessionSecret) -> Option<String> {
        let cookies = format!("__Host-keygate-check={}", cookie.to_text());
        let mut headers = ClientHeaders::default();
        headers.take("cookie", cookies.as_bytes());
        self.gate.check_at_once(Ok(described(&headers)), said).ok()
    }

    async fn check(&self) -> String {
        let cookies = format!("__Host-keygate-check={}", self.cookie.to_text());
        let mut headers = ClientHeaders::default();
        headers.take("cookie", cookies.as_bytes());
        self.gate.check(Ok(described(&headers)), said).await
    }

    async fn commit(&self, step: Step) {
        self.store.commit(Change { steps: vec![step], ..Change::default() }).await.unwrap();
    }

    async fn record(&self) -> Session {
        let key = Key::Session(self.cookie.session.clone());
        let stored = self.store.read(std::slice::from_ref(&key)).await.unwrap().pop().flatten().unwrap();
        Session::decode(&key, &stored).unwrap()
    }
}

fn described<'a>(headers: &'a ClientHeaders<'a>) -> Described<'a> {
    let client = "192.0.2.7".parse().ok();
    Described { method: "GET", target: b"/", host: "shop.example.com", client, headers, body: None }
}

fn said(verdict: &Verdict<'_>) -> String {
    verdict.decision.reason().map_or("allow", Reason::code).to_owned()
}

#[tokio::test]
async fn what_was_gathered_lately_is_used_until_any_of_it_changes() {
    let house = house().await;
    let account =
        Account { login: Login::parse("vera").unwrap(), kind: AccountKind::Human, ..Account::anonymous(house.clock.now()) };
    let site = Key::Site(SiteName::parse("shop").unwrap());
    let stored_site = house.store.read(std::slice::from_ref(&site)).await.unwrap().remove(0).unwrap();
    let session = house.record().await;
    let disabled = Account { disabled: true, version: 2, ..account.clone() }.encode().unwrap();
    let enabled = Account { version: 3, ..account.clone() }.encode().unwrap();
    for (step, then) in [
        (Step::Put(Key::Account(account.id.clone()), disabled), "account_disabled"),
        (Step::Put(Key::Account(account.id.clone()), enabled), "allow"),
        (Step::Delete(site.clone()), "site_unknown"),
        (Step::Put(site, stored_site), "allow"),
        (Step::Delete(Key::Access(account.id.clone())), "site_access"),
        (Step::Delete(Key::Session(session.id.clone())), "session_ended"),
    ] {
        house.check().await;
        assert!(house.at_once(&house.cookie).is_some() || then == "session_ended", "{then}");
        house.commit(step).await;
        assert_eq!(house.at_once(&house.cookie), None, "{then}");
        assert_eq!(house.after(0).await, then);
    }
}

#[tokio::test]
async fn another_secret_is_another_credential_however_lately_the_right_one_was_seen() {
    let house = house().await;
    house.check().await;
    assert_eq!(house.at_once(&house.cookie).as_deref(), Some("allow"));
    let guess = SessionSecret::generate(house.cookie.session.clone(), &mut test_rng());
    assert_eq!(house.at_once(&guess), None);
    assert_eq!(house.at_once(&house.cookie).as_deref(), Some("allow"));
    house.clock.0.store(BEGIN + 60 * 60_000, Ordering::Relaxed);
    assert_eq!(house.at_once(&house.cookie), None, "somebody else may have seen it since");
}

#[tokio::test]
async fn what_is_seen_of_a_session_keeps_it_alive_before_it_is_written() {
    let house = house().await;
    let before = house.record().await;
    assert_eq!(house.after(4).await, "allow");
    assert_eq!(house.signs.sessions.last(&house.cookie.session), None, "that is new enough");
    for minutes in [50, 109, 168] {
        assert_eq!(house.after(minutes).await, "allow");
    }
    assert_eq!(house.record().await, before, "a check writes nothing");
    house.signs.sessions.write(house.store.as_ref(), &RULES).await.unwrap();
    let after = house.record().await;
    assert_eq!(after.seen_at.as_millis(), BEGIN + 168 * 60_000);
    assert_eq!((after.address, after.version), ("192.0.2.7".parse().ok(), before.version + 1));
    assert_eq!(house.after(227).await, "allow");
    assert_eq!(house.after(287).await, "session_ended", "an hour after it was last seen");
    assert_eq!(house.after(288).await, "session_ended");
    house.signs.sessions.write(house.store.as_ref(), &RULES).await.unwrap();
    assert_eq!(house.record().await.seen_at.as_millis(), BEGIN + 227 * 60_000, "a refusal is not a sign of life");
}

#[tokio::test]
async fn no_sign_of_life_outlasts_the_absolute_end() {
    let house = house().await;
    for minutes in (30..720).step_by(30) {
        assert_eq!(house.after(minutes).await, "allow", "{minutes}");
    }
    assert_eq!(house.after(719).await, "allow");
    assert_eq!(house.after(720).await, "session_ended");
}

#[tokio::test]
async fn a_login_that_somebody_has_takes_as_many_reads_as_one_that_nobody_has() {
    let house = house().await;
    let (mut rng, now) = (test_rng(), house.clock.now());
    let mut people = Vec::new();
    for name in ["ada", "ben"] {
        let account = Account {
            id: AccountId::generate(&mut rng),
            login: Login::parse(name).unwrap(),
            kind: AccountKind::Human,
            ..Account::anonymous(now)
        };
        let claim = NameClaim { v: Format, account: account.id.clone(), version: 1 };
        house.commit(Step::Put(Key::Account(account.id.clone()), account.encode().unwrap())).await;
        house.commit(Step::Put(Key::Name(name.to_owned()), claim.encode().unwrap())).await;
        people.push(account.id);
    }
    let asked = SiteAsk::Named(vec![SiteName::parse("shop").unwrap()].into());
    let reads = async |search: Search<'_>| {
        let (mut view, mut reads) = (house.gate.parts.records.view(), 0);
        loop {
            match house.gate.look_up(&search, &asked, &mut view) {
                Ok(_) => return reads,
                Err(Stop::Missing) => view.fetch().await.unwrap(),
                Err(Stop::Failed(error)) => panic!("{error}"),
            }
            reads += 1;
        }
    };
    // Every check without a credential has read these.
    reads(Search::Anonymous).await;
    // One of them has just come with a token.
    let mut view = house.gate.parts.records.view();
    let _missing = view.get::<Account>(Key::Account(people[1].clone()));
    view.fetch().await.unwrap();
    for folded in ["nobody", "ada", "ben"] {
        assert_eq!(reads(Search::Password { folded }).await, 2, "{folded}, for the first time");
        assert_eq!(reads(Search::Password { folded }).await, 0, "{folded}, once more");
    }
}
