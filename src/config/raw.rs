//! The TOML document as a tree in which every value knows its line.
//!
//! Keeps TOML's own types as they were written and converts nothing. Knows no key of ours.

use std::{ops::Range, path::Path, sync::Arc};

use toml_edit::{Document, Item, Key, TableLike, Value};

use super::mistake::{Mistake, Place, quoted};

/// A value and where it stands; in a table that is where its key stands. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) struct Node {
    pub place: Place,
    pub value: Toml,
}

#[derive(Clone)]
pub(super) enum Toml {
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// What no key of ours takes: a fraction, a date.
    Other(&'static str),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    /// What this is, without saying its value.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Toml::Text(_) => "a text",
            Toml::Integer(_) => "an integer",
            Toml::Boolean(_) => "a boolean",
            Toml::Other(kind) => kind,
            Toml::List(_) => "a list",
            Toml::Table(_) => "a table",
        }
    }

    /// What this is, with its value where that is short. Not for secrets.
    pub fn described(&self) -> String {
        match &self.value {
            Toml::Text(text) => format!("the text {}", quoted(text)),
            Toml::Integer(value) => format!("the integer {value}"),
            Toml::Boolean(value) => format!("the boolean {value}"),
            Toml::Other(_) | Toml::List(_) | Toml::Table(_) => self.kind().to_owned(),
        }
    }

    pub fn text(&self) -> Result<&str, String> {
        match &self.value {
            Toml::Text(text) => Ok(text),
            _ => Err(format!("expected a text in quotes, found {}", self.described())),
        }
    }

    pub fn boolean(&self) -> Result<bool, String> {
        match &self.value {
            Toml::Boolean(value) => Ok(*value),
            _ => Err(format!("expected true or false without quotes, found {}", self.described())),
        }
    }

    pub fn integer(&self) -> Result<i64, String> {
        match &self.value {
            Toml::Integer(value) => Ok(*value),
            _ => Err(format!("expected an integer without quotes, found {}", self.described())),
        }
    }

    pub fn list(&self) -> Result<&[Node], String> {
        match &self.value {
            Toml::List(items) => Ok(items),
            _ => Err(format!("expected a list such as [\"…\", \"…\"], found {}", self.described())),
        }
    }

    pub fn table(&self) -> Result<&[(String, Node)], String> {
        match &self.value {
            Toml::Table(entries) => Ok(entries),
            _ => Err(format!("expected a table such as {{ … = … }}, found {}", self.described())),
        }
    }
}

/// Reads a file. What cannot be read, is not UTF-8 or is not TOML is one mistake.
pub(super) fn read(path: &Path) -> Result<Node, Mistake> {
    let shared: Arc<Path> = Arc::from(path);
    let whole =
        |line, message| Mistake { place: Place::File { path: Arc::clone(&shared), line, column: 0 }, key: String::new(), message };
    let bytes = std::fs::read(path).map_err(|error| whole(0, format!("the configuration file cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        whole(good.split(|byte| *byte == b'\n').count(), "a configuration file is UTF-8 text".to_owned())
    })?;
    parse(&text, &shared)
}

pub(super) fn parse(text: &str, path: &Arc<Path>) -> Result<Node, Mistake> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
    let lines = Lines { path, starts };
    match Document::parse(text) {
        Ok(document) => Ok(Node { place: lines.place(None), value: Toml::Table(lines.entries(document.as_table())) }),
        // Only the parser's own words: its long form quotes the line, which may hold a secret.
        Err(error) => {
            let (place, message) = (lines.place(error.span()), format!("this is not TOML: {}", error.message()));
            Err(Mistake { place, key: String::new(), message })
        }
    }
}

/// Where the lines of a text begin.
struct Lines<'a> {
    path: &'a Arc<Path>,
    starts: Vec<usize>,
}

impl Lines<'_> {
    fn place(&self, span: Option<Range<usize>>) -> Place {
        let offset = span.map_or(0, |span| span.start);
        let line = self.starts.partition_point(|start| *start <= offset);
        let column = 1 + offset - self.starts[line - 1];
        Place::File { path: Arc::clone(self.path), line, column }
    }

    fn entries(&self, table: &dyn TableLike) -> Vec<(String, Node)> {
        let entry = |(name, item): (&str, &Item)| {
            let place = self.place(table.key(name).and_then(Key::span).or_else(|| item.span()));
            (name.to_owned(), Node { place, value: self.item(item) })
        };
        table.iter().map(entry).collect()
    }

    fn item(&self, item: &Item) -> Toml {
        match item {
            Item::None => Toml::Other("nothing"),
            Item::Value(value) => self.value(value),
            Item::Table(table) => Toml::Table(self.entries(table)),
            Item::ArrayOfTables(tables) => {
                let node =
                    |table: &toml_edit::Table| Node { place: self.place(table.span()), value: Toml::Table(self.entries(table)) };
                Toml::List(tables.iter().map(node).collect())
            }
        }
    }

    fn value(&self, value: &Value) -> Toml {
        match value {
            Value::String(text) => Toml::Text(text.value().clone()),
            Value::Integer(number) => Toml::Integer(*number.value()),
            Value::Boolean(value) => Toml::Boolean(*value.value()),
            Value::Float(_) => Toml::Other("a number with a fraction"),
            Value::Datetime(_) => Toml::Other("a date or time"),
            Value::Array(items) => {
                Toml::List(items.iter().map(|item| Node { place: self.place(item.span()), value: self.value(item) }).collect())
            }
            Value::InlineTable(table) => Toml::Table(self.entries(table)),
        }
    }
}
