//! A network on loopback that can be parted. Each party has an address of its own; while some are cut off from others, nothing goes
//! between those. As over TCP, what was under way comes when the network is whole again, and who tries to connect
//! meanwhile gets no answer.
//!
//! It knows nothing of what is said. A server is reached by its door, which has the server's port at another address.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A party, by its address.
pub type Party = Ipv4Addr;

/// One that opens connections from its own address, and has doors there.
pub fn node(number: usize) -> Party {
    Ipv4Addr::new(127, 0, 0, 11 + u8::try_from(number).expect("few"))
}

/// One that opens connections from anywhere: it is known by the address that it goes to.
pub fn client(number: usize) -> Party {
    Ipv4Addr::new(127, 0, 0, 31 + u8::try_from(number).expect("few"))
}

#[derive(Default)]
pub struct Network {
    state: Arc<State>,
    doors: Vec<SocketAddr>,
}

#[derive(Default)]
struct State {
    now: Mutex<Now>,
    is_another: Condvar,
}

/// Held while something goes over: who has cut somebody off knows that nothing goes over any more.
#[derive(Default)]
struct Now {
    cut_off: [HashSet<Party>; 2],
    open: Vec<Arc<Connection>>,
    has_ended: bool,
}

struct Connection {
    between: [Party; 2],
    ends: [TcpStream; 2],
}

impl Network {
    /// Leads everybody who goes to this port at one of these addresses to the server that has it on 127.0.0.1.
    pub fn open_doors(&mut self, to: Party, port: u16, at: impl IntoIterator<Item = Party>) {
        for address in at {
            let door = SocketAddr::from((address, port));
            let listener = TcpListener::bind(door).expect("only 127.0.0.1 has this port");
            self.doors.push(door);
            let state = self.state.clone();
            thread::spawn(move || {
                for (stream, state) in listener.incoming().flatten().zip(std::iter::repeat(state)) {
                    if state.now().has_ended {
                        break;
                    }
                    // A server that is not there is a connection that ends.
                    thread::spawn(move || drop(state.connect(stream, to)));
                }
            });
        }
    }

    /// From now on nothing goes between the one side and the other; who is on neither reaches all.
    pub fn cut_off(&self, one: impl IntoIterator<Item = Party>, other: impl IntoIterator<Item = Party>) {
        self.state.change(|now| now.cut_off = [one.into_iter().collect(), other.into_iter().collect()]);
    }

    pub fn heal(&self) {
        self.cut_off([], []);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.state.change(|now| {
            now.has_ended = true;
            now.open.iter().for_each(|connection| connection.end());
        });
        for door in &self.doors {
            // Wakes it up, so that it sees that it is to end.
            drop(TcpStream::connect(door));
        }
    }
}

impl State {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now());
        self.is_another.notify_all();
    }

    /// Waits until those two are not parted.
    fn joined(&self, between: [Party; 2]) -> io::Result<MutexGuard<'_, Now>> {
        let is_parted = |now: &mut Now| !now.has_ended && now.parts(between);
        let now = self.is_another.wait_while(self.now(), is_parted).unwrap_or_else(PoisonError::into_inner);
        if now.has_ended { Err(io::ErrorKind::NotConnected.into()) } else { Ok(now) }
    }

    fn connect(self: Arc<Self>, stream: TcpStream, to: Party) -> io::Result<()> {
        let address = |of: SocketAddr| if let IpAddr::V4(address) = of.ip() { address } else { Party::UNSPECIFIED };
        let (peer, local) = (address(stream.peer_addr()?), address(stream.local_addr()?));
        let between = [if peer == Ipv4Addr::LOCALHOST { local } else { peer }, to];
        if self.now().parts(between) {
            drop(self.joined(between)?);
            return Ok(());
        }
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, stream.local_addr()?.port()))?;
        stream.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let connection = Arc::new(Connection { between, ends: [stream, server] });
        self.now().open.push(connection.clone());
        let (state, other) = (self.clone(), connection.clone());
        thread::spawn(move || state.carry(&other, [1, 0]));
        self.carry(&connection, [0, 1]);
        Ok(())
    }

    /// Until one of its ends is closed, and the other one has learnt of it.
    fn carry(&self, connection: &Arc<Connection>, [from, to]: [usize; 2]) {
        let mut bytes = vec![0; 1 << 16];
        loop {
            // A broken connection is one that ends.
            let length = (&connection.ends[from]).read(&mut bytes).unwrap_or_default();
            let Ok(mut now) = self.joined(connection.between) else { return connection.end() };
            if length == 0 || (&connection.ends[to]).write_all(&bytes[..length]).is_err() {
                connection.end();
                now.open.retain(|other| !Arc::ptr_eq(other, connection));
                return;
            }
        }
    }
}

impl Now {
    fn parts(&self, [one, other]: [Party; 2]) -> bool {
        let [near, far] = &self.cut_off;
        near.contains(&one) && far.contains(&other) || near.contains(&other) && far.contains(&one)
    }
}

impl Connection {
    fn end(&self) {
        for end in &self.ends {
            // One that has ended already is as good.
            drop(end.shutdown(Shutdown::Both));
        }
    }
}

mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::time::Duration;

    use super::*;

    /// Longer than anything takes that is not held up.
    const WHILE: Duration = Duration::from_millis(300);

    /// Says lines, and hears those of the server.
    struct Speaker(TcpStream, Receiver<String>);

    impl Speaker {
        fn new(stream: TcpStream) -> Self {
            let (sender, heard) = channel();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
            Self(stream, heard)
        }

        fn say(&mut self, line: &str) {
            writeln!(self.0, "{line}").unwrap();
        }

        fn hear(&self) -> Option<String> {
            self.1.recv().ok()
        }

        fn hears_nothing(&self) -> bool {
            self.1.recv_timeout(WHILE) == Err(RecvTimeoutError::Timeout)
        }
    }

    #[test]
    fn nothing_goes_to_and_from_who_is_cut_off_until_the_network_is_whole() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let mut network = Network::default();
        network.open_doors(node(0), port, [node(0), client(0), client(1)]);
        let connect = |party: Party| Speaker::new(TcpStream::connect((party, port)).unwrap());
        let pair = |party| (connect(party), Speaker::new(server.accept().unwrap().0));
        let (mut near, mut from_near) = pair(client(0));
        let (mut far, mut from_far) = pair(client(1));
        far.say("a");
        assert_eq!(from_far.hear().unwrap(), "a");
        network.cut_off([node(0), client(0)], [client(1)]);
        near.say("b");
        from_near.say("c");
        assert_eq!((from_near.hear().unwrap(), near.hear().unwrap()), ("b".to_owned(), "c".to_owned()));
        far.say("d");
        from_far.say("e");
        let late = connect(client(1));
        assert!(far.hears_nothing() && from_far.hears_nothing() && late.hears_nothing());
        network.heal();
        assert_eq!((from_far.hear().unwrap(), far.hear().unwrap()), ("d".to_owned(), "e".to_owned()));
        assert_eq!(late.hear(), None);
        drop(network);
        assert_eq!((near.hear(), from_far.hear()), (None, None));
    }
}
