//! The one place that spells keys of Redis.
//!
//! Records lie under `<prefix>r:{d}:`, indexes under `<prefix>i:{d}:`, trails under `<prefix>a:{d}:`, so that one literal
//! prefix names all records and nothing else. The hash tag `{d}` puts everything that one script touches on one node.
//! Last uses lie under `<prefix>u:` without it: no change touches them, and by their ids they spread over all nodes.

use std::fmt;

use crate::{
    domain::token::TokenId,
    store::{Index, Key, Trail},
};

/// All keys of one Keygate in a Redis that it may share with others.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keyspace {
    /// What the names of all records begin with.
    all_records: String,
    /// Of those outside of all families.
    records: String,
    indexes: String,
    trails: String,
    uses: String,
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyspace").field(&self.records).field(&self.indexes).finish()
    }
}

impl Keyspace {
    /// `None` for a prefix with a brace (the hash tag would be another one), a space or a control character.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let valid = prefix.chars().all(|c| !matches!(c, '{' | '}') && !c.is_whitespace() && !c.is_control());
        valid.then(|| Self {
            all_records: format!("{prefix}r:"),
            records: format!("{prefix}r:{{d}}:"),
            indexes: format!("{prefix}i:{{d}}:"),
            trails: format!("{prefix}a:{{d}}:"),
            uses: format!("{prefix}u:"),
        })
    }

    pub(super) fn record(&self, key: &Key) -> String {
        match key.family() {
            Some(family) => format!("{}{{{family}}}:{}", self.all_records, key.name()),
            None => format!("{}{}", self.records, key.name()),
        }
    }

    pub(super) fn index(&self, index: &Index) -> String {
        format!("{}{}", self.indexes, index.name())
    }

    pub(super) fn trail(&self, trail: Trail) -> String {
        format!("{}{}", self.trails, trail.name())
    }

    pub(super) fn last_use(&self, token: &TokenId) -> String {
        format!("{}{token}", self.uses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AccountId;

    #[test]
    fn keys_are_spelled_as_documented() {
        let keys = Keyspace::new("kg:").unwrap();
        assert_eq!(keys.record(&Key::Account(AccountId::anonymous())), "kg:r:{d}:account:acc_anonymous");
        assert_eq!(keys.index(&Index::TokensOf(AccountId::anonymous())), "kg:i:{d}:tokens-of:acc_anonymous");
        assert_eq!(Trail::ALL.map(|trail| keys.trail(trail)), ["kg:a:{d}:changes", "kg:a:{d}:refused"]);
        assert_eq!(keys.last_use(&TokenId::parse("AbCdEfGh0123").unwrap()), "kg:u:AbCdEfGh0123");
    }

    #[test]
    fn a_prefix_cannot_move_the_hash_tag() {
        for bad in ["{x}", "a{", "a b", "a\n"] {
            assert_eq!(Keyspace::new(bad), None, "{bad:?}");
        }
    }
}
