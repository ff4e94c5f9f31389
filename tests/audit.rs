//! `keygate audit` as a process: what it asks for, how it shows it, and how it follows.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{
    command::{keygate, run},
    control::Control,
    portal::{Asked, Portal},
    programs::{Folder, Program, free_address},
};

const TOKEN: (&str, &str) = ("KEYGATE_TOKEN", "kg_u_secret");

fn event(number: usize, action: &str, before: &Value, after: &Value) -> Value {
    let mut event = json!({
        "id": format!("{number}"), "at": format!("2026-11-22T10:00:0{number}Z"),
        "actor": { "account": "ada", "credential": "AbCdEfGh0123", "address": if number == 1 { Value::Null } else { json!("192.0.2.7") } },
        "action": action, "target": { "type": "access", "id": "vera/shop" },
        "outcome": "done", "before": before, "after": after, "request_id": "r"
    });
    if number == 2 {
        event["outcome"] = json!("refused");
        event["reason"] = json!("not_yours");
    }
    event
}

fn events() -> Vec<Value> {
    vec![
        event(1, "access.set", &json!({ "level": "view", "version": 1 }), &json!({ "level": "write", "version": 2 })),
        event(2, "access.set", &Value::Null, &Value::Null),
        event(3, "access.remove", &json!({ "level": "write" }), &Value::Null),
    ]
}

type Trail = Arc<Mutex<Vec<Value>>>;

fn query<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once('?')?.1.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Serves a trail two events at a time, as the API pages it.
fn portal(address: SocketAddr, trail: &Trail) -> Portal {
    let trail = Arc::clone(trail);
    Portal::at(address, move |Asked { line, .. }| {
        let mut events = trail.lock().unwrap().clone();
        let oldest = query(line, "order") == Some("oldest");
        if !oldest {
            events.reverse();
        }
        let from: usize = query(line, "cursor").map(|cursor| cursor.parse().unwrap()).unwrap_or_default();
        let limit: usize = query(line, "limit").unwrap().parse().unwrap();
        let page: Vec<_> = events.iter().skip(from).take(limit.min(2)).cloned().collect();
        let end = from + page.len();
        let next = (oldest || end < events.len()).then(|| end.to_string());
        (200, "", json!({ "items": page, "next": next }).to_string())
    })
}

#[test]
fn the_trail_is_a_table_oldest_first() {
    let portal = portal(free_address(), &Arc::new(Mutex::new(events())));
    let folder = Folder::new();
    let run = |command: &str| run(folder.path(), &format!("--server {} {command}", portal.url()), &[TOKEN]);
    assert_snapshot!(run("audit"), @r"
    AT                    ACTOR  ACTION         TARGET            OUTCOME  FROM       CHANGE
    2026-11-22T10:00:01Z  ada    access.set     access vera/shop  done     -          level: view → write
    2026-11-22T10:00:02Z  ada    access.set     access vera/shop  refused  192.0.2.7  not_yours
    2026-11-22T10:00:03Z  ada    access.remove  access vera/shop  done     192.0.2.7  -
    exit 0
    ");
    assert_eq!(run("audit --json").json(), json!(events()));
    assert_eq!(run("audit --json --limit 2").json(), json!(events()[1..]));
    run("audit --account vera --since 2026-11-22T11:00:00+01:00 --refused");
    run("audit --done --limit 5");
    let lines: Vec<_> = portal.asked().into_iter().map(|asked| asked.line).collect();
    assert!(
        lines.contains(
            &"GET /api/v1/audit?order=oldest&limit=1000&account=vera&outcome=refused&since=2026-11-22T10%3A00%3A00Z".to_owned()
        ),
        "{lines:?}"
    );
    assert!(lines.contains(&"GET /api/v1/audit?order=newest&limit=5&outcome=done".to_owned()), "{lines:?}");
    assert_snapshot!(run("audit --since yesterday"), @r"
    ! keygate: `yesterday` is neither a duration such as 1d nor a time such as 2030-01-31T12:00:00Z
    exit 2
    ");
    assert_eq!(run("audit --refused --done").code, 2);
}

#[test]
fn a_follower_goes_on_through_a_restart_until_it_is_interrupted() {
    let (trail, address): (Trail, _) = (Arc::new(Mutex::new(events()[..1].to_vec())), free_address());
    let mut portal_runs = Some(portal(address, &trail));
    let folder = Folder::new();
    let follow = |name: &str, more: &[&str]| {
        let mut command = keygate(folder.path(), &[TOKEN]);
        command.args(["--server", &format!("http://{address}"), "audit", "--follow"]).args(more);
        Program::start(name, &mut command, folder.path())
    };
    let (mut table, mut lines) = (follow("table", &[]), follow("lines", &["--json"]));
    let shown = |name: &str, count: usize| {
        let text = std::fs::read_to_string(folder.path().join(format!("{name}.out"))).unwrap_or_default();
        text.lines().count() == count
    };
    table.wait("the past", || shown("table", 2));
    lines.wait("the past", || shown("lines", 1));
    trail.lock().unwrap().push(events()[1].clone());
    table.wait("a second event", || shown("table", 3));
    drop(portal_runs.take());
    table.wait("its word that nobody answers", || {
        std::fs::read_to_string(folder.path().join("table.log")).is_ok_and(|log| log.contains("nothing answers"))
    });
    trail.lock().unwrap().push(events()[2].clone());
    portal_runs = Some(portal(address, &trail));
    table.wait("a third event", || shown("table", 4));
    lines.wait("a third event", || shown("lines", 3));
    for program in [&mut table, &mut lines] {
        program.signal("INT");
        assert_eq!(program.wait_end().code(), Some(0), "{}", program.log());
    }
    assert_eq!(table.errors().lines().count(), 1, "{}", table.errors());
    let told: Vec<Value> = lines.output().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told, events());
    assert_snapshot!(table.output(), @r"
    AT                    ACTOR  ACTION      TARGET            OUTCOME  FROM  CHANGE
    2026-11-22T10:00:01Z  ada    access.set  access vera/shop  done     -     level: view → write
    2026-11-22T10:00:02Z  ada    access.set  access vera/shop  refused  192.0.2.7  not_yours
    2026-11-22T10:00:03Z  ada    access.remove  access vera/shop  done     192.0.2.7  -
    ");
    drop(portal_runs);
}

/// Of what was really done.
#[test]
fn what_a_command_changes_is_in_the_trail() {
    let control = Control::start();
    control.keygate.must(&["site", "create", "shop"]);
    control.keygate.must(&["account", "create", "ci", "--service"]);
    control.keygate.must(&["access", "set", "ci", "shop", "view"]);
    control.keygate.must(&["access", "set", "ci", "shop", "write"]);
    let token = control.keygate.must(&["token", "create", "ci", "--name", "x"]);
    let id = &token[5..17];
    control.keygate.must(&["token", "revoke", id]);
    let trail = control.keygate.must(&["audit"]);
    let last = trail.lines().last().unwrap();
    assert!(last.contains("control:") && last.contains("token.revoke") && last.contains(&format!("token {id}")), "{trail}");
    assert!(trail.contains("level: view → write"), "{trail}");
    let events: Value =
        serde_json::from_str(&control.keygate.must(&["audit", "--account", "ci", "--since", "1h", "--json"])).unwrap();
    assert_eq!(events.as_array().unwrap().last().unwrap()["target"], json!({ "type": "token", "id": id }));
    assert!(!trail.contains(&token[17..]) && !events.to_string().contains(&token[17..]));
    assert_eq!(control.keygate.must(&["audit", "--refused", "--json"]), "[]");
}
