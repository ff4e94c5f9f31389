//! Asks a server over and over, and says how long the answers took. One line of JSON on standard output.
//!
//! `load http ADDRESS REQUESTS SECONDS RATE`: requests are sent at fixed times, whatever became of those before, and
//! a latency counts from the time at which its request was to be sent. So a server that stalls is charged with every
//! request it kept waiting, also those that could not be sent meanwhile (no "coordinated omission").
//! `load grpc ADDRESS TOKENS SECONDS RATE` does the same for `Authorization/Check`; with the rate 0 each stream
//! asks again as soon as it was answered.
//!
//! Every answer must be an allow. `load any …` is `load http …` for which every answer will do; it says how many there were
//! of each status, and leaves out what comes too late to its turn. `load timeline …` takes every answer too, and says how many
//! of each status came in each tenth of a second.
//!
//! REQUESTS holds whole HTTP requests, each ended by a NUL; TOKENS one token a line. Both are gone through in a circle.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use envoy_types::pb::envoy::{
    config::core::v3::{Address, HeaderMap, HeaderValue, SocketAddress, address, socket_address::PortSpecifier},
    service::auth::v3::{
        AttributeContext, CheckRequest,
        attribute_context::{self, HttpRequest},
        authorization_client::AuthorizationClient,
        check_response::HttpResponse,
    },
};
use tonic::transport::{Channel, Endpoint};

/// Connections of the open loop over HTTP, each with a thread that waits.
const HTTP_CONNECTIONS: u32 = 32;
/// gRPC connections, and streams on each in the closed loop: 64 in flight.
const CHANNELS: usize = 4;
const STREAMS: usize = 16;
/// What is sent in this time at the beginning warms up, and does not count.
const WARM_UP: Duration = Duration::from_millis(300);
/// A request that comes so late to its turn is left out where any answer will do: more connections are all in use.
const LATE: Duration = Duration::from_secs(1);
/// A server that lags behind by more cannot keep up with the rate.
const PATIENCE: Duration = Duration::from_secs(10);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, address, file, seconds, rate] = &arguments[..] else {
        return Err("usage: load http|any|timeline|grpc ADDRESS FILE SECONDS RATE".into());
    };
    let lasting = Duration::from_secs_f64(seconds.parse()?);
    let plan = Plan { start: Instant::now(), lasting, rate: rate.parse()? };
    match kind.as_str() {
        "http" => over_http(address.parse()?, &fs::read(file)?, plan, Wanted::Allows),
        "any" => over_http(address.parse()?, &fs::read(file)?, plan, Wanted::Any),
        "timeline" => over_http(address.parse()?, &fs::read(file)?, plan, Wanted::Timeline),
        "grpc" => over_grpc(address, &fs::read_to_string(file)?, plan),
        other => Err(format!("`{other}` is none of http, any, timeline and grpc").into()),
    }
}

/// What is asked for over HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Allows,
    Any,
    Timeline,
}

/// When to send, and what counts.
#[derive(Clone, Copy)]
struct Plan {
    start: Instant,
    /// After warming up.
    lasting: Duration,
    /// Requests a second; 0 is as fast as they are answered.
    rate: f64,
}

impl Plan {
    fn counts(&self, intended: Instant) -> bool {
        intended >= self.start + WARM_UP
    }

    fn end(&self) -> Instant {
        self.start + WARM_UP + self.lasting
    }

    /// The time of the request with this number, `None` after the last.
    fn at(&self, number: u32) -> Option<Instant> {
        let at = self.start + Duration::from_secs_f64(f64::from(number) / self.rate);
        (at < self.end()).then_some(at)
    }
}

/// All that counts: latencies in nanoseconds, and of each tenth of a second how many answers there were by status.
#[derive(Default)]
struct Answers {
    latencies: Vec<u64>,
    tenths: BTreeMap<u64, BTreeMap<u16, u64>>,
}

impl Answers {
    fn add(&mut self, plan: &Plan, intended: Instant, status: u16) {
        if plan.counts(intended) {
            self.latencies.push(u64::try_from(intended.elapsed().as_nanos()).unwrap_or(u64::MAX));
            let tenth = u64::try_from(plan.start.elapsed().as_millis() / 100).unwrap_or(u64::MAX);
            *self.tenths.entry(tenth).or_default().entry(status).or_default() += 1;
        }
    }

    fn extend(&mut self, others: Self) {
        self.latencies.extend(others.latencies);
        for (tenth, counts) in others.tenths {
            let all = self.tenths.entry(tenth).or_default();
            for (status, count) in counts {
                *all.entry(status).or_default() += count;
            }
        }
    }

    fn report(mut self, plan: &Plan, wanted: Wanted) {
        let latencies = &mut self.latencies;
        latencies.sort_unstable();
        let permille = |part: usize| {
            let index = (latencies.len() * part / 1000).min(latencies.len().saturating_sub(1));
            latencies.get(index).copied().unwrap_or_default()
        };
        let mut line = serde_json::json!({
            "count": latencies.len(), "seconds": plan.lasting.as_secs_f64(),
            "p50_ns": permille(500), "p99_ns": permille(990), "p999_ns": permille(999), "max_ns": latencies.last(),
        });
        if wanted != Wanted::Allows {
            let mut by_status = BTreeMap::<u16, u64>::new();
            for (status, count) in self.tenths.values().flatten() {
                *by_status.entry(*status).or_default() += count;
            }
            line["by_status"] = serde_json::json!(by_status);
        }
        if wanted == Wanted::Timeline {
            line["tenths"] = serde_json::json!(self.tenths);
        }
        println!("{line}");
    }
}

/// The kernel may delay a sleeper by 50 µs, to wake several at once; that would be half of what is measured here.
fn wake_on_time() -> io::Result<()> {
    Ok(rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?)
}

#[expect(clippy::disallowed_methods, reason = "here time itself is the condition that is waited for")]
fn sleep_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

fn over_http(address: SocketAddr, requests: &[u8], plan: Plan, wanted: Wanted) -> Result<(), Failure> {
    let requests: Vec<&[u8]> = requests.split(|byte| *byte == 0).filter(|request| !request.is_empty()).collect();
    let answers = thread::scope(|scope| {
        let requests = &requests;
        let ask = |first| move || ask_http(address, requests, &plan, first, wanted);
        let threads: Vec<_> = (0..HTTP_CONNECTIONS).map(|first| scope.spawn(ask(first))).collect();
        threads.into_iter().try_fold(Answers::default(), |mut all, thread| {
            all.extend(thread.join().map_err(|_| "a thread panicked")??);
            Ok::<_, Failure>(all)
        })
    })?;
    answers.report(&plan, wanted);
    Ok(())
}

/// One connection: every request whose number is `first` modulo the number of connections.
fn ask_http(address: SocketAddr, requests: &[&[u8]], plan: &Plan, first: u32, wanted: Wanted) -> Result<Answers, Failure> {
    wake_on_time()?;
    let mut answers = Answers::default();
    let mut connection = Connection::open(address)?;
    for number in (first..).step_by(HTTP_CONNECTIONS as usize) {
        let Some(intended) = plan.at(number) else { break };
        sleep_until(intended);
        if wanted == Wanted::Any && intended.elapsed() > LATE {
            continue;
        }
        let Answer { status, stays_open } = connection.ask(requests[number as usize % requests.len()])?;
        if wanted == Wanted::Allows && status != 200 {
            return Err(format!("not a 200: {status}").into());
        }
        answers.add(plan, intended, status);
        if wanted != Wanted::Any && intended.elapsed() > PATIENCE {
            return Err("the server cannot keep up with this rate".into());
        }
        if !stays_open {
            connection = Connection::open(address)?;
        }
    }
    Ok(answers)
}

struct Answer {
    status: u16,
    /// Whether the connection can be used again.
    stays_open: bool,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; 16 * 1024] })
    }

    /// Sends a request and reads the whole answer.
    fn ask(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            filled += read;
            let so_far = &self.buffer[..filled];
            if let Some(end) = so_far.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = std::str::from_utf8(&so_far[..end])?;
                let header = |wanted: &str| {
                    let pair = head.lines().filter_map(|line| line.split_once(':'));
                    { pair }.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
                };
                let status = head.split(' ').nth(1).ok_or("an answer without a status")?.parse()?;
                let length: usize = header("content-length").ok_or("an answer without a length")?.parse()?;
                if filled >= end + 4 + length {
                    let stays_open = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                    return Ok(Answer { status, stays_open });
                }
            }
            if read == 0 {
                return Err("the connection ended in the middle of an answer, or the answer is too long".into());
            }
        }
    }
}

fn over_grpc(address: &str, tokens: &str, plan: Plan) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CHANNELS {
            let channel = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
            clients.push(AuthorizationClient::new(channel));
        }
        let questions: Arc<Vec<CheckRequest>> = Arc::new(tokens.lines().map(question).collect());
        // Nothing of the preparation counts.
        let plan = Plan { start: Instant::now(), ..plan };
        if plan.rate > 0.0 { at_a_rate(clients, questions, plan).await } else { one_after_another(clients, questions, plan).await }
    })
}

async fn at_a_rate(
    clients: Vec<AuthorizationClient<Channel>>,
    questions: Arc<Vec<CheckRequest>>,
    plan: Plan,
) -> Result<(), Failure> {
    let (outcome, outcomes) = mpsc::channel();
    let runtime = tokio::runtime::Handle::current();
    // A thread of its own keeps time: the runtime's timers count whole milliseconds.
    let metronome = move || -> io::Result<()> {
        wake_on_time()?;
        for number in 0.. {
            let Some(intended) = plan.at(number) else { break };
            sleep_until(intended);
            let number = number as usize;
            let client = clients[number % clients.len()].clone();
            let (questions, outcome) = (questions.clone(), outcome.clone());
            runtime.spawn(async move {
                let asked = ask_grpc(client, &questions[number % questions.len()]).await;
                // Nobody listens any more when another one has failed.
                let _failed_already = outcome.send(asked.map(|()| (intended, Instant::now())));
            });
        }
        Ok(())
    };
    let metronome = thread::spawn(metronome);
    let gather = move || -> Result<Answers, Failure> {
        let mut answers = Answers::default();
        for outcome in outcomes {
            let (intended, answered) = outcome?;
            if plan.counts(intended) {
                answers.latencies.push(u64::try_from((answered - intended).as_nanos())?);
            }
        }
        Ok(answers)
    };
    let gathered = tokio::task::spawn_blocking(gather).await??;
    metronome.join().map_err(|_| "the metronome panicked")??;
    gathered.report(&plan, Wanted::Allows);
    Ok(())
}

async fn one_after_another(
    clients: Vec<AuthorizationClient<Channel>>,
    questions: Arc<Vec<CheckRequest>>,
    plan: Plan,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let streams = (0..CHANNELS * STREAMS).map(|stream| {
        let (client, questions, next) = (clients[stream % CHANNELS].clone(), questions.clone(), next.clone());
        tokio::spawn(async move {
            let mut answers = Answers::default();
            while Instant::now() < plan.end() {
                let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                let sent = Instant::now();
                ask_grpc(client.clone(), &questions[number % questions.len()]).await?;
                answers.add(&plan, sent, 200);
            }
            Ok::<_, Failure>(answers)
        })
    });
    let mut all = Answers::default();
    for stream in streams.collect::<Vec<_>>() {
        all.extend(stream.await??);
    }
    // With what warmed up: the processor time was spent on all of it.
    println!("{}", serde_json::json!({ "count": next.load(Ordering::Relaxed), "seconds": (plan.lasting + WARM_UP).as_secs_f64() }));
    Ok(())
}

async fn ask_grpc(mut client: AuthorizationClient<Channel>, question: &CheckRequest) -> Result<(), Failure> {
    let answer = client.check(question.clone()).await?.into_inner();
    let code = answer.status.map(|status| status.code);
    match answer.http_response {
        Some(HttpResponse::OkResponse(ok)) if code == Some(0) && !ok.headers.is_empty() => Ok(()),
        other => Err(format!("not allowed: {code:?} {other:?}").into()),
    }
}

/// What Envoy sends with `encode_raw_headers`, as in the example configuration.
fn question(token: &str) -> CheckRequest {
    let header = |(key, value): (&str, &str)| HeaderValue {
        key: key.to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let authorization = format!("Bearer {token}");
    let headers = [
        (":authority", "shop.example.com"),
        (":path", "/orders/17?lines=all"),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "*/*"),
        ("authorization", &authorization),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "3b8d1f3c-2f55-4f0b-9d0d-7f1f3a4f0c11"),
    ];
    let http = HttpRequest {
        id: "1234567890".to_owned(),
        method: "GET".to_owned(),
        header_map: Some(HeaderMap { headers: headers.into_iter().map(header).collect() }),
        headers: HashMap::new(),
        path: "/orders/17?lines=all".to_owned(),
        host: "shop.example.com".to_owned(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        ..HttpRequest::default()
    };
    let socket = SocketAddress {
        address: "192.0.2.7".to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(40_000)),
        ..SocketAddress::default()
    };
    let peer = attribute_context::Peer {
        address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
        ..attribute_context::Peer::default()
    };
    let request = attribute_context::Request { http: Some(http), ..attribute_context::Request::default() };
    CheckRequest {
        attributes: Some(AttributeContext { source: Some(peer), request: Some(request), ..AttributeContext::default() }),
    }
}
