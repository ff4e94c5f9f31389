//! The management API on a control socket, over an embedded store of its own.

use std::{os::unix::net::UnixListener, path::Path, sync::Arc, thread};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use arc_swap::ArcSwap;
use keygate::{
    api::{self, ApiState},
    clock::SystemClock,
    directory::Directory,
    domain::{
        key::ServerKeys,
        password::Cost,
        policy::Policy,
        token::{TokenPrefix, TokenPrefixes},
    },
    gate::hasher::Hasher,
    store::embedded::EmbeddedStore,
};
use reqwest::Method;
use serde_json::Value;

pub struct Control {
    data_dir: tempfile::TempDir,
    server: ServerHandle,
    thread: Option<thread::JoinHandle<()>>,
    client: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl Control {
    pub fn start() -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let path = data_dir.path().to_owned();
        let (started, wait) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || actix_web::rt::System::new().block_on(serve(&path, &started)));
        let server = wait.recv().unwrap();
        let client = reqwest::Client::builder().unix_socket(data_dir.path().join("control.sock")).build().unwrap();
        Self { data_dir, server, thread: Some(thread), client }
    }

    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://control/api/v1{path}"))
    }

    pub async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status, headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.answer(self.request(Method::GET, path)).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.answer(self.request(method, path).json(body)).await
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // What the future would tell is told by the thread's end as well.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(data_dir: &Path, started: &std::sync::mpsc::Sender<ServerHandle>) {
    let directory = Directory::new(
        Arc::new(EmbeddedStore::open(data_dir).unwrap()),
        Arc::new(SystemClock),
        Arc::new(ServerKeys::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()),
        TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap(),
        Arc::new(Hasher::start(Cost::new(8, 1, 1).unwrap())),
    );
    directory.bootstrap().await.unwrap();
    let state = ApiState { directory: Arc::new(directory), policy: Arc::new(ArcSwap::from_pointee(Policy::default())) };
    let app = move || {
        App::new()
            .wrap(tracing_actix_web::TracingLogger::default())
            .app_data(web::Data::new(state.clone()))
            .configure(api::configure)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .on_connect(api::note_peer)
        .listen_uds(UnixListener::bind(data_dir.join("control.sock")).unwrap())
        .unwrap()
        .run();
    started.send(server.handle()).unwrap();
    server.await.unwrap();
}
