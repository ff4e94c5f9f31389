//! What judging costs by itself, without a store and without a network.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use keygate::domain::{
    access::{AccessRows, Level, SiteLevel},
    account::{Account, AccountKind, Format},
    decide::{Decision, Finding, Sites, Snapshot, Verified, decide},
    decision::{CredentialKinds, Via, Way},
    id::{AccountId, SiteId},
    key::ServerKeys,
    origin::ProtectedHosts,
    policy::{Demand, HostPattern, Matcher, Otherwise, PathPattern, Policy, Rule, SiteSource},
    presented::{CredentialReader, Presented},
    request::{CheckRequest, ClientHeaders, Described},
    session::SessionRules,
    site::{Site, SiteName},
    text::Login,
    time::Timestamp,
    token::{Ceiling, JudgedToken, PresentedToken, TokenKind, TokenPrefix, TokenPrefixes},
};
use rand::{rand_core::UnwrapErr, rngs::SysRng};

const SESSION_RULES: SessionRules = SessionRules {
    idle: Duration::from_hours(1),
    absolute: Duration::from_hours(12),
    remember: Duration::from_hours(24 * 14),
    must_have_second_factor: false,
};

/// One caller, his token and what he asks for.
struct World {
    keys: ServerKeys,
    prefixes: TokenPrefixes,
    text: String,
    presented: PresentedToken,
    token: JudgedToken,
    account: Account,
    access: AccessRows,
    sites: Vec<Arc<Site>>,
    rule: Rule,
}

fn rule(name: &str, host: Option<&str>, path: &str) -> Rule {
    let demand = Demand {
        site: SiteSource::Named(vec![SiteName::parse("shop").expect("a site's name")]),
        read: Level::View,
        write: Level::Write,
        scope: None,
        credentials: CredentialKinds::default(),
        max_token_access: Level::Superuser,
        otherwise: Otherwise::Challenge,
        allows_cross_site: false,
    };
    let matcher = Matcher {
        host: host.map(|host| HostPattern::parse(host).expect("a host pattern")),
        path: Some(PathPattern::parse(path).expect("a path pattern")),
        ..Matcher::default()
    };
    Rule { name: name.to_owned(), matcher, demand: Some(demand), body_ignored: false }
}

fn world() -> World {
    let mut rng = UnwrapErr(SysRng);
    let keys = ServerKeys::parse(&ServerKeys::generate_file(&mut rng)).expect("a key file");
    let prefixes = TokenPrefixes::new(vec![TokenPrefix::parse("kg").expect("a prefix")]).expect("one prefix");
    let minted = prefixes.mint(TokenKind::Service, &keys, &mut rng);
    let text = minted.text.expose_secret().to_owned();
    let presented = prefixes.parse(text.as_bytes()).expect("a token that was just made");
    let epoch = Timestamp::from_millis(0);
    let site = |name: String| Site {
        v: Format,
        id: SiteId::generate(&mut UnwrapErr(SysRng)),
        site: SiteName::parse(&name).expect("a site's name"),
        name: None,
        hosts: Vec::new(),
        created_at: epoch,
        version: 1,
    };
    let mut account = Account::anonymous(epoch);
    account.id = AccountId::generate(&mut rng);
    account.login = Login::parse("client").expect("a login");
    account.kind = AccountKind::Service;
    let shop = site("shop".to_owned());
    let others = (0..9).map(|number| site(format!("site-{number}")));
    let row = |site: Site| (site.id, SiteLevel { site: site.site, level: Level::Write });
    let rows = others.chain([shop.clone()]).map(row).collect();
    let access = AccessRows { v: Format, account: account.id.clone(), rows, version: 1 };
    let token = JudgedToken {
        v: Format,
        id: minted.id,
        account: account.id.clone(),
        kind: TokenKind::Service,
        generation: account.generation,
        digest: minted.digest,
        key: minted.key,
        ceiling: Ceiling::Owner,
        scopes: Box::default(),
        networks: Box::default(),
        secure_only: false,
        expires_at: Some(Timestamp::from_millis(2_000_000)),
        revoked: None,
        superseded: None,
        version: 1,
    };
    let rule = rule("orders", Some("shop.example.com"), "/orders/{id}/{*rest}");
    World { keys, prefixes, text, presented, token, account, access, sites: vec![Arc::new(shop)], rule }
}

fn described<'a>(headers: &'a ClientHeaders<'a>) -> Described<'a> {
    let client = "192.0.2.7".parse().ok();
    Described { method: "GET", target: b"/orders/17/lines?page=2", host: "shop.example.com", client, headers, body: None }
}

fn deciding(criterion: &mut Criterion) {
    let world = world();
    let headers = ClientHeaders::default();
    let request = CheckRequest::parse(described(&headers)).expect("a request with one reading");
    let snapshot = Snapshot {
        now: Timestamp::from_millis(1_000_000),
        rule: Ok(&world.rule),
        way: Way::plain(Via::Bearer),
        finding: Finding::Verified(Verified {
            account: Some(&world.account),
            access: Some(&world.access),
            token: Some(&world.token),
            session: None,
        }),
        sites: Sites::Known(&world.sites),
        origin: None,
        session_rules: &SESSION_RULES,
        allow_in_url: false,
    };
    // A refusal would be measured just as well, and mean nothing.
    assert!(world.presented.verifies(&world.token, &world.keys));
    assert!(matches!(decide(&request, &snapshot), Decision::Allow(_)));
    criterion.bench_function("decide and digest", |bencher| {
        bencher.iter(|| {
            let verified = black_box(&world.presented).verifies(black_box(&world.token), &world.keys);
            let allowed = matches!(decide(black_box(&request), black_box(&snapshot)), Decision::Allow(_));
            verified && allowed
        });
    });
    criterion.bench_function("decide", |bencher| {
        bencher.iter(|| matches!(decide(black_box(&request), black_box(&snapshot)), Decision::Allow(_)));
    });
}

fn reading(criterion: &mut Criterion) {
    let world = world();
    criterion.bench_function("token parse", |bencher| {
        bencher.iter(|| world.prefixes.parse(black_box(world.text.as_bytes())).is_some());
    });
    let headers = ClientHeaders::default();
    criterion.bench_function("request parse", |bencher| {
        bencher.iter(|| CheckRequest::parse(black_box(described(&headers))).is_ok());
    });
    let authorization = format!("Bearer {}", world.text);
    let mut headers = ClientHeaders::default();
    headers.take("authorization", authorization.as_bytes());
    let request = CheckRequest::parse(described(&headers)).expect("a request with one reading");
    let reader = CredentialReader {
        prefixes: world.prefixes.clone(),
        query_names: vec!["token_auth".to_owned()],
        hosts: ProtectedHosts::default(),
    };
    criterion.bench_function("credential read", |bencher| {
        bencher.iter(|| matches!(reader.read(black_box(&request), false).presented, Presented::Token { .. }));
    });
}

/// The time must not grow with the number of rules: neither of hosts, nor of paths on one host.
fn finding(criterion: &mut Criterion) {
    let headers = ClientHeaders::default();
    let mut group = criterion.benchmark_group("request parse and rule");
    for count in [10_usize, 1_000, 10_000] {
        let others = (1..count).map(|number| match number % 2 {
            0 => rule(&number.to_string(), Some(&format!("host-{number}.example.com")), "/orders/{id}/{*rest}"),
            _ => rule(&number.to_string(), Some("shop.example.com"), &format!("/part-{number}/{{id}}/{{*rest}}")),
        });
        // The last one is the one that matches: a walk over the list would have to look at all of them.
        let policy = Policy::new(others.chain([rule("orders", Some("shop.example.com"), "/orders/{id}/{*rest}")]).collect());
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let request = CheckRequest::parse(black_box(described(&headers))).ok();
                request.is_some_and(|request| policy.find(&request).is_ok())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, deciding, reading, finding);
criterion_main!(benches);
