//! The records that a check reads, in as few round trips as can be: which of the sites' are asked for with the first
//! question, and which can be only with the second. Judges nothing.

use crate::{
    domain::{
        policy::SiteAsk,
        site::{Site, SiteName},
    },
    store::{Key, Record, StoreError, Stored, record::HostClaim},
};

/// What was asked for, and what there is.
pub(super) type Answer = (Key, Option<Stored>);

pub(super) fn decode<R: Record>((key, stored): &Answer) -> Result<Option<R>, StoreError> {
    stored.as_ref().map(|stored| R::decode(key, stored)).transpose()
}

/// How far the sites of a check have been read. A site that is found by its host takes a second step.
pub(super) enum Reading {
    Named { names: Vec<SiteName>, sites: Option<Vec<Site>> },
    ByHost { claim: Key, site: Option<SiteName> },
}

impl Reading {
    pub(super) fn of_sites(asked: &SiteAsk) -> Self {
        match asked {
            SiteAsk::Named(names) => Self::Named { names: names.clone(), sites: None },
            SiteAsk::ByHost(host) => Self::ByHost { claim: Key::Host(host.clone()), site: None },
            SiteAsk::Missing | SiteAsk::Impossible => Self::Named { names: Vec::new(), sites: None },
        }
    }

    /// `first`, and what is asked about the sites with it.
    pub(super) fn keys<const N: usize>(&self, first: [Key; N]) -> Vec<Key> {
        let mut keys = Vec::from(first);
        match self {
            Self::Named { names, .. } => keys.extend(names.iter().cloned().map(Key::Site)),
            Self::ByHost { claim, .. } => keys.push(claim.clone()),
        }
        keys
    }

    /// The answers to what [`Reading::keys`] added.
    pub(super) fn take_sites(&mut self, records: &[Answer]) -> Result<(), StoreError> {
        match self {
            Self::Named { sites, .. } => {
                *sites = records.iter().map(decode).collect::<Result<Option<Vec<Site>>, _>>()?;
            }
            Self::ByHost { site, .. } => {
                *site = records.first().map_or(Ok(None), decode::<HostClaim>)?.map(|claim| claim.site);
            }
        }
        Ok(())
    }

    pub(super) fn site_behind_host(&self) -> Option<Key> {
        match self {
            Self::ByHost { site, .. } => site.clone().map(Key::Site),
            Self::Named { .. } => None,
        }
    }
}
