//! Revokes tokens one after the other, and says how long after each answer the last replica still let the token in. One
//! number of nanoseconds a line on standard output.
//!
//! `revocation CONTROL PAUSE ADDRESS...`: CONTROL is the control socket of one replica, ADDRESS where each of them is asked;
//! standard input has a token a line. Each token is first asked for until every replica remembers it, and then by each over
//! and over, PAUSE microseconds after each answer, until it is refused; so a time is too long by up to that and a check.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

/// So that the system is at rest when a token is revoked, with a canary or two in between.
const REST: Duration = Duration::from_millis(5);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let control = arguments.next().ok_or("no control socket")?;
    let pause = Duration::from_micros(arguments.next().ok_or("no pause")?.parse()?);
    let mut replicas = Vec::new();
    for address in arguments {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        replicas.push(Connection::new(stream));
    }
    let mut control = Connection::new(UnixStream::connect(control)?);
    for token in io::stdin().lines() {
        println!("{}", revoke(&mut control, &mut replicas, &token?, pause)?);
    }
    Ok(())
}

/// From the answer until the last replica has refused the token; 0 where that was before the answer.
fn revoke(
    control: &mut Connection<UnixStream>,
    replicas: &mut [Connection<TcpStream>],
    token: &str,
    pause: Duration,
) -> Result<u128> {
    let id = token.get(5..17).ok_or("no token")?;
    let check = format!(
        "GET /auth/nginx HTTP/1.1\r\nHost: keygate\r\nX-Original-Method: GET\r\nX-Original-URI: /orders/7\r\n\
         X-Original-Host: shop.example.com\r\nX-Real-IP: 192.0.2.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let delete = format!("DELETE /api/v1/tokens/{id} HTTP/1.1\r\nHost: control\r\n\r\n");
    for replica in &mut *replicas {
        for _ in 0..3 {
            if replica.status(&check)? != 200 {
                return Err("a token is refused that is good".into());
            }
        }
    }
    let refused = |replica: &mut Connection<TcpStream>| -> Result<Instant> {
        while replica.status(&check)? == 200 {
            wait(pause);
        }
        Ok(Instant::now())
    };
    thread::scope(|scope| {
        let asking: Vec<_> = replicas.iter_mut().map(|replica| scope.spawn(|| refused(replica))).collect();
        wait(REST);
        let status = control.status(&delete)?;
        let answered = Instant::now();
        if !(200..300).contains(&status) {
            return Err(format!("revoking was answered with {status}").into());
        }
        let mut latest = answered;
        for asking in asking {
            latest = latest.max(asking.join().map_err(|_| "a thread panicked")??);
        }
        Ok((latest - answered).as_nanos())
    })
}

fn wait(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// One that is kept.
struct Connection<S>(BufReader<S>);

impl<S: Read + Write> Connection<S> {
    fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    fn status(&mut self, request: &str) -> Result<u16> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).ok_or("no status")?.parse()?;
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        io::copy(&mut self.0.by_ref().take(length), &mut io::sink())?;
        Ok(status)
    }
}
