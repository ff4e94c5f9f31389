//! The floor of the benchmarks: servers that answer as Keygate answers an allow, and do nothing for it.
//!
//! Whatever it costs to be asked over HTTP or gRPC at all is the same here and there: the same libraries, workers,
//! sockets and as many headers of the same names and about the same lengths. Only the judging is missing.
//!
//! `floor check HTTP-ADDRESS GRPC-ADDRESS [WORKERS]` stands in for Keygate (without a number with as many workers as there are
//! cores, which is what the libraries do if they are told nothing), `floor upstream ADDRESS` for the application
//! behind a proxy.

mod always;

use std::{io, net::TcpListener, num::NonZero, thread, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, web};
use always::{IDENTITY, allow};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue as ProtoValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        service::auth::v3::{
            CheckRequest, CheckResponse, OkHttpResponse,
            authorization_server::{Authorization, AuthorizationServer},
            check_response,
        },
    },
    google::rpc,
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// As on Keygate's listeners.
const KEEP_ALIVE: Duration = Duration::from_mins(2);
const GRPC_STREAMS: u32 = 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check", http, grpc, ref workers @ ..] => {
            let workers = workers.first().map_or_else(cores, |workers| workers.parse().map_err(io::Error::other))?;
            serve_grpc(TcpListener::bind(grpc)?, workers)?;
            let listener = TcpListener::bind(http)?;
            let server = HttpServer::new(|| App::new().default_service(web::to(allow)))
                .workers(workers)
                .keep_alive(KEEP_ALIVE)
                .listen(listener)?;
            actix_web::rt::System::new().block_on(server.run())
        }
        ["upstream", http] => {
            let listener = TcpListener::bind(http)?;
            let server =
                HttpServer::new(|| App::new().default_service(web::to(page))).workers(1).keep_alive(KEEP_ALIVE).listen(listener)?;
            actix_web::rt::System::new().block_on(server.run())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: floor check HTTP GRPC [WORKERS] | floor upstream HTTP")),
    }
}

fn cores() -> io::Result<usize> {
    thread::available_parallelism().map(NonZero::get)
}

async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("the application\n")
}

/// In a runtime of its own with as many workers, as in Keygate.
fn serve_grpc(listener: TcpListener, workers: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).thread_name("grpc").enable_all().build()?;
    let serve = async move {
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder().max_concurrent_streams(GRPC_STREAMS);
        let server = { server }.add_service(AuthorizationServer::new(Always::new()));
        server.serve_with_incoming(incoming).await.map_err(io::Error::other)
    };
    let run = move || {
        if let Err(error) = runtime.block_on(serve) {
            eprintln!("floor: gRPC has stopped: {error}");
        }
    };
    thread::Builder::new().name("grpc".to_owned()).spawn(run).map(|_| ())
}

/// Allows everything with one answer made beforehand.
struct Always(CheckResponse);

impl Always {
    fn new() -> Self {
        let set = |(name, value): (&str, &str)| HeaderValueOption {
            header: Some(ProtoValue { key: name.to_owned(), value: value.to_owned(), raw_value: Vec::new() }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
            ..HeaderValueOption::default()
        };
        let (said, empty): (Vec<_>, Vec<_>) = IDENTITY.into_iter().partition(|(_, value)| !value.is_empty());
        let removed = empty.into_iter().map(|(name, _)| name).chain(["authorization"]).map(str::to_owned);
        let ok = OkHttpResponse {
            headers: said.into_iter().map(set).collect(),
            headers_to_remove: removed.collect(),
            ..OkHttpResponse::default()
        };
        Self(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(check_response::HttpResponse::OkResponse(ok)),
            ..CheckResponse::default()
        })
    }
}

#[tonic::async_trait]
impl Authorization for Always {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}
