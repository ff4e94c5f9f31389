//! The page to read the API at, made from its OpenAPI document: no script, and nothing from elsewhere.

use std::fmt::Write as _;

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("page.css");

#[derive(Template)]
#[template(path = "api/documents/page.html")]
struct Page {
    style: &'static str,
    version: String,
    description: String,
    resources: Vec<Resource>,
}

struct Resource {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    parameters: Vec<Described>,
    body: Vec<Described>,
    curl: String,
    answers: Vec<Answer>,
}

/// A parameter, or a member of a body.
struct Described {
    name: String,
    place: String,
    required: bool,
    kind: String,
    description: String,
}

struct Answer {
    status: String,
    description: String,
    example: String,
}

/// The page of an OpenAPI document.
pub(super) fn render(document: &Value) -> String {
    let mut resources: Vec<Resource> = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten().filter(|(method, _)| *method != "head") {
            let name = text(&operation["tags"][0]);
            let operation = read(document, path, method, operation);
            match resources.iter_mut().find(|resource| resource.name == name) {
                Some(resource) => resource.operations.push(operation),
                None => resources.push(Resource { name, operations: vec![operation] }),
            }
        }
    }
    // People come for the rest.
    resources.sort_by_key(|resource| resource.name == "documents");
    let info = &document["info"];
    let page = Page { style: STYLE, version: text(&info["version"]), description: prose(&info["description"]), resources };
    page.render().unwrap_or_default()
}

/// What a browser may load for the page: its own style, and nothing else.
pub(super) fn content_security_policy() -> String {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let parameters = operation["parameters"].as_array();
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let answers = operation["responses"].as_object().into_iter().flatten().map(|(status, answer)| {
        let answer = resolved(document, answer);
        let content = &answer["content"]["application/json"]["schema"];
        let example = if content.is_null() { String::new() } else { format!("{:#}", whole_example(document, content)) };
        Answer { status: status.clone(), description: prose(&answer["description"]), example }
    });
    Operation {
        id: text(&operation["operationId"]),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        description: prose(&operation["description"]),
        parameters: parameters.into_iter().flatten().map(|parameter| parameter_of(document, parameter)).collect(),
        body: members(document, resolved(document, body)),
        curl: curl(document, path, method, operation, body),
        answers: answers.collect(),
    }
}

fn parameter_of(document: &Value, parameter: &Value) -> Described {
    Described {
        name: text(&parameter["name"]),
        place: format!("in the {}", text(&parameter["in"])),
        required: parameter["required"] == true,
        kind: kind(document, &parameter["schema"]),
        description: prose(&parameter["description"]),
    }
}

fn members(document: &Value, schema: &Value) -> Vec<Described> {
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name));
    let member = |(name, schema): (&String, &Value)| Described {
        name: name.clone(),
        place: String::new(),
        required: required(name),
        kind: kind(document, schema),
        description: prose(&schema["description"]),
    };
    schema["properties"].as_object().into_iter().flatten().map(member).collect()
}

/// A ready command line.
fn curl(document: &Value, path: &str, method: &str, operation: &Value, body: &Value) -> String {
    let mut path = path.to_owned();
    for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "path") {
        let value = text(&example(document, &parameter["schema"]));
        path = path.replace(&format!("{{{}}}", text(&parameter["name"])), &value);
    }
    let mut line = String::from("curl");
    // Writing to a string cannot fail.
    if method != "get" {
        let _ = write!(line, " -X {}", method.to_uppercase());
    }
    let _ = write!(line, " \"$KEYGATE{path}\"");
    if operation["security"].is_null() {
        line.push_str(" \\\n  -H \"Authorization: Bearer $TOKEN\"");
    }
    if !body.is_null() {
        let body = example(document, body);
        let _ = write!(line, " \\\n  -H \"Content-Type: application/json\" \\\n  -d '{body}'");
    }
    line
}

/// What a value is, in words.
fn kind(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    if let Some(either) = schema["oneOf"].as_array() {
        return either.iter().map(|schema| kind(document, schema)).collect::<Vec<_>>().join(" or ");
    }
    let mut words = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
        one => text(one),
    };
    if let Some(choice) = schema["enum"].as_array() {
        words = choice.iter().map(text).collect::<Vec<_>>().join(", ");
    }
    if !schema["items"].is_null() {
        let _ = write!(words, " of {}", kind(document, &schema["items"]));
    }
    let limits = [("minLength", "characters at least"), ("maxLength", "characters at most"), ("maxItems", "entries at most")];
    for (name, meaning) in limits.into_iter().chain([("minimum", "at least"), ("maximum", "at most")]) {
        if schema[name].as_u64().is_some_and(|limit| limit > 1) {
            let _ = write!(words, ", {} {meaning}", schema[name]);
        }
    }
    words
}

/// What may be sent: all that must be there.
fn example(document: &Value, schema: &Value) -> Value {
    shown(document, schema, false)
}

/// What may be answered: everything.
fn whole_example(document: &Value, schema: &Value) -> Value {
    shown(document, schema, true)
}

fn shown(document: &Value, schema: &Value, whole: bool) -> Value {
    let schema = resolved(document, schema);
    let given = [&schema["example"], &schema["examples"][0], &schema["default"], &schema["enum"][0]];
    if let Some(given) = given.into_iter().find(|given| !given.is_null()) {
        return given.clone();
    }
    if !schema["oneOf"].is_null() {
        return shown(document, &schema["oneOf"][0], whole);
    }
    let of_type = schema["type"].as_array().map_or(&schema["type"], |types| &types[0]);
    match of_type.as_str() {
        Some("array") => Value::Array(vec![shown(document, &schema["items"], whole)]),
        Some("boolean") => Value::Bool(false),
        Some("integer") => schema["minimum"].as_u64().filter(|least| *least > 0).unwrap_or(1).into(),
        Some("object") => {
            let wanted = |name: &str| whole || schema["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
            let members = schema["properties"].as_object().into_iter().flatten().filter(|(name, _)| wanted(name));
            Value::Object(members.map(|(name, schema)| (name.clone(), shown(document, schema, whole))).collect::<Map<_, _>>())
        }
        _ => Value::String("…".to_owned()),
    }
}

/// The schema or answer itself, where another one is referred to.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let place = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    place.and_then(|place| document.pointer(place)).unwrap_or(value)
}

/// A text without the marks of code in it.
fn prose(value: &Value) -> String {
    text(value).replace('`', "")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}
