//! The merged configuration as TOML text, for people: every key with its value, and no secret.

use toml_edit::{InlineTable, Value};

use super::{
    keys::{KEYS, Kind},
    layers::Layer,
    raw::{Node, Toml},
    store_url,
};

pub(super) fn text(values: &Layer, rules: Option<&Node>) -> String {
    let mut lines = Vec::new();
    let mut section = "";
    for key in KEYS {
        let value = match (key.path, values.get(key.path)) {
            ("store.url", None) if !values.contains_key("store.url_file") => {
                let data_dir = values.get("data_dir").and_then(|node| node.text().ok()).unwrap_or_default();
                Value::from(store_url::default(data_dir))
            }
            ("store.url", Some(node)) => Value::from(store_url::masked(node.text().unwrap_or_default())),
            (_, None) => continue,
            (_, Some(_)) if key.kind == Kind::Secret => Value::from(store_url::MASK),
            (_, Some(node)) => written(node),
        };
        let (of, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if of != section {
            lines.push(format!("\n[{of}]"));
            section = of;
        }
        lines.push(format!("{name} = {value}"));
    }
    for rule in rules.and_then(|rules| rules.list().ok()).unwrap_or_default() {
        lines.push("\n[[rules]]".to_owned());
        for (name, node) in rule.table().unwrap_or_default() {
            lines.push(format!("{name} = {}", written(node)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn written(node: &Node) -> Value {
    match &node.value {
        Toml::Text(text) => Value::from(text.as_str()),
        Toml::Integer(number) => Value::from(*number),
        Toml::Boolean(value) => Value::from(*value),
        // No key of ours takes such a value.
        Toml::Other(kind) => Value::from(*kind),
        Toml::List(items) => items.iter().map(written).collect(),
        Toml::Table(entries) => {
            let table: InlineTable = entries.iter().map(|(name, node)| (name.as_str(), written(node))).collect();
            Value::from(table)
        }
    }
}
