//! Sessions as they are listed, and ended from elsewhere: by who has them, and by superusers.

use super::super::{Actor, Directory, DirectoryError, Listing, Window, shown::SessionView, standing::Standing};
use crate::{
    domain::{
        account::Account,
        decision::Reason,
        event::Action,
        id::AccountId,
        session::{Session, SessionId},
        text::Login,
        time::Timestamp,
    },
    store::{Index, Key, StoreError},
};

/// A living session, or one that waits for the code of a second factor, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    pub session: Session,
    pub login: Login,
    /// If nothing more is seen of it.
    pub expires_at: Timestamp,
    /// It is the one in which this is asked.
    pub current: bool,
}

impl Directory {
    /// The living sessions of an account, and those that wait for a code; for superusers, of all unless one is named. The limit
    /// is for those that are looked at, so a part may hold fewer.
    pub async fn sessions(
        &self,
        actor: &Actor,
        of: Option<&Login>,
        window: &Window,
    ) -> Result<Listing<SessionInfo>, DirectoryError> {
        let standing = self.standing(actor).await?;
        let own = standing.authority.bearer().map(|bearer| bearer.account.id.clone());
        let of = match of {
            Some(login) => Some(self.seen_account(&standing, login).await?.id),
            None if standing.authority.is_superuser() => None,
            None => own,
        };
        let (members, next) = match &of {
            Some(account) => self.session_members(account, window).await?,
            None => self.members(&Index::Sessions, window).await?,
        };
        let keys = members.iter().filter_map(|member| session_id(member)).map(Key::Session).collect();
        let sessions: Vec<_> = self.readable::<Session>(keys).await?.into_iter().filter_map(Result::ok).flatten().collect();
        let accounts = self.accounts_by_id(sessions.iter().map(|session| session.account.clone())).await?;
        let info = |session: Session| {
            let account = accounts.get(&session.account)?;
            session.stage(account, &self.session_rules, standing.now).ok()?;
            Some(self.session_info(session, account, &standing))
        };
        Ok(Listing { items: sessions.into_iter().filter_map(info).collect(), next })
    }

    /// A part of the list that is of one account. A cursor may be anybody's, so only its place within this account counts.
    async fn session_members(&self, account: &AccountId, window: &Window) -> Result<(Vec<String>, Option<String>), StoreError> {
        let first = format!("{account} ");
        let after = window.after.clone().filter(|after| after.starts_with(&first)).unwrap_or_else(|| first.clone());
        let (mut members, next) = self.members(&Index::Sessions, &Window { after: Some(after), ..window.clone() }).await?;
        let of_others = members.iter().position(|member| !member.starts_with(&first));
        members.truncate(of_others.unwrap_or(members.len()));
        Ok((members, next.filter(|_| of_others.is_none())))
    }

    pub(in super::super) fn session_info(&self, session: Session, account: &Account, standing: &Standing) -> SessionInfo {
        let current = standing.session.as_ref().is_some_and(|own| own.id == session.id);
        let expires_at = session.ends_at(&self.session_rules);
        SessionInfo { session, login: account.login.clone(), expires_at, current }
    }

    /// Ends a session, with what it has at protected hosts.
    pub async fn end_session(&self, actor: &Actor, id: &SessionId) -> Result<(), DirectoryError> {
        let end = async {
            let standing = self.standing(actor).await?;
            let missing = || DirectoryError::not_found("session", id.as_str());
            let key = Key::Session(id.clone());
            let session: Session = match self.get(key.clone()).await? {
                Some(session) => session,
                None => self.gone(key, missing()).await?,
            };
            let account: Account = self.get(Key::Account(session.account.clone())).await?.ok_or_else(missing)?;
            let seen = standing.authority.sees_account(&account.id);
            if !seen || session.alive(&account, &self.session_rules, standing.now) == Err(Reason::SessionEnded) {
                return Err(missing());
            }
            let event = standing.event(Action::SessionEnd, id.as_str());
            let view = SessionView::from(self.session_info(session.clone(), &account, &standing));
            self.end(&session, Some(event.changing(Some(&view), None::<&SessionView>))).await?;
            Ok(())
        };
        self.audited(actor, Action::SessionEnd, id.as_str(), end).await
    }
}

/// The session of a member of [`Index::Sessions`].
pub(in super::super) fn session_id(member: &str) -> Option<SessionId> {
    member.split_once(' ').and_then(|(_, id)| SessionId::parse(id))
}
