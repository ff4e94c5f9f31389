//! The sections `portal`, `sessions` and `guessing`, and what the rules need of them.

use super::{load_text, mistakes_of};
use crate::config::Settings;

fn mistakes(text: &str) -> Vec<String> {
    mistakes_of("portal", text, &[])
}

fn settings_of(name: &str, text: &str) -> Settings {
    load_text(name, text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes:?}")).settings
}

#[test]
fn what_browsers_could_not_do_is_a_mistake() {
    let twice =
        "[portal]\nurl = 'https://auth.example.com'\nhosts = ['a.example.com', 'https://a.example.com:8443', 'auth.example.com']\n";
    assert_eq!(
        mistakes(twice),
        ["keygate.toml:3: portal.hosts: two of these have the same host, and cookies know no ports; keep one"]
    );
    let own = "[portal]\nurl = 'https://auth.example.com'\nhosts = ['auth.example.com']\n";
    let message = "the portal needs a host of its own: the application at its host could use the portal's cookie";
    assert_eq!(mistakes(own), [format!("keygate.toml:3: portal.hosts: {message}")]);
    let nowhere = "[portal]\nhosts = ['shop.example.com']\n";
    let message = "browsers have to be sent somewhere to sign in: give `portal.url` too, such as \"https://auth.example.com\"";
    assert_eq!(mistakes(nowhere), [format!("keygate.toml:2: portal.hosts: {message}")]);
    let wrong_url = "[portal]\nurl = 'http://auth.example.com'\nhosts = ['shop.example.com']\n";
    let [only] = &mistakes(wrong_url)[..] else { panic!("one mistake") };
    assert!(only.starts_with("keygate.toml:2: portal.url: expected an origin"), "{only}");
}

#[test]
fn a_rule_that_leads_to_a_session_must_take_it() {
    let text = "[portal]\nurl = 'https://auth.example.com'\nhosts = ['shop.example.com']\n\
                [[rules]]\nname = 'r'\nsite = 's'\naccess = 'view'\ncredentials = ['bearer']\notherwise = 'login'\n";
    let message = "`login` leads to a session, which this rule does not take: add \"session\" to `credentials`";
    assert_eq!(mistakes(text), [format!("keygate.toml:9: rules[0].otherwise: {message}")]);
}

#[test]
fn ends_of_sessions_stand_in_order() {
    let text = "[sessions]\nidle = '13h'\nremember = '1h'\n";
    assert_eq!(
        mistakes(text),
        [
            "keygate.toml:2: sessions.idle: it may not be above `sessions.absolute`, which is \"12h\"",
            "keygate.toml:3: sessions.remember: it may not be below `sessions.absolute`, which is \"12h\"",
        ]
    );
}

#[test]
fn a_portal_to_try_out_needs_no_url_and_one_behind_a_proxy_should_know_it() {
    let url = |text: &str| settings_of("portal", text).portal.url.map(|url| url.to_string());
    assert_eq!(url(""), Some("http://localhost:9181".to_owned()));
    assert_eq!(url("[portal]\nhosts = ['http://shop.localhost:8000']\n"), Some("http://localhost:9181".to_owned()));
    assert_eq!(url("[portal]\nlisten = '0.0.0.0:9181'\n"), None);
    let behind = "[portal]\nurl = 'https://auth.example.com'\n";
    assert_eq!(settings_of("portal", behind).hints(None).len(), 1);
    assert!(settings_of("portal", &format!("{behind}trusted_proxies = ['127.0.0.1']\n")).hints(None).is_empty());
    assert!(settings_of("portal", "").hints(None).is_empty());
}

#[test]
fn more_to_remember_than_there_is_memory_is_spoken_of() {
    let hints = |memory| settings_of("memory", "[hot_path]\nmemory_mib = 512\n").hints(memory);
    assert!(hints(None).is_empty() && hints(Some(512 << 20)).is_empty());
    assert!(hints(Some(300 << 20))[0].starts_with("`hot_path.memory_mib` is 512, and there are 300 MiB of memory"));
}
