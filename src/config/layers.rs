//! From file, environment and flags to one value for each key. Types are checked in every layer, so that a value
//! that another layer hides is a mistake all the same; what values mean is not judged here.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use super::{
    keys::{self, KEYS, Key, Kind, NOT_AVAILABLE, Named},
    mistake::{Mistakes, Noted, Place, quoted, suggestion},
    raw::{self, Node, Toml},
};

/// The values of one source, by key.
pub(super) type Layer = BTreeMap<&'static str, Node>;

pub(super) fn defaults() -> Layer {
    // A mistake in here would leave a key without a value, which `validate` reports.
    let mut mistakes = Mistakes::default();
    let path: Arc<Path> = Arc::from(Path::new("defaults"));
    let mut layer = raw::parse(keys::DEFAULTS, &path).map(|root| from_file(root, &mut mistakes).0).unwrap_or_default();
    for node in layer.values_mut() {
        node.place = Place::Default;
    }
    layer
}

/// The keys of a file, and its rules as they stand there.
pub(super) fn from_file(root: Node, mistakes: &mut Mistakes) -> (Layer, Option<Node>) {
    let mut layer = Layer::new();
    let mut rules = None;
    if let Toml::Table(entries) = root.value {
        let (own, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(name, _)| name == "rules");
        rules = own.into_iter().next().map(|(_, node)| node);
        take_section("", others, &mut layer, mistakes);
    }
    (layer, rules)
}

fn take_section(section: &str, entries: Vec<(String, Node)>, layer: &mut Layer, mistakes: &mut Mistakes) {
    for (name, node) in entries {
        let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        // A quoted key may hold a dot, and then is none of ours.
        let named = if name.contains('.') { Named::Unknown } else { keys::look_up(&path) };
        match named {
            Named::Key(key) => {
                if check_type(key, &node, mistakes).is_ok() {
                    layer.insert(key.path, node);
                }
            }
            Named::Section => {
                if let Toml::Table(entries) = node.value {
                    take_section(&path, entries, layer, mistakes);
                } else {
                    let message = format!("expected a section [{path}], found {}", node.kind());
                    mistakes.add(&node.place, path, message);
                }
            }
            Named::NotBuilt => refuse_not_built(&path, &node, mistakes),
            Named::Unknown => {
                let hint = match keys::elsewhere(section, &name) {
                    Some(right) => format!("; did you mean `{right}`?"),
                    None => suggestion(&name, &keys::names_in(section)),
                };
                mistakes.add(&node.place, path, format!("unknown key{hint}"));
            }
        }
    }
}

/// Names each key, so that the operator sees every line that has to go.
fn refuse_not_built(path: &str, node: &Node, mistakes: &mut Mistakes) {
    match &node.value {
        Toml::Table(entries) if !entries.is_empty() => {
            for (name, node) in entries {
                refuse_not_built(&format!("{path}.{name}"), node, mistakes);
            }
        }
        _ => {
            mistakes.add(&node.place, path, NOT_AVAILABLE);
        }
    }
}

fn check_type(key: &Key, node: &Node, mistakes: &mut Mistakes) -> Result<(), Noted> {
    let checked = match (key.kind, &node.value) {
        (Kind::Secret | Kind::TextOrList, Toml::Text(_)) => Ok(()),
        (Kind::Secret, _) => Err(format!("expected a text in quotes, found {}", node.kind())),
        (Kind::Text, _) => node.text().map(drop),
        (Kind::Integer, _) => node.integer().map(drop),
        (Kind::Boolean, _) => node.boolean().map(drop),
        (Kind::List | Kind::TextOrList, Toml::List(items)) => {
            let check = |item: &Node| mistakes.keep(&item.place, key.path, item.text().map(drop));
            return items.iter().map(check).fold(Ok(()), Result::and);
        }
        (Kind::List, _) => node.list().map(drop),
        (Kind::TextOrList, _) => Err(format!("expected a text in quotes or a list of them, found {}", node.described())),
    };
    mistakes.keep(&node.place, key.path, checked)
}

/// The variables `KEYGATE__SECTION__KEY`; others are not ours, except those that look like a slip of the pen.
pub(super) fn from_environment(environment: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Layer {
    let mut layer = Layer::new();
    for (name, value) in environment {
        let place = Place::Variable(name.clone());
        let Some(rest) = name.strip_prefix("KEYGATE__") else {
            if name.starts_with("KEYGATE_") && name.contains("__") {
                mistakes.add(&place, "", format!("unknown variable{}", nearest_variable(name)));
            }
            continue;
        };
        let path = rest.replace("__", ".").to_lowercase();
        let within = |section: &&&str| path.strip_prefix(**section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if within(&&"rules") {
            mistakes.add(&place, path, "rules come from the configuration file only; unset this variable");
        } else if keys::NOT_BUILT.iter().any(|section| within(&section)) {
            mistakes.add(&place, path, NOT_AVAILABLE);
        } else if let Some(key) = KEYS.iter().find(|key| keys::variable(key.path) == *name) {
            if let Ok(value) = mistakes.keep(&place, key.path, from_text(key.kind, value, &place)) {
                layer.insert(key.path, Node { place, value });
            }
        } else {
            mistakes.add(&place, path, format!("unknown variable{}", nearest_variable(name)));
        }
    }
    layer
}

pub(super) fn from_flags(data_dir: Option<&Path>, mistakes: &mut Mistakes) -> Layer {
    let Some(data_dir) = data_dir else { return Layer::new() };
    let place = Place::Flag("--data-dir");
    let text = mistakes.keep(&place, "data_dir", data_dir.to_str().ok_or_else(|| "the path is not UTF-8 text".to_owned()));
    text.map(|text| Layer::from([("data_dir", Node { place, value: Toml::Text(text.to_owned()) })])).unwrap_or_default()
}

fn nearest_variable(name: &str) -> String {
    let variables: Vec<String> = KEYS.iter().map(|key| keys::variable(key.path)).collect();
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    // The list of all variables would be long.
    let hint = suggestion(name, &variables);
    if hint.starts_with("; known") { "; see `keygate config show` for the keys".to_owned() } else { hint }
}

fn from_text(kind: Kind, text: &str, place: &Place) -> Result<Toml, String> {
    // What is not UTF-8 was read with the replacement character.
    if text.contains('\u{fffd}') {
        return Err("the value is not UTF-8 text".to_owned());
    }
    let found = quoted(text);
    match kind {
        Kind::Text | Kind::Secret => Ok(Toml::Text(text.to_owned())),
        Kind::Integer => text.parse().map(Toml::Integer).map_err(|_| format!("expected an integer, found {found}")),
        Kind::Boolean => text.parse().map(Toml::Boolean).map_err(|_| format!("expected true or false, found {found}")),
        Kind::List | Kind::TextOrList if text.trim().is_empty() => Ok(Toml::List(Vec::new())),
        Kind::List | Kind::TextOrList => {
            let item = |item: &str| Node { place: place.clone(), value: Toml::Text(item.trim().to_owned()) };
            Ok(Toml::List(text.split(',').map(item).collect()))
        }
    }
}

/// One layer as the crate `config` sees it.
///
/// The crate decides which layer holds a key. It is not asked for the values: it would turn the text "1" into true.
#[derive(Clone, Debug)]
struct Held {
    layer: usize,
    keys: Vec<&'static str>,
}

impl ::config::Source for Held {
    fn clone_into_box(&self) -> Box<dyn ::config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, ::config::Value>, ::config::ConfigError> {
        let layer = i64::try_from(self.layer).unwrap_or_default();
        Ok(self.keys.iter().map(|key| ((*key).to_owned(), layer.into())).collect())
    }
}

/// Puts each layer over the ones before it.
pub(super) fn merge(mut layers: Vec<Layer>) -> Layer {
    let held = layers.iter().enumerate().map(|(layer, values)| Held { layer, keys: values.keys().copied().collect() });
    let builder = held.fold(::config::Config::builder(), ::config::ConfigBuilder::<::config::builder::DefaultState>::add_source);
    let merged = builder.build().unwrap_or_else(|error| unreachable!("keys and numbers of our own: {error}"));
    let mut values = Layer::new();
    for key in KEYS {
        // An error is a key that no layer holds.
        let holder = merged.get::<usize>(key.path).ok().and_then(|layer| layers.get_mut(layer));
        if let Some(node) = holder.and_then(|layer| layer.remove(key.path)) {
            values.insert(key.path, node);
        }
    }
    values
}
