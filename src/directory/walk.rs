//! The tokens that somebody sees, one part after the other: all of them for a superuser; for others their own, and after
//! them those of the services on the sites that they administer.

use std::collections::BTreeMap;

use super::{Directory, DirectoryError, Window, accounts::account_id, places::id_at, standing::Standing};
use crate::{
    domain::{
        access::{AccessRows, Level, SiteLevel},
        account::{Account, AccountKind},
        authority::Owner,
        id::{AccountId, SiteId},
        text::Login,
        token::TokenId,
    },
    store::{Index, Key, StoreError},
};

/// How many accounts of a site are looked at together.
const ACCOUNTS_AT_ONCE: usize = 100;
/// How often that is done for one part of the list.
const LOOKS_PER_PART: usize = 10;

/// Where a walk stands: at a token of an account, which was met on a site (an empty text for the actor's own).
struct Step {
    site: String,
    account: String,
    /// The last token seen; `~`, which sorts after every id, when there is nothing more to see.
    token: String,
}

const NOTHING_MORE: &str = "~";

impl Directory {
    /// Ids of tokens that the actor may see, and the cursor of the next part. Each is still to be judged by itself.
    pub(super) async fn token_ids(
        &self,
        standing: &Standing,
        of: Option<&Login>,
        window: &Window,
    ) -> Result<(Vec<TokenId>, Option<String>), DirectoryError> {
        let read = |members: Vec<String>| members.iter().filter_map(|place| TokenId::parse(id_at(place))).collect();
        let his = standing.authority.administered();
        if let Some(login) = of {
            let (account, access) = self.known_account(standing, login).await?;
            if !standing.authority.sees_tokens_of(Owner { account: &account, access: access.as_ref() }) {
                return Ok((Vec::new(), None));
            }
            let (members, next) = self.members(&Index::TokensOf(account.id), window).await?;
            return Ok((read(members), next));
        }
        let (members, next) = match (his, standing.authority.bearer()) {
            (Some(sites), Some(bearer)) => self.walk(standing, &bearer.account.id, &sites, window).await?,
            _ => self.members(&Index::Tokens, window).await?,
        };
        Ok((read(members), next))
    }

    /// The account of this login with its access, where the actor has to do with it.
    pub(super) async fn known_account(
        &self,
        standing: &Standing,
        login: &Login,
    ) -> Result<(Account, Option<AccessRows>), DirectoryError> {
        let (account, access) = self.account_and_access(login).await?;
        let known = standing.authority.has_to_do_with(Owner { account: &account, access: access.as_ref() });
        if known { Ok((account, access)) } else { Err(Self::not_an_account(login)) }
    }

    /// Whether there may be tokens of the account that the actor sees. A cursor says which account it is about, so it is
    /// not believed.
    async fn has_visible_tokens(&self, standing: &Standing, id: &AccountId) -> Result<bool, StoreError> {
        let found = self.account_with_access(id).await?;
        Ok(found.is_some_and(|(account, access)| {
            standing.authority.sees_tokens_of(Owner { account: &account, access: access.as_ref() })
        }))
    }

    async fn walk(
        &self,
        standing: &Standing,
        own: &AccountId,
        sites: &[(&SiteId, &SiteLevel)],
        window: &Window,
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        let begin = || Step { site: String::new(), account: own.to_string(), token: String::new() };
        let mut step = window.after.as_deref().and_then(Step::parse).unwrap_or_else(begin);
        let mut members = Vec::new();
        let mut looks = 0;
        let limit = window.limit.clamp(1, Window::MAX_LIMIT);
        loop {
            if let Some(account) = account_id(&step.account).filter(|_| step.token != NOTHING_MORE)
                && self.has_visible_tokens(standing, &account).await?
            {
                let room = limit - members.len();
                let after = Some(step.token.as_str()).filter(|token| !token.is_empty());
                let page = self.store.page(&Index::TokensOf(account), after, room).await?;
                members.extend(page.members);
                if page.more {
                    step.token = members.last().cloned().unwrap_or_default();
                    return Ok((members, Some(step.to_string())));
                }
                NOTHING_MORE.clone_into(&mut step.token);
            }
            if members.len() >= limit || looks >= LOOKS_PER_PART {
                return Ok((members, Some(step.to_string())));
            }
            looks += 1;
            match self.next_service(sites, &step).await? {
                Some(next) => step = next,
                None => return Ok((members, None)),
            }
        }
    }

    /// The next service on these sites, or the last account that was looked at for one.
    async fn next_service(&self, sites: &[(&SiteId, &SiteLevel)], step: &Step) -> Result<Option<Step>, StoreError> {
        let here = sites.iter().position(|(_, row)| row.site.as_str() == step.site);
        let (at, after) = match here {
            Some(at) => (at, Some(step.account.as_str())),
            // From his own tokens to the first site; or the site at hand is not his any more.
            None => (sites.iter().position(|(_, row)| row.site.as_str() > step.site.as_str()).unwrap_or(sites.len()), None),
        };
        let Some((id, row)) = sites.get(at) else { return Ok(None) };
        let site = row.site.to_string();
        let page =
            self.store.page(&Index::AccessOn((*id).clone()), after.filter(|after| !after.is_empty()), ACCOUNTS_AT_ONCE).await?;
        let ids: Vec<_> = page.members.iter().filter_map(|member| account_id(member)).collect();
        let accounts = self.accounts_by_id(ids.clone()).await?;
        let access = self.access_of_all(ids.iter()).await?;
        for id in &ids {
            let is_service = accounts.get(id).is_some_and(|account| account.kind == AccountKind::Service);
            // A service on several of his sites comes with the first of them.
            let met_before = sites[..at].iter().any(|(site, _)| access.get(id).is_some_and(|rows| rows.level(site) > Level::None));
            if is_service && !met_before {
                return Ok(Some(Step { site, account: id.to_string(), token: String::new() }));
            }
        }
        if page.more {
            let account = page.members.last().cloned().unwrap_or_default();
            return Ok(Some(Step { site, account, token: NOTHING_MORE.to_owned() }));
        }
        // Before the first account of the next site.
        Ok(sites.get(at + 1).map(|(_, row)| Step {
            site: row.site.to_string(),
            account: String::new(),
            token: NOTHING_MORE.to_owned(),
        }))
    }

    pub(super) async fn access_of_all(
        &self,
        accounts: impl Iterator<Item = &AccountId>,
    ) -> Result<BTreeMap<AccountId, AccessRows>, StoreError> {
        let keys: Vec<_> = accounts.cloned().map(Key::Access).collect();
        let rows = self.get_all::<AccessRows>(&keys).await?;
        Ok(rows.into_iter().flatten().map(|rows| (rows.account.clone(), rows)).collect())
    }

    /// The rows of these accounts, where the actor's sight depends on them.
    pub(super) async fn access_to_judge(
        &self,
        standing: &Standing,
        accounts: impl Iterator<Item = &AccountId>,
    ) -> Result<BTreeMap<AccountId, AccessRows>, StoreError> {
        if standing.authority.is_superuser() { Ok(BTreeMap::new()) } else { self.access_of_all(accounts).await }
    }
}

impl Step {
    fn parse(cursor: &str) -> Option<Self> {
        let mut parts = cursor.split('/').map(str::to_owned);
        Some(Self { site: parts.next()?, account: parts.next()?, token: parts.next()? })
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.site, self.account, self.token)
    }
}
