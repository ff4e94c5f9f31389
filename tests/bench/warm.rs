//! How often a warm check asks for memory: a whole Keygate, or the floor, in this process with an allocator that counts, and
//! a client that asks it for none. One line of JSON on standard output.
//!
//! `warm keygate CONFIG REQUESTS COUNT` or `warm floor REQUESTS COUNT`, where REQUESTS holds whole HTTP requests, each ended
//! by a NUL. They are gone through in a circle; the first ones warm up.

mod always;

use std::{
    alloc::System,
    error::Error,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    thread,
};

use actix_web::{App as ActixApp, HttpServer, web};
use keygate::{
    app::App,
    config::{self, Loaded, Sources},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before anything counts: until what happens once after a start has happened, and all records are known.
const WARM_UP: usize = 10_000;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    actix_web::rt::System::new().block_on(async {
        match arguments[..] {
            ["keygate", config, requests, count] => {
                let sources = Sources { file: Some(PathBuf::from(config)), ..Sources::default() };
                let Loaded { settings, policy, .. } = config::load(&sources).map_err(|mistakes| format!("{mistakes:?}"))?;
                let app = App::build(settings, policy).await?;
                let (stop, stopped) = oneshot::channel::<()>();
                let client = client(app.addresses().check, requests, count, stop)?;
                let until = async { stopped.await.unwrap_or_default() };
                app.run_until(until, None).await?;
                report(client)
            }
            ["floor", requests, count] => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let (stop, stopped) = oneshot::channel::<()>();
                let client = client(listener.local_addr()?, requests, count, stop)?;
                let server = HttpServer::new(|| ActixApp::new().default_service(web::to(always::allow))).listen(listener)?.run();
                let handle = server.handle();
                tokio::spawn(server);
                stopped.await.unwrap_or_default();
                handle.stop(false).await;
                report(client)
            }
            _ => Err("usage: warm keygate CONFIG REQUESTS COUNT | warm floor REQUESTS COUNT".into()),
        }
    })
}

type Client = thread::JoinHandle<Result<String, Failure>>;

fn report(client: Client) -> Result<(), Failure> {
    println!("{}", client.join().map_err(|_| "the client panicked")??);
    Ok(())
}

/// A thread that asks. `stop` is dropped at its end.
fn client(address: SocketAddr, requests: &str, count: &str, stop: oneshot::Sender<()>) -> Result<Client, Failure> {
    let (requests, count) = (fs::read(requests)?, count.parse()?);
    Ok(thread::spawn(move || {
        let _stop = stop;
        ask(address, &requests, count)
    }))
}

fn ask(address: SocketAddr, requests: &[u8], count: usize) -> Result<String, Failure> {
    let requests: Vec<&[u8]> = requests.split(|byte| *byte == 0).filter(|request| !request.is_empty()).collect();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    let mut ask = |request: &[u8]| -> Result<(), Failure> {
        stream.write_all(request)?;
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut buffer[filled..])?;
            if read == 0 {
                return Err("the connection ended".into());
            }
            filled += read;
        }
        if buffer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(String::from_utf8_lossy(&buffer[..filled]).into()) }
    };
    for request in requests.iter().cycle().take(WARM_UP.max(requests.len() * 2)) {
        ask(request)?;
    }
    let region = Region::new(ALLOCATOR);
    for request in requests.iter().cycle().take(count) {
        ask(request)?;
    }
    let change = region.change();
    let line = serde_json::json!({
        "count": count, "allocations": change.allocations, "reallocations": change.reallocations,
        "bytes": change.bytes_allocated,
    });
    Ok(line.to_string())
}
