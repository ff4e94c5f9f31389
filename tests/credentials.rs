//! What a credential is worth at a running service, beyond the rows of the case table.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::shop::{CONFIG, Shop, bearing, get};

/// A rule may say how much a token may be able to do at all; only what is below that passes.
#[test]
fn a_token_is_as_powerful_as_its_strongest_site() {
    let shop = Shop::start(&CONFIG.replace("access = { read", "max_token_access = \"view\"\naccess = { read"));
    shop.keygate.must(&["site", "create", "other"]);
    shop.keygate.must(&["site", "create", "third"]);
    shop.keygate.must(&["access", "set", "robot", "other", "admin"]);
    for (limits, status, reason) in [
        (&[][..], 403, "token_too_powerful"),
        (&["write"], 403, "token_too_powerful"),
        (&["view"], 200, ""),
        (&["shop=view"], 200, ""),
        (&["shop=write"], 403, "token_too_powerful"),
        (&["shop=view", "other=view"], 200, ""),
        (&["shop=view", "other=write"], 403, "token_too_powerful"),
        // On a site on which its owner may do nothing it can do nothing.
        (&["shop=view", "third=admin"], 200, ""),
        (&["other=view"], 403, "site_access"),
    ] {
        let mut create = vec!["token", "create", "robot", "--name", "limited"];
        create.extend(limits.iter().flat_map(|limit| ["--access", limit]));
        let token = shop.keygate.must(&create);
        for dialect in ["nginx", "grpc", "envoy"] {
            let verdict = shop.ask(dialect, &bearing(&token));
            assert_eq!((verdict.status, verdict.reason()), (status, reason), "{dialect}, {limits:?}");
            if status == 200 {
                assert_eq!(verdict.header("X-Auth-Access"), "view", "{dialect}, {limits:?}");
            }
        }
    }
}

/// Many at once with the right password are one verification, not a queue that some fall out of.
#[test]
fn sixty_at_once_with_the_right_password_all_pass() {
    const PASSWORD: &str = "correct horse battery staple";
    let shop = Shop::start(CONFIG);
    shop.keygate.must_with(&["account", "create", "vera", "--password-stdin"], PASSWORD);
    shop.keygate.must(&["access", "set", "vera", "shop", "view"]);
    let request = get("/basic/7").header("Authorization", &format!("Basic {}", STANDARD.encode(format!("vera:{PASSWORD}"))));
    let verdicts: Vec<(u16, String)> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..60)
            .map(|index| {
                let (shop, request) = (&shop, &request);
                scope.spawn(move || {
                    let verdict = shop.ask(if index % 3 == 0 { "grpc" } else { "nginx" }, request);
                    (verdict.status, verdict.reason().to_owned())
                })
            })
            .collect();
        asking.into_iter().map(|each| each.join().unwrap()).collect()
    });
    assert_eq!(verdicts, vec![(200, String::new()); 60]);
}
