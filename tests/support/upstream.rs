//! The application behind the proxy: it writes down every request that reaches it, exactly as it came.
//!
//! It answers with the same as JSON, or sends elsewhere whoever asks for that, and echoes a `WebSocket`. That a request was
//! *not* let in is asked here.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::http::{latin1, parse_headers, read_chunks, read_head};

/// Tells requests apart; no proxy touches it.
pub const ID: &str = "X-Case-Id";
/// Whoever asks for this, followed by a URL, is sent there.
pub const AWAY: &str = "/away?to=";
/// The key and its answer in RFC 6455, section 1.3: enough for an upstream that only echoes.
pub const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request that was let in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub length: usize,
    pub sha256: String,
}

impl Seen {
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

type Log = Arc<Mutex<HashMap<String, Vec<Seen>>>>;

/// Listens until the test binary ends; it holds nothing that would have to be given back.
pub struct Upstream {
    pub address: SocketAddr,
    log: Log,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let log = Log::default();
        let written = Arc::clone(&log);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let written = Arc::clone(&written);
                // A proxy that hangs up ends the connection; that is no failure.
                thread::spawn(move || drop(serve(&stream, &written)));
            }
        });
        Self { address, log }
    }

    /// What was let in of the request with that id.
    pub fn seen(&self, id: &str) -> Vec<Seen> {
        self.log.lock().expect("the log is whole").get(id).cloned().unwrap_or_default()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string can be written to");
        text
    })
}

fn serve(stream: &TcpStream, log: &Log) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let head = latin1(&read_head(&mut reader)?);
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers = parse_headers(lines);
        let header = |name: &str| headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());

        if header("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = if header("transfer-encoding").is_some() {
            read_chunks(&mut reader)?
        } else {
            let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
            reader.read_exact(&mut body)?;
            body
        };

        let id = header(ID).unwrap_or_default().to_owned();
        let upgrade = header("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
        let seen = Seen { method, target, headers, length: body.len(), sha256: sha256(&body) };
        let answer = json!({
            "method": seen.method, "target": seen.target, "headers": seen.headers, "length": seen.length, "sha256": seen.sha256,
        });
        let to_head = seen.method == "HEAD";
        let away = seen.target.strip_prefix(AWAY).map(str::to_owned);
        log.lock().expect("the log is whole").entry(id).or_default().push(seen);

        if upgrade {
            write!(
                writer,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n\r\n"
            )?;
            return io::copy(&mut reader, &mut writer).map(|_| ());
        }
        if let Some(away) = away {
            write!(writer, "HTTP/1.1 302 Found\r\nLocation: {away}\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let answer = answer.to_string();
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len())?;
        if !to_head {
            writer.write_all(answer.as_bytes())?;
        }
    }
}
