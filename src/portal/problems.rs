//! What is wrong in a form with several fields: said at its top, with links, and beside each field. Templates include
//! `problems.html` at the top and `problem.html` beneath a field.

use crate::domain::text::Invalid;

/// In the order of the fields.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

#[derive(Debug)]
pub(super) struct Problem {
    /// The `id` of the field.
    pub field: &'static str,
    pub text: String,
}

impl Problems {
    pub fn add(&mut self, field: &'static str, text: impl Into<String>) {
        self.0.push(Problem { field, text: text.into() });
    }

    /// The value, or else its problem is noted.
    pub fn take<T>(&mut self, field: &'static str, read: Result<T, Invalid>) -> Option<T> {
        read.map_err(|invalid| self.add(field, sentence(&invalid.detail))).ok()
    }

    /// What a use case found.
    pub fn note(&mut self, invalid: &Invalid) {
        self.add(invalid.field, sentence(&invalid.detail));
    }

    // For templates.

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|problem| problem.field == field).map(|problem| problem.text.as_str())
    }

    pub fn has(&self, field: &str) -> bool {
        self.of(field).is_some()
    }
}

/// With a capital letter and a full stop, and the quotes of people.
pub(super) fn sentence(text: &str) -> String {
    let mut opens = true;
    let quoted = text.chars().map(|c| match c {
        '`' => {
            opens = !opens;
            if opens { '”' } else { '“' }
        }
        c => c,
    });
    let quoted: String = quoted.collect();
    let mut letters = quoted.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_says_becomes_a_sentence() {
        assert_eq!(sentence("`here` is no network: write `::1`"), "“here” is no network: write “::1”.");
        assert_eq!(sentence("choose a level"), "Choose a level.");
        assert_eq!(sentence(""), "");
    }
}
