//! The truth table: one case that passes, and everything that stops it, one line each. Then levels, whole:
//! every owner, ceiling and demand against a model that says it in other words.

use std::time::Duration;

use super::*;
use crate::domain::{
    access::SiteLevel,
    account::Format,
    decision::CredentialKinds,
    id::{AccountId, SiteId},
    key::ServerKeys,
    policy::{Matcher, SiteSource},
    request::{ClientHeaders, Described},
    site::SiteName,
    text::Login,
    token::{Ceiling, JudgedToken, Revocation, Supersession, TokenKind, TokenPrefix, TokenPrefixes},
};

mod sessions;

const NOW: i64 = 1_800_000_000_000;
const SESSION_RULES: SessionRules = SessionRules {
    idle: Duration::from_hours(1),
    absolute: Duration::from_hours(12),
    remember: Duration::from_hours(24 * 14),
    must_have_second_factor: false,
};

/// Everything a decision looks at, owned, so that a row can change one thing of it.
struct World {
    method: &'static str,
    client: Option<&'static str>,
    rule: Rule,
    no_rule: Option<Reason>,
    via: Via,
    place: Option<Via>,
    headers: Vec<(&'static str, &'static str)>,
    origin: Option<Origin>,
    finding: Option<Finding<'static>>,
    account: Option<Account>,
    access: Option<AccessRows>,
    token: Option<JudgedToken>,
    session: Option<Session>,
    sites: Option<Vec<Arc<Site>>>,
    site_missing: bool,
    allow_in_url: bool,
}

fn site(name: &str) -> Site {
    let mut rng = crate::domain::id::test_rng();
    Site {
        v: Format,
        id: SiteId::generate(&mut rng),
        site: SiteName::parse(name).unwrap(),
        name: None,
        hosts: Vec::new(),
        created_at: Timestamp::from_millis(0),
        version: 1,
    }
}

fn rows(account: &AccountId, levels: &[(&Site, Level)]) -> AccessRows {
    let rows = levels.iter().map(|(site, level)| (site.id.clone(), SiteLevel { site: site.site.clone(), level: *level })).collect();
    AccessRows { v: Format, account: account.clone(), rows, version: 1 }
}

fn world() -> World {
    let mut rng = crate::domain::id::test_rng();
    let (shop, blog) = (site("shop"), site("blog"));
    let mut account = Account::anonymous(Timestamp::from_millis(0));
    account.id = AccountId::generate(&mut rng);
    account.login = Login::parse("vera").unwrap();
    account.kind = AccountKind::Human;
    account.generation = 3;
    let keys = ServerKeys::parse(&ServerKeys::generate_file(&mut rng)).unwrap();
    let prefixes = TokenPrefixes::new(vec![TokenPrefix::parse("kg").unwrap()]).unwrap();
    let minted = prefixes.mint(TokenKind::User, &keys, &mut rng);
    let token = JudgedToken {
        v: Format,
        id: minted.id,
        account: account.id.clone(),
        kind: TokenKind::User,
        generation: 3,
        digest: minted.digest,
        key: minted.key,
        ceiling: Ceiling::Owner,
        scopes: Box::default(),
        networks: Box::default(),
        secure_only: false,
        expires_at: None,
        revoked: None,
        superseded: None,
        version: 1,
    };
    let demand = Demand {
        site: SiteSource::Host,
        read: Level::View,
        write: Level::Write,
        scope: None,
        credentials: CredentialKinds::default(),
        max_token_access: Level::Superuser,
        otherwise: Otherwise::Challenge,
        allows_cross_site: false,
    };
    World {
        method: "GET",
        client: Some("192.0.2.1"),
        rule: Rule { name: "shop".to_owned(), matcher: Matcher::default(), demand: Some(demand), body_ignored: false },
        no_rule: None,
        via: Via::Bearer,
        place: None,
        headers: Vec::new(),
        origin: Origin::parse("https://h").ok(),
        finding: None,
        access: Some(rows(&account.id, &[(&shop, Level::View), (&blog, Level::Admin)])),
        account: Some(account),
        token: Some(token),
        session: None,
        sites: Some(vec![Arc::new(shop)]),
        site_missing: false,
        allow_in_url: false,
    }
}

impl World {
    fn demand(&mut self) -> &mut Demand {
        self.rule.demand.as_mut().unwrap()
    }

    fn token(&mut self) -> &mut JudgedToken {
        self.token.as_mut().unwrap()
    }

    fn account(&mut self) -> &mut Account {
        self.account.as_mut().unwrap()
    }

    fn decide<T>(&self, look: impl FnOnce(Decision<'_>) -> T) -> T {
        let mut headers = ClientHeaders::default();
        for (name, value) in &self.headers {
            headers.take(name, value.as_bytes());
        }
        let client = self.client.map(|client| client.parse().unwrap());
        let described = Described { method: self.method, target: b"/", host: "h", client, headers: &headers, body: None };
        let request = CheckRequest::parse(described).unwrap();
        let Self { account, access, token, session, .. } = self;
        let (account, access) = (account.as_ref(), access.as_ref());
        let verified = Verified { account, access, token: token.as_ref(), session: session.as_ref() };
        let snapshot = Snapshot {
            now: Timestamp::from_millis(NOW),
            rule: self.no_rule.map_or(Ok(&self.rule), Err),
            way: Way { via: self.via, place: self.place.unwrap_or(self.via) },
            finding: self.finding.unwrap_or(Finding::Verified(verified)),
            sites: match &self.sites {
                _ if self.site_missing => Sites::Missing,
                Some(sites) => Sites::Known(sites),
                None => Sites::Unknown,
            },
            origin: self.origin.as_ref(),
            session_rules: &SESSION_RULES,
            allow_in_url: self.allow_in_url,
        };
        look(decide(&request, &snapshot))
    }

    fn outcome(&self) -> String {
        self.decide(|decision| match decision.reason() {
            None => "allow".to_owned(),
            Some(reason) => format!("{} {}", reason.status(), reason.code()),
        })
    }
}

fn anonymous(world: &mut World, level: Level) {
    world.demand().otherwise = Otherwise::Anonymous;
    world.via = Via::None;
    world.token = None;
    world.account = Some(Account::anonymous(Timestamp::from_millis(0)));
    let shop = Site::clone(&world.sites.as_ref().unwrap()[0]);
    world.access = Some(rows(&AccountId::anonymous(), &[(&shop, level)]));
}

type Row = (&'static str, fn(&mut World));

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_guard_stands_alone() {
    let rows: &[Row] = &[
        ("allow", |_| {}),
        ("403 no_rule", |w| w.no_rule = Some(Reason::NoRule)),
        ("400 ambiguous_query", |w| w.no_rule = Some(Reason::AmbiguousQuery)),
        ("allow", |w| {
            w.rule.demand = None;
            w.finding = Some(Finding::Unknown);
        }),
        // What was presented.
        ("401 no_credential", |w| {
            w.via = Via::None;
            w.finding = Some(Finding::NotPresented);
        }),
        ("401 malformed", |w| w.finding = Some(Finding::Malformed)),
        ("400 ambiguous_credential", |w| w.finding = Some(Finding::Ambiguous)),
        ("401 unknown", |w| w.finding = Some(Finding::Unknown)),
        ("401 session_ended", |w| {
            w.via = Via::Session;
            w.finding = Some(Finding::Unknown);
        }),
        ("401 mismatch", |w| w.finding = Some(Finding::Mismatch)),
        ("503 store_unavailable", |w| w.finding = Some(Finding::Unavailable(Reason::StoreUnavailable))),
        ("503 busy", |w| w.finding = Some(Finding::Unavailable(Reason::Busy))),
        // How it came.
        ("403 credential_kind", |w| w.via = Via::Basic),
        ("allow", |w| {
            w.via = Via::Basic;
            w.demand().credentials = CredentialKinds::new(&[Via::Basic]);
        }),
        ("403 credential_kind", |w| w.demand().credentials = CredentialKinds::new(&[Via::Basic])),
        ("403 url_token_refused", |w| {
            w.via = Via::Query;
            w.demand().credentials = CredentialKinds::new(&[Via::Query]);
        }),
        ("allow", |w| {
            w.via = Via::Query;
            w.allow_in_url = true;
            w.demand().credentials = CredentialKinds::new(&[Via::Query]);
        }),
        ("403 credential_kind", |w| {
            w.via = Via::Query;
            w.allow_in_url = true;
        }),
        ("403 url_token_refused", |w| {
            w.via = Via::Query;
            w.allow_in_url = true;
            w.demand().credentials = CredentialKinds::new(&[Via::Query]);
            w.token().secure_only = true;
        }),
        ("allow", |w| w.token().secure_only = true),
        // Whether it lives.
        ("401 unknown", |w| w.account = None),
        ("401 unknown", |w| w.account().id = AccountId::generate(&mut crate::domain::id::test_rng())),
        ("401 account_disabled", |w| w.account().disabled = true),
        ("401 revoked", |w| w.account().generation = 4),
        ("401 revoked", |w| w.account().generation = 2),
        ("401 revoked", |w| {
            w.token().revoked = Some(Box::new(Revocation {
                at: Timestamp::from_millis(NOW + 99),
                by: "ada".into(),
                why: None,
                keeps_minted: false,
            }));
        }),
        ("401 expired", |w| w.token().expires_at = Some(Timestamp::from_millis(NOW))),
        ("401 expired", |w| w.token().expires_at = Some(Timestamp::from_millis(NOW - 1))),
        ("allow", |w| w.token().expires_at = Some(Timestamp::from_millis(NOW + 1))),
        ("401 superseded", |w| {
            let by = w.token().id.clone();
            w.token().superseded = Some(Box::new(Supersession { by, grace_until: Timestamp::from_millis(NOW) }));
        }),
        ("allow", |w| {
            let by = w.token().id.clone();
            w.token().superseded = Some(Box::new(Supersession { by, grace_until: Timestamp::from_millis(NOW + 1) }));
        }),
        // Where it may be used.
        ("allow", |w| w.token().networks = ["192.0.2.0/24".parse().unwrap()].into()),
        ("403 network", |w| w.token().networks = ["198.51.100.0/24".parse().unwrap()].into()),
        ("403 network", |w| {
            w.client = None;
            w.token().networks = ["0.0.0.0/0".parse().unwrap()].into();
        }),
        ("allow", |w| {
            w.client = Some("::ffff:192.0.2.1");
            w.token().networks = ["192.0.2.1/32".parse().unwrap()].into();
        }),
        // What for.
        ("allow", |w| w.demand().scope = Some(Scope::parse("reporting").unwrap())),
        ("403 scope", |w| w.token().scopes = [Scope::parse("reporting").unwrap()].into()),
        ("allow", |w| {
            w.token().scopes = [Scope::parse("x").unwrap(), Scope::parse("reporting").unwrap()].into();
            w.demand().scope = Some(Scope::parse("reporting").unwrap());
        }),
        ("403 scope", |w| {
            w.token().scopes = [Scope::parse("x").unwrap()].into();
            w.demand().scope = Some(Scope::parse("reporting").unwrap());
        }),
        ("403 scope", |w| w.demand().scope = Some(Scope::parse("manage").unwrap())),
        // On what.
        ("403 site_unknown", |w| w.sites = None),
        ("403 site_unknown", |w| {
            w.sites = None;
            w.account().superuser = true;
        }),
        ("403 site_missing", |w| w.site_missing = true),
        ("403 site_missing", |w| w.sites = Some(Vec::new())),
        ("403 site_access", |w| w.sites = Some(vec![Arc::new(site("shop"))])),
        ("403 site_access", |w| w.sites.as_mut().unwrap().push(Arc::new(site("other")))),
        ("403 site_access", |w| w.access = None),
        ("403 site_access", |w| w.access.as_mut().unwrap().account = AccountId::anonymous()),
        ("403 site_access", |w| w.method = "POST"),
        ("403 site_access", |w| w.method = "get"),
        ("allow", |w| w.method = "HEAD"),
        ("allow", |w| w.method = "OPTIONS"),
        ("403 site_access", |w| w.demand().read = Level::None),
        ("403 site_access", |w| w.token().ceiling = Ceiling::EverySite(Level::None)),
        ("403 site_access", |w| w.token().ceiling = Ceiling::PerSite(Box::default())),
        ("403 site_access", |w| {
            w.account().superuser = true;
            w.token().ceiling = Ceiling::PerSite(Box::default());
        }),
        ("403 site_access", |w| {
            w.account().superuser = true;
            w.method = "POST";
            w.token().ceiling = Ceiling::EverySite(Level::View);
        }),
        // The owner is admin on another site, which makes his token powerful everywhere.
        ("403 token_too_powerful", |w| w.demand().max_token_access = Level::Write),
        ("allow", |w| {
            w.demand().max_token_access = Level::Write;
            w.token().ceiling = Ceiling::EverySite(Level::View);
        }),
        ("403 token_too_powerful", |w| {
            w.account().superuser = true;
            w.demand().max_token_access = Level::Admin;
        }),
        ("allow", |w| {
            w.token = None;
            w.via = Via::Basic;
            w.demand().max_token_access = Level::View;
            w.demand().credentials = CredentialKinds::new(&[Via::Basic]);
        }),
        // Nobody in particular.
        ("allow", |w| anonymous(w, Level::View)),
        ("401 no_credential", |w| anonymous(w, Level::None)),
        ("401 no_credential", |w| {
            anonymous(w, Level::Admin);
            w.method = "POST";
        }),
        ("401 no_credential", |w| {
            anonymous(w, Level::View);
            w.demand().otherwise = Otherwise::Challenge;
        }),
        ("401 account_disabled", |w| {
            anonymous(w, Level::View);
            w.account().disabled = true;
        }),
    ];
    for (index, (expected, change)) in rows.iter().enumerate() {
        let mut world = world();
        change(&mut world);
        assert_eq!(world.outcome(), *expected, "row {index}");
    }
}

#[test]
fn access_is_the_least_of_owner_token_and_site_for_every_combination() {
    let levels = Level::ALL;
    for superuser in [false, true] {
        for row in [Level::None, Level::View, Level::Write, Level::Admin] {
            for ceiling in levels.map(Some).into_iter().chain([None]) {
                for needed in [Level::View, Level::Write, Level::Admin, Level::Superuser] {
                    let mut world = world();
                    let shop = Site::clone(&world.sites.as_ref().unwrap()[0]);
                    let owner = world.account().id.clone();
                    world.account().superuser = superuser;
                    world.access = Some(rows(&owner, &[(&shop, row)]));
                    world.token().ceiling = ceiling.map_or(Ceiling::Owner, Ceiling::EverySite);
                    world.demand().read = needed;
                    let model = {
                        let owner = if superuser { 4 } else { levels.iter().position(|level| *level == row).unwrap() };
                        let ceiling = ceiling.map_or(4, |ceiling| levels.iter().position(|level| *level == ceiling).unwrap());
                        let needed = levels.iter().position(|level| *level == needed).unwrap();
                        if owner.min(ceiling) >= needed { "allow" } else { "403 site_access" }
                    };
                    assert_eq!(world.outcome(), model, "superuser {superuser}, row {row}, ceiling {ceiling:?}, needed {needed}");
                }
            }
        }
    }
}

#[test]
fn a_grant_says_who_it_is() {
    let mut world = world();
    let blog = site("blog");
    let owner = world.account().id.clone();
    let shop = Site::clone(&world.sites.as_ref().unwrap()[0]);
    world.access = Some(rows(&owner, &[(&shop, Level::Admin), (&blog, Level::Write)]));
    world.sites.as_mut().unwrap().push(Arc::new(blog));
    world.decide(|decision| {
        let Decision::Allow(grant) = decision else { panic!("{decision:?}") };
        assert_eq!((grant.account(), grant.kind()), (Some("vera"), Some(AccountKind::Human)));
        assert_eq!((grant.site().as_deref(), grant.access()), (Some("shop,blog"), Some(Level::Write)));
        assert_eq!(grant.credential(), world.token.as_ref().map(|token| token.id.as_str()));
    });
    world.rule.demand = None;
    world.decide(|decision| {
        let Decision::Allow(grant) = decision else { panic!("{decision:?}") };
        assert_eq!((grant.account(), grant.site(), grant.credential(), grant.access()), (None, None, None, None));
    });
}

#[test]
fn a_challenge_says_invalid_token_only_when_a_token_was_presented() {
    let challenge = |change: fn(&mut World)| {
        let mut world = world();
        change(&mut world);
        world.decide(|decision| match decision {
            Decision::Challenge(challenge) => (challenge.invalid_token, challenge.basic),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(challenge(|w| (w.via, w.finding) = (Via::None, Some(Finding::NotPresented))), (false, false));
    assert_eq!(challenge(|w| w.finding = Some(Finding::Unknown)), (true, false));
    let basic = challenge(|w| {
        w.demand().credentials = CredentialKinds::new(&[Via::Basic, Via::Bearer]);
        (w.via, w.finding) = (Via::Basic, Some(Finding::Mismatch));
    });
    assert_eq!(basic, (false, true));
}
