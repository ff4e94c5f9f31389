//! The table of rights, asked of the directory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use keygate::{
    clock::Clock,
    directory::{
        self, AccessFilter, AccountFilter, AccountPatch, Actor, CeilingAsk, Direction, Directory, DirectoryError, Expiry,
        FieldPatch, NewAccount, NewSite, NewToken, SignIn, SitePatch, TokenFilter, TokenPatch, TrailFilter, TrailRules, Window,
        fields,
    },
    domain::{
        access::Level,
        account::AccountKind,
        event::Outcome,
        guessing::GuessingRules,
        key::ServerKeys,
        origin::ProtectedHosts,
        password::{Cost, Password},
        session::{SessionId, SessionRules, SessionSecret},
        site::{Host, SiteName},
        text::Login,
        time::{Timestamp, parse_duration},
        token::{PresentedToken, Scope, TokenId, TokenPrefix, TokenPrefixes},
        token_rules::TokenRules,
    },
    gate::{guessing::Guessing, hasher::Hasher, passwords::LocalPasswords, signs::Signs},
    store::{Store, embedded::EmbeddedStore},
};

use super::{Ask, Asker, Way};
use crate::support::keygate::KEY;

const PASSWORD: &str = "correct horse";

pub struct UseCases {
    directory: Directory,
    tokens: BTreeMap<String, (TokenId, PresentedToken)>,
    sessions: BTreeMap<String, SessionSecret>,
    clock: Arc<Ticking>,
    _medium: tempfile::TempDir,
}

/// Goes on only when it is told to.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
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

fn code(error: &DirectoryError) -> String {
    match error {
        DirectoryError::NotFound { what, .. } => format!("{what}_not_found"),
        DirectoryError::Invalid(invalid) => invalid.code.to_owned(),
        DirectoryError::Taken { code, .. } | DirectoryError::Refused { code, .. } => (*code).to_owned(),
        DirectoryError::Unauthenticated(reason) => reason.code().to_owned(),
        other => panic!("{other}"),
    }
}

impl UseCases {
    pub async fn new() -> Self {
        let medium = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(medium.path()).unwrap());
        let clock = Arc::new(Ticking(AtomicI64::new(1_800_000_000_000)));
        let hasher = Arc::new(Hasher::start(Cost::new(8, 1, 1).unwrap()));
        let directory = Directory::new(directory::Parts {
            store: store.clone(),
            clock: clock.clone(),
            keys: Arc::new(ServerKeys::parse(KEY).unwrap()),
            prefixes: prefixes(),
            passwords: Arc::new(LocalPasswords::new(hasher.clone())),
            hasher,
            signs: Arc::new(Signs::new().0),
            guessing: Arc::new(Guessing::new(store, clock.clone(), GuessingRules::default())),
            notices: None,
            token_rules: TokenRules::default(),
            session_rules: SessionRules::default(),
            hosts: ProtectedHosts::default(),
            trail_rules: TrailRules { keep: Duration::from_hours(24), refused_entries: 1000 },
            coherence: Arc::new(keygate::store::Coherence::always()),
            max_staleness: Duration::from_secs(1),
        });
        directory.bootstrap().await.unwrap();
        Self { directory, tokens: BTreeMap::new(), sessions: BTreeMap::new(), clock, _medium: medium }
    }

    /// All there is, but for the trail.
    pub async fn contents(&self) -> String {
        let (all, root) = (Window { after: None, limit: Window::MAX_LIMIT }, Actor::control(0));
        let accounts = self.directory.accounts(&root, &AccountFilter::default(), &all).await.unwrap();
        let sites = self.directory.sites(&root, Direction::Ascending, &all).await.unwrap();
        let access = self.directory.access(&root, &AccessFilter::default(), &all).await.unwrap();
        let tokens = self.directory.tokens(&root, &TokenFilter::default(), &all).await.unwrap();
        let sessions = self.directory.sessions(&root, None, &all).await.unwrap();
        // That somebody was seen is noted whatever he is told.
        let sessions: Vec<_> = sessions.items.into_iter().map(|info| info.session.id).collect();
        format!("{accounts:?}{sites:?}{access:?}{tokens:?}{sessions:?}")
    }

    /// How many refused attempts the trail tells of.
    pub async fn refusals(&self) -> usize {
        let filter = TrailFilter { outcome: Some(Outcome::Refused), ..TrailFilter::default() };
        let window = Window { after: None, limit: Window::MAX_LIMIT };
        self.directory.trail(&Actor::control(0), &filter, &window).await.unwrap().items.len()
    }

    fn actor(&self, asker: &Asker) -> Actor {
        let actor = match asker.name.as_str() {
            "control" => Actor::control(0),
            "unknown" => Actor::bearer(prefixes().parse(b"kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf").unwrap()),
            name => match self.sessions.get(name) {
                Some(cookie) => Actor::session(cookie.clone()),
                None => Actor::bearer(self.tokens[name].1.clone()),
            },
        };
        actor.from_address(asker.address.parse().ok())
    }

    async fn mint(&mut self, actor: &Actor, name: &str, owner: &str, ask: &Ask) -> Result<String, DirectoryError> {
        let mut new = NewToken::new(login(owner), fields::token_name(name).unwrap());
        new.scopes = ask.options("scopes").into_iter().map(|scope| Scope::parse(scope).unwrap()).collect();
        new.networks = ask.options("nets").into_iter().map(|network| network.parse().unwrap()).collect();
        new.secure_only = ask.word("secure");
        new.system = ask.word("system");
        new.expires = ask.option("ends").map(|ends| Expiry::After(parse_duration(ends).unwrap()));
        new.ceiling = match ask.levels() {
            None => CeilingAsk::Owner,
            Some(levels) => match levels.get("*") {
                Some(level) => CeilingAsk::EverySite(Level::parse(level).unwrap()),
                None => {
                    CeilingAsk::PerSite(levels.iter().map(|(name, level)| (site(name), Level::parse(level).unwrap())).collect())
                }
            },
        };
        let (text, info) = self.directory.create_token(actor, new).await?;
        let presented = prefixes().parse(text.expose_secret().as_bytes()).unwrap();
        self.tokens.insert(name.to_owned(), (info.token.judged.id, presented));
        Ok("ok".to_owned())
    }

    async fn list(&self, actor: &Actor, what: &str) -> Result<String, DirectoryError> {
        // Three at a time, so that every list is read in several parts.
        let mut window = Window { after: None, limit: 3 };
        let mut items = Vec::new();
        loop {
            let (part, next): (Vec<String>, _) = match what {
                "accounts" => {
                    let listing = self.directory.accounts(actor, &AccountFilter::default(), &window).await?;
                    (listing.items.into_iter().map(|account| account.login.to_string()).collect(), listing.next)
                }
                "sites" => {
                    let listing = self.directory.sites(actor, Direction::Ascending, &window).await?;
                    (listing.items.into_iter().map(|site| site.site.to_string()).collect(), listing.next)
                }
                "access" => {
                    let listing = self.directory.access(actor, &AccessFilter::default(), &window).await?;
                    (listing.items.into_iter().map(|row| format!("{}/{}", row.login, row.site)).collect(), listing.next)
                }
                "tokens" => {
                    let listing = self.directory.tokens(actor, &TokenFilter::default(), &window).await?;
                    (listing.items.into_iter().map(|info| info.token.name.as_str().to_owned()).collect(), listing.next)
                }
                "sessions" => {
                    let listing = self.directory.sessions(actor, None, &window).await?;
                    let name = |id: &SessionId| self.sessions.iter().find(|(_, cookie)| cookie.session == *id).unwrap().0.clone();
                    (listing.items.iter().map(|info| name(&info.session.id)).collect(), listing.next)
                }
                other => panic!("{other}"),
            };
            items.extend(part);
            window.after = next;
            if window.after.is_none() {
                items.sort();
                return Ok(if items.is_empty() { "-".to_owned() } else { items.join(",") });
            }
        }
    }

    async fn perform(&mut self, actor: &Actor, ask: &Ask) -> Result<String, DirectoryError> {
        let target = ask.target.as_str();
        let id = self.tokens.get(target).map(|(id, _)| id.clone());
        let patch = |patch| async { self.directory.update_account(actor, &login(target), patch, None).await.map(drop) };
        match ask.verb.as_str() {
            "site" | "site-create" => {
                let new = NewSite { site: site(target), name: None, hosts: Vec::new() };
                self.directory.create_site(actor, new).await.map(drop)
            }
            "site-rename" | "site-hosts" => {
                let mut patch = SitePatch::default();
                if ask.verb == "site-hosts" {
                    patch.hosts = Some(vec![Host::parse("new.example.com").unwrap()]);
                } else {
                    patch.name = FieldPatch::Set(fields::site_name("New").unwrap());
                }
                self.directory.update_site(actor, &site(target), patch, None).await.map(drop)
            }
            "site-delete" => self.directory.delete_site(actor, &site(target), None).await,
            "account" | "account-create" => {
                let kind = if ask.word("service") { AccountKind::Service } else { AccountKind::Human };
                let new = NewAccount {
                    superuser: ask.word("superuser"),
                    must_have_second_factor: ask.word("must"),
                    may_mint_tokens: target != "quiet",
                    password: (!ask.word("service")).then(|| Password::chosen(PASSWORD).unwrap()),
                    ..NewAccount::new(login(target), kind)
                };
                self.directory.create_account(actor, new).await.map(drop)
            }
            "account-show" => self.directory.account(actor, &login(target)).await.map(drop),
            "account-rename" => {
                patch(AccountPatch { name: FieldPatch::Set(fields::account_name("New").unwrap()), ..AccountPatch::default() }).await
            }
            "disable" => patch(AccountPatch { disabled: Some(true), ..AccountPatch::default() }).await,
            "promote" => patch(AccountPatch { superuser: Some(true), ..AccountPatch::default() }).await,
            "require-factor" => patch(AccountPatch { must_have_second_factor: Some(true), ..AccountPatch::default() }).await,
            "release-factor" => patch(AccountPatch { must_have_second_factor: Some(false), ..AccountPatch::default() }).await,
            "reset-factors" => self.directory.reset_factors(actor, &login(target)).await.map(drop),
            "begin-factor" => self.directory.begin_totp(actor).await.map(drop),
            "factors" => self.directory.factors(actor).await.map(drop),
            "delete-account" => self.directory.delete_account(actor, &login(target), None).await,
            "revoke-all" => self.directory.revoke_all(actor, &login(target), false, None).await.map(drop),
            "access" => {
                let words = ask.words();
                self.directory.set_access(actor, &login(target), &site(words[0]), Level::parse(words[1]).unwrap()).await.map(drop)
            }
            "give" => {
                let (row, level) = target.split_once('=').unwrap();
                let (account, on) = row.split_once('/').unwrap();
                self.directory.set_access(actor, &login(account), &site(on), Level::parse(level).unwrap()).await.map(drop)
            }
            "token" => return self.mint(actor, target, ask.words()[0], ask).await,
            "mint" => return self.mint(actor, "minted", target, ask).await,
            "show" => self.directory.token(actor, &id.unwrap()).await.map(drop),
            "rename" => {
                let patch = TokenPatch { name: Some(fields::token_name("new").unwrap()), device: FieldPatch::Keep };
                self.directory.update_token(actor, &id.unwrap(), patch, None).await.map(drop)
            }
            "revoke" => self.directory.revoke_token(actor, &id.unwrap(), false, None, None).await.map(drop),
            "rotate" => {
                let (_, info) = self.directory.rotate_token(actor, &id.unwrap(), Duration::ZERO).await?;
                // So that it is told apart from its predecessor.
                let patch = TokenPatch { name: Some(fields::token_name("successor").unwrap()), device: FieldPatch::Keep };
                self.directory.update_token(&Actor::control(0), &info.token.id, patch, None).await.map(drop)
            }
            "session" => {
                let (login, password) = (ask.words()[0].to_owned(), Password::chosen(PASSWORD).unwrap());
                let sign_in = SignIn { login, password, remember: false, browser: None };
                let cookie = self.directory.sign_in(None, None, sign_in).await?.secret;
                self.sessions.insert(target.to_owned(), cookie);
                Ok(())
            }
            "wait" => {
                let millis = i64::try_from(parse_duration(target).unwrap().as_millis()).unwrap();
                self.clock.0.fetch_add(millis, Ordering::Relaxed);
                Ok(())
            }
            "end" => self.directory.end_session(actor, &self.sessions[target].session).await,
            "list" => return self.list(actor, target).await,
            "audit" => self.directory.trail(actor, &TrailFilter::default(), &Window::default()).await.map(drop),
            "blocked" => self.directory.blocked(actor, &Window::default()).await.map(drop),
            "lift" => self.directory.lift_blocks(actor, target).await,
            other => panic!("{other}"),
        }?;
        Ok("ok".to_owned())
    }
}

impl Way for UseCases {
    async fn ask(&mut self, asker: &Asker, ask: &Ask) -> String {
        if asker.name == "nobody" {
            return "no_credential".to_owned();
        }
        self.clock.0.fetch_add(1, Ordering::Relaxed);
        let actor = self.actor(asker);
        self.perform(&actor, ask).await.unwrap_or_else(|error| code(&error))
    }
}
