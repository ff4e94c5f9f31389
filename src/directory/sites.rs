//! Sites: what access is given on. A site's id and each of its hosts are claims; a site made again under an old
//! id is another site, because access is kept by an id that is never used twice.

use std::collections::BTreeSet;

use super::{
    Actor, Direction, Directory, DirectoryError, Edit, FieldPatch, Listing, Plan, Window, fields, rng, shown::SiteView,
    standing::Standing, until_settled,
};
use crate::{
    domain::{
        access::Level,
        account::Format,
        authority::Denied,
        event::Action,
        id::SiteId,
        site::{Host, Site, SiteName},
        text::Label,
    },
    store::{
        Index, Key,
        record::{HostClaim, Made, PastSite},
    },
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
        let hosts = distinct(&new.hosts)?;
        self.audited(actor, Action::SiteCreate, new.site.as_str(), async {
            until_settled!(self, {
                let standing = self.superuser(actor).await?;
                let taken: Option<Site> = self.get(Key::Site(new.site.clone())).await?;
                if taken.is_some() {
                    let detail = format!("there is a site `{}` already", new.site);
                    return Err(DirectoryError::Taken { code: "site_taken", field: "id", detail });
                }
                let past: Option<PastSite> = self.get(Key::PastSite(new.site.clone())).await?;
                let site = Site {
                    v: Format,
                    id: SiteId::generate(&mut rng()),
                    site: new.site.clone(),
                    name: new.name.clone(),
                    hosts: hosts.clone(),
                    created_at: standing.now,
                    version: past.as_ref().map_or(0, |past| past.version) + 1,
                };
                let mut edit = standing.edit();
                edit.expect_as_read(Key::PastSite(site.site.clone()), past.as_ref());
                edit.create(Key::Site(site.site.clone()), &site)?;
                edit.add_to(Index::Sites, &site.site);
                self.claim_hosts(&mut edit, &site.site, hosts.iter()).await?;
                let event = standing.event(Action::SiteCreate, site.site.as_str());
                edit.tell(event.changing(None::<&SiteView>, Some(&SiteView::from(site.clone()))));
                standing.made(&mut edit, self, Made::Site(site.site.clone()))?;
                Plan::Commit(edit, site)
            })
        })
        .await
    }

    pub async fn site(&self, actor: &Actor, site: &SiteName) -> Result<Site, DirectoryError> {
        let standing = self.standing(actor).await?;
        self.seen_site(&standing, site).await
    }

    /// The sites that the actor administers, by their ids.
    pub async fn sites(&self, actor: &Actor, direction: Direction, window: &Window) -> Result<Listing<Site>, DirectoryError> {
        let standing = self.standing(actor).await?;
        let Some(his) = standing.authority.administered() else {
            let (names, next) = self.members_in(&Index::Sites, direction, window).await?;
            let keys: Vec<_> = names.iter().filter_map(|name| SiteName::parse(name).ok()).map(Key::Site).collect();
            let items = self.get_all::<Site>(&keys).await?.into_iter().flatten().collect();
            return Ok(Listing { items, next });
        };
        let limit = window.limit.clamp(1, Window::MAX_LIMIT);
        let comes = |site: &SiteName| window.after.as_deref().is_none_or(|after| direction.compare(site.as_str(), after).is_gt());
        let mut his: Vec<_> = his.into_iter().filter(|(_, row)| comes(&row.site)).collect();
        his.sort_by(|(_, one), (_, other)| direction.compare(one.site.as_str(), other.site.as_str()));
        let more = his.len() > limit;
        his.truncate(limit);
        let next = his.last().filter(|_| more).map(|(_, row)| row.site.to_string());
        let keys: Vec<_> = his.iter().map(|(_, row)| Key::Site(row.site.clone())).collect();
        let sites = self.get_all::<Site>(&keys).await?;
        let items = his.iter().zip(sites).filter_map(|((id, _), site)| site.filter(|site| site.id == **id)).collect();
        Ok(Listing { items, next })
    }

    /// Changes a site; only a superuser its hosts. `seen` is the version the caller has read, if he minds.
    pub async fn update_site(
        &self,
        actor: &Actor,
        site: &SiteName,
        patch: SitePatch,
        seen: Option<u64>,
    ) -> Result<Site, DirectoryError> {
        let hosts = patch.hosts.as_deref().map(distinct).transpose()?;
        self.audited(actor, Action::SiteUpdate, site.as_str(), async {
            until_settled!(self, {
                let standing = self.standing(actor).await?;
                let old = self.seen_site(&standing, site).await?;
                DirectoryError::unless_seen(seen, old.version)?;
                let mut new = Site {
                    name: patch.name.clone().applied_to(old.name.as_ref()),
                    hosts: hosts.clone().unwrap_or_else(|| old.hosts.clone()),
                    ..old.clone()
                };
                if new == old {
                    return Ok(old);
                }
                if new.hosts != old.hosts {
                    standing.authority.require_superuser()?;
                }
                // Who has access to the site, gets to them.
                if new.hosts.iter().any(|host| !old.hosts.contains(host)) {
                    standing.require_confirmation()?;
                }
                new.version += 1;
                let mut edit = standing.edit();
                // A host may be taken from it.
                edit.must_hold();
                edit.expect_same(Key::Site(old.site.clone()), &old);
                edit.put(Key::Site(new.site.clone()), &new)?;
                self.claim_hosts(&mut edit, &new.site, new.hosts.iter().filter(|host| !old.hosts.contains(host))).await?;
                for host in old.hosts.iter().filter(|host| !new.hosts.contains(host)) {
                    edit.delete(Key::Host(host.clone()));
                }
                let event = standing.event(Action::SiteUpdate, old.site.as_str());
                edit.tell(event.changing(Some(&SiteView::from(old)), Some(&SiteView::from(new.clone()))));
                Plan::Commit(edit, new)
            })
        })
        .await
    }

    /// Deletes a site and frees its hosts. Access to it stays in the accounts' records, under an id that no site will
    /// have again.
    pub async fn delete_site(&self, actor: &Actor, site: &SiteName, seen: Option<u64>) -> Result<(), DirectoryError> {
        self.audited(actor, Action::SiteDelete, site.as_str(), async {
            until_settled!(self, {
                let standing = self.superuser(actor).await?;
                let old = match self.get::<Site>(Key::Site(site.clone())).await? {
                    Some(old) => old,
                    None => self.gone(Key::Site(site.clone()), Self::not_a_site(site)).await?,
                };
                DirectoryError::unless_seen(seen, old.version)?;
                let past: Option<PastSite> = self.get(Key::PastSite(old.site.clone())).await?;
                let mut edit = standing.edit();
                edit.expect_same(Key::Site(old.site.clone()), &old);
                edit.delete(Key::Site(old.site.clone()));
                edit.expect_as_read(Key::PastSite(old.site.clone()), past.as_ref());
                edit.put(Key::PastSite(old.site.clone()), &PastSite { v: Format, version: old.version })?;
                edit.remove_from(Index::Sites, &old.site);
                edit.clear(Index::AccessOn(old.id.clone()));
                for host in &old.hosts {
                    edit.delete(Key::Host(host.clone()));
                }
                edit.takes_away();
                let event = standing.event(Action::SiteDelete, old.site.as_str());
                edit.tell(event.changing(Some(&SiteView::from(old)), None::<&SiteView>));
                Plan::Commit(edit, ())
            })
        })
        .await
    }

    /// The site of this name, where the actor has to do with it.
    pub(super) async fn seen_site(&self, standing: &Standing, site: &SiteName) -> Result<Site, DirectoryError> {
        let site = self.site_by_name(site).await?;
        match standing.authority.level(&site.id) {
            Level::Admin | Level::Superuser => Ok(site),
            // He knows it, so there is no point in hiding it.
            Level::View | Level::Write => Err(Denied::site_admin_required().into()),
            Level::None => Err(Self::not_a_site(&site.site)),
        }
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
