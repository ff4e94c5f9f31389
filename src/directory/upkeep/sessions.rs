//! Sessions that are over: their records go by themselves where the store does that, else here; and the list of sessions lets
//! go of what it has too many.

use super::PART;
use crate::{
    directory::{Damaged, Directory, Edit, Plan, Window, sessions},
    domain::{
        account::Account,
        decision::Reason,
        session::{Session, SessionId},
        time::Timestamp,
    },
    store::{Index, Key, StoreError},
};

impl Directory {
    /// Looks after some sessions: those past `after` in the list, or the first. Where the following part begins; `None` after
    /// the last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_after_sessions(&self, after: Option<String>) -> Result<Option<String>, StoreError> {
        let (members, next) = self.members(&Index::Sessions, &Window { after, limit: PART }).await?;
        let listed: Vec<_> = members.into_iter().filter_map(|member| Some((sessions::session_id(&member)?, member))).collect();
        let records = self.readable::<Session>(keys(&listed)).await?;
        let accounts: Vec<_> = records.iter().flatten().flatten().map(|session| session.account.clone()).collect();
        let accounts = self.accounts_by_id(accounts).await?;
        let now = self.clock.now();
        let mut gone = Vec::new();
        for (line, record) in listed.into_iter().zip(records) {
            let is_gone = match record {
                Err(Damaged) => false,
                Ok(None) => true,
                Ok(Some(session)) => {
                    self.is_over(&session, accounts.get(&session.account), now) && self.forget_session(&session).await?
                }
            };
            if is_gone {
                gone.push(line);
            }
        }
        self.unlist(&gone).await?;
        Ok(next)
    }

    /// Whether nothing brings the session back. When it was last seen may be known elsewhere before it is written: that its
    /// time is over counts only after an hour.
    fn is_over(&self, session: &Session, account: Option<&Account>, now: Timestamp) -> bool {
        let at_the_start = session.created_at;
        let by_account =
            account.is_none_or(|account| session.alive(account, &self.session_rules, at_the_start) == Err(Reason::SessionEnded));
        by_account || now >= session.kept_until(&self.session_rules)
    }

    /// Deletes the records of a session that is as it was read. Whether it was.
    async fn forget_session(&self, session: &Session) -> Result<bool, StoreError> {
        let mut edit = Edit::default();
        edit.expect_same(Key::Session(session.id.clone()), session);
        self.drop_session(&mut edit, &session.id);
        Ok(self.settle(Plan::Commit(edit, ())).await?.is_some())
    }

    /// Takes sessions without a record from the list. One that was about to be written is put back: either here, or by who
    /// wrote it.
    async fn unlist(&self, gone: &[(SessionId, String)]) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut edit = Edit::default();
        for (_, member) in gone {
            edit.remove_from(Index::Sessions, member);
        }
        self.settle(Plan::Commit(edit, ())).await?;
        let there = self.readable::<Session>(keys(gone)).await?;
        let mut edit = Edit::default();
        for ((_, member), _) in gone.iter().zip(there).filter(|(_, record)| !matches!(record, Ok(None))) {
            edit.add_to(Index::Sessions, member);
        }
        if !edit.is_empty() {
            self.settle(Plan::Commit(edit, ())).await?;
        }
        Ok(())
    }
}

fn keys(listed: &[(SessionId, String)]) -> Vec<Key> {
    listed.iter().map(|(id, _)| Key::Session(id.clone())).collect()
}
