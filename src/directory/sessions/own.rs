//! What somebody does in his session about himself: he gives his password again, or takes another one.

use super::{
    super::{Actor, Directory, DirectoryError, Edit, Plan, factors::tell_recovery, rng, standing::Standing, until_settled},
    SessionCookie, SignInError,
};
use crate::{
    domain::{
        account::Account,
        decision::Reason,
        event::Action,
        factor::{Factors, PresentedCode, Proof},
        password::{Password, PasswordHash},
        session::{Session, SessionSecret, Stage},
    },
    store::{Index, Key, Trouble},
};

impl Directory {
    /// The password was given again, and a code where the account has a second factor: for a while, what mints, reveals or
    /// grants may be done. The session goes on under a new secret, as with every change of rights; what it has at protected
    /// hosts stays.
    ///
    /// # Errors
    /// `Refused` when one of them is not good, or no code is given where one is needed.
    pub async fn confirm_password(
        &self,
        actor: &Actor,
        password: Password,
        code: Option<&PresentedCode>,
    ) -> Result<SessionCookie, DirectoryError> {
        let target = actor.cookie().map(|cookie| cookie.session.to_string()).unwrap_or_default();
        self.audited(actor, Action::SessionConfirm, &target, async {
            let (standing, account, _) = self.in_session(actor).await?;
            let code = if account.second_factor { Some(code.ok_or_else(code_required)?) } else { None };
            self.prove_again(actor, &account, password).await?;
            let mut event = standing.event(Action::SessionConfirm, &*target);
            event.after = Some([("account".to_owned(), account.login.as_str().into())].into_iter().collect());
            if let Some(code) = code {
                let proof = self.counted(actor, &account, code, self.use_code(actor, code)).await?;
                event.after.get_or_insert_default().insert("second_factor".to_owned(), proof.as_str().into());
            }
            // Before the deed: once the old secret is no good, its owner must get the new one.
            self.tell(&event).await?;
            self.confirm(actor).await
        })
        .await
    }

    /// Uses up a code of who asks. What it is.
    async fn use_code(&self, actor: &Actor, code: &PresentedCode) -> Result<Proof, DirectoryError> {
        until_settled!(self, {
            let (standing, account, _) = self.in_session(actor).await?;
            let factors: Option<Factors> = self.get(Key::Factors(account.id.clone())).await?;
            let mut edit = standing.edit();
            let (_, proof) = self.accept(&mut edit, factors.as_ref(), code)?;
            tell_recovery(&mut edit, &standing, &account, &proof);
            Plan::Commit(edit, proof)
        })
    }

    async fn confirm(&self, actor: &Actor) -> Result<SessionCookie, DirectoryError> {
        until_settled!(self, {
            let (standing, account, old) = self.in_session(actor).await?;
            let secret = SessionSecret::generate(old.id.clone(), &mut rng());
            let digest = secret.secret.digest();
            let new = Session { secret: digest, confirmed_at: standing.now, version: old.version + 1, ..old.clone() };
            let mut edit = Edit::default();
            edit.must_hold();
            edit.expect_same(Key::Session(old.id.clone()), &old);
            edit.put_until(Key::Session(old.id), &new, new.kept_until(&self.session_rules))?;
            Plan::Commit(edit, self.cookie(secret, &new, &account))
        })
    }

    /// Takes another password. All sessions of the account end by that; for this browser a new one begins. Where there is a
    /// second factor, the password alone confirms nothing.
    pub async fn change_password(&self, actor: &Actor, current: Password, new: Password) -> Result<SessionCookie, DirectoryError> {
        let target = self.who(actor).await.account.unwrap_or_default();
        self.audited(actor, Action::AccountUpdate, &target, async {
            let (_, account, _) = self.in_session(actor).await?;
            new.is_not_a_name_of(&account.login, account.email.as_ref())?;
            self.prove_again(actor, &account, current).await?;
            let hash = self.hasher.hash(new).await?;
            let changed = self.set_own_password(actor, &hash).await?;
            self.go_on_in(changed).await
        })
        .await
    }

    /// Opens the session that takes the place of one that has ended by a change of its account.
    pub(in super::super) async fn go_on_in(&self, changed: Changed) -> Result<SessionCookie, DirectoryError> {
        let Changed { account, secret, begins, ended } = changed;
        // The account has changed already, whatever becomes of the rest.
        self.open(&begins).await.map_err(|error| error.with(Trouble::Open))?;
        if let Err(error) = self.end(&ended, None).await {
            tracing::warn!(%error, "the record of a session that has ended stays until its time has come");
        }
        Ok(self.cookie(secret, &begins, &account))
    }

    /// Makes all sessions of an account end by what the edit does to it, but for a new one in the place of this one. What is
    /// left is [`Self::go_on_in`].
    pub(in super::super) fn end_others(&self, edit: &mut Edit, new: &mut Account, session: Session, actor: &Actor) -> Changed {
        new.session_generation += 1;
        let (secret, begins) = self.new_session(new, session.remembered, session.browser.as_deref(), actor.address);
        let begins = Session { confirmed_at: session.confirmed_at, ..begins };
        edit.must_hold();
        edit.add_to(Index::Sessions, &Index::session(&new.id, &begins.id));
        edit.tell(self.sign_in_event(&begins, new, actor.address, actor.request_id.clone()));
        Changed { account: new.clone(), secret, begins, ended: session }
    }

    async fn set_own_password(&self, actor: &Actor, hash: &PasswordHash) -> Result<Changed, DirectoryError> {
        until_settled!(self, {
            // It is dead when the password has changed since it was proven.
            let (standing, old, session) = self.in_session(actor).await?;
            let mut new = Account { password: Some(hash.clone()), version: old.version + 1, ..old.clone() };
            let mut edit = standing.edit();
            let mut event = standing.event(Action::AccountUpdate, new.login.as_str());
            event.after = Some([("password".to_owned(), "changed".into())].into_iter().collect());
            edit.tell(event);
            let confirmed_at = if old.second_factor { session.confirmed_at } else { standing.now };
            let session = Session { confirmed_at, ..session };
            let changed = self.end_others(&mut edit, &mut new, session, actor);
            edit.put(Key::Account(new.id.clone()), &new)?;
            Plan::Commit(edit, changed)
        })
    }

    /// Ends the session in which he asks, everywhere.
    pub async fn leave(&self, actor: &Actor) -> Result<(), DirectoryError> {
        let cookie = actor.cookie().ok_or_else(session_required)?;
        let left = self.sign_out(cookie, actor.address, actor.request_id.clone()).await?;
        left.map(drop).ok_or(DirectoryError::Unauthenticated(Reason::SessionEnded))
    }

    /// Who asks, in his session.
    pub(in super::super) async fn in_session(&self, actor: &Actor) -> Result<(Standing, Account, Session), DirectoryError> {
        self.in_session_from(actor, Stage::Whole).await
    }

    /// The same for what may be done from this stage on.
    pub(in super::super) async fn in_session_from(
        &self,
        actor: &Actor,
        from: Stage,
    ) -> Result<(Standing, Account, Session), DirectoryError> {
        let standing = self.standing_from(actor, from).await?;
        match (&standing.session, standing.authority.bearer()) {
            (Some(session), Some(bearer)) => {
                let (session, account) = (Session::clone(session), bearer.account.clone());
                Ok((standing, account, session))
            }
            _ => Err(session_required()),
        }
    }

    async fn prove_again(&self, actor: &Actor, account: &Account, password: Password) -> Result<(), DirectoryError> {
        let proven = self.prove(actor.address, account.login.as_str(), Some(account), password).await?;
        if proven { Ok(()) } else { Err(SignInError::Refused.into()) }
    }
}

fn code_required() -> DirectoryError {
    let detail = "you have a second factor: give a code of it too, or a recovery code";
    DirectoryError::Refused { code: "code_required", field: Some("code"), detail: detail.to_owned() }
}

pub(in super::super) fn session_required() -> DirectoryError {
    DirectoryError::refused("session_required", "this is for who has signed in, with the cookie of a session")
}

/// One session in the place of another.
pub(in super::super) struct Changed {
    account: Account,
    secret: SessionSecret,
    begins: Session,
    ended: Session,
}

impl From<SignInError> for DirectoryError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Refused => Self::refused("wrong_password", "this is not your password"),
            SignInError::Blocked { until } => Self::Blocked { until },
            SignInError::Busy => Self::Busy,
            SignInError::Store(error) => Self::Store(error),
        }
    }
}
