//! How much someone may do: `none < view < write < admin` on a site, and `superuser` above all sites.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{
    id::{AccountId, SiteId},
    site::SiteName,
};

/// Ordered; more includes less. `None` is what is left when nothing was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    #[default]
    None,
    View,
    Write,
    Admin,
    Superuser,
}

impl Level {
    pub const ALL: [Self; 5] = [Self::None, Self::View, Self::Write, Self::Admin, Self::Superuser];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::View => "view",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Superuser => "superuser",
        }
    }

    /// The exact lower-case word, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Level {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Level {
    /// A word that is not known reads as `None`: a level nobody understands gives nothing.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::parse(&text).unwrap_or_default())
    }
}

/// A level on one site, with the site's name as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteLevel {
    pub site: SiteName,
    pub level: Level,
}

/// All rows of one account: what it may do on which site. Kept by the site's id, so that a site made again
/// under an old name inherits nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRows {
    pub v: super::account::Format,
    pub account: AccountId,
    pub rows: BTreeMap<SiteId, SiteLevel>,
    pub version: u64,
}

impl AccessRows {
    #[must_use]
    pub fn level(&self, site: &SiteId) -> Level {
        self.rows.get(site).map_or(Level::None, |row| row.level)
    }

    /// The highest level held on any site.
    #[must_use]
    pub fn highest(&self) -> Level {
        self.rows.values().map(|row| row.level).max().unwrap_or_default()
    }
}
