//! The second half of signing in: a code makes whole what the password has begun. Until then the session is good for nothing
//! else; afterwards it goes on under another secret, so that whoever has planted the first one has nothing.

use super::{
    super::{Actor, Directory, DirectoryError, Edit, Plan, rng, until_settled},
    SessionCookie, SignInError, session_required,
};
use crate::{
    domain::{
        account::Account,
        decision::Reason,
        event::{Action, Event},
        factor::{Factors, PresentedCode, Proof},
        session::{Session, SessionSecret, Stage},
    },
    store::Key,
};

impl Directory {
    /// Takes the code of somebody whose password was right: of one of his factors, or for recovery.
    ///
    /// # Errors
    /// `Unauthenticated` where none is awaited, `Refused` when it is not good.
    pub async fn show_code(&self, actor: &Actor, code: &PresentedCode) -> Result<SessionCookie, DirectoryError> {
        let target = actor.cookie().map(|cookie| cookie.session.to_string()).unwrap_or_default();
        self.audited(actor, Action::SessionSignIn, &target, async {
            let (account, _) = self.awaiting(actor).await?;
            self.counted(actor, &account, code, async {
                self.accept_at_sign_in(actor, code).await?;
                self.make_whole(actor).await
            })
            .await
        })
        .await
    }

    /// The code is used by this, and the trail says that somebody has signed in.
    async fn accept_at_sign_in(&self, actor: &Actor, code: &PresentedCode) -> Result<(), DirectoryError> {
        until_settled!(self, {
            let (account, session) = self.awaiting(actor).await?;
            let factors: Option<Factors> = self.get(Key::Factors(account.id.clone())).await?;
            let mut edit = Edit::default();
            // Nobody comes in by a factor that is just being taken away.
            edit.expect_same(Key::Account(account.id.clone()), &account);
            let (_, proof) = self.accept(&mut edit, factors.as_ref(), code)?;
            let mut event = self.sign_in_event(&session, &account, actor.address, actor.request_id.clone());
            event.after.get_or_insert_default().insert("second_factor".to_owned(), proof.as_str().into());
            edit.tell(event.clone());
            if proof == Proof::RecoveryCode {
                edit.tell(Event {
                    after: None,
                    ..Event::done(Action::FactorRecoveryCodeUsed, account.login.as_str(), event.at, event.actor)
                });
            }
            Plan::Commit(edit, ())
        })
    }

    async fn make_whole(&self, actor: &Actor) -> Result<SessionCookie, DirectoryError> {
        until_settled!(self, {
            let (account, old) = self.awaiting(actor).await?;
            let secret = SessionSecret::generate(old.id.clone(), &mut rng());
            let new = Session {
                secret: secret.secret.digest(),
                awaits_code: false,
                seen_at: self.clock.now(),
                version: old.version + 1,
                ..old.clone()
            };
            let mut edit = Edit::default();
            edit.must_hold();
            edit.expect_same(Key::Session(old.id.clone()), &old);
            edit.put_until(Key::Session(old.id), &new, new.kept_until(&self.session_rules))?;
            Plan::Commit(edit, self.cookie(secret, &new, &account))
        })
    }

    /// Whose code is awaited in this session.
    async fn awaiting(&self, actor: &Actor) -> Result<(Account, Session), DirectoryError> {
        let cookie = actor.cookie().ok_or_else(session_required)?;
        let newcomer = self.newcomer(cookie).await?.filter(|newcomer| newcomer.stage == Stage::AwaitsCode);
        newcomer.map(|newcomer| (newcomer.account, newcomer.session)).ok_or(Reason::SessionEnded.into())
    }

    /// Adds to the edit that this code is used, and by it all that was shown. What the record becomes, and what the code is.
    pub(in super::super) fn accept(
        &self,
        edit: &mut Edit,
        factors: Option<&Factors>,
        code: &PresentedCode,
    ) -> Result<(Factors, Proof), DirectoryError> {
        let accepted =
            factors.and_then(|factors| factors.accept(code, &self.keys, self.clock.now(), &mut rng()).map(|new| (factors, new)));
        let (factors, (new, proof)) = accepted.ok_or_else(wrong_code)?;
        let key = Key::Factors(new.account.clone());
        // Of two who show the same code, one is too late. And none comes back by a failover.
        edit.must_hold();
        edit.expect_same(key.clone(), factors);
        edit.put(key, &new)?;
        Ok((new, proof))
    }

    /// Carries out what needs a code of the account. A wrong one counts against guessing.
    pub(in super::super) async fn counted<T>(
        &self,
        actor: &Actor,
        account: &Account,
        code: &PresentedCode,
        case: impl Future<Output = Result<T, DirectoryError>> + Send,
    ) -> Result<T, DirectoryError> {
        let attempt = self.guessing.attempt_code(actor.address, &account.login, code).await.map_err(SignInError::from)?;
        let done = case.await;
        if matches!(done, Err(DirectoryError::Refused { code: WRONG_CODE, .. })) {
            attempt.failed();
        }
        done
    }
}

const WRONG_CODE: &str = "wrong_code";

fn wrong_code() -> DirectoryError {
    DirectoryError::refused(WRONG_CODE, "this code is not, or not any more, one of yours; give the one that is shown now")
}
