//! What lies in the stores of it, and what two servers over one store make of one code.

use std::{fs, thread};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::super::{CONFIG, PASSWORD, PLAIN, Portal, body};
use crate::support::{
    http::Request,
    keygate::{KEY, Keygate},
    redis::{Program, Server},
};

/// What the five bits of a letter of base32 come to, eight by eight.
fn bytes(base32: &str) -> Vec<u8> {
    let bits = base32.bytes().flat_map(|letter| {
        let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
        (0..5).rev().map(move |bit| value >> bit & 1)
    });
    bits.collect::<Vec<_>>().chunks_exact(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect()
}

fn assert_hidden(dump: &[u8], secret: &str, codes: &[String]) {
    let raw = bytes(secret);
    assert_eq!(raw.len(), 20);
    let hex = raw.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let plain: Vec<_> = codes.iter().map(|code| code.replace('-', "")).collect();
    let texts = [secret, &hex, &hex.to_uppercase(), &STANDARD.encode(&raw), &URL_SAFE_NO_PAD.encode(&raw)].map(str::to_owned);
    let spellings = texts.iter().chain(codes).chain(&plain).map(String::as_bytes);
    for hidden in spellings.chain([raw.as_slice()]) {
        assert!(!dump.windows(hidden.len()).any(|window| window == hidden), "{}", String::from_utf8_lossy(hidden));
    }
    // So that what is looked for is where it is looked for.
    assert!(dump.windows(10).any(|window| window == b"\"recovery\""), "the record of the factors");
}

#[test]
fn no_dump_of_the_embedded_store_has_a_secret_in_it() {
    let portal = Portal::start(PLAIN);
    let (app, codes) = portal.signed_in().set_up("/security/totp");
    let files = fs::read_dir(portal.keygate.data_dir()).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    let dump: Vec<u8> = files.flat_map(|path| fs::read(path).unwrap()).collect();
    assert_hidden(&dump, &app.0, &codes);
}

#[test]
fn no_dump_of_redis_has_a_secret_in_it() {
    let server = Server::start(Program::Redis);
    let portal = Portal::on_redis(PLAIN, &server);
    let (app, codes) = portal.signed_in().set_up("/security/totp");
    for command in [&["CONFIG", "SET", "rdbcompression", "no"][..], &["SAVE"]] {
        assert_eq!(server.command(command), "+OK");
    }
    assert_hidden(&fs::read(server.directory().join("dump.rdb")).unwrap(), &app.0, &codes);
}

#[test]
fn a_new_server_key_leaves_factors_as_they_are() {
    let server = Server::start(Program::Redis);
    let mut portal = Portal::on_redis(PLAIN, &server);
    let (app, codes) = portal.signed_in().set_up("/security/totp");
    let new = format!("k2:{}\n", STANDARD.encode([7; 32]));
    portal.keygate.folder.write("server.key", &format!("{new}{KEY}"));
    portal.keygate.restart();
    let client = portal.client();
    assert_eq!(client.enter(&app.code(0)).header("location"), Some("/keys"));
    assert_eq!(portal.client().enter(&codes[0]).header("location"), Some("/keys"));
    // What was shown since is sealed with the new one.
    portal.keygate.folder.write("server.key", &new);
    portal.keygate.restart();
    assert_eq!(portal.client().enter(&app.code(1)).header("location"), Some("/keys"));
    assert_eq!(portal.client().enter(&codes[1]).status, 403, "its key has gone");
}

#[test]
fn over_two_servers_a_code_is_accepted_once() {
    let server = Server::start(Program::Redis);
    let one = Portal::on_redis(PLAIN, &server);
    let mut second = Keygate::prepare_on_redis(&format!("{CONFIG}{PLAIN}"), &server.url());
    second.restart();
    let url = format!("http://localhost:{}", second.portal.port());
    let two = Portal { keygate: second, url };
    let (app, codes) = one.signed_in().set_up("/security/totp");
    for (code, round) in [(app.code(0), 0), (codes[0].clone(), 1), (app.code(1), 2), (codes[1].clone(), 3)] {
        let halves: Vec<_> = [&one, &two, &one, &two]
            .map(|portal| {
                let client = portal.client();
                client.sign_in("/sign-in", "vera", PASSWORD);
                let token = client.token("/second-factor");
                let request = client.request("POST", "/second-factor").header("Origin", &portal.url);
                (super::form(request, &[("csrf", &token), ("code", &code)]), portal.keygate.portal)
            })
            .into();
        let start = |(request, to): (Request, _)| thread::spawn(move || request.send(super::HOME, to).unwrap());
        let started: Vec<_> = halves.into_iter().map(start).collect();
        let answers: Vec<_> = started.into_iter().map(|sent| sent.join().unwrap()).collect();
        let accepted = answers.iter().filter(|answer| answer.header("location") == Some("/keys")).count();
        assert_eq!(accepted, 1, "{round}: {:?}", answers.iter().map(|answer| (answer.status, body(answer))).collect::<Vec<_>>());
    }
}

#[test]
fn at_checks_the_password_of_who_has_or_must_have_a_factor_is_no_credential() {
    let rule = "\n[[rules]]\nname = \"all\"\nmatch = { path = \"/{*rest}\" }\nsite = \"shop\"\naccess = \"view\"\n\
                credentials = [\"basic\", \"bearer\", \"session\"]\notherwise = \"login\"\n";
    let portal = Portal::start(&format!("{PLAIN}{rule}"));
    let keygate = &portal.keygate;
    keygate.must(&["site", "create", "shop"]);
    keygate.must(&["access", "set", "vera", "shop", "view"]);
    let token = keygate.must(&["token", "create", "vera", "--name", "job"]);
    let ask = |authorization: &str| {
        let request = Request::new("GET", "/auth/check?method=GET&url=http://shop.localhost:8000/x").header("Host", "localhost");
        let answer = request.header("Authorization", authorization).send([127, 0, 0, 1].into(), keygate.check).unwrap();
        let reason = answer.header("x-auth-reason").unwrap_or_default().to_owned();
        (answer.status, reason, answer.header("location").map(str::to_owned))
    };
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("vera:{password}")));
    let (passes, refused) = ((200, String::new(), None), (401, "second_factor_required".to_owned(), None));
    assert_eq!(ask(&basic(PASSWORD)), passes);
    keygate.must(&["account", "require-second-factor", "vera", "on"]);
    assert_eq!(ask(&basic(PASSWORD)), refused);
    assert_eq!(ask(&basic("wrong")), (401, "mismatch".to_owned(), None));
    keygate.must(&["account", "require-second-factor", "vera", "off"]);
    assert_eq!(ask(&basic(PASSWORD)), passes);
    portal.signed_in().set_up("/security/totp");
    assert_eq!(ask(&basic(PASSWORD)), refused);
    // Its tokens need none, however they are sent.
    for with in [format!("Bearer {token}"), basic(&token)] {
        assert_eq!(ask(&with), passes, "{with}");
    }
    keygate.must(&["account", "reset-second-factor", "vera"]);
    assert_eq!(ask(&basic(PASSWORD)), passes);
}
