//! A Keygate of a test's own: the real binary, on free ports, with its data in a temporary directory.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::http::Request;
use super::programs::{Folder, Program, free_address};

const BINARY: &str = env!("CARGO_BIN_EXE_keygate");

pub struct Keygate {
    pub folder: Folder,
    pub check: SocketAddr,
    pub grpc: SocketAddr,
    config: PathBuf,
    program: Option<Program>,
}

impl Keygate {
    /// Starts with a configuration in which the default addresses and `./keygate-data` stand for what the test
    /// has; nothing else in it is changed.
    pub fn start(config: &str) -> Self {
        let folder = Folder::new();
        let (check, grpc) = (free_address(), free_address());
        let config = config
            .replace("127.0.0.1:9180", &check.to_string())
            .replace("127.0.0.1:9182", &grpc.to_string())
            .replace("./keygate-data", &folder.path().join("data").display().to_string());
        let config = folder.write("keygate.toml", &config);
        let mut keygate = Self { folder, check, grpc, config, program: None };
        keygate.restart();
        keygate
    }

    /// Starts it, on the same ports and with the same data, and waits until it says that it is ready.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(&self.config);
        let mut program = Program::start("keygate", &mut command, self.folder.path());
        let check = self.check;
        program.wait("being ready", || {
            Request::new("GET", "/readyz")
                .header("Host", "localhost")
                .send(IpAddr::V4(Ipv4Addr::LOCALHOST), check)
                .is_ok_and(|answer| answer.status == 200)
        });
        self.program = Some(program);
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.program.as_ref().map(Program::log).unwrap_or_default()
    }

    /// Runs the command line against it, with `input` on standard input.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(BINARY)
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("keygate can be run");
        child.stdin.take().expect("it was asked for").write_all(input.as_bytes()).expect("keygate reads its input");
        child.wait_with_output().expect("keygate ends")
    }

    /// Runs a command that must succeed, and gives back what it printed, without the line end.
    pub fn must(&self, arguments: &[&str]) -> String {
        self.must_with(arguments, "")
    }

    pub fn must_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        assert!(
            output.status.success(),
            "keygate {arguments:?} ended with {}: {}\n{}",
            output.status,
            text(&output.stderr),
            self.log()
        );
        text(&output.stdout)
    }
}
