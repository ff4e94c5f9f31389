//! Fills a store with sessions, through the store's own trait: the records and index members that the directory would
//! write for somebody who has signed in and visited one protected host. What a number stands for is always the same, so
//! that the parts can be filled, and measured, one after the other.
//!
//! `sessions redis://… | DIRECTORY  portal|check|index COUNT HOST [ACCOUNTS-FILE]`, where the file has ids of accounts, one a
//! line, that share the sessions out among them. With `check` it prints the cookie of each check session.

use std::{error::Error, fs, io::Write as _, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use keygate::{
    clock::{Clock as _, SystemClock},
    domain::{
        account::Format,
        id::AccountId,
        session::{CheckSession, Session, SessionId, SessionSecret},
        site::Host,
        time::Timestamp,
    },
    store::{
        Change, CommitError, Index, Key, Record as _, Step, Store,
        embedded::EmbeddedStore,
        redis::{RedisOptions, RedisStore},
    },
};
use rand::{SeedableRng as _, rngs::StdRng};

/// Accounts that are made up where none are given.
const ACCOUNTS: u64 = 100_000;
/// Changes on their way at the same time. Each family is a change of its own.
const AT_ONCE: usize = 500;
/// A busy Redis may take its time.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longer than sessions live by default.
const LATE: Duration = Duration::from_hours(24);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (store, part, count, host, accounts) = match &arguments[..] {
        [store, part, count, host] => (store, part, count, host, None),
        [store, part, count, host, accounts] => (store, part, count, host, Some(accounts)),
        _ => return Err("usage: sessions REDIS-URL|DIRECTORY portal|check|index COUNT HOST [ACCOUNTS-FILE]".into()),
    };
    let store: Arc<dyn Store> = if store.starts_with("redis://") {
        Arc::new(RedisStore::new(&RedisOptions::at(store.as_str(), PATIENCE))?)
    } else {
        Arc::new(EmbeddedStore::open(Path::new(store))?)
    };
    let maker = Maker::new(host, accounts.map(String::as_str))?;
    let numbers: Vec<u64> = (0..count.parse()?).collect();
    let mut out = std::io::stdout().lock();
    for numbers in numbers.chunks(AT_ONCE) {
        match part.as_str() {
            "portal" => commit(&*store, numbers.iter().map(|number| maker.portal(*number))).await?,
            "check" => {
                commit(&*store, numbers.iter().map(|number| maker.check(*number))).await?;
                for number in numbers {
                    writeln!(out, "{}", maker.family(*number).check.to_text())?;
                }
            }
            "index" => {
                let members = numbers.iter().map(|number| maker.member(*number));
                let steps = members.map(|member| Step::AddTo(Index::Sessions, member)).collect();
                store.commit(Change { steps, ..Change::default() }).await?;
            }
            other => return Err(format!("`{other}` is none of portal, check and index").into()),
        }
    }
    Ok(())
}

async fn commit(store: &dyn Store, steps: impl Iterator<Item = Result<Step, Failure>>) -> Result<(), Failure> {
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    let commits = steps.into_iter().map(|step| store.commit(Change { steps: vec![step], ..Change::default() }));
    try_join_all(commits).await.map_err(|error: CommitError| error)?;
    Ok(())
}

/// One sign-in.
struct Family {
    account: AccountId,
    portal: SessionSecret,
    check: SessionSecret,
}

struct Maker {
    host: Host,
    accounts: Vec<AccountId>,
    now: Timestamp,
    until: Timestamp,
}

impl Maker {
    fn new(host: &str, accounts: Option<&str>) -> Result<Self, Failure> {
        let accounts = match accounts {
            Some(file) => {
                let text = fs::read_to_string(file)?;
                text.lines().map(|line| serde_json::from_value(line.into())).collect::<Result<_, _>>()?
            }
            None => (0..ACCOUNTS).map(|number| AccountId::generate(&mut StdRng::seed_from_u64(number))).collect(),
        };
        let now = SystemClock.now();
        Ok(Self { host: Host::parse(host)?, accounts, now, until: now.checked_add(LATE).ok_or("no such time")? })
    }

    fn family(&self, number: u64) -> Family {
        let mut rng = StdRng::seed_from_u64(ACCOUNTS + number);
        let portal = SessionSecret::generate(SessionId::generate(&mut rng), &mut rng);
        let check = SessionSecret::generate(portal.session.clone(), &mut rng);
        let account = usize::try_from(number).unwrap_or_default() % self.accounts.len();
        Family { account: self.accounts[account].clone(), portal, check }
    }

    fn portal(&self, number: u64) -> Result<Step, Failure> {
        let Family { account, portal, .. } = self.family(number);
        let session = Session {
            v: Format,
            id: portal.session.clone(),
            account,
            secret: portal.secret.digest(),
            generation: 0,
            session_generation: 0,
            created_at: self.now,
            seen_at: self.now,
            address: Some(Ipv4Addr::from_bits(0xc633_6400 | u32::try_from(number % 256)?).into()),
            browser: Some("Firefox 140 on Linux".to_owned()),
            remembered: false,
            confirmed_at: self.now,
            awaits_code: false,
            version: 1,
        };
        Ok(Step::PutUntil(Key::Session(portal.session), session.encode()?, self.until))
    }

    fn check(&self, number: u64) -> Result<Step, Failure> {
        let check = self.family(number).check;
        let record = CheckSession { v: Format, secret: check.secret.digest(), created_at: self.now, version: 1 };
        Ok(Step::PutUntil(Key::CheckSession(check.session, self.host.clone()), record.encode()?, self.until))
    }

    fn member(&self, number: u64) -> String {
        let Family { account, portal, .. } = self.family(number);
        Index::session(&account, &portal.session)
    }
}
