//! What a rule says about hosts and paths, as it is written.

use std::{collections::BTreeSet, fmt};

use super::super::{site::Host, text::Invalid};

/// Which hosts a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    Exact(Host),
    /// `*.example.com`: any name below it, at any depth, but not itself.
    Below(Host),
}

impl HostPattern {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let host = |text: &str| {
            if text.contains(':') && !text.starts_with('[') {
                return Err(Invalid::new("host_malformed", "host", "a host pattern has no port"));
            }
            Host::parse(text)
        };
        match text.strip_prefix("*.") {
            Some(parent) => Ok(Self::Below(host(parent)?)),
            None if text.contains('*') => {
                Err(Invalid::new("host_pattern", "host", "a host pattern may begin with `*.` and has no other `*`"))
            }
            None => Ok(Self::Exact(host(text)?)),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// One piece of a path pattern, matched against decoded segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Capture(String),
}

/// `/orders/{id}/{*rest}`: exact, with `{capture}` for one segment and `{*tail}` at the end for zero or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) tail: bool,
}

impl PathPattern {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let error = |detail: &str| Invalid::new("path_pattern", "path", detail);
        let rest = text.strip_prefix('/').ok_or_else(|| error("a path pattern begins with `/`"))?;
        let mut pieces = Vec::new();
        let mut names = BTreeSet::new();
        let mut tail = false;
        for (index, segment) in rest.split('/').enumerate() {
            let is_last = index == rest.matches('/').count();
            if tail {
                return Err(error("`{*tail}` stands only at the end of a path pattern"));
            }
            if let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                let bare = name.strip_prefix('*').unwrap_or(name);
                let valid = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if !valid {
                    return Err(error("the name of a capture is letters, digits and _"));
                }
                if !names.insert(bare.to_owned()) {
                    return Err(error("a capture's name occurs once in a path pattern"));
                }
                if name.starts_with('*') {
                    tail = true;
                } else {
                    pieces.push(Piece::Capture(bare.to_owned()));
                }
                continue;
            }
            if segment.contains(['{', '}', '*']) {
                return Err(error("a capture or `{*tail}` is a whole segment of a path pattern"));
            }
            let never =
                segment.is_empty() && !is_last || matches!(segment, "." | "..") || segment.contains(['%', ';', '\\', '#', '?']);
            if never || segment.chars().any(char::is_control) {
                return Err(error(
                    "no request has such a path: patterns are matched decoded, without `//`, `.`, `..`, `%`, `;`, `?`, `#` or `\\`",
                ));
            }
            pieces.push(Piece::Literal(segment.to_owned()));
        }
        Ok(Self { text: text.to_owned(), pieces, tail })
    }

    /// Where in the path the capture `name` stands.
    #[must_use]
    pub fn capture(&self, name: &str) -> Option<usize> {
        self.pieces.iter().position(|piece| matches!(piece, Piece::Capture(capture) if capture == name))
    }

    pub(super) fn matches(&self, segments: &[impl AsRef<str>]) -> bool {
        let long_enough = if self.tail { segments.len() >= self.pieces.len() } else { segments.len() == self.pieces.len() };
        long_enough
            && self.pieces.iter().zip(segments).all(|(piece, segment)| match piece {
                Piece::Literal(literal) => literal == segment.as_ref(),
                Piece::Capture(_) => !segment.as_ref().is_empty(),
            })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for bad in ["", "a", "/a//b", "/../a", "/a/{*t}/b", "/{a}/{a}", "/{a}x", "/{}", "/%61", "/a?b", "/{a-b}", "/*"] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "*", "a.*", "*.*.b", "a:80", "a b"] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
