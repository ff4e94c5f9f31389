//! How much someone may do: `none < view < write < admin` on a site, and `superuser` above all sites.

use std::{collections::BTreeMap, fmt, mem};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Level {
    /// A word that is not known reads as `None`: a level nobody understands gives nothing.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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

/// A level on each of some sites, sorted by their ids. Takes no more memory than its rows: there are as many of these in memory as
/// accounts, most of them with a row or two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteLevels(Box<[(SiteId, SiteLevel)]>);

impl SiteLevels {
    #[must_use]
    pub fn get(&self, site: &SiteId) -> Option<&SiteLevel> {
        let at = self.0.binary_search_by(|(known, _)| known.cmp(site)).ok()?;
        Some(&self.0[at].1)
    }

    /// In place of what was there of the site.
    pub fn insert(&mut self, site: SiteId, row: SiteLevel) {
        let mut rows = mem::take(&mut self.0).into_vec();
        match rows.binary_search_by(|(known, _)| known.cmp(&site)) {
            Ok(at) => rows[at].1 = row,
            Err(at) => rows.insert(at, (site, row)),
        }
        self.0 = rows.into_boxed_slice();
    }

    pub fn remove(&mut self, site: &SiteId) {
        let mut rows = mem::take(&mut self.0).into_vec();
        rows.retain(|(known, _)| known != site);
        self.0 = rows.into_boxed_slice();
    }

    pub fn iter(&self) -> impl Iterator<Item = (&SiteId, &SiteLevel)> + Clone {
        self.0.iter().map(|(site, row)| (site, row))
    }

    pub fn sites(&self) -> impl Iterator<Item = &SiteId> {
        self.0.iter().map(|(site, _)| site)
    }

    pub fn rows(&self) -> impl Iterator<Item = &SiteLevel> {
        self.0.iter().map(|(_, row)| row)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of what is said of a site more than once, the last holds.
impl FromIterator<(SiteId, SiteLevel)> for SiteLevels {
    fn from_iter<I: IntoIterator<Item = (SiteId, SiteLevel)>>(rows: I) -> Self {
        Self(rows.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

impl IntoIterator for SiteLevels {
    type Item = (SiteId, SiteLevel);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl Serialize for SiteLevels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for SiteLevels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

/// All rows of one account: what it may do on which site. Kept by the site's id, so that a site made again
/// under an old name inherits nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRows {
    pub v: super::account::Format,
    pub account: AccountId,
    pub rows: SiteLevels,
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
        self.rows.rows().map(|row| row.level).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_on_sites_are_found_by_site_in_whatever_order_they_came() {
        let id = |text: &str| SiteId::parse(text).unwrap();
        let row = |level| SiteLevel { site: SiteName::parse("shop").unwrap(), level };
        let mut levels = SiteLevels::default();
        for (site, level) in [("b", Level::View), ("c", Level::Admin), ("a", Level::View), ("b", Level::Write)] {
            levels.insert(id(site), row(level));
        }
        let json = serde_json::to_string(&levels).unwrap();
        assert!(json.starts_with(r#"{"a":{"#), "{json}");
        assert_eq!(serde_json::from_str::<SiteLevels>(&json).unwrap(), levels);
        assert_eq!(levels.clone().into_iter().rev().collect::<SiteLevels>(), levels);
        let level = |levels: &SiteLevels, site| levels.get(&id(site)).map(|row| row.level);
        let held = |levels: &SiteLevels| ["a", "b", "c", "d"].map(|site| level(levels, site));
        assert_eq!(held(&levels), [Some(Level::View), Some(Level::Write), Some(Level::Admin), None]);
        levels.remove(&id("a"));
        levels.remove(&id("d"));
        assert_eq!(held(&levels), [None, Some(Level::Write), Some(Level::Admin), None]);
    }
}
