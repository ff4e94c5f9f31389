//! What checks do to the store: nothing, but for the time when a session was last seen.

use crate::support::{
    cases_to_run,
    dialects::{PROXY, ask, call},
    http::{Answer, connect},
    visitor::{Browser, Portal},
};
use std::io::Write as _;

const SHOP: &str = "shop.example.com";

/// A digest of everything in the store but canaries, which come and go.
const DIGEST: &str = "local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if string.sub(key, 1, 5) ~= 'kg:z:' then
    all[#all + 1] = key .. redis.sha1hex(redis.call('DUMP', key))
  end
end
table.sort(all)
return redis.sha1hex(table.concat(all))";

#[test]
fn no_number_of_strangers_leaves_anything_in_the_store() {
    let portal = Portal::new();
    let before = portal.server.text(&["EVAL", DIGEST, "0"]);
    assert!(before.len() > 30, "{before}");
    let junk = "__Host-keygate-check=AbCdEfGh0123AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; __Host-keygate-nonce=x";
    let browser = Browser::default();
    let requests = [
        browser.navigation(SHOP, "/pages/7"),
        browser.fetch("GET", SHOP, "/pages/7"),
        browser.navigation(SHOP, "/pages/7").header("Cookie", junk),
        browser.navigation(SHOP, "/.keygate/callback?code=AbCdEfGh0123AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        browser.navigation(SHOP, "/.keygate/why?reason=scope"),
    ];
    let mut connection = connect(PROXY, portal.keygate().check).unwrap();
    let (wanted, mut refused, mut asked) = (cases_to_run(3_000, 100_000), 0, 0);
    while refused < wanted {
        let request = call("caddy", &requests[asked % requests.len()]);
        connection.write_all(&request.head()).unwrap();
        let answer = Answer::read(&mut &connection, false).unwrap();
        asked += 1;
        // On a busy machine the store may be late once; that request does not count, and there is an end to them.
        assert!(matches!(answer.status, 300..500 | 503) && asked < 2 * wanted as usize, "{} {:?}", answer.status, answer.headers);
        refused += u32::from(answer.status != 503);
    }
    assert_eq!(portal.server.text(&["EVAL", DIGEST, "0"]), before);
}

#[test]
fn a_store_that_does_not_answer_ends_no_session() {
    let portal = Portal::new();
    let mut browser = Browser::default();
    let session = portal.sign_in("vera");
    let sent = ask(portal.keygate(), "caddy", &browser.navigation(SHOP, "/pages/7")).unwrap();
    browser.keep(SHOP, &sent.headers);
    let callback = portal.hand_over(&session, sent.header("Location"));
    let back = ask(portal.keygate(), "caddy", &browser.navigation(SHOP, &callback)).unwrap();
    browser.keep(SHOP, &back.headers);
    let now = || ask(portal.keygate(), "nginx", &browser.fetch("GET", SHOP, "/pages/7")).unwrap();
    assert_eq!(now().status, 200);
    portal.server.freeze();
    crate::support::programs::wait_for("the store to be missed", || (now().status != 200).then_some(()));
    let away = now();
    assert_eq!((away.status, away.reason()), (503, "store_unavailable"), "{away:?}");
    // Nobody is signed out, and whoever sent the form reads why.
    let form = browser.request("POST", SHOP, "/.keygate/logout").header("Sec-Fetch-Site", "same-origin");
    let form = form.header("Sec-Fetch-Mode", "navigate").header("Sec-Fetch-Dest", "document");
    let page = ask(portal.keygate(), "caddy", &form).unwrap();
    assert_eq!((page.status, page.header("Content-Type"), page.header("Set-Cookie")), (503, "text/html; charset=utf-8", ""));
    assert!(String::from_utf8_lossy(&page.body).contains("Not available at the moment"), "{page:?}");
    let by_script = ask(portal.keygate(), "caddy", &browser.fetch("POST", SHOP, "/.keygate/logout")).unwrap();
    assert_eq!((by_script.status, by_script.header("Content-Type")), (503, "application/json"));
    portal.server.thaw();
    crate::support::programs::wait_for("the store to be asked again", || (now().status == 200).then_some(()));
}
