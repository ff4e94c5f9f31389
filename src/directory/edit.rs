//! Puts a change together: what must still be so, what is then done, and what the trail says of it. Knows records, not
//! rules.

use crate::{
    domain::{access::AccessRows, account::Account, event::Event, session::Session, time::Timestamp},
    store::{Change, Entry, Expect, Index, Key, Record, Step, StoreError},
};

#[derive(Default)]
pub(super) struct Edit {
    change: Change,
    events: Vec<Event>,
    /// In which this is done.
    session: Option<Box<Session>>,
}

impl Edit {
    pub(super) fn expect_absent(&mut self, key: Key) {
        self.change.expect.push((key, Expect::Absent));
    }

    /// The record must still be the one that was read.
    pub(super) fn expect_same(&mut self, key: Key, read: &impl Record) {
        self.change.expect.push((key, Expect::Version(read.version())));
    }

    /// As it was read: the same record, or still none.
    pub(super) fn expect_as_read<R: Record>(&mut self, key: Key, read: Option<&R>) {
        match read {
            Some(record) => self.expect_same(key, record),
            None => self.expect_absent(key),
        }
    }

    /// The account must still be the one that was read, and its access too.
    pub(super) fn expect_owner(&mut self, account: &Account, access: Option<&AccessRows>) {
        self.expect_same(Key::Account(account.id.clone()), account);
        self.expect_as_read(Key::Access(account.id.clone()), access);
    }

    /// The session in which this is done must go on. Its record cannot be changed with others, so it is looked at just
    /// before they are: an end that comes in between comes after the change.
    pub(super) fn expect_to_go_on(&mut self, session: &Session) {
        self.session = Some(Box::new(session.clone()));
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// The index must have as many members as were read.
    pub(super) fn expect_count(&mut self, index: Index, members: usize) {
        self.change.counts.push((index, members as u64));
    }

    pub(super) fn put(&mut self, key: Key, record: &impl Record) -> Result<(), StoreError> {
        self.change.steps.push(Step::Put(key, record.encode()?));
        Ok(())
    }

    /// A record that may be forgotten after this.
    pub(super) fn put_until(&mut self, key: Key, record: &impl Record, until: Timestamp) -> Result<(), StoreError> {
        self.change.steps.push(Step::PutUntil(key, record.encode()?, until));
        Ok(())
    }

    /// A record under a key that must be free.
    pub(super) fn create(&mut self, key: Key, record: &impl Record) -> Result<(), StoreError> {
        self.expect_absent(key.clone());
        self.put(key, record)
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.change.steps.push(Step::Delete(key));
    }

    pub(super) fn add_to(&mut self, index: Index, member: &(impl ToString + ?Sized)) {
        self.change.steps.push(Step::AddTo(index, member.to_string()));
    }

    pub(super) fn remove_from(&mut self, index: Index, member: &(impl ToString + ?Sized)) {
        self.change.steps.push(Step::RemoveFrom(index, member.to_string()));
    }

    /// Removes all members of an index.
    pub(super) fn clear(&mut self, index: Index) {
        self.change.steps.push(Step::Clear(index));
    }

    /// What the trail says of the change.
    pub(super) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The change only takes rights away, and must not fail for want of the trail.
    pub(super) fn takes_away(&mut self) {
        self.change.takes_away = true;
    }

    /// It is already as it is to be. Whoever made it so may have had no confirmation of it: that is asked for again.
    pub(super) fn confirms<R: Record>(&mut self, key: Key, read: Option<&R>) {
        self.takes_away();
        self.expect_as_read(key, read);
    }

    /// Among others, the change takes something away.
    pub(super) fn must_hold(&mut self) {
        self.change.must_hold = true;
    }

    /// Whether nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.change.steps.is_empty()
    }

    pub(super) fn into_change(mut self) -> Result<(Change, Vec<Event>), StoreError> {
        self.change.entries = self.events.iter().map(entry).collect::<Result<_, _>>()?;
        Ok((self.change, self.events))
    }
}

/// An event as a line of the trail.
pub(super) fn entry(event: &Event) -> Result<Entry, StoreError> {
    let json =
        serde_json::to_string(event).map_err(|error| StoreError::permanent(format!("an event cannot be written: {error}")))?;
    Ok(Entry { at: event.at, json })
}
