//! So many of something that no page has room for all of it, or time: what is cut says so, and the rest can be reached.

use serde_json::Value;

use super::{PLAIN, Portal, body};
use crate::support::redis::{Program, Server};

/// Adds members to an index of the store, beside what the directory knows.
fn add_to(server: &Server, index: &str, members: &[String]) {
    let key = format!("kg:i:{{d}}:{index}");
    for part in members.chunks(500) {
        let scored = part.iter().flat_map(|member| ["0", member]);
        let words: Vec<_> = ["ZADD", &key].into_iter().chain(scored).collect();
        assert_eq!(server.command(&words), format!(":{}", part.len()));
    }
}

#[test]
fn more_keys_than_are_sorted_are_shown_and_it_is_said() {
    let server = Server::start(Program::Redis);
    let portal = Portal::on_redis(PLAIN, &server);
    for (name, device) in [("laptop", "old laptop"), ("export", "backup server"), ("nothing", "")] {
        let device = if device.is_empty() { &[][..] } else { &["--device", device] };
        portal.keygate.must(&[&["token", "create", "vera", "--name", name][..], device].concat());
    }
    let client = portal.signed_in();
    let few = body(&client.get("/keys"));
    assert!(few.contains("the newest first") && !few.contains("too many to be sorted"), "{few}");
    // The device is looked for, too.
    let found = body(&client.get("/keys?device=laptop"));
    assert!(found.contains("old laptop") && !found.contains("backup server") && found.contains("One key"), "{found}");
    let vera: Value = serde_json::from_str(&portal.keygate.must(&["account", "show", "vera", "--json"])).unwrap();
    let many: Vec<_> = (0..2_100).map(|number| format!("zzzz{number:08}")).collect();
    add_to(&server, &format!("tokens-of:{}", vera["id"].as_str().unwrap()), &many);
    let page = body(&client.get("/keys"));
    assert!(page.contains("too many to be sorted") && page.contains("3 keys, in no order"), "{page}");
}

#[test]
fn more_accounts_than_are_looked_at_are_reached_by_the_next_part_of_the_matrix() {
    let server = Server::start(Program::Redis);
    let portal = Portal::on_redis(PLAIN, &server);
    let keygate = &portal.keygate;
    keygate.must(&["account", "superuser", "vera", "on"]);
    for (site, login) in [("shop", "ci"), ("blog", "reports")] {
        keygate.must(&["site", "create", site]);
        keygate.must(&["account", "create", login, "--service"]);
        keygate.must(&["access", "set", login, site, "write"]);
    }
    keygate.must(&["access", "set", "reports", "shop", "view"]);
    let client = portal.signed_in();
    let all = body(&client.get("/admin/access"));
    assert!(all.contains(">ci<") && all.contains(">reports<") && !all.contains("at a time"), "{all}");
    // They come before all others, and nobody knows them.
    let first: Vec<_> = (0..1_000).map(|number| format!("acc_-{number:015}")).collect();
    let index = |login: &str| {
        let account: Value = serde_json::from_str(&keygate.must(&["account", "show", login, "--json"])).unwrap();
        let script = "for _, key in ipairs(redis.call('KEYS', 'kg:i:*access-on:*')) do \
                      if redis.call('ZSCORE', key, ARGV[1]) then return key end end";
        server.text(&["EVAL", script, "0", account["id"].as_str().unwrap()]).split("}:").nth(1).unwrap().to_owned()
    };
    add_to(&server, &index("ci"), &first);
    let page = body(&client.get("/admin/access"));
    assert!(page.contains("There are more to look at") && !page.contains(">ci<"), "{page}");
    let next = page.split("href=\"").filter_map(|rest| rest.split('"').next()).find(|link| link.contains("from="));
    let rest = body(&client.get(&next.expect("there is a next part").replace("&amp;", "&")));
    assert!(rest.contains(">ci<") && rest.contains(">reports<") && rest.contains("at a time"), "{rest}");
    assert!(body(&client.get("/admin/access?q=ci")).contains(">ci<"), "a whole login is found at once");
}

#[test]
fn a_site_that_is_not_offered_is_chosen_by_its_id() {
    let portal = Portal::start(PLAIN);
    portal.keygate.must(&["account", "superuser", "vera", "on"]);
    for number in 0..100 {
        portal.keygate.must(&["site", "create", &format!("site-{number:03}")]);
    }
    let client = portal.signed_in();
    assert!(!body(&client.get("/keys/new")).contains("other_site"));
    portal.keygate.must(&["site", "create", "zoo"]);
    let page = body(&client.get("/keys/new"));
    assert!(page.contains("name=\"other_site\"") && page.contains("The first 100 sites") && !page.contains("site.zoo"), "{page}");
    let make = |site: &str, level: &str, step: &str| {
        let form = body(&client.get("/keys/new"));
        let hidden = |name: &str| {
            let value = form.split(&format!("name=\"{name}\" value=\"")).nth(1).and_then(|rest| rest.split('"').next());
            value.unwrap().to_owned()
        };
        let (csrf, once) = (hidden("csrf"), hidden("once"));
        let fields = [
            ("csrf", csrf.as_str()),
            ("once", &once),
            ("name", "zoo keeper"),
            ("rights", "sites"),
            ("other_site", site),
            ("other_level", level),
            ("expires", "90d"),
            ("networks", "192.0.2.7"),
            ("step", step),
        ];
        let answer = client.post("/keys/new", &fields);
        (answer.status, body(&answer))
    };
    let (status, page) = make("no-such-site", "view", "");
    assert!(status == 422 && page.contains("no-such-site"), "{status} {page}");
    let (_, page) = make("zoo", "admin", "");
    assert!(page.contains("It is an administrator of zoo") && page.contains("name=\"other_site\" value=\"zoo\""), "{page}");
    let (status, page) = make(" zoo ", "view", "");
    assert!(status == 200 && page.contains("Copy your key"), "{page}");
    let listed: Value = serde_json::from_str(&portal.keygate.must(&["token", "list", "vera", "--json"])).unwrap();
    assert_eq!(listed[0]["levels"], serde_json::json!({ "zoo": "view" }));
}
