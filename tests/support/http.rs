//! An HTTP/1.1 client that sends exactly the bytes it is given.
//!
//! Forged and doubled headers and ambiguous paths are what the tests are about, and a well-behaved client would
//! repair them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing here takes that long; it keeps a hanging proxy from hanging the suite.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request, as bytes. Characters above U+007F are sent as one byte each (Latin-1).
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first `Host`.
    pub fn host(&self) -> &str {
        self.headers.iter().find(|(name, _)| name == "Host").map_or("", |(_, value)| value)
    }

    /// The body, with its length.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.headers.push(("Content-Length".to_owned(), body.len().to_string()));
        self.body = body;
        self
    }

    /// The request line and the headers, as they are sent.
    pub fn head(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.chars().map(|c| u8::try_from(u32::from(c)).expect("a request is written in Latin-1")).collect()
    }

    /// Sends it over a connection of its own, from the loopback address `from`, and reads the answer. An answer
    /// that comes before the whole body is sent is as good as any.
    pub fn send(&self, from: IpAddr, to: SocketAddr) -> io::Result<Answer> {
        let stream = connect(from, to)?;
        let mut writer = stream.try_clone()?;
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || writer.write_all(&self.head()).and_then(|()| writer.write_all(&self.body)));
            let answer = Answer::read(&mut &stream, self.method == "HEAD");
            // Nobody reads on: this lets the sender go.
            drop(stream.shutdown(Shutdown::Both));
            drop(sender.join());
            answer
        })
    }
}

/// Connects from one of the many addresses of the loopback interface.
pub fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    // The standard library cannot choose the source of a connection; and a test may be in a runtime of its own.
    let connect = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(to).await?.into_std()
        })
    };
    let stream = std::thread::spawn(connect).join().map_err(|_| io::Error::other("connecting panicked"))??;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads one answer; those that only say "go on" (1xx, but not 101) are passed over.
    pub fn read(stream: &mut impl Read, to_head: bool) -> io::Result<Self> {
        loop {
            let head = read_head(stream)?;
            let (status, headers) = parse_head(&head)?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut answer = Self { status, headers, body: Vec::new() };
            if !to_head && status != 101 && status != 204 && status != 304 {
                answer.read_body(stream)?;
            }
            return Ok(answer);
        }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn read_body(&mut self, stream: &mut impl Read) -> io::Result<()> {
        if self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            self.body = read_chunks(stream)?;
        } else if let Some(length) = self.header("content-length") {
            let length = length.parse().map_err(|_| unreadable("Content-Length"))?;
            self.body = vec![0; length];
            stream.read_exact(&mut self.body)?;
        } else {
            stream.read_to_end(&mut self.body)?;
        }
        Ok(())
    }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unreadable {what}"))
}

/// Reads up to and with the empty line, byte by byte: what follows belongs to somebody else.
pub fn read_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// Header lines as they came, in Latin-1, so that no byte is lost.
pub fn parse_headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn parse_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let text = latin1(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(|| unreadable("status line"))?, parse_headers(lines)))
}

/// A body that comes in chunks; what it says after the last one is ignored.
pub fn read_chunks(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| unreadable("chunk"))?;
        if size == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        read_line(stream)?;
    }
}

fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    Ok(latin1(&line))
}
