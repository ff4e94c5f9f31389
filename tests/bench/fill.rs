//! Fills an empty store with service accounts and their tokens, through the store's own trait and in big changes: with
//! the records, index members, events and last uses that the directory would write.
//! `tests/bench/directory` compares what is filled with what the service makes.
//!
//! `fill redis://… | DIRECTORY  KEY-FILE ACCOUNTS CREATOR [SITE]` prints a line for each account, in the order of the logins
//! `client-0`, `client-1` …: its id and those of its tokens. With a SITE that is there, each account may write on it, of
//! which no event tells, and the tokens themselves are printed.

use std::{error::Error, fs, io::Write as _, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use keygate::{
    clock::{Clock as _, SystemClock},
    directory::{
        TokenInfo, fields,
        shown::{AccountView, TokenView},
    },
    domain::{
        access::{AccessRows, Level, SiteLevel},
        account::{Account, AccountKind, Format},
        event::{Action, By, Event},
        id::AccountId,
        key::ServerKeys,
        site::{Site, SiteName},
        text::Login,
        time::Timestamp,
        token::{Ceiling, JudgedToken, LastUse, Minted, Token, TokenId, TokenKind, TokenPrefix, TokenPrefixes, TokenState, Warned},
    },
    store::{
        Change, Entry, Index, Key, Record as _, Step, Store,
        embedded::EmbeddedStore,
        record::NameClaim,
        redis::{RedisOptions, RedisStore},
    },
};
use rand::{rand_core::UnwrapErr, rngs::SysRng};
use serde::Serialize;

const TOKENS_EACH: usize = 10;
/// Accounts in one change. Redis takes a million arguments. In the embedded store a change in the order of the tables writes
/// each page once, so a few big ones write many times less than many small ones.
const AT_ONCE_IN_REDIS: usize = 1000;
const AT_ONCE_EMBEDDED: usize = 20_000;
/// A big change keeps a busy Redis for a while.
const PATIENCE: Duration = Duration::from_mins(1);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (store, key_file, accounts, creator, site) = match &arguments[..] {
        [store, key_file, accounts, creator] => (store, key_file, accounts, creator, None),
        [store, key_file, accounts, creator, site] => (store, key_file, accounts, creator, Some(site)),
        _ => return Err("usage: fill REDIS-URL|DIRECTORY KEY-FILE ACCOUNTS CREATOR [SITE]".into()),
    };
    let (store, at_once): (Arc<dyn Store>, _) = if store.starts_with("redis://") {
        (Arc::new(RedisStore::new(&RedisOptions::at(store.as_str(), PATIENCE))?), AT_ONCE_IN_REDIS)
    } else {
        (Arc::new(EmbeddedStore::open(Path::new(store))?), AT_ONCE_EMBEDDED)
    };
    let maker = Maker {
        keys: ServerKeys::parse(&fs::read_to_string(key_file)?)?,
        prefixes: TokenPrefixes::new(vec![TokenPrefix::parse("kg")?]).ok_or("no prefix")?,
        now: SystemClock.now(),
        by: By { account: Some(creator.clone()), ..By::default() },
        site: match site {
            Some(site) => Some(read_site(&*store, SiteName::parse(site)?).await?),
            None => None,
        },
    };
    let numbers: Vec<usize> = (0..accounts.parse()?).collect();
    let mut out = std::io::stdout().lock();
    for numbers in numbers.chunks(at_once) {
        let Part { change, uses, lines } = maker.part(numbers)?;
        store.commit(change).await?;
        store.note_uses(&uses).await?;
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

async fn read_site(store: &dyn Store, name: SiteName) -> Result<Site, Failure> {
    let key = Key::Site(name);
    let stored = store.read(std::slice::from_ref(&key)).await?.pop().flatten().ok_or("there is no such site")?;
    Ok(Site::decode(&key, &stored)?)
}

/// Some accounts with all that is theirs.
#[derive(Default)]
struct Part {
    change: Change,
    uses: Vec<(TokenId, LastUse)>,
    lines: Vec<String>,
}

struct Maker {
    keys: ServerKeys,
    prefixes: TokenPrefixes,
    now: Timestamp,
    by: By,
    site: Option<Site>,
}

impl Maker {
    fn part(&self, numbers: &[usize]) -> Result<Part, Failure> {
        let mut part = Part::default();
        for number in numbers {
            let account = self.account(*number)?;
            let mut line = account.id.to_string();
            self.add_account(&mut part.change, &account)?;
            if let Some(site) = &self.site {
                add_access(&mut part.change, &account, site)?;
            }
            let age = i64::try_from(*number)?;
            for number in 0..TOKENS_EACH {
                let minted = self.prefixes.mint(TokenKind::Service, &self.keys, &mut UnwrapErr(SysRng));
                line = match &self.site {
                    None => format!("{line} {}", minted.id),
                    Some(_) => format!("{line} {}", minted.text.expose_secret()),
                };
                let token = self.token(&account, minted, number, age)?;
                // Of ten, two were never used.
                let is_used = number % 5 != 0;
                if is_used {
                    part.uses.push((token.id.clone(), self.last_use(&token)));
                }
                self.add_token(&mut part.change, &account, token, is_used)?;
            }
            part.lines.push(line);
        }
        part.change.steps.sort_by_cached_key(place);
        part.uses.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(part)
    }

    fn account(&self, number: usize) -> Result<Account, Failure> {
        Ok(Account {
            id: AccountId::generate(&mut UnwrapErr(SysRng)),
            login: Login::parse(&format!("client-{number}"))?,
            kind: AccountKind::Service,
            may_mint_tokens: true,
            ..Account::anonymous(self.now)
        })
    }

    /// At some time since it was made; not in the order in which they were.
    fn last_use(&self, token: &Token) -> LastUse {
        let (made, now) = (token.created_at.as_millis(), self.now.as_millis());
        let at = now - (now - made) * 7_919 % (now - made + 1);
        LastUse { at: Timestamp::from_millis(at), address: Some(Ipv4Addr::new(192, 0, 2, 7).into()) }
    }

    fn token(&self, account: &Account, minted: Minted, number: usize, age: i64) -> Result<Token, Failure> {
        Ok(Token {
            judged: JudgedToken {
                v: Format,
                id: minted.id,
                account: account.id.clone(),
                kind: TokenKind::Service,
                generation: account.generation,
                digest: minted.digest,
                key: minted.key,
                ceiling: Ceiling::Owner,
                scopes: Box::default(),
                networks: Box::default(),
                secure_only: false,
                expires_at: None,
                revoked: None,
                superseded: None,
                version: 1,
            },
            name: fields::token_name(&format!("job {number}"))?,
            device: None,
            // Each account's tokens a second after those of the next.
            created_at: Timestamp::from_millis(self.now.as_millis() - age * 1_000),
            created_by: self.by.as_creator(),
            rotated_from: None,
            minted_with: Vec::new(),
            system: false,
            warned: Warned::default(),
        })
    }

    fn add_account(&self, change: &mut Change, account: &Account) -> Result<(), Failure> {
        let folded = account.login.folded();
        let claim = NameClaim { v: Format, account: account.id.clone(), version: 1 };
        change.steps.push(Step::Put(Key::Name(folded.clone()), claim.encode()?));
        change.steps.push(Step::Put(Key::Account(account.id.clone()), account.encode()?));
        change.steps.push(Step::AddTo(Index::Accounts, folded));
        let by_making = format!("~{:014} {}", account.created_at.as_millis(), account.id);
        change.steps.push(Step::AddTo(Index::AccountsByCreation, by_making));
        let view = AccountView::from(account.clone());
        change.entries.push(self.event(Action::AccountCreate, account.login.as_str(), &view)?);
        Ok(())
    }

    fn add_token(&self, change: &mut Change, account: &Account, token: Token, is_used: bool) -> Result<(), Failure> {
        change.steps.push(Step::Put(Key::Token(token.id.clone()), token.encode()?));
        let by_time = |millis: i64| format!("~{millis:014} {}", token.id);
        let by_making = by_time(token.created_at.as_millis());
        change.steps.push(Step::AddTo(Index::Tokens, by_making.clone()));
        change.steps.push(Step::AddTo(Index::TokensByName, format!("{}\u{1}{}", token.name.as_str(), token.id)));
        change.steps.push(Step::AddTo(Index::TokensByEnd, by_time(99_999_999_999_999)));
        if !is_used {
            change.steps.push(Step::AddTo(Index::UnusedTokens, by_making));
        }
        change.steps.push(Step::AddTo(Index::TokensOf(account.id.clone()), token.id.to_string()));
        let id = token.id.clone();
        let (login, kind, state) = (account.login.clone(), account.kind, TokenState::Active);
        let view = TokenView::from(TokenInfo { token, login, kind, state, revoked: None, last_used: None });
        change.entries.push(self.event(Action::TokenCreate, id.as_str(), &view)?);
        Ok(())
    }

    fn event(&self, action: Action, target: &str, after: &impl Serialize) -> Result<Entry, Failure> {
        let event = Event::done(action, target, self.now, self.by.clone()).changing(None::<&()>, Some(after));
        let event = Event { request_id: Some("0123456789abcdef".to_owned()), ..event };
        Ok(Entry { at: self.now, json: serde_json::to_string(&event)? })
    }
}

fn add_access(change: &mut Change, account: &Account, site: &Site) -> Result<(), Failure> {
    let level = SiteLevel { site: site.site.clone(), level: Level::Write };
    let rows =
        AccessRows { v: Format, account: account.id.clone(), rows: [(site.id.clone(), level)].into_iter().collect(), version: 1 };
    change.steps.push(Step::Put(Key::Access(account.id.clone()), rows.encode()?));
    change.steps.push(Step::AddTo(Index::AccessOn(site.id.clone()), account.id.to_string()));
    Ok(())
}

fn place(step: &Step) -> (String, String) {
    match step {
        Step::Put(key, _) | Step::PutUntil(key, _, _) | Step::Delete(key) => (String::new(), key.name()),
        Step::AddTo(index, member) | Step::RemoveFrom(index, member) => (index.name(), member.clone()),
        Step::Clear(index) => (index.name(), String::new()),
    }
}
