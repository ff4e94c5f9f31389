//! Which failures count, when a block begins and when it ends, and who is meant by a name.

use super::*;

const LOGIN: &str = "vera";

fn minutes(minutes: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + minutes * 60_000)
}

fn limit(limit: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(limit)
}

fn networks(text: &str) -> Vec<IpNet> {
    vec![text.parse().unwrap()]
}

/// Few are borne within ten minutes; one address always passes, and one never.
fn rules() -> GuessingRules {
    GuessingRules {
        window: Duration::from_mins(10),
        per_address: limit(5),
        per_login: limit(3),
        codes_per_login: limit(2),
        tokens_per_address: limit(5),
        allow: networks("10.99.99.99/32"),
        deny: networks("10.55.55.55/32"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn address(text: &str) -> Subject {
    Subject::Address(Source::of(ip(text)))
}

/// Failed so many minutes ago.
fn failures(ago: &[i64]) -> Failures {
    let mut at: Vec<_> = ago.iter().map(|ago| minutes(-ago)).collect();
    at.sort();
    Failures { v: Format, at, version: 7 }
}

#[test]
fn only_failures_within_the_window_count() {
    let (attacker, rules) = (address("10.1.2.3"), rules());
    let older = [&[11, 12][..], &[14; 20]].concat();
    let earlier = rules.block(&attacker, &failures(&older), minutes(-10)).unwrap();
    assert_eq!((earlier.failures, earlier.until), (22, minutes(-4)), "as soon as no more than five are left");
    let all = [&[3, 5, 7, 9][..], &older].concat();
    assert_eq!(rules.block(&attacker, &failures(&all), minutes(0)), None);
}

#[test]
fn a_block_begins_with_the_failure_that_is_one_too_many_and_decays() {
    let (attacker, rules) = (address("10.1.2.3"), rules());
    let mut record = None;
    for minute in 0..5 {
        let recorded = rules.record(&attacker, record.as_ref(), &[minutes(minute)]).unwrap();
        assert_eq!(recorded.begun, None, "{minute}");
        assert_eq!(recorded.until, minutes(minute + 10));
        record = Some(recorded.failures);
    }
    assert_eq!(rules.block(&attacker, record.as_ref().unwrap(), minutes(5)), None, "five are borne");
    let sixth = rules.record(&attacker, record.as_ref(), &[minutes(5)]).unwrap();
    let block = Block { failures: 6, since: minutes(5), until: minutes(10) };
    assert_eq!(sixth.begun, Some(block));
    assert_eq!(rules.block(&attacker, &sixth.failures, minutes(9)), Some(block));
    // Whatever it tries meanwhile, the end stays where it is.
    assert_eq!(rules.record(&attacker, Some(&sixth.failures), &[minutes(6), minutes(9)]), None);
    assert_eq!(rules.block(&attacker, &sixth.failures, minutes(10)), None, "at that very instant");
    let again = rules.record(&attacker, Some(&sixth.failures), &[minutes(10)]).unwrap();
    assert_eq!(again.begun, Some(Block { failures: 6, since: minutes(10), until: minutes(11) }), "the first one has gone");
    assert_eq!((again.failures.at.len(), again.failures.version), (6, 7));
}

#[test]
fn many_failures_at_once_are_recorded_up_to_the_block() {
    let recorded = rules().record(&address("10.1.2.3"), None, &[minutes(0); 1000]).unwrap();
    assert_eq!(recorded.failures.at.len(), 6);
    assert_eq!(recorded.begun.map(|block| block.failures), Some(6));
}

#[test]
fn failures_that_arrive_late_take_their_place_in_time() {
    let (attacker, rules) = (address("10.1.2.3"), rules());
    let recorded = rules.record(&attacker, Some(&failures(&[1, 3])), &[minutes(-2), minutes(-20)]).unwrap();
    assert_eq!(recorded.failures, Failures { version: 8, ..failures(&[1, 2, 3]) });
    assert_eq!(recorded.until, minutes(9));
}

#[test]
fn addresses_that_are_allowed_are_never_blocked_and_those_that_are_denied_always() {
    let mut rules = rules();
    let allowed = address("10.99.99.99");
    assert_eq!(rules.block(&allowed, &failures(&[1; 20]), minutes(0)), None);
    assert_eq!(rules.of_password(Some(ip("10.99.99.99")), LOGIN), Ok(vec![Subject::Login(LOGIN.to_owned())]));
    assert_eq!(rules.of_token(Some(ip("10.99.99.99"))), Ok(None));
    for denied in ["10.55.55.55", "::ffff:10.55.55.55"] {
        assert_eq!(rules.of_password(Some(ip(denied)), LOGIN), Err(Denied));
        assert_eq!(rules.of_token(Some(ip(denied))), Err(Denied));
    }
    rules.allow = networks("10.0.0.0/8");
    assert_eq!(rules.of_password(Some(ip("10.55.55.55")), LOGIN), Err(Denied), "deny wins");
}

#[test]
fn a_login_is_blocked_from_wherever_it_is_tried() {
    let rules = rules();
    let login = |text| Subject::login(text).unwrap();
    assert!(rules.block(&login("theuser"), &failures(&[1, 2, 4, 5, 8, 75]), minutes(0)).is_some());
    assert_eq!(rules.block(&login("anotheruser"), &failures(&[1, 2]), minutes(0)), None);
    assert_eq!(login("VERA"), login("vera"), "as logins are the same");
    let by_both = vec![address("10.1.2.3"), login("vera")];
    assert_eq!(rules.of_password(Some(ip("10.1.2.3")), "Vera"), Ok(by_both.clone()));
    assert_eq!(rules.of_password(None, "Vera"), Ok(by_both[1..].to_vec()), "where the address is not known");
}

#[test]
fn what_is_nobodys_login_counts_by_address_only() {
    let rules = rules();
    let long = "x".repeat(300);
    for text in ["", "correct horse", &long, "a\nb"] {
        assert_eq!(rules.of_password(Some(ip("10.1.2.3")), text), Ok(vec![address("10.1.2.3")]), "{text:?}");
    }
    assert!(Subject::login("vera@example.com").is_some() && Subject::login(&long[..100]).is_some());
}

#[test]
fn a_limit_of_none_counts_nothing() {
    let rules = GuessingRules { per_address: None, per_login: None, tokens_per_address: None, ..rules() };
    assert_eq!(rules.of_password(Some(ip("10.1.2.3")), LOGIN), Ok(Vec::new()));
    assert_eq!(rules.of_token(Some(ip("10.1.2.3"))), Ok(None));
    assert_eq!(rules.of_token(Some(ip("10.55.55.55"))), Ok(None));
    assert_eq!(rules.record(&address("10.1.2.3"), None, &[minutes(0)]), None);
}

#[test]
fn a_source_is_one_address_of_ipv4_and_64_bits_of_ipv6() {
    for (address, source) in [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
    ] {
        assert_eq!(Source::of(ip(address)).to_string(), source);
        assert_eq!(Source::parse(source), Some(Source::of(ip(address))));
        assert_eq!(Source::parse(address), Some(Source::of(ip(address))));
    }
    for text in ["", "vera", "10.0.0.0/8", "10.0.0.1/64", "2001:db8::/32"] {
        assert_eq!(Source::parse(text), None, "{text}");
    }
}

#[test]
fn a_subject_is_found_by_its_name_and_by_what_people_call_it() {
    let source = Source::of(ip("2001:db8::1"));
    let [codes, login] = [Subject::Codes, Subject::Login].map(|of| of("a@b:c".to_owned()));
    let subjects = [Subject::Address(source), Subject::TokensFrom(source), codes, login];
    for subject in &subjects {
        assert_eq!(Subject::parse(&subject.name()).as_ref(), Some(subject));
    }
    for other in ["", "vera", "address:vera", "else:vera"] {
        assert_eq!(Subject::parse(other), None, "{other}");
    }
    assert_eq!(Subject::named("2001:db8::/64"), subjects[..2]);
    assert_eq!(Subject::named("Vera"), [Subject::Codes, Subject::Login].map(|of| of(LOGIN.to_owned())));
    // Somebody may be called so.
    assert_eq!(Subject::named("10.1.2.3").len(), 4);
}
