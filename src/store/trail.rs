//! The audit trail as a backend keeps it: two streams of JSON lines, each in the order in which they were written.
//! What the lines say is the directory's business.

use std::fmt;

use crate::domain::time::Timestamp;

/// The streams. Two, so that a flood of what is refused pushes nothing out that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trail {
    /// What was done: changes, signs of a leak, warnings.
    Changes,
    /// Attempts that were refused.
    Refused,
}

impl Trail {
    pub const ALL: [Self; 2] = [Self::Changes, Self::Refused];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Refused => "refused",
        }
    }
}

/// A line on its way into a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// By the clock of its author; a backend that has a clock of its own may use that for the [`EntryId`].
    pub at: Timestamp,
    pub json: String,
}

/// Where a line stands in its trail: milliseconds since 1970 when it was written, and a count within the millisecond.
/// Later lines have greater ids, whatever the clock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    pub millis: u64,
    pub count: u64,
}

impl EntryId {
    /// Before every line that is written at `time` or later.
    #[must_use]
    pub fn before(time: Timestamp) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or_default();
        // Nothing is written with the greatest count, so this is past all of the millisecond before.
        Self { millis: millis.saturating_sub(1), count: u64::MAX }
    }

    /// Reads `millis-count`, as it is displayed and as Redis spells it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (millis, count) = text.split_once('-')?;
        Some(Self { millis: millis.parse().ok()?, count: count.parse().ok()? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.count)
    }
}

/// In which order entries are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    #[default]
    NewestFirst,
}
