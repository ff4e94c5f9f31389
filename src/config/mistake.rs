//! What is wrong with a configuration, where it stands, and what to do about it. Never holds a secret's value.

use std::{fmt, path::Path, sync::Arc};

use crate::domain::text::printable;

/// Where a value was written. Ordered as mistakes are shown: the file from its top, the environment, the flags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere: what holds when nobody says anything. Not to blame while something else is.
    Default,
    /// Line and column (in bytes) count from 1; line 0 is the file as a whole.
    File {
        path: Arc<Path>,
        line: usize,
        column: usize,
    },
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(&printable(name)),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing to correct: `keygate.toml:12: check.listen: expected …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    /// The key with its sections, such as `check.listen`; empty when no key is to blame.
    pub key: String,
    /// One sentence that says what to do.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        // A variable or a flag names its key already.
        if matches!(self.place, Place::File { .. }) && !self.key.is_empty() {
            write!(f, "{}: ", printable(&self.key))?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

/// Says that a mistake has been noted, so that its reader can go on with the next value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted(());

/// All mistakes of one run.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, place: &Place, key: impl Into<String>, message: impl Into<String>) -> Noted {
        self.0.push(Mistake { place: place.clone(), key: key.into(), message: message.into() });
        Noted(())
    }

    pub(super) fn push(&mut self, mistake: Mistake) {
        self.0.push(mistake);
    }

    /// Notes a failure and goes on without the value.
    pub(super) fn keep<T>(&mut self, place: &Place, key: &str, result: Result<T, String>) -> Result<T, Noted> {
        result.map_err(|message| self.add(place, key, message))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn sorted(mut self) -> Vec<Mistake> {
        self.0.sort_by(|a, b| a.place.cmp(&b.place));
        self.0
    }
}

/// A value as a mistake shows it: in quotes, on one line, not endless.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let short: String = text.chars().take(MOST).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", short.escape_debug())
}

/// The end of a sentence about an unknown word: the nearest known one, or all of them when none is near.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
    let tolerated = (word.chars().count() / 3).max(1);
    let nearest = known.iter().map(|candidate| (distance(candidate), *candidate)).min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, nearest)) if distance <= tolerated => format!("; did you mean `{nearest}`?"),
        Some(_) => format!("; known are {}", listed(known)),
        None => String::new(),
    }
}

/// `a`, `b`, `c`.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_gets_the_list() {
        assert_eq!(suggestion("chekc", &["check", "grpc"]), "; did you mean `check`?");
        assert_eq!(suggestion("Host", &["path", "host"]), "; did you mean `host`?");
        assert_eq!(suggestion("zebra", &["path", "host"]), "; known are `path`, `host`");
    }

    #[test]
    fn mistakes_sort_by_place_and_print_on_one_line() {
        let path: Arc<Path> = Arc::from(Path::new("k.toml"));
        let at = |line| Place::File { path: Arc::clone(&path), line, column: 1 };
        let mut mistakes = Mistakes::default();
        mistakes.add(&Place::Flag("--data-dir"), "data_dir", "f");
        mistakes.add(&Place::Variable("KEYGATE__A".into()), "a", "e");
        mistakes.add(&at(12), "check.listen", "two");
        mistakes.add(&at(2), "a\nb", "one");
        let lines: Vec<String> = mistakes.sorted().iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["k.toml:2: a\\nb: one", "k.toml:12: check.listen: two", "KEYGATE__A: e", "--data-dir: f"]);
    }
}
