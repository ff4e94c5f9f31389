//! The audit trail: every change has its event in the same commit, and every refused attempt one in a stream of its own.
//! Both are read here as one list.

use serde_json::Map;

use super::{Actor, Directory, DirectoryError, Listing, Window, actor::Credential, confirm, edit, fields};
use crate::{
    domain::{
        account::Account,
        decision::Reason,
        event::{Action, By, Event, Outcome},
        session::SessionSecret,
        text::{Invalid, Login},
        time::Timestamp,
        token::{PresentedToken, Token},
    },
    store::{EntryId, Key, Order, StoreError, Trail},
};

/// How many lines one page of the trail looks at, however few of them are asked for.
const LINES_PER_PAGE: usize = 2000;

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct TrailFilter {
    /// By the account, or about it.
    pub login: Option<String>,
    pub since: Option<Timestamp>,
    pub action: Option<String>,
    pub outcome: Option<Outcome>,
    pub order: Order,
}

/// A line of the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Unique, and in the order of the trail.
    pub id: String,
    pub event: Event,
}

impl Directory {
    /// The events, merged by time. In the order of the oldest first there is always a next page, also after the last event:
    /// whoever follows the trail goes on from there.
    pub async fn trail(&self, actor: &Actor, filter: &TrailFilter, window: &Window) -> Result<Listing<Recorded>, DirectoryError> {
        self.require_superuser(actor).await?;
        let limit = window.limit.clamp(1, Window::MAX_LIMIT);
        let mut position = match &window.after {
            Some(cursor) => Position::parse(cursor).ok_or_else(bad_cursor)?,
            None => Position::before_everything(filter),
        };
        let mut items = Vec::new();
        let mut looked_at = 0;
        loop {
            let lines = self.merged(&position, filter, limit).await?;
            let ended = lines.is_empty();
            for (trail, id, json) in lines {
                looked_at += 1;
                let past_the_end =
                    filter.order == Order::NewestFirst && filter.since.is_some_and(|since| id <= EntryId::before(since));
                if past_the_end {
                    return Ok(Listing { items, next: None });
                }
                *position.of(trail) = Some(id);
                // One that is damaged is no reason to keep the others back.
                match read(trail, id, &json) {
                    Ok(event) if filter.takes(&event) => items.push(Recorded { id: name(trail, id), event }),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "an event is passed over"),
                }
                if items.len() >= limit || looked_at >= LINES_PER_PAGE {
                    return Ok(Listing { items, next: Some(position.to_string()) });
                }
            }
            if ended {
                let next = (filter.order == Order::OldestFirst).then(|| position.to_string());
                return Ok(Listing { items, next });
            }
        }
    }

    /// Some lines of the trails that are wanted, in one order: as many as are certainly the next ones.
    async fn merged(
        &self,
        position: &Position,
        filter: &TrailFilter,
        limit: usize,
    ) -> Result<Vec<(Trail, EntryId, String)>, StoreError> {
        let mut lines = Vec::new();
        for trail in Trail::ALL.into_iter().filter(|trail| filter.outcome.is_none_or(|outcome| trail_of(outcome) == *trail)) {
            let part = self.store.entries(trail, position.at(trail), filter.order, limit).await?;
            lines.extend(part.into_iter().map(|(id, json)| (trail, id, json)));
        }
        lines.sort_by_key(|(trail, id, _)| (*id, trail.name()));
        if filter.order == Order::NewestFirst {
            lines.reverse();
        }
        // Beyond this many, lines of the other trail may be missing in between.
        lines.truncate(limit);
        Ok(lines)
    }

    /// Passes a result on; when it is a refusal, the trail says so. That attempts are not recorded is no reason to fail.
    pub(super) fn audited<'a, T: Send + 'a>(
        &'a self,
        actor: &'a Actor,
        action: Action,
        target: &'a str,
        attempt: impl Future<Output = Result<T, DirectoryError>> + Send + 'a,
    ) -> impl Future<Output = Result<T, DirectoryError>> + Send + 'a {
        self.audited_for(actor, action, target, None, attempt)
    }

    /// As [`Self::audited`], for something that is not there yet, but would be an account's.
    pub(super) fn audited_for<'a, T: Send + 'a>(
        &'a self,
        actor: &'a Actor,
        action: Action,
        target: &'a str,
        owner: Option<&'a Login>,
        attempt: impl Future<Output = Result<T, DirectoryError>> + Send + 'a,
    ) -> impl Future<Output = Result<T, DirectoryError>> + Send + 'a {
        let attempt = confirm::reported(attempt);
        async move {
            let result = attempt.await;
            if let Err(error) = &result
                && let Some(reason) = error.refusal()
            {
                self.note_refusal(actor, action, target, owner, reason).await;
            }
            result
        }
    }

    async fn note_refusal(&self, actor: &Actor, action: Action, target: &str, owner: Option<&Login>, reason: String) {
        let by = self.who(actor).await;
        // Somebody may have put a token in the place of a name.
        let target = fields::without_tokens(&self.prefixes, [("", Some(target))]).map_or("", |()| target);
        let owner = owner.filter(|login| fields::without_tokens(&self.prefixes, [("", Some(login.as_str()))]).is_ok());
        let event = Event {
            outcome: Outcome::Refused,
            after: owner.map(|login| Map::from_iter([("account".to_owned(), login.as_str().into())])),
            reason: Some(reason),
            request_id: actor.request_id.clone(),
            ..Event::done(action, target, self.clock.now(), by)
        };
        log(&event);
        let noted = match edit::entry(&event) {
            Ok(entry) => self.store.append(Trail::Refused, entry, self.trail_rules.refused_entries).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "a refused attempt could not be recorded");
        }
    }

    /// Adds an event that no change goes with.
    pub(super) async fn tell(&self, event: &Event) -> Result<(), StoreError> {
        self.store.append(Trail::Changes, edit::entry(event)?, u64::MAX >> 1).await?;
        log(event);
        Ok(())
    }

    /// As far as it can be said of somebody who was refused.
    pub(super) async fn who(&self, actor: &Actor) -> By {
        let credential = match &actor.credential {
            Credential::Token(token) => Some(token.id.to_string()),
            Credential::Session(cookie) => Some(cookie.session.to_string()),
            Credential::Control { .. } | Credential::System(_) => None,
        };
        let account = match &actor.credential {
            Credential::Token(token) => self.login_behind(token).await,
            Credential::Session(cookie) => self.login_in(cookie).await,
            Credential::Control { .. } | Credential::System(_) => Some(actor.to_string()),
        };
        By { account, credential, address: actor.address }
    }

    /// The same of a session, which may have ended.
    async fn login_in(&self, cookie: &SessionSecret) -> Option<String> {
        let session = self.session_of(cookie).await.ok()??;
        let account: Account = self.get(Key::Account(session.account)).await.ok()??;
        Some(account.login.to_string())
    }

    /// Whose a token is, where its secret is right; it may be dead.
    async fn login_behind(&self, presented: &PresentedToken) -> Option<String> {
        let token = self.get::<Token>(Key::Token(presented.id.clone())).await.ok()??;
        let (account, _) = self.owner(&token).await.ok()??;
        presented.verifies(&token, &self.keys).then(|| account.login.to_string())
    }
}

impl DirectoryError {
    /// The code of a refusal; `None` where nobody was refused anything: a mistake in the request, a race, an outage.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::Unauthenticated(reason) => Some(reason.code().to_owned()),
            Self::NotFound { what, .. } => Some(format!("{what}_not_found")),
            Self::Taken { code, .. } | Self::Refused { code, .. } => Some((*code).to_owned()),
            Self::Invalid(_)
            | Self::Precondition { .. }
            | Self::Contended
            | Self::Blocked { .. }
            | Self::Busy
            | Self::ListsInTheMaking
            | Self::Replayed(_)
            | Self::Store(_) => None,
        }
    }
}

impl From<Reason> for DirectoryError {
    fn from(reason: Reason) -> Self {
        Self::Unauthenticated(reason)
    }
}

impl TrailFilter {
    fn takes(&self, event: &Event) -> bool {
        self.login.as_deref().is_none_or(|login| event.concerns(login))
            && self.since.is_none_or(|since| event.at >= since)
            && self.action.as_deref().is_none_or(|action| event.action == action)
            && self.outcome.is_none_or(|outcome| event.outcome == outcome)
    }
}

/// How far each trail has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    changes: Option<EntryId>,
    refused: Option<EntryId>,
}

impl Position {
    fn before_everything(filter: &TrailFilter) -> Self {
        match (filter.order, filter.since) {
            (Order::OldestFirst, Some(since)) => {
                Self { changes: Some(EntryId::before(since)), refused: Some(EntryId::before(since)) }
            }
            (Order::OldestFirst, None) | (Order::NewestFirst, _) => Self::default(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let part = |text: &str| if text.is_empty() { Some(None) } else { EntryId::parse(text).map(Some) };
        let (changes, refused) = text.split_once(',')?;
        Some(Self { changes: part(changes)?, refused: part(refused)? })
    }

    fn at(&self, trail: Trail) -> Option<EntryId> {
        match trail {
            Trail::Changes => self.changes,
            Trail::Refused => self.refused,
        }
    }

    fn of(&mut self, trail: Trail) -> &mut Option<EntryId> {
        match trail {
            Trail::Changes => &mut self.changes,
            Trail::Refused => &mut self.refused,
        }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |id: Option<EntryId>| id.map(|id| id.to_string()).unwrap_or_default();
        write!(f, "{},{}", part(self.changes), part(self.refused))
    }
}

fn trail_of(outcome: Outcome) -> Trail {
    match outcome {
        Outcome::Done => Trail::Changes,
        Outcome::Refused => Trail::Refused,
    }
}

pub(super) fn name(trail: Trail, id: EntryId) -> String {
    match trail {
        Trail::Changes => format!("c{id}"),
        Trail::Refused => format!("r{id}"),
    }
}

fn read(trail: Trail, id: EntryId, json: &str) -> Result<Event, StoreError> {
    serde_json::from_str(json)
        .map_err(|error| StoreError::permanent(format!("the event {} cannot be read: {error}", name(trail, id))))
}

fn bad_cursor() -> Invalid {
    Invalid::new("query_invalid", "cursor", "this is no cursor of ours")
}

/// One line in the log for each event, whatever becomes of the store's. Records that go when their time has come are many.
pub(super) fn log(event: &Event) {
    let json = serde_json::to_string(event).unwrap_or_default();
    if event.action == Action::TokenPurge.as_str() {
        tracing::debug!(target: "audit", event = json, "audit");
    } else {
        tracing::info!(target: "audit", event = json, "audit");
    }
}
