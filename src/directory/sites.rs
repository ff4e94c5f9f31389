//! Sites: what access is given on. A site's id and each of its hosts are claims; a site made again under an old
//! id is another site, because access is kept by an id that is never used twice.

use std::collections::BTreeSet;

use super::{Actor, Directory, DirectoryError, Edit, FieldPatch, Listing, Plan, Window, fields, rng, until_settled};
use crate::{
    domain::{
        account::Format,
        id::SiteId,
        site::{Host, Site, SiteName},
        text::Label,
    },
    store::{Index, Key, record::HostClaim},
};

/// A site to make.
#[derive(Clone, Debug)]
pub struct NewSite {
    pub site: SiteName,
    pub name: Option<Label>,
    pub hosts: Vec<Host>,
}

/// What to change of a site; what is `None` or `Keep` stays.
#[derive(Clone, Debug, Default)]
pub struct SitePatch {
    pub name: FieldPatch<Label>,
    /// All hosts from now on.
    pub hosts: Option<Vec<Host>>,
}

impl Directory {
    pub async fn create_site(&self, actor: &Actor, new: NewSite) -> Result<Site, DirectoryError> {
        actor.may_administer()?;
        let hosts = distinct(&new.hosts)?;
        until_settled!(self, {
            let taken: Option<Site> = self.get(Key::Site(new.site.clone())).await?;
            if taken.is_some() {
                let detail = format!("there is a site `{}` already", new.site);
                return Err(DirectoryError::Taken { code: "site_taken", field: "id", detail });
            }
            let site = Site {
                v: Format,
                id: SiteId::generate(&mut rng()),
                site: new.site.clone(),
                name: new.name.clone(),
                hosts: hosts.clone(),
                created_at: self.clock.now(),
                version: 1,
            };
            let mut edit = Edit::default();
            edit.create(Key::Site(site.site.clone()), &site)?;
            edit.add_to(Index::Sites, &site.site);
            self.claim_hosts(&mut edit, &site.site, hosts.iter()).await?;
            Plan::Commit(edit, site)
        })
    }

    pub async fn site(&self, actor: &Actor, site: &SiteName) -> Result<Site, DirectoryError> {
        actor.may_administer()?;
        self.site_by_name(site).await
    }

    pub async fn sites(&self, actor: &Actor, window: &Window) -> Result<Listing<Site>, DirectoryError> {
        actor.may_administer()?;
        let (names, next) = self.members(&Index::Sites, window).await?;
        let keys: Vec<_> = names.iter().filter_map(|name| SiteName::parse(name).ok()).map(Key::Site).collect();
        let items = self.get_all::<Site>(&keys).await?.into_iter().flatten().collect();
        Ok(Listing { items, next })
    }

    /// Changes a site. `seen` is the version the caller has read, if he minds.
    pub async fn update_site(
        &self,
        actor: &Actor,
        site: &SiteName,
        patch: SitePatch,
        seen: Option<u64>,
    ) -> Result<Site, DirectoryError> {
        actor.may_administer()?;
        let hosts = patch.hosts.as_deref().map(distinct).transpose()?;
        until_settled!(self, {
            let old = self.site_by_name(site).await?;
            DirectoryError::unless_seen(seen, old.version)?;
            let mut new = Site {
                name: patch.name.clone().applied_to(old.name.as_ref()),
                hosts: hosts.clone().unwrap_or_else(|| old.hosts.clone()),
                ..old.clone()
            };
            if new == old {
                return Ok(old);
            }
            new.version += 1;
            let mut edit = Edit::default();
            edit.expect_same(Key::Site(old.site.clone()), &old);
            edit.put(Key::Site(new.site.clone()), &new)?;
            self.claim_hosts(&mut edit, &new.site, new.hosts.iter().filter(|host| !old.hosts.contains(host))).await?;
            for host in old.hosts.iter().filter(|host| !new.hosts.contains(host)) {
                edit.delete(Key::Host(host.clone()));
            }
            Plan::Commit(edit, new)
        })
    }

    /// Deletes a site and frees its hosts. Access to it stays in the accounts' records, under an id that no site will
    /// have again.
    pub async fn delete_site(&self, actor: &Actor, site: &SiteName, seen: Option<u64>) -> Result<(), DirectoryError> {
        actor.may_administer()?;
        until_settled!(self, {
            let old = self.site_by_name(site).await?;
            DirectoryError::unless_seen(seen, old.version)?;
            let mut edit = Edit::default();
            edit.expect_same(Key::Site(old.site.clone()), &old);
            edit.delete(Key::Site(old.site.clone()));
            edit.remove_from(Index::Sites, &old.site);
            for host in old.hosts {
                edit.delete(Key::Host(host));
            }
            Plan::Commit(edit, ())
        })
    }

    pub(super) async fn site_by_name(&self, site: &SiteName) -> Result<Site, DirectoryError> {
        self.get(Key::Site(site.clone())).await?.ok_or_else(|| Self::not_a_site(site))
    }

    async fn claim_hosts(
        &self,
        edit: &mut Edit,
        site: &SiteName,
        hosts: impl Iterator<Item = &Host>,
    ) -> Result<(), DirectoryError> {
        let keys: Vec<_> = hosts.cloned().map(Key::Host).collect();
        let taken = self.get_all::<HostClaim>(&keys).await?;
        for (key, taken) in keys.into_iter().zip(taken) {
            if let (Key::Host(host), Some(claim)) = (&key, taken) {
                let detail = format!("the host `{host}` belongs to the site `{}`", claim.site);
                return Err(DirectoryError::Taken { code: "host_taken", field: "hosts", detail });
            }
            edit.create(key, &HostClaim { v: Format, site: site.clone(), version: 1 })?;
        }
        Ok(())
    }
}

/// Each host once, in the order given.
fn distinct(hosts: &[Host]) -> Result<Vec<Host>, DirectoryError> {
    fields::bounded(hosts, "too_many_hosts", "hosts")?;
    let mut seen = BTreeSet::new();
    Ok(hosts.iter().filter(|host| seen.insert(*host)).cloned().collect())
}
