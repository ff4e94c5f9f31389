//! The `[[rules]]` of the file, read into a [`Policy`]: what each rule is about and what it demands. Rules come from
//! the file alone; no other layer touches them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    keys::NOT_AVAILABLE,
    mistake::{Mistakes, Place, quoted, suggestion},
    raw::{Node, Toml},
    validate::one_of,
};
use crate::domain::{
    access::Level,
    decision::{CredentialKinds, Via},
    policy::{Demand, HostPattern, Matcher, Otherwise, PathPattern, Policy, Rule, SiteSource, parse_site_list},
    token::Scope,
};

const RULE: &[&str] =
    &["name", "match", "public", "site", "access", "scope", "credentials", "max_token_access", "otherwise", "body"];
/// What a public rule cannot have, since it asks nobody.
const DEMAND: &[&str] = &["site", "access", "scope", "credentials", "max_token_access", "otherwise"];
const MATCH: &[&str] = &["host", "path", "methods", "query"];
const LEVELS: &[(&str, Level)] =
    &[("view", Level::View), ("write", Level::Write), ("admin", Level::Admin), ("superuser", Level::Superuser)];

/// `None` when there was a mistake. No rules are a policy too: it denies everything.
pub(super) fn read(rules: Option<&Node>, mistakes: &mut Mistakes) -> Option<Policy> {
    let Some(node) = rules else { return Some(Policy::default()) };
    let Ok(nodes) = node.list() else {
        mistakes.add(&node.place, "rules", format!("expected rules, each under [[rules]], found {}", node.kind()));
        return None;
    };
    let mut names = BTreeMap::new();
    let read: Vec<Option<Rule>> = nodes.iter().enumerate().map(|(index, node)| rule(index, node, &mut names, mistakes)).collect();
    read.into_iter().collect::<Option<Vec<_>>>().map(Policy::new)
}

fn rule<'n>(index: usize, node: &'n Node, names: &mut BTreeMap<&'n str, &'n Place>, mistakes: &mut Mistakes) -> Option<Rule> {
    let mut table = Table::open(format!("rules[{index}]"), node, RULE, mistakes)?;
    let name = name(&mut table, names);
    let pattern = table.inner("match", MATCH).map(|matched| match matched {
        Some(mut matched) => pattern(&mut matched),
        None => Pattern::any(),
    });
    let demand = demand(&mut table, pattern.as_ref().and_then(|pattern| pattern.path.as_ref()));
    let body_ignored = table.read("body", |node| one_of(node.text()?, &[("ignored", ())]));
    Some(Rule { name: name?.to_owned(), matcher: pattern?.matcher()?, demand: demand?, body_ignored: body_ignored?.is_some() })
}

fn name<'n>(table: &mut Table<'n, '_>, names: &mut BTreeMap<&'n str, &'n Place>) -> Option<&'n str> {
    let Some(node) = table.get("name") else {
        table.refuse("name", "a rule needs a name, for logs and explanations");
        return None;
    };
    let name = table.read("name", |node| {
        let text = node.text()?;
        let shown = !text.trim().is_empty() && !text.chars().any(char::is_control) && text.chars().count() <= 100;
        if shown { Ok(text) } else { Err(format!("expected 1 to 100 characters on one line, found {}", quoted(text))) }
    })??;
    match names.get(name) {
        Some(earlier) => {
            let message = format!("there is a rule {} already ({earlier}); names are unique", quoted(name));
            table.refuse("name", message);
            None
        }
        None => {
            names.insert(name, &node.place);
            Some(name)
        }
    }
}

/// The parts of a match, each `None` when mistaken: a bad method must not hide that a capture is missing.
struct Pattern {
    host: Option<Option<HostPattern>>,
    path: Option<Option<PathPattern>>,
    methods: Option<Option<BTreeSet<String>>>,
    query: Option<BTreeMap<String, String>>,
}

impl Pattern {
    fn any() -> Self {
        Self { host: Some(None), path: Some(None), methods: Some(None), query: Some(BTreeMap::new()) }
    }

    fn matcher(self) -> Option<Matcher> {
        Some(Matcher { host: self.host?, path: self.path?, methods: self.methods?, query: self.query? })
    }
}

fn pattern(matched: &mut Table<'_, '_>) -> Pattern {
    let host = matched.read("host", |node| {
        let text = node.text()?;
        HostPattern::parse(text).map_err(|error| format!("{error}, found {}", quoted(text)))
    });
    let path = matched.read("path", |node| {
        let text = node.text()?;
        PathPattern::parse(text).map_err(|error| format!("{error}, found {}", quoted(text)))
    });
    let methods = matched.items("methods", method);
    let methods = match methods {
        Some(Some(methods)) if methods.is_empty() => {
            matched.refuse("methods", "an empty list matches no request; leave `methods` out to match any");
            None
        }
        methods => methods.map(|methods| methods.map(BTreeSet::from_iter)),
    };
    Pattern { host, path, methods, query: query(matched) }
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

/// Any names, each with a text.
fn query(matched: &mut Table<'_, '_>) -> Option<BTreeMap<String, String>> {
    let Some(entries) = matched.read("query", Node::table)? else { return Some(BTreeMap::new()) };
    let mut parameters = BTreeMap::new();
    let mut all = true;
    for (name, value) in entries {
        let value = parameter_name(name).and_then(|_| value.text()).map(str::to_owned).map_err(|message| (&value.place, message));
        match value {
            Ok(value) => drop(parameters.insert(name.clone(), value)),
            Err((place, message)) => {
                all = false;
                matched.mistakes.add(place, format!("{}.query.{name}", matched.path), message);
            }
        }
    }
    all.then_some(parameters)
}

fn parameter_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("expected the name of a query parameter, found {}", quoted(text)));
    }
    Ok(text.to_owned())
}

/// `None` when mistaken, `Some(None)` for a public rule. `path` is the rule's path as far as it is known.
fn demand(table: &mut Table<'_, '_>, path: Option<&Option<PathPattern>>) -> Option<Option<Demand>> {
    if table.read("public", Node::boolean)?.unwrap_or(false) {
        let superfluous: Vec<&str> = DEMAND.iter().copied().filter(|name| table.get(name).is_some()).collect();
        for name in &superfluous {
            table.refuse(name, format!("a public rule asks nobody; remove `{name}` or `public`"));
        }
        return superfluous.is_empty().then_some(None);
    }
    let site = site(table, path);
    let access = access(table);
    let scope = table.read("scope", |node| {
        let text = node.text()?;
        if text == Scope::MANAGE {
            return Err("`manage` is the scope of the management API; choose another name".to_owned());
        }
        Scope::parse(text).map_err(|error| format!("{error}, found {}", quoted(text)))
    });
    let credentials = match table.items("credentials", |text| one_of(text, &CredentialKinds::NAMES)) {
        Some(Some(kinds)) if kinds.is_empty() => {
            table.refuse("credentials", "with an empty list nobody could pass; leave `credentials` out for bearer and session");
            None
        }
        kinds => {
            kinds.map(|kinds: Option<Vec<Via>>| kinds.map_or_else(CredentialKinds::default, |kinds| CredentialKinds::new(&kinds)))
        }
    };
    let max_token_access = table.read("max_token_access", |node| one_of(node.text()?, LEVELS));
    let otherwise = table.read("otherwise", |node| match node.text()? {
        "login" => Err(format!("`login` is {NOT_AVAILABLE}")),
        text => one_of(text, &[("challenge", Otherwise::Challenge), ("anonymous", Otherwise::Anonymous)]),
    });
    let (read, write) = access?;
    Some(Some(Demand {
        site: site?,
        read,
        write,
        scope: scope?,
        credentials: credentials?,
        max_token_access: max_token_access?.unwrap_or(Level::Superuser),
        otherwise: otherwise?.unwrap_or_default(),
    }))
}

fn site(table: &mut Table<'_, '_>, path: Option<&Option<PathPattern>>) -> Option<SiteSource> {
    let Some(node) = table.get("site") else {
        table.refuse("site", "a rule needs a `site`, or `public = true`");
        return None;
    };
    if let Toml::Text(text) = &node.value {
        let names = parse_site_list(text);
        if names.is_none() {
            let message = format!("expected the id of a site, or ids such as \"1,3\", found {}", quoted(text));
            table.refuse("site", message);
        }
        return names.map(SiteSource::Named);
    }
    let Toml::Table(entries) = &node.value else {
        table.refuse("site", format!("expected a site's id, or one of {SOURCES}, found {}", node.described()));
        return None;
    };
    let mut source = table.inner("site", &["query", "path", "host"])??;
    if entries.len() != 1 {
        table.refuse("site", format!("expected exactly one of {SOURCES}"));
        return None;
    }
    let query = source.read("query", |node| parameter_name(node.text()?));
    let segment = source.read("path", |node| segment(node.text()?, path));
    let host = source.read("host", |node| {
        if node.boolean()? { Ok(()) } else { Err("expected `true`; name the site in another way instead".to_owned()) }
    });
    match (query?, segment?, host?) {
        (Some(name), ..) => Some(SiteSource::Query(name)),
        (_, Some(segment), _) => segment.map(SiteSource::Segment),
        (.., Some(())) => Some(SiteSource::Host),
        // The one entry has a name that is not known, and has been refused.
        _ => None,
    }
}

const SOURCES: &str = "{ query = \"NAME\" }, { path = \"CAPTURE\" }, { host = true }";

/// Where the capture stands. `None` when the path itself is mistaken, so that nothing can be said.
fn segment(capture: &str, path: Option<&Option<PathPattern>>) -> Result<Option<usize>, String> {
    let Some(path) = path else { return Ok(None) };
    let found = path.as_ref().and_then(|path| path.capture(capture));
    found.map(Some).ok_or_else(|| {
        let pattern = path.as_ref().map(ToString::to_string).unwrap_or_default();
        if pattern.ends_with(&format!("{{*{capture}}}")) {
            return format!("`{{*{capture}}}` may be any number of segments; a site is one segment, written `{{{capture}}}`");
        }
        format!("the rule's path has no capture `{{{}}}`; add it to `match.path`", capture.escape_debug())
    })
}

fn access(table: &mut Table<'_, '_>) -> Option<(Level, Level)> {
    let Some(node) = table.get("access") else {
        table.refuse("access", "a rule needs an `access`, or `public = true`");
        return None;
    };
    if !matches!(node.value, Toml::Table(_)) {
        return table.read("access", level)?.map(|level| (level, level));
    }
    let mut levels = table.inner("access", &["read", "write"])??;
    let mut each = |name| match levels.get(name) {
        Some(_) => levels.read(name, level)?,
        None => {
            levels.refuse(name, format!("`{name}` is missing; give both `read` and `write`, or one level for all methods"));
            None
        }
    };
    let (read, write) = (each("read"), each("write"));
    Some((read?, write?))
}

fn level(node: &Node) -> Result<Level, String> {
    match node.text()? {
        "none" => Err("`none` would ask nobody; write `public = true` instead of `site` and `access`".to_owned()),
        text => one_of(text, LEVELS),
    }
}

/// A table of the rules, with its path for the messages.
struct Table<'n, 'm> {
    path: String,
    place: &'n Place,
    entries: &'n [(String, Node)],
    mistakes: &'m mut Mistakes,
}

impl<'n, 'm> Table<'n, 'm> {
    /// `None` when it is no table. Unknown keys are noted at once.
    fn open(path: String, node: &'n Node, known: &[&str], mistakes: &'m mut Mistakes) -> Option<Self> {
        let entries = mistakes.keep(&node.place, &path, node.table())?;
        for (name, node) in entries.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let hint = match MATCH.iter().find(|inner| *inner == name && known == RULE) {
                Some(inner) => format!("; did you mean `match.{inner}`?"),
                None => suggestion(name, known),
            };
            mistakes.add(&node.place, format!("{path}.{name}"), format!("unknown key{hint}"));
        }
        Some(Self { path, place: &node.place, entries, mistakes })
    }

    fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(own, _)| own == name).map(|(_, node)| node)
    }

    /// Blames the key, or where it is absent the table that should have it.
    fn refuse(&mut self, name: &str, message: impl Into<String>) {
        let place = self.get(name).map_or(self.place, |node| &node.place);
        self.mistakes.add(place, format!("{}.{name}", self.path), message);
    }

    /// `None` when mistaken, `Some(None)` when absent.
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&'n Node) -> Result<T, String>) -> Option<Option<T>> {
        match self.get(name).map(read) {
            None => Some(None),
            Some(Ok(value)) => Some(Some(value)),
            Some(Err(message)) => {
                self.refuse(name, message);
                None
            }
        }
    }

    /// The items of a list of texts, each judged, whatever the ones before it were.
    fn items<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<Option<Vec<T>>> {
        let Some(items) = self.read(name, Node::list)? else { return Some(None) };
        let path = format!("{}.{name}", self.path);
        let read: Vec<Option<T>> =
            items.iter().map(|item| self.mistakes.keep(&item.place, &path, item.text().and_then(&read))).collect();
        read.into_iter().collect::<Option<Vec<T>>>().map(Some)
    }

    /// A table inside this one.
    fn inner(&mut self, name: &str, known: &[&str]) -> Option<Option<Table<'n, '_>>> {
        match self.get(name) {
            None => Some(None),
            Some(node) => Table::open(format!("{}.{name}", self.path), node, known, self.mistakes).map(Some),
        }
    }
}
