//! Who may do how much on which site. Rows lie with their account, keyed by the site's id; rows of sites that are
//! gone are shown to nobody, and swept out when their account's rows are next written.

use std::collections::BTreeSet;

use super::{
    Actor, Directory, DirectoryError, Listing, Plan, Window, accounts::account_id, fields::MAX_LIST, shown::AccessView,
    standing::Standing, until_settled,
};
use crate::{
    domain::{
        access::{AccessRows, Level, SiteLevel, SiteLevels},
        account::{Account, AccountKind, Format},
        event::Action,
        id::{AccountId, SiteId},
        site::{Site, SiteName},
        text::{Invalid, Login},
    },
    store::{Index, Key, StoreError},
};

/// Sites one account has rows on at most: ten times what other lists hold.
const MAX_ROWS: usize = 10 * MAX_LIST;
/// How many sites one page of the whole list looks at, so that it ends also where nobody has access.
const SITES_PER_PAGE: usize = 50;
/// Sorts after every account id.
const PAST_THE_LAST: &str = "~";

/// One row of access, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    pub account: AccountId,
    pub login: Login,
    pub site: SiteName,
    pub level: Level,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct AccessFilter {
    pub login: Option<Login>,
    pub site: Option<SiteName>,
}

impl Directory {
    /// Gives an account a level on a site; `none` takes it away.
    pub async fn set_access(
        &self,
        actor: &Actor,
        login: &Login,
        site: &SiteName,
        level: Level,
    ) -> Result<AccessEntry, DirectoryError> {
        self.audited(actor, Action::AccessSet, &format!("{login}/{site}"), async {
            until_settled!(self, self.plan_set_access(actor, login, site, level).await?)
        })
        .await
    }

    async fn plan_set_access(
        &self,
        actor: &Actor,
        login: &Login,
        site: &SiteName,
        level: Level,
    ) -> Result<Plan<AccessEntry>, DirectoryError> {
        let standing = self.standing(actor).await?;
        let site = self.seen_site(&standing, site).await?;
        standing.authority.may_give(&site.id, level)?;
        let (account, old) = self.account_and_access(login).await?;
        may_hold(&account, level)?;
        let key = Key::Access(account.id.clone());
        let entry = AccessEntry { account: account.id.clone(), login: account.login.clone(), site: site.site.clone(), level };
        let before = old.as_ref().map_or(Level::None, |rows| rows.level(&site.id));
        if before == level {
            let mut edit = standing.edit();
            edit.confirms(key, old.as_ref());
            return Ok(Plan::Commit(edit, entry));
        }

        if level > before {
            standing.require_confirmation()?;
        }
        let mut edit = standing.edit();
        // He must not become a superuser, nor the site another one, while this is being written.
        edit.expect_owner(&account, old.as_ref());
        edit.expect_same(Key::Site(site.site.clone()), &site);
        let mut rows =
            old.unwrap_or_else(|| AccessRows { v: Format, account: account.id.clone(), rows: SiteLevels::default(), version: 0 });
        for dead in self.dead_sites(&rows.rows).await? {
            rows.rows.remove(&dead);
            edit.remove_from(Index::AccessOn(dead), &account.id);
        }
        if level == Level::None {
            rows.rows.remove(&site.id);
            edit.remove_from(Index::AccessOn(site.id), &account.id);
        } else {
            edit.add_to(Index::AccessOn(site.id.clone()), &account.id);
            rows.rows.insert(site.id, SiteLevel { site: site.site, level });
        }
        if rows.rows.len() > MAX_ROWS {
            let detail = format!("one account has access to at most {MAX_ROWS} sites");
            return Err(DirectoryError::refused("too_many_sites", detail));
        }
        rows.version += 1;
        edit.put(key, &rows)?;
        if level < before {
            edit.takes_away();
        }
        let told = |level| AccessView::from(AccessEntry { level, ..entry.clone() });
        let event = standing.event(Action::AccessSet, format!("{}/{}", entry.login, entry.site));
        edit.tell(event.changing(Some(&told(before)), Some(&told(level))));
        Ok(Plan::Commit(edit, entry))
    }

    /// The rows of one account, of one site, or all of them, by site: as far as they are on sites that the actor
    /// administers, or his own.
    pub async fn access(
        &self,
        actor: &Actor,
        filter: &AccessFilter,
        window: &Window,
    ) -> Result<Listing<AccessEntry>, DirectoryError> {
        let standing = self.standing(actor).await?;
        match filter {
            AccessFilter { login: Some(login), site } => self.access_of(&standing, login, site.as_ref(), window).await,
            AccessFilter { login: None, site: Some(site) } => {
                let site = self.seen_site(&standing, site).await?;
                Ok(self.access_on(&site, window).await?)
            }
            AccessFilter { login: None, site: None } => self.all_access(&standing, window).await,
        }
    }

    /// The rows of an account on sites that exist, as far as they are wanted.
    pub(super) async fn living_rows(
        &self,
        account: &Account,
        access: Option<AccessRows>,
        wanted: impl Fn(&SiteId) -> bool,
    ) -> Result<Vec<AccessEntry>, StoreError> {
        let Some(mut rows) = access else { return Ok(Vec::new()) };
        self.drop_dead_sites(&mut rows).await?;
        let mut rows: Vec<_> = rows.rows.into_iter().filter(|(site, _)| wanted(site)).map(|(_, row)| row).collect();
        rows.sort_by(|a, b| a.site.cmp(&b.site));
        let (id, login) = (&account.id, &account.login);
        let entry = |row: SiteLevel| AccessEntry { account: id.clone(), login: login.clone(), site: row.site, level: row.level };
        Ok(rows.into_iter().map(entry).collect())
    }

    async fn access_of(
        &self,
        standing: &Standing,
        login: &Login,
        only: Option<&SiteName>,
        window: &Window,
    ) -> Result<Listing<AccessEntry>, DirectoryError> {
        let (account, access) = self.known_account(standing, login).await?;
        let own = standing.authority.is(&account.id);
        let sees = |site: &SiteId| own || standing.authority.administers(site);
        if let Some(site) = only {
            let site = self.site_by_name(site).await?;
            if !sees(&site.id) {
                return Err(Self::not_a_site(&site.site));
            }
        }
        let limit = window.limit.clamp(1, Window::MAX_LIMIT);
        let rows = self.living_rows(&account, access, sees).await?;
        let mut items: Vec<_> = rows
            .into_iter()
            .filter(|row| only.is_none_or(|site| row.site == *site))
            .filter(|row| window.after.as_deref().is_none_or(|after| row.site.as_str() > after))
            .take(limit + 1)
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|row| row.site.to_string());
        Ok(Listing { items, next })
    }

    async fn access_on(&self, site: &Site, window: &Window) -> Result<Listing<AccessEntry>, StoreError> {
        let (members, next) = self.members(&Index::AccessOn(site.id.clone()), window).await?;
        let ids: BTreeSet<_> = members.iter().filter_map(|member| account_id(member)).collect();
        let keys: Vec<_> = ids.iter().cloned().map(Key::Access).collect();
        let rows = self.get_all::<AccessRows>(&keys).await?;
        let accounts = self.accounts_by_id(ids).await?;
        let items = rows
            .into_iter()
            .flatten()
            .filter_map(|rows| {
                let login = accounts.get(&rows.account)?.login.clone();
                let level = rows.level(&site.id);
                (level > Level::None).then(|| AccessEntry { account: rows.account, login, site: site.site.clone(), level })
            })
            .collect();
        Ok(Listing { items, next })
    }

    /// Goes from site to site. The cursor is `SITE/ACCOUNT`: the last row that was looked at.
    async fn all_access(&self, standing: &Standing, window: &Window) -> Result<Listing<AccessEntry>, DirectoryError> {
        let his = standing.authority.administered();
        if let (Some([]), Some(bearer)) = (his.as_deref(), standing.authority.bearer()) {
            return self.access_of(standing, &bearer.account.login, None, window).await;
        }
        let limit = window.limit.clamp(1, Window::MAX_LIMIT);
        let (mut site, mut member) = match window.after.as_deref().and_then(|cursor| cursor.split_once('/')) {
            Some((site, member)) => (Some(site.to_owned()), member.to_owned()),
            None => (None, PAST_THE_LAST.to_owned()),
        };
        let mut items = Vec::new();
        for _ in 0..SITES_PER_PAGE {
            if let Some(record) = self.site_of_cursor(site.as_deref()).await?
                && standing.authority.administers(&record.id)
            {
                let part = Window { after: Some(member), limit: limit - items.len() };
                let listing = self.access_on(&record, &part).await?;
                items.extend(listing.items);
                if let Some(next) = listing.next {
                    return Ok(Listing { items, next: Some(format!("{}/{next}", record.site)) });
                }
            }
            let next_site = match &his {
                None => self.store.page(&Index::Sites, site.as_deref(), 1).await?.members.into_iter().next(),
                Some(his) => {
                    let names = his.iter().map(|(_, row)| row.site.as_str());
                    names.into_iter().find(|name| site.as_deref().is_none_or(|site| *name > site)).map(str::to_owned)
                }
            };
            let Some(next_site) = next_site else {
                return Ok(Listing { items, next: None });
            };
            if items.len() >= limit {
                return Ok(Listing { items, next: site.map(|site| format!("{site}/{PAST_THE_LAST}")) });
            }
            (site, member) = (Some(next_site), String::new());
        }
        // The site at hand has not been looked at yet.
        Ok(Listing { items, next: site.map(|site| format!("{site}/")) })
    }

    async fn site_of_cursor(&self, site: Option<&str>) -> Result<Option<Site>, StoreError> {
        match site.and_then(|site| SiteName::parse(site).ok()) {
            Some(site) => self.get(Key::Site(site)).await,
            None => Ok(None),
        }
    }

    /// Leaves the rows of sites that exist.
    pub(super) async fn drop_dead_sites(&self, rows: &mut AccessRows) -> Result<(), StoreError> {
        for dead in self.dead_sites(&rows.rows).await? {
            rows.rows.remove(&dead);
        }
        Ok(())
    }

    /// Which of these sites are no more, or are others under the same name.
    async fn dead_sites(&self, rows: &SiteLevels) -> Result<Vec<SiteId>, StoreError> {
        let keys: Vec<_> = rows.rows().map(|row| Key::Site(row.site.clone())).collect();
        let sites = self.get_all::<Site>(&keys).await?;
        let is_dead = |(id, site): (&SiteId, Option<Site>)| site.is_none_or(|site| site.id != *id).then(|| id.clone());
        Ok(rows.sites().zip(sites).filter_map(is_dead).collect())
    }
}

/// Whether such an account may have a row with this level at all.
fn may_hold(account: &Account, level: Level) -> Result<(), DirectoryError> {
    if level == Level::Superuser {
        let detail = "a level on a site is none, view, write or admin; `superuser` is a property of the account";
        return Err(Invalid::new("access_level", "level", detail).into());
    }
    if account.superuser && level > Level::None {
        let detail = format!("`{}` is a superuser, who has every access on every site already", account.login);
        return Err(DirectoryError::refused("superuser_access", detail));
    }
    if account.kind == AccountKind::Anonymous && level > Level::View {
        return Err(DirectoryError::refused("anonymous_access", "the account `anonymous` has at most `view`"));
    }
    Ok(())
}
