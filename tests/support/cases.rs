//! The case table: what is asked, what Keygate must say, and what the application may see.
//!
//! One table for every dialect and every proxy. Running it gives a list of failures instead of panicking, so that
//! a test can also show that the table turns red when a guard is taken away.

use std::fmt::Write as _;

use serde::Deserialize;

/// The identity headers of the contract.
pub const IDENTITY: [&str; 9] = [
    "X-Auth-Account",
    "X-Auth-Kind",
    "X-Auth-Site",
    "X-Auth-Access",
    "X-Auth-Via",
    "X-Auth-Credential",
    "X-Auth-Name",
    "X-Auth-Email",
    "X-Auth-Request-Id",
];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

/// One row. `tests/data/cases.toml` says what the columns mean.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    #[serde(default = "get")]
    pub method: String,
    #[serde(default = "shop")]
    pub host: String,
    pub target: String,
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    pub credential: Option<String>,
    pub body: Option<usize>,
    pub status: u16,
    pub reason: Option<String>,
    pub identity: Option<Identity>,
    /// The cookies that the application gets.
    pub cookie: Option<String>,
    /// A proxy may refuse such a request itself: any 4xx will do there, if nothing gets through.
    #[serde(default)]
    pub proxy_may_refuse: bool,
    #[serde(default)]
    pub only: Option<Only>,
    /// Dialects and proxies that the row is not for.
    #[serde(default)]
    pub except: Vec<String>,
    /// Why; demanded with `except`.
    pub because: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// The row is about what a proxy does with a request.
    Proxies,
    /// The row cannot be said to a proxy.
    Direct,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub account: String,
    pub kind: String,
    pub site: String,
    pub access: String,
    pub via: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub email: String,
}

fn get() -> String {
    "GET".to_owned()
}

fn shop() -> String {
    "shop.example.com".to_owned()
}

/// Reads the table.
pub fn table() -> Vec<Case> {
    let table: Table = toml_edit::de::from_str(include_str!("../data/cases.toml")).expect("tests/data/cases.toml can be read");
    let cases = table.case;
    for case in &cases {
        assert!(case.except.is_empty() || case.because.is_some(), "{}: an exception needs its reason", case.name);
        assert!(case.status != 200 || case.reason.is_none(), "{}: an allow has no reason", case.name);
        assert!(cases.iter().filter(|other| other.name == case.name).count() == 1, "{}: twice", case.name);
    }
    cases
}

/// What went wrong with a row.
#[derive(Clone, Debug)]
pub struct Failure {
    pub case: String,
    pub what: String,
}

/// Panics with all of them, if there are any.
pub fn assert_none(failures: &[Failure], whom: &str) {
    let mut text = String::new();
    for failure in failures {
        writeln!(text, "  {}: {}", failure.case, failure.what).expect("a string can be written to");
    }
    assert!(failures.is_empty(), "{} rows fail through {whom}:\n{text}", failures.len());
}

/// Panics unless that row is among them: the guard that was taken away is one that the table sees.
pub fn assert_red(failures: &[Failure], row: &str, whom: &str) {
    assert!(
        failures.iter().any(|failure| failure.case == row),
        "the table does not see that the guard is gone from {whom}: \"{row}\" passes, failures are {failures:#?}"
    );
}

/// Whether some application takes that header for one of ours: CGI and its kin read every sign as the same one.
pub fn is_identity(name: &str) -> bool {
    is_one_of(&IDENTITY, name)
}

/// Whether some application takes the method from there.
pub fn is_method_override(name: &str) -> bool {
    is_one_of(&["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"], name)
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    names.iter().any(|known| known.eq_ignore_ascii_case(&name))
}
