//! The service is fuzzed against its own description with schemathesis: whatever comes, the answer is a described one.

use std::process::Command;

use serde_json::Value;

use crate::support::{control::CONFIG, http::Request, keygate::Keygate, programs::from_venv};

/// A rule, and no limit: it is asked as often as it answers.
const MORE: &str = r#"
[portal]
requests_per_second = 0

[[rules]]
name = "all"
site = { host = true }
access = "view"
"#;

/// The operations that could end the very token that asks, as soon as it is known whose it is and which: `/me` tells.
const ENDS: &str = "revoke|rotate|accounts_(delete|update)";

/// All checks of schemathesis but these.
const EXCLUDED: &[&str] = &[
    // What fits its schema may still be refused: a login may be taken, a version old, a site missing, a key used before.
    "positive_data_acceptance",
];

fn is_long() -> bool {
    std::env::var_os("KEYGATE_TEST_FULL").is_some()
}

struct Fuzzed {
    keygate: Keygate,
    superuser: String,
    administrator: String,
}

impl Fuzzed {
    fn start() -> Self {
        let keygate = Keygate::start(&format!("{CONFIG}{MORE}"));
        keygate.must(&["site", "create", "shop"]);
        keygate.must(&["account", "create", "ada"]);
        keygate.must(&["access", "set", "ada", "shop", "admin"]);
        keygate.must(&["account", "create", "robot", "--service"]);
        keygate.must(&["access", "set", "robot", "shop", "view"]);
        keygate.must(&["token", "create", "robot", "--name", "robot"]);
        let superuser = Self::superuser(&keygate, "root");
        let administrator = keygate.must(&["token", "create", "ada", "--name", "fuzz", "--scope", "manage"]);
        Self { keygate, superuser, administrator }
    }

    /// A superuser's token. There is always a second one, so that the last one is not what keeps it alive.
    fn superuser(keygate: &Keygate, login: &str) -> String {
        keygate.must(&["account", "create", login, "--superuser"]);
        keygate.must(&["token", "create", login, "--name", "fuzz", "--scope", "manage"])
    }

    fn run(&self, bearer: Option<&str>, select: [&str; 2], examples: u32) {
        let examples = if is_long() { examples * 25 } else { examples };
        let mut command = Command::new(from_venv("schemathesis", "schemathesis"));
        command.arg("run").arg(format!("http://{}/api/openapi.json", self.keygate.portal)).args(select);
        command.args(["--exclude-checks", &EXCLUDED.join(","), "--phases", "examples,coverage,fuzzing", "--continue-on-failure"]);
        command.args(["--max-examples", &examples.to_string(), "--seed", "20261122", "--generation-database", "none"]);
        // How hard it is to make up data that fit is no fault of the service.
        command.args(["--suppress-health-check", "all", "--warnings", "off", "--no-color"]);
        if let Some(bearer) = bearer {
            command.args(["--header", &format!("Authorization: Bearer {bearer}")]);
        }
        let output = command.current_dir(self.keygate.folder.path()).output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(report.contains("No issues found"), "{report}");
    }

    /// Whether the token is still good: if it is not, next to nothing was tried.
    fn assert_good(&self, bearer: &str) {
        let request = Request::new("GET", "/api/v1/me").header("Host", "localhost");
        let request = request.header("Authorization", &format!("Bearer {bearer}"));
        let answer = request.send(std::net::IpAddr::from([127, 0, 0, 1]), self.keygate.portal).unwrap();
        let me: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &me["token"]["state"]), (200, &Value::from("active")), "{me}");
    }
}

#[test]
fn whatever_a_superuser_sends_gets_a_described_answer() {
    let fuzzed = Fuzzed::start();
    fuzzed.run(Some(&fuzzed.superuser), ["--exclude-operation-id-regex", ENDS], 10);
    fuzzed.assert_good(&fuzzed.superuser);
    // These may end any token, also this one; each request until then counts.
    let throwaway = Fuzzed::superuser(&fuzzed.keygate, "ruth");
    fuzzed.run(Some(&throwaway), ["--include-operation-id-regex", ENDS], 20);
}

#[test]
fn whatever_a_site_administrator_sends_gets_a_described_answer() {
    let fuzzed = Fuzzed::start();
    fuzzed.run(Some(&fuzzed.administrator), ["--exclude-operation-id-regex", ENDS], 6);
    fuzzed.assert_good(&fuzzed.administrator);
    fuzzed.run(Some(&fuzzed.administrator), ["--include-operation-id-regex", ENDS], 10);
}

#[test]
fn whatever_somebody_without_a_credential_sends_gets_a_described_answer() {
    let fuzzed = Fuzzed::start();
    fuzzed.run(None, ["--exclude-operation-id", "nothing"], 4);
}
