//! Passwords that somebody who guesses tries first, as far as they are long enough to be one.

/// One a line, folded, in the order of their bytes.
const COMMON: &str = include_str!("common.txt");

/// Whether the folded text is among them.
pub(super) fn contains(folded: &str) -> bool {
    // To look through some thousand lines takes a thousandth of what hashing takes.
    COMMON.lines().any(|line| line == folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{password::Password, text::fold};

    #[test]
    fn the_list_is_folded_sorted_and_of_possible_passwords() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert!(lines.len() > 1000 && lines.is_sorted());
        for line in &lines {
            assert!(line.len() as u64 >= Password::MIN_BYTES && fold(line) == *line, "{line}");
        }
        assert!(["password", "12345678", "qwertyuiop", "passw0rd", "iloveyou", "sommer2025!"].iter().all(|line| contains(line)));
        assert!(!contains("correct horse") && !contains("passwor"));
    }
}
