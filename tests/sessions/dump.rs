//! Somebody has a dump of the store, and not the server's key: no text in it is good for anything.

use std::{collections::BTreeSet, fs};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use keygate::domain::csrf;

use super::{House, On, SHOP, Signed, at_portal};
use crate::support::{dialects::ask, http::Request, visitor::Browser};

/// Everything that the store has written down, as it lies on the disk.
fn dump(house: &House) -> Vec<u8> {
    let Some(server) = &house.redis else {
        let files = fs::read_dir(house.control.data_dir()).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
        return files.flat_map(|path| fs::read(path).unwrap()).collect();
    };
    for command in [&["CONFIG", "SET", "rdbcompression", "no"][..], &["SAVE"]] {
        assert_eq!(server.command(command), "+OK");
    }
    fs::read(server.directory().join("dump.rdb")).unwrap()
}

/// The words in it, and what somebody could make of them: a name of a session, and what stands where a secret would.
fn candidates(house: &House) -> BTreeSet<String> {
    let dump = dump(house);
    let words = dump.split(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'));
    let mut words: BTreeSet<_> =
        words.filter(|word| word.len() >= 12).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let Signed { vera, check, code, nonce, .. } = &house.signed;
    // So that what is looked for is there, and it is not the secrets themselves.
    for digest in [&vera.secret, &check.secret].map(|secret| secret.digest().to_base64url()) {
        assert!(words.contains(&digest), "{digest}");
    }
    assert!(words.contains(&code.secret.digest().to_hex()) && words.iter().any(|word| word.contains(vera.session.as_str())));
    for secret in [&vera.secret, &check.secret, &code.secret, nonce].map(keygate::domain::session::Secret::to_text) {
        assert!(!words.iter().any(|word| word.contains(&secret)));
    }
    let bytes = |hex: &str| -> Option<Vec<u8>> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
    };
    let of_hex = words.iter().filter(|word| word.len() == 64).filter_map(|word| Some(URL_SAFE_NO_PAD.encode(bytes(word)?)));
    let secrets: Vec<_> = of_hex.chain(words.iter().filter(|word| word.len() == 43).cloned()).collect();
    assert!(secrets.len() >= 6, "{secrets:?}");
    for id in [&vera.session, &house.signed.root.session] {
        words.extend(secrets.iter().map(|secret| format!("{id}{secret}")));
    }
    words.extend(secrets);
    words
}

/// What is well-formed as the token of that session, of the first characters that could be its secret.
fn session_token(id: &str, word: &str) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let secret: String = word.chars().filter(char::is_ascii_alphanumeric).chain(std::iter::repeat('0')).take(32).collect();
    let mut token = format!("kg_x_{id}{secret}");
    let sum = crc32fast::hash(token.as_bytes()) as usize;
    token.extend((0..6).rev().map(|place| char::from(ALPHABET[sum / 62_usize.pow(place) % 62])));
    token
}

pub async fn nothing_in_a_dump_of_the_store_opens_anything(on: On) {
    let house = House::with_shop(on).await;
    let keygate = &house.control.keygate;
    let Signed { vera, check, code, nonce, .. } = &house.signed;
    let me = || at_portal("GET", "/api/v1/me");
    let by_cookie = |value: &str| house.send(&me().header("Cookie", &format!("__Host-keygate={value}"))).status;
    let page = || Browser::default().fetch("GET", SHOP, "/pages/7");
    let passes = |request: &Request| ask(keygate, "caddy", request).unwrap().status;
    let check_by = |value: &str| passes(&page().header("Cookie", &format!("__Host-keygate-check={value}")));
    let callback = |code: &str| {
        let request = Browser::default().navigation(SHOP, &format!("/.keygate/callback?code={code}"));
        passes(&request.header("Cookie", &format!("__Host-keygate-nonce={}", nonce.to_text())))
    };
    let end_by = |csrf: &str| {
        let request = at_portal("DELETE", "/api/v1/sessions/AbCdEfGh0123").header("X-CSRF-Token", csrf);
        house.send(&request.header("Cookie", &format!("__Host-keygate={}", vera.to_text()))).status
    };
    let bearing = |request: Request, token: &str| request.header("Authorization", &format!("Bearer {token}"));
    let no_way = |status: u16| matches!(status, 400 | 401 | 403);

    assert_eq!((by_cookie(&vera.to_text()), check_by(&check.to_text()), end_by(&csrf::token(&vera.secret))), (200, 200, 404));
    let candidates = candidates(&house);
    for word in &candidates {
        assert!(no_way(by_cookie(word)), "the portal's cookie: {word}");
        assert!(no_way(check_by(word)), "a cookie of the host: {word}");
        assert!(no_way(callback(word)), "a code: {word}");
        assert_eq!(end_by(word), 403, "the token of a form: {word}");
        for token in [word.clone(), session_token(vera.session.as_str(), word)] {
            assert!(no_way(house.send(&bearing(me(), &token)).status), "a token at the portal: {token}");
            assert!(no_way(passes(&bearing(page(), &token))), "a token: {token}");
            let beside = bearing(page(), &token).header("Cookie", &format!("__Host-keygate-check={word}"));
            assert!(no_way(passes(&beside)), "a token with a cookie: {token}, {word}");
        }
    }
    // All that was found is still what it was.
    assert_eq!((by_cookie(&vera.to_text()), check_by(&check.to_text()), callback(&code.to_text())), (200, 200, 303));
}
