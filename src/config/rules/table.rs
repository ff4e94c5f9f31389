//! One table of a rule, read key by key: names what is unknown at once, and blames the line of each key.

use crate::config::{
    mistake::{Mistakes, Noted, Place, suggestion},
    raw::{Node, Toml},
};

/// A table with its path, such as `rules[0].match`, for the messages.
pub(super) struct Table<'n, 'm> {
    path: String,
    place: &'n Place,
    entries: &'n [(String, Node)],
    mistakes: &'m mut Mistakes,
}

impl<'n, 'm> Table<'n, 'm> {
    /// `below` names the tables inside this one, with their keys: a key that belongs there is told so.
    pub fn open(
        path: String,
        node: &'n Node,
        known: &[&str],
        below: &[(&str, &[&str])],
        mistakes: &'m mut Mistakes,
    ) -> Result<Self, Noted> {
        let entries = mistakes.keep(&node.place, &path, node.table())?;
        for (name, node) in entries.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let hint = match below.iter().find(|(_, keys)| keys.contains(&name.as_str())) {
                Some((table, _)) => format!("; did you mean `{table}.{name}`?"),
                None => suggestion(name, known),
            };
            mistakes.add(&node.place, format!("{path}.{name}"), format!("unknown key{hint}"));
        }
        Ok(Self { path, place: &node.place, entries, mistakes })
    }

    pub fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(own, _)| own == name).map(|(_, node)| node)
    }

    /// Blames the key, or where it is absent the table that should have it.
    pub fn refuse(&mut self, name: &str, message: impl Into<String>) -> Noted {
        let place = self.get(name).map_or(self.place, |node| &node.place);
        self.mistakes.add(place, format!("{}.{name}", self.path), message)
    }

    /// `None` when the key is absent.
    pub fn read<T>(&mut self, name: &str, read: impl FnOnce(&'n Node) -> Result<T, String>) -> Result<Option<T>, Noted> {
        self.get(name).map(read).transpose().map_err(|message| self.refuse(name, message))
    }

    /// As [`Self::read`] for a key that must be there; `missing` says what to do when it is not.
    pub fn require<T>(&mut self, name: &str, missing: &str, read: impl FnOnce(&'n Node) -> Result<T, String>) -> Result<T, Noted> {
        self.read(name, read)?.ok_or_else(|| self.refuse(name, missing))
    }

    /// The items of a list of texts, each judged, whatever the ones before it were.
    pub fn items<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<Vec<T>>, Noted> {
        let Some(items) = self.read(name, Node::list)? else { return Ok(None) };
        let path = format!("{}.{name}", self.path);
        let read: Vec<Result<T, Noted>> =
            items.iter().map(|item| self.mistakes.keep(&item.place, &path, item.text().and_then(&read))).collect();
        read.into_iter().collect::<Result<Vec<T>, Noted>>().map(Some)
    }

    /// The entries of a table with names of the operator's own.
    pub fn entries<T>(
        &mut self,
        name: &str,
        read: impl Fn(&'n str, &'n Node) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Noted> {
        let Some(entries) = self.read(name, Node::table)? else { return Ok(None) };
        let path = format!("{}.{name}", self.path);
        let mut keep =
            |(name, node): &'n (String, Node)| self.mistakes.keep(&node.place, &format!("{path}.{name}"), read(name, node));
        let read: Vec<Result<T, Noted>> = entries.iter().map(&mut keep).collect();
        read.into_iter().collect::<Result<Vec<T>, Noted>>().map(Some)
    }

    pub fn is_table(&self, name: &str) -> bool {
        self.get(name).is_some_and(|node| matches!(node.value, Toml::Table(_)))
    }

    /// A table inside this one; without entries where the key is absent.
    pub fn inner(&mut self, name: &str, known: &[&str]) -> Result<Table<'n, '_>, Noted> {
        let path = format!("{}.{name}", self.path);
        match self.get(name) {
            Some(node) => Table::open(path, node, known, &[], self.mistakes),
            None => Ok(Table { path, place: self.place, entries: &[], mistakes: self.mistakes }),
        }
    }
}
