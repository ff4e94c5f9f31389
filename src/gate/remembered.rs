//! Passwords that were verified a moment ago, so that HTTP Basic does not cost an Argon2 hash on each request.
//!
//! Remembered is only that a password matched one stored hash, under a digest whose key never leaves this
//! process: a new password has a new hash, and is not remembered. The account is judged anew at each check.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::Cache;
use rand::{TryRng, rngs::SysRng};
use sha2::Sha256;

use crate::domain::{
    id::AccountId,
    password::{Password, PasswordHash},
    time::Timestamp,
};

const ENTRIES: usize = 10_000;
const FOR: Duration = Duration::from_mins(1);

/// The name of one account's password in memory.
pub(super) type Memory = [u8; 32];

pub(super) struct Remembered {
    mac: Hmac<Sha256>,
    verified_at: Cache<Memory, Timestamp>,
}

impl Remembered {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        SysRng.try_fill_bytes(&mut key).unwrap_or_else(|error| panic!("the operating system has no random bytes: {error}"));
        let mac = Hmac::new_from_slice(&key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        Self { mac, verified_at: Cache::new(ENTRIES) }
    }

    pub(super) fn name_of(&self, account: &AccountId, hash: &PasswordHash, password: &Password) -> Memory {
        let mut mac = self.mac.clone();
        mac.update(account.as_str().as_bytes());
        mac.update(b"\0");
        mac.update(hash.fingerprint());
        mac.update(password.expose_secret());
        mac.finalize().into_bytes().into()
    }

    pub(super) fn knows(&self, memory: &Memory, now: Timestamp) -> bool {
        let Some(verified_at) = self.verified_at.get(memory) else { return false };
        // A clock that was set back must not stretch it.
        let fresh = now >= verified_at && verified_at.checked_add(FOR).is_some_and(|end| now < end);
        if !fresh {
            self.verified_at.remove(memory);
        }
        fresh
    }

    pub(super) fn add(&self, memory: Memory, now: Timestamp) {
        self.verified_at.insert(memory, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::password::{Cost, Workspace};

    #[test]
    fn a_password_is_remembered_for_a_while_and_until_it_changes() {
        let remembered = Remembered::new();
        let account = AccountId::anonymous();
        let password = Password::chosen("correct horse").unwrap();
        let hash = || {
            let mut rng = rand::rand_core::UnwrapErr(SysRng);
            PasswordHash::generate(&password, Cost::new(8, 1, 1).unwrap(), &mut rng, &mut Workspace::default())
        };
        let (old, new) = (hash(), hash());
        let now = Timestamp::from_millis(1_000_000);
        let memory = remembered.name_of(&account, &old, &password);
        assert!(!remembered.knows(&memory, now));
        remembered.add(memory, now);
        assert!(remembered.knows(&memory, now));
        assert!(!remembered.knows(&remembered.name_of(&account, &new, &password), now), "set anew");
        assert!(!remembered.knows(&memory, now.checked_add(FOR).unwrap()));
        remembered.add(memory, now);
        assert!(!remembered.knows(&memory, Timestamp::from_millis(0)), "the clock was set back");
    }
}
