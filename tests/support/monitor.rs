//! Every command that a Redis executes, as `MONITOR` tells it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use super::redis::Server;

pub struct Monitor<'s> {
    server: &'s Server,
    lines: BufReader<TcpStream>,
}

/// One command, in the form `"MGET" "key" "key"`.
#[derive(Clone, Debug)]
pub struct Command {
    pub words: String,
    /// A script has sent it.
    pub of_script: bool,
}

impl Command {
    pub fn is(&self, name: &str) -> bool {
        self.words.strip_prefix('"').is_some_and(|rest| rest.to_ascii_uppercase().starts_with(&format!("{name}\"")))
    }

    /// Whether it is about records.
    pub fn is_of_records(&self) -> bool {
        self.words.contains("\"kg:r:")
    }
}

impl<'s> Monitor<'s> {
    pub fn start(server: &'s Server) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("Redis is there");
        stream.write_all(b"*1\r\n$7\r\nMONITOR\r\n").expect("Redis listens");
        let mut monitor = Self { server, lines: BufReader::new(stream) };
        assert_eq!(monitor.line(), "+OK");
        monitor
    }

    /// What has been executed since the last time.
    pub fn seen(&mut self) -> Vec<Command> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mark = format!("mark-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.server.command(&["ECHO", &mark]);
        let mut commands = Vec::new();
        loop {
            let line = self.line();
            if line.contains(&mark) {
                return commands;
            }
            // `+1700000000.123456 [0 127.0.0.1:1234] "GET" "key"`, or `[0 lua]`.
            let (head, words) = line.split_once("] ").unwrap_or_else(|| panic!("unreadable: {line}"));
            commands.push(Command { words: words.to_owned(), of_script: head.ends_with("lua") });
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("Redis goes on");
        line.trim_end().to_owned()
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        drop(self.lines.get_ref().shutdown(Shutdown::Both));
    }
}
