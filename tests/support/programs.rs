//! Real programs: where they are found, how they are started on free ports, and that they are stopped.
//!
//! A missing program is a failure that names its package. Each program started is stopped by its process id,
//! when the value that holds it goes away, also in a panic.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Looks until a program that does not come up is given up: minutes, for a machine may be slow.
const LOOKS: u32 = 15_000;

/// A program from the Python environment of the tests: `$KEYGATE_TEST_VENV`, else `target/venv`.
pub fn from_venv(name: &str, package: &str) -> PathBuf {
    let venv = std::env::var_os("KEYGATE_TEST_VENV")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv"), PathBuf::from);
    let path = venv.join("bin").join(name);
    assert!(path.exists(), "{name} not found in {}: PyPI package {package}, run tests/run", venv.display());
    path
}

/// A program from a Debian package, on `PATH` or where Debian puts daemons.
pub fn from_debian(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} not found: Debian package {package}, run tests/run"))
}

/// A loopback address nobody listens on. Below the range the kernel takes outgoing ports from, so that no
/// connection of another test is there first, nor takes it while a server is being started again, and never the
/// same twice in this process.
pub fn free_address() -> SocketAddr {
    static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut taken = TAKEN.lock().expect("no test panics while it holds this");
    let taken = taken.get_or_insert_with(HashSet::new);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_240 + u16::try_from((std::process::id().wrapping_mul(131) + step) % 22_000).expect("below 22,000");
        if taken.contains(&port) {
            continue;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            taken.insert(port);
            return address;
        }
    }
}

/// Looks until `look` finds something, or gives up and says what was waited for.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        pause();
    }
    panic!("gave up waiting for {what}");
}

/// The same where looking takes an await.
pub async fn wait_for_async<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look().await {
            return found;
        }
        pause();
    }
    panic!("gave up waiting for {what}");
}

/// Lets others run before the next look at a condition.
pub fn pause() {
    wait_until(Instant::now() + LOOK_AGAIN);
}

/// Lets others run until then: for a fault that is to last, never for a condition to come true.
pub fn wait_until(end: Instant) {
    // A channel or a runtime may have left a wake-up for this thread, which ends a wait at once.
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// A directory of its own for one test. It stays, with the logs in it, when the test fails.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("keygate-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary directory can be written to");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and says where it is.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What is left behind in a temporary directory is no reason to fail.
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

fn text_of(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A running program.
pub struct Program {
    name: String,
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Program {
    /// Starts `command` with its output in `folder/name.out` and `folder/name.log`. The command must be the program itself, not one that
    /// starts it and leaves.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let [output, log] = ["out", "log"].map(|extension| folder.join(format!("{name}.{extension}")));
        let open = |path| File::options().create(true).append(true).open(path).expect("a log can be written");
        let child = command
            .current_dir(folder)
            // Traefik and Caddy leave files at home.
            .env("HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .stdin(Stdio::null())
            .stdout(open(&output))
            .stderr(open(&log))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, output, log }
    }

    /// Waits until somebody listens there.
    pub fn wait_listening(&mut self, address: SocketAddr) {
        self.wait(&format!("{address}"), || TcpStream::connect(address).is_ok());
    }

    /// Waits until `ready`, and fails at once, with the log, if the program ends before.
    pub fn wait(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        for _ in 0..LOOKS {
            if ready() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("a child can be asked for") {
                panic!("{} ended with {status} before {what}:\n{}", self.name, self.log());
            }
            pause();
        }
        panic!("gave up waiting for {} at {what}:\n{}", self.name, self.log());
    }

    /// Waits until it ends by itself.
    pub fn wait_end(&mut self) -> ExitStatus {
        for _ in 0..LOOKS {
            if let Some(status) = self.child.try_wait().expect("a child can be asked for") {
                return status;
            }
            pause();
        }
        panic!("gave up waiting for {} to end:\n{}", self.name, self.log());
    }

    /// Sends it a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.id())).status();
        assert!(status.expect("a shell can be run").success(), "{} is gone", self.name);
    }

    /// What it wrote so far, to its standard output and then to standard error.
    pub fn log(&self) -> String {
        self.output() + &self.errors()
    }

    pub fn output(&self) -> String {
        text_of(&self.output)
    }

    pub fn errors(&self) -> String {
        text_of(&self.log)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as a crash would (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        // Already gone is what was wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
