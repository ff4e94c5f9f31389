//! Failed attempts on their way to the store, and the blocks that come of them: who is blocked, and how an administrator
//! lifts that. When somebody is blocked is the domain's business.

use serde_json::{Map, Value, json};

use super::{Actor, Directory, DirectoryError, Edit, Listing, Plan, Window, until_settled};
use crate::{
    domain::{
        event::{Action, Event, Target},
        guessing::{Block, Failures, Subject},
        time::Timestamp,
    },
    gate::guessing::Writing,
    store::{CommitError, Index, Key, StoreError, Trouble},
};

/// Blocks that are looked at together.
const PART: usize = 100;

const GUESSING: Actor = Actor::system("guessing");

/// Somebody who may not try now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub subject: Subject,
    pub block: Block,
}

impl Directory {
    /// Writes failures down. With the one that is one too many the block is told of, by whichever server writes it.
    /// Whether it has begun.
    ///
    /// # Errors
    /// Why they have to be written another time. Until then they count in this process.
    pub async fn write_failures(&self, writing: Writing<'_>) -> Result<bool, DirectoryError> {
        let begun = match self.record_failures(writing.subject(), writing.times()).await {
            // Nobody is let through by a record that cannot be read.
            Err(DirectoryError::Store(error)) if matches!(error.trouble, Trouble::Damaged(_)) => {
                tracing::error!(%error, "failed attempts are not recorded");
                false
            }
            recorded => recorded?,
        };
        writing.done();
        Ok(begun)
    }

    async fn record_failures(&self, subject: &Subject, times: &[Timestamp]) -> Result<bool, DirectoryError> {
        let key = Key::Failures(subject.name());
        until_settled!(self, {
            let old: Option<Failures> = self.get(key.clone()).await?;
            match self.guessing.rules().record(subject, old.as_ref(), times) {
                None => Plan::Nothing(false),
                Some(recorded) => {
                    let mut edit = Edit::default();
                    edit.expect_as_read(key.clone(), old.as_ref());
                    edit.put_until(key.clone(), &recorded.failures, recorded.until)?;
                    let begun = recorded.begun.is_some();
                    if let Some(block) = recorded.begun {
                        edit.add_to(Index::Blocked, &subject.name());
                        let event = self.standing(&GUESSING).await?.event(Action::GuessingBlock, "");
                        edit.tell(about(event, subject, &block));
                    }
                    Plan::Commit(edit, begun)
                }
            }
        })
    }

    /// Who is blocked now; for superusers.
    pub async fn blocked(&self, actor: &Actor, window: &Window) -> Result<Listing<Blocked>, DirectoryError> {
        let standing = self.superuser(actor).await?;
        let (names, next) = self.members(&Index::Blocked, window).await?;
        let subjects: Vec<_> = names.iter().filter_map(|name| Subject::parse(name)).collect();
        let keys = subjects.iter().map(|subject| Key::Failures(subject.name())).collect();
        let records = self.readable::<Failures>(keys).await?;
        let blocked = |(subject, record): (Subject, Result<Option<Failures>, _>)| {
            let block = self.guessing.rules().block(&subject, &record.ok()??, standing.now)?;
            Some(Blocked { subject, block })
        };
        Ok(Listing { items: subjects.into_iter().zip(records).filter_map(blocked).collect(), next })
    }

    /// Lifts all blocks of an address, a network as the list names it, or a login; for superusers.
    ///
    /// # Errors
    /// `NotFound` when nothing of that name is blocked.
    pub async fn lift_blocks(&self, actor: &Actor, value: &str) -> Result<(), DirectoryError> {
        let subjects = Subject::named(value);
        let nothing = || DirectoryError::not_found("block", value);
        if subjects.is_empty() {
            return Err(nothing());
        }
        self.audited(actor, Action::GuessingUnblock, value, async {
            until_settled!(self, {
                let standing = self.superuser(actor).await?;
                let keys: Vec<_> = subjects.iter().map(|subject| Key::Failures(subject.name())).collect();
                let records = self.get_all::<Failures>(&keys).await?;
                let mut edit = standing.edit();
                let mut lifted = false;
                for ((subject, key), record) in subjects.iter().zip(keys).zip(records) {
                    let Some(record) = record else { continue };
                    let Some(block) = self.guessing.rules().block(subject, &record, standing.now) else { continue };
                    lifted = true;
                    edit.expect_same(key.clone(), &record);
                    edit.delete(key);
                    edit.remove_from(Index::Blocked, &subject.name());
                    edit.tell(about(standing.event(Action::GuessingUnblock, ""), subject, &block));
                }
                if !lifted {
                    return Err(nothing());
                }
                Plan::Commit(edit, ())
            })
        })
        .await
    }

    /// Takes blocks that have ended from the list.
    pub(super) async fn forget_blocks(&self) -> Result<(), StoreError> {
        let mut window = Window { after: None, limit: PART };
        loop {
            let (names, next) = self.members(&Index::Blocked, &window).await?;
            let keys: Vec<_> = names.iter().map(|name| Key::Failures(name.clone())).collect();
            let records = self.readable::<Failures>(keys.clone()).await?;
            let mut edit = Edit::default();
            for ((name, key), record) in names.iter().zip(keys).zip(records) {
                let Ok(record) = record else { continue };
                let block = |subject: Subject| self.guessing.rules().block(&subject, record.as_ref()?, self.clock.now());
                if Subject::parse(name).and_then(block).is_none() {
                    edit.expect_as_read(key, record.as_ref());
                    edit.remove_from(Index::Blocked, name);
                }
            }
            if !edit.is_empty() {
                match self.store.commit(edit.into_change()?.0).await {
                    // Somebody has failed again meanwhile; there is a next time.
                    Ok(()) | Err(CommitError::Conflict(_) | CommitError::Miscounted(_)) => {}
                    Err(CommitError::Store(error)) => return Err(error),
                }
            }
            if next.is_none() {
                return Ok(());
            }
            window.after = next;
        }
    }
}

/// With whom the event is about, and how he stands or stood.
fn about(event: Event, subject: &Subject, block: &Block) -> Event {
    let members = [
        ("of", json!(subject.of())),
        ("failures", json!(block.failures)),
        ("since", json!(block.since)),
        ("until", json!(block.until)),
    ];
    let told: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let is_begin = event.action == Action::GuessingBlock.as_str();
    let (before, after) = if is_begin { (None, Some(told)) } else { (Some(told), None) };
    Event { target: Target { kind: subject.kind().to_owned(), id: subject.value() }, before, after, ..event }
}
