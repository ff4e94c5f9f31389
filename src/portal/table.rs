//! Tables that sort, filter and page by their address alone: what the links to the same page are with one thing changed.
//! What is in them is their page's business.

/// What of a table is shown, as the address says it. Templates include `table_head.html` for its `columns`, and `pager.html`
/// for its `pager`.
#[derive(Clone, Debug)]
pub(super) struct View {
    path: String,
    parameters: Vec<(&'static str, String)>,
}

/// The head of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub label: &'static str,
    /// Sorts by it, or the other way round.
    pub link: Option<String>,
    /// As `aria-sort` says it.
    pub sorted: Option<&'static str>,
    /// What is in the column says it to who sees.
    pub unseen: bool,
}

/// The links to other parts of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pager {
    /// To the first part, from another one.
    pub first: Option<String>,
    pub next: Option<String>,
}

impl View {
    pub fn at(path: impl Into<String>) -> Self {
        Self { path: path.into(), parameters: Vec::new() }
    }

    /// With a parameter that stays the same on all parts: `sort`, or a filter. An empty one is none.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.parameters.push((name, value.to_owned()));
        }
        self
    }

    /// Whether anything is filtered.
    pub fn is_filtered(&self) -> bool {
        self.parameters.iter().any(|(name, _)| *name != "sort")
    }

    /// A column that the table can be sorted by. `by` is how it is sorted at the first click: a word, with `-` before it for
    /// the last ones first.
    pub fn column(&self, label: &'static str, by: &str) -> Column {
        let now = self.parameters.iter().find(|(name, _)| *name == "sort").map(|(_, value)| value.as_str());
        let word = by.trim_start_matches('-');
        let is_by_it = now.is_some_and(|now| now.trim_start_matches('-') == word);
        let sorted = now.filter(|_| is_by_it).map(|now| if now.starts_with('-') { "descending" } else { "ascending" });
        let to = match now {
            Some(now) if is_by_it && now.starts_with('-') => word.to_owned(),
            Some(_) if is_by_it => format!("-{word}"),
            _ => by.to_owned(),
        };
        Column { label, link: Some(self.link("sort", &to)), sorted, unseen: false }
    }

    /// The links beneath the part that begins at `after`, which is what the parameter of that name says.
    pub fn pager(&self, name: &str, after: Option<&str>, next: Option<&str>) -> Pager {
        Pager { first: after.map(|_| self.link("", "")), next: next.map(|next| self.link(name, next)) }
    }

    /// The same page with this parameter, from the beginning.
    fn link(&self, changed: &str, to: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.parameters.iter().filter(|(name, _)| *name != changed));
        if !changed.is_empty() {
            query.append_pair(changed, to);
        }
        let query = query.finish();
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }
}

impl Column {
    /// One that nothing is sorted by.
    pub fn plain(label: &'static str) -> Self {
        Self { label, link: None, sorted: None, unseen: false }
    }

    /// One of boxes or buttons, whose head only readers of screens need.
    pub fn unseen(label: &'static str) -> Self {
        Self { unseen: true, ..Self::plain(label) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_change_one_thing_and_begin_anew() {
        let view = View::at("/keys").with("name", Some("a b&c")).with("state", Some("")).with("sort", Some("-created"));
        assert!(view.is_filtered());
        let column = view.column("Created", "-created");
        assert_eq!((column.link.as_deref(), column.sorted), (Some("/keys?name=a+b%26c&sort=created"), Some("descending")));
        let column = view.column("Name", "name");
        assert_eq!((column.link.as_deref(), column.sorted), (Some("/keys?name=a+b%26c&sort=name"), None));
        let pager = view.pager("after", Some("x"), Some("y"));
        assert_eq!(pager.first.as_deref(), Some("/keys?name=a+b%26c&sort=-created"));
        assert_eq!(pager.next.as_deref(), Some("/keys?name=a+b%26c&sort=-created&after=y"));
        assert_eq!(View::at("/keys").pager("after", None, None), Pager { first: None, next: None });
        assert_eq!(View::at("/keys").pager("after", Some("x"), None).first.as_deref(), Some("/keys"));
    }
}
