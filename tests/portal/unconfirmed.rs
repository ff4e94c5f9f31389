//! A store with too few replicas: what a page shows once, it shows, and says that it may not last.

use serde_json::{Value, json};

use super::{Client, PASSWORD, Portal, body};
use crate::support::{
    http::Answer,
    programs::wait_for,
    redis::{Program, Server},
};

/// A portal on a store that has one replica, which is to confirm everything.
fn replicated(server: &Server) -> (Portal, Server) {
    let replica = Server::start_with(Program::Redis, &["--replicaof", "127.0.0.1", &server.port().to_string()]);
    let in_step = || replica.says(&["INFO", "replication"], "master_link_status") == "up";
    wait_for("the replica to be in step", || in_step().then_some(()));
    (Portal::with_store(server, "wait_replicas = 1"), replica)
}

const WARNING: &str = "too few replicas of the store";

impl Client<'_> {
    /// Does something that nobody confirms: each write waits for the replica for less than half of the time-out. Afterwards the
    /// session goes on, once the store has shown again that it is in order.
    fn while_frozen<T>(&self, replica: &Server, done: impl FnOnce() -> T) -> T {
        replica.freeze();
        let done = done();
        replica.thaw();
        wait_for("the session to go on", || (self.get("/sessions").status == 200).then_some(()));
        done
    }
}

#[test]
fn what_is_shown_once_is_shown_with_a_warning_where_no_replica_confirms_it() {
    let server = Server::start(Program::Redis);
    let (portal, replica) = replicated(&server);
    let client = portal.signed_in();
    let alone = |done: &dyn Fn() -> Answer| client.while_frozen(&replica, done);

    // The recovery codes of a first factor.
    let (app, fields) = client.begin("/security/totp");
    let code = app.code(-1);
    let set_up = alone(&|| {
        client.post("/security/totp", &[("csrf", &fields[0]), ("setup", &fields[1]), ("name", "Phone"), ("code", &code)])
    });
    let page = body(&set_up);
    assert!(page.contains("id=\"codes\"") && page.to_lowercase().contains(WARNING), "{page}");

    // The text of a rotated key.
    let made: Value = serde_json::from_str(&portal.keygate.must(&["token", "create", "vera", "--name", "job", "--json"])).unwrap();
    let id = made["record"]["id"].as_str().unwrap();
    let page = format!("/keys/{id}/rotate");
    let form = body(&client.get(&page));
    let once = form.split("name=\"once\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let token = client.token(&page);
    let rotated = alone(&|| client.post(&page, &[("csrf", &token), ("once", &once), ("grace", "none")]));
    let page = body(&rotated);
    assert_eq!(rotated.status, 200, "{page}");
    assert!(page.contains("id=\"key\"") && page.to_lowercase().contains(WARNING), "{page}");
    let record: Value = serde_json::from_str(&portal.keygate.must(&["token", "show", id, "--json"])).unwrap();
    assert_eq!(record["state"], "superseded");

    // The cookie after a new password.
    let token = client.token("/password");
    let new = "another long one";
    let fields = [("csrf", token.as_str()), ("login", "vera"), ("current", PASSWORD), ("new", new), ("again", new)];
    let changed = alone(&|| client.post("/password", &fields));
    assert_eq!(changed.header("location"), Some("/sessions?notice=password_unconfirmed"), "{}", body(&changed));
    let page = body(&client.get("/sessions?notice=password_unconfirmed"));
    assert!(page.contains("Your password is changed") && page.contains(WARNING), "{page}");

    // And after the password was confirmed, and a factor removed.
    let token = client.token("/confirm");
    let code = app.code(0);
    let fields = [("csrf", token.as_str()), ("login", "vera"), ("password", new), ("code", &code)];
    let confirmed = alone(&|| client.post("/confirm", &fields));
    assert_eq!(confirmed.status, 303, "{}", body(&confirmed));
    let factors = client.api("GET", "/me/factors", &Value::Null).1;
    let page = format!("/security/factors/{}/remove", factors["items"][0]["id"].as_str().unwrap());
    let token = client.token(&page);
    let code = app.code(1);
    let removed = alone(&|| client.post(&page, &[("csrf", &token), ("code", &code)]));
    assert_eq!(removed.header("location"), Some("/security?notice=removed_unconfirmed"), "{}", body(&removed));
    let page = body(&client.get("/security?notice=removed_unconfirmed"));
    assert!(page.contains("is removed") && page.contains(WARNING), "{page}");
}

#[test]
fn over_rest_no_cookie_is_lost_that_no_replica_confirms() {
    let server = Server::start(Program::Redis);
    let (portal, replica) = replicated(&server);
    let client = portal.signed_in();
    let alone = |done: &dyn Fn() -> (u16, Value)| client.while_frozen(&replica, done);
    let made: Value = serde_json::from_str(&portal.keygate.must(&["token", "create", "vera", "--name", "job", "--json"])).unwrap();
    // Whoever counts on the old token's end must not take it for confirmed; the one that replaces it can be rotated again.
    let path = format!("/tokens/{}/rotate", made["record"]["id"].as_str().unwrap());
    let (status, rotated) = alone(&|| client.api("POST", &path, &json!({})));
    assert_eq!((status, &rotated["type"]), (503, &json!("about:blank#unconfirmed")), "{rotated}");
    let (status, confirmed) = alone(&|| client.api("POST", "/me/confirm", &json!({ "password": PASSWORD })));
    assert_eq!((status, &confirmed["confirmed"]), (200, &json!(false)), "{confirmed}");
    let new = "another long one";
    let (status, changed) = alone(&|| client.api("POST", "/me/password", &json!({ "current": PASSWORD, "new": new })));
    assert_eq!((status, &changed["confirmed"]), (200, &json!(false)), "{changed}");
}
