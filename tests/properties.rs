//! Whatever comes in, the readers do not panic; and the gate never allows what a slow model refuses.
//!
//! The model is the contract said again as plainly as possible, with other means than the product: it walks all
//! rules, compares whole strings, and prefers refusing. So it may refuse more, and must never refuse less.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate::{
    clock::SystemClock,
    config::{self, Sources},
    directory::{self, Actor, Directory, NewAccount, NewSite, NewToken, TrailRules},
    domain::{
        access::Level,
        account::AccountKind,
        decide::Decision,
        guessing::GuessingRules,
        key::ServerKeys,
        origin::ProtectedHosts,
        parameters::Parameters,
        password::Cost,
        presented::CredentialReader,
        request::{CheckRequest, ClientHeaders, Described},
        session::SessionRules,
        site::{Host, SiteName},
        text::{Label, Login},
        token::{TokenPrefix, TokenPrefixes},
        token_rules::TokenRules,
    },
    gate::{
        Gate, Parts,
        guessing::Guessing,
        hasher::Hasher,
        passwords::LocalPasswords,
        records::{MemoryRules, Records},
        signs::Signs,
    },
    store::embedded::EmbeddedStore,
};
use proptest::{prelude::*, sample::select};

use crate::support::cases_to_run;

const SESSION_RULES: SessionRules = SessionRules {
    idle: Duration::from_hours(1),
    absolute: Duration::from_hours(12),
    remember: Duration::from_hours(24 * 14),
    must_have_second_factor: false,
};

const POLICY: &str = r#"
[[rules]]
name = "public"
match = { path = "/public/{*rest}" }
public = true

[[rules]]
name = "order"
match = { host = "shop.example.com", path = "/orders/{id}", methods = ["GET", "POST"] }
site = { path = "id" }
access = { read = "view", write = "write" }

[[rules]]
name = "report"
match = { path = "/index.php", query = { module = "API" } }
site = { query = "idSite" }
access = "view"
credentials = ["bearer", "basic", "query"]

[[rules]]
name = "rest"
match = { host = "*.example.com" }
site = "shop"
access = "admin"
"#;

/// A gate over a real store with one token: `view` on the site `1`, nothing on `shop`.
struct House {
    gate: Gate,
    token: String,
    runtime: tokio::runtime::Runtime,
    _data: tempfile::TempDir,
}

fn prefixes() -> TokenPrefixes {
    TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap()
}

fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("keygate.toml");
        std::fs::write(&file, POLICY).unwrap();
        let policy = config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap().policy;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = Arc::new(EmbeddedStore::open(&data.path().join("store")).unwrap());
        let mut rng = rand::rand_core::UnwrapErr(rand::rngs::SysRng);
        let keys = Arc::new(ServerKeys::parse(&ServerKeys::generate_file(&mut rng)).unwrap());
        let hasher = Arc::new(Hasher::start(Cost::new(8, 1, 1).unwrap()));
        let passwords = Arc::new(LocalPasswords::new(hasher.clone()));
        let clock = Arc::new(SystemClock);
        let signs = Arc::new(Signs::new().0);
        let guessing = Arc::new(Guessing::new(store.clone(), clock.clone(), GuessingRules::default()));
        let directory = Directory::new(directory::Parts {
            store: store.clone(),
            clock: clock.clone(),
            keys: keys.clone(),
            prefixes: prefixes(),
            hasher,
            passwords: passwords.clone(),
            signs: signs.clone(),
            guessing: guessing.clone(),
            notices: None,
            token_rules: TokenRules::default(),
            session_rules: SessionRules::default(),
            hosts: ProtectedHosts::default(),
            trail_rules: TrailRules { keep: Duration::from_hours(24), refused_entries: 1000 },
            coherence: Arc::new(keygate::store::Coherence::always()),
            max_staleness: Duration::from_secs(1),
        });
        let _inside = runtime.enter();
        let token = runtime.block_on(async {
            let actor = Actor::system("test");
            directory.bootstrap().await.unwrap();
            for site in ["1", "2", "shop"] {
                let site = SiteName::parse(site).unwrap();
                directory.create_site(&actor, NewSite { site, name: None, hosts: Vec::new() }).await.unwrap();
            }
            let vera = Login::parse("vera").unwrap();
            directory.create_account(&actor, NewAccount::new(vera.clone(), AccountKind::Human)).await.unwrap();
            directory.set_access(&actor, &vera, &SiteName::parse("1").unwrap(), Level::View).await.unwrap();
            let name = Label::parse("test", "name", [""; 3]).unwrap();
            let (token, _) = directory.create_token(&actor, NewToken::new(vera, name)).await.unwrap();
            token.expose_secret().to_owned()
        });
        let reader =
            CredentialReader { prefixes: prefixes(), query_names: vec!["token_auth".to_owned()], hosts: ProtectedHosts::default() };
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let gate = Gate::new(Parts {
            records: Arc::new(Records::new(store, &MemoryRules::default())),
            clock,
            keys,
            passwords,
            signs,
            guessing,
            policy,
            reader,
            allow_in_url: true,
            session_rules: SESSION_RULES,
        });
        House { gate, token, runtime, _data: data }
    })
}

/// One request, in the pieces it is made of.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    host: String,
    authorization: Vec<String>,
    content_type: Option<&'static str>,
    method_override: bool,
}

impl Asked {
    fn query(&self) -> String {
        self.query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query()) }
    }

    fn is_allowed(&self) -> bool {
        let house = house();
        let mut headers = ClientHeaders::default();
        for value in &self.authorization {
            headers.take("authorization", value.as_bytes());
        }
        if let Some(value) = self.content_type {
            headers.take("content-type", value.as_bytes());
        }
        if self.method_override {
            headers.take("x-http-method-override", b"POST");
        }
        let target = self.target();
        let described = Described {
            method: self.method,
            target: target.as_bytes(),
            host: &self.host,
            client: None,
            headers: &headers,
            body: None,
        };
        let check = house.gate.check(Ok(described), |verdict| matches!(verdict.decision, Decision::Allow(_)));
        house.runtime.block_on(check)
    }
}

/// The contract, said again.
mod model {
    use super::Asked;

    /// Percent-decoding as the strictest server does it; `None` where it would hesitate.
    fn decoded(text: &str) -> Option<String> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            if *first == b'%' {
                let pair = std::str::from_utf8(tail.get(..2)?).ok()?;
                if !pair.chars().all(|c| c.is_ascii_hexdigit()) {
                    return None;
                }
                bytes.push(u8::from_str_radix(pair, 16).ok()?);
                rest = &tail[2..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        String::from_utf8(bytes).ok()
    }

    fn segments(path: &str) -> Option<Vec<String>> {
        let low = path.to_ascii_lowercase();
        let hidden = ["//", "%2f", "%5c", "\\", ";", "#", "%00", "%0a", "%0d", "%7f"];
        if !path.starts_with('/') || hidden.iter().any(|bad| low.contains(bad)) || path.chars().any(|c| c.is_control() || c == ' ')
        {
            return None;
        }
        let mut all = Vec::new();
        for raw in path[1..].split('/') {
            let segment = decoded(raw)?;
            // What is still encoded after one decoding was encoded twice.
            let twice = segment.char_indices().any(|(at, c)| {
                c == '%' && segment.get(at + 1..at + 3).is_some_and(|pair| pair.chars().all(|c| c.is_ascii_hexdigit()))
            });
            if segment == "." || segment == ".." || twice {
                return None;
            }
            all.push(segment);
        }
        Some(all)
    }

    /// Everything that any server might take for the parameter `name`, decoded.
    fn values(asked: &Asked, name: &str) -> Vec<Option<String>> {
        let mut found = Vec::new();
        for pair in asked.query().split(['&', ';']) {
            let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
            let plus = |text: &str| text.replace('+', "%20");
            let lenient = decoded(&plus(raw_name)).unwrap_or_else(|| raw_name.to_owned());
            let base: String = lenient.trim_start().chars().take_while(|c| !matches!(c, '[' | '\0')).collect();
            let folded = base.replace(['.', ' '], "_");
            if folded == name {
                found.push(if lenient == name { decoded(&plus(raw_value)) } else { None });
            }
        }
        found
    }

    /// The value, or an empty text where there is none. `None` is a refusal.
    fn one_value(asked: &Asked, name: &str) -> Option<String> {
        match values(asked, name).as_slice() {
            [] => Some(String::new()),
            [Some(value)] => Some(value.clone()),
            _ => None,
        }
    }

    fn host(text: &str) -> Option<String> {
        if text == "[::1]" {
            return Some(text.to_owned());
        }
        let name = text.split(':').next()?.trim_end_matches('.').to_ascii_lowercase();
        let fine = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        (fine && text.matches(':').count() <= 1).then_some(name)
    }

    /// Whether the one token is what the request presents, and by which way.
    fn presents(asked: &Asked, token: &str) -> Option<Vec<&'static str>> {
        let mut ways = Vec::new();
        match asked.authorization.as_slice() {
            [] => {}
            [one] => {
                let (scheme, rest) = one.trim().split_once([' ', '\t'])?;
                match scheme.to_ascii_lowercase().as_str() {
                    "bearer" if rest.trim() == token => ways.push("bearer"),
                    "basic" => {
                        use base64::Engine as _;
                        let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
                        let pair = String::from_utf8(pair).ok()?;
                        let (login, secret) = pair.split_once(':')?;
                        if login == token || (secret == token && login.eq_ignore_ascii_case("vera")) {
                            ways.push("basic");
                        }
                    }
                    _ => return None,
                }
            }
            _ => return None,
        }
        match values(asked, "token_auth").as_slice() {
            [] => {}
            [Some(value)] if value == token => ways.push("query"),
            [Some(value)] if value.is_empty() => {}
            _ => return None,
        }
        (!ways.is_empty()).then_some(ways)
    }

    pub(super) fn allows(asked: &Asked, token: &str) -> bool {
        verdict(asked, token).unwrap_or(false)
    }

    fn verdict(asked: &Asked, token: &str) -> Option<bool> {
        let segments = segments(&asked.path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let host = host(&asked.host)?;
        let (module, site) = (one_value(asked, "module")?, one_value(asked, "idSite")?);
        if asked.query().contains([' ', '#']) {
            return None;
        }
        if segments.first() == Some(&"public") {
            return Some(true);
        }
        let form = asked.content_type.is_some_and(|kind| kind.contains("form") || kind.contains("json"));
        if host == "shop.example.com"
            && let ["orders", id] = segments[..]
            && !id.is_empty()
        {
            if asked.method_override {
                return None;
            }
            if matches!(asked.method, "GET" | "POST") {
                // `view` reads and does not write.
                return Some(id == "1" && asked.method == "GET" && presents(asked, token)?.contains(&"bearer"));
            }
        }
        if segments == ["index.php"] {
            if form {
                return None;
            }
            if module == "API" {
                return Some(site.split(',').all(|site| site == "1") && presents(asked, token).is_some());
            }
        }
        // The rest needs `admin` on `shop`, which the token does not have.
        Some(false)
    }
}

#[expect(clippy::too_many_lines, reason = "lists of what to try")]
fn requests() -> impl Strategy<Value = Asked> {
    let segment = select(vec![
        "orders",
        "orders",
        "1",
        "1",
        "2",
        "shop",
        "index.php",
        "index.php",
        "public",
        "%31",
        "%6frders",
        "index%2ephp",
        ".",
        "..",
        "%2e%2e",
        "",
        "%2f",
        "%5c",
        "1;x",
        "\\",
        "%",
        "%zz",
        "%2531",
        "%25%33%31",
        "1%00",
        "ä",
        "%c3%a4",
        "%ff",
        "#x",
        "1%20",
        "publ%69c",
    ]);
    let name = select(vec![
        "module",
        "module",
        "idSite",
        "idSite",
        "token_auth",
        "idSite[]",
        "id.Site",
        "+idSite",
        "%69dSite",
        "idSite%00",
        "x;idSite",
        "module[",
        "mod.ule",
        "IDSITE",
        "%",
        "_method",
        "idSite%5b%5d",
    ]);
    let value = select(vec![
        "API",
        "API",
        "1",
        "1",
        "2",
        "1,1",
        "1,2",
        "",
        "%31",
        "%zz",
        "%ff",
        "1;idSite=2",
        "TOKEN",
        "TOKEN",
        "junk",
        "1%00",
        "A%50I",
    ]);
    let host = select(vec![
        "shop.example.com",
        "shop.example.com",
        "SHOP.example.com:80",
        "shop.example.com.",
        "x@shop.example.com",
        "a,shop.example.com",
        "x.example.com",
        "example.com",
        "",
        "shop.example.com:80:80",
        "[::1]",
    ]);
    let authorization = select(vec![
        vec![],
        vec!["Bearer TOKEN"],
        vec!["Bearer TOKEN"],
        vec!["bEaReR  TOKEN "],
        vec!["Bearer TOKEN", "Bearer TOKEN"],
        vec!["Bearer TOKEN,Bearer TOKEN"],
        vec!["Bearer TOKENx"],
        vec!["Bearer kg_u_junk"],
        vec!["BASIC vera:TOKEN"],
        vec!["BASIC VERA:TOKEN"],
        vec!["BASIC ada:TOKEN"],
        vec!["BASIC TOKEN:"],
        vec!["BASIC vera:wrong"],
        vec!["Digest TOKEN"],
        vec!["Bearer"],
        vec!["TOKEN"],
    ]);
    let form =
        select(vec![None, None, None, Some("application/x-www-form-urlencoded"), Some("application/json"), Some("text/plain")]);
    let method = select(vec!["GET", "GET", "POST", "DELETE", "get", "HEAD"]);
    (
        method,
        prop::collection::vec(segment, 1..4),
        prop::collection::vec((name, value), 0..4),
        host,
        authorization,
        form,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(method, segments, query, host, authorization, content_type, method_override)| {
            let token = &house().token;
            let filled = |text: &str| match text.strip_prefix("BASIC ") {
                Some(pair) => format!("Basic {}", STANDARD.encode(pair.replace("TOKEN", token))),
                None => text.replace("TOKEN", token),
            };
            Asked {
                method,
                path: format!("/{}", segments.join("/")),
                query: query.into_iter().map(|(name, value)| (name.to_owned(), filled(value))).collect(),
                host: host.to_owned(),
                authorization: authorization.into_iter().map(filled).collect(),
                content_type,
                method_override,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases_to_run(4_000, 200_000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_allowed_that_the_model_refuses(asked in requests()) {
        if asked.is_allowed() {
            prop_assert!(model::allows(&asked, &house().token), "allowed, and the model refuses: {asked:?}");
        }
    }

    #[test]
    fn a_target_of_any_bytes_is_read_or_refused(target in prop::collection::vec(any::<u8>(), 0..60), host in ".{0,20}") {
        let headers = ClientHeaders::default();
        for target in [target.clone(), [b"/".as_slice(), &target].concat()] {
            let described = Described { method: "GET", target: &target, host: &host, client: None, headers: &headers, body: None };
            if let Ok(request) = CheckRequest::parse(described) {
                prop_assert!(request.segments.iter().all(|segment| !segment.contains(['\0', '\n']) && *segment != ".."));
            }
        }
    }

    #[test]
    fn parameters_of_any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..80), name in "[a-z.\\[ ]{1,6}") {
        let _either = Parameters::parse(&text).get(&name);
    }

    #[test]
    fn credentials_of_any_bytes_are_read_or_refused(
        authorization in prop::collection::vec(any::<u8>(), 0..80),
        scheme in select(vec!["", "Bearer ", "basic ", "Basic\t", "bearer kg_u_"]),
        cookie in prop::collection::vec(any::<u8>(), 0..80),
        ours in select(vec!["", "__Host-keygate-check=", "; keygate-check=", ",keygate-check=x"]),
    ) {
        let authorization = [scheme.as_bytes(), &authorization].concat();
        let cookie = [&cookie, ours.as_bytes()].concat();
        let mut headers = ClientHeaders::default();
        headers.take("authorization", &authorization);
        headers.take("cookie", &cookie);
        let described = Described { method: "GET", target: b"/", host: "h", client: None, headers: &headers, body: None };
        let reader = CredentialReader { prefixes: prefixes(), query_names: vec!["token_auth".to_owned()], hosts: ProtectedHosts::default() };
        let read = reader.read(&CheckRequest::parse(described).unwrap(), true);
        // No random bytes are a token: the checksum and the length stand against it.
        prop_assert!(!format!("{:?}", read.presented).starts_with("Token"), "{authorization:?}");
    }

    #[test]
    fn a_token_is_read_only_when_every_character_is_right(
        junk in prop::collection::vec(any::<u8>(), 0..70),
        at in 0_usize..55,
        byte in any::<u8>(),
    ) {
        prop_assert!(prefixes().parse(&junk).is_none());
        let token = house().token.as_bytes();
        let mut changed = token.to_vec();
        changed[at % token.len()] = byte;
        prop_assert_eq!(prefixes().parse(&changed).is_some(), changed == token);
    }

    #[test]
    fn a_host_is_read_the_same_again_or_refused(text in "\\PC{0,30}|[a-zA-Z0-9.:\\[\\]-]{0,30}") {
        if let Ok(host) = Host::parse(&text) {
            prop_assert!(!host.as_str().contains(|c: char| c.is_ascii_uppercase() || c.is_whitespace() || c == '@' || c == '/'));
            prop_assert_eq!(Host::parse(host.as_str()), Ok(host));
        }
    }
}

/// A model that refused everything would find nothing.
#[test]
fn the_model_allows_what_should_pass_and_the_gate_agrees() {
    let token = house().token.clone();
    let asked = |method, path: &str, query: &[(&str, &str)], authorization: &str| Asked {
        method,
        path: path.to_owned(),
        query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        host: "shop.example.com".to_owned(),
        authorization: vec![authorization.replace("TOKEN", &token)],
        content_type: None,
        method_override: false,
    };
    for (expected, request) in [
        (true, asked("GET", "/orders/1", &[], "Bearer TOKEN")),
        (true, asked("GET", "/orders/%31", &[], "bearer TOKEN")),
        (true, asked("POST", "/index.php", &[("module", "API"), ("idSite", "1")], "Bearer TOKEN")),
        (true, asked("GET", "/public", &[], "Digest x")),
        (false, asked("POST", "/orders/1", &[], "Bearer TOKEN")),
        (false, asked("GET", "/orders/2", &[], "Bearer TOKEN")),
        (false, asked("GET", "/index.php", &[("module", "API"), ("idSite", "1,2")], "Bearer TOKEN")),
        (false, asked("GET", "/elsewhere", &[], "Bearer TOKEN")),
    ] {
        assert_eq!((request.is_allowed(), model::allows(&request, &token)), (expected, expected), "{request:?}");
    }
}
