//! Second factors: setting one up, taking one away, codes for recovery; and what superusers do for who has lost his.
//!
//! The account says whether it has any, so that no check reads more than it did; which ones, a record of their own says, and
//! both change in one commit. What a code is good for, the domain decides; how one is shown at the sign-in, lies with the
//! sessions.

use super::{
    Actor, Directory, DirectoryError, Edit, Plan, SessionCookie,
    accounts::refuse_built_in,
    rng,
    sessions::Changed,
    shown::{AccountView, FactorView},
    standing::Standing,
    until_settled,
};
use crate::{
    domain::{
        account::{Account, Format},
        authority::Denied,
        event::{Action, Event},
        factor::{Factor, FactorId, FactorKind, Factors, PresentedCode, Proof, RecoveryCode, TotpSecret},
        seal::Sealed,
        session::{Session, Stage},
        text::{Invalid, Label, Login},
    },
    store::Key,
};

/// What somebody has besides his password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorsInfo {
    pub factors: Vec<Factor>,
    /// How many recovery codes are left.
    pub recovery_codes: usize,
    /// Whether there must be one.
    pub required: bool,
}

/// An authenticator app to be set up: shown once, and nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpSetup {
    pub secret: TotpSecret,
    /// Brought back with the first code, in the same session.
    pub setup: Sealed,
    /// Whose it is.
    pub login: Login,
}

/// An authenticator app that has been set up.
#[derive(Clone, Debug)]
pub struct NewTotp {
    pub setup: Sealed,
    pub name: Label,
    /// Its first code.
    pub code: PresentedCode,
    /// Of a factor that there is already, or for recovery. Needed unless this is the first one.
    pub proof: Option<PresentedCode>,
}

/// What comes of that.
#[derive(Debug)]
pub struct TotpAdded {
    /// The session goes on in this one.
    pub session: SessionCookie,
    /// With the first factor.
    pub codes: Option<Vec<RecoveryCode>>,
}

impl Directory {
    /// What the one who asks has besides his password.
    pub async fn factors(&self, actor: &Actor) -> Result<FactorsInfo, DirectoryError> {
        let standing = self.standing_from(actor, Stage::SetsUp).await?;
        let Some(bearer) = standing.authority.bearer() else {
            return Ok(FactorsInfo { factors: Vec::new(), recovery_codes: 0, required: false });
        };
        let record: Option<Factors> = self.get(Key::Factors(bearer.account.id.clone())).await?;
        let required = self.session_rules.demand_second_factor(&bearer.account);
        let (factors, recovery) = record.map(|record| (record.factors, record.recovery.len())).unwrap_or_default();
        Ok(FactorsInfo { factors, recovery_codes: recovery, required })
    }

    /// Makes the secret of an authenticator app. It is good in this session, until the password is confirmed again.
    pub async fn begin_totp(&self, actor: &Actor) -> Result<TotpSetup, DirectoryError> {
        self.audited(actor, Action::FactorAdd, "", async {
            let (standing, account, session) = self.in_session_from(actor, Stage::SetsUp).await?;
            standing.require_confirmation()?;
            let secret = TotpSecret::generate(&mut rng());
            let setup = secret.seal_for_setup(&self.keys, &account.id, &session.secret, &mut rng());
            Ok(TotpSetup { secret, setup, login: account.login })
        })
        .await
    }

    /// The same secret again, for who has made a mistake with the first code.
    pub async fn resume_totp(&self, actor: &Actor, setup: Sealed) -> Result<TotpSetup, DirectoryError> {
        let (standing, account, session) = self.in_session_from(actor, Stage::SetsUp).await?;
        standing.require_confirmation()?;
        let secret = self.set_up(&account, &session, &setup)?;
        Ok(TotpSetup { secret, setup, login: account.login })
    }

    fn set_up(&self, account: &Account, session: &Session, setup: &Sealed) -> Result<TotpSecret, DirectoryError> {
        TotpSecret::open_for_setup(&self.keys, &account.id, &session.secret, setup).ok_or_else(|| {
            let detail = "this secret was not made in this session as it is now; begin again";
            DirectoryError::Refused { code: "setup_stale", field: Some("setup"), detail: detail.to_owned() }
        })
    }

    /// Adds an authenticator app that shows the right code. All other sessions of the account end: they were begun with less.
    /// With the first factor there are recovery codes, which are shown once.
    pub async fn add_totp(&self, actor: &Actor, new: &NewTotp) -> Result<TotpAdded, DirectoryError> {
        super::fields::without_tokens(&self.prefixes, [("name", Some(new.name.as_str()))])?;
        self.audited(actor, Action::FactorAdd, "", async {
            let (_, account, _) = self.in_session_from(actor, Stage::SetsUp).await?;
            let (changed, codes) =
                self.counted(actor, &account, new.proof.as_ref().unwrap_or(&new.code), self.write_totp(actor, new)).await?;
            let session = self.go_on_in(changed).await?;
            Ok(TotpAdded { session, codes })
        })
        .await
    }

    async fn write_totp(&self, actor: &Actor, new: &NewTotp) -> Result<(Changed, Option<Vec<RecoveryCode>>), DirectoryError> {
        until_settled!(self, {
            let (standing, old, session) = self.in_session_from(actor, Stage::SetsUp).await?;
            standing.require_confirmation()?;
            let secret = self.set_up(&old, &session, &new.setup)?;
            let PresentedCode::Totp(code) = &new.code else { return Err(first_code_wrong()) };
            let step = secret.step_of(code, standing.now).ok_or_else(first_code_wrong)?;
            let mut edit = standing.edit();
            let key = Key::Factors(old.id.clone());
            let known: Option<Factors> = self.get(key.clone()).await?;
            // None are left in a record of an account that has none.
            let (mut factors, first) = match &known {
                Some(known) if old.second_factor => {
                    let proof = new.proof.as_ref().ok_or_else(proof_required)?;
                    let (factors, proof) = self.accept(&mut edit, Some(known), proof)?;
                    tell_recovery(&mut edit, &standing, &old, &proof);
                    (factors, false)
                }
                known => {
                    edit.expect_as_read(key.clone(), known.as_ref());
                    let version = known.as_ref().map_or(1, |known| known.version + 1);
                    (Factors { v: Format, account: old.id.clone(), factors: Vec::new(), recovery: Vec::new(), version }, true)
                }
            };
            if factors.factors.len() >= Factors::MOST {
                let detail = format!("an account has at most {} factors; remove one first", Factors::MOST);
                return Err(DirectoryError::refused("too_many_factors", detail));
            }
            let id = FactorId::generate(&mut rng());
            let kind = FactorKind::Totp { secret: secret.seal(&self.keys, &old.id, &id, &mut rng()), step };
            let factor = Factor { id, name: new.name.clone(), created_at: standing.now, used_at: None, kind };
            let codes = first.then(|| factors.renew_recovery(&self.keys, &mut rng()));
            factors.factors.push(factor.clone());
            edit.put(key, &factors)?;
            edit.tell(about(standing.event(Action::FactorAdd, factor.id.as_str()), &old, None, Some(factor)));
            let mut account = Account { second_factor: true, version: old.version + 1, ..old };
            let changed = self.end_others(&mut edit, &mut account, session, actor);
            edit.put(Key::Account(account.id.clone()), &account)?;
            Plan::Commit(edit, (changed, codes))
        })
    }

    /// Takes a factor away, for who shows a code of one of his factors, or for recovery. All other sessions of the account end.
    /// With the last factor the recovery codes go.
    pub async fn remove_factor(&self, actor: &Actor, id: &FactorId, code: &PresentedCode) -> Result<SessionCookie, DirectoryError> {
        self.audited(actor, Action::FactorRemove, id.as_str(), async {
            let (_, account, _) = self.in_session(actor).await?;
            let changed = self.counted(actor, &account, code, self.write_removal(actor, id, code)).await?;
            self.go_on_in(changed).await
        })
        .await
    }

    async fn write_removal(&self, actor: &Actor, id: &FactorId, code: &PresentedCode) -> Result<Changed, DirectoryError> {
        until_settled!(self, {
            let (standing, old, session) = self.in_session(actor).await?;
            standing.require_confirmation()?;
            let known: Option<Factors> = self.get(Key::Factors(old.id.clone())).await?;
            let found = known.as_ref().and_then(|known| known.factors.iter().find(|factor| factor.id == *id)).cloned();
            let found = found.ok_or_else(|| DirectoryError::not_found("factor", id.as_str()))?;
            let is_last = known.as_ref().is_some_and(|known| known.factors.len() == 1);
            if is_last {
                Denied::may_let_last_factor_go(&old, &self.session_rules)?;
            }
            let mut edit = standing.edit();
            let (mut factors, proof) = self.accept(&mut edit, known.as_ref(), code)?;
            tell_recovery(&mut edit, &standing, &old, &proof);
            factors.factors.retain(|factor| factor.id != *id);
            let key = Key::Factors(old.id.clone());
            if is_last {
                edit.delete(key);
            } else {
                edit.put(key, &factors)?;
            }
            edit.tell(about(standing.event(Action::FactorRemove, id.as_str()), &old, Some(found), None));
            let mut account = Account { second_factor: !is_last, version: old.version + 1, ..old };
            let changed = self.end_others(&mut edit, &mut account, session, actor);
            edit.put(Key::Account(account.id.clone()), &account)?;
            Plan::Commit(edit, changed)
        })
    }

    /// Makes new recovery codes, for who shows a code. The old ones are good for nothing any more.
    pub async fn renew_recovery_codes(&self, actor: &Actor, code: &PresentedCode) -> Result<Vec<RecoveryCode>, DirectoryError> {
        let target = self.who(actor).await.account.unwrap_or_default();
        self.audited(actor, Action::FactorCodesRenewed, &target, async {
            let (_, account, _) = self.in_session(actor).await?;
            self.counted(actor, &account, code, self.write_recovery(actor, code)).await
        })
        .await
    }

    async fn write_recovery(&self, actor: &Actor, code: &PresentedCode) -> Result<Vec<RecoveryCode>, DirectoryError> {
        until_settled!(self, {
            let (standing, account, _) = self.in_session(actor).await?;
            standing.require_confirmation()?;
            let known: Option<Factors> = self.get(Key::Factors(account.id.clone())).await?;
            if known.is_none() {
                return Err(DirectoryError::refused("no_second_factor", "you have no second factor; set one up first"));
            }
            let mut edit = standing.edit();
            let (mut factors, _) = self.accept(&mut edit, known.as_ref(), code)?;
            let codes = factors.renew_recovery(&self.keys, &mut rng());
            edit.put(Key::Factors(account.id.clone()), &factors)?;
            edit.tell(standing.event(Action::FactorCodesRenewed, account.login.as_str()));
            Plan::Commit(edit, codes)
        })
    }

    /// Takes all factors of an account away, for who has lost his; for superusers. Its sessions end.
    ///
    /// # Errors
    /// `NotFound` when there is no such account, `Refused` when it has none.
    pub async fn reset_factors(&self, actor: &Actor, login: &Login) -> Result<Account, DirectoryError> {
        self.audited(actor, Action::FactorReset, login.as_str(), async {
            until_settled!(self, {
                let standing = self.superuser(actor).await?;
                standing.require_confirmation()?;
                let old = self.account_by_login(login).await?;
                refuse_built_in(&old)?;
                if standing.authority.is(&old.id) {
                    let detail = "nobody takes all factors away from himself: remove one by a code of it, or ask another superuser";
                    return Err(DirectoryError::refused("own_account", detail));
                }
                if !old.second_factor {
                    return Err(DirectoryError::refused("no_second_factor", format!("`{login}` has no second factor")));
                }
                let session_generation = old.session_generation + 1;
                let new = Account { second_factor: false, session_generation, version: old.version + 1, ..old.clone() };
                let mut edit = standing.edit();
                edit.must_hold();
                edit.expect_same(Key::Account(old.id.clone()), &old);
                edit.put(Key::Account(new.id.clone()), &new)?;
                edit.delete(Key::Factors(old.id.clone()));
                let event = standing.event(Action::FactorReset, old.login.as_str());
                edit.tell(event.changing(Some(&AccountView::from(old)), Some(&AccountView::from(new.clone()))));
                Plan::Commit(edit, new)
            })
        })
        .await
    }
}

/// That a recovery code was used, if one was.
pub(super) fn tell_recovery(edit: &mut Edit, standing: &Standing, owner: &Account, proof: &Proof) {
    if *proof == Proof::RecoveryCode {
        edit.tell(standing.event(Action::FactorRecoveryCodeUsed, owner.login.as_str()));
    }
}

/// With the factor that it is about, and whose that is.
fn about(event: Event, owner: &Account, before: Option<Factor>, after: Option<Factor>) -> Event {
    let shown = |factor: Factor| {
        let mut shown = serde_json::json!(FactorView::from(factor));
        shown["account"] = owner.login.as_str().into();
        shown
    };
    event.changing(before.map(shown).as_ref(), after.map(shown).as_ref())
}

/// Nobody guesses at his own secret.
fn first_code_wrong() -> DirectoryError {
    let detail = "this is not the code that the app shows for this secret; is the time of the device right?";
    Invalid::new("first_code_wrong", "code", detail).into()
}

fn proof_required() -> DirectoryError {
    let detail = "you have a second factor already: give a code of it too, or a recovery code";
    DirectoryError::Refused { code: "proof_required", field: Some("proof"), detail: detail.to_owned() }
}
