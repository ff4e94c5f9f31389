//! `/admin/policy`: the rules in force, in words, and how often each was hit. For superusers. Rules are changed in the
//! configuration file only.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::{
    super::{PortalState, Refusal, chart, get, page, times::Shown, visitor::SignedIn},
    overview::grouped,
};
use crate::domain::{
    access::Level,
    decision::CredentialKinds,
    policy::{Demand, HostPattern, Matcher, Otherwise, PathPattern, Rule, SiteSource},
    site::SiteName,
};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/admin/policy").route(get().to(show)));
}

#[derive(Template)]
#[template(path = "portal/admin/policy/page.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    rules: Vec<RuleShown>,
    /// Since when hits are counted.
    since: Option<Shown>,
    counted: usize,
    /// Servers with other rules.
    others: usize,
    never: usize,
}

/// A rule in words.
struct RuleShown {
    name: String,
    /// What it is about: words, and what stands in the configuration.
    about: Vec<(&'static str, String)>,
    public: bool,
    /// What it asks for.
    asks: Vec<(&'static str, String)>,
    /// `None` where nobody knows.
    hits: Option<String>,
    never: bool,
    /// In hundredths of the one that is hit most.
    length: u64,
}

/// `GET /admin/policy`
async fn show(state: web::Data<PortalState>, request: HttpRequest, visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let policy = state.policy.load_full();
    let found = state.directory.rule_hits(&visitor.actor(&request), &policy).await?;
    let most = found.hits.iter().flatten().copied().max().unwrap_or_default();
    let rules: Vec<_> = policy.rules().iter().zip(&found.hits).map(|(rule, hits)| RuleShown::new(rule, *hits, most)).collect();
    let now = state.clock.now();
    let page_shown = Page {
        title: "Policy",
        at: "/admin/policy",
        visitor,
        never: rules.iter().filter(|rule| rule.never).count(),
        rules,
        since: found.since.map(|since| Shown::new(since, now)),
        counted: found.counted,
        others: found.others,
    };
    page(200, &page_shown)
}

impl RuleShown {
    fn new(rule: &Rule, hits: Option<u64>, most: u64) -> Self {
        Self {
            name: rule.name.clone(),
            about: about(&rule.matcher),
            public: rule.demand.is_none(),
            asks: rule.demand.as_ref().map(|demand| asks(rule, demand)).unwrap_or_default(),
            hits: hits.map(|hits| match hits {
                1 => "1 check".to_owned(),
                hits => format!("{} checks", grouped(hits)),
            }),
            never: hits == Some(0),
            length: chart::bar(hits.unwrap_or_default(), most),
        }
    }
}

fn about(matcher: &Matcher) -> Vec<(&'static str, String)> {
    let Matcher { host, path, methods, query } = matcher;
    let host = match host {
        None => ("on", "every host".to_owned()),
        Some(HostPattern::Exact(host)) => ("on", host.to_string()),
        Some(HostPattern::Below(parent)) => ("on every host below", parent.to_string()),
    };
    let methods = methods.as_ref().map_or_else(
        || ("Every request", String::new()),
        |methods| ("Requests by", methods.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    );
    let path = path.as_ref().map_or_else(|| ("for", "every path".to_owned()), |path| ("for", path.to_string()));
    let query = query.iter().map(|(name, value)| ("with the parameter", format!("{name}={value}")));
    [methods, path, host].into_iter().chain(query).collect()
}

fn asks(rule: &Rule, demand: &Demand) -> Vec<(&'static str, String)> {
    let Demand { site, read, write, scope, credentials, max_token_access, otherwise, allows_cross_site } = demand;
    let access = if read == write {
        format!("to {read}, for every request")
    } else {
        format!("to {read} for requests that read, to {write} for all others")
    };
    let kinds: Vec<_> =
        CredentialKinds::NAMES.into_iter().filter(|(_, via)| credentials.takes(*via)).map(|(name, _)| name).collect();
    let otherwise = match otherwise {
        Otherwise::Challenge => "is asked for a credential",
        Otherwise::Login => "is sent to sign in, if it is a browser",
        Otherwise::Anonymous => "is judged as the account anonymous",
    };
    let mut asks = vec![
        ("Site", site_in_words(site, rule.matcher.path.as_ref())),
        ("Access", access),
        ("Credentials", kinds.join(", ")),
        ("Whoever has none", otherwise.to_owned()),
    ];
    if let Some(scope) = scope {
        asks.push(("Scope", format!("keys need {}", scope.as_str())));
    }
    if *max_token_access < Level::Admin {
        asks.push(("Too powerful", format!("keys that may do more than {max_token_access}")));
    }
    if *allows_cross_site {
        asks.push(("Other sites", "their pages may send requests with a browser's session".to_owned()));
    }
    if rule.body_ignored {
        asks.push(("Bodies", "parameters in bodies are ignored".to_owned()));
    }
    asks
}

fn site_in_words(site: &SiteSource, path: Option<&PathPattern>) -> String {
    match site {
        SiteSource::Named(names) => names.iter().map(SiteName::as_str).collect::<Vec<_>>().join(", "),
        SiteSource::Query(name) => format!("the one that the parameter {name} names"),
        SiteSource::Segment(index) => {
            let pattern = path.map(ToString::to_string).unwrap_or_default();
            format!("the one in the path, at {}", pattern.split('/').nth(index + 1).unwrap_or_default())
        }
        SiteSource::Host => "the one that lists the host".to_owned(),
    }
}
