//! The policy: rules in the order they were written, and how one is found for a request.
//!
//! First match wins and no match is a deny. Finding the rule does not walk the list: hosts are looked up,
//! paths are a tree of segments, and of the rules at one path those with a query are looked up by it.

mod pattern;
mod sites;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use pattern::{HostPattern, PathPattern};
pub use sites::{SiteAsk, parse_site_list};

use super::{
    access::Level,
    decision::{CredentialKinds, Reason},
    request::CheckRequest,
    site::SiteName,
    token::Scope,
};
use tree::{Leaves, PathTree, Places};

/// What a request must be like for a rule to be about it. What is absent matches any.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    pub host: Option<HostPattern>,
    pub path: Option<PathPattern>,
    pub methods: Option<BTreeSet<String>>,
    /// Parameters that must have exactly these values.
    pub query: BTreeMap<String, String>,
}

/// How the site is found that a rule is about.
#[derive(Clone, Debug)]
pub enum SiteSource {
    Named(Vec<SiteName>),
    /// The value of a query parameter; `1,3` means each of them.
    Query(String),
    /// The segment at this place of the path.
    Segment(usize),
    /// The site that lists the request's host.
    Host,
}

/// What an unauthenticated caller gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    #[default]
    Challenge,
    /// A browser is sent to sign in; everybody else is challenged.
    Login,
    /// He is judged as the account `anonymous`.
    Anonymous,
}

/// What a protected rule demands.
#[derive(Clone, Debug)]
pub struct Demand {
    pub site: SiteSource,
    pub read: Level,
    pub write: Level,
    pub scope: Option<Scope>,
    pub credentials: CredentialKinds,
    pub max_token_access: Level,
    pub otherwise: Otherwise,
    /// Pages of other sites may send requests with a browser's session.
    pub allows_cross_site: bool,
}

impl Demand {
    #[must_use]
    pub fn level(&self, request: &CheckRequest<'_>) -> Level {
        if request.reads() { self.read } else { self.write }
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub matcher: Matcher,
    /// `None` is a public rule: nobody is asked.
    pub demand: Option<Demand>,
    /// The upstream takes no parameters from bodies, so they need not agree with the query.
    pub body_ignored: bool,
}

impl Rule {
    fn reads_query(&self) -> bool {
        !self.matcher.query.is_empty() || matches!(&self.demand, Some(Demand { site: SiteSource::Query(_), .. }))
    }

    fn depends_on_method(&self) -> bool {
        self.matcher.methods.is_some() || self.demand.as_ref().is_some_and(|demand| demand.read != demand.write)
    }

    fn takes_method(&self, method: &str) -> bool {
        self.matcher.methods.as_ref().is_none_or(|methods| methods.contains(method))
    }

    /// Host and path are known to match; do method and query?
    fn matches_rest(&self, request: &CheckRequest<'_>) -> bool {
        self.takes_method(request.method)
            && self.matcher.query.iter().all(|(name, value)| request.query.get(name) == Ok(Some(value.as_str())))
    }
}

/// A policy ready for use. Empty, it denies everything.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    exact: Places<PathTree>,
    below: Places<PathTree>,
    any: PathTree,
    /// Every query parameter that some rule reads.
    read_names: Vec<String>,
}

/// What a rule says about a request it did not match, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleVerdict {
    Matches,
    HostDiffers,
    PathDiffers,
    MethodDiffers,
    QueryDiffers,
    /// An earlier rule has matched.
    NotReached,
}

impl Policy {
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut policy = Self::default();
        let mut names = BTreeSet::new();
        for (index, rule) in rules.iter().enumerate() {
            let tree = match &rule.matcher.host {
                Some(HostPattern::Exact(host)) => policy.exact.entry(host.as_str().to_owned()).or_default(),
                Some(HostPattern::Below(parent)) => policy.below.entry(parent.as_str().to_owned()).or_default(),
                None => &mut policy.any,
            };
            tree.add(index, rule);
            names.extend(rule.matcher.query.keys().cloned());
            if let Some(Demand { site: SiteSource::Query(name), .. }) = &rule.demand {
                names.insert(name.clone());
            }
        }
        policy.read_names = names.into_iter().collect();
        policy.rules = rules;
        policy
    }

    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The scopes that rules ask for; none is management's.
    #[must_use]
    pub fn scopes(&self) -> BTreeSet<&Scope> {
        self.rules.iter().filter_map(|rule| rule.demand.as_ref()?.scope.as_ref()).collect()
    }

    /// The rule that is about this request. None is about the paths that are Keygate's own.
    ///
    /// # Errors
    /// `no_rule` when none is. `ambiguous_query` or `missing_description` when another reading of the request might be
    /// about another rule.
    pub fn find(&self, request: &CheckRequest<'_>) -> Result<&Rule, Reason> {
        if request.is_for_keygate() {
            return Err(Reason::NoRule);
        }
        if self.read_names.iter().any(|name| request.query.get(name).is_err()) {
            return Err(Reason::AmbiguousQuery);
        }
        let mut leaves = Leaves::new();
        self.any.collect(&request.segments, &mut leaves);
        let host = request.host.as_str();
        if let Some(tree) = self.exact.get(host) {
            tree.collect(&request.segments, &mut leaves);
        }
        if !self.below.is_empty() {
            for (dot, _) in host.match_indices('.') {
                if let Some(tree) = self.below.get(&host[dot + 1..]) {
                    tree.collect(&request.segments, &mut leaves);
                }
            }
        }
        let found = leaves.iter().filter_map(|leaf| leaf.first_match(&self.rules, request)).min();
        // A rule that comes before the match, or stands alone, would have been the match in another reading.
        let concerns = |index: usize| found.is_none_or(|found| index <= found);
        if leaves.iter().filter_map(|leaf| leaf.minds_method).any(concerns) && request.method_is_overridden() {
            return Err(if request.headers.method_override { Reason::MissingDescription } else { Reason::AmbiguousQuery });
        }
        if leaves.iter().filter_map(|leaf| leaf.first_minding_body(request.method)).any(concerns)
            && request.body_may_disagree(&self.read_names)
        {
            return Err(Reason::AmbiguousQuery);
        }
        found.map(|index| &self.rules[index]).ok_or(Reason::NoRule)
    }

    /// What each rule says about the request, in order. Walks the list; for people.
    #[must_use]
    pub fn explain(&self, request: &CheckRequest<'_>) -> Vec<(&Rule, RuleVerdict)> {
        let mut reached = !request.is_for_keygate();
        let verdict = |rule: &Rule| {
            let host_matches = match &rule.matcher.host {
                None => true,
                Some(HostPattern::Exact(host)) => *host == request.host,
                Some(HostPattern::Below(parent)) => {
                    request.host.as_str().strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
            };
            let matched = if !reached {
                RuleVerdict::NotReached
            } else if !host_matches {
                RuleVerdict::HostDiffers
            } else if !rule.matcher.path.as_ref().is_none_or(|path| path.matches(&request.segments)) {
                RuleVerdict::PathDiffers
            } else if !rule.takes_method(request.method) {
                RuleVerdict::MethodDiffers
            } else if !rule.matches_rest(request) {
                RuleVerdict::QueryDiffers
            } else {
                RuleVerdict::Matches
            };
            reached &= matched != RuleVerdict::Matches;
            matched
        };
        self.rules
            .iter()
            .map({
                let mut verdict = verdict;
                move |rule| (rule, verdict(rule))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{ClientHeaders, Described};
    use super::*;

    fn rule(name: &str, host: Option<&str>, path: Option<&str>, methods: &[&str], query: &[(&str, &str)]) -> Rule {
        let matcher = Matcher {
            host: host.map(|host| HostPattern::parse(host).unwrap()),
            path: path.map(|path| PathPattern::parse(path).unwrap()),
            methods: (!methods.is_empty()).then(|| methods.iter().map(|method| (*method).to_owned()).collect()),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        Rule { name: name.to_owned(), matcher, demand: None, body_ignored: false }
    }

    fn find(policy: &Policy, method: &str, host: &str, target: &str, headers: &ClientHeaders<'_>) -> String {
        let described = Described { method, target: target.as_bytes(), host, client: None, headers, body: None };
        let request = CheckRequest::parse(described).unwrap();
        let found = policy.find(&request).map(|rule| rule.name.clone());
        // The list walked one by one must agree with the index.
        let walked = policy.explain(&request).into_iter().find(|(_, verdict)| *verdict == RuleVerdict::Matches);
        if let Ok(name) = &found {
            assert_eq!(Some(name), walked.map(|(rule, _)| &rule.name), "{method} {host}{target}");
        } else if found == Err(Reason::NoRule) {
            assert!(walked.is_none(), "{method} {host}{target}");
        }
        found.unwrap_or_else(|reason| reason.code().to_owned())
    }

    #[test]
    fn first_match_wins_whatever_is_more_specific() {
        let policy = Policy::new(vec![
            rule("tail", Some("*.example.com"), Some("/a/{*rest}"), &[], &[]),
            rule("exact", Some("x.example.com"), Some("/a/b"), &[], &[]),
            rule("capture", None, Some("/{one}/c"), &["GET"], &[]),
            rule("query", None, Some("/q"), &[], &[("m", "API")]),
            rule("plain", None, Some("/q"), &[], &[]),
            rule("rest of host", Some("x.example.com"), None, &[], &[]),
        ]);
        let none = ClientHeaders::default();
        for (method, host, target, expected) in [
            ("GET", "x.example.com", "/a/b", "tail"),
            ("GET", "X.EXAMPLE.COM:8080", "/a", "tail"),
            ("GET", "y.x.example.com", "/a/", "tail"),
            ("GET", "example.com", "/a/b", "no_rule"),
            ("GET", "badexample.com", "/a/b", "no_rule"),
            ("GET", "h", "/z/c", "capture"),
            ("POST", "h", "/z/c", "no_rule"),
            ("GET", "h", "/c", "no_rule"),
            ("GET", "h", "/z/c/", "no_rule"),
            ("GET", "h", "/q?m=API", "query"),
            ("GET", "h", "/q?m=api", "plain"),
            ("GET", "h", "/q?m=API&m=x", "ambiguous_query"),
            ("GET", "h", "/elsewhere?m[]=x", "ambiguous_query"),
            ("GET", "x.example.com", "/q?m=x", "plain"),
            ("DELETE", "x.example.com", "/other", "rest of host"),
        ] {
            assert_eq!(find(&policy, method, host, target, &none), expected, "{method} {host}{target}");
        }
        assert_eq!(find(&Policy::default(), "GET", "h", "/", &none), "no_rule");
    }

    #[test]
    fn another_reading_by_method_or_body_is_refused_where_it_matters() {
        let policy = Policy::new(vec![
            rule("post", None, Some("/m"), &["POST"], &[]),
            rule("any", None, Some("/m"), &[], &[]),
            rule("free", None, Some("/free"), &[], &[]),
            rule("module", None, Some("/p"), &["POST"], &[("module", "API")]),
            rule("page", None, Some("/p"), &[], &[]),
        ]);
        let mut overriding = ClientHeaders::default();
        overriding.take("x-http-method-override", b"POST");
        assert_eq!(find(&policy, "GET", "h", "/m", &overriding), "missing_description");
        assert_eq!(find(&policy, "GET", "h", "/m?_method=POST", &ClientHeaders::default()), "ambiguous_query");
        assert_eq!(find(&policy, "GET", "h", "/free", &overriding), "free");
        let mut form = ClientHeaders::default();
        form.take("content-type", b"application/x-www-form-urlencoded");
        assert_eq!(find(&policy, "POST", "h", "/p", &form), "ambiguous_query");
        assert_eq!(find(&policy, "PUT", "h", "/p", &form), "page");
        assert_eq!(find(&policy, "POST", "h", "/free", &form), "free");
    }
}
