//! A way to Redis that has faults when a test wants them: the connection that is told of changes may lose or delay what goes
//! over it, one answer to a read may be late, and connections may be cut.
//!
//! It knows of the protocol only what commands a client sends, and by that which connection is which.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::programs::wait_until;

/// What becomes of bytes on the tracking connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Flow {
    #[default]
    Free,
    /// They come later by this much.
    Late(Duration),
    /// They are taken, and nobody gets them.
    Lost,
}

/// A proxy in front of a Redis on the loopback interface.
pub struct Faulty {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    faults: Mutex<Faults>,
    connections: Mutex<Vec<Arc<Connection>>>,
    reads_delayed: AtomicU64,
    pieces_lost: AtomicU64,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Faults {
    /// On the tracking connection, towards the client.
    told: Flow,
    /// On the tracking connection, towards the server.
    said: Flow,
    /// For the answer to the next read, and what comes behind it on its connection.
    next_read: Option<Duration>,
    refuses: bool,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    tracks: AtomicBool,
    /// Nothing goes to the client before this.
    held_until: Mutex<Option<Instant>>,
}

impl Faulty {
    pub fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let state = Arc::new(State {
            server: SocketAddr::from((Ipv4Addr::LOCALHOST, server_port)),
            faults: Mutex::default(),
            connections: Mutex::default(),
            reads_delayed: AtomicU64::new(0),
            pieces_lost: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    break;
                }
                // A server that is not there is a connection that ends.
                drop(accepting.clone().connect(client));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What becomes of what the server says on tracking connections, pushes and answers alike.
    pub fn told(&self, flow: Flow) {
        self.state.faults().told = flow;
    }

    /// What becomes of what clients say on tracking connections.
    pub fn said(&self, flow: Flow) {
        self.state.faults().said = flow;
    }

    /// The server executes the next `GET` or `MGET` at once, and its answer is late.
    pub fn delay_next_read(&self, delay: Duration) {
        self.state.faults().next_read = Some(delay);
    }

    /// How many answers have been late.
    pub fn reads_delayed(&self) -> u64 {
        self.state.reads_delayed.load(Ordering::Relaxed)
    }

    /// How often something was taken that nobody got.
    pub fn pieces_lost(&self) -> u64 {
        self.state.pieces_lost.load(Ordering::Relaxed)
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuses: bool) {
        self.state.faults().refuses = refuses;
    }

    pub fn cut_tracking(&self) {
        self.state.cut(|connection| connection.tracks.load(Ordering::Relaxed));
    }

    pub fn cut_all(&self) {
        self.state.cut(|_| true);
    }

    /// How many tracking connections there are.
    pub fn tracking(&self) -> usize {
        lock(&self.state.connections).iter().filter(|connection| connection.tracks.load(Ordering::Relaxed)).count()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.cut_all();
        // Wakes it up, so that it sees that it is to end.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    fn connect(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        if self.faults().refuses {
            return Ok(());
        }
        let server = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let connection = Connection { client, server, tracks: AtomicBool::new(false), held_until: Mutex::default() };
        let connection = Arc::new(connection);
        lock(&self.connections).push(connection.clone());
        let (state, other) = (self.clone(), connection.clone());
        thread::spawn(move || {
            drop(state.to_server(&other));
            state.end(&other);
        });
        thread::spawn(move || {
            drop(self.to_client(&connection));
            self.end(&connection);
        });
        Ok(())
    }

    fn to_server(&self, connection: &Connection) -> io::Result<()> {
        let mut commands = Commands::default();
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = (&connection.client).read(&mut bytes)?;
            if length == 0 {
                return Ok(());
            }
            for [command, argument] in commands.feed(&bytes[..length]) {
                match (&*command, &*argument) {
                    ("CLIENT", "TRACKING") => connection.tracks.store(true, Ordering::Relaxed),
                    ("GET" | "MGET", _) => self.hold(connection),
                    _ => {}
                }
            }
            let flow = if connection.tracks.load(Ordering::Relaxed) { self.faults().said } else { Flow::Free };
            self.forward(&bytes[..length], flow, &connection.server)?;
        }
    }

    fn hold(&self, connection: &Connection) {
        if let Some(delay) = self.faults().next_read.take() {
            *lock(&connection.held_until) = Some(Instant::now() + delay);
            self.reads_delayed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn to_client(&self, connection: &Connection) -> io::Result<()> {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = (&connection.server).read(&mut bytes)?;
            if length == 0 {
                return Ok(());
            }
            if let Some(end) = lock(&connection.held_until).take() {
                wait_until(end);
            }
            let flow = if connection.tracks.load(Ordering::Relaxed) { self.faults().told } else { Flow::Free };
            self.forward(&bytes[..length], flow, &connection.client)?;
        }
    }

    fn forward(&self, bytes: &[u8], flow: Flow, mut to: &TcpStream) -> io::Result<()> {
        match flow {
            Flow::Lost => {
                self.pieces_lost.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Flow::Late(delay) => wait_until(Instant::now() + delay),
            Flow::Free => {}
        }
        to.write_all(bytes)
    }

    fn end(&self, connection: &Arc<Connection>) {
        connection.cut();
        lock(&self.connections).retain(|other| !Arc::ptr_eq(other, connection));
    }

    fn cut(&self, which: impl Fn(&Connection) -> bool) {
        lock(&self.connections).iter().filter(|connection| which(connection)).for_each(|connection| connection.cut());
    }
}

impl Connection {
    fn cut(&self) {
        // One that has ended already is as good.
        drop(self.client.shutdown(Shutdown::Both));
        drop(self.server.shutdown(Shutdown::Both));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The commands in what a client sends: arrays of strings, in whatever pieces they come.
#[derive(Default)]
struct Commands {
    rest: Vec<u8>,
}

impl Commands {
    /// Of each command that is whole now, its first two words in capitals.
    fn feed(&mut self, bytes: &[u8]) -> Vec<[String; 2]> {
        self.rest.extend_from_slice(bytes);
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some((command, length)) = read_command(&self.rest[at..]) {
            found.push(command);
            at += length;
        }
        self.rest.drain(..at);
        found
    }
}

/// The first two words of a command at the beginning, and its length; `None` when it is not whole.
fn read_command(bytes: &[u8]) -> Option<([String; 2], usize)> {
    let (count, mut at) = read_number(bytes, b'*')?;
    let mut words = [String::new(), String::new()];
    for index in 0..count {
        let (length, head) = read_number(&bytes[at..], b'$')?;
        let word = bytes.get(at + head..at + head + length + 2)?;
        if let Some(place) = words.get_mut(index) {
            *place = String::from_utf8_lossy(&word[..length]).to_ascii_uppercase();
        }
        at += head + length + 2;
    }
    Some((words, at))
}

/// A line such as `*3`, and how long it is.
fn read_number(bytes: &[u8], kind: u8) -> Option<(usize, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(bytes[0], kind, "no command of RESP: {:?}", String::from_utf8_lossy(bytes));
    let number = std::str::from_utf8(&bytes[1..end]).ok()?.parse().ok()?;
    Some((number, end + 2))
}

mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;
    use crate::support::programs::wait_for;
    use crate::support::redis::{Program, Server};

    /// A client that sends lines of words and reads lines.
    struct Client(BufReader<TcpStream>);

    impl Client {
        fn connect(port: u16) -> Self {
            Self(BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()))
        }

        fn send(&mut self, command: &str) {
            let words: Vec<_> = command.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
            let request = format!("*{}\r\n{}", words.len(), words.concat());
            // In two pieces, as a network may cut it.
            let (first, second) = request.split_at(request.len() / 2);
            self.0.get_mut().write_all(first.as_bytes()).unwrap();
            self.0.get_mut().write_all(second.as_bytes()).unwrap();
        }

        /// `None` at the end of the connection.
        fn line(&mut self) -> Option<String> {
            let mut line = String::new();
            let read = self.0.read_line(&mut line);
            read.is_ok_and(|length| length > 0).then(|| line.trim_end().to_owned())
        }

        fn ask(&mut self, command: &str) -> Option<String> {
            self.send(command);
            self.line()
        }

        fn track(port: u16) -> Self {
            let mut client = Self::connect(port);
            client.send("HELLO 3");
            client.send("CLIENT TRACKING ON BCAST PREFIX p:");
            while client.line().unwrap() != "+OK" {}
            client
        }

        /// Reads until a push names this key.
        fn wait_told(&mut self, key: &str) -> bool {
            while let Some(line) = self.line() {
                if line == key {
                    return true;
                }
            }
            false
        }
    }

    #[test]
    fn only_the_tracking_connection_is_late_lost_or_cut() {
        let server = Server::start(Program::Redis);
        let faulty = Faulty::start(server.port());
        let (mut tracking, mut other) = (Client::track(faulty.port()), Client::connect(faulty.port()));
        assert_eq!(other.ask("PING").unwrap(), "+PONG");
        assert_eq!(faulty.tracking(), 1);
        server.command(&["SET", "p:1", "x"]);
        assert!(tracking.wait_told("p:1"));

        let (delay, began) = (Duration::from_millis(300), Instant::now());
        faulty.told(Flow::Late(delay));
        server.command(&["SET", "p:2", "x"]);
        assert_eq!(other.ask("PING").unwrap(), "+PONG");
        assert!(tracking.wait_told("p:2") && began.elapsed() >= delay);

        faulty.told(Flow::Lost);
        server.command(&["SET", "p:3", "x"]);
        assert_eq!(other.ask("PING").unwrap(), "+PONG");
        wait_for("the push to be lost", || (faulty.pieces_lost() == 1).then_some(()));
        faulty.told(Flow::Free);
        server.command(&["SET", "p:4", "x"]);
        let until = std::iter::from_fn(|| tracking.line()).take_while(|line| line != "p:4");
        assert!(until.collect::<Vec<_>>().iter().all(|line| line != "p:3"));
        faulty.said(Flow::Lost);
        tracking.send("SET q:1 x");
        wait_for("the command to be lost", || (faulty.pieces_lost() > 1).then_some(()));
        assert_eq!(other.ask("PING").unwrap(), "+PONG");
        assert_eq!(other.ask("EXISTS q:1").unwrap(), ":0");

        faulty.cut_tracking();
        assert!(!tracking.wait_told("never"));
        assert_eq!(other.ask("PING").unwrap(), "+PONG");
        faulty.cut_all();
        assert_eq!(other.line(), None);
        faulty.refuse(true);
        assert_eq!(Client::connect(faulty.port()).line(), None);
    }

    #[test]
    fn one_answer_to_a_read_is_late_and_has_been_read_before() {
        let server = Server::start(Program::Redis);
        let faulty = Faulty::start(server.port());
        let (mut client, mut other) = (Client::connect(faulty.port()), Client::connect(faulty.port()));
        server.command(&["SET", "key", "1"]);
        let delay = Duration::from_millis(300);
        faulty.delay_next_read(delay);
        assert_eq!(client.ask("PING").unwrap(), "+PONG");
        let began = Instant::now();
        client.send("GET key");
        wait_for("the read to be on its way", || (faulty.reads_delayed() == 1).then_some(()));
        assert_eq!(other.ask("SET key 2").unwrap(), "+OK");
        assert_eq!(other.ask("GET key").unwrap(), "$1");
        assert_eq!(other.line().unwrap(), "2");
        assert_eq!(client.line().unwrap(), "$1");
        assert!(began.elapsed() >= delay);
        client.line();
        assert_eq!(client.ask("GET key").unwrap(), "$1");
        assert_eq!(client.line().unwrap(), "2");
    }
}
