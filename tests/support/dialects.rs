//! Speaks to Keygate as each proxy does: how a client's request becomes a check, and what the answer says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, HeaderValueOption, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request as Attributes};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::house::CLIENT;
use super::http::{Answer, Request};
use super::keygate::Keygate;

/// Where proxies call from.
pub const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const DIALECTS: [&str; 8] = ["nginx", "traefik", "caddy", "haproxy", "envoy", "grpc", "grpc-merged", "check"];
const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// What Keygate said, whatever the dialect.
#[derive(Debug)]
pub struct Verdict {
    /// What the proxy acts upon.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The headers that the proxy is told to remove.
    pub removed: Vec<String>,
}

impl Verdict {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// Why it was refused; empty when it was not.
    pub fn reason(&self) -> &str {
        self.header("X-Auth-Reason")
    }

    pub fn of_http(answer: Answer) -> Self {
        let removed =
            answer.all("x-envoy-auth-headers-to-remove").flat_map(|list| list.split(',')).map(|name| name.trim().to_owned());
        Self { status: answer.status, removed: removed.collect(), headers: answer.headers, body: answer.body }
    }

    /// The code and the status must say the same: Envoy acts upon the one and shows the other.
    pub fn of_grpc(response: CheckResponse) -> Result<Self, String> {
        let code = response.status.map_or(-1, |status| status.code);
        match response.http_response {
            Some(HttpResponse::OkResponse(ok)) if code == OK => {
                Ok(Self { status: 200, headers: plain(ok.headers), body: Vec::new(), removed: ok.headers_to_remove })
            }
            Some(HttpResponse::DeniedResponse(denied)) if code != OK => {
                let status = denied.status.map_or(0, |status| u16::try_from(status.code).unwrap_or(0));
                let wanted = if status == 401 { UNAUTHENTICATED } else { PERMISSION_DENIED };
                if code != wanted {
                    return Err(format!("status.code is {code} beside {status}"));
                }
                Ok(Self { status, headers: plain(denied.headers), body: denied.body.into_bytes(), removed: Vec::new() })
            }
            other => Err(format!("status.code {code} with {other:?}")),
        }
    }
}

fn plain(headers: Vec<HeaderValueOption>) -> Vec<(String, String)> {
    let headers = headers.into_iter().filter_map(|option| option.header);
    headers
        .map(|header| {
            let raw = String::from_utf8_lossy(&header.raw_value).into_owned();
            (header.key, if header.value.is_empty() { raw } else { header.value })
        })
        .collect()
}

/// The headers that describe a request in a dialect: method, target and host, which must be there, and the address.
pub fn describing(dialect: &str) -> [&'static str; 4] {
    match dialect {
        "nginx" | "haproxy" => ["X-Original-Method", "X-Original-URI", "X-Original-Host", "X-Real-IP"],
        _ => ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-For"],
    }
}

/// The call over HTTP that a proxy makes for a client's request. The body stays with the proxy.
pub fn call(dialect: &str, client: &Request) -> Request {
    let host = client.host();
    let url = || format!("http://{host}{}", client.target).bytes().fold(String::new(), |url, byte| url + &format!("%{byte:02X}"));
    let mut call = match dialect {
        "envoy" => Request::new(&client.method, &format!("/auth/envoy{}", client.target)).header("Host", host),
        "check" => Request::new("GET", &format!("/auth/check?method={}&url={}", client.method, url())).header("Host", "localhost"),
        "haproxy" => Request::new("HEAD", "/auth/haproxy").header("Host", "keygate"),
        _ => Request::new("GET", &format!("/auth/{dialect}")).header("Host", "keygate"),
    };
    for (name, value) in client.headers.iter().filter(|(name, _)| name != "Host") {
        call = call.header(name, value);
    }
    match dialect {
        "check" => call,
        "envoy" => call.header("X-Forwarded-For", &CLIENT.to_string()),
        _ => {
            let values = [&client.method, &client.target, host, &CLIENT.to_string()];
            describing(dialect).into_iter().zip(values).fold(call, |call, (name, value)| call.header(name, value))
        }
    }
}

/// The message that Envoy sends for a client's request, body included, with its headers one by one or merged.
pub fn message(client: &Request, merged: bool) -> CheckRequest {
    let mut http = HttpRequest {
        method: client.method.clone(),
        path: client.target.clone(),
        host: client.host().to_owned(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        size: -1,
        raw_body: client.body.clone(),
        ..HttpRequest::default()
    };
    let pseudo = [(":method", &client.method), (":path", &client.target), (":authority", &http.host)];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.clone())).into_iter();
    let headers =
        client.headers.iter().filter(|(name, _)| name != "Host").map(|(name, value)| (name.to_lowercase(), value.clone()));
    let headers = pseudo.chain(headers);
    if merged {
        for (name, value) in headers {
            let joined = http.headers.entry(name).or_default();
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(&value);
        }
    } else {
        let headers =
            headers.map(|(key, value)| HeaderValue { key, raw_value: value.into_bytes(), ..HeaderValue::default() }).collect();
        http.header_map = Some(HeaderMap { headers });
    }
    let address = SocketAddress {
        address: CLIENT.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(40_000)),
        ..SocketAddress::default()
    };
    let source = Peer { address: Some(Address { address: Some(AddressKind::SocketAddress(address)) }), ..Peer::default() };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            request: Some(Attributes { http: Some(http), ..Attributes::default() }),
            ..AttributeContext::default()
        }),
    }
}

/// A runtime for one conversation; also where the test itself runs in one.
pub fn block_on<T: Send>(conversation: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        scope.spawn(move || runtime.block_on(conversation)).join().expect("the conversation does not panic")
    })
}

/// A connection to a gRPC listener, once somebody is there.
pub async fn channel(to: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    Channel::from_shared(format!("http://{to}")).expect("an address makes a URL").connect().await
}

/// Asks over gRPC; `secret` is what the proxy shows, if anything.
pub fn check(to: SocketAddr, message: CheckRequest, secret: Option<&str>) -> Result<CheckResponse, Status> {
    block_on(async {
        let channel = channel(to).await.map_err(|error| Status::new(Code::Unknown, format!("no connection: {error}")))?;
        let mut client = AuthorizationClient::new(channel);
        let mut request = tonic::Request::new(message);
        if let Some(secret) = secret {
            request.metadata_mut().insert("x-auth-proxy-secret", secret.parse().expect("a secret is ASCII"));
        }
        client.check(request).await.map(tonic::Response::into_inner)
    })
}

/// Asks in any dialect, as a trusted proxy; `/auth/check` is for people, who are their own client.
pub fn ask(keygate: &Keygate, dialect: &str, client: &Request) -> Result<Verdict, String> {
    if let "grpc" | "grpc-merged" = dialect {
        let response = check(keygate.grpc, message(client, dialect == "grpc-merged"), None);
        return Verdict::of_grpc(response.map_err(|status| format!("no answer: {status}"))?);
    }
    let from = if dialect == "check" { CLIENT } else { PROXY };
    let answer = call(dialect, client).send(from, keygate.check).map_err(|error| format!("no answer: {error}"))?;
    Ok(Verdict::of_http(answer))
}
