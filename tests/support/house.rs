//! A Keygate furnished for the case table, and the application behind: what a row is run against.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cases::{Case, Failure, Only, is_identity, is_method_override, table};
use super::http::{Answer, Request};
use super::keygate::Keygate;
use super::programs::wait_for;
use super::upstream::{ID, Seen, Upstream};

/// Where the clients of the tests call from. Not trusted as a proxy.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
/// The policy that the table speaks about.
pub const POLICY: &str = include_str!("../data/keygate.toml");
/// Everything a client makes up says so, and must not be found behind the proxy.
const FORGED: &str = "forged";

/// A credential as a client holds it.
#[derive(Clone, Debug)]
struct Held {
    /// The value of `Authorization`.
    authorization: String,
    /// The record it must be reported as.
    record: Option<String>,
}

/// How the house is furnished, where a test takes a guard away.
#[derive(Clone, Copy, PartialEq)]
pub enum Furnish {
    AsTheTableSays,
    /// The revoked token is not revoked.
    RevokeNothing,
    /// Tokens are minted without their limits.
    LimitNothing,
}

/// A Keygate with the accounts, sites and tokens of the table, and the application behind the proxies.
pub struct House {
    pub keygate: Keygate,
    pub upstream: Upstream,
    credentials: HashMap<String, Held>,
    /// Plain tokens, for `{name}` in the table.
    tokens: HashMap<String, String>,
}

impl House {
    pub fn new() -> Self {
        Self::with(POLICY, Furnish::AsTheTableSays)
    }

    pub fn with(policy: &str, furnish: Furnish) -> Self {
        Self::around(Keygate::start(policy), furnish)
    }

    /// Around a Keygate that runs and is empty.
    pub fn around(keygate: Keygate, furnish: Furnish) -> Self {
        let mut house = Self { keygate, upstream: Upstream::start(), credentials: HashMap::new(), tokens: HashMap::new() };
        house.furnish(furnish);
        house
    }

    /// Around a Keygate that has been furnished for something else than the table.
    pub fn without_table(keygate: Keygate) -> Self {
        Self { keygate, upstream: Upstream::start(), credentials: HashMap::new(), tokens: HashMap::new() }
    }

    fn furnish(&mut self, furnish: Furnish) {
        const PASSWORD: &str = "correct horse battery staple";
        let keygate = &self.keygate;
        for site in ["shop", "other", "1", "2", "3"] {
            keygate.must(&["site", "create", site]);
        }
        let human = ["account", "create", "vera", "--name", "Vera", "--email", "vera@example.com", "--password-stdin"];
        keygate.must_with(&human, PASSWORD);
        keygate.must(&["account", "create", "ada"]);
        keygate.must(&["account", "create", "gone"]);
        keygate.must(&["account", "create", "robot", "--service"]);
        keygate.must(&["account", "create", "boss", "--superuser"]);
        for (login, site, level) in [
            ("vera", "shop", "write"),
            ("vera", "1", "view"),
            ("vera", "2", "write"),
            ("ada", "shop", "admin"),
            ("gone", "shop", "view"),
            ("robot", "shop", "view"),
        ] {
            keygate.must(&["access", "set", login, site, level]);
        }

        let limited = furnish != Furnish::LimitNothing;
        for (name, login, limits) in [
            ("vera", "vera", &[][..]),
            ("ada", "ada", &[]),
            ("robot", "robot", &[]),
            ("boss", "boss", &[]),
            ("disabled", "gone", &[]),
            ("revoked", "vera", &[]),
            ("expired", "vera", &["--expires", "500ms"]),
            ("reads", "vera", &["--access", "view"]),
            ("reads shop", "vera", &["--access", "shop=view"]),
            ("reporting", "vera", &["--scope", "reporting"]),
            ("billing", "vera", &["--scope", "billing"]),
            ("near", "vera", &["--from", "127.0.0.77/32"]),
            ("far", "vera", &["--from", "10.0.0.0/8"]),
        ] {
            let mut arguments = vec!["token", "create", login, "--name", name];
            if limited {
                arguments.extend_from_slice(limits);
            }
            let token = self.keygate.must(&arguments);
            self.hold_token(name, &token);
        }
        self.hold_token("unknown", "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf");
        self.hold_token("malformed", "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xg");
        let other_secret = with_another_secret(&self.tokens["vera"]);
        self.hold_token("mismatch", &other_secret);

        let vera = self.tokens["vera"].clone();
        let record = Some(record_of(&vera));
        let basic = |login: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{login}:{password}")));
        for (name, authorization, record) in [
            ("vera's password", basic("vera", PASSWORD), None),
            ("a wrong password", basic("vera", "correct horse battery stable"), None),
            ("an unknown login", basic("nobody", PASSWORD), None),
            ("vera, token as password", basic("vera", &vera), record.clone()),
            ("ada, vera's token as password", basic("ada", &vera), None),
            ("vera, token as login", basic(&vera, ""), record),
        ] {
            self.credentials.insert(name.to_owned(), Held { authorization, record });
        }

        if furnish != Furnish::RevokeNothing {
            self.keygate.must(&["token", "revoke", &record_of(&self.tokens["revoked"])]);
        }
        self.keygate.must(&["account", "disable", "gone"]);
        if limited {
            let expired = self.tokens["expired"].clone();
            let dead = Request::new("GET", "/auth/check?method=GET&url=http%3A%2F%2Fshop.example.com%2Forders%2F1")
                .header("Host", "localhost")
                .header("Authorization", &format!("Bearer {expired}"));
            let check = self.keygate.check;
            let trusted = IpAddr::V4(Ipv4Addr::LOCALHOST);
            wait_for("a token to expire", || dead.send(trusted, check).is_ok_and(|answer| answer.status != 200).then_some(()));
        }
    }

    fn hold_token(&mut self, name: &str, token: &str) {
        let held = Held { authorization: format!("Bearer {token}"), record: Some(record_of(token)) };
        self.credentials.insert(name.to_owned(), held);
        self.tokens.insert(name.to_owned(), token.to_owned());
    }

    /// The value of `Authorization` for a credential of the table.
    pub fn authorization(&self, name: &str) -> &str {
        &self.held(name).authorization
    }

    fn held(&self, name: &str) -> &Held {
        self.credentials.get(name).unwrap_or_else(|| panic!("the table speaks of \"{name}\", which nobody holds"))
    }

    fn fill(&self, text: &str) -> String {
        self.tokens.iter().fold(text.to_owned(), |text, (name, token)| text.replace(&format!("{{{name}}}"), token))
    }

    /// The headers that the row's client sends, and the target, with tokens filled in.
    pub fn request(&self, case: &Case) -> Request {
        let mut request = Request::new(&case.method, &self.fill(&case.target)).header("Host", &case.host);
        if let Some(name) = &case.credential {
            request = request.header("Authorization", self.authorization(name));
        }
        for (name, value) in &case.headers {
            request = request.header(name, &self.fill(value));
        }
        request
    }

    /// Runs the rows that are for proxies through one, from the client's address.
    pub fn run(&self, proxy: &str, address: SocketAddr) -> Vec<Failure> {
        let rows = table();
        let rows = rows.iter().filter(|case| case.only != Some(Only::Direct) && !case.except.iter().any(|name| name == proxy));
        rows.filter_map(|case| {
            let what = self.run_case(case, address).err()?;
            Some(Failure { case: case.name.clone(), what })
        })
        .collect()
    }

    fn run_case(&self, case: &Case, address: SocketAddr) -> Result<(), String> {
        let mut request = self.request(case);
        if let Some(length) = case.body {
            request = request.body(vec![b'x'; length]);
        }
        let (answer, seen) = self.send(request, address)?;
        if case.status == 200 {
            if answer.status != 200 || seen.len() != 1 {
                return Err(format!("refused with {} {:?}, reached {} times", answer.status, answer.headers, seen.len()));
            }
            return self.check_seen(case, &seen[0]);
        }
        if !seen.is_empty() {
            return Err(format!("let in, as {:?}", seen[0]));
        }
        let right = answer.status == case.status || (case.proxy_may_refuse && (400..500).contains(&answer.status));
        if !right {
            return Err(format!("{} instead of {}", answer.status, case.status));
        }
        if answer.status == 401 && answer.header("www-authenticate").is_none() {
            return Err("401 without WWW-Authenticate".to_owned());
        }
        Ok(())
    }

    /// Sends a request through a proxy, and says what the application saw of it.
    pub fn send(&self, request: Request, address: SocketAddr) -> Result<(Answer, Vec<Seen>), String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let answer = request.header(ID, &id).send(CLIENT, address).map_err(|error| format!("no answer: {error}"));
        let seen = self.upstream.seen(&id);
        match answer {
            Ok(answer) => Ok((answer, seen)),
            Err(error) if seen.is_empty() => Err(error),
            Err(error) => Err(format!("let in, and then {error}")),
        }
    }

    fn check_seen(&self, case: &Case, seen: &Seen) -> Result<(), String> {
        let identity: Vec<_> = seen.headers.iter().filter(|(name, _)| is_identity(name)).cloned().collect();
        self.check_identity(case, &identity)?;
        if let Some(value) = seen.all("authorization").next() {
            return Err(format!("the application got the credential: {value}"));
        }
        if let Some((name, value)) = seen.headers.iter().find(|(name, _)| is_method_override(name)) {
            return Err(format!("the application is told of another method, {name}: {value}"));
        }
        let cookies: Vec<_> =
            seen.all("cookie").flat_map(|line| line.split(';')).map(str::trim).filter(|c| !c.is_empty()).collect();
        let wanted = case.cookie.as_deref().unwrap_or_default();
        if cookies.join("; ") != wanted {
            return Err(format!("cookies {cookies:?} instead of {wanted:?}"));
        }
        Ok(())
    }

    /// Whether these are the identity headers that the row demands, the whole set, each once, and nothing made up.
    pub fn check_identity(&self, case: &Case, headers: &[(String, String)]) -> Result<(), String> {
        if let Some((name, value)) = headers.iter().find(|(_, value)| value.contains(FORGED)) {
            return Err(format!("the client's own {name}: {value} got through"));
        }
        if let Some((name, _)) = headers.iter().find(|(name, _)| name.contains(|c: char| c != '-' && !c.is_ascii_alphanumeric())) {
            return Err(format!("{name} is an identity header to some"));
        }
        let value = |wanted: &str| -> Result<String, String> {
            let mut found = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            let value = found.next().map_or("", |(_, value)| value).to_owned();
            if found.next().is_some() { Err(format!("{wanted} came twice")) } else { Ok(value) }
        };
        if value("X-Auth-Request-Id")?.is_empty() {
            return Err("no X-Auth-Request-Id".to_owned());
        }
        let Some(identity) = &case.identity else {
            let account = value("X-Auth-Account")?;
            return if account.is_empty() { Ok(()) } else { Err(format!("an identity where there is none: {account}")) };
        };
        let record = case.credential.as_ref().and_then(|name| self.held(name).record.clone());
        for (name, wanted) in [
            ("X-Auth-Account", Some(&identity.account)),
            ("X-Auth-Kind", Some(&identity.kind)),
            ("X-Auth-Site", Some(&identity.site)),
            ("X-Auth-Access", Some(&identity.access)),
            ("X-Auth-Via", Some(&identity.via)),
            ("X-Auth-Name", Some(&identity.name)),
            ("X-Auth-Email", Some(&identity.email)),
            ("X-Auth-Credential", record.as_ref()),
        ] {
            let value = value(name)?;
            if let Some(wanted) = wanted
                && value != *wanted
            {
                return Err(format!("{name} is \"{value}\" instead of \"{wanted}\""));
            }
        }
        Ok(())
    }
}

/// The id of a token's record: the 12 characters after prefix and kind.
fn record_of(token: &str) -> String {
    token.rsplit('_').next().and_then(|rest| rest.get(..12)).unwrap_or_default().to_owned()
}

/// The same record with a secret that is not its own, and a checksum that is right.
fn with_another_secret(token: &str) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let kept = token.len() - 6 - 32;
    let mut other = format!("{}{}", &token[..kept], "0".repeat(32));
    let mut sum = crc32fast::hash(other.as_bytes());
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[sum as usize % 62];
        sum /= 62;
    }
    other.extend(digits.map(char::from));
    other
}
