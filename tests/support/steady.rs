//! A client that keeps its connection, and asks for the status only: for many checks, one after the other.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::http::Answer;

/// A connection that has not answered for so long is given up; what it would have answered is not known.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Steady {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Steady {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// Sends a head as it is; `None` when nobody answers. The next one goes over a new connection then.
    pub fn status(&mut self, head: &[u8]) -> Option<u16> {
        self.ask(head).map(|answer| answer.status)
    }

    pub fn ask(&mut self, head: &[u8]) -> Option<Answer> {
        let mut connection = self.connection.take().or_else(|| self.connect())?;
        connection.get_mut().write_all(head).ok()?;
        let answer = Answer::read(&mut connection, false).ok()?;
        self.connection = Some(connection);
        Some(answer)
    }

    fn connect(&self) -> Option<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(BufReader::new(stream))
    }
}
