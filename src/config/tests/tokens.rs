//! What an operator says of the life of tokens, of the audit trail, of who is told, and of the portal.

use super::*;
use crate::domain::token_rules::OnLeak;

#[test]
fn the_life_of_tokens_the_trail_and_the_portal_are_as_they_are_given() {
    let text = r#"
[tokens]
default_expiry = "90d"
max_expiry = "1y"
must_expire = true
warn_before = "7d"
unused_after = "30d"
revoke_unused_after = "30d"
keep_ended = "12h"
leak = "revoke_family"
[audit]
keep = "30d"
refused_entries = 1000
[notify]
webhook = "https://hooks.example.com/T0/B0?key=hunter2"
[portal]
listen = "[::1]:9181"
trusted_proxies = ["10.0.0.0/8", "::ffff:192.0.2.1"]
requests_per_second = 0
"#;
    let days = |days: u64| Duration::from_hours(days * 24);
    let expected = TokenRules {
        default_expiry: Some(days(90)),
        max_expiry: Some(days(365)),
        must_expire: true,
        warn_before: days(7),
        unused_after: days(30),
        revoke_unused_after: Some(days(30)),
        keep_ended: Duration::from_hours(12),
        on_leak: OnLeak::RevokeFamily,
    };
    let loaded = load_text("life", text, &[]).unwrap();
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(loaded.shown.contains("\n[notify]\nwebhook = \"********\"\n"), "{}", loaded.shown);
    let settings = loaded.settings;
    assert_eq!((settings.tokens, settings.audit), (expected, Audit { keep: days(30), refused_entries: 1000 }));
    assert_eq!(settings.notify.webhook.unwrap().expose_secret(), "https://hooks.example.com/T0/B0?key=hunter2");
    assert_eq!((settings.portal.listen.to_string().as_str(), settings.portal.requests_per_second), ("[::1]:9181", None));
    let networks: Vec<String> = settings.portal.trusted_proxies.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32"]);

    let folder = Folder::new("life-environment");
    let hook = folder.write("hook", "http://127.0.0.1:8090/keygate\n");
    let variables = [
        ("KEYGATE__TOKENS__MUST_EXPIRE", "true"),
        ("KEYGATE__TOKENS__MAX_EXPIRY", "1y"),
        ("KEYGATE__AUDIT__REFUSED_ENTRIES", "1000000"),
        ("KEYGATE__NOTIFY__WEBHOOK_FILE", hook.to_str().unwrap()),
        ("KEYGATE__PORTAL__LISTEN", "127.0.0.1:1"),
        ("KEYGATE__PORTAL__TRUSTED_PROXIES", "10.0.0.1, ::1"),
        ("KEYGATE__PORTAL__REQUESTS_PER_SECOND", "7"),
    ];
    let settings = load_text("life", "", &variables).unwrap().settings;
    assert_eq!(settings.tokens, TokenRules { must_expire: true, max_expiry: Some(days(365)), ..TokenRules::default() });
    assert_eq!((settings.audit.refused_entries, settings.portal.listen.port()), (1_000_000, 1));
    assert_eq!(settings.portal.trusted_proxies.networks.len(), 2);
    assert_eq!(settings.portal.requests_per_second.unwrap().get(), 7);
    assert_eq!(settings.notify.webhook.unwrap().expose_secret(), "http://127.0.0.1:8090/keygate");
}

#[test]
fn every_mistake_about_the_life_of_tokens_is_found_in_one_run() {
    let text = r#"[tokens]
default_expiry = "0d"
max_expiry = 90
must_expire = "yes"
warn_before = "2w"
unused_after = "90"
revoke_unused_after = "1001y"
keep_ended = "-1d"
leak = "revoke"
expiry = "1d"
[audit]
keep = "0s"
refused_entries = 999
[notify]
webhook = "ftp://hooks.example.com/hunter2"
webhok = "x"
[portal]
listen = "9181"
trusted_proxies = ["unix", "10.0.0.0/33"]
requests_per_second = -1
request_per_second = 1
"#;
    let expected = "expected a duration such as \"90d\" or \"1y\", above zero and at most 1000y, found";
    assert_eq!(
        mistakes_of("life", text, &[("KEYGATE__AUDIT__REFUSED_ENTRIES", "1000001"), ("KEYGATE__NOTIFY__WEBHOK", "hunter2")]),
        [
            &format!("keygate.toml:2: tokens.default_expiry: {expected} \"0d\""),
            "keygate.toml:3: tokens.max_expiry: expected a text in quotes, found the integer 90",
            "keygate.toml:4: tokens.must_expire: expected true or false without quotes, found the text \"yes\"",
            &format!("keygate.toml:5: tokens.warn_before: {expected} \"2w\""),
            &format!("keygate.toml:6: tokens.unused_after: {expected} \"90\""),
            &format!("keygate.toml:7: tokens.revoke_unused_after: {expected} \"1001y\""),
            &format!("keygate.toml:8: tokens.keep_ended: {expected} \"-1d\""),
            "keygate.toml:9: tokens.leak: expected one of `report`, `revoke_family`, found \"revoke\"",
            "keygate.toml:10: tokens.expiry: unknown key; known are `default_expiry`, `max_expiry`, `must_expire`, `warn_before`, \
             `unused_after`, `revoke_unused_after`, `keep_ended`, `leak`",
            &format!("keygate.toml:12: audit.keep: {expected} \"0s\""),
            "keygate.toml:15: notify.webhook: expected a URL such as \"https://hooks.example.com/…\", with http:// or https://",
            "keygate.toml:16: notify.webhok: unknown key; did you mean `webhook`?",
            "keygate.toml:18: portal.listen: expected an address such as \"127.0.0.1:9180\", found \"9181\"",
            "keygate.toml:19: portal.trusted_proxies: expected an address or a network such as \"10.0.0.0/8\", found \"unix\"",
            "keygate.toml:19: portal.trusted_proxies: expected an address or a network such as \"10.0.0.0/8\", found \"10.0.0.0/33\"",
            "keygate.toml:20: portal.requests_per_second: expected 0 (no limit) to 1000000, found -1",
            "keygate.toml:21: portal.request_per_second: unknown key; did you mean `requests_per_second`?",
            "KEYGATE__AUDIT__REFUSED_ENTRIES: expected 1000 to 1000000, found 1000001",
            "KEYGATE__NOTIFY__WEBHOK: unknown variable; did you mean `KEYGATE__NOTIFY__WEBHOOK`?",
        ]
    );
    let found = mistakes_of("life", "[audit]\nrefused_entries = 999\n", &[]);
    assert_eq!(found, ["keygate.toml:2: audit.refused_entries: expected 1000 to 1000000, found 999"]);
}

#[test]
fn rules_for_tokens_that_contradict_each_other_are_refused_where_the_later_one_stands() {
    let text = "[tokens]\nmax_expiry = '30d'\ndefault_expiry = '90d'\nrevoke_unused_after = '60d'\n";
    assert_eq!(
        mistakes_of("contradiction", text, &[]),
        [
            "keygate.toml:3: tokens.default_expiry: it may not be above `tokens.max_expiry`, which is \"30d\"",
            "keygate.toml:4: tokens.revoke_unused_after: it may not be below `tokens.unused_after`, which is \"90d\"",
        ]
    );
    let variables = [("KEYGATE__TOKENS__MAX_EXPIRY", "1d"), ("KEYGATE__TOKENS__UNUSED_AFTER", "61d")];
    assert_eq!(
        mistakes_of("contradiction", text, &variables),
        [
            "KEYGATE__TOKENS__MAX_EXPIRY: it may not be below `tokens.default_expiry`, which is \"90d\"",
            "KEYGATE__TOKENS__UNUSED_AFTER: it may not be above `tokens.revoke_unused_after`, which is \"60d\"",
        ]
    );
    // What the file would say is not known.
    let variables = [("KEYGATE__TOKENS__REVOKE_UNUSED_AFTER", "1d"), ("KEYGATE__PORTAL__LISTEN", "127.0.0.1:9180")];
    let found = mistakes_of("contradiction", "[tokens\n", &variables);
    assert!(found.len() == 1 && found[0].starts_with("keygate.toml:1: this is not TOML"), "{found:?}");
}

#[test]
fn a_webhook_is_given_once_by_a_web_address_and_never_quoted() {
    let text = "[notify]\nwebhook = 'https://h/hunter2'\nwebhook_file = '/nowhere/hunter2'\n";
    assert_eq!(
        mistakes_of("webhook", text, &[]),
        ["keygate.toml:3: notify.webhook_file: `notify.webhook` is given too (keygate.toml:2); keep one of the two"]
    );
    for bad in
        ["", "hunter2", "/hunter2", "http:", "https://", "mailto:hunter2@h", "ftp://h/hunter2", " http://h/hunter2", "unix:/h"]
    {
        let found = mistakes_of("webhook", "", &[("KEYGATE__NOTIFY__WEBHOOK", bad)]);
        assert!(found.len() == 1 && found[0].starts_with("KEYGATE__NOTIFY__WEBHOOK: expected a URL"), "{bad}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
    let folder = Folder::new("webhook-file");
    let hook = folder.write("hook", "hunter2\n");
    let found = mistakes_of("webhook", "", &[("KEYGATE__NOTIFY__WEBHOOK_FILE", hook.to_str().unwrap())]);
    assert!(found.len() == 1 && found[0].starts_with("KEYGATE__NOTIFY__WEBHOOK_FILE: expected a URL"), "{found:?}");
}
