//! The parameters of a query or of a body, each read as one value or not at all. Servers disagree about doubled
//! names, about what ends a parameter, and about which names are the same; a parameter about which they could
//! disagree has no value here. Knows nothing of rules.

use std::borrow::Cow;

use serde::de::{Deserializer, MapAccess, Visitor};

use super::few::Few;

/// More parameters than this are nobody's honest request, and none of them is read.
const MAX_PARAMETERS: usize = 1000;

/// The parameters of a query, or of a body that was passed on.
#[derive(Debug, Default)]
pub struct Parameters<'a> {
    list: Few<Parameter<'a>, 2>,
    /// There were more than are read.
    too_many: bool,
}

#[derive(Debug)]
struct Parameter<'a> {
    /// Decoded, as bytes: a name need not be UTF-8 to reach an upstream.
    name: Cow<'a, [u8]>,
    /// `None` when it cannot be decoded.
    value: Option<Cow<'a, str>>,
    /// Some servers end a parameter at `;`. What stands behind one is a parameter to them and not to others.
    behind_semicolon: bool,
}

/// A parameter that two servers would read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousParameter;

impl<'a> Parameters<'a> {
    /// Reads `application/x-www-form-urlencoded` text.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Self {
        let mut list = Few::default();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            list.push(Parameter::parse(pair, false));
            list.extend(pair.split(|byte| *byte == b';').skip(1).take(MAX_PARAMETERS).map(|piece| Parameter::parse(piece, true)));
            if list.len() > MAX_PARAMETERS {
                return Self { list: Few::default(), too_many: true };
            }
        }
        Self { list, too_many: false }
    }

    /// The members of a JSON object; `None` when the text is anything else. Doubled members are kept.
    pub(super) fn from_json(text: &[u8]) -> Option<Parameters<'static>> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<Parameter<'static>>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut parameters = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    let value = match value {
                        serde_json::Value::String(text) => Some(Cow::Owned(text)),
                        serde_json::Value::Number(number) => Some(Cow::Owned(number.to_string())),
                        _ => None,
                    };
                    parameters.push(Parameter { name: Cow::Owned(name.into_bytes()), value, behind_semicolon: false });
                }
                Ok(parameters)
            }
        }
        let mut reader = serde_json::Deserializer::from_slice(text);
        let parameters = reader.deserialize_map(Members).ok()?;
        reader.end().ok()?;
        Some(Parameters { too_many: parameters.len() > MAX_PARAMETERS, list: Few::Many(parameters) })
    }

    /// Whether there is no parameter but these, exactly spelled.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> bool {
        !self.too_many && self.list.iter().all(|parameter| names.iter().any(|name| name.as_bytes() == &*parameter.name))
    }

    /// The value of the parameter `name`, which must occur at most once in any spelling that PHP folds into it
    /// (`name[]`, `na.me` and `na me` for `na_me`, leading blanks), and then exactly as `name`.
    ///
    /// # Errors
    /// When servers would disagree about it, or its value is no text.
    pub fn get(&self, name: &str) -> Result<Option<&str>, AmbiguousParameter> {
        if self.too_many {
            return Err(AmbiguousParameter);
        }
        let mut found = None;
        for parameter in &self.list {
            let exact = &*parameter.name == name.as_bytes() && !parameter.behind_semicolon;
            if !exact && !parameter.may_be(name) {
                continue;
            }
            if !exact || found.is_some() {
                return Err(AmbiguousParameter);
            }
            found = Some(parameter.value.as_deref().ok_or(AmbiguousParameter)?);
        }
        Ok(found)
    }
}

impl<'a> Parameter<'a> {
    fn parse(pair: &'a [u8], behind_semicolon: bool) -> Self {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(equals) => (&pair[..equals], &pair[equals + 1..]),
            None => (pair, &[][..]),
        };
        let value = decode_form(value, true).and_then(|bytes| match bytes {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        });
        Self { name: decode_form(name, false).unwrap_or_default(), value, behind_semicolon }
    }

    /// Whether some server folds this parameter's name into `name`.
    fn may_be(&self, name: &str) -> bool {
        let foldable = |name: &[u8]| name.iter().any(|byte| matches!(byte, b'[' | b'.' | 0) || byte.is_ascii_whitespace());
        if !foldable(&self.name) && !foldable(name.as_bytes()) {
            return *self.name == *name.as_bytes();
        }
        let folded = fold_like_php(name.as_bytes());
        let seen = fold_like_php(&self.name);
        // `a[b` without an end is `a_b` to PHP, and an array `a` to others.
        let base = |name: &[u8]| name.split(|byte| *byte == b'[').next().unwrap_or_default().to_vec();
        let flat = |name: &[u8]| name.iter().map(|byte| if *byte == b'[' { b'_' } else { *byte }).collect::<Vec<_>>();
        base(&seen) == folded || flat(&seen) == folded || base(&seen) == base(&folded)
    }
}

/// Percent and `+` decoding. An invalid escape stands for itself, as it does to most servers, unless `strict`.
fn decode_form(text: &[u8], strict: bool) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'+' => decoded.push(b' '),
            b'%' => match text.get(at + 1..at + 3).and_then(hex_pair) {
                Some(byte) => {
                    decoded.push(byte);
                    at += 2;
                }
                None if strict => return None,
                None => decoded.push(b'%'),
            },
            byte => decoded.push(byte),
        }
        at += 1;
    }
    Some(Cow::Owned(decoded))
}

/// `php_register_variable_ex` (`main/php_variables.c)`: leading blanks go, the name ends at NUL, `.` and blank become `_`
/// up to the first `[`.
fn fold_like_php(name: &[u8]) -> Vec<u8> {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii_start();
    let bracket = name.iter().position(|byte| *byte == b'[').unwrap_or(name.len());
    let mut folded = name.to_vec();
    for byte in &mut folded[..bracket] {
        if matches!(byte, b'.' | b' ') {
            *byte = b'_';
        }
    }
    folded
}

pub(super) fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let &[high, low] = pair else { return None };
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(query: &str, name: &str) -> Result<Option<String>, AmbiguousParameter> {
        Parameters::parse(query.as_bytes()).get(name).map(|value| value.map(str::to_owned))
    }

    #[test]
    fn a_parameter_has_one_value() {
        assert_eq!(get("idSite=1&x=2", "idSite"), Ok(Some("1".into())));
        assert_eq!(get("%69dSite=a+b%26", "idSite"), Ok(Some("a b&".into())));
        assert_eq!(get("idsite=1", "idSite"), Ok(None));
        assert_eq!(get("idSite", "idSite"), Ok(Some(String::new())));
        for query in [
            "idSite=1&idSite=1",
            "idSite=1&idSite[]=2",
            "idSite[]=1",
            "idSite[x=1",
            "+idSite=1",
            "%20idSite=1",
            "idSite%00x=1",
            "idSite=%zz",
            "idSite=%ff",
            "x=1;idSite=2",
            "idSite=1&x=1;idSite=2",
            "idSite[a][b]=1",
        ] {
            assert_eq!(get(query, "idSite"), Err(AmbiguousParameter), "{query}");
        }
        for query in ["id.Site=1", "id+Site=1", "id_Site=1&id.Site=2", "id[Site=1"] {
            assert_eq!(get(query, "id_Site"), Err(AmbiguousParameter), "{query}");
        }
    }
}
