//! The merged configuration, for people as TOML and for programs as JSON: every key with its value, and no secret.

use serde_json::{Map, Value as Json};
use toml_edit::{InlineTable, Value};

use super::{
    keys::{KEYS, Key, Kind},
    layers::Layer,
    raw::{Node, Toml},
    store_url,
};

/// Each key that has a value, as it may be shown.
fn shown(values: &Layer) -> impl Iterator<Item = (&'static Key, Toml)> {
    KEYS.iter().filter_map(|key| {
        let value = match (key.path, values.get(key.path)) {
            ("store.url", None) if !values.contains_key("store.url_file") => {
                let data_dir = values.get("data_dir").and_then(|node| node.text().ok()).unwrap_or_default();
                Toml::Text(store_url::default(data_dir))
            }
            ("store.url", Some(node)) => Toml::Text(store_url::masked(node.text().unwrap_or_default())),
            (_, None) => return None,
            (_, Some(_)) if key.kind == Kind::Secret => Toml::Text(store_url::MASK.to_owned()),
            (_, Some(node)) => node.value.clone(),
        };
        Some((key, value))
    })
}

/// Everything but the rules.
pub(super) fn settings(values: &Layer) -> String {
    let mut lines = Vec::new();
    let mut section = "";
    for (key, value) in shown(values) {
        let value = written(&value);
        let (of, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if of != section {
            lines.push(format!("\n[{of}]"));
            section = of;
        }
        lines.push(format!("{name} = {value}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The rules, as they stand in the file.
pub(super) fn rules(rules: Option<&Node>) -> String {
    let mut lines = Vec::new();
    for rule in rules.and_then(|rules| rules.list().ok()).unwrap_or_default() {
        lines.push("\n[[rules]]".to_owned());
        for (name, node) in rule.table().unwrap_or_default() {
            lines.push(format!("{name} = {}", written(&node.value)));
        }
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.join("\n")
}

/// Sections as objects, the rules as the list `rules`.
pub(super) fn json(values: &Layer, rules: Option<&Node>) -> Json {
    let mut root = Map::new();
    for (key, value) in shown(values) {
        let (sections, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        let mut object = Some(&mut root);
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            object = object.and_then(|object| object.entry(section).or_insert_with(|| Map::new().into()).as_object_mut());
        }
        if let Some(object) = object {
            object.insert(name.to_owned(), as_json(&value));
        }
    }
    root.insert("rules".to_owned(), rules.map_or_else(|| Json::Array(Vec::new()), |rules| as_json(&rules.value)));
    Json::Object(root)
}

fn as_json(value: &Toml) -> Json {
    match value {
        Toml::Text(text) => Json::from(text.as_str()),
        Toml::Integer(number) => Json::from(*number),
        Toml::Boolean(value) => Json::from(*value),
        // No key of ours takes such a value.
        Toml::Other(kind) => Json::from(*kind),
        Toml::List(items) => items.iter().map(|item| as_json(&item.value)).collect(),
        Toml::Table(entries) => entries.iter().map(|(name, node)| (name.clone(), as_json(&node.value))).collect(),
    }
}

fn written(value: &Toml) -> Value {
    match value {
        Toml::Text(text) => Value::from(text.as_str()),
        Toml::Integer(number) => Value::from(*number),
        Toml::Boolean(value) => Value::from(*value),
        // No key of ours takes such a value.
        Toml::Other(kind) => Value::from(*kind),
        Toml::List(items) => items.iter().map(|item| written(&item.value)).collect(),
        Toml::Table(entries) => {
            let table: InlineTable = entries.iter().map(|(name, node)| (name.as_str(), written(&node.value))).collect();
            Value::from(table)
        }
    }
}
