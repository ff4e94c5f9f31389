//! What can be chosen for a key: no more than its owner has, and the rules of the installation allow.

use std::time::Duration;

use actix_web::HttpRequest;

use super::super::super::{PortalState, Refusal, times::in_words, visitor::SignedIn};
use crate::{
    directory::{AccessFilter, CeilingAsk, Direction, DirectoryError, Expiry, NewToken, Window},
    domain::{access::Level, site::SiteName, text::Login, time::spell_duration, token::Scope, token_rules::TokenRules},
};

/// Sites that are offered one by one.
const MOST_SITES: usize = 100;
const DAY: Duration = Duration::from_hours(24);

/// What the form offers.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each leaves one part of the form out")]
pub(in super::super::super) struct Choices {
    /// The visitor makes it for himself.
    pub own: bool,
    pub may_mint: bool,
    /// Its owner stands above all sites.
    pub superuser: bool,
    /// A level for every site may be given.
    pub every: Vec<Level>,
    pub sites: Vec<SiteChoice>,
    /// There are more than are offered.
    pub more_sites: bool,
    /// Those that rules of the policy ask for.
    pub scopes: Vec<String>,
    pub may_manage: bool,
    pub expiries: Vec<ExpiryChoice>,
    /// A new one ends by itself where nothing else is said.
    default_expiry: bool,
}

#[derive(Debug)]
pub(in super::super::super) struct SiteChoice {
    pub site: SiteName,
    /// What its owner has there.
    pub highest: Level,
    pub levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super::super) struct ExpiryChoice {
    /// A duration, `default`, `date` or `never`.
    pub value: String,
    pub label: String,
    /// It is chosen unless something else is.
    pub usual: bool,
}

impl Choices {
    /// For a key of that account.
    ///
    /// # Errors
    /// When the visitor has nothing to do with it.
    pub async fn of(state: &PortalState, request: &HttpRequest, visitor: &SignedIn, login: &Login) -> Result<Self, Refusal> {
        let actor = visitor.actor(request);
        let own = *login == visitor.account.login;
        let superuser = if own {
            visitor.account.superuser
        } else {
            match state.directory.account(&actor, login).await {
                Ok(account) => account.superuser,
                // An administrator of sites sees the access of services there, and no accounts.
                Err(DirectoryError::NotFound { .. }) => false,
                Err(error) => return Err(error.into()),
            }
        };
        let window = Window { after: None, limit: MOST_SITES };
        let (rows, more): (Vec<_>, _) = if superuser {
            let found = state.directory.sites(&actor, Direction::Ascending, &window).await?;
            (found.items.into_iter().map(|site| (site.site, Level::Admin)).collect(), found.next.is_some())
        } else {
            let filter = AccessFilter { login: Some(login.clone()), site: None };
            let found = state.directory.access(&actor, &filter, &window).await?;
            (found.items.into_iter().map(|row| (row.site, row.level)).collect(), found.next.is_some())
        };
        let highest = if superuser { Level::Admin } else { rows.iter().map(|(_, level)| *level).max().unwrap_or_default() };
        let every = if own || visitor.account.superuser { up_to(highest) } else { Vec::new() };
        let sites = rows.into_iter().map(|(site, highest)| SiteChoice { site, highest, levels: up_to(highest) });
        let rules = state.directory.token_rules();
        Ok(Self {
            own,
            may_mint: visitor.account.may_mint_tokens,
            superuser,
            every,
            sites: sites.collect(),
            more_sites: more,
            scopes: state.policy.load().scopes().into_iter().map(|scope| scope.as_str().to_owned()).collect(),
            may_manage: own || visitor.account.superuser,
            expiries: expiries(rules),
            default_expiry: rules.default_expiry.is_some(),
        })
    }

    /// What somebody should know before he makes it.
    pub fn warnings(&self, new: &NewToken) -> Vec<String> {
        let mut warnings = Vec::new();
        let he = if self.own { "you" } else { "its account" };
        let reached = |site: &SiteChoice| match &new.ceiling {
            CeilingAsk::Owner => site.highest,
            CeilingAsk::EverySite(most) => site.highest.min(*most),
            CeilingAsk::PerSite(levels) => levels.get(&site.site).map_or(Level::None, |most| site.highest.min(*most)),
        };
        let offered = self.sites.iter().filter(|site| reached(site) >= Level::Admin).map(|site| &site.site);
        // One that was typed; whether its owner has that there, the directory knows.
        let chosen = if let CeilingAsk::PerSite(levels) = &new.ceiling { Some(levels) } else { None };
        let chosen = chosen.into_iter().flatten().filter(|(_, level)| **level >= Level::Admin).map(|(site, _)| site);
        let typed = chosen.filter(|site| self.sites.iter().all(|choice| choice.site != **site));
        let administered: Vec<_> = offered.chain(typed).map(SiteName::as_str).collect();
        let named = administered.join(", ");
        match &new.ceiling {
            CeilingAsk::Owner if self.superuser => warnings.push(format!(
                "It is as strong as a superuser: it passes every rule of every site, and it keeps up with whatever {he} may do later."
            )),
            CeilingAsk::EverySite(Level::Admin) if self.superuser => {
                warnings.push("It is an administrator of every site, of those too that are made later.".to_owned());
            }
            _ if !administered.is_empty() => warnings.push(format!("It is an administrator of {named}.")),
            _ => {}
        }
        if new.scopes.iter().any(|scope| scope.as_str() == Scope::MANAGE) {
            warnings.push(format!(
                "It manages Keygate itself: with it, programs make and revoke keys, and change whatever {he} may change, without \
                 anybody's password."
            ));
        }
        if new.expires == Some(Expiry::Never) || (new.expires.is_none() && !self.default_expiry) {
            warnings.push("It never expires: if it is forgotten somewhere, it stays good until somebody revokes it.".to_owned());
        }
        if new.networks.is_empty() {
            warnings.push("It is good from anywhere: whoever gets hold of it can use it from his own machine.".to_owned());
        }
        warnings
    }
}

fn up_to(highest: Level) -> Vec<Level> {
    [Level::View, Level::Write, Level::Admin].into_iter().filter(|level| *level <= highest).collect()
}

fn expiries(rules: &TokenRules) -> Vec<ExpiryChoice> {
    let allowed = |after: &Duration| rules.max_expiry.is_none_or(|max| *after <= max);
    let choice = |value: String, label: String| ExpiryChoice { value, label, usual: false };
    let mut choices = Vec::new();
    if let Some(default) = rules.default_expiry {
        choices.push(choice("default".to_owned(), format!("After {}, as is usual here", in_words(default))));
    }
    let days = [7, 30, 90, 365].map(|days| DAY * days);
    let mut lives: Vec<_> = days.into_iter().filter(allowed).filter(|life| Some(*life) != rules.default_expiry).collect();
    if lives.is_empty() && choices.is_empty() {
        lives.extend(rules.max_expiry);
    }
    choices.extend(lives.iter().map(|life| choice(spell_duration(*life), format!("After {}", in_words(*life)))));
    let usual = choices
        .iter()
        .position(|choice| choice.value == "default")
        .or_else(|| choices.iter().position(|choice| choice.value == "90d"));
    let last = choices.len().saturating_sub(1);
    if let Some(choice) = choices.get_mut(usual.unwrap_or(last)) {
        choice.usual = true;
    }
    choices.push(choice("date".to_owned(), "On the date below".to_owned()));
    if !rules.must_expire && rules.max_expiry.is_none() {
        choices.push(choice("never".to_owned(), "Never".to_owned()));
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_end_is_offered_that_the_rules_refuse() {
        let values = |rules: &TokenRules| {
            let choices = expiries(rules);
            let usual: Vec<_> = choices.iter().filter(|choice| choice.usual).map(|choice| choice.value.clone()).collect();
            (choices.iter().map(|choice| choice.value.clone()).collect::<Vec<_>>().join(" "), usual.join(" "))
        };
        let free = TokenRules::default();
        assert_eq!(values(&free), ("7d 30d 90d 365d date never".to_owned(), "90d".to_owned()));
        let must = TokenRules { must_expire: true, ..free.clone() };
        assert_eq!(values(&must).0, "7d 30d 90d 365d date");
        let short = TokenRules { max_expiry: Some(DAY * 30), ..free.clone() };
        assert_eq!(values(&short), ("7d 30d date".to_owned(), "30d".to_owned()));
        let shortest = TokenRules { max_expiry: Some(DAY), ..free.clone() };
        assert_eq!(values(&shortest), ("1d date".to_owned(), "1d".to_owned()));
        let default = TokenRules { default_expiry: Some(DAY * 30), ..free };
        assert_eq!(values(&default), ("default 7d 90d 365d date never".to_owned(), "default".to_owned()));
    }
}
