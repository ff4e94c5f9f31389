//! The HTTP servers, one for each listener, and what is served at which. How a request is answered is the business of the
//! adapters and of the API.

use std::{
    convert::Infallible,
    fmt::Debug,
    io,
    net::TcpListener,
    os::unix::net::UnixListener,
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use actix_http::{HttpServiceBuilder, KeepAlive, Request, Response, body::BoxBody};
use actix_server::{GracefulShutdownSignal, Server};
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, fn_service};
use actix_web::{App, HttpResponse, HttpServer, http::Method, middleware::from_fn, rt::net::UnixStream, web};
use futures_util::future::{Either, ready};
use rustix::net::sockopt;
use tracing_actix_web::TracingLogger;

use super::{STOP_WITHIN, reached::ReachedStore};
use crate::{
    adapters::{
        self,
        headers::{Incoming, OverUnix},
        wire::Wire,
    },
    api::{self, ApiState, ClientAddresses, RateLimit, RequestSpan},
    config::Portal,
    gate::Gate,
    metrics::Metrics,
    portal::{self, PortalState},
};

/// Longer than proxies keep theirs: the side that asks should be the side that closes.
const KEEP_ALIVE: Duration = Duration::from_mins(2);
/// For so long an answer is still sent to a client that closes.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// In which a client that has connected to the portal must have sent the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How often the clients of the portal that have gone are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// What the endpoints beside the checks and the API need.
#[derive(Clone)]
pub(super) struct Health {
    pub store: Arc<ReachedStore>,
    pub metrics: Arc<Metrics>,
}

/// Where checks are asked for over HTTP.
pub(super) struct Asked {
    pub workers: usize,
    pub tcp: TcpListener,
    pub unix: Option<UnixListener>,
}

/// `/auth/*`, and what operators and orchestrators ask. Served without what applications have around their handlers (routes,
/// extractors, middleware): all of it would be paid for with every check.
pub(super) fn check(wire: &Arc<Wire>, health: &Health, asked: Asked) -> io::Result<Server> {
    let Asked { workers, tcp, unix } = asked;
    let (wire, health) = (wire.clone(), health.clone());
    // For each worker its own, or all of them would count the references to one, on every check.
    let own = move || Rc::new((wire.clone(), health.clone()));
    notice_the_dead(&tcp)?;
    let mut server = Server::build().workers(workers).disable_signals().shutdown_timeout(STOP_WITHIN.as_secs());
    let stopping = server.graceful_shutdown_signal();
    let (tcp_own, tcp_stopping) = (own.clone(), stopping.clone());
    server = server.listen("check", tcp, move || {
        let parts = tcp_own();
        spoken(&tcp_stopping).h1(fn_service(move |request| answer_check(request, &parts))).tcp()
    })?;
    if let Some(unix) = unix {
        server = server.listen_uds("check", unix, move || {
            let parts = own();
            let marked = spoken(&stopping).on_connect_ext(|_: &UnixStream, data| {
                data.insert(OverUnix);
            });
            let service = marked.h1(fn_service(move |request| answer_check(request, &parts)));
            fn_service(|stream: UnixStream| ready(Ok((stream, None)))).and_then(service)
        })?;
    }
    Ok(server.run())
}

/// Connections that are accepted from here on are closed some two minutes after their peers have gone without a word. Those of
/// proxies that live stay open however rarely they ask: nobody's question meets a connection that is just being closed, and
/// no timer is set and taken back with each of them.
fn notice_the_dead(listener: &TcpListener) -> io::Result<()> {
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, Duration::from_mins(1))?;
    sockopt::set_tcp_keepintvl(listener, Duration::from_secs(20))?;
    sockopt::set_tcp_keepcnt(listener, 3)?;
    Ok(())
}

/// HTTP/1 as the checks need it.
fn spoken<T, S>(stopping: &GracefulShutdownSignal) -> HttpServiceBuilder<T, S>
where
    S: ServiceFactory<Request, Config = ()>,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: Debug,
    <S::Service as Service<Request>>::Future: 'static,
{
    let stopping = stopping.clone();
    HttpServiceBuilder::default().keep_alive(KeepAlive::Os).client_disconnect_timeout(GONE_WITHIN).graceful_shutdown_signal(
        move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        },
    )
}

/// `/api/v1`, for whoever can reach it and shows a credential; and the pages, where it is known how browsers reach them.
pub(super) fn portal(
    state: ApiState,
    pages: Option<Arc<PortalState>>,
    gate: Arc<Gate>,
    health: &Health,
    settings: &Portal,
    tcp: TcpListener,
) -> io::Result<Server> {
    let state = web::Data::new(state);
    let gate = web::Data::from(gate);
    let health = web::Data::new(health.clone());
    let clients = ClientAddresses(settings.trusted_proxies.clone());
    let limit = Arc::new(RateLimit::new(settings.requests_per_second));
    tokio::spawn(forget_idle(Arc::downgrade(&limit)));
    let limit = web::Data::from(limit);
    let server = HttpServer::new(move || {
        // Whoever watches the service is served in any case, so that a flood does not look like a failure.
        let limited = web::scope("")
            .wrap(from_fn(api::within_limit))
            .wrap(from_fn(portal::guarded))
            .configure(api::configure)
            .configure(|config| pages.iter().for_each(|pages| portal::configure(config, pages)));
        App::new()
            .app_data(state.clone())
            .app_data(gate.clone())
            .app_data(health.clone())
            .app_data(clients.clone())
            .app_data(limit.clone())
            .wrap(TracingLogger::<RequestSpan>::new())
            .configure(health_endpoints)
            .service(limited)
    })
    // The checks are what the machine is for.
    .workers(2)
    .disable_signals()
    .shutdown_timeout(STOP_WITHIN.as_secs())
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_WITHIN)
    .listen(tcp)?;
    Ok(server.run())
}

/// As long as somebody is limited.
async fn forget_idle(limit: Weak<RateLimit>) {
    let mut every = tokio::time::interval(FORGET_EVERY);
    loop {
        every.tick().await;
        let Some(limit) = limit.upgrade() else { return };
        limit.forget_idle();
    }
}

/// The same `/api/v1`, for whoever may open the socket.
pub(super) fn control(state: ApiState, gate: Arc<Gate>, health: &Health, socket: UnixListener) -> io::Result<Server> {
    let state = web::Data::new(state);
    let gate = web::Data::from(gate);
    let health = web::Data::new(health.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(gate.clone())
            .app_data(health.clone())
            .wrap(TracingLogger::<RequestSpan>::new())
            .configure(health_endpoints)
            .configure(api::configure)
    })
    // One is left for who has to stop what the other does.
    .workers(2)
    .disable_signals()
    .shutdown_timeout(STOP_WITHIN.as_secs())
    .on_connect(api::note_peer)
    .listen_uds(socket)?;
    Ok(server.run())
}

type Answered = Result<Response<BoxBody>, Infallible>;

/// Whatever comes to the listener of the checks.
fn answer_check(request: Request, served: &Rc<(Arc<Wire>, Health)>) -> impl Future<Output = Answered> + use<> {
    let at_once = adapters::answer_at_once(&Incoming::new(&request), &served.0);
    match at_once {
        Some(answer) => Either::Left(ready(Ok(answer.into()))),
        None => Either::Right(Box::pin(answer_in_time(request, served.clone()))),
    }
}

async fn answer_in_time(request: Request, served: Rc<(Arc<Wire>, Health)>) -> Answered {
    let (wire, health) = &*served;
    let answer = match request.path() {
        "/healthz" | "/readyz" | "/metrics" if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            HttpResponse::MethodNotAllowed().finish()
        }
        "/healthz" => healthz().await,
        "/readyz" => readyz(web::Data::new(health.clone())).await,
        "/metrics" => metrics(health),
        _ => adapters::answer(&Incoming::new(&request), wire).await,
    };
    Ok(answer.into())
}

fn health_endpoints(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/healthz").route(web::get().to(healthz)).route(web::head().to(healthz)))
        .service(web::resource("/readyz").route(web::get().to(readyz)).route(web::head().to(readyz)));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

async fn readyz(health: web::Data<Health>) -> HttpResponse {
    match health.store.health().await {
        Ok(()) => HttpResponse::Ok().content_type("text/plain").body("ready\n"),
        Err(why) => HttpResponse::ServiceUnavailable().content_type("text/plain").body(format!("not ready: {why}\n")),
    }
}

fn metrics(health: &Health) -> HttpResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    HttpResponse::Ok().content_type(content_type).body(health.metrics.render())
}
