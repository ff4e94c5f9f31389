//! The `[[rules]]` of the file, read into a [`Policy`]: what each rule is about and what it demands. Rules come from
//! the file alone; no other layer touches them.

mod table;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    mistake::{Mistakes, Noted, Place, quoted},
    raw::{Node, Toml},
    settings::Portal,
    validate::one_of,
};
use crate::domain::{
    access::Level,
    decision::{CredentialKinds, Via},
    policy::{Demand, HostPattern, Matcher, Otherwise, PathPattern, Policy, Rule, SiteSource, parse_site_list},
    text::{Invalid, Label},
    token::Scope,
};
use table::Table;

const RULE: &[&str] =
    &["name", "match", "public", "site", "access", "scope", "credentials", "max_token_access", "otherwise", "cross_site", "body"];
/// What a public rule cannot have, since it asks nobody.
const DEMAND: &[&str] = &["site", "access", "scope", "credentials", "max_token_access", "otherwise", "cross_site"];
const MATCH: &[&str] = &["host", "path", "methods", "query"];
const LEVELS: &[(&str, Level)] =
    &[("view", Level::View), ("write", Level::Write), ("admin", Level::Admin), ("superuser", Level::Superuser)];

/// No rules are a policy too: it denies everything. Without `portal`, which is mistaken then, nothing is said of it.
pub(super) fn read(rules: Option<&Node>, portal: Option<&Portal>, mistakes: &mut Mistakes) -> Result<Policy, Noted> {
    let Some(node) = rules else { return Ok(Policy::default()) };
    let each = node.list().map_err(|_| format!("expected rules, each under [[rules]], found {}", node.kind()));
    let mut names = BTreeMap::new();
    let mut rules = Vec::new();
    for (index, node) in mistakes.keep(&node.place, "rules", each)?.iter().enumerate() {
        rules.push(rule(index, node, portal, &mut names, mistakes));
    }
    rules.into_iter().collect::<Result<Vec<Rule>, Noted>>().map(Policy::new)
}

fn rule<'n>(
    index: usize,
    node: &'n Node,
    portal: Option<&Portal>,
    names: &mut BTreeMap<String, &'n Place>,
    mistakes: &mut Mistakes,
) -> Result<Rule, Noted> {
    let mut table = Table::open(format!("rules[{index}]"), node, RULE, &[("match", MATCH)], mistakes)?;
    let name = name(&mut table, names);
    let pattern = table.inner("match", MATCH).map(|mut matched| Pattern::read(&mut matched));
    let path = pattern.as_ref().ok().and_then(|pattern| pattern.path.as_ref().ok());
    let demand = match public(&mut table) {
        Ok(true) => Ok(None),
        Ok(false) => demand(&mut table, path).map(Some),
        Err(noted) => Err(noted),
    };
    let host = pattern.as_ref().ok().and_then(|pattern| pattern.host.as_ref().ok()?.as_ref());
    let demand = match (demand, portal) {
        (Ok(Some(demand)), Some(portal)) if demand.otherwise == Otherwise::Login => {
            can_sign_in(&mut table, host, demand.credentials, portal).map(|()| Some(demand))
        }
        (demand, _) => demand,
    };
    let body_ignored = table.read("body", |node| one_of(node.text()?, &[("ignored", ())]));
    Ok(Rule { name: name?, matcher: pattern?.matcher()?, demand: demand?, body_ignored: body_ignored?.is_some() })
}

fn found(error: &Invalid, text: &str) -> String {
    format!("{error}, found {}", quoted(text))
}

fn name<'n>(table: &mut Table<'n, '_>, names: &mut BTreeMap<String, &'n Place>) -> Result<String, Noted> {
    let (name, place) = table.require("name", "a rule needs a name, for logs and explanations", |node| {
        let label = Label::parse(node.text()?, "name", ["name_empty", "name_too_long", "name_characters"]);
        Ok((label.map_err(|error| error.to_string())?.as_str().to_owned(), &node.place))
    })?;
    if let Some(earlier) = names.get(&name) {
        let message = format!("there is a rule {} already ({earlier}); names are unique", quoted(&name));
        return Err(table.refuse("name", message));
    }
    names.insert(name.clone(), place);
    Ok(name)
}

/// The parts of a match, each by itself: a bad method must not hide that a capture is missing.
struct Pattern {
    host: Result<Option<HostPattern>, Noted>,
    path: Result<Option<PathPattern>, Noted>,
    methods: Result<Option<BTreeSet<String>>, Noted>,
    query: Result<BTreeMap<String, String>, Noted>,
}

impl Pattern {
    fn read(matched: &mut Table<'_, '_>) -> Self {
        let host = matched.read("host", |node| {
            let text = node.text()?;
            HostPattern::parse(text).map_err(|error| found(&error, text))
        });
        let path = matched.read("path", |node| {
            let text = node.text()?;
            PathPattern::parse(text).map_err(|error| found(&error, text))
        });
        let mut methods = matched.items("methods", method);
        if matches!(&methods, Ok(Some(methods)) if methods.is_empty()) {
            methods = Err(matched.refuse("methods", "an empty list matches no request; leave `methods` out to match any"));
        }
        let query = matched.entries("query", |name, value| Ok((parameter_name(name)?, value.text()?.to_owned())));
        Self {
            host,
            path,
            methods: methods.map(|methods| methods.map(BTreeSet::from_iter)),
            query: query.map(|parameters| parameters.into_iter().flatten().collect()),
        }
    }

    fn matcher(self) -> Result<Matcher, Noted> {
        Ok(Matcher { host: self.host?, path: self.path?, methods: self.methods?, query: self.query? })
    }
}

fn method(text: &str) -> Result<String, String> {
    let token = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !token {
        return Err(format!("expected a method such as \"GET\", found {}", quoted(text)));
    }
    // Methods are case-sensitive (RFC 9110 9.1), so `get` would never match what was meant.
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(format!("methods are upper-case; write {}", quoted(&text.to_ascii_uppercase())));
    }
    Ok(text.to_owned())
}

/// Exactly as it is written: the case of a parameter's name counts.
fn parameter_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("expected the name of a query parameter, found {}", quoted(text)));
    }
    Ok(text.to_owned())
}

fn public(table: &mut Table<'_, '_>) -> Result<bool, Noted> {
    let demands: Vec<&str> = DEMAND.iter().copied().filter(|name| table.get(name).is_some()).collect();
    match table.read("public", Node::boolean) {
        Ok(Some(true)) => {}
        // Whoever wrote demands meant no public rule; what is wrong with them is worth saying too.
        Err(noted) => return if demands.is_empty() { Err(noted) } else { Ok(false) },
        Ok(_) => return Ok(false),
    }
    let refuse = |name: &&str| table.refuse(name, format!("a public rule asks nobody; remove `{name}` or `public`"));
    demands.iter().map(refuse).last().map_or(Ok(true), Err)
}

/// `path` is the rule's path, `None` when it is mistaken.
fn demand(table: &mut Table<'_, '_>, path: Option<&Option<PathPattern>>) -> Result<Demand, Noted> {
    let site = site(table, path);
    let access = access(table);
    let scope = table.read("scope", |node| match node.text()? {
        Scope::MANAGE => Err("`manage` is the scope of the management API; choose another name".to_owned()),
        text => Scope::parse(text).map_err(|error| found(&error, text)),
    });
    let mut credentials = table.items("credentials", |text| one_of(text, &CredentialKinds::NAMES));
    if matches!(&credentials, Ok(Some(kinds)) if kinds.is_empty()) {
        let message = "with an empty list nobody could pass; leave `credentials` out for bearer and session";
        credentials = Err(table.refuse("credentials", message));
    }
    let max_token_access = table.read("max_token_access", |node| one_of(node.text()?, LEVELS));
    let ways = [("challenge", Otherwise::Challenge), ("login", Otherwise::Login), ("anonymous", Otherwise::Anonymous)];
    let otherwise = table.read("otherwise", |node| one_of(node.text()?, &ways));
    let cross_site = table.read("cross_site", |node| one_of(node.text()?, &[("allow", ())]));
    let (read, write) = access?;
    Ok(Demand {
        site: site?,
        read,
        write,
        scope: scope?,
        credentials: credentials?.map_or_else(CredentialKinds::default, |kinds| CredentialKinds::new(&kinds)),
        max_token_access: max_token_access?.unwrap_or(Level::Superuser),
        otherwise: otherwise?.unwrap_or_default(),
        allows_cross_site: cross_site?.is_some(),
    })
}

/// A rule that sends browsers to sign in, at a host that they could not come back to, would do nothing.
fn can_sign_in(
    table: &mut Table<'_, '_>,
    host: Option<&HostPattern>,
    credentials: CredentialKinds,
    portal: &Portal,
) -> Result<(), Noted> {
    if !credentials.takes(Via::Session) {
        return Err(table
            .refuse("otherwise", "`login` leads to a session, which this rule does not take: add \"session\" to `credentials`"));
    }
    if portal.url.is_none() || portal.hosts.iter().next().is_none() {
        return Err(table.refuse(
            "otherwise",
            "`login` needs a page to sign in and hosts to come back to: give `portal.url` and `portal.hosts`",
        ));
    }
    match host {
        Some(HostPattern::Exact(host)) if portal.hosts.find(host).is_none() => {
            let message = format!("`login` needs {} in `portal.hosts`, so that browsers can come back", quoted(host.as_str()));
            Err(table.refuse("otherwise", message))
        }
        _ => Ok(()),
    }
}

const SOURCES: &str = "{ query = \"NAME\" }, { path = \"CAPTURE\" }, { host = true }";

fn site(table: &mut Table<'_, '_>, path: Option<&Option<PathPattern>>) -> Result<SiteSource, Noted> {
    if !table.is_table("site") {
        return table.require("site", "a rule needs a `site`, or `public = true`", |node| {
            let Toml::Text(text) = &node.value else {
                return Err(format!("expected a site's id, or one of {SOURCES}, found {}", node.described()));
            };
            let names = parse_site_list(text).map(SiteSource::Named);
            names.ok_or_else(|| format!("expected the id of a site, or ids such as \"1,3\", found {}", quoted(text)))
        });
    }
    let mut inner = table.inner("site", &["query", "path", "host"])?;
    let query = inner.read("query", |node| parameter_name(node.text()?).map(SiteSource::Query));
    let segment = inner.read("path", |node| segment(node.text()?, path));
    let host = inner.read("host", |node| {
        if node.boolean()? { Ok(SiteSource::Host) } else { Err("expected `true`, or another source of the site".to_owned()) }
    });
    let mut sources = [query, segment, host].into_iter().filter_map(Result::transpose);
    match (sources.next(), sources.next()) {
        (Some(source), None) => source,
        _ => Err(table.refuse("site", format!("expected exactly one of {SOURCES}"))),
    }
}

/// Where the capture stands. Of a mistaken path nothing can be said, and its rule is refused anyway.
fn segment(capture: &str, path: Option<&Option<PathPattern>>) -> Result<SiteSource, String> {
    let Some(path) = path else { return Ok(SiteSource::Segment(0)) };
    if let Some(place) = path.as_ref().and_then(|path| path.capture(capture)) {
        return Ok(SiteSource::Segment(place));
    }
    let pattern = path.as_ref().map(ToString::to_string).unwrap_or_default();
    if pattern.ends_with(&format!("{{*{capture}}}")) {
        return Err(format!("`{{*{capture}}}` may be any number of segments; a site is one segment, written `{{{capture}}}`"));
    }
    Err(format!("the rule's path has no capture `{{{}}}`; add it to `match.path`", capture.escape_debug()))
}

fn access(table: &mut Table<'_, '_>) -> Result<(Level, Level), Noted> {
    if !table.is_table("access") {
        let both = table.require("access", "a rule needs an `access`, or `public = true`", level)?;
        return Ok((both, both));
    }
    let mut levels = table.inner("access", &["read", "write"])?;
    let missing = "give both `read` and `write`, or one level for all methods";
    let (read, write) = (levels.require("read", missing, level), levels.require("write", missing, level));
    Ok((read?, write?))
}

fn level(node: &Node) -> Result<Level, String> {
    match node.text()? {
        "none" => Err("`none` would ask nobody; write `public = true` instead of `site` and `access`".to_owned()),
        text => one_of(text, LEVELS),
    }
}
