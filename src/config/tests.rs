//! The whole way from text to settings, as an operator meets it.

mod mistakes;
mod portal;
mod tokens;

use std::{path::Path, time::Duration};

use secrecy::ExposeSecret;

use super::*;
use crate::domain::{
    access::Level,
    decision::{CredentialKinds, Outage, OutagePolicy, Via},
    identity::{IdentityHeader, IdentityNames},
    password::Cost,
    policy::{Otherwise, SiteSource},
    token_rules::TokenRules,
    trust::TrustedProxies,
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

fn load_text(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let folder = Folder::new(name);
    let file = folder.write("keygate.toml", text);
    let shown = |mistake: &Mistake| mistake.to_string().replace(&format!("{}/", folder.0.display()), "");
    let sources = Sources { file: Some(file), environment: environment(variables), data_dir: None };
    load(&sources).map_err(|mistakes| mistakes.iter().map(shown).collect())
}

fn mistakes_of(name: &str, text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    load_text(name, text, variables).err().unwrap_or_default()
}

const EXAMPLE: &str = r#"
data_dir = "./keygate-data"

[keys]
file = "/etc/keygate/server.key"

[store]
url = "redis://127.0.0.1:6379"
prefix = "kg:"
wait_replicas = 1
timeout = "150ms"

[hot_path]
max_staleness = "2s"

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
    let Store::Redis { url, prefix, timeout, wait_replicas: 1, went_back: WentBack::Report } = &settings.store else {
        panic!("{:?}", settings.store)
    };
    assert_eq!((url.expose_secret(), prefix.as_str(), timeout.as_millis()), ("redis://127.0.0.1:6379", "kg:", 150));
    assert_eq!(settings.hot_path, HotPath { max_staleness: Duration::from_secs(2), entries: 2_000_000, bytes: 1 << 30 });
    assert_eq!(settings.check.unix, Some(UnixSocket { path: "/run/keygate/check.sock".into(), mode: 0o660 }));
    assert_eq!(settings.identity_names.get(IdentityHeader::Account), Some("X-WEBAUTH-USER"));
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
    assert_eq!(settings.tokens, TokenRules::default());
    assert_eq!(settings.hot_path.max_staleness, Duration::from_secs(1));
    assert_eq!(settings.audit, Audit { keep: Duration::from_hours(365 * 24), refused_entries: 10_000 });
    assert_eq!(settings.portal.listen.to_string(), "127.0.0.1:9181");
    assert_eq!(
        (settings.portal.trusted_proxies, settings.portal.requests_per_second.unwrap().get()),
        (TrustedProxies::default(), 500)
    );
    assert!(settings.notify.webhook.is_none());
    assert!(policy.rules().is_empty());
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
    assert_eq!(settings.identity_names.get(IdentityHeader::RequestId), Some("X-Request-Id"));
    sources.data_dir = Some("flag".into());
    let settings = load(&sources).unwrap().settings;
    assert!(matches!(&settings.store, Store::Embedded { dir } if dir == Path::new("flag")));
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

    let url = "redis+sentinel://keygate:hunter2@a,b/shop";
    sources.environment = environment(&[("KEYGATE__STORE__URL", url)]);
    let loaded = load(&sources).unwrap();
    assert!(!format!("{loaded:?} {}", loaded.shown).contains("hunter2"));
    assert!(loaded.shown.contains("url = \"redis+sentinel://********@a,b/shop\"\n"));
}

#[test]
fn a_secret_is_given_once_and_never_quoted_in_a_mistake() {
    let text = "[check]\nproxy_secret = 'hunter2'\nproxy_secret_file = '/nowhere/secret'\n[store]\nurl = 'redis://:hunter2@'\n";
    let variables = [("KEYGATE__STORE__URL_FILE", "/nowhere/url")];
    assert_eq!(
        mistakes_of("twice", text, &variables),
        [
            "keygate.toml:3: check.proxy_secret_file: `check.proxy_secret` is given too (keygate.toml:2); keep one of the two",
            "KEYGATE__STORE__URL_FILE: `store.url` is given too (keygate.toml:5); keep one of the two",
        ]
    );
    let text = "[check]\nproxy_secret = 'hunter 2'\n[store]\nurl_file = '/nowhere/url'\n";
    assert_eq!(
        mistakes_of("twice", text, &[]),
        [
            "keygate.toml:2: check.proxy_secret: a proxy shows the secret in a header: expected visible ASCII characters \
             without blanks",
            "keygate.toml:4: store.url_file: the file cannot be read: No such file or directory (os error 2)",
        ]
    );
    for text in ["[check]\nproxy_secret = ['hunter2']\n", "[store]\nurl = { password = 'hunter2' }\n", "[store]\nurl = 'hunter2'\n"]
    {
        let found = mistakes_of("twice", text, &[]);
        assert!(found.len() == 1 && !found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn what_is_shown_loads_again_as_the_same() {
    let text = EXAMPLE.replace("module = \"API\"", "\"Module.x y\" = \"A\\u0007\\\"PI\"");
    let first = load_text("shown", &text, &[("KEYGATE__LOG__LEVEL", "debug")]).unwrap();
    let second = load_text("shown", &first.shown, &[]).unwrap();
    assert_eq!(first.shown, second.shown);
    assert_eq!(first.shown, format!("{}{}", first.shown_settings, first.shown_rules));
    assert!(!first.shown_settings.contains("[[rules]]") && first.shown_rules.starts_with("\n[[rules]]\nname = \"health\"\n"));
    assert_eq!(format!("{:?}", first.settings), format!("{:?}", second.settings));
    assert_eq!(format!("{:?}", first.policy.rules()), format!("{:?}", second.policy.rules()));
    assert!(load(&Sources::default()).unwrap().shown.contains("[store]\nurl = \"embedded:./keygate-data\"\n"));
}

#[test]
fn what_is_shown_as_json_has_sections_as_objects_and_no_secret() {
    let secret = [("KEYGATE__CHECK__PROXY_SECRET", "hunter2")];
    let shown = load_text("json", EXAMPLE, &secret).unwrap().shown_json;
    assert_eq!(shown["check"]["listen"], "127.0.0.1:9180");
    assert_eq!(shown["check"]["proxy_secret"], "********");
    assert_eq!(shown["headers"]["names"]["account"], "X-WEBAUTH-USER");
    assert_eq!(shown["password"]["memory_kib"], 19456);
    assert_eq!(shown["rules"][2]["match"]["query"]["module"], "API");
    let nothing = load(&Sources::default()).unwrap();
    assert_eq!((&nothing.shown_json["rules"], nothing.shown_rules.as_str()), (&serde_json::json!([]), ""));
}

#[test]
fn a_masked_secret_that_changed_can_be_told() {
    let fingerprint = |secret, url, hook| {
        let variables =
            [("KEYGATE__CHECK__PROXY_SECRET", secret), ("KEYGATE__STORE__URL", url), ("KEYGATE__NOTIFY__WEBHOOK", hook)];
        let loaded = load_text("fingerprint", "", &variables).unwrap();
        (loaded.shown, loaded.secrets_fingerprint)
    };
    let first = fingerprint("a", "redis://:x@h", "http://h/x");
    assert!(first == fingerprint("a", "redis://:x@h", "http://h/x"));
    let others = [("b", "redis://:x@h", "http://h/x"), ("a", "redis://:y@h", "http://h/x"), ("a", "redis://:x@h", "http://h/y")];
    for other in others.map(|(secret, url, hook)| fingerprint(secret, url, hook)) {
        assert!(first.0 == other.0 && first.1 != other.1);
    }
}

#[test]
fn a_configured_file_of_server_keys_is_looked_into() {
    let folder = Folder::new("server-keys");
    let key = folder.write("server.key", "# ours\nk1:c2VjcmV0\n");
    let file = folder.write("keygate.toml", format!("data_dir = 5\n[keys]\nfile = '{}'\n", key.display()));
    let sources = Sources { file: Some(file), ..Sources::default() };
    let found = || -> Vec<String> {
        let mistakes = check(&sources).err().unwrap_or_default();
        mistakes.iter().map(|mistake| mistake.to_string().replace(&format!("{}/", folder.0.display()), "")).collect()
    };
    let other = "keygate.toml:1: data_dir: expected a text in quotes, found the integer 5";
    assert_eq!(found(), [other, "server.key:2: keys.file: a key is exactly 32 bytes"]);
    assert_eq!(load(&sources).unwrap_err().len(), 1, "who only shows a configuration may not be able to read the keys");
    folder.write("server.key", "\n");
    assert!(found()[1].starts_with("server.key: keys.file: no key in the file; make one with: "), "{:?}", found());
    folder.write("server.key", [0xff]);
    assert_eq!(found()[1], "keygate.toml:3: keys.file: the key file cannot be read: stream did not contain valid UTF-8");
    folder.write("server.key", format!("k1:{}=\n", "A".repeat(43)));
    assert_eq!(found(), [other]);
    std::fs::remove_file(&key).unwrap();
    assert!(found()[1].starts_with("keygate.toml:3: keys.file: the key file does not exist; make it once"), "{:?}", found());
}

#[test]
fn header_names_can_be_swapped_but_not_doubled() {
    let swapped = "[headers]\npreset = 'remote'\n[headers.names]\nname = 'Remote-User'\naccount = 'Remote-Name'\n";
    let names = load_text("names", swapped, &[]).unwrap().settings.identity_names;
    assert_eq!((names.get(IdentityHeader::Account), names.get(IdentityHeader::Name)), (Some("Remote-Name"), Some("Remote-User")));
    let doubled = mistakes_of("names", "[headers.names]\nname = 'X-A'\naccount = 'x_a'\n", &[]);
    assert_eq!(doubled, ["keygate.toml:2: headers.names.name: two identity headers would have the same name, found \"X-A\""]);
    for header in IdentityHeader::ALL {
        let text = format!("[headers.names]\n{} = 'X-Own'\n", header.key());
        assert_eq!(load_text("names", &text, &[]).unwrap().settings.identity_names.get(header), Some("X-Own"));
    }
}

#[test]
fn listeners_and_networks_are_read_as_they_are_meant() {
    let text =
        "[check]\nlisten = '127.0.0.1:9182'\ntrusted_proxies = ['::ffff:10.0.0.0/104', '192.0.2.1']\n[outage]\nnginx = 'deny'\n";
    let found = mistakes_of("listeners", text, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found, ["keygate.toml:2: check.listen: grpc.listen has the same address; choose another port"]);
    let found = mistakes_of("listeners", "[grpc]\nlisten = '127.0.0.1:9180'\n", &[]);
    assert_eq!(found, ["keygate.toml:2: grpc.listen: check.listen has the same address; choose another port"]);
    let found = mistakes_of("listeners", "[grpc]\nlisten = '127.0.0.1:1'\n", &[("KEYGATE__CHECK__LISTEN", "127.0.0.1:1")]);
    assert_eq!(found, ["KEYGATE__CHECK__LISTEN: grpc.listen has the same address; choose another port"]);
    let found = mistakes_of("listeners", "[portal]\nlisten = '127.0.0.1:9182'\n[check]\nlisten = '127.0.0.1:9182'\n", &[]);
    assert_eq!(
        found,
        [
            "keygate.toml:2: portal.listen: grpc.listen has the same address; choose another port",
            "keygate.toml:4: check.listen: portal.listen has the same address; choose another port",
            "keygate.toml:4: check.listen: grpc.listen has the same address; choose another port",
        ]
    );
    let settings = load_text("listeners", text, &[("KEYGATE__CHECK__LISTEN", "[::1]:0")]).unwrap().settings;
    let networks: Vec<String> = settings.check.trusted_proxies.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32"]);
    assert_eq!(settings.outage.nginx, OutagePolicy::Deny);
}

#[test]
fn an_empty_rule_list_or_a_lone_table_is_understood() {
    assert!(load_text("lists", "rules = []\n", &[]).unwrap().policy.rules().is_empty());
    let lone = mistakes_of("lists", "[rules]\nname = 'x'\n", &[]);
    assert_eq!(lone, ["keygate.toml:1: rules: expected rules, each under [[rules]], found a table"]);
    let quoted = mistakes_of("lists", "\"check.listen\" = '127.0.0.1:1'\n", &[]);
    assert_eq!(quoted.len(), 1, "{quoted:?}");
}
