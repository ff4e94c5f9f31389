//! A request that a new key is good for, to try it out: found in the policy, as far as that can be read off its rules.

use super::super::PortalState;
use crate::domain::{
    access::Level,
    decision::Via,
    origin::ProtectedHosts,
    policy::{Demand, HostPattern, Policy, Rule, SiteSource},
    site::SiteName,
    token::{Ceiling, Scope, Token},
};

/// The URL of something that the key may read; `None` when the policy does not say where anything is. `held` is what the
/// owner may do.
pub(super) fn url(state: &PortalState, token: &Token, held: impl Fn(&SiteName) -> Level) -> Option<String> {
    find(&state.policy.load(), &state.hosts, &token.scopes, |site| match &token.ceiling {
        Ceiling::Owner => held(site),
        Ceiling::EverySite(most) => held(site).min(*most),
        Ceiling::PerSite(rows) => {
            let most = rows.rows().find(|row| row.site == *site).map_or(Level::None, |row| row.level);
            held(site).min(most)
        }
    })
}

fn find(policy: &Policy, hosts: &ProtectedHosts, scopes: &[Scope], level: impl Fn(&SiteName) -> Level) -> Option<String> {
    policy.rules().iter().find_map(|rule| {
        let demand = rule.demand.as_ref().filter(|demand| is_passed(demand, scopes))?;
        let sites = match &demand.site {
            SiteSource::Named(sites) => sites,
            SiteSource::Query(_) | SiteSource::Segment(_) | SiteSource::Host => return None,
        };
        if !sites.iter().any(|site| level(site) >= demand.read) {
            return None;
        }
        Some(format!("{}{}", origin(rule, hosts)?, path(rule)?))
    })
}

fn is_passed(demand: &Demand, scopes: &[Scope]) -> bool {
    let in_scope = demand.scope.as_ref().map_or(scopes.is_empty(), |scope| scopes.is_empty() || scopes.contains(scope));
    in_scope && demand.credentials.takes(Via::Bearer)
}

/// Scheme, host and port: of the rule's host, or else of the first protected one.
fn origin(rule: &Rule, hosts: &ProtectedHosts) -> Option<String> {
    match &rule.matcher.host {
        Some(HostPattern::Exact(host)) => Some(hosts.find(host).map_or_else(|| format!("https://{host}"), ToString::to_string)),
        Some(HostPattern::Below(_)) => None,
        None => hosts.iter().next().map(ToString::to_string),
    }
}

/// A path that the rule is about, if one can be told without knowing what is behind.
fn path(rule: &Rule) -> Option<String> {
    let takes_get = rule.matcher.methods.as_ref().is_none_or(|methods| methods.contains("GET"));
    if !takes_get || !rule.matcher.query.is_empty() {
        return None;
    }
    let Some(pattern) = &rule.matcher.path else { return Some("/".to_owned()) };
    let text = pattern.to_string();
    let path = text.split("{*").next().unwrap_or_default();
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    plain.then(|| path.to_owned())
}
