//! The one place that spells keys of Redis.
//!
//! Each key lies under one of seventeen hash tags, those of its [`Partition`]: `{d}` for the directory, `{s0}` to `{sf}` for
//! families of sessions and for last uses. What one script touches has one tag, so it lies on one node of a cluster.
//!
//! ```text
//! <prefix>r:{tag}:…   records, and nothing else: this literal prefix is what Redis tells of
//! <prefix>c:{n}…      canaries, of which it tells too
//! <prefix>n:{tag}     nothing, ever
//! <prefix>m:{tag}     the sequence of a partition: how often something was taken away there
//! <prefix>i:{d}:…  <prefix>a:{d}:…  <prefix>u:{tag}:…   indexes, trails, last uses
//! <prefix>o:{tag}     the order of those last uses
//! <prefix>p:{d}  <prefix>p:{d}:…   who has published something of itself, and what
//! ```

use std::fmt;

use crate::{
    domain::{id::ReplicaId, token::TokenId},
    store::{Index, Key, Partition, Trail},
};

/// All keys of one Keygate in a Redis that it may share with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keyspace {
    prefix: String,
}

/// The hash tag of a partition, without its braces.
pub(super) struct Tag(pub(super) Partition);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.index() {
            0 => f.write_str("d"),
            number => write!(f, "s{:x}", number - 1),
        }
    }
}

const RECORDS: &str = "r:";
/// After [`RECORDS`] in the order of letters: of what has changed in one go, Redis tells in that order, and a canary must come
/// last.
const CANARIES: &str = "z:";

impl Keyspace {
    /// `None` for a prefix with a brace (the hash tag would be another one), a space or a control character.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let valid = prefix.chars().all(|c| !matches!(c, '{' | '}') && !c.is_whitespace() && !c.is_control());
        valid.then(|| Self { prefix: prefix.to_owned() })
    }

    pub(super) fn record(&self, key: &Key) -> String {
        format!("{}r:{{{}}}:{}", self.prefix, Tag(key.partition()), key.name())
    }

    /// The record under a key that Redis tells of, where it is one that is remembered.
    pub(super) fn parse_record(&self, key: &[u8]) -> Option<Key> {
        let (_tag, name) = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?.strip_prefix("r:{")?.split_once("}:")?;
        Key::parse(name)
    }

    /// What the keys begin with that Redis is to tell of. None of them is the beginning of another.
    pub(super) fn told(&self) -> [String; 2] {
        [RECORDS, CANARIES].map(|kind| format!("{}{kind}", self.prefix))
    }

    /// Any tag will do, so it is a number.
    pub(super) fn canary(&self, tag: u32, name: impl fmt::Display) -> String {
        format!("{}{CANARIES}{{{tag}}}{name}", self.prefix)
    }

    /// Where a partition lies, a key that there never is.
    pub(super) fn never(&self, partition: Partition) -> String {
        format!("{}n:{{{}}}", self.prefix, Tag(partition))
    }

    pub(super) fn sequence(&self, partition: Partition) -> String {
        format!("{}m:{{{}}}", self.prefix, Tag(partition))
    }

    pub(super) fn index(&self, index: &Index) -> String {
        format!("{}i:{{d}}:{}", self.prefix, index.name())
    }

    pub(super) fn trail(&self, trail: Trail) -> String {
        format!("{}a:{{d}}:{}", self.prefix, trail.name())
    }

    /// The ids of the servers that have published something.
    pub(super) fn published(&self) -> String {
        format!("{}p:{{d}}", self.prefix)
    }

    pub(super) fn published_by(&self, replica: &ReplicaId) -> String {
        format!("{}:{replica}", self.published())
    }

    pub(super) fn last_use(&self, token: &TokenId) -> String {
        format!("{}u:{{{}}}:{token}", self.prefix, Tag(Partition::of_id(token.as_str())))
    }

    pub(super) fn order_of_uses(&self, partition: Partition) -> String {
        format!("{}o:{{{}}}", self.prefix, Tag(partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{id::AccountId, session::SessionId};

    #[test]
    fn keys_are_spelled_as_documented() {
        let keys = Keyspace::new("kg:").unwrap();
        assert_eq!(keys.record(&Key::Account(AccountId::anonymous())), "kg:r:{d}:account:acc_anonymous");
        // The bytes of the id add up to 874, which leaves 10 when divided by 16.
        let session = SessionId::parse("AbCdEfGh0123").unwrap();
        assert_eq!(keys.record(&Key::Session(session)), "kg:r:{sa}:session:AbCdEfGh0123");
        assert_eq!(keys.index(&Index::TokensOf(AccountId::anonymous())), "kg:i:{d}:tokens-of:acc_anonymous");
        assert_eq!(Trail::ALL.map(|trail| keys.trail(trail)), ["kg:a:{d}:changes", "kg:a:{d}:refused"]);
        assert_eq!(keys.last_use(&TokenId::parse("AbCdEfGh0123").unwrap()), "kg:u:{sa}:AbCdEfGh0123");
        assert_eq!(keys.order_of_uses(Partition::of_id("AbCdEfGh0123")), "kg:o:{sa}");
        let replica = ReplicaId::parse("rep_0123456789abcdef").unwrap();
        assert_eq!(keys.published_by(&replica), "kg:p:{d}:rep_0123456789abcdef");
        let sequences: Vec<_> = Partition::all().map(|partition| keys.sequence(partition)).collect();
        assert_eq!((&*sequences[0], &*sequences[1], &*sequences[16]), ("kg:m:{d}", "kg:m:{s0}", "kg:m:{sf}"));
        assert_eq!(keys.canary(3, "x:1"), "kg:z:{3}x:1");
        assert_eq!(keys.told(), ["kg:r:", "kg:z:"]);
    }

    #[test]
    fn a_record_is_known_by_its_key_again() {
        let keys = Keyspace::new("kg:").unwrap();
        let session = Key::Session(SessionId::parse("AbCdEfGh0123").unwrap());
        for key in [Key::Account(AccountId::anonymous()), Key::Name("odd }: name".to_owned()), session, Key::Meta] {
            assert_eq!(keys.parse_record(keys.record(&key).as_bytes()), Some(key));
        }
        for other in ["kg:r:{d}:failures:x", "kg:z:{3}x:1", "kg:i:{d}:sites", "r:{d}:name:a", "kg:r:{d}"] {
            assert_eq!(keys.parse_record(other.as_bytes()), None, "{other}");
        }
        assert_eq!(keys.parse_record(b"kg:r:{d}:name:\xff"), None);
    }

    #[test]
    fn a_prefix_cannot_move_the_hash_tag() {
        for bad in ["{x}", "a{", "a b", "a\n"] {
            assert_eq!(Keyspace::new(bad), None, "{bad:?}");
        }
    }
}
