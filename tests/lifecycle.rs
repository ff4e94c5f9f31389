//! How the service starts, refuses to start, and ends.

use std::{io::Write as _, net::TcpListener, os::unix::fs::PermissionsExt as _};

use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::dialects::{PROXY, channel};
use crate::support::http::{Answer, connect};
use crate::support::keygate::Keygate;
use crate::support::shop::{CONFIG, Shop};

/// Connections that nobody uses are no reason to stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sigterm_ends_it_whoever_is_still_connected() {
    let mut shop = Shop::start(&format!("{CONFIG}\n[store]\nurl = \"embedded:./keygate-data\"\n"));
    let mut kept_alive = connect(PROXY, shop.keygate.check).unwrap();
    kept_alive.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut kept_alive, false).unwrap().status, 200);
    let _silent_on_check = connect(PROXY, shop.keygate.check).unwrap();
    let _silent_on_grpc = connect(PROXY, shop.keygate.grpc).unwrap();
    let mut client = HealthClient::new(channel(shop.keygate.grpc).await.unwrap());
    let mut watched = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    assert!(shop.keygate.control().exists());

    shop.keygate.stop();
    assert!(!shop.keygate.control().exists());

    // Free again, and with everything in it.
    shop.keygate.restart();
    assert_eq!(shop.status(), 200);
    shop.keygate.program().signal("INT");
    assert_eq!(shop.keygate.program().wait_end().code(), Some(0));
}

#[test]
fn a_crash_leaves_nothing_that_stops_the_next_start() {
    let mut shop = Shop::start(&CONFIG.replace("[check]\n", "[check]\nunix = \"check.sock\"\n"));
    assert!(shop.keygate.folder.path().join("check.sock").exists());
    shop.keygate.restart();
    assert!(shop.keygate.control().exists());
    assert_eq!(shop.status(), 200);
}

#[test]
fn the_control_socket_is_for_its_owner_only() {
    let shop = Shop::start(CONFIG);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&shop.keygate.data_dir()), mode(&shop.keygate.control())), (0o700, 0o600));
}

/// Says no with that code, and names these.
fn assert_refuses(keygate: &Keygate, code: i32, named: &[&str]) {
    let (ended, said) = keygate.refuses();
    assert_eq!(ended, Some(code), "{said}");
    for name in named {
        assert!(said.contains(name), "\"{name}\" is not in: {said}");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("keygate: ")).count(), 1, "{said}");
}

#[test]
fn a_port_in_use_is_refused() {
    let keygate = Keygate::prepare(CONFIG);
    let listeners = [(keygate.check, "check.listen"), (keygate.portal, "portal.listen"), (keygate.grpc, "grpc.listen")];
    for (address, key) in listeners {
        let _taken = TcpListener::bind(address).unwrap();
        assert_refuses(&keygate, 3, &[&address.to_string(), key]);
    }
}

#[test]
fn a_data_directory_that_is_held_is_refused() {
    let first = Keygate::start(CONFIG);
    let directory = first.data_dir().display().to_string();
    let second = Keygate::prepare(&CONFIG.replace("./keygate-data", &directory));
    assert_refuses(&second, 3, &[&directory, "held by another process"]);
    assert!(first.must(&["account", "list"]).contains("anonymous"));
}

#[test]
fn every_mistake_in_the_configuration_is_told_at_the_start() {
    let keygate = Keygate::prepare(&CONFIG.replace("site = \"shop\"", "sight = \"shop\"").replace("listen =", "lissen ="));
    let (code, said) = keygate.refuses();
    assert_eq!(code, Some(2), "{said}");
    for line in ["keygate.toml:5", "keygate.toml:8", "keygate.toml:18", "keygate.toml:25"] {
        assert!(said.contains(line), "{line} is not in: {said}");
    }
    assert!(said.contains("listen") && said.contains("site"), "{said}");
}

#[test]
fn a_server_key_that_cannot_be_read_is_refused() {
    let keygate = Keygate::prepare_on_redis(CONFIG, "redis://127.0.0.1:1");
    let key = keygate.folder.path().join("server.key");
    for text in ["nonsense", "", "k1:c2hvcnQ="] {
        std::fs::write(&key, text).unwrap();
        assert_refuses(&keygate, 2, &["server.key"]);
    }
    // With Redis it is never made by itself: the other replicas have one.
    std::fs::remove_file(&key).unwrap();
    assert_refuses(&keygate, 2, &["keys.file", "does not exist"]);
    assert!(!key.exists());
    // Not even root reads a directory.
    std::fs::create_dir(&key).unwrap();
    assert_refuses(&keygate, 2, &["keys.file", "cannot be read"]);
}
