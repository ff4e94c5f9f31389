//! JSON bodies and queries, read into their types. What does not fit is named by its field, and never repeated: it may be a
//! password in the wrong place.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_path_to_error::Error;

use super::Problem;

/// A JSON body. An empty one is an empty object. What is no JSON at all is another mistake than JSON that does not fit.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut reader);
    // Serde would take a list for an object without its names.
    let is_list = text.trim_ascii_start().first() == Some(&b'[');
    let is_json = || std::str::from_utf8(text).is_ok() && serde_json::from_slice::<IgnoredAny>(text).is_ok();
    match read.map(|value| (value, reader.end())) {
        Ok((_, Ok(()))) if is_list => Err(not_an_object()),
        Ok((value, Ok(()))) => Ok(value),
        Ok((_, Err(error))) => Err(malformed(&error)),
        Err(_) if is_list && is_json() => Err(not_an_object()),
        Err(error) if is_json() => Err(invalid("body_invalid", &error)),
        Err(error) => Err(malformed(error.inner())),
    }
}

fn not_an_object() -> Problem {
    Problem::new(422, "body_invalid", "the body is a JSON object")
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(400, "body_malformed", without_values(&error.to_string()))
}

pub(super) fn query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let reader = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(reader).map_err(|error| invalid("query_invalid", &error))
}

/// Reads a member that may be left out, but is not `null` where it is there; beside `#[serde(default)]`.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn invalid<E: std::fmt::Display>(code: &str, error: &Error<E>) -> Problem {
    let message = error.inner().to_string();
    let problem = Problem::new(422, code, without_values(&message));
    match member(&error.path().to_string(), &message) {
        Some(field) => problem.on(&field),
        None => problem,
    }
}

/// The member of the outermost object that is wrong.
fn member(path: &str, message: &str) -> Option<String> {
    let about_a_member = ["unknown field `", "missing field `", "duplicate field `"];
    let named = about_a_member.iter().find_map(|start| message.strip_prefix(start)?.split('`').next());
    let outermost = path.split(['.', '[']).next().filter(|name| !name.is_empty() && *name != "?");
    outermost.or(named).map(str::to_owned)
}

/// What the reader says without the value it stumbled over.
fn without_values(message: &str) -> String {
    let expected = || message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let kinds = ["invalid type", "invalid value", "invalid length", "unknown variant"];
    match (kinds.into_iter().find(|kind| message.starts_with(kind)), expected()) {
        (Some(kind), Some(expected)) => format!("{kind}, expected {expected}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        #[serde(default, deserialize_with = "given")]
        loud: Option<bool>,
        #[serde(default)]
        names: Vec<String>,
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        for (body, status, field) in [
            (r#"{"loud":null}"#, 422, Some("loud")),
            (r#"{"loud":"hunter2"}"#, 422, Some("loud")),
            (r#"{"names":["a",{"hunter2":1}]}"#, 422, Some("names")),
            (r#"{"names":"hunter2, expected"}"#, 422, Some("names")),
            (r#"{"colour":"hunter2"}"#, 422, Some("colour")),
            (r#"{"loud":true,"loud":true}"#, 422, Some("loud")),
            (r#"["hunter2"]"#, 422, None),
            (r#" [true, ["hunter2"]]"#, 422, None),
            (r#"{"loud":true} x"#, 400, None),
            (r#"{"loud":1e999}"#, 422, Some("loud")),
            (r#"{"names":["#, 400, None),
        ] {
            let problem = json::<Wish>(body.as_bytes()).unwrap_err();
            let document = problem.document();
            assert_eq!((document.status, document.field.as_deref()), (status, field), "{body}: {}", document.detail);
            assert!(!document.detail.contains("hunter2"), "{}", document.detail);
        }
        let wish: Wish = json(b"").unwrap();
        assert!(wish.loud.is_none() && wish.names.is_empty());
        assert_eq!(json::<Wish>("[".repeat(100_000).as_bytes()).unwrap_err().document().status, 400);
        assert_eq!(json::<Wish>(b"{\"names\":[\"\xff\"]}").unwrap_err().document().status, 400);
        let problem = query::<Wish>("loud=hunter2").unwrap_err();
        assert_eq!((problem.document().field.as_deref(), problem.document().detail.contains("hunter2")), (Some("loud"), false));
    }
}
