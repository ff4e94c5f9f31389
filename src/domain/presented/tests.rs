//! Where a credential is found, and what disagrees with what.

use super::*;
use crate::domain::{
    id::test_rng,
    request::{ClientHeaders, Described},
    session::SessionId,
    token::TokenPrefix,
};

use base64::engine::general_purpose;

const TOKEN: &str = "kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf";

const ORIGINS: [&str; 2] = ["https://h", "http://localhost"];

fn read(target: &str, headers: &[(&str, &str)]) -> Credentials {
    read_at("h", target, headers)
}

fn read_at(host: &str, target: &str, headers: &[(&str, &str)]) -> Credentials {
    let reader = CredentialReader {
        prefixes: TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap(),
        query_names: vec!["token_auth".to_owned()],
        hosts: ProtectedHosts::new(ORIGINS.map(|origin| Origin::parse(origin).unwrap()).to_vec()).unwrap(),
    };
    let mut client = ClientHeaders::default();
    for (name, value) in headers {
        client.take(name, value.as_bytes());
    }
    let described = Described { method: "GET", target: target.as_bytes(), host, client: None, headers: &client, body: None };
    reader.read(&CheckRequest::parse(described).unwrap(), true)
}

fn kind(target: &str, headers: &[(&str, &str)]) -> String {
    kind_of(&read(target, headers).presented)
}

fn kind_of(presented: &Presented) -> String {
    match presented {
        Presented::Nothing => "nothing".to_owned(),
        Presented::Ambiguous => "ambiguous".to_owned(),
        Presented::Malformed(via) => format!("malformed {}", via.as_str()),
        Presented::Token { via, login, .. } => {
            format!("token {} {}", via.as_str(), login.as_deref().unwrap_or_default()).trim().to_owned()
        }
        Presented::Password { login, .. } => format!("password {login}"),
        Presented::Session(_) => "session".to_owned(),
        Presented::SessionToken { place, cookie, .. } => {
            format!("session token {} {}", place.as_str(), if cookie.is_some() { "with cookie" } else { "alone" })
        }
    }
}

fn basic(pair: &str) -> String {
    format!("Basic {}", general_purpose::STANDARD.encode(pair))
}

#[test]
fn authorization_is_read_in_any_case_and_trimmed() {
    for value in [format!("Bearer {TOKEN}"), format!("bEARER   {TOKEN} "), format!("Bearer\t{TOKEN}")] {
        assert_eq!(kind("/", &[("authorization", &value)]), "token bearer", "{value}");
    }
    for value in ["Bearer", "Bearer ", "bearer x", "Bearer kg_u_x"] {
        assert_eq!(kind("/", &[("authorization", value)]), "malformed bearer", "{value}");
    }
    for value in ["", "realm=T", "Digest username=x", "Negotiate abc", TOKEN] {
        assert_eq!(kind("/", &[("authorization", value)]), "nothing", "{value}");
    }
}

#[test]
fn basic_carries_a_password_or_a_token() {
    let with = |pair: &str| kind("/", &[("authorization", &basic(pair))]);
    assert_eq!(with("vera:pass:word"), "password vera");
    assert_eq!(with(&format!("vera:{TOKEN}")), "token basic vera");
    assert_eq!(with(&format!("{TOKEN}:")), "token basic");
    assert_eq!(with(&format!("{TOKEN}:x")), "token basic");
    assert_eq!(with(&format!("{TOKEN}:{TOKEN}")), "token basic");
    assert_eq!(with(&format!("{TOKEN}:kg_u_other")), "ambiguous");
    assert_eq!(with("vera:kg_u_junk"), "malformed basic");
    for pair in ["vera", ":", ":x"] {
        assert_eq!(with(pair), "malformed basic", "{pair}");
    }
    assert_eq!(kind("/", &[("authorization", "Basic !!!")]), "malformed basic");
}

#[test]
fn two_that_disagree_are_ambiguous_and_two_that_agree_are_one() {
    let bearer = format!("Bearer {TOKEN}");
    let query = format!("/?token_auth={TOKEN}");
    assert_eq!(kind(&query, &[]), "token query");
    assert_eq!(kind(&query, &[("authorization", &bearer)]), "token bearer");
    assert_eq!(kind("/?token_auth=other", &[("authorization", &bearer)]), "ambiguous");
    assert_eq!(kind(&query, &[("authorization", &basic("vera:secret"))]), "ambiguous");
    assert_eq!(kind("/", &[("authorization", &bearer), ("authorization", &bearer)]), "ambiguous");
    assert_eq!(kind("/", &[("authorization", &format!("{bearer},{bearer}"))]), "ambiguous");
    assert_eq!(kind("/", &[("authorization", &format!("Digest x, {bearer}"))]), "ambiguous");
    assert_eq!(kind(&format!("{query}&token_auth={TOKEN}"), &[]), "ambiguous");
    assert_eq!(kind("/?token_auth=", &[]), "nothing");
    assert_eq!(read(&query, &[]).in_query, ["token_auth"]);
}

fn cookie() -> SessionSecret {
    SessionSecret::generate(SessionId::generate(&mut test_rng()), &mut test_rng())
}

#[test]
fn our_cookie_is_found_once_under_its_own_name_or_refused() {
    let text = cookie().to_text();
    let at = |host: &str, value: &str| kind_of(&read_at(host, "/", &[("cookie", &value.replace("SECRET", &text))]).presented);
    assert_eq!(at("h", "a=b; __Host-keygate-check=SECRET"), "session");
    assert_eq!(at("localhost", "a=b; keygate-check=SECRET"), "session");
    assert_eq!(at("h", "a=b; x__Host-keygate-check=SECRET"), "nothing");
    assert_eq!(at("h", "__Host-keygate-check=xyz"), "malformed session");
    assert_eq!(at("h", "keygate-check=SECRET"), "nothing", "planted by a sibling");
    assert_eq!(at("localhost", "__Host-keygate-check=SECRET"), "nothing");
    assert_eq!(at("elsewhere", "__Host-keygate-check=SECRET"), "malformed session", "no sessions there");
    assert_eq!(at("h", "keygate-check=x; __Host-keygate-check=SECRET"), "session");
    assert_eq!(at("h", "__Host-keygate-check=x; __Host-keygate-check=SECRET"), "ambiguous");
    let both = [("cookie", "__Host-keygate-check=x"), ("authorization", &*format!("Bearer {TOKEN}"))];
    assert_eq!(kind("/", &both), "token bearer", "an explicit token comes before a cookie");
}

#[test]
fn a_sessions_token_keeps_the_cookie_beside_it() {
    let prefixes = TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap();
    let bearer = format!("Bearer {}", prefixes.session_token(&cookie()).expose_secret());
    let sent = format!("__Host-keygate-check={}", cookie().to_text());
    let with = |cookies: &str| kind("/", &[("authorization", &bearer), ("cookie", cookies)]);
    assert_eq!(with(&sent), "session token bearer with cookie");
    assert_eq!(with("a=b"), "session token bearer alone");
    assert_eq!(with("__Host-keygate-check=junk"), "session token bearer alone");
    assert_eq!(with(&format!("{sent}; {sent}")), "ambiguous");
}
