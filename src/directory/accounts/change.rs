//! What a change of an account comes to, and whether somebody gains by it.

use super::AccountPatch;
use crate::domain::{account::Account, password::PasswordHash};

pub(super) fn patched(old: &Account, patch: &AccountPatch, password: Option<PasswordHash>) -> Account {
    let patch = patch.clone();
    Account {
        login: patch.login.unwrap_or_else(|| old.login.clone()),
        name: patch.name.applied_to(old.name.as_ref()),
        email: patch.email.applied_to(old.email.as_ref()),
        superuser: patch.superuser.unwrap_or(old.superuser),
        disabled: patch.disabled.unwrap_or(old.disabled),
        must_have_second_factor: patch.must_have_second_factor.unwrap_or(old.must_have_second_factor),
        may_mint_tokens: patch.may_mint_tokens.unwrap_or(old.may_mint_tokens),
        password: password.or_else(|| old.password.clone()),
        ..old.clone()
    }
}

/// Whether the change gives nothing and takes something.
pub(super) fn only_takes_away(old: &Account, new: &Account) -> bool {
    !gives(old, new) && gains(new, old)
}

/// Whether somebody can do more by the change, or comes in by another name or password.
pub(super) fn gives(old: &Account, new: &Account) -> bool {
    gains(old, new) || old.login != new.login || old.email != new.email || old.password != new.password
}

fn gains(old: &Account, new: &Account) -> bool {
    let gains = |had: bool, has: bool| has && !had;
    gains(old.superuser, new.superuser)
        || gains(old.may_mint_tokens, new.may_mint_tokens)
        || gains(new.disabled, old.disabled)
        || gains(new.must_have_second_factor, old.must_have_second_factor)
}
