//! The command line, run as processes against a running Keygate.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::control::Control;

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run_in(data_dir: &Path, arguments: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keygate"))
        .args(arguments)
        .env_remove("KEYGATE_CONFIG")
        .env_remove("KEYGATE_SERVER")
        .env("KEYGATE__DATA_DIR", data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a command that succeeds; its words are separated by blanks, `_` in a word stands for one.
fn ok(control: &Control, command: &str) -> String {
    let words: Vec<_> = command.split(' ').map(|word| word.replace('_', " ")).collect();
    let ran = run_in(&control.data_dir(), &words.iter().map(String::as_str).collect::<Vec<_>>(), "");
    assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
    ran.stdout
}

/// Runs a command that fails with this exit code, and says so in one line.
fn fails(control: &Control, code: i32, command: &str) -> String {
    let ran = run_in(&control.data_dir(), &command.split(' ').collect::<Vec<_>>(), "");
    assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{command}: {}", ran.stderr);
    ran.stderr
}

fn json_of(control: &Control, command: &str) -> Value {
    serde_json::from_str(&ok(control, &format!("{command} --json"))).unwrap()
}

/// The table without its column of times.
fn columns(table: &str, wanted: &[usize]) -> Vec<Vec<String>> {
    let starts: Vec<_> = {
        let header = table.lines().next().unwrap();
        header.split("  ").filter(|word| !word.trim().is_empty()).map(|word| header.find(word.trim()).unwrap()).collect()
    };
    let cell = |line: &str, column: usize| {
        let from = starts[column].min(line.len());
        let to = starts.get(column + 1).map_or(line.len(), |end| (*end).min(line.len()));
        line[from..to].trim().to_owned()
    };
    table.lines().skip(1).map(|line| wanted.iter().map(|column| cell(line, *column)).collect()).collect()
}

#[test]
fn the_main_job_from_a_shell() {
    let control = Control::start();
    assert_eq!(ok(&control, "site create shop --name The_shop --host shop.example.com"), "created site `shop`\n");
    assert_eq!(ok(&control, "account create ci --service"), "created service account `ci`\n");
    assert_eq!(ok(&control, "access set ci shop write"), "`ci` has write access to site `shop`\n");
    assert_eq!(ok(&control, "access list"), "LOGIN  SITE  LEVEL\nci     shop  write\n");
    assert_eq!(ok(&control, "site list"), "ID    NAME      HOSTS\nshop  The shop  shop.example.com\n");
    let accounts = ok(&control, "account list");
    assert_eq!(columns(&accounts, &[0, 1, 4]), [["anonymous", "anonymous", "no-minting"], ["ci", "service", "-"]]);

    let token = ok(&control, "token create ci --name nightly_job --access view --expires 90d");
    assert!(token.starts_with("kg_s_") && token.len() == 56 && token.ends_with('\n'), "{}", token.len());
    let id = &token[5..17];
    let tokens = ok(&control, "token list");
    assert_eq!(columns(&tokens, &[0, 1, 2, 3, 4]), [[id, "ci", "nightly job", "view", "active"]]);
    assert!(!tokens.contains(&token[17..49]));
    assert_eq!(columns(&ok(&control, "token list --expiring 91d"), &[0]), [[id]]);
    assert!(columns(&ok(&control, "token list --expiring 89d"), &[0]).is_empty());

    // The whole token does for its id, and is not shown.
    let shown = run_in(&control.data_dir(), &["token", "show", token.trim()], "");
    assert!(shown.stdout.contains(id) && !shown.stdout.contains(&token[17..49]), "{}", shown.stderr);
    let made = json_of(&control, &format!("token rotate {id} --grace 1h"));
    assert!(made["token"].as_str().unwrap().starts_with("kg_s_"));
    let successor = made["record"]["id"].as_str().unwrap();
    assert_eq!(ok(&control, &format!("token revoke {id}")), format!("revoked token {id} of `ci`\n"));
    assert_eq!(ok(&control, "token revoke --name nightly*"), "revoked 1 token\n");
    assert_eq!(json_of(&control, &format!("token show {successor}"))["state"], "revoked");
    ok(&control, "token create ci --name other");
    assert_eq!(ok(&control, "token revoke --older-than 1h"), "revoked 0 tokens\n");
    assert_eq!(ok(&control, "token revoke --account ci"), "revoked every token of `ci`\n");
    let states = json_of(&control, "token list ci");
    assert!(states.as_array().unwrap().iter().all(|token| token["state"] == "revoked"), "{states}");
}

#[test]
fn accounts_are_changed_by_one_command_each() {
    let control = Control::start();
    let vera = ["account", "create", "vera", "--superuser", "--email", "v@example.com", "--password-stdin", "--json"];
    let made = run_in(&control.data_dir(), &vera, "correct horse\n");
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    ok(&control, "account create root --superuser");
    for (command, field, value) in [
        ("superuser vera off", "superuser", json!(false)),
        ("minting vera off", "may_mint_tokens", json!(false)),
        ("disable vera --no-wait", "disabled", json!(true)),
        ("enable vera", "disabled", json!(false)),
        ("revoke-all vera", "version", json!(6)),
        ("rename vera wera", "login", json!("wera")),
    ] {
        assert_eq!(json_of(&control, &format!("account {command}"))[field], value, "{command}");
    }
    let password = run_in(&control.data_dir(), &["account", "password", "wera", "--password-stdin"], "another horse");
    assert_eq!((password.code, password.stdout.as_str()), (0, "`wera` has a new password\n"));
    assert!(ok(&control, "account show wera").contains("email    v@example.com\n"));
    assert_eq!(ok(&control, "account delete wera"), "deleted account `wera`\n");
    assert_eq!(json_of(&control, "account list").as_array().unwrap().len(), 2);
    assert_eq!(ok(&control, "site create s --json").lines().count(), 6);
    assert_eq!(json_of(&control, "site update s --name New --host a.example")["hosts"], json!(["a.example"]));
    assert_eq!(json_of(&control, "site update s --host ").get("hosts"), Some(&json!([])));
    assert_eq!(json_of(&control, "site delete s"), json!({ "deleted": "s" }));
}

#[test]
fn what_fails_says_why_and_by_its_exit_code() {
    let control = Control::start();
    ok(&control, "account create root --superuser");
    ok(&control, "site create shop");
    assert_eq!(fails(&control, 1, "account show nobody"), "keygate: there is no account `nobody`\n");
    let unknown_site = fails(&control, 1, "token create root --name x --access shop=view --access blog=view");
    assert_eq!(unknown_site, "keygate: there is no site `blog`\n");
    assert_eq!(fails(&control, 1, "account create ROOT"), "keygate: the login `ROOT` is taken\n");
    assert!(fails(&control, 1, "account superuser root off").contains("last enabled superuser"));
    assert!(fails(&control, 1, "access set anonymous shop write").contains("at most `view`"));
    assert!(fails(&control, 1, "access set root shop view").contains("superuser"));
    for usage in [
        "account",
        "account create a --service --email a@b",
        "account create a/b",
        "access set root shop root",
        "token create root",
        "token create root --name x --access view --access shop=view",
        "token create root --name x --expires soon",
        "token create root --name x --from here",
        "token revoke",
        "token revoke AbCdEfGh0123 --older-than 1d",
        "token list --expiring soon",
        "account delete ..",
    ] {
        let stderr = fails(&control, 2, usage);
        assert!(!stderr.is_empty(), "{usage}");
    }
    for later in [
        "doctor --through http://localhost",
        "policy test file",
        "import htpasswd file --dry-run",
        "scan",
        "export",
        "restore file",
        "key rotate",
    ] {
        assert!(fails(&control, 2, later).ends_with("not available in this version\n"), "{later}");
    }
    let nowhere = run_in(Path::new("/nonexistent"), &["account", "list"], "");
    let sentence = "keygate: no Keygate is running on /nonexistent: start one with `keygate serve`, or name its data directory with --data-dir\n";
    assert_eq!((nowhere.code, nowhere.stderr.as_str()), (3, sentence));
}
