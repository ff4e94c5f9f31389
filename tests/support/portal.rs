//! A stand-in for the portal of another Keygate: it answers what a test says, and writes down what it was asked.

use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::Value;

use super::{
    http::{latin1, parse_headers, read_head},
    programs::free_address,
};

/// A request to it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and target.
    pub line: String,
    pub authorization: Option<String>,
    pub content_type: Option<String>,
    /// `null` without one.
    pub body: Value,
}

/// An answer of it: status, more headers, body.
pub type Answer = (u16, &'static str, String);

pub struct Portal {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    told: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Portal {
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        Self::at(free_address(), answer)
    }

    /// Where another one was before.
    pub fn at(address: SocketAddr, answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let (asked, told) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (log, stop) = (Arc::clone(&asked), Arc::clone(&told));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // A client that hangs up is no failure.
                drop(serve(&stream, &log, &answer));
            }
        });
        Self { address, asked, told, thread: Some(thread) }
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("the log is whole").clone()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.told.store(true, Ordering::Relaxed);
        // Wakes it up, so that it sees that it is to end.
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(stream: &TcpStream, log: &Mutex<Vec<Asked>>, answer: &impl Fn(&Asked) -> Answer) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let head = latin1(&read_head(&mut reader)?);
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default();
    let headers = parse_headers(lines);
    let header = |name: &str| headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
    let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default()];
    reader.read_exact(&mut body)?;
    let asked = Asked {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        authorization: header("authorization"),
        content_type: header("content-type"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let (status, more, body) = answer(&asked);
    log.lock().expect("the log is whole").push(asked);
    let length = body.len();
    write!(&mut &*stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n{body}")
}
