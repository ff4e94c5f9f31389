//! What people and scripts see: aligned tables, lines of fields, or JSON. The only place that prints.

use std::io::{self, IsTerminal as _, Write as _};

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
            print(&aligned(rows, &mut Vec::new()));
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

/// A list without an end, block by block: a table whose columns grow with what they hold, or one JSON object a line.
pub(super) struct Flow<'a> {
    output: Output,
    header: Option<&'a [&'a str]>,
    widths: Vec<usize>,
}

impl<'a> Flow<'a> {
    pub fn new(output: Output, columns: &'a [&'a str]) -> Self {
        Self { output, header: Some(columns), widths: Vec::new() }
    }

    /// Whether there is still a reader.
    pub fn show<T: Serialize>(&mut self, items: &[T], row: impl Fn(&T) -> Vec<String>) -> bool {
        let text = if self.output.json {
            items.iter().filter_map(|item| Some(serde_json::to_string(item).ok()? + "\n")).collect()
        } else {
            let header = self.header.take().map(|columns| columns.iter().map(|column| (*column).to_owned()).collect());
            aligned(header.into_iter().chain(items.iter().map(row)).collect(), &mut self.widths)
        };
        write(&text).is_ok()
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

/// How far long work has come, on one line of a terminal that goes away in the end; nothing where nobody watches.
pub(super) struct Progress {
    what: &'static str,
    shown: bool,
}

impl Progress {
    pub fn new(what: &'static str) -> Self {
        Self { what, shown: false }
    }

    pub fn at(&mut self, count: usize) {
        let mut stderr = io::stderr();
        if stderr.is_terminal() {
            self.shown = true;
            let _ = write!(stderr, "\r{count} {}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// An absent value.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Who reads no further (`| head`) has what he wanted.
fn print(text: &str) {
    let _ = write(text);
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let header = columns.iter().map(|column| (*column).to_owned()).collect();
    aligned([vec![header], rows].concat(), &mut Vec::new())
}

/// Columns two blanks apart, nothing after the last one; no column is narrower than its width so far.
fn aligned(rows: Vec<Vec<String>>, widths: &mut Vec<usize>) -> String {
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths.iter()).map(|(cell, width)| format!("{cell:width$}")).collect();
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
