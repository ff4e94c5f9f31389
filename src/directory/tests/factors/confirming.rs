//! A session in which somebody confirms that it is him, by his password and a code; and what he is handed over once, where no
//! replica confirms it.

use super::*;

#[tokio::test]
async fn who_has_a_factor_confirms_by_a_code_too() {
    let fixture = fixture().await;
    let (secret, cookie, codes) = fixture.with_factor("vera").await;
    fixture.pass(Duration::from_mins(16));
    let password = |text: &str| Password::presented(text.as_bytes()).unwrap();
    let me = actor(&cookie);
    let confirm = async |text: &str, code: Option<PresentedCode>| {
        fixture.directory.confirm_password(&me, password(text), code.as_ref()).await
    };
    assert_eq!(code(confirm(PASSWORD, None).await), "code_required");
    assert_eq!(code(confirm(PASSWORD, Some(presented("000000"))).await), "wrong_code");
    assert_eq!(code(confirm("not the password", Some(fixture.shown(&secret, 0))).await), "wrong_password");
    // A wrong password uses no code; a right one does.
    let before = fixture.clock.now();
    let cookie = confirm(PASSWORD, Some(fixture.shown(&secret, 0))).await.unwrap();
    let told = fixture.done_since(before).await;
    let confirmed = told.iter().find(|event| event.action == "session.confirm").unwrap();
    assert_eq!(confirmed.after.as_ref().unwrap()["second_factor"], "totp");
    assert!(fixture.directory.begin_totp(&actor(&cookie)).await.is_ok());
    let again = fixture.directory.confirm_password(&actor(&cookie), password(PASSWORD), Some(&fixture.shown(&secret, 0))).await;
    assert_eq!(code(again), "wrong_code");
    // A recovery code does as well.
    let me = actor(&cookie);
    let cookie = fixture.directory.confirm_password(&me, password(PASSWORD), Some(&presented(&codes[0]))).await.unwrap();
    // And no other way leads around it.
    fixture.pass(Duration::from_mins(16));
    let new = Password::chosen("another one").unwrap();
    let cookie = fixture.directory.change_password(&actor(&cookie), password(PASSWORD), new).await.unwrap();
    assert_eq!(code(fixture.directory.begin_totp(&actor(&cookie)).await), "password_confirmation_required");
}

#[tokio::test]
async fn who_guesses_codes_at_a_confirmation_is_not_heard_for_a_while() {
    let fixture = fixture().await;
    let (secret, cookie, _) = fixture.with_factor("vera").await;
    let me = actor(&cookie);
    let password = || Password::presented(PASSWORD.as_bytes()).unwrap();
    let mut said = Vec::new();
    for _ in 0..12 {
        said.push(code(fixture.directory.confirm_password(&me, password(), Some(&presented("000000"))).await));
    }
    assert_eq!((said[0], said[11]), ("wrong_code", "blocked"), "{said:?}");
    assert_eq!(code(fixture.directory.confirm_password(&me, password(), Some(&fixture.shown(&secret, 0))).await), "blocked");
}

#[tokio::test]
async fn what_is_shown_once_is_handed_over_though_nothing_is_confirmed() {
    let (fixture, _) = super::super::confirm::lonely().await;
    fixture.superuser("root").await;
    let directory = &fixture.directory;
    let (secret, cookie, _) = fixture.with_factor("vera").await;
    let password = || Password::presented(PASSWORD.as_bytes()).unwrap();

    let renewed = handed_over(directory.renew_recovery_codes(&actor(&cookie), &fixture.shown(&secret, 0))).await.unwrap();
    assert_eq!((renewed.over.len(), renewed.confirmed), (10, false));
    let good = presented(&renewed.over[0].to_text());
    let confirmed = handed_over(directory.confirm_password(&actor(&cookie), password(), Some(&good))).await.unwrap();
    assert!(!confirmed.confirmed && fixture.is_in(&confirmed.over).await && !fixture.is_in(&cookie).await);
    let new = || Password::chosen("another one").unwrap();
    let changed = handed_over(directory.change_password(&actor(&confirmed.over), password(), new())).await.unwrap();
    assert!(!changed.confirmed && fixture.is_in(&changed.over).await);
    let cookie = changed.over;
    let id = fixture.factor_of(&cookie).await;
    let removed = handed_over(directory.remove_factor(&actor(&cookie), &id, &fixture.shown(&secret, 1))).await.unwrap();
    assert!(!removed.confirmed && fixture.is_in(&removed.over).await);

    let token = fixture.token("vera").await.token.judged.id;
    let rotated = handed_over(directory.rotate_token(&ADMIN, &token, Duration::ZERO)).await.unwrap();
    let (text, successor) = rotated.over;
    assert!(!rotated.confirmed && text.expose_secret().contains(successor.token.id.as_str()));
    assert_eq!(fixture.state(&token).await, TokenState::Superseded);

    let (secret, _, _) = fixture.with_factor("ada").await;
    let half = fixture.enter("ada").await;
    let entered = handed_over(fixture.try_code(&half, &fixture.shown(&secret, 0))).await.unwrap();
    assert!(!entered.confirmed && fixture.is_in(&entered.over).await);
    // What fails, fails.
    assert_eq!(code(handed_over(fixture.try_code(&half, &presented("000000"))).await), "session_ended");
}
