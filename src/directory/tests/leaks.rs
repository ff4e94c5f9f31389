//! A rotated token that is used after its grace.

use std::net::IpAddr;

use serde_json::json;

use super::*;
use crate::{domain::token_rules::OnLeak, gate::signs::Leak};

impl Fixture {
    fn leak_of(&self, token: &TokenId) -> Leak {
        Leak { token: token.clone(), at: self.clock.now(), address: Some(IpAddr::from([192, 0, 2, 7])) }
    }
}

#[tokio::test]
async fn a_leak_is_in_the_trail_and_told() {
    let fixture = fixture().await;
    let (directory, told) = fixture.by(TokenRules::default());
    fixture.account("ada").await;
    let old = fixture.token("ada").await.token.judged.id;
    let new = directory.rotate_token(&ADMIN, &old, Duration::from_hours(1)).await.unwrap().1.token.judged.id;
    fixture.pass(Duration::from_hours(1));
    let now = fixture.clock.now();
    assert!(directory.report_leak(&fixture.leak_of(&old)).await.unwrap());
    assert_eq!(told.take(), [format!("token.leak {old}")]);
    let [event] = &fixture.done_since(now).await[..] else { panic!("one event") };
    assert_eq!(json!(event.actor), json!({ "account": "ada", "credential": old, "address": "192.0.2.7" }));
    assert_eq!(json!(event.after), json!({ "account": "ada", "successor": new, "revoked_family": false }));
    assert_eq!(fixture.state(&new).await, TokenState::Active);

    // What was never rotated, or is not there, is none.
    assert!(!directory.report_leak(&fixture.leak_of(&new)).await.unwrap());
    assert!(!directory.report_leak(&fixture.leak_of(&TokenId::parse("AbCdEfGh0123").unwrap())).await.unwrap());
    assert_eq!(told.take(), [""; 0]);
}

#[tokio::test]
async fn with_a_leak_the_family_ends_where_the_rules_say_so() {
    let fixture = fixture().await;
    let rules = TokenRules { on_leak: OnLeak::RevokeFamily, ..TokenRules::default() };
    let (directory, told) = fixture.by(rules);
    fixture.account("ada").await;
    let (text, old) = fixture.manager("ada").await;
    let old = old.token.judged.id;
    let minted = fixture.minted_with(&text, "ada").await.token.judged.id;
    let second = directory.rotate_token(&ADMIN, &old, Duration::ZERO).await.unwrap().1.token.judged.id;
    let third = directory.rotate_token(&ADMIN, &second, Duration::from_hours(24)).await.unwrap().1.token.judged.id;
    let stranger = fixture.token("ada").await.token.judged.id;
    fixture.pass(Duration::from_secs(1));
    for _ in 0..2 {
        let now = fixture.clock.now();
        assert!(directory.report_leak(&fixture.leak_of(&old)).await.unwrap());
        assert_eq!(told.take(), [format!("token.leak {old}")]);
        let events = fixture.done_since(now).await;
        assert_eq!(events[0].after.as_ref().unwrap()["revoked_family"], json!(true));
        fixture.pass(Duration::from_hours(1));
    }
    for token in [&second, &third, &minted] {
        assert_eq!(fixture.state(token).await, TokenState::Revoked, "{token}");
    }
    let revoked = directory.token(&ADMIN, &third).await.unwrap().revoked.unwrap();
    assert_eq!((revoked.by.as_str(), revoked.why.as_deref()), ("system:leak", Some(format!("leak of {old}").as_str())));
    assert_eq!(fixture.state(&stranger).await, TokenState::Active);
    assert_eq!(fixture.state(&old).await, TokenState::Superseded);
}
