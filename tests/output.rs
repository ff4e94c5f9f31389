//! What the commands print and how they end, word for word, as processes in a folder of their own.

use std::process::Command;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{
    command::{Ran, run},
    keygate::Keygate,
    programs::{Folder, Program, free_address},
};

const GOOD: &str = r#"
[check]
proxy_secret = "hunter2"

[[rules]]
name = "orders"
match = { path = "/orders/{id}" }
site = "shop"
access = "view"
"#;

const BAD: &str = r#"
[chekc]
listen = "127.0.0.1:1"

[keys]
file = "server.key"

[[rules]]
name = "orders"
access = "vew"
"#;

const LISTENERS: &str = r#"
data_dir = "./keygate-data"
[check]
listen = "127.0.0.1:9180"
[grpc]
listen = "127.0.0.1:9182"
"#;

#[test]
fn config_check_says_what_is_wrong() {
    let folder = Folder::new();
    folder.write("good.toml", GOOD);
    folder.write("bad.toml", BAD);
    folder.write("server.key", "k1:c2hvcnQ=\n");
    let run = |command: &str| run(folder.path(), command, &[("KEYGATE__LOG__LEVEL", "info")]);
    assert_snapshot!(run("config check good.toml"), @r"
    no mistakes; 1 rule
    exit 0
    ");
    assert_eq!(run("config check --json good.toml").json(), json!({ "mistakes": [], "rules": 1 }));
    assert_snapshot!(run("config check bad.toml"), @r#"
    ! bad.toml:2: chekc: unknown key; did you mean `check`?
    ! bad.toml:8: rules[0].site: a rule needs a `site`, or `public = true`
    ! bad.toml:10: rules[0].access: expected one of `view`, `write`, `admin`, `superuser`, found "vew"; did you mean `view`?
    ! server.key:1: keys.file: a key is exactly 32 bytes
    ! keygate: 4 mistakes in the configuration; mend what is listed above
    exit 2
    "#);
    let bad = run("config check --json bad.toml");
    assert_eq!((bad.code, bad.stderr.lines().count()), (2, 5));
    assert_eq!(bad.json()["mistakes"][0], "bad.toml:2: chekc: unknown key; did you mean `check`?");
    assert_eq!(bad.json()["mistakes"].as_array().unwrap().len(), 4);
    assert_snapshot!(run("config check"), @r"
    no mistakes; 0 rules
    ! keygate: without rules every request is refused
    exit 0
    ");
    assert_eq!(run("serve --config bad.toml").stderr, run("config check bad.toml").stderr);
    // A terabyte.
    folder.write("large.toml", "[hot_path]\nmemory_mib = 1048576\n");
    let large = run("config check large.toml");
    assert!(large.code == 0 && large.stderr.contains("keygate: `hot_path.memory_mib` is 1048576, and there are "), "{large}");
}

#[test]
fn config_check_live_asks_the_store() {
    let folder = Folder::new();
    let nobody = free_address();
    let key = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    folder.write("server.key", key);
    folder.write("redis.toml", &format!("[store]\nurl = 'redis://{nobody}'\n[keys]\nfile = 'server.key'\n"));
    let away = run(folder.path(), "config check --live redis.toml", &[]);
    assert_eq!((away.code, away.stdout.as_str()), (3, ""), "{away}");

    // A store that was used with a key, and a server that comes with another.
    let mut keygate = Keygate::start(LISTENERS);
    let data = keygate.folder.path().join("data").display().to_string();
    // Nobody else may open the embedded store of a Keygate that runs: that is no mistake.
    let running = run(folder.path(), &format!("--data-dir {data} config check --live"), &[]);
    assert!(running.code == 0 && running.stdout.contains("ask it with `keygate health`"), "{running}");
    keygate.kill();
    let same = run(folder.path(), &format!("--data-dir {data} config check --live"), &[]);
    assert_eq!((same.code, same.stdout.as_str()), (0, "no mistakes; 0 rules, and the store answers\n"), "{same}");
    folder.write("other.toml", "[keys]\nfile = 'server.key'\n");
    let other = run(folder.path(), &format!("--data-dir {data} config check --live --json other.toml"), &[]);
    assert_eq!(other.code, 2, "{other}");
    assert!(other.json()["mistakes"][0].as_str().unwrap().contains("another server key"), "{other}");
}

#[test]
fn config_show_prints_everything_but_secrets() {
    let folder = Folder::new();
    folder.write("good.toml", GOOD);
    let show = |more: &str| run(folder.path(), &format!("config show{more} good.toml"), &[("KEYGATE__LOG__LEVEL", "warn")]);
    assert_snapshot!(show(""), @r#"
    data_dir = "./keygate-data"

    [store]
    url = "embedded:./keygate-data"
    prefix = "kg:"
    timeout = "150ms"
    wait_replicas = 0
    went_back = "report"

    [check]
    listen = "127.0.0.1:9180"
    unix_mode = "0660"
    trusted_proxies = ["127.0.0.0/8", "::1/128", "unix"]
    proxy_secret = "********"

    [portal]
    listen = "127.0.0.1:9181"
    hosts = []
    trusted_proxies = []
    requests_per_second = 500
    second_factor = "optional"

    [grpc]
    listen = "127.0.0.1:9182"

    [hot_path]
    max_staleness = "1s"
    entries = 2000000
    memory_mib = 1024

    [outage]
    nginx = "error"
    envoy = "deny"
    traefik = "deny"
    caddy = "deny"
    haproxy = "deny"

    [credentials]
    allow_in_url = false
    query_names = ["token_auth"]
    token_prefix = "kg"

    [tokens]
    must_expire = false
    warn_before = "14d"
    unused_after = "90d"
    keep_ended = "90d"
    leak = "report"

    [sessions]
    idle = "1h"
    absolute = "12h"
    remember = "14d"

    [guessing]
    window = "1h"
    per_address = 20
    per_login = 60
    codes_per_login = 10
    tokens_per_address = 0
    allow = []
    deny = []

    [audit]
    keep = "365d"
    refused_entries = 10000

    [envoy]
    use_remote_address = false

    [headers]
    preset = "x-auth"
    realm = "keygate"

    [password]
    memory_kib = 19456
    passes = 2
    lanes = 1

    [log]
    level = "warn"
    format = "text"

    [[rules]]
    name = "orders"
    match = { path = "/orders/{id}" }
    site = "shop"
    access = "view"
    exit 0
    "#);
    let shown = show(" --json").json();
    assert_eq!(shown["check"]["proxy_secret"], "********");
    assert_eq!(shown["log"], json!({ "level": "warn", "format": "text" }));
    let rule = json!({ "name": "orders", "match": { "path": "/orders/{id}" }, "site": "shop", "access": "view" });
    assert_eq!(shown["rules"], json!([rule]));
}

#[test]
fn health_and_explain_ask_the_running_keygate() {
    let (_, rules) = GOOD.split_once("\n\n").unwrap();
    let mut keygate = Keygate::start(&format!("{LISTENERS}{rules}"));
    keygate.must(&["site", "create", "shop"]);
    keygate.must(&["account", "create", "ci", "--service"]);
    keygate.must(&["access", "set", "ci", "shop", "view"]);
    let token = keygate.must(&["token", "create", "ci", "--name", "x"]);
    let folder = keygate.folder.path().to_owned();
    let run = |command: &str| run(&folder, &format!("--data-dir {}/data {command}", folder.display()), &[]);

    let explain = |arguments: &[&str], input: &str| {
        let output = keygate.run(&[&["explain"], arguments].concat(), input);
        let id = token.rsplit('_').next().unwrap()[..12].to_owned();
        let stdout = String::from_utf8(output.stdout).unwrap().replace(&id, "ID");
        Ran { code: output.status.code().unwrap(), stdout, stderr: String::from_utf8(output.stderr).unwrap() }
    };
    let order = "https://shop.example.com/orders/7";
    assert_snapshot!(explain(&["--url", order, "--token-stdin"], &token), @r"
    request    host shop.example.com, path /orders/7
    rule 1     orders: matches
    decision   allow 200
    because    ci has view on shop
    account    ci
    site       shop
    access     view
    via        bearer
    credential ID
    exit 0
    ");
    assert_snapshot!(explain(&["--url", order], ""), @r"
    request    host shop.example.com, path /orders/7
    rule 1     orders: matches
    decision   challenge 401 (no_credential)
    because    no credential was presented
    via        none
    exit 0
    ");
    assert_snapshot!(explain(&["--url", "http://shop.example.com/", "--token-stdin"], &token), @r"
    request    host shop.example.com, path /
    rule 1     orders: no: another path
    decision   deny 403 (no_rule)
    because    no rule of the policy matches
    via        none
    exit 0
    ");
    let allowed = explain(&["--url", order, "--token-stdin", "--json"], &token).json();
    assert_eq!((&allowed["status"], &allowed["account"]), (&json!(200), &json!("ci")));

    assert_snapshot!(run("health"), @r"
    ready
    exit 0
    ");
    assert_eq!(run("health --json").json(), json!({ "ready": true, "detail": "ready" }));
    keygate.kill();
    assert_snapshot!(run("health"), @r"
    ! keygate: no Keygate is running on DIR/data: start one with `keygate serve`, or name its data directory with --data-dir
    exit 1
    ");
    let down = run("health --json");
    let detail = "no Keygate is running on DIR/data: start one with `keygate serve`, or name its data directory with --data-dir";
    assert_eq!((down.json(), down.code), (json!({ "ready": false, "detail": detail }), 1));
}

#[test]
fn snippet_prints_a_file_to_paste() {
    let folder = Folder::new();
    let printed = run(folder.path(), "snippet caddy", &[("KEYGATE__CHECK__LISTEN", "0.0.0.0:7180")]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    assert_snapshot!(printed.stdout.lines().take(4).collect::<Vec<_>>().join("\n"), @r#"
    # Keygate in front of an application, behind Caddy (2.11.2 or later: earlier ones keep a client's header
    # where Keygate's answer has none).
    #
    #   caddy run --config proxies/Caddyfile
    "#);
    assert!(printed.stdout.contains("forward_auth 127.0.0.1:7180 {\n"));
}

#[test]
fn quickstart_takes_no_configuration_file() {
    let folder = Folder::new();
    let by_flag = run(folder.path(), "quickstart --config keygate.toml", &[]);
    assert_snapshot!(by_flag, @r"
    ! keygate: quickstart takes no configuration file; use `keygate serve --config FILE`
    exit 2
    ");
    let by_variable = run(folder.path(), "quickstart", &[("KEYGATE_CONFIG", "keygate.toml")]);
    assert_eq!(by_variable.to_string(), by_flag.to_string());
    assert!(!folder.path().join("keygate-data").exists());
}

/// On ports of its own, with its data in a folder whose name a shell would take apart.
fn quickstart(folder: &Folder, more: &[&str]) -> Program {
    let (check, portal, grpc) = (free_address(), free_address(), free_address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
    command.args(["quickstart", "--data-dir", "it's my data"]).args(more).env_remove("KEYGATE_CONFIG");
    command.env("KEYGATE__CHECK__LISTEN", check.to_string()).env("KEYGATE__GRPC__LISTEN", grpc.to_string());
    command.env("KEYGATE__PORTAL__LISTEN", portal.to_string());
    let mut program = Program::start("quickstart", &mut command, folder.path());
    program.wait_listening(check);
    program
}

#[test]
fn what_quickstart_says_can_be_pasted_wherever_the_data_is() {
    let folder = Folder::new();
    let mut program = quickstart(&folder, &[]);
    program.wait("its last words", || program_says(&folder, "Stop it with Ctrl-C"));
    let said = program.log();
    let line = said.lines().find(|line| line.ends_with(" token list")).unwrap_or_else(|| panic!("{said}"));
    let pasted = Command::new("sh").args(["-c", line]).current_dir(folder.path()).output().unwrap();
    assert!(pasted.status.success(), "{line}: {}", String::from_utf8_lossy(&pasted.stderr));
    assert!(String::from_utf8_lossy(&pasted.stdout).contains("quickstart"), "{line}");
}

#[test]
fn quickstart_tells_programs_where_it_is_and_what_it_made() {
    let folder = Folder::new();
    let mut program = quickstart(&folder, &["--json"]);
    program.wait("its answer", || program_says(&folder, "\n}\n"));
    let said = program.log();
    let answer = &said[said.find("{\n").unwrap()..said.find("\n}\n").unwrap() + 2];
    let answer: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((&answer["data_dir"], &answer["made"]["administrator"]), (&json!("it's my data"), &json!("admin")));
    assert!(
        ["check", "portal", "grpc"].iter().all(|listener| answer[listener].as_str().unwrap().starts_with("127.0.0.1:")),
        "{said}"
    );
    assert!(answer["made"]["token"].as_str().unwrap().starts_with("kg_s_"), "{said}");
}

fn program_says(folder: &Folder, text: &str) -> bool {
    std::fs::read_to_string(folder.path().join("quickstart.out")).is_ok_and(|log| log.contains(text))
}

#[test]
fn what_is_wrong_with_a_command_is_one_sentence() {
    let folder = Folder::new();
    let run = |command: &str| run(folder.path(), command, &[]);
    assert_snapshot!(run("doctor"), @r"
    ! keygate: doctor: not available in this version
    exit 2
    ");
    assert_snapshot!(run("explain --cookie-stdin --url http://a/"), @r"
    ! keygate: standard input holds no cookie
    exit 2
    ");
    assert_snapshot!(run("tokne list"), @r"
    ! keygate: unrecognized subcommand 'tokne'; some similar subcommands exist: 'store', 'token'; see `keygate --help`
    exit 2
    ");
    assert_snapshot!(run("token create ci"), @r"
    ! keygate: the following required arguments were not provided: --name <TEXT>; see `keygate token create --help`
    exit 2
    ");
    let help = run("--help");
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.contains("a port is in use, a data directory is held"), "{}", help.stdout);
}
