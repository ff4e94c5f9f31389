//! The composition root: settings in, a running Keygate out. Production and tests start the same object.
//!
//! The only place that names concrete types of several layers. It binds everything before it answers anything,
//! so that a port in use is an error at the start and not a half of a service.

mod http;
mod keys;
mod listen;
pub mod memory;
mod publishing;
mod reached;
mod readings;
mod reload;
mod stores;
mod tasks;
mod webhook;

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;

use crate::{
    adapters::{
        envoy_grpc::ExtAuthz,
        wire::{Wire, WireParts},
    },
    api::ApiState,
    clock::{Clock, SystemClock},
    config::{Portal, Settings},
    counts::Counts,
    directory::{self, BootstrapError, Directory, Notices, TrailRules},
    domain::{policy::Policy, presented::CredentialReader, token::TokenPrefixes},
    gate::{Gate, Parts, guessing::Guessing, hasher::Hasher, passwords::LocalPasswords, records::Records, signs::Signs},
    metrics::Metrics,
    portal::PortalState,
    store::embedded::OpenError,
};
use http::Health;
use publishing::Publishing;
use reached::ReachedStore;
pub use reload::Reload;
pub use stores::{LiveStore, ask as ask_store};
use tasks::Tasks;

/// Why a server could not start, in one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{address} cannot be listened on: {source}; is another server using it? Set `{key}` to another address")]
    Listen { address: String, key: &'static str, source: io::Error },
    #[error("{0}; stop the other Keygate, or give this one a directory of its own with --data-dir")]
    DataDirectoryHeld(String),
    #[error("the embedded store cannot be opened: {0}")]
    Embedded(OpenError),
    #[error("the store cannot be used: {0}")]
    Redis(String),
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    #[error("{0}")]
    Bootstrap(BootstrapError),
    #[error("the webhook cannot be used: {0}; see `notify.webhook`")]
    Webhook(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Where a running Keygate answers.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub check: SocketAddr,
    pub check_unix: Option<PathBuf>,
    pub portal: SocketAddr,
    /// What people open in a browser; `None` where there are no pages.
    pub pages: Option<String>,
    pub grpc: SocketAddr,
    pub control: PathBuf,
}

/// A Keygate that is bound and ready to run.
pub struct App {
    addresses: Addresses,
    pub directory: Arc<Directory>,
    api: ApiParts,
    store: Arc<ReachedStore>,
    wire: Arc<Wire>,
    metrics: Arc<Metrics>,
    policy: Arc<ArcSwap<Policy>>,
    tasks: Tasks,
    check: http::Asked,
    portal: (Portal, TcpListener),
    pages: Option<Arc<PortalState>>,
    grpc: TcpListener,
    control: UnixListener,
}

/// What the API says and reads besides the records.
struct ApiParts {
    prefixes: TokenPrefixes,
    realm: String,
}

/// Streams that one Envoy connection may have open.
const GRPC_STREAMS: u32 = 1024;
/// So that connections spread over replicas that came later.
const GRPC_CONNECTION_AGE: Duration = Duration::from_mins(30);
/// How long checks and streams that are open at the end may take.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// How often the health of gRPC is compared with the store's, and an unreached store is tried again.
const POLL: Duration = Duration::from_secs(1);
/// How often a store is tried that has not been reached, or has stopped answering.
const REACH_EVERY: Duration = Duration::from_millis(100);

impl App {
    /// Opens the store, loads the keys, binds every listener. Must run inside a tokio runtime.
    pub async fn build(settings: Settings, policy: Policy) -> Result<Self, StartError> {
        let data_dir = settings.data_dir.clone();
        make_private_directory(&data_dir)?;
        let opened = stores::open(&settings)?;
        let keys = Arc::new(keys::load(&settings)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let counts = Arc::new(Counts::new(clock.now()));
        let metrics = Arc::new(Metrics::new());
        let store = Arc::new(ReachedStore::new(opened, metrics.clone(), stores::memory_rules(&settings)));
        let records = Arc::new(Records::new(store.clone(), &stores::memory_rules(&settings)));
        let hasher = Arc::new(Hasher::start(settings.password_cost));
        metrics.read_from(readings::of_store(records.coherence().clone()));
        metrics.read_from(readings::of_records(records.clone()));
        metrics.read_from(readings::of_hasher(hasher.clone()));
        let passwords = Arc::new(LocalPasswords::new(hasher.clone()));
        let prefixes = settings.credentials.token_prefixes.clone();
        let (signs, leaks) = Signs::new();
        let signs = Arc::new(signs);
        let guessing = Arc::new(Guessing::new(store.clone(), clock.clone(), settings.guessing.clone()));
        let webhook = settings.notify.webhook.as_ref().map(|url| webhook::webhook(url, &metrics)).transpose()?;
        let (webhook, delivery) = webhook.unzip();
        let parts = directory::Parts {
            store: store.clone(),
            clock: clock.clone(),
            keys: keys.clone(),
            prefixes: prefixes.clone(),
            hasher,
            passwords: passwords.clone(),
            signs: signs.clone(),
            guessing: guessing.clone(),
            notices: webhook.map(|webhook| Arc::new(webhook) as Arc<dyn Notices>),
            token_rules: settings.tokens.clone(),
            session_rules: settings.sessions,
            hosts: settings.portal.hosts.clone(),
            trail_rules: TrailRules { keep: settings.audit.keep, refused_entries: settings.audit.refused_entries },
            coherence: records.coherence().clone(),
            max_staleness: settings.hot_path.max_staleness,
        };
        let direct = Directory::new(directory::Parts { store: store.before_reached(), ..parts.clone() });
        reach(&store, direct).await?;
        let directory = Arc::new(Directory::new(parts));
        metrics.policy_is(policy.rules().len());
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let reader = CredentialReader {
            prefixes: prefixes.clone(),
            query_names: settings.credentials.query_names.clone(),
            hosts: settings.portal.hosts.clone(),
        };
        let session_rules = settings.sessions;
        let publishing = Publishing::new(&counts, &records, &policy, &clock, &metrics);
        let tasks = Tasks { signs: signs.clone(), leaks, guessing: guessing.clone(), session_rules, delivery, publishing };
        let gate = Gate::new(Parts {
            records,
            clock: clock.clone(),
            keys,
            passwords,
            signs,
            guessing,
            policy: policy.clone(),
            reader,
            allow_in_url: settings.credentials.allow_in_url,
            session_rules,
        });
        let wire = Arc::new(Wire::new(WireParts {
            gate: Arc::new(gate),
            metrics: metrics.clone(),
            counts,
            trusted_proxies: settings.check.trusted_proxies.clone(),
            proxy_secret: settings.check.proxy_secret.clone(),
            outage: settings.outage,
            envoy_use_remote_address: settings.envoy_use_remote_address,
            names: settings.identity_names.clone(),
            realm: settings.realm.as_str().to_owned(),
            directory: directory.clone(),
            portal: settings.portal.url.clone(),
            hosts: settings.portal.hosts.clone(),
        }));
        let check = listen::tcp(settings.check.listen, "check.listen")?;
        let check_unix = settings.check.unix.as_ref().map(|unix| listen::unix(&unix.path, unix.mode, "check.unix")).transpose()?;
        let portal = listen::tcp(settings.portal.listen, "portal.listen")?;
        let grpc = listen::tcp(settings.grpc_listen, "grpc.listen")?;
        let control_path = data_dir.join("control.sock");
        let control = listen::unix(&control_path, 0o600, "data_dir")?;
        let local =
            |listener: &TcpListener| listener.local_addr().map_err(|source| StartError::Io { path: data_dir.clone(), source });
        let pages = pages(&settings, &directory, &clock, &metrics, &policy);
        let addresses = Addresses {
            check: local(&check)?,
            check_unix: settings.check.unix.map(|unix| unix.path),
            portal: local(&portal)?,
            pages: settings.portal.url.as_ref().map(ToString::to_string),
            grpc: local(&grpc)?,
            control: control_path,
        };
        let portal = (settings.portal, portal);
        let workers = settings.check.workers.unwrap_or_else(for_every_two_cores);
        let check = http::Asked { workers, tcp: check, unix: check_unix };
        let api = ApiParts { prefixes, realm: settings.realm.as_str().to_owned() };
        Ok(Self { addresses, directory, api, store, wire, metrics, policy, tasks, check, portal, pages, grpc, control })
    }

    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `shutdown` completes; then lets running checks finish. With `reload`, a changed configuration
    /// file changes the policy without a restart.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>, reload: Option<Reload>) -> io::Result<()> {
        let health = Health { store: self.store.clone(), metrics: self.metrics.clone() };
        let workers = self.check.workers;
        let check = http::check(&self.wire, &health, self.check)?;
        let ApiParts { prefixes, realm } = self.api;
        let state = ApiState { directory: self.directory.clone(), policy: self.policy.clone(), prefixes, realm, portal: None };
        let (settings, listener) = self.portal;
        let of_portal = ApiState { portal: settings.url.clone(), ..state.clone() };
        let watchers = self.pages.as_ref().map(|pages| pages.watchers.clone());
        let portal = http::portal(of_portal, self.pages, self.wire.gate.clone(), &health, &settings, listener)?;
        let control = http::control(state, self.wire.gate.clone(), &health, self.control)?;
        let (stop_grpc, stopped) = watch::channel(false);
        let grpc = serve_grpc(self.grpc, workers, self.wire.clone(), self.store.clone(), stopped)?;
        let _watching = reload.map(|reload| reload.watch(self.policy.clone(), self.metrics.clone()));
        let tasks = self.tasks.start(&self.directory, self.store, &self.metrics);
        let handles = [check.handle(), portal.handle(), control.handle()];
        let running = [tokio::spawn(check), tokio::spawn(portal), tokio::spawn(control)];
        shutdown.await;
        tracing::info!("stopping");
        let _nobody_listens = stop_grpc.send(true);
        if let Some(watchers) = watchers {
            watchers.end();
        }
        // All at once: each has its own bound, and together they must stay below what orchestrators wait.
        let [check, portal, control] = handles;
        let grpc = tokio::task::spawn_blocking(move || grpc.join());
        let _stopped = tokio::join!(check.stop(true), portal.stop(true), control.stop(true), grpc);
        tasks.stop().await;
        for server in running {
            server.await.map_err(io::Error::other)??;
        }
        for socket in std::iter::once(self.addresses.control).chain(self.addresses.check_unix) {
            if let Err(error) = fs::remove_file(&socket) {
                tracing::debug!(%error, socket = %socket.display(), "the socket could not be removed");
            }
        }
        Ok(())
    }
}

/// Where it is known how browsers reach them.
fn pages(
    settings: &Settings,
    directory: &Arc<Directory>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    policy: &Arc<ArcSwap<Policy>>,
) -> Option<Arc<PortalState>> {
    let pages = PortalState {
        directory: directory.clone(),
        clock: clock.clone(),
        url: settings.portal.url.clone()?,
        hosts: settings.portal.hosts.clone(),
        rules: settings.sessions,
        metrics: metrics.clone(),
        policy: policy.clone(),
        watchers: Arc::default(),
    };
    Some(Arc::new(pages))
}

/// Finds out whether the store may be used. One that is away may come back.
async fn reach(store: &Arc<ReachedStore>, direct: Directory) -> Result<(), StartError> {
    match store.reach(&direct).await {
        Ok(()) => {}
        Err(BootstrapError::Store(error)) if error.transient => {
            tracing::warn!(%error, "the store is not there yet; every check is refused until it is");
        }
        Err(error) => return Err(StartError::Bootstrap(error)),
    }
    store.watch(direct, REACH_EVERY);
    Ok(())
}

/// Makes the data directory for its owner only. One that is there and ours is tightened; one that is not ours is left as
/// it is, with a warning.
fn make_private_directory(path: &Path) -> Result<(), StartError> {
    let error = |source| StartError::Io { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error)?;
    let for_others = fs::metadata(path).map_err(error)?.permissions().mode() & 0o077;
    if for_others == 0 {
        return Ok(());
    }
    let is_empty = fs::read_dir(path).map_err(error)?.next().is_none();
    let is_ours = ["keygate.db", "keygate.key", "keygate.lock", "control.sock"].iter().any(|name| path.join(name).exists());
    if is_empty || is_ours {
        return fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(error);
    }
    tracing::warn!(directory = %path.display(), "others may look into the data directory; make it its owner's only: chmod 700");
    Ok(())
}

/// One worker for every two cores. Whoever asks has more to do with a request than a check is, and mostly has it to do on the same
/// machine: more workers would answer no sooner, but take the cores from those that ask, in the middle of each question, and
/// hand them back for every single answer.
fn for_every_two_cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// gRPC runs in a runtime of its own: its versions of `http` and `h2` are not actix-web's, and neither side can starve the other.
fn serve_grpc(
    listener: TcpListener,
    workers: usize,
    wire: Arc<Wire>,
    store: Arc<ReachedStore>,
    stopped: watch::Receiver<bool>,
) -> io::Result<thread::JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).thread_name("grpc").enable_all().build()?;
    let serve = async move {
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
        let (reporter, health) = tonic_health::server::health_reporter();
        let follow = async move {
            let mut every = tokio::time::interval(POLL);
            loop {
                every.tick().await;
                if store.health().await.is_ok() {
                    reporter.set_serving::<AuthorizationServer<ExtAuthz>>().await;
                    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
                } else {
                    reporter.set_not_serving::<AuthorizationServer<ExtAuthz>>().await;
                    reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
                }
            }
        };
        let following = tokio::spawn(follow);
        let at_last = stopped.clone();
        let bound = async move {
            wait_until_stopped(at_last).await;
            tokio::time::sleep(STOP_WITHIN).await;
        };
        let serving = tonic::transport::Server::builder()
            .max_concurrent_streams(GRPC_STREAMS)
            .max_connection_age(GRPC_CONNECTION_AGE)
            .add_service(ExtAuthz::server(wire))
            .add_service(health)
            .serve_with_incoming_shutdown(incoming, wait_until_stopped(stopped));
        // It would wait for every connection and every stream, and a health watch never ends by itself.
        let served = tokio::select! {
            served = serving => served.map_err(io::Error::other),
            () = bound => Ok(()),
        };
        following.abort();
        served
    };
    thread::Builder::new().name("grpc".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(serve) {
            tracing::error!(%error, "the gRPC listener has stopped");
        }
        runtime.shutdown_timeout(POLL);
    })
}

/// Until the sender says so, or is gone.
async fn wait_until_stopped(mut stopped: watch::Receiver<bool>) {
    let _sender_gone = stopped.wait_for(|stopped| *stopped).await;
}
