//! What a change of a record does with a field that may be empty.

use serde::{Deserialize, Deserializer};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldPatch<T> {
    /// Nothing was said about the field.
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> FieldPatch<T> {
    /// The field's value from now on.
    pub(super) fn applied_to(self, old: Option<&T>) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Keep => old.cloned(),
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// Reads what was given, if something was.
    pub fn try_map<U, E>(self, read: impl FnOnce(T) -> Result<U, E>) -> Result<FieldPatch<U>, E> {
        Ok(match self {
            Self::Keep => FieldPatch::Keep,
            Self::Clear => FieldPatch::Clear,
            Self::Set(value) => FieldPatch::Set(read(value)?),
        })
    }
}

/// `null` clears; with `#[serde(default)]` absence keeps.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for FieldPatch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}
