//! Sessions: signing in, who a browser is then, and signing out. How a session comes to a protected host is below.
//!
//! The records of one session lie together and change together; its place in the list and what the trail says of it lie
//! elsewhere. So it enters the list before it is, and leaves it after it has been: a line too many is swept out one day, and
//! a session that no list shows is not.

mod hand_over;
mod list;
mod own;
mod second_factor;

use std::{net::IpAddr, time::Duration};

pub use hand_over::{CodeFault, Redeemed};
pub use list::SessionInfo;
pub(super) use list::session_id;
pub(super) use own::{Changed, session_required};

use super::{Directory, Edit, Plan, confirm, edit, fields, rng, trail};
use crate::{
    domain::{
        access::Level,
        account::{Account, AccountKind, Format},
        decision::Reason,
        event::{Action, By, Event, Outcome},
        guessing::Subject,
        id::AccountId,
        password::Password,
        session::{CheckSession, Session, SessionId, SessionSecret, Stage},
        site::Host,
        text::{Email, fold, printable},
        time::Timestamp,
    },
    gate::guessing::Refusal,
    gate::hasher::Busy,
    store::{Index, Key, Record, StoreError, Trail, record::NameClaim},
};

/// What is kept of a login that nobody has.
const MAX_NAME: usize = 100;

/// A browser that wants to sign in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// A login or an e-mail address, as it was typed.
    pub login: String,
    pub password: Password,
    /// For long, and also when nothing is seen of it for a while.
    pub remember: bool,
    /// What browser it is, in a few words for people.
    pub browser: Option<String>,
}

/// Why nobody was signed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// There is no such login, the password is wrong, or the account is disabled: which of them, nobody is told.
    #[error("login or password is wrong")]
    Refused,
    /// Too many have failed; `None`: until somebody changes that.
    #[error("too many attempts have failed; try again later")]
    Blocked { until: Option<Timestamp> },
    #[error("too many passwords are being verified; try again in a moment")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who a browser is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// It is alive.
    pub session: Session,
    pub account: Account,
    pub stage: Stage,
    /// As far as his record says; a site of them may be gone.
    pub administers_sites: bool,
}

/// What a browser keeps of a portal session that has begun, or goes on under another secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    pub secret: SessionSecret,
    /// For how long; `None`: until it is closed.
    pub max_age: Option<Duration>,
    /// What is still to be done before the session is good for anything else.
    pub stage: Stage,
}

impl Directory {
    /// Begins a session. Everything that is refused is refused alike: by answer, by time, and by round trips to the store.
    ///
    /// # Errors
    /// When nobody is signed in.
    pub async fn sign_in(
        &self,
        from: Option<IpAddr>,
        request_id: Option<String>,
        ask: SignIn,
    ) -> Result<SessionCookie, SignInError> {
        let account = self.account_behind(&ask.login).await?;
        let proven = self.prove(from, &ask.login, account.as_ref(), ask.password.clone()).await?;
        let Some(account) = account.as_ref().filter(|_| proven) else {
            self.tell_refused_sign_in(&ask.login, account.as_ref(), from, request_id).await;
            return Err(SignInError::Refused);
        };
        self.renew_hash(account, ask.password).await;
        let (secret, mut session) = self.new_session(account, ask.remember, ask.browser.as_deref(), from);
        session.awaits_code = account.second_factor;
        let mut edit = Edit::default();
        edit.add_to(Index::Sessions, &Index::session(&account.id, &session.id));
        edit.tell(if session.awaits_code {
            self.event_of(Action::SessionPassword, &session, account, from, request_id)
        } else {
            self.sign_in_event(&session, account, from, request_id)
        });
        self.settle(Plan::Commit(edit, ())).await?;
        self.open(&session).await?;
        Ok(self.cookie(secret, &session, account))
    }

    pub(super) fn sign_in_event(
        &self,
        session: &Session,
        account: &Account,
        from: Option<IpAddr>,
        request_id: Option<String>,
    ) -> Event {
        let mut event = self.event_of(Action::SessionSignIn, session, account, from, request_id);
        let browser = session.browser.clone().map(|browser| ("browser".to_owned(), browser.into()));
        let remembered = ("remembered".to_owned(), session.remembered.into());
        event.after.get_or_insert_default().extend(browser.into_iter().chain([remembered]));
        event
    }

    /// Whether the password is the account's, which may be used. The one place where somebody could guess.
    pub(super) async fn prove(
        &self,
        from: Option<IpAddr>,
        login: &str,
        account: Option<&Account>,
        password: Password,
    ) -> Result<bool, SignInError> {
        let attempt = self.guessing.attempt(from, login).await?;
        let matches = self.passwords.verify(account, password).await?;
        let proven = matches && account.is_some_and(|account| account.kind == AccountKind::Human && !account.disabled);
        if !proven {
            attempt.failed();
        }
        Ok(proven)
    }

    /// The account that somebody means by what he typed. For a name that nobody has the same is read: `anonymous`, who has
    /// no password.
    async fn account_behind(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let could_be = name.len() as u64 <= 4 * Email::MAX_CHARS;
        let folded = if could_be { fold(name) } else { String::new() };
        let claim: Option<NameClaim> = self.get(Key::Name(folded)).await?;
        self.get(Key::Account(claim.map_or_else(AccountId::anonymous, |claim| claim.account))).await
    }

    /// Hashes the password anew where hashes have become dearer since. It is the same password, so nothing ends by that;
    /// and when it fails, it is done the next time.
    async fn renew_hash(&self, account: &Account, password: Password) {
        if !account.password.as_ref().is_some_and(|hash| self.hasher.is_outdated(hash)) {
            return;
        }
        let renew = async {
            let password = Some(self.hasher.hash(password).await?);
            let new = Account { password, version: account.version + 1, ..account.clone() };
            let mut edit = Edit::default();
            edit.expect_same(Key::Account(account.id.clone()), account);
            edit.put(Key::Account(account.id.clone()), &new)?;
            self.settle(Plan::Commit(edit, ())).await?;
            Ok::<_, SignInError>(())
        };
        if let Err(error) = renew.await {
            tracing::warn!(%error, login = %account.login, "a password keeps its cheaper hash until the next sign-in");
        }
    }

    /// A session that begins now, and its secret. Nothing is written.
    pub(super) fn new_session(
        &self,
        account: &Account,
        remembered: bool,
        browser: Option<&str>,
        address: Option<IpAddr>,
    ) -> (SessionSecret, Session) {
        let secret = SessionSecret::generate(SessionId::generate(&mut rng()), &mut rng());
        let now = self.clock.now();
        let session = Session {
            v: Format,
            id: secret.session.clone(),
            account: account.id.clone(),
            secret: secret.secret.digest(),
            generation: account.generation,
            session_generation: account.session_generation,
            created_at: now,
            seen_at: now,
            address,
            browser: browser.and_then(|browser| self.shown(browser, Session::MAX_BROWSER)),
            remembered,
            confirmed_at: now,
            awaits_code: false,
            version: 1,
        };
        (secret, session)
    }

    /// Writes the record of a session that the list has already. It copies what may have changed since the account was read:
    /// then it is dead from the beginning.
    pub(super) async fn open(&self, session: &Session) -> Result<(), StoreError> {
        let mut edit = Edit::default();
        let key = Key::Session(session.id.clone());
        edit.expect_absent(key.clone());
        edit.put_until(key, session, session.kept_until(&self.session_rules))?;
        self.settle(Plan::Commit(edit, ())).await?;
        // The upkeep may have found it in the list when it was not there yet.
        let mut edit = Edit::default();
        edit.add_to(Index::Sessions, &Index::session(&session.account, &session.id));
        if let Err(error) = self.settle(Plan::Commit(edit, ())).await {
            tracing::debug!(%error, session = %session.id, "a session was not entered into the list again");
        }
        Ok(())
    }

    /// Who a browser is, by its cookie; `None` when that names no living session. Notes that it was seen.
    pub async fn visitor(&self, cookie: &SessionSecret) -> Result<Option<Visitor>, StoreError> {
        Ok(self.newcomer(cookie).await?.filter(|visitor| visitor.stage == Stage::Whole))
    }

    /// The same of whoever is still on his way in.
    pub async fn newcomer(&self, cookie: &SessionSecret) -> Result<Option<Visitor>, StoreError> {
        self.vouched(Some(&cookie.session), || Box::pin(self.behind(cookie))).await
    }

    async fn behind(&self, cookie: &SessionSecret) -> Result<Option<Visitor>, StoreError> {
        let Some(session) = self.session_of(cookie).await? else { return Ok(None) };
        let Some((account, access)) = self.account_with_access(&session.account).await? else { return Ok(None) };
        let now = self.clock.now();
        let Ok(stage) = session.stage(&account, &self.session_rules, now) else { return Ok(None) };
        let session = if stage == Stage::AwaitsCode { session } else { self.seen(session, None, now).await };
        let administers_sites = access.is_some_and(|access| access.highest() >= Level::Admin);
        Ok(Some(Visitor { session, account, stage, administers_sites }))
    }

    /// The session whose secret this is, dead or alive.
    pub(super) async fn session_of(&self, cookie: &SessionSecret) -> Result<Option<Session>, StoreError> {
        let session: Option<Session> = self.get(Key::Session(cookie.session.clone())).await?;
        Ok(session.filter(|session| cookie.verifies(&session.secret)))
    }

    /// Writes down that something was seen of a living session, if that is due. The session as it is then; one that has
    /// changed meanwhile stays as it has become.
    pub(super) async fn seen(&self, session: Session, from: Option<IpAddr>, now: Timestamp) -> Session {
        if !session.is_to_be_written(&self.session_rules, now) {
            return session;
        }
        let address = from.or(session.address);
        let seen = Session { seen_at: now, address, version: session.version + 1, ..session.clone() };
        match self.replace(&session, &seen).await {
            Ok(true) => seen,
            Ok(false) => session,
            Err(error) => {
                tracing::debug!(%error, session = %session.id, "it could not be noted that a session was seen");
                session
            }
        }
    }

    /// Writes a session anew, unless it has changed or ended. Whether it did.
    pub(super) async fn replace(&self, old: &Session, new: &Session) -> Result<bool, StoreError> {
        let mut edit = Edit::default();
        let key = Key::Session(old.id.clone());
        edit.expect_same(key.clone(), old);
        edit.put_until(key, new, new.kept_until(&self.session_rules))?;
        Ok(self.settle(Plan::Commit(edit, ())).await?.is_some())
    }

    pub(super) fn cookie(&self, secret: SessionSecret, session: &Session, account: &Account) -> SessionCookie {
        let stage = session.stage(account, &self.session_rules, self.clock.now()).unwrap_or(Stage::Whole);
        SessionCookie { secret, max_age: self.cookie_age(session), stage }
    }

    /// How long a browser is to keep the cookie of the session; `None`: until it is closed.
    fn cookie_age(&self, session: &Session) -> Option<Duration> {
        session.remembered.then(|| session.left(&self.session_rules, self.clock.now()))
    }

    /// Ends the session of a portal's cookie, everywhere. Which one; `None` when the cookie names none any more.
    pub async fn sign_out(
        &self,
        cookie: &SessionSecret,
        from: Option<IpAddr>,
        request_id: Option<String>,
    ) -> Result<Option<SessionId>, StoreError> {
        let Some(session) = self.session_of(cookie).await? else { return Ok(None) };
        confirm::reported(self.end_signed_out(session, from, request_id)).await.map(Some)
    }

    /// The same by the cookie of a protected host.
    pub async fn sign_out_at(
        &self,
        check: &SessionSecret,
        host: &Host,
        from: Option<IpAddr>,
        request_id: Option<String>,
    ) -> Result<Option<SessionId>, StoreError> {
        let keys = [Key::CheckSession(check.session.clone(), host.clone()), Key::Session(check.session.clone())];
        let stored = self.store.read(&keys).await?;
        let [child, session] = [0, 1].map(|index| stored.get(index).and_then(Option::as_ref));
        let child = child.map(|stored| CheckSession::decode(&keys[0], stored)).transpose()?;
        if !child.is_some_and(|child| check.verifies(&child.secret)) {
            return Ok(None);
        }
        let Some(session) = session.map(|stored| Session::decode(&keys[1], stored)).transpose()? else { return Ok(None) };
        confirm::reported(self.end_signed_out(session, from, request_id)).await.map(Some)
    }

    async fn end_signed_out(
        &self,
        session: Session,
        from: Option<IpAddr>,
        request_id: Option<String>,
    ) -> Result<SessionId, StoreError> {
        let account: Option<Account> = self.get(Key::Account(session.account.clone())).await?;
        let event = account.map(|account| self.event_of(Action::SessionSignOut, &session, &account, from, request_id));
        self.end(&session, event).await?;
        Ok(session.id)
    }

    /// Ends a session: first its records, then its place in the list, with what the trail says.
    pub(super) async fn end(&self, session: &Session, event: Option<Event>) -> Result<(), StoreError> {
        let mut edit = Edit::default();
        edit.takes_away();
        self.drop_session(&mut edit, &session.id);
        self.settle(Plan::Commit(edit, ())).await?;
        let mut edit = Edit::default();
        edit.takes_away();
        edit.remove_from(Index::Sessions, &Index::session(&session.account, &session.id));
        if let Some(event) = event {
            edit.tell(event);
        }
        self.settle(Plan::Commit(edit, ())).await.map(drop)
    }

    /// Deletes all that is kept of a session, but for codes, which are no good without it.
    pub(super) fn drop_session(&self, edit: &mut Edit, id: &SessionId) {
        edit.delete(Key::Session(id.clone()));
        for origin in self.hosts.iter() {
            edit.delete(Key::CheckSession(id.clone(), origin.host().clone()));
        }
    }

    /// What the account has done with its session, or to it.
    pub(super) fn event_of(
        &self,
        action: Action,
        session: &Session,
        account: &Account,
        from: Option<IpAddr>,
        request_id: Option<String>,
    ) -> Event {
        let login = account.login.to_string();
        let by = By { account: Some(login.clone()), credential: Some(session.id.to_string()), address: from };
        let mut event = Event { request_id, ..Event::done(action, session.id.as_str(), self.clock.now(), by) };
        event.after = Some([("account".to_owned(), login.into())].into_iter().collect());
        event
    }

    /// Who may look at the trail may know why; nobody else does.
    async fn tell_refused_sign_in(&self, typed: &str, account: Option<&Account>, from: Option<IpAddr>, request_id: Option<String>) {
        let account = account.filter(|account| account.kind == AccountKind::Human);
        let reason = match account {
            None => Reason::Unknown,
            Some(account) if account.disabled => Reason::AccountDisabled,
            Some(_) => Reason::Mismatch,
        };
        // What can be nobody's login may be somebody's password.
        let typed = || Subject::login(typed).and_then(|_| self.shown(typed, MAX_NAME)).unwrap_or_default();
        let name = account.map_or_else(typed, |account| account.login.to_string());
        let by = By { address: from, ..By::default() };
        let mut event = Event::done(Action::SessionSignIn, name, self.clock.now(), by);
        "account".clone_into(&mut event.target.kind);
        let event = Event { outcome: Outcome::Refused, reason: Some(reason.code().to_owned()), request_id, ..event };
        trail::log(&event);
        let noted = match edit::entry(&event) {
            Ok(entry) => self.store.append(Trail::Refused, entry, self.trail_rules.refused_entries).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "a refused sign-in could not be recorded");
        }
    }

    /// A text from outside as it may be written down: cut, printable, and none that holds a secret.
    #[must_use]
    pub fn shown(&self, text: &str, most: usize) -> Option<String> {
        let is_secret = |word: &str| SessionSecret::parse(word.as_bytes()).is_some();
        let holds_secret = fields::without_tokens(&self.prefixes, [("", Some(text))]).is_err()
            || text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').any(is_secret);
        let text: String = printable(text.trim()).chars().take(most).collect();
        (!holds_secret && !text.is_empty()).then_some(text)
    }
}

impl From<Refusal> for SignInError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Blocked { until } => Self::Blocked { until },
            Refusal::Busy => Self::Busy,
            Refusal::Store(error) => Self::Store(error),
        }
    }
}

impl From<Busy> for SignInError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}
