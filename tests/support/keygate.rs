//! A Keygate of a test's own: the real binary, on free ports, with its data in a temporary directory.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::http::{Answer, Request};
use super::programs::{Folder, Program, free_address};

const BINARY: &str = env!("CARGO_BIN_EXE_keygate");
/// A server key, as its file has it.
pub const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub struct Keygate {
    pub folder: Folder,
    pub check: SocketAddr,
    pub portal: SocketAddr,
    pub grpc: SocketAddr,
    config: PathBuf,
    program: Option<Program>,
}

impl Keygate {
    /// Starts with a configuration in which the default addresses and `./keygate-data` stand for what the test
    /// has; nothing else in it is changed.
    pub fn start(config: &str) -> Self {
        let mut keygate = Self::prepare(config);
        keygate.restart();
        keygate
    }

    /// Everything but the start.
    pub fn prepare(config: &str) -> Self {
        let folder = Folder::new();
        let (check, portal, grpc) = (free_address(), free_address(), free_address());
        let keygate = Self { check, portal, grpc, config: folder.path().join("keygate.toml"), folder, program: None };
        keygate.write_config(config);
        keygate
    }

    /// Everything but the start, over a Redis. The server key is in `server.key`. A store on a busy machine may be late, which
    /// is no outage.
    pub fn prepare_on_redis(config: &str, url: &str) -> Self {
        let store = format!("[store]\nurl = \"{url}\"\ntimeout = \"1s\"\n");
        let keygate = Self::prepare(&format!("{config}\n[keys]\nfile = \"server.key\"\n\n{store}"));
        keygate.folder.write("server.key", KEY);
        keygate
    }

    /// Writes the configuration file anew, with the same addresses and directory put in.
    pub fn write_config(&self, config: &str) {
        fs::write(&self.config, self.fill(config)).expect("a file can be written");
    }

    /// The text with this Keygate's addresses and directory in the place of the default ones.
    pub fn fill(&self, config: &str) -> String {
        config
            .replace("127.0.0.1:9180", &self.check.to_string())
            .replace("127.0.0.1:9181", &self.portal.to_string())
            .replace("127.0.0.1:9182", &self.grpc.to_string())
            .replace("./keygate-data", &self.data_dir().display().to_string())
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn control(&self) -> PathBuf {
        self.data_dir().join("control.sock")
    }

    /// Starts it, on the same ports and with the same data, and waits until it says that it is ready.
    pub fn restart(&mut self) {
        self.launch(&mut self.serve(), "/readyz");
    }

    /// Starts it, and waits until it answers, be it ready or not.
    pub fn restart_unready(&mut self) {
        self.launch(&mut self.serve(), "/healthz");
    }

    /// Starts it as `keygate quickstart`, which takes no file, with its log at its loudest.
    pub fn quickstart(&mut self) {
        let mut command = Command::new(BINARY);
        command.arg("quickstart").env_remove("RUST_LOG");
        command.env("KEYGATE__CHECK__LISTEN", self.check.to_string()).env("KEYGATE__PORTAL__LISTEN", self.portal.to_string());
        command.env("KEYGATE__GRPC__LISTEN", self.grpc.to_string()).env("KEYGATE__DATA_DIR", self.data_dir());
        command.env("KEYGATE__LOG__LEVEL", "trace");
        self.launch(&mut command, "/readyz");
    }

    fn launch(&mut self, command: &mut Command, until: &str) {
        self.kill();
        let mut program = Program::start("keygate", command, self.folder.path());
        program.wait(until, || self.ask(until).is_some_and(|answer| answer.status == 200));
        self.program = Some(program);
    }

    fn serve(&self) -> Command {
        let mut serve = Command::new(BINARY);
        serve.arg("serve").arg("--config").arg(&self.config).env_remove("RUST_LOG");
        // Few tests say where the portal listens, and its default address is there only once.
        serve.env("KEYGATE__PORTAL__LISTEN", self.portal.to_string());
        serve
    }

    /// Starts it where it must refuse to, and gives back its exit code and what it said.
    pub fn refuses(&self) -> (Option<i32>, String) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("refused-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut program = Program::start(&name, &mut self.serve(), self.folder.path());
        let status = program.wait_end();
        (status.code(), program.log())
    }

    /// GET on the check listener, from the address of a proxy; `None` when nobody answers.
    pub fn ask(&self, path: &str) -> Option<Answer> {
        Request::new("GET", path).header("Host", "localhost").send(LOCALHOST, self.check).ok()
    }

    /// What a counter stands at; `None` where nothing was counted.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let text = String::from_utf8(self.ask("/metrics").expect("Keygate answers").body).expect("metrics are text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.and_then(|value| value.parse().ok())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Ends it as an operator does, and sees that it ends well. Its log stays.
    pub fn stop(&mut self) {
        self.program().signal("TERM");
        let ended = self.program().wait_end();
        assert_eq!(ended.code(), Some(0), "{}", self.log());
    }

    /// The running process.
    pub fn program(&mut self) -> &mut Program {
        self.program.as_mut().expect("it has been started")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.program.as_ref().map(Program::log).unwrap_or_default()
    }

    /// Runs the command line against it, with `input` on standard input.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(BINARY)
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("keygate can be run");
        // One that refuses at once does not read.
        drop(child.stdin.take().expect("it was asked for").write_all(input.as_bytes()));
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
