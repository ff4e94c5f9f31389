//! Codes as the standard has them, each accepted once, and secrets that only the server key opens.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::domain::id::test_rng;

fn keys(ids: &[(&str, u8)]) -> ServerKeys {
    let line = |(id, byte): &(&str, u8)| format!("{id}:{}\n", STANDARD.encode([*byte; 32]));
    ServerKeys::parse(&ids.iter().map(line).collect::<String>()).unwrap()
}

/// The secret of the test vectors in RFC 6238, appendix B; their last six digits.
fn vectors() -> (TotpSecret, [(i64, &'static str); 6]) {
    let codes = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];
    (TotpSecret(*b"12345678901234567890"), codes)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn code(text: &str) -> PresentedCode {
    PresentedCode::parse(text).unwrap()
}

fn record(secret: &TotpSecret, keys: &ServerKeys) -> Factors {
    let (account, id) = (AccountId::anonymous(), FactorId::generate(&mut test_rng()));
    let kind = FactorKind::Totp { secret: secret.seal(keys, &account, &id, &mut test_rng()), step: 0 };
    let name = Label::parse("Phone", "name", ["", "", ""]).unwrap();
    let factor = Factor { id, name, created_at: at(0), used_at: None, kind };
    Factors { v: Format, account, factors: vec![factor], recovery: Vec::new(), version: 1 }
}

#[test]
fn codes_are_those_of_the_standard() {
    let (secret, vectors) = vectors();
    for (seconds, text) in vectors {
        let PresentedCode::Totp(code) = code(text) else { panic!("six digits") };
        assert_eq!(secret.step_of(&code, at(seconds)), u64::try_from(seconds / 30).ok(), "{seconds}");
    }
}

#[test]
fn clocks_may_differ_by_exactly_one_step() {
    let (secret, _) = vectors();
    let PresentedCode::Totp(code) = code("005924") else { panic!("six digits") };
    let step = 1_234_567_890 / 30 * 30;
    for (seconds, good) in [(step - 31, false), (step - 30, true), (step, true), (step + 59, true), (step + 60, false)] {
        assert_eq!(secret.step_of(&code, at(seconds)).is_some(), good, "{}", seconds - step);
    }
    assert_eq!(secret.step_of(&code, at(0)), None);
}

#[test]
fn a_code_is_accepted_once_and_none_before_it() {
    let (secret, _) = vectors();
    let keys = keys(&[("k1", 7)]);
    let record = record(&secret, &keys);
    let now = at(1_111_111_111);
    let (after, proof) = record.accept(&code("050 471"), &keys, now, &mut test_rng()).unwrap();
    assert_eq!((proof, after.version), (Proof::Factor(record.factors[0].id.clone()), 2));
    assert_eq!(after.factors[0].used_at, Some(now));
    for again in ["050471", "081804"] {
        assert!(after.accept(&code(again), &keys, now, &mut test_rng()).is_none(), "{again}");
    }
    assert!(record.accept(&code("081804"), &keys, now, &mut test_rng()).is_some(), "it is of the step before");
    assert!(record.accept(&code("000000"), &keys, now, &mut test_rng()).is_none());
    // Another one has its own steps.
    let mut two = after.clone();
    let other = TotpSecret::generate(&mut test_rng());
    let id = FactorId::parse("000000000000").unwrap();
    let kind = FactorKind::Totp { secret: other.seal(&keys, &two.account, &id, &mut test_rng()), step: 0 };
    two.factors.push(Factor { id, kind, ..two.factors[0].clone() });
    assert!(two.accept(&code("050471"), &keys, now, &mut test_rng()).is_none());
}

#[test]
fn a_recovery_code_is_gone_when_it_is_used() {
    let keys = keys(&[("k1", 7)]);
    let mut record = record(&vectors().0, &keys);
    let codes = record.renew_recovery(&keys, &mut test_rng());
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|code| code.to_text().len() == 19 && codes.iter().filter(|other| *other == code).count() == 1));
    let text = codes[3].to_text();
    let typed = format!(" {} ", text.to_uppercase().replace('0', "O").replace('1', "l").replace('-', " "));
    let (after, proof) = record.accept(&code(&typed), &keys, at(0), &mut test_rng()).unwrap();
    assert_eq!((proof, after.recovery.len(), after.version), (Proof::RecoveryCode, 9, 2));
    assert!(after.accept(&code(&text), &keys, at(0), &mut test_rng()).is_none());
    let other = Factors { account: AccountId::generate(&mut test_rng()), ..record.clone() };
    assert!(other.accept(&code(&text), &keys, at(0), &mut test_rng()).is_none(), "of another account");
    let newer = after.clone().renew_recovery(&keys, &mut test_rng());
    assert!(newer.iter().all(|code| !codes.contains(code)));
}

#[test]
fn a_new_server_key_takes_over_what_an_old_one_has_sealed() {
    let (secret, _) = vectors();
    let (old, both, new) = (keys(&[("k1", 7)]), keys(&[("k2", 8), ("k1", 7)]), keys(&[("k2", 8)]));
    let mut record = record(&secret, &old);
    let codes = record.renew_recovery(&old, &mut test_rng());
    assert!(record.accept(&code("050471"), &new, at(1_111_111_111), &mut test_rng()).is_none());
    let (after, _) = record.accept(&code("050471"), &both, at(1_111_111_111), &mut test_rng()).unwrap();
    assert!(after.accept(&code("005924"), &new, at(1_234_567_890), &mut test_rng()).is_some());
    assert!(after.accept(&code(&codes[0].to_text()), &both, at(0), &mut test_rng()).is_some());
}

#[test]
fn a_sealed_secret_is_good_for_its_account_and_factor_alone() {
    let keys = keys(&[("k1", 7)]);
    let record = record(&vectors().0, &keys);
    let moved = Factors { account: AccountId::generate(&mut test_rng()), ..record.clone() };
    let mut renamed = record.clone();
    renamed.factors[0].id = FactorId::parse("000000000000").unwrap();
    for (record, good) in [(record, true), (moved, false), (renamed, false)] {
        assert_eq!(record.accept(&code("050471"), &keys, at(1_111_111_111), &mut test_rng()).is_some(), good);
    }
}

#[test]
fn the_record_is_plain_json_without_a_secret() {
    let keys = keys(&[("k1", 7)]);
    let (secret, _) = vectors();
    let mut record = record(&secret, &keys);
    let codes = record.renew_recovery(&keys, &mut test_rng());
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!((&json["factors"][0]["type"], &json["factors"][0]["step"]), (&"totp".into(), &0.into()));
    assert_eq!(serde_json::from_value::<Factors>(json.clone()).unwrap(), record);
    let shown = format!("{json} {record:?} {secret:?} {codes:?}");
    assert!(!shown.contains(&*secret.to_base32()) && !shown.contains(&codes[0].to_text()) && !shown.contains(&codes[0].0));
}

#[test]
fn what_is_no_code_is_none() {
    for wrong in
        ["", "12345", "1234567", "12345a", "+12345", "٠١٢٣٤٥", "0123-4567-89ab-cde", "0123-4567-89ab-cdeu", "0123-4567-89ab-cdé"]
    {
        assert!(PresentedCode::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn authenticator_apps_are_told_everything() {
    let (secret, _) = vectors();
    assert_eq!(
        *secret.uri("auth.example.com", "vera@example.com"),
        "otpauth://totp/auth.example.com:vera%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=auth.example.com\
         &algorithm=SHA1&digits=6&period=30"
    );
}
