//! What an operator is told, word for word.

use proptest::prelude::*;

use super::*;

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
query_names = ["a", 5, "", true]
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
        mistakes_of("settings", text, &[("KEYGATE__STORE__URL", "redis://db")]),
        [
            "keygate.toml:1: data_dir: expected a text in quotes, found the integer 5",
            "keygate.toml:2: listn: unknown key; known are `data_dir`, `keys`, `store`, `check`, `portal`, `grpc`, \
             `hot_path`, `outage`, `credentials`, `tokens`, `sessions`, `guessing`, `audit`, `notify`, `envoy`, `headers`, `password`, `log`, `rules`",
            "keygate.toml:4: store.timeout: it may not be above `hot_path.max_staleness`, which is \"1s\"",
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
            "keygate.toml:22: credentials.query_names: expected a text in quotes, found the integer 5",
            "keygate.toml:22: credentials.query_names: expected a text in quotes, found the boolean true",
            "keygate.toml:24: password.passes: expected 1 to 64, found 0",
            "keygate.toml:26: headers.realm: expected 1 to 100 printable ASCII characters without `\"` and `\\`",
            "keygate.toml:28: headers.names.kind: this header has a meaning of its own, found \"Host\"",
            "keygate.toml:29: headers.names.acount: unknown key; did you mean `account`?",
            "keygate.toml:31: log.level: expected a text in quotes, found the integer 1",
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
        mistakes_of("rules", text, &[]),
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
            "keygate.toml:19: rules[2].access.write: give both `read` and `write`, \
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
            "keygate.toml:32: rules[4].site: expected the id of a site, or ids such as \"1,3\", found \"a b\"",
            "keygate.toml:33: rules[4].access: expected a text in quotes, found the integer 5",
            "keygate.toml:34: rules[4].public: expected true or false without quotes, found the integer 0",
            "keygate.toml:39: rules[5].site.path: the rule's path has no capture `{other}`; add it to `match.path`",
        ]
    );
}

#[test]
fn what_is_remembered_has_bounds_of_its_own() {
    let text = r#"
[store]
wait_replicas = 17
went_back = "ignore"
timeout = "0ms"
url = "redis+cluster://a/1"
[hot_path]
max_staleness = "49ms"
entries = 1
memory_mib = 0
[check]
workers = 0
"#;
    assert_eq!(
        mistakes_of("hot-path", text, &[("KEYGATE__HOT_PATH__ENTRIES", "-1")]),
        [
            "keygate.toml:3: store.wait_replicas: expected 0 to 16, found 17",
            "keygate.toml:4: store.went_back: expected one of `report`, `refuse`, found \"ignore\"",
            "keygate.toml:5: store.timeout: expected more than 0ms, found \"0ms\"",
            "keygate.toml:6: store.url: expected some servers of the cluster, as in \"redis+cluster://a:6379,b:6379\", and no database",
            "keygate.toml:8: hot_path.max_staleness: expected 50ms to 1m, found \"49ms\"",
            "keygate.toml:10: hot_path.memory_mib: expected 1 to 1048576, found 0",
            "keygate.toml:12: check.workers: expected 1 to 1024, found 0",
            "KEYGATE__HOT_PATH__ENTRIES: expected 1000 to 100000000, found -1",
        ]
    );
    let in_redis = &[("KEYGATE__STORE__URL", "redis://db")];
    assert_eq!(
        mistakes_of("hot-path", "[hot_path]\nmax_staleness = '61s'\n", &[]),
        ["keygate.toml:2: hot_path.max_staleness: expected 50ms to 1m, found \"61s\""]
    );
    assert_eq!(
        mistakes_of("hot-path", "[hot_path]\nmax_staleness = '100ms'\n", in_redis),
        ["keygate.toml:2: hot_path.max_staleness: it may not be below `store.timeout`, which is \"150ms\""]
    );
    assert_eq!(
        mistakes_of("hot-path", "[hot_path]\nmax_staleness = '1m'\n[store]\ntimeout = '100s'\n", in_redis),
        ["keygate.toml:4: store.timeout: it may not be above `hot_path.max_staleness`, which is \"1m\""]
    );
    // The embedded store is not waited for.
    assert_eq!(mistakes_of("hot-path", "[hot_path]\nmax_staleness = '100ms'\n[store]\ntimeout = '100s'\n", &[]), [""; 0]);
}

#[test]
fn a_rule_sends_nobody_to_sign_in_who_could_not_come_back() {
    let rule = |host: &str| {
        format!("[[rules]]\nname = '{host}'\nmatch = {{ host = '{host}' }}\nsite = 's'\naccess = 'view'\notherwise = 'login'\n")
    };
    let rules = format!("{}{}{}", rule("shop.example.com"), rule("other.example.com"), rule("*.example.com"));
    let portal = "[portal]\nurl = 'https://auth.example.com'\nhosts = ['shop.example.com']\n";
    assert_eq!(
        mistakes_of("sign-in", &format!("{portal}{rules}"), &[]),
        [
            "keygate.toml:15: rules[1].otherwise: `login` needs \"other.example.com\" in `portal.hosts`, so that browsers can come back"
        ]
    );
    let nowhere = "`login` needs a page to sign in and hosts to come back to: give `portal.url` and `portal.hosts`";
    assert_eq!(mistakes_of("sign-in", &rule("*.example.com"), &[]), [format!("keygate.toml:6: rules[0].otherwise: {nowhere}")]);
    let public = "[[rules]]\nname = 'p'\npublic = true\ncross_site = 'allow'\n[[rules]]\nname = 'r'\nsite = 's'\naccess = 'view'\ncross_site = 'deny'\n";
    assert_eq!(
        mistakes_of("sign-in", public, &[]),
        [
            "keygate.toml:4: rules[0].cross_site: a public rule asks nobody; remove `cross_site` or `public`",
            "keygate.toml:9: rules[1].cross_site: expected one of `allow`, found \"deny\"",
        ]
    );
}

#[test]
fn sections_of_later_versions_are_known_by_name() {
    let text = "[tls]\ncertificate = 'x'\n";
    assert_eq!(
        mistakes_of("later", text, &[("KEYGATE__TLS__KEY", "5")]),
        ["keygate.toml:2: tls.certificate: not available in this version", "KEYGATE__TLS__KEY: not available in this version",]
    );
}

#[test]
fn one_mistake_about_headers_does_not_hide_another() {
    let text = "[headers]\npreset = 'foo'\n[headers.names]\naccount = 'Host'\nkind = 'X-Real-IP'\nname = 'X-Auth-Kind'\n\
                email = 'x-forwarded-email'\nvia = 'X-Original-URI'\n";
    assert_eq!(
        mistakes_of("headers", text, &[]),
        [
            "keygate.toml:2: headers.preset: expected one of `x-auth`, `remote`, found \"foo\"",
            "keygate.toml:4: headers.names.account: this header has a meaning of its own, found \"Host\"",
            "keygate.toml:5: headers.names.kind: this header has a meaning of its own, found \"X-Real-IP\"",
            "keygate.toml:7: headers.names.email: this header has a meaning of its own, found \"x-forwarded-email\"",
            "keygate.toml:8: headers.names.via: this header has a meaning of its own, found \"X-Original-URI\"",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_the_environment() {
    let variables = [
        ("KEYGATE__CHECK__UNIX_MODE", "999"),
        // In the file there may stand what these would go with.
        ("KEYGATE__GRPC__LISTEN", "127.0.0.1:9180"),
        ("KEYGATE__HEADERS__NAMES__ACCOUNT", "X-Auth-Kind"),
        ("KEYGATE__PASSWORD__MEMORY_KIB", "8"),
        ("KEYGATE__PASSWORD__LANES", "2"),
    ];
    let found = mistakes_of("unread", "[check\n", &variables);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("keygate.toml:1: this is not TOML: "), "{found:?}");
    assert!(found[1].starts_with("KEYGATE__CHECK__UNIX_MODE: expected permissions"), "{found:?}");
    let missing = Sources { file: Some("/nowhere/keygate.toml".into()), environment: environment(&variables), data_dir: None };
    assert_eq!(load(&missing).unwrap_err().len(), 2);
}

#[test]
fn the_path_of_a_socket_leaves_room_for_the_longer_name_it_is_made_by() {
    let text = |length: usize| format!("[check]\nunix = '/{}'\n", "s".repeat(length - 1));
    assert_eq!(mistakes_of("socket", &text(90), &[]), [""; 0]);
    let found = mistakes_of("socket", &text(91), &[]);
    assert_eq!(found, ["keygate.toml:2: check.unix: the path of the socket is too long; choose one of at most 90 bytes"]);
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
        mistakes_of("variables", "[credentials]\nallow_in_url = 1\n", &variables),
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
fn text_that_is_not_toml_is_one_mistake_that_quotes_nothing() {
    let found = mistakes_of("syntax", "[check]\nproxy_secret = \"hunter2\nlisten = 5\n", &[]);
    assert!(found.len() == 1 && found[0].starts_with("keygate.toml:2: this is not TOML: "), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
    let doubled = mistakes_of("syntax", "a = 1\n\na = 2\n", &[]);
    assert_eq!(doubled, ["keygate.toml:3: this is not TOML: duplicate key"]);
    let folder = Folder::new("latin");
    let sources = |file| Sources { file: Some(file), ..Sources::default() };
    let latin = load(&sources(folder.write("latin.toml", b"a = 1\n# \xe4\n"))).unwrap_err();
    assert!(latin.len() == 1 && latin[0].to_string().ends_with("latin.toml:2: a configuration file is UTF-8 text"));
    let missing = load(&sources(folder.0.join("missing.toml"))).unwrap_err();
    assert!(missing.len() == 1 && missing[0].message.starts_with("the configuration file cannot be read"));
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
        "wait_replicas",
        "went_back",
        "max_staleness",
        "unix_mode",
        "max_expiry",
        "default_expiry",
        "leak",
        "refused_entries",
        "webhook",
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
        "'redis+sentinel://:%@a,[::1]:/s/x'",
        "'none'",
        "'90d'",
        "'http://'",
        "'\u{1F512}'",
        "9223372036854775807",
    ]);
    let headers = vec![
        "[check]",
        "[store]",
        "[hot_path]",
        "[[rules]]",
        "[password]",
        "[headers.names]",
        "[credentials]",
        "[portal]",
        "[tokens]",
        "[audit]",
        "[notify]",
        "[rules]",
    ];
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
