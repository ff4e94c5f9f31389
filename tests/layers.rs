//! The dependency rules of the house: which part may use which. Read from the text of the sources, so that a new
//! `use` in the wrong place fails here and names itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each part of `src/`, and the parts it may use. `domain` uses none.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("store", &["clock", "domain"]),
    ("gate", &["domain", "store", "clock", "tally"]),
    // What becomes of checks is counted without anybody's knowing who reads it.
    ("counts", &["clock", "domain"]),
    // The hasher is the pool of the gate; passwords are set here and verified there. The signs of a token's use, or of its
    // leak, come from both; so do failed attempts, which are written down here.
    ("directory", &["domain", "store", "clock", "counts", "gate"]),
    ("metrics", &["tally"]),
    ("tally", &[]),
    // Sessions come to protected hosts and are ended there, which is a change of records.
    ("adapters", &["counts", "directory", "domain", "gate", "metrics"]),
    // The gate is asked to explain.
    ("api", &["counts", "domain", "directory", "gate"]),
    // Who asks and from where, how many requests are borne, and a request's id are read in one place for pages and API. The
    // clock, for how long ago something was. Who signs in is counted where it happens.
    // The gate is asked to explain.
    ("portal", &["api", "clock", "counts", "directory", "domain", "gate", "metrics"]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    ("app", &["adapters", "api", "clock", "config", "counts", "directory", "domain", "gate", "metrics", "portal", "store"]),
    // What it shows comes as the DTOs of the API; `domain` for the demo that `quickstart` makes.
    ("cli", &["api", "app", "clock", "config", "directory", "domain", "telemetry"]),
    ("main", &["cli"]),
];

/// A crate, and the only files that may name it.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("redis", &["src/store/redis"]),
    ("rusqlite", &["src/store/embedded"]),
    ("tonic", &["src/adapters/envoy_grpc.rs", "src/app.rs"]),
    ("tonic_health", &["src/app.rs"]),
    ("envoy_types", &["src/adapters/envoy_grpc.rs", "src/app.rs"]),
    ("argon2", &["src/domain/password.rs"]),
    ("chacha20poly1305", &["src/domain/seal.rs"]),
    ("totp_rs", &["src/domain/factor.rs"]),
    ("qrcodegen", &["src/portal"]),
    ("prometheus_client", &["src/metrics.rs"]),
    ("clap", &["src/cli"]),
    ("clap_complete", &["src/cli/paper.rs"]),
    ("clap_mangen", &["src/cli/paper.rs"]),
    ("toml_edit", &["src/config"]),
    ("notify", &["src/app"]),
    // It brings a clock of its own.
    ("governor", &["src/api/limit.rs"]),
    // Records are described where they are defined.
    // Pages are rendered where they are served.
    ("askama", &["src/api/documents", "src/portal", "src/adapters/own", "src/adapters/reply.rs"]),
    ("utoipa", &["src/api", "src/directory/shown.rs"]),
];

/// What `domain` must not know: IO, async, a framework, a clock. `http` because the two frameworks differ in its version.
const NOT_IN_DOMAIN: &[&str] = &[
    "tokio",
    "actix_web",
    "http",
    "async_trait",
    "tracing",
    "config",
    "reqwest",
    "std::net::Tcp",
    "std::fs",
    "std::env",
    "std::time::Instant",
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let relative = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned();
                found.push((relative, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30, "the sources were found");
    found
}

/// The code of a file, without its tests and comments: those may use what they like.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first part of each path after `crate::`, also in groups such as `use crate::{app::App, config}`.
fn parts_used(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
        let Some(group) = rest.strip_prefix('{') else {
            used.push(word(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && c.is_ascii_alphabetic() => {
                    used.push(word(&group[index..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    used
}

fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let own = code[..at].ends_with("crate::") || code[..at].ends_with("super::") || code[..at].ends_with("self::");
        !(before.is_ascii_alphanumeric() || before == '_' || (before == ':' && !code[..at].ends_with(" ::")) || own)
    })
}

#[test]
fn each_part_uses_only_what_it_may() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let part = path.components().nth(1).unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if part == "lib" {
            continue;
        }
        let (_, allowed) = MAY_USE.iter().find(|(name, _)| *name == part).unwrap_or_else(|| panic!("{part} has no rule here"));
        for used in parts_used(&code(&text)) {
            if used != part && !allowed.contains(&used.as_str()) {
                broken.push(format!("{} uses crate::{used}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_directory_knows_of_the_gate_only_what_both_feed_and_the_api_and_the_pages_only_its_explanation() {
    for (path, text) in sources() {
        let code = code(&text);
        if path.starts_with("src/directory") || path.ends_with("directory.rs") {
            let parts = ["guessing", "hasher", "passwords", "signs"];
            let known: usize = parts.map(|part| code.matches(&format!("gate::{part}")).count()).iter().sum();
            assert_eq!(code.matches("gate::").count(), known, "{}", path.display());
        }
        if ["src/api", "src/portal"].iter().any(|part| path.starts_with(part)) && !path.ends_with("explain.rs") {
            assert!(!code.contains("gate::"), "{}", path.display());
        }
    }
}

#[test]
fn each_driver_stays_where_it_belongs() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let code = code(&text);
        for (name, places) in ONLY_IN {
            let at_home = places.iter().any(|place| path.starts_with(place) || path.with_extension("") == Path::new(place));
            if !at_home
                && names_crate(&code, name)
                && !(*name == "redis" && code.contains("store::") && path.starts_with("src/app/stores.rs"))
            {
                broken.push(format!("{} names {name}", path.display()));
            }
        }
        if path.starts_with("src/domain") || path.ends_with("domain.rs") {
            broken.extend(
                NOT_IN_DOMAIN.iter().filter(|name| names_crate(&code, name)).map(|name| format!("{} names {name}", path.display())),
            );
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// So that a change of these readers does not make the rules above pass by seeing nothing.
#[test]
fn the_readers_of_this_test_see_what_is_there() {
    let text = "use crate::{\n    app::App,\n    config::{self, Sources},\n    domain::x,\n};\nfn f() { crate::gate::g(); }\n#[cfg(test)]\nuse crate::store;";
    assert_eq!(parts_used(&code(text)), ["app", "config", "domain", "gate"]);
    assert!(names_crate("use redis::Client;", "redis") && names_crate("fn f() -> redis::X {}", "redis"));
    assert!(!names_crate("use crate::redis::X;", "redis") && !names_crate("use my_redis::X;", "redis"));
}

/// What is served must be described: both come from one table.
#[test]
fn the_api_enters_its_routes_in_one_place() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("src/api")) {
        let routes = ["web::resource(", ".route(", "web::scope(", "#[get(", "#[post("];
        let found: Vec<_> = routes.into_iter().filter(|route| code(&text).contains(route)).collect();
        assert!(found.is_empty() || path.ends_with("operations.rs"), "{}: {found:?}", path.display());
    }
}

#[test]
fn every_module_opens_by_saying_what_it_owns() {
    let silent: Vec<_> = sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
