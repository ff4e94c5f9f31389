//! A store with too few replicas: what a page shows once, it shows, and says that it may not last.

use serde_json::{Value, json};

use super::{Client, PASSWORD, Portal, body};
use crate::support::redis::{Program, Server};

/// No replica is there to confirm anything. Each write that waits for one does so for less than half of the time-out.
fn lonely(server: &Server) -> Portal {
    Portal::with_store(server, "wait_replicas = 1")
}

const WARNING: &str = "too few replicas of the store";

impl Client<'_> {
    fn is_in(&self) -> bool {
        self.get("/sessions").status == 200
    }
}

#[test]
fn what_is_shown_once_is_shown_with_a_warning_where_no_replica_confirms_it() {
    let server = Server::start(Program::Redis);
    let portal = lonely(&server);
    let client = portal.signed_in();

    // The recovery codes of a first factor.
    let (app, fields) = client.begin("/security/totp");
    let code = app.code(-1);
    let set_up = client.post("/security/totp", &[("csrf", &fields[0]), ("setup", &fields[1]), ("name", "Phone"), ("code", &code)]);
    let page = body(&set_up);
    assert!(page.contains("id=\"codes\"") && page.to_lowercase().contains(WARNING), "{page}");
    assert!(client.is_in());

    // The text of a rotated key.
    let made: Value = serde_json::from_str(&portal.keygate.must(&["token", "create", "vera", "--name", "job", "--json"])).unwrap();
    let id = made["record"]["id"].as_str().unwrap();
    let page = format!("/keys/{id}/rotate");
    let form = body(&client.get(&page));
    let once = form.split("name=\"once\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let token = client.token(&page);
    let rotated = client.post(&page, &[("csrf", &token), ("once", &once), ("grace", "none")]);
    let page = body(&rotated);
    assert_eq!(rotated.status, 200, "{page}");
    assert!(page.contains("id=\"key\"") && page.to_lowercase().contains(WARNING), "{page}");
    let record: Value = serde_json::from_str(&portal.keygate.must(&["token", "show", id, "--json"])).unwrap();
    assert_eq!(record["state"], "superseded");

    // The cookie after a new password.
    let token = client.token("/password");
    let new = "another long one";
    let changed =
        client.post("/password", &[("csrf", &token), ("login", "vera"), ("current", PASSWORD), ("new", new), ("again", new)]);
    assert_eq!(changed.header("location"), Some("/sessions?notice=password_unconfirmed"), "{}", body(&changed));
    let page = body(&client.get("/sessions?notice=password_unconfirmed"));
    assert!(page.contains("Your password is changed") && page.contains(WARNING), "{page}");

    // And after the password was confirmed, and a factor removed.
    let token = client.token("/confirm");
    let confirmed = client.post("/confirm", &[("csrf", &token), ("login", "vera"), ("password", new), ("code", &app.code(0))]);
    assert_eq!((confirmed.status, client.is_in()), (303, true), "{}", body(&confirmed));
    let factors = client.api("GET", "/me/factors", &Value::Null).1;
    let page = format!("/security/factors/{}/remove", factors["items"][0]["id"].as_str().unwrap());
    let token = client.token(&page);
    let removed = client.post(&page, &[("csrf", &token), ("code", &app.code(1))]);
    assert_eq!(removed.header("location"), Some("/security?notice=removed_unconfirmed"), "{}", body(&removed));
    let page = body(&client.get("/security?notice=removed_unconfirmed"));
    assert!(page.contains("is removed") && page.contains(WARNING), "{page}");
}

#[test]
fn over_rest_no_cookie_is_lost_that_no_replica_confirms() {
    let server = Server::start(Program::Redis);
    let portal = lonely(&server);
    let client = portal.signed_in();
    let made: Value = serde_json::from_str(&portal.keygate.must(&["token", "create", "vera", "--name", "job", "--json"])).unwrap();
    // Whoever counts on the old token's end must not take it for confirmed; the one that replaces it can be rotated again.
    let path = format!("/tokens/{}/rotate", made["record"]["id"].as_str().unwrap());
    let (status, rotated) = client.api("POST", &path, &json!({}));
    assert_eq!((status, &rotated["type"]), (503, &json!("about:blank#unconfirmed")), "{rotated}");
    let (status, confirmed) = client.api("POST", "/me/confirm", &json!({ "password": PASSWORD }));
    assert_eq!((status, &confirmed["confirmed"]), (200, &json!(false)), "{confirmed}");
    let new = "another long one";
    let (status, changed) = client.api("POST", "/me/password", &json!({ "current": PASSWORD, "new": new }));
    assert_eq!((status, &changed["confirmed"]), (200, &json!(false)), "{changed}");
    assert!(client.is_in());
}
