//! The whole way from text to settings, as an operator meets it.

use std::path::Path;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::domain::{
    access::Level,
    decision::{CredentialKinds, Outage, OutagePolicy, Via},
    identity::{IdentityHeader, IdentityNames},
    password::Cost,
    policy::{Otherwise, SiteSource},
};

/// A directory of one test's own, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("keygate-config-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_text(test: &str, text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let folder = Folder::new(test);
    let file = folder.write("keygate.toml", text);
    let shown = |mistake: &Mistake| mistake.to_string().replace(&format!("{}/", folder.0.display()), "");
    let sources = Sources { file: Some(file), environment: environment(variables), data_dir: None };
    load(&sources).map_err(|mistakes| mistakes.iter().map(shown).collect())
}

fn mistakes(test: &str, text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    load_text(test, text, variables).err().unwrap_or_default()
}

const EXAMPLE: &str = r#"
data_dir = "./keygate-data"

[keys]
file = "/etc/keygate/server.key"

[store]
url = "redis://127.0.0.1:6379"
prefix = "kg:"
timeout = "150ms"

[check]
listen = "127.0.0.1:9180"
unix = "/run/keygate/check.sock"
trusted_proxies = ["127.0.0.0/8", "::1/128", "unix"]

[grpc]
listen = "127.0.0.1:9182"

[outage]
nginx = "error"
envoy = "deny"

[credentials]
allow_in_url = false
query_names = ["token_auth"]
token_prefix = "kg"

[envoy]
use_remote_address = false

[headers]
preset = "x-auth"
realm = "keygate"
[headers.names]
account = "X-WEBAUTH-USER"

[[rules]]
name = "health"
match = { path = "/healthz" }
public = true

[[rules]]
name = "orders"
match = { host = "shop.example.com", path = "/orders/{id}/{*rest}", methods = ["GET", "HEAD"] }
site = "shop"
access = "view"

[[rules]]
name = "reporting API"
match = { host = "*.stats.example.com", path = "/index.php", query = { module = "API" } }
site = { query = "idSite" }
access = { read = "view", write = "write" }
scope = "reporting"
credentials = ["bearer", "basic", "session"]
max_token_access = "admin"
otherwise = "challenge"
"#;

#[test]
fn the_documented_example_loads() {
    let Loaded { settings, policy, .. } = load_text("example", EXAMPLE, &[]).unwrap();
    assert_eq!(settings.keys_file.as_deref(), Some(Path::new("/etc/keygate/server.key")));
    let Store::Redis { url, prefix, timeout } = &settings.store else { panic!("{:?}", settings.store) };
    assert_eq!((url.expose_secret(), prefix.as_str(), timeout.as_millis()), ("redis://127.0.0.1:6379", "kg:", 150));
    assert_eq!(settings.check.unix, Some(UnixSocket { path: "/run/keygate/check.sock".into(), mode: 0o660 }));
    assert_eq!(settings.identity_names.get(IdentityHeader::Account), "X-WEBAUTH-USER");
    let [health, orders, reporting] = policy.rules() else { panic!("{policy:?}") };
    assert!(health.demand.is_none());
    let demand = orders.demand.as_ref().unwrap();
    assert_eq!((demand.read, demand.write, demand.max_token_access), (Level::View, Level::View, Level::Superuser));
    assert_eq!((demand.credentials, demand.otherwise), (CredentialKinds::default(), Otherwise::Challenge));
    let demand = reporting.demand.as_ref().unwrap();
    assert_eq!((demand.read, demand.write, demand.max_token_access), (Level::View, Level::Write, Level::Admin));
    assert!(matches!(&demand.site, SiteSource::Query(name) if name == "idSite"));
    assert!(demand.credentials.takes(Via::Basic) && !demand.credentials.takes(Via::Query));
    assert_eq!(reporting.matcher.query.get("module").map(String::as_str), Some("API"));
}

#[test]
fn without_anything_the_defaults_of_the_domain_hold() {
    let Loaded { settings, policy, .. } = load(&Sources::default()).unwrap();
    assert!(matches!(&settings.store, Store::Embedded { dir } if dir == Path::new("./keygate-data")));
    assert_eq!(settings.check.listen.to_string(), "127.0.0.1:9180");
    assert_eq!(settings.grpc_listen.to_string(), "127.0.0.1:9182");
    assert_eq!((settings.outage, settings.password_cost), (Outage::default(), Cost::DEFAULT));
    assert_eq!(settings.identity_names, IdentityNames::default());
    assert_eq!(settings.credentials.query_names, ["token_auth"]);
    assert!(!settings.credentials.allow_in_url && !settings.envoy_use_remote_address);
    assert!(settings.check.trusted_proxies.unix && settings.check.trusted_proxies.networks.len() == 2);
    assert!(settings.check.unix.is_none() && settings.check.proxy_secret.is_none() && settings.keys_file.is_none());
    assert_eq!(settings.log, Log { level: LogLevel::Info, format: LogFormat::Text });
    assert!(policy.rules().is_empty());
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let text = r#"
[portal]
listen = "127.0.0.1:9181"
hosts = []
[store]
wait_replicas = 0
url = "redis+cluster://a,b"
[hot_path]
max_staleness = "1s"
[[rules]]
name = "r"
site = "s"
access = "view"
otherwise = "login"
"#;
    let variables = [("KEYGATE__PORTAL__URL", "x"), ("KEYGATE__STORE__WAIT_REPLICAS", "1")];
    assert_eq!(
        mistakes("not-built", text, &variables),
        [
            "keygate.toml:3: portal.listen: not available in this version",
            "keygate.toml:4: portal.hosts: not available in this version",
            "keygate.toml:6: store.wait_replicas: not available in this version",
            "keygate.toml:7: store.url: redis+cluster:// is not available in this version; give redis:// or rediss://",
            "keygate.toml:9: hot_path.max_staleness: not available in this version",
            "keygate.toml:14: rules[0].otherwise: `login` is not available in this version",
            "KEYGATE__PORTAL__URL: not available in this version",
            "KEYGATE__STORE__WAIT_REPLICAS: not available in this version",
        ]
    );
    assert_eq!(mistakes("not-built", "[portal]\n", &[]), ["keygate.toml:1: portal: not available in this version"]);
}

#[test]
fn every_mistake_of_a_file_is_found_in_one_run() {
    let text = r#"data_dir = 5
listn = "x"
[store]
timeout = "2s"
prefix = ""
[chekc]
listen = "127.0.0.1:1"
[check]
listen = "abc"
unix_mode = 660
data_dir = "x"
trusted_proxies = [
    "10.0.0.0/8",
    "10.0.0.0/33",
    "Unix",
]
[outage]
envoy = "eror"
[credentials]
allow_in_url = "true"
token_prefix = []
[password]
passes = 0
[headers]
realm = 'a"b'
[headers.names]
kind = "Host"
acount = "X"
[log]
level = 1
"#;
    assert_eq!(
        mistakes("settings", text, &[]),
        [
            "keygate.toml:1: data_dir: expected a text in quotes, found the integer 5",
            "keygate.toml:2: listn: unknown key; known are `data_dir`, `keys`, `store`, `check`, `grpc`, `outage`, \
             `credentials`, `envoy`, `headers`, `password`, `log`, `rules`",
            "keygate.toml:4: store.timeout: expected more than 0ms and at most 1s (the bound max_staleness), found \"2s\"",
            "keygate.toml:5: store.prefix: expected 1 to 64 letters, digits or : . _ - / such as \"kg:\", found \"\"",
            "keygate.toml:6: chekc: unknown key; did you mean `check`?",
            "keygate.toml:9: check.listen: expected an address such as \"127.0.0.1:9180\", found \"abc\"",
            "keygate.toml:10: check.unix_mode: expected a text in quotes, found the integer 660",
            "keygate.toml:11: check.data_dir: unknown key; did you mean `data_dir`?",
            "keygate.toml:14: check.trusted_proxies: expected an address, a network such as \"10.0.0.0/8\", or \"unix\", \
             found \"10.0.0.0/33\"",
            "keygate.toml:15: check.trusted_proxies: expected an address, a network such as \"10.0.0.0/8\", or \"unix\", \
             found \"Unix\"",
            "keygate.toml:18: outage.envoy: expected one of `error`, `deny`, found \"eror\"; did you mean `error`?",
            "keygate.toml:20: credentials.allow_in_url: expected true or false without quotes, found the text \"true\"",
            "keygate.toml:21: credentials.token_prefix: the list is empty; name at least the prefix that new tokens get",
            "keygate.toml:23: password.passes: expected 1 to 64, found 0",
            "keygate.toml:25: headers.realm: expected 1 to 100 printable ASCII characters without `\"` and `\\`",
            "keygate.toml:27: headers.names.kind: this header has a meaning of its own, found \"Host\"",
            "keygate.toml:28: headers.names.acount: unknown key; did you mean `account`?",
            "keygate.toml:30: log.level: expected a text in quotes, found the integer 1",
        ]
    );
}

#[test]
fn every_mistake_of_the_rules_is_found_in_one_run() {
    let text = r#"[[rules]]
name = "a"
match = { Host = "h", path = "/{id}x", methods = ["get", "G T"] }
site = { path = "id" }
access = "none"
credentials = ["bearer", "basick"]
scope = "manage"
body = "passed"

[[rules]]
name = "a"
public = true
site = "s"
otherwise = "anonymous"

[[rules]]
match = { path = "/{id}/{*rest}", methods = [], query = { m = 1 } }
site = { path = "rest" }
access = { read = "viewer" }
credentials = []
max_token_access = "none"
query = { a = "b" }

[[rules]]
name = "c"
site = { query = "a", host = true }

[[rules]]
name = "d"
match.path = "/{id}"
match.host = "a.*"
site = "a b"
access = 5
public = 0

[[rules]]
name = "e"
match = { path = "/{id}" }
site = { path = "other" }
access = "view"
"#;
    assert_eq!(
        mistakes("rules", text, &[]),
        [
            "keygate.toml:3: rules[0].match.Host: unknown key; did you mean `host`?",
            "keygate.toml:3: rules[0].match.path: a capture or `{*tail}` is a whole segment of a path pattern, found \"/{id}x\"",
            "keygate.toml:3: rules[0].match.methods: methods are upper-case; write \"GET\"",
            "keygate.toml:3: rules[0].match.methods: expected a method such as \"GET\", found \"G T\"",
            "keygate.toml:5: rules[0].access: `none` would ask nobody; write `public = true` instead of `site` and `access`",
            "keygate.toml:6: rules[0].credentials: expected one of `bearer`, `basic`, `body`, `query`, `session`, \
             found \"basick\"; did you mean `basic`?",
            "keygate.toml:7: rules[0].scope: `manage` is the scope of the management API; choose another name",
            "keygate.toml:8: rules[0].body: expected one of `ignored`, found \"passed\"",
            "keygate.toml:11: rules[1].name: there is a rule \"a\" already (keygate.toml:2); names are unique",
            "keygate.toml:13: rules[1].site: a public rule asks nobody; remove `site` or `public`",
            "keygate.toml:14: rules[1].otherwise: a public rule asks nobody; remove `otherwise` or `public`",
            "keygate.toml:16: rules[2].name: a rule needs a name, for logs and explanations",
            "keygate.toml:17: rules[2].match.methods: an empty list matches no request; leave `methods` out to match any",
            "keygate.toml:17: rules[2].match.query.m: expected a text in quotes, found the integer 1",
            "keygate.toml:18: rules[2].site.path: `{*rest}` may be any number of segments; a site is one segment, \
             written `{rest}`",
            "keygate.toml:19: rules[2].access.write: `write` is missing; give both `read` and `write`, \
             or one level for all methods",
            "keygate.toml:19: rules[2].access.read: expected one of `view`, `write`, `admin`, `superuser`, \
             found \"viewer\"; did you mean `view`?",
            "keygate.toml:20: rules[2].credentials: with an empty list nobody could pass; \
             leave `credentials` out for bearer and session",
            "keygate.toml:21: rules[2].max_token_access: expected one of `view`, `write`, `admin`, `superuser`, found \"none\"",
            "keygate.toml:22: rules[2].query: unknown key; did you mean `match.query`?",
            "keygate.toml:24: rules[3].access: a rule needs an `access`, or `public = true`",
            "keygate.toml:26: rules[3].site: expected exactly one of { query = \"NAME\" }, { path = \"CAPTURE\" }, { host = true }",
            "keygate.toml:31: rules[4].match.host: a host pattern may begin with `*.` and has no other `*`, found \"a.*\"",
            "keygate.toml:34: rules[4].public: expected true or false without quotes, found the integer 0",
            "keygate.toml:39: rules[5].site.path: the rule's path has no capture `{other}`; add it to `match.path`",
        ]
    );
}

#[test]
fn text_that_is_not_toml_is_one_mistake_that_quotes_nothing() {
    let found = mistakes("syntax", "[check]\nproxy_secret = \"hunter2\nlisten = 5\nx y\n", &[]);
    assert!(found.len() == 1 && found[0].starts_with("keygate.toml:2: this is not TOML: "), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
    let doubled = mistakes("syntax", "a = 1\n\na = 2\n", &[]);
    assert_eq!(doubled, ["keygate.toml:3: this is not TOML: duplicate key"]);
    let folder = Folder::new("latin");
    let sources = |file| Sources { file: Some(file), ..Sources::default() };
    let latin = load(&sources(folder.write("latin.toml", b"a = 1\n# \xe4\n"))).unwrap_err();
    assert!(latin.len() == 1 && latin[0].to_string().ends_with("latin.toml:2: a configuration file is UTF-8 text"));
    let missing = load(&sources(folder.0.join("missing.toml"))).unwrap_err();
    assert!(missing.len() == 1 && missing[0].message.starts_with("the configuration file cannot be read"));
}

#[test]
fn the_environment_goes_over_the_file_and_flags_over_both() {
    let text = "data_dir = 'file'\n[check]\nlisten = '127.0.0.1:1'\ntrusted_proxies = ['10.0.0.0/8']\n[log]\nlevel = 'warn'\n";
    let folder = Folder::new("layers");
    let file = folder.write("keygate.toml", text);
    let variables = [
        ("KEYGATE__CHECK__LISTEN", "127.0.0.1:2"),
        ("KEYGATE__CHECK__TRUSTED_PROXIES", ""),
        ("KEYGATE__DATA_DIR", "environment"),
        ("KEYGATE__CREDENTIALS__ALLOW_IN_URL", "true"),
        ("KEYGATE__CREDENTIALS__QUERY_NAMES", "Token, idToken"),
        ("KEYGATE__CREDENTIALS__TOKEN_PREFIX", "kg,old"),
        ("KEYGATE__PASSWORD__PASSES", "3"),
        ("KEYGATE__HEADERS__NAMES__REQUEST_ID", "X-Request-Id"),
        ("KEYGATE_CONFIG", "other.toml"),
        ("KEYGATE_TOKEN", "x"),
        ("PATH", "/bin"),
    ];
    let mut sources = Sources { file: Some(file), environment: environment(&variables), data_dir: None };
    let settings = load(&sources).unwrap().settings;
    assert_eq!((settings.data_dir.to_str(), settings.check.listen.port()), (Some("environment"), 2));
    assert!(settings.check.trusted_proxies.networks.is_empty() && !settings.check.trusted_proxies.unix);
    assert!(settings.credentials.allow_in_url);
    assert_eq!(settings.credentials.query_names, ["Token", "idToken"]);
    assert!(settings.credentials.token_prefixes.claims(b"old_u_x") && settings.credentials.token_prefixes.claims(b"kg_u_x"));
    assert_eq!((settings.password_cost.passes, settings.log.level), (3, LogLevel::Warn));
    assert_eq!(settings.identity_names.get(IdentityHeader::RequestId), "X-Request-Id");
    sources.data_dir = Some("flag".into());
    let settings = load(&sources).unwrap().settings;
    assert!(matches!(&settings.store, Store::Embedded { dir } if dir == Path::new("flag")));
}

#[test]
fn mistakes_of_the_environment_name_the_variable() {
    let variables = [
        ("KEYGATE__CHEKC__LISTEN", "127.0.0.1:1"),
        ("KEYGATE__CHECK__LISTEN", "nowhere"),
        ("KEYGATE__CREDENTIALS__ALLOW_IN_URL", "1"),
        ("KEYGATE__PASSWORD__PASSES", "two"),
        ("KEYGATE__RULES", "[]"),
        ("KEYGATE__RULES__0__NAME", "x"),
        ("KEYGATE__log__level", "info"),
        ("KEYGATE_GRPC__LISTEN", "x"),
        ("KEYGATE__STORE__PREFIX", "a\u{fffd}"),
        ("KEYGATE__ZEBRA", "x"),
    ];
    assert_eq!(
        mistakes("variables", "[credentials]\nallow_in_url = 1\n", &variables),
        [
            "keygate.toml:2: credentials.allow_in_url: expected true or false without quotes, found the integer 1",
            "KEYGATE_GRPC__LISTEN: unknown variable; did you mean `KEYGATE__GRPC__LISTEN`?",
            "KEYGATE__CHECK__LISTEN: expected an address such as \"127.0.0.1:9180\", found \"nowhere\"",
            "KEYGATE__CHEKC__LISTEN: unknown variable; did you mean `KEYGATE__CHECK__LISTEN`?",
            "KEYGATE__CREDENTIALS__ALLOW_IN_URL: expected true or false, found \"1\"",
            "KEYGATE__PASSWORD__PASSES: expected an integer, found \"two\"",
            "KEYGATE__RULES: rules come from the configuration file only; unset this variable",
            "KEYGATE__RULES__0__NAME: rules come from the configuration file only; unset this variable",
            "KEYGATE__STORE__PREFIX: the value is not UTF-8 text",
            "KEYGATE__ZEBRA: unknown variable; see `keygate config show` for the keys",
            "KEYGATE__log__level: unknown variable; did you mean `KEYGATE__LOG__LEVEL`?",
        ]
    );
}

#[test]
fn secrets_are_read_from_files_and_shown_nowhere() {
    let folder = Folder::new("secrets");
    let secret = folder.write("secret", "hunter2\r\n");
    let url = folder.write("url", "redis://keygate:hunter2@db:6379/1\n");
    let mut sources = Sources {
        environment: environment(&[
            ("KEYGATE__CHECK__PROXY_SECRET_FILE", secret.to_str().unwrap()),
            ("KEYGATE__STORE__URL_FILE", url.to_str().unwrap()),
        ]),
        ..Sources::default()
    };
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.settings.check.proxy_secret.as_ref().unwrap().expose_secret(), "hunter2");
    let Store::Redis { url, .. } = &loaded.settings.store else { panic!() };
    assert_eq!(url.expose_secret(), "redis://keygate:hunter2@db:6379/1");
    assert!(!format!("{loaded:?} {sources:?}").contains("hunter2"));

    sources.environment =
        environment(&[("KEYGATE__CHECK__PROXY_SECRET", "hunter2"), ("KEYGATE__STORE__URL", "redis://keygate:hunter2@db:6379/1")]);
    let loaded = load(&sources).unwrap();
    assert!(!format!("{loaded:?} {sources:?} {}", loaded.shown).contains("hunter2"));
    assert!(loaded.shown.contains("proxy_secret = \"********\"\n"));
    assert!(loaded.shown.contains("url = \"redis://********@db:6379/1\"\n"));
}

#[test]
fn a_secret_is_given_once_and_never_quoted_in_a_mistake() {
    let text = "[check]\nproxy_secret = 'hunter2'\nproxy_secret_file = '/nowhere/secret'\n[store]\nurl = 'redis://:hunter2@'\n";
    let variables = [("KEYGATE__STORE__URL_FILE", "/nowhere/url")];
    assert_eq!(
        mistakes("twice", text, &variables),
        [
            "keygate.toml:3: check.proxy_secret_file: `check.proxy_secret` is given too (keygate.toml:2); keep one of the two",
            "KEYGATE__STORE__URL_FILE: `store.url` is given too (keygate.toml:5); keep one of the two",
        ]
    );
    let text = "[check]\nproxy_secret = 'hunter 2'\n[store]\nurl_file = '/nowhere/url'\n";
    assert_eq!(
        mistakes("twice", text, &[]),
        [
            "keygate.toml:2: check.proxy_secret: a proxy shows the secret in a header: expected visible ASCII characters \
             without blanks",
            "keygate.toml:4: store.url_file: \"/nowhere/url\" cannot be read: No such file or directory (os error 2)",
        ]
    );
    for text in ["[check]\nproxy_secret = ['hunter2']\n", "[store]\nurl = { password = 'hunter2' }\n", "[store]\nurl = 'hunter2'\n"]
    {
        let found = mistakes("twice", text, &[]);
        assert!(found.len() == 1 && !found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn what_is_shown_loads_again_as_the_same() {
    let text = EXAMPLE.replace("module = \"API\"", "\"Module.x y\" = \"A\\u0007\\\"PI\"");
    let first = load_text("shown", &text, &[("KEYGATE__LOG__LEVEL", "debug")]).unwrap();
    let second = load_text("shown", &first.shown, &[]).unwrap();
    assert_eq!(first.shown, second.shown);
    assert_eq!(format!("{:?}", first.settings), format!("{:?}", second.settings));
    assert_eq!(format!("{:?}", first.policy.rules()), format!("{:?}", second.policy.rules()));
    assert!(load(&Sources::default()).unwrap().shown.contains("[store]\nurl = \"embedded:./keygate-data\"\n"));
}

#[test]
fn header_names_can_be_swapped_but_not_doubled() {
    let swapped = "[headers]\npreset = 'remote'\n[headers.names]\nname = 'Remote-User'\naccount = 'Remote-Name'\n";
    let names = load_text("names", swapped, &[]).unwrap().settings.identity_names;
    assert_eq!((names.get(IdentityHeader::Account), names.get(IdentityHeader::Name)), ("Remote-Name", "Remote-User"));
    let doubled = mistakes("names", "[headers.names]\nname = 'X-A'\naccount = 'x_a'\n", &[]);
    assert_eq!(doubled, ["keygate.toml:2: headers.names.name: two identity headers would have the same name, found \"X-A\""]);
    for header in IdentityHeader::ALL {
        let text = format!("[headers.names]\n{} = 'X-Own'\n", header.key());
        assert_eq!(load_text("names", &text, &[]).unwrap().settings.identity_names.get(header), "X-Own");
    }
}

#[test]
fn listeners_and_networks_are_read_as_they_are_meant() {
    let text =
        "[check]\nlisten = '127.0.0.1:9182'\ntrusted_proxies = ['::ffff:10.0.0.0/104', '192.0.2.1']\n[outage]\nnginx = 'deny'\n";
    let found = mistakes("listeners", text, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("grpc.listen: check.listen has the same address; choose another port"), "{found:?}");
    let settings = load_text("listeners", text, &[("KEYGATE__CHECK__LISTEN", "[::1]:0")]).unwrap().settings;
    let networks: Vec<String> = settings.check.trusted_proxies.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32"]);
    assert_eq!(settings.outage.nginx, OutagePolicy::Deny);
}

#[test]
fn an_empty_rule_list_or_a_lone_table_is_understood() {
    assert!(load_text("lists", "rules = []\n", &[]).unwrap().policy.rules().is_empty());
    let lone = mistakes("lists", "[rules]\nname = 'x'\n", &[]);
    assert_eq!(lone, ["keygate.toml:1: rules: expected rules, each under [[rules]], found a table"]);
    let quoted = mistakes("lists", "\"check.listen\" = '127.0.0.1:1'\n", &[]);
    assert_eq!(quoted.len(), 1, "{quoted:?}");
}

/// Lines that look like configuration, so that chance gets past the parser.
fn line() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "name",
        "match",
        "match.path",
        "match.query",
        "site",
        "access",
        "public",
        "credentials",
        "otherwise",
        "url",
        "listen",
        "trusted_proxies",
        "token_prefix",
        "passes",
        "\"a.b\"",
        "names.account",
        "timeout",
        "unix_mode",
    ]);
    let values = prop::sample::select(vec![
        "\"\"",
        "'/{id}/{*t}'",
        "5",
        "-1",
        "true",
        "1.5",
        "2026-01-01",
        "[]",
        "['a', 5, {}]",
        "{}",
        "{ read = 'view' }",
        "{ path = 'id' }",
        "{ query = 'q', host = true }",
        "'redis://@'",
        "'none'",
        "'\u{1F512}'",
        "9223372036854775807",
    ]);
    let headers = vec!["[check]", "[store]", "[[rules]]", "[password]", "[headers.names]", "[credentials]", "[portal]", "[rules]"];
    prop_oneof![
        2 => (keys, values).prop_map(|(key, value)| format!("{key} = {value}")),
        1 => prop::sample::select(headers).prop_map(str::to_owned),
        1 => "[ -~]{0,20}",
    ]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(lines in prop::collection::vec(line(), 0..12), variable in "KEYGATE__[A-Z_]{0,20}", value in "\\PC{0,20}") {
        let folder = Folder::new("any");
        let file = Some(folder.write("keygate.toml", lines.join("\n")));
        let sources = Sources { file, environment: environment(&[(&variable, &value)]), data_dir: None };
        if let Err(mistakes) = load(&sources) {
            prop_assert!(!mistakes.is_empty());
            for mistake in mistakes {
                prop_assert!(!mistake.to_string().contains('\n'), "{mistake}");
            }
        }
    }
}
