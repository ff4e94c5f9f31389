//! How strong a token is asked to be, and for how long: read against the sites there are and the rules of the installation.

use std::{collections::BTreeMap, time::Duration};

use super::{Directory, DirectoryError, Edit, fields};
use crate::{
    domain::{
        access::{Level, SiteLevel},
        authority::{Authority, Owner},
        id::SiteId,
        site::{Site, SiteName},
        text::Invalid,
        time::Timestamp,
        token::Ceiling,
        token_rules::TokenRules,
    },
    store::Key,
};

/// How far below its owner a token is to stay, by the names of sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CeilingAsk {
    Owner,
    EverySite(Level),
    PerSite(BTreeMap<SiteName, Level>),
}

/// When a token is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    At(Timestamp),
    After(Duration),
    Never,
}

impl Directory {
    /// The ceiling by the ids of its sites, which must exist when the token is written; `None` where none is asked for. A
    /// site with which neither the actor nor the owner has to do does not exist for them.
    pub(super) async fn ceiling(
        &self,
        edit: &mut Edit,
        ask: &CeilingAsk,
        actor: &Authority,
        owner: Owner<'_>,
    ) -> Result<Option<Ceiling>, DirectoryError> {
        let known = |site: &SiteId| actor.level(site) > Level::None || owner.level(site) > Level::None;
        let names = match ask {
            CeilingAsk::Owner => return Ok(None),
            CeilingAsk::EverySite(level) => return Ok(Some(Ceiling::EverySite(some(*level)?))),
            CeilingAsk::PerSite(names) => names,
        };
        let asked: Vec<_> = names.iter().collect();
        fields::bounded(&asked, "too_many_sites", "levels")?;
        let keys: Vec<_> = names.keys().cloned().map(Key::Site).collect();
        let sites = self.get_all::<Site>(&keys).await?;
        let mut rows = Vec::with_capacity(names.len());
        for ((name, level), site) in names.iter().zip(sites) {
            let site = site.filter(|site| known(&site.id)).ok_or_else(|| Self::not_a_site(name))?;
            edit.expect_same(Key::Site(name.clone()), &site);
            rows.push((site.id, SiteLevel { site: site.site, level: some(*level)? }));
        }
        Ok(Some(Ceiling::PerSite(Box::new(rows.into_iter().collect()))))
    }
}

fn some(level: Level) -> Result<Level, Invalid> {
    match level {
        Level::None => Err(Invalid::new("token_level", "levels", "a token's level is view, write, admin or superuser")),
        level => Ok(level),
    }
}

/// When a token ends that is made now.
///
/// # Errors
/// For an end that has been, that is farther than the rules allow, or that is missing where they demand one.
pub(super) fn end(ask: Option<Expiry>, rules: &TokenRules, now: Timestamp) -> Result<Option<Timestamp>, Invalid> {
    let from_now = |duration| now.checked_add(duration).ok_or_else(too_far);
    let end = match (ask, rules.default_expiry.or(rules.max_expiry)) {
        (Some(Expiry::At(end)), _) => end,
        (Some(Expiry::After(duration)), _) => from_now(duration)?,
        (None, Some(default)) => from_now(default)?,
        (Some(Expiry::Never), _) | (None, None) if rules.must_expire || rules.max_expiry.is_some() => {
            return Err(Invalid::new("expiry_required", "expires_at", "a token has to have an end here; say when it expires"));
        }
        (Some(Expiry::Never), _) | (None, None) => return Ok(None),
    };
    if end <= now {
        return Err(Invalid::new("expiry_in_the_past", "expires_at", "the expiry has to be in the future"));
    }
    match rules.max_expiry {
        Some(max) if end > from_now(max)? => {
            let days = max.as_secs() / 86_400;
            let detail =
                format!("a token ends within {} here", if days > 0 { format!("{days}d") } else { format!("{}s", max.as_secs()) });
            Err(Invalid { limit: Some(max.as_secs()), ..Invalid::new("expiry_too_late", "expires_at", detail) })
        }
        _ => Ok(Some(end)),
    }
}

pub(super) fn too_far() -> Invalid {
    Invalid::new("time_out_of_range", "expires_at", "this is past the year 9999")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn the_rules_say_when_a_token_ends() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let days = |days: u32| now.checked_add(DAY * days);
        let free = TokenRules::default();
        let default = TokenRules { default_expiry: Some(DAY * 30), ..free.clone() };
        let max = TokenRules { max_expiry: Some(DAY * 90), ..free.clone() };
        let must = TokenRules { must_expire: true, ..free.clone() };
        let (ten, hundred, never) = (Some(Expiry::After(DAY * 10)), Some(Expiry::After(DAY * 100)), Some(Expiry::Never));
        for (rules, ask, expected) in [
            (&free, None, Ok(None)),
            (&free, never, Ok(None)),
            (&free, hundred, Ok(days(100))),
            (&free, Some(Expiry::At(now)), Err("expiry_in_the_past")),
            (&default, None, Ok(days(30))),
            (&default, never, Ok(None)),
            (&default, hundred, Ok(days(100))),
            (&max, None, Ok(days(90))),
            (&max, ten, Ok(days(10))),
            (&max, hundred, Err("expiry_too_late")),
            (&max, never, Err("expiry_required")),
            (&must, None, Err("expiry_required")),
            (&must, never, Err("expiry_required")),
            (&must, hundred, Ok(days(100))),
        ] {
            assert_eq!(end(ask, rules, now).map_err(|error| error.code), expected, "{rules:?} {ask:?}");
        }
    }
}
