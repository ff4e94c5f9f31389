//! Puts a change together: what must still be so, and what is then done. Knows records, not rules.

use crate::store::{Change, Expect, Index, Key, Record, Step, StoreError};

#[derive(Default)]
pub(super) struct Edit(Change);

impl Edit {
    pub(super) fn expect_absent(&mut self, key: Key) {
        self.0.expect.push((key, Expect::Absent));
    }

    /// The record must still be the one that was read.
    pub(super) fn expect_same(&mut self, key: Key, read: &impl Record) {
        self.0.expect.push((key, Expect::Version(read.version())));
    }

    /// As it was read: the same record, or still none.
    pub(super) fn expect_as_read<R: Record>(&mut self, key: Key, read: Option<&R>) {
        match read {
            Some(record) => self.expect_same(key, record),
            None => self.expect_absent(key),
        }
    }

    pub(super) fn put(&mut self, key: Key, record: &impl Record) -> Result<(), StoreError> {
        self.0.steps.push(Step::Put(key, record.encode()?));
        Ok(())
    }

    /// A record under a key that must be free.
    pub(super) fn create(&mut self, key: Key, record: &impl Record) -> Result<(), StoreError> {
        self.expect_absent(key.clone());
        self.put(key, record)
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.0.steps.push(Step::Delete(key));
    }

    pub(super) fn add_to(&mut self, index: Index, member: &(impl ToString + ?Sized)) {
        self.0.steps.push(Step::AddTo(index, member.to_string()));
    }

    pub(super) fn remove_from(&mut self, index: Index, member: &(impl ToString + ?Sized)) {
        self.0.steps.push(Step::RemoveFrom(index, member.to_string()));
    }

    pub(super) fn into_change(self) -> Change {
        self.0
    }
}
