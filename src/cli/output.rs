//! What people and scripts see: aligned tables, lines of fields, or JSON. The only place that prints.

use std::io::{self, Write as _};

use serde::Serialize;

/// How to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub json: bool,
}

impl Output {
    /// A list, as a table or as one JSON array.
    pub fn list<T: Serialize>(self, items: &[T], columns: &[&str], row: impl Fn(&T) -> Vec<String>) {
        if self.json {
            json(&items);
        } else {
            print(&table(columns, items.iter().map(row).collect()));
        }
    }

    /// One object, as lines of fields or as JSON.
    pub fn object<T: Serialize>(self, object: &T, fields: &[(&str, String)]) {
        if self.json {
            json(object);
        } else {
            let rows = fields.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
            print(&aligned(rows));
        }
    }

    /// What was done, as a sentence or as JSON.
    pub fn done<T: Serialize>(self, object: &T, sentence: &str) {
        if self.json {
            json(object);
        } else {
            print(&format!("{sentence}\n"));
        }
    }

    /// What was taken away.
    pub fn deleted(self, what: &str, name: &str) {
        self.done(&serde_json::json!({ "deleted": name }), &format!("deleted {what} `{name}`"));
    }

    /// A token that was just made: with JSON beside its record, else alone, so that it can be piped on.
    pub fn token<T: Serialize>(self, made: &T, text: &str) {
        if self.json {
            json(made);
        } else {
            print(&format!("{text}\n"));
        }
    }
}

/// The answer as JSON.
pub(super) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        print(&format!("{text}\n"));
    }
}

/// The answer, as it is.
pub(super) fn say(text: &str) {
    print(text);
}

/// For people, beside the answer.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An absent value.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Who reads no further (`| head`) has what he wanted.
fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let header = columns.iter().map(|column| (*column).to_owned()).collect();
    aligned([vec![header], rows].concat())
}

/// Columns two blanks apart, nothing after the last one.
fn aligned(rows: Vec<Vec<String>>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["vera".to_owned(), "-".to_owned()], vec!["björn-åke".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["LOGIN", "NAME"], rows), "LOGIN      NAME\nvera       -\nbjörn-åke  x\n");
    }
}
