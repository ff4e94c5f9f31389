//! How a session comes to a protected host: by a code that the browser carries there, good once, for one host, for the
//! browser that asked, and not for long.

use std::time::Duration;

use super::super::{ATTEMPTS, Directory, DirectoryError, Edit, Plan, rng, until_settled};
use crate::{
    domain::{
        account::{Account, Format},
        decision::Reason,
        key::Digest,
        origin::{Origin, ReturnTo, Target},
        session::{CheckSession, Code, Secret, Session, SessionSecret, kept_until},
        text::Invalid,
    },
    store::{Key, Record, StoreError},
};

/// For so long a code that is over stays in the store, as the store's clock may be another. Anybody who has signed in can
/// have as many as he likes.
const KEPT: Duration = Duration::from_mins(1);

/// What became of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// The browser has a session here from now on. `max_age`: how long it is to keep the cookie; `None` until it is closed.
    Opened {
        cookie: SessionSecret,
        max_age: Option<Duration>,
        target: Target,
    },
    /// The code is no good, but the browser has a session here already: another tab was faster.
    AlreadyOpen {
        target: Target,
    },
    Refused(CodeFault),
}

/// Why a code is no good. For the log: who presents one is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFault {
    /// Nobody has made it, or somebody has presented it before.
    Unknown,
    OtherHost,
    Late,
    /// Without what the host has set in the browser that asked.
    OtherBrowser,
    SessionEnded,
    /// Something of the session has changed each time.
    Contended,
}

impl CodeFault {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown or used",
            Self::OtherHost => "for another host",
            Self::Late => "late",
            Self::OtherBrowser => "in another browser",
            Self::SessionEnded => "its session has ended",
            Self::Contended => "its session was being changed",
        }
    }
}

impl Directory {
    /// Makes a code by which the browser takes its session to a protected host. `nonce` is the digest of what that host has
    /// set in the browser.
    ///
    /// # Errors
    /// `Unauthenticated` when the session has ended.
    pub async fn hand_over(&self, cookie: &SessionSecret, to: &ReturnTo, nonce: Digest) -> Result<SessionSecret, DirectoryError> {
        if self.hosts.find(to.origin.host()) != Some(&to.origin) {
            return Err(Invalid::new("host_not_protected", "rd", "this host is not among `portal.hosts`").into());
        }
        let code = SessionSecret::generate(cookie.session.clone(), &mut rng());
        until_settled!(self, {
            let visitor = self.visitor(cookie).await?.ok_or(Reason::SessionEnded)?;
            let now = self.clock.now();
            let ends_at = now.checked_add(Code::LIFE).unwrap_or(now);
            let record = Code {
                v: Format,
                origin: to.origin.to_string(),
                nonce: nonce.clone(),
                target: to.target.as_str().to_owned(),
                ends_at,
                version: 1,
            };
            let mut edit = Edit::default();
            // No code outlives a sign-out.
            edit.expect_same(Key::Session(visitor.session.id.clone()), &visitor.session);
            let key = code_key(&code);
            edit.expect_absent(key.clone());
            edit.put_until(key, &record, ends_at.checked_add(KEPT).unwrap_or(ends_at))?;
            Plan::Commit(edit, code.clone())
        })
    }

    /// Takes a code at the protected host `at`. It is gone then, whatever comes of it: in the same commit in which the
    /// session begins here, which holds only while its parent is as it was read, so that no sign-out leaves a child alive.
    ///
    /// `nonce` is what the browser had from this host; `check` the session that it may have here already.
    pub async fn redeem(
        &self,
        code: &SessionSecret,
        at: &Origin,
        nonce: Option<&Secret>,
        check: Option<&SessionSecret>,
    ) -> Result<Redeemed, StoreError> {
        let key = code_key(code);
        for _ in 0..ATTEMPTS {
            let Found { code: record, session, child } = self.find(code, at).await?;
            let Some(record) = record else { return Ok(Redeemed::Refused(CodeFault::Unknown)) };
            // Whatever was written there, nobody is sent anywhere else.
            let target = Target::parse(&record.target).filter(|_| record.origin == at.to_string());
            let is_right = nonce.is_some_and(|nonce| nonce.digest() == record.nonce);
            let found = match (target.clone(), session) {
                (None, _) => Err(CodeFault::OtherHost),
                _ if self.clock.now() >= record.ends_at => Err(CodeFault::Late),
                _ if !is_right => Err(CodeFault::OtherBrowser),
                (_, None) => Err(CodeFault::SessionEnded),
                (Some(target), Some(session)) => {
                    self.living(session).await?.map(|session| (session, target)).ok_or(CodeFault::SessionEnded)
                }
            };
            let mut edit = Edit::default();
            edit.expect_same(key.clone(), &record);
            edit.delete(key.clone());
            let (session, target) = match found {
                Ok(found) => found,
                Err(fault) => {
                    if self.settle(Plan::Commit(edit, ())).await?.is_none() {
                        continue;
                    }
                    let open = match check {
                        Some(check) => self.is_open(check, at).await?,
                        None => false,
                    };
                    return Ok(match target.filter(|_| open) {
                        Some(target) => Redeemed::AlreadyOpen { target },
                        None => Redeemed::Refused(fault),
                    });
                }
            };
            let cookie = SessionSecret::generate(session.id.clone(), &mut rng());
            let new = CheckSession {
                v: Format,
                secret: cookie.secret.digest(),
                created_at: self.clock.now(),
                version: child.as_ref().map_or(1, |child| child.version + 1),
            };
            let child_key = Key::CheckSession(session.id.clone(), at.host().clone());
            edit.expect_same(Key::Session(session.id.clone()), &session);
            edit.expect_as_read(child_key.clone(), child.as_ref());
            edit.put_until(child_key, &new, kept_until(session.ends_at_latest(&self.session_rules)))?;
            if self.settle(Plan::Commit(edit, ())).await?.is_some() {
                return Ok(Redeemed::Opened { cookie, max_age: self.cookie_age(&session), target });
            }
        }
        // The code goes all the same.
        let mut edit = Edit::default();
        edit.delete(key);
        self.settle(Plan::Commit(edit, ())).await?;
        Ok(Redeemed::Refused(CodeFault::Contended))
    }

    /// What there is of the code's session, at that host.
    async fn find(&self, code: &SessionSecret, at: &Origin) -> Result<Found, StoreError> {
        let id = &code.session;
        let keys = [code_key(code), Key::Session(id.clone()), Key::CheckSession(id.clone(), at.host().clone())];
        let stored = self.store.read(&keys).await?;
        let [code, session, child] = [0, 1, 2].map(|index| stored.get(index).and_then(Option::as_ref));
        Ok(Found {
            code: code.map(|stored| Code::decode(&keys[0], stored)).transpose()?,
            session: session.map(|stored| Session::decode(&keys[1], stored)).transpose()?,
            child: child.map(|stored| CheckSession::decode(&keys[2], stored)).transpose()?,
        })
    }

    /// The session, if it is alive.
    async fn living(&self, session: Session) -> Result<Option<Session>, StoreError> {
        let account: Option<Account> = self.get(Key::Account(session.account.clone())).await?;
        let now = self.clock.now();
        let alive = account.is_some_and(|account| session.alive(&account, &self.session_rules, now).is_ok());
        Ok(Some(session).filter(|_| alive))
    }

    /// Whether the cookie is that of a living session at the host.
    async fn is_open(&self, check: &SessionSecret, at: &Origin) -> Result<bool, StoreError> {
        let Found { session, child, .. } = self.find(check, at).await?;
        let Some(session) = session.filter(|_| child.is_some_and(|child| check.verifies(&child.secret))) else {
            return Ok(false);
        };
        Ok(self.living(session).await?.is_some())
    }
}

struct Found {
    code: Option<Code>,
    session: Option<Session>,
    child: Option<CheckSession>,
}

fn code_key(code: &SessionSecret) -> Key {
    Key::Code(code.session.clone(), code.secret.digest().to_hex().into())
}
