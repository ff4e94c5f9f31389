//! What time does to tokens and sessions: tokens that end soon or rest are told of, those that rest for too long are revoked,
//! and the records of what ended long ago are let go of. Done in small parts, so that it is never a burst; done twice, or by
//! several servers at once, it comes to the same.

mod lists;
mod purge;
mod sessions;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    Actor, Damaged, Directory, DirectoryError, Plan, TokenInfo, Window, confirm, idempotency,
    places::id_at,
    revoke::{minted_with_revoked, successor_revoked},
    tokens::last_sign,
    until_settled,
};
use crate::{
    domain::{
        account::Account,
        event::{Action, Event},
        time::{Timestamp, spell_duration},
        token::{Token, TokenId, TokenState},
    },
    store::{CommitError, Index, Key, StoreError, Trail, record::IdempotencyRecord},
};

/// Tokens that are looked at together.
const PART: usize = 100;
/// How long a request can be sent again under its idempotency key.
const KEEP_IDEMPOTENCY: Duration = Duration::from_hours(24);

const UPKEEP: Actor = Actor::system("upkeep");

/// What is to be done about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Warning { ending: bool, unused: bool },
    Revocation { unused_for: Duration },
    Purge,
}

impl Directory {
    /// Looks after some tokens: those past `after`, or the first. Where the following part begins; `None` after the last.
    ///
    /// # Errors
    /// When the store does not answer. What is wrong with single records is in the log.
    pub async fn look_after_tokens(&self, after: Option<String>) -> Result<Option<String>, StoreError> {
        confirm::reported(self.look_after_some_tokens(after)).await
    }

    async fn look_after_some_tokens(&self, after: Option<String>) -> Result<Option<String>, StoreError> {
        let (members, next) = self.members(&Index::Tokens, &Window { after, limit: PART }).await?;
        let ids: Vec<_> = members.iter().filter_map(|place| TokenId::parse(id_at(place))).collect();
        let tokens = self.readable::<Token>(ids.into_iter().map(Key::Token).collect()).await?;
        let tokens: Vec<_> = tokens.into_iter().filter_map(Result::ok).flatten().collect();
        let owners = self.readable::<Account>(tokens.iter().map(|token| Key::Account(token.account.clone())).collect()).await?;
        let ids: Vec<_> = tokens.iter().map(|token| token.id.clone()).collect();
        let uses = match self.store.uses(&ids).await {
            Err(error) if !error.transient => {
                tracing::error!(%error, "some tokens cannot be looked after");
                return Ok(next);
            }
            uses => uses?,
        };
        let now = self.clock.now();
        self.finish_revocations(&tokens, now).await?;
        let mut purged = Vec::new();
        for ((token, owner), last_used) in tokens.into_iter().zip(owners).zip(uses) {
            let id = token.id.clone();
            let done = match owner {
                Err(Damaged) => continue,
                Ok(None) => self.purge(&id).await,
                Ok(Some(owner)) => {
                    let info = TokenInfo::new(token, &owner, last_used, now);
                    match self.due(&info, &owner, now) {
                        Due::Nothing => continue,
                        Due::Warning { .. } => self.warn_of(&id).await.map(|()| false),
                        Due::Revocation { unused_for } => self.revoke_unused(&info, unused_for).await.map(|()| false),
                        Due::Purge => self.purge(&id).await,
                    }
                }
            };
            match done {
                Ok(true) => purged.push(id),
                // Somebody else has done something about it, or will have by the next time.
                Ok(false)
                | Err(DirectoryError::NotFound { .. } | DirectoryError::Precondition { .. } | DirectoryError::Contended) => {}
                Err(DirectoryError::Store(error)) if error.transient => return Err(error),
                Err(error) => tracing::error!(%error, token = %id, "this token cannot be looked after"),
            }
        }
        self.forget_uses(&purged).await;
        Ok(next)
    }

    /// Lets go of events that have been kept for long enough, of idempotency keys, of records whose time is over, and of
    /// blocks that have ended.
    pub async fn look_after_the_rest(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        for trail in Trail::ALL {
            self.store.forget_entries(trail, before(now, self.trail_rules.keep)).await?;
        }
        while self.forget_idempotency(before(now, KEEP_IDEMPOTENCY)).await? {}
        self.store.forget_expired(now).await?;
        self.forget_blocks().await
    }

    /// Ends what a revocation has left behind that was not carried out to its end.
    async fn finish_revocations(&self, tokens: &[Token], now: Timestamp) -> Result<(), StoreError> {
        for token in tokens.iter().filter(|token| token.lives(now)) {
            let successor = token.superseded.as_ref().map(|superseded| superseded.by.clone());
            let above: Vec<_> = token.minted_with.iter().cloned().chain(successor.clone()).collect();
            let records = self.readable::<Token>(above.into_iter().map(Key::Token).collect()).await?;
            let above: Vec<_> = records.into_iter().filter_map(Result::ok).flatten().collect();
            let owners = self.accounts_by_id(above.iter().map(|above| above.account.clone())).await?;
            let ended = |above: &Token| {
                let with_all = owners.get(&above.account).and_then(|owner| owner.end_of(above.generation));
                let revoked = above.revoked.as_deref().or(with_all)?;
                if Some(&above.id) == successor.as_ref() {
                    return Some((successor_revoked(&above.id), revoked.keeps_minted));
                }
                (!revoked.keeps_minted).then(|| (minted_with_revoked(&above.id), false))
            };
            let Some((why, keep_minted)) = above.iter().find_map(ended) else { continue };
            match self.revoke(&UPKEEP, &token.id, keep_minted, Some(&why), None).await {
                Ok(_) | Err(DirectoryError::NotFound { .. } | DirectoryError::Contended) => {}
                Err(DirectoryError::Store(error)) if error.transient => return Err(error),
                Err(error) => tracing::error!(%error, token = %token.id, "a revocation cannot be finished"),
            }
        }
        Ok(())
    }

    fn due(&self, info: &TokenInfo, owner: &Account, now: Timestamp) -> Due {
        let rules = &self.token_rules;
        let token = &info.token;
        if ended_at(token, owner, now).is_some_and(|end| is_past(end, rules.keep_ended, now)) {
            return Due::Purge;
        }
        // Somebody has seen to the end of a predecessor already. A system token is the installation's own business.
        if info.state != TokenState::Active || token.superseded.is_some() || token.system {
            return Due::Nothing;
        }
        let last_sign = last_sign(info);
        // Of this rest, and not of one before the last use.
        let told_of_rest = token.warned.unused.is_some_and(|warned| is_past(last_sign, rules.unused_after, warned));
        // Never without a warning: uses may have been counted for a shorter time than there are tokens.
        if let Some(unused_for) = rules.revoke_unused_after.filter(|rest| told_of_rest && is_past(last_sign, *rest, now)) {
            return Due::Revocation { unused_for };
        }
        let horizon = now.checked_add(rules.warn_before);
        let ends_soon = token.expires_at.is_some_and(|end| horizon.is_none_or(|horizon| end <= horizon));
        let ending = ends_soon && token.warned.ending.is_none();
        let unused = !told_of_rest && is_past(last_sign, rules.unused_after, now);
        if ending || unused { Due::Warning { ending, unused } } else { Due::Nothing }
    }

    /// Of several servers that do this at once, one does it.
    async fn warn_of(&self, id: &TokenId) -> Result<(), DirectoryError> {
        for event in self.warn(id).await? {
            self.notify(event).await;
        }
        Ok(())
    }

    async fn warn(&self, id: &TokenId) -> Result<Vec<Event>, DirectoryError> {
        until_settled!(self, {
            let standing = self.standing(&UPKEEP).await?;
            let (old, owner, _) = self.seen_token(&standing, id).await?;
            let info = self.info(old.clone(), &owner, standing.now).await?;
            match self.due(&info, &owner, standing.now) {
                Due::Warning { ending, unused } => {
                    let mut new = old.clone();
                    new.version += 1;
                    let mut events = Vec::new();
                    let mut warn = |action, what: &str, value: Value| {
                        let mut event = standing.event(action, id.as_str());
                        event.after = Some(Map::from_iter([
                            ("account".to_owned(), json!(owner.login)),
                            ("name".to_owned(), json!(old.name)),
                            (what.to_owned(), value),
                        ]));
                        events.push(event);
                    };
                    if ending {
                        new.warned.ending = Some(standing.now);
                        warn(Action::TokenExpiring, "expires_at", json!(old.expires_at));
                    }
                    if unused {
                        new.warned.unused = Some(standing.now);
                        warn(Action::TokenUnused, "last_used", json!(info.last_used));
                    }
                    let mut edit = standing.edit();
                    edit.expect_same(Key::Token(id.clone()), &old);
                    edit.put(Key::Token(id.clone()), &new)?;
                    events.iter().cloned().for_each(|event| edit.tell(event));
                    Plan::Commit(edit, events)
                }
                Due::Nothing | Due::Revocation { .. } | Due::Purge => Plan::Nothing(Vec::new()),
            }
        })
    }

    /// What it has minted stays: that may well be in use.
    async fn revoke_unused(&self, info: &TokenInfo, unused_for: Duration) -> Result<(), DirectoryError> {
        let why = format!("unused for {}", spell_duration(unused_for));
        self.revoke(&UPKEEP, &info.token.id, true, Some(&why), Some(info.token.version)).await.map(drop)
    }

    /// Forgets the oldest keys. Whether there may be more.
    async fn forget_idempotency(&self, time: Timestamp) -> Result<bool, StoreError> {
        let page = self.store.page(&Index::Idempotency, None, PART).await?;
        let old = |member: &String| {
            let (at, digest) = idempotency::read_member(member)?;
            (at < time).then(|| (member.clone(), at, Key::Idempotency(digest.to_owned())))
        };
        let old: Vec<_> = page.members.iter().map_while(old).collect();
        if old.is_empty() {
            return Ok(false);
        }
        let keys = old.iter().map(|(_, _, key)| key.clone()).collect();
        let records = self.readable::<IdempotencyRecord>(keys).await?;
        let mut edit = super::Edit::default();
        for ((member, at, key), record) in old.iter().zip(records) {
            edit.remove_from(Index::Idempotency, member);
            // Another server may have forgotten it, and the key be in use again.
            if !record.is_ok_and(|record| record.is_none_or(|record| record.at != *at)) {
                edit.delete(key.clone());
            }
        }
        let (change, _) = edit.into_change()?;
        match self.store.commit(change).await {
            Ok(()) => Ok(page.more && old.len() == page.members.len()),
            Err(CommitError::Store(error)) => Err(error),
            Err(CommitError::Conflict(_) | CommitError::Miscounted(_)) => Ok(false),
        }
    }

    pub(super) async fn forget_uses(&self, tokens: &[TokenId]) {
        if tokens.is_empty() {
            return;
        }
        // Notes on uses are no records; one that is left behind is of nobody.
        if let Err(error) = self.store.forget_uses(tokens).await {
            tracing::warn!(%error, "the last uses of tokens that are gone are left over");
        }
    }
}

/// When the token ended, if it has: the first of its ends.
fn ended_at(token: &Token, owner: &Account, now: Timestamp) -> Option<Timestamp> {
    let with_all = (token.generation != owner.generation).then(|| {
        // Nobody knows any more when that was.
        owner.end_of(token.generation).map_or(token.created_at, |revoked| revoked.at)
    });
    let revoked = token.revoked.as_ref().map(|revoked| revoked.at);
    [token.ends_at(), revoked, with_all].into_iter().flatten().min().filter(|end| *end <= now)
}

fn is_past(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    at.checked_add(age).is_some_and(|then| then <= now)
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(age))
}
