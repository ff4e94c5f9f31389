//! A browser by hand: it keeps cookies for each host, says of its requests what browsers say, and follows nothing by itself.
//! And the portal's side of a sign-in, done in the test through the directory over the same store.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use keygate::{
    clock::{Clock, SystemClock},
    directory::{self, Directory, SignIn, TrailRules},
    domain::{
        guessing::GuessingRules,
        key::{Digest, ServerKeys},
        origin::{Origin, ProtectedHosts},
        password::{Cost, Password},
        session::{Code, SessionRules, SessionSecret},
        token::{TokenPrefix, TokenPrefixes},
        token_rules::TokenRules,
    },
    gate::{guessing::Guessing, hasher::Hasher, passwords::LocalPasswords, signs::Signs},
    store::{
        Store,
        redis::{RedisOptions, RedisStore},
    },
};

use super::{
    clock::Behind,
    house::House,
    http::{Answer, Request},
    keygate::{KEY, Keygate},
    redis::{Program, Server},
    upstream::Seen,
};

pub const PASSWORD: &str = "correct horse battery staple";
/// What is looked for in every cookie that a browser gets.
const ATTRIBUTES: &str = "Path=/; HttpOnly; SameSite=Lax; Secure";
const HOSTS: [&str; 2] = ["https://shop.example.com", "https://blog.example.org"];

/// Two protected hosts, and rules about them.
pub const POLICY: &str = r#"
data_dir = "./keygate-data"

[check]
listen = "127.0.0.1:9180"
trusted_proxies = ["127.0.0.1/32"]

[grpc]
listen = "127.0.0.1:9182"

[portal]
listen = "127.0.0.1:9181"
url = "https://auth.example.com"
hosts = ["https://shop.example.com", "https://blog.example.org"]

[envoy]
use_remote_address = true

[headers.names]
session_token = "X-Session-Token"

[[rules]]
name = "public"
match = { path = "/public/{*rest}" }
public = true

[[rules]]
name = "pages"
match = { path = "/pages/{*rest}" }
site = "shop"
access = { read = "view", write = "write" }
otherwise = "login"

[[rules]]
name = "administration"
match = { path = "/admin/{*rest}" }
site = "shop"
access = "admin"
otherwise = "login"

[[rules]]
name = "hooks"
match = { path = "/hooks/{*rest}" }
site = "shop"
access = "view"
cross_site = "allow"
"#;

/// A Keygate with sessions, an application behind, and what the portal would do.
pub struct Portal {
    pub house: House,
    pub server: Server,
    directory: Directory,
    hosts: ProtectedHosts,
    runtime: tokio::runtime::Runtime,
}

impl Portal {
    pub fn new() -> Self {
        Self::with(POLICY)
    }

    /// With a configuration that has these hosts.
    pub fn with(policy: &str) -> Self {
        let server = Server::start_with(Program::Redis, &["--enable-debug-command", "local"]);
        let mut keygate = Keygate::prepare_on_redis(policy, &server.url());
        keygate.restart();
        keygate.must(&["site", "create", "shop"]);
        for (login, level) in [("vera", "write"), ("boss", "admin")] {
            keygate.must_with(&["account", "create", login, "--password-stdin"], PASSWORD);
            keygate.must(&["access", "set", login, "shop", level]);
        }
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
        let hosts = HOSTS.map(|text| Origin::parse(text).expect("an origin"));
        let hosts = ProtectedHosts::new(hosts.to_vec()).expect("different hosts");
        let directory =
            runtime.block_on(async { directory_over(server.url(), hosts.clone(), Arc::new(SystemClock), Cost::DEFAULT) });
        Self { house: House::without_table(keygate), server, directory, hosts, runtime }
    }

    pub fn keygate(&self) -> &Keygate {
        &self.house.keygate
    }

    /// The cookie of a portal session.
    pub fn sign_in(&self, login: &str) -> SessionSecret {
        let password = Password::presented(PASSWORD.as_bytes()).expect("a password");
        let ask = SignIn { login: login.to_owned(), password, remember: false, browser: None };
        self.runtime.block_on(self.directory.sign_in(None, None, ask)).expect("login and password are right").secret
    }

    /// Where the portal sends a browser that has come to `/sign-in` with this query.
    pub fn hand_over(&self, session: &SessionSecret, sign_in: &str) -> String {
        self.hand_over_by(&self.directory, session, sign_in)
    }

    /// The same, so long ago that the code's time has just ended.
    pub fn hand_over_before(&self, session: &SessionSecret, sign_in: &str) -> String {
        let clock = Arc::new(Behind(Code::LIFE));
        let before = self.runtime.block_on(async { directory_over(self.server.url(), self.hosts.clone(), clock, Cost::DEFAULT) });
        self.hand_over_by(&before, session, sign_in)
    }

    fn hand_over_by(&self, directory: &Directory, session: &SessionSecret, sign_in: &str) -> String {
        let (_, query) = sign_in.split_once("https://auth.example.com/sign-in?").expect("it leads to the portal");
        let query: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let to = self.hosts.return_to(&query["rd"]).expect("a place on a protected host");
        let nonce = Digest::parse_base64url(query["nonce"].as_bytes()).expect("a digest");
        let code = self.runtime.block_on(directory.hand_over(session, &to, nonce)).expect("the session lives");
        format!("/.keygate/callback?code={}", code.to_text())
    }

    pub fn sign_out(&self, session: &SessionSecret) {
        self.runtime.block_on(self.directory.sign_out(session, None, None)).expect("the store answers");
    }
}

/// What changes records, in the test itself. As the configuration has it by default, but for what passwords cost.
pub fn directory_over(url: String, hosts: ProtectedHosts, clock: Arc<dyn Clock>, cost: Cost) -> Directory {
    let options = RedisOptions::at(url, Duration::from_secs(1));
    let store: Arc<dyn Store> = Arc::new(RedisStore::new(&options).expect("a URL of Redis"));
    let hasher = Arc::new(Hasher::start(cost));
    Directory::new(directory::Parts {
        keys: Arc::new(ServerKeys::parse(KEY).expect("a key file")),
        prefixes: TokenPrefixes::new(vec![TokenPrefix::parse("kg").expect("a prefix")]).expect("one prefix"),
        passwords: Arc::new(LocalPasswords::new(hasher.clone())),
        hasher,
        signs: Arc::new(Signs::new().0),
        guessing: Arc::new(Guessing::new(store.clone(), clock.clone(), GuessingRules::default())),
        store,
        clock,
        notices: None,
        token_rules: TokenRules::default(),
        session_rules: SessionRules::default(),
        hosts,
        trail_rules: TrailRules { keep: Duration::from_hours(24), refused_entries: 1000 },
        coherence: Arc::new(keygate::store::Coherence::always()),
        max_staleness: Duration::from_secs(1),
    })
}

/// A browser before a proxy, or a proxy's own way to Keygate.
#[derive(Clone, Default)]
pub struct Browser {
    /// By host and name.
    pub cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    /// Somebody on his way to a page, by an address that he typed.
    pub fn navigation(&self, host: &str, target: &str) -> Request {
        self.request("GET", host, target)
            .header("Sec-Fetch-Site", "none")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
            .header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
    }

    /// What a script of a page of the host sends.
    pub fn fetch(&self, method: &str, host: &str, target: &str) -> Request {
        self.request(method, host, target)
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Mode", "cors")
            .header("Sec-Fetch-Dest", "empty")
    }

    /// With the host's cookies and nothing else.
    pub fn request(&self, method: &str, host: &str, target: &str) -> Request {
        let own = self.cookies.iter().filter(|((of, _), _)| of == host).map(|((_, name), value)| format!("{name}={value}"));
        let cookies = own.collect::<Vec<_>>().join("; ");
        let request = Request::new(method, target).header("Host", host);
        if cookies.is_empty() { request } else { request.header("Cookie", &cookies) }
    }

    /// Keeps the cookies of an answer, as a browser would.
    pub fn keep(&mut self, host: &str, answer: &[(String, String)]) {
        for (_, cookie) in answer.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let (pair, attributes) = cookie.split_once("; ").expect("a cookie of ours has attributes");
            assert!(attributes.starts_with(ATTRIBUTES), "{cookie}");
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            let key = (host.to_owned(), name.to_owned());
            if attributes.ends_with("Max-Age=0") {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
    }

    pub fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        self.cookies.get(&(host.to_owned(), name.to_owned())).map(String::as_str)
    }
}

/// Somebody at a browser before a proxy in front of a house.
pub struct Visitor<'p> {
    pub portal: &'p Portal,
    pub proxy: SocketAddr,
    pub browser: Browser,
}

impl<'p> Visitor<'p> {
    pub fn new(portal: &'p Portal, proxy: SocketAddr) -> Self {
        Self { portal, proxy, browser: Browser::default() }
    }

    /// Sends a request, keeps the cookies of the answer, and says what the application saw of it.
    pub fn send(&mut self, request: Request) -> (Answer, Vec<Seen>) {
        let host = request.host().to_owned();
        let (answer, seen) = self.portal.house.send(request, self.proxy).expect("the proxy answers");
        self.browser.keep(&host, &answer.headers);
        (answer, seen)
    }

    pub fn visit(&mut self, host: &str, target: &str) -> (Answer, Vec<Seen>) {
        self.send(self.browser.navigation(host, target))
    }

    /// The whole way: to a page, to the portal, back, and to the page again.
    pub fn sign_in(&mut self, session: &SessionSecret, host: &str, target: &str) {
        let (sent_away, seen) = self.visit(host, target);
        assert!(seen.is_empty());
        let location =
            sent_away.header("Location").unwrap_or_else(|| panic!("nobody is sent to sign in: {sent_away:?}")).to_owned();
        assert_eq!(sent_away.status, 302, "{sent_away:?}");
        let callback = self.portal.hand_over(session, &location);
        let (back, seen) = self.visit(host, &callback);
        assert!(seen.is_empty());
        assert_eq!((back.status, back.header("Location")), (303, Some(&*format!("https://{host}{target}"))), "{back:?}");
        assert!(self.browser.cookie(host, "__Host-keygate-check").is_some(), "{back:?}");
        assert_eq!(self.browser.cookie(host, "__Host-keygate-nonce"), None, "{back:?}");
    }
}
