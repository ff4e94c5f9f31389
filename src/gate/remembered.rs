//! Passwords that were verified a moment ago, so that HTTP Basic does not cost an Argon2 hash on each request.
//!
//! Remembered is only that a password matched one stored hash, under a digest whose key never leaves this
//! process: a new password has a new hash, and is not remembered; nor is it for anybody who comes from elsewhere, who may be
//! guessing. The account is judged anew at each check.

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

/// Whose password it would be.
pub(super) enum Whose<'a> {
    Account(&'a AccountId, &'a PasswordHash),
    /// A login that nobody has, folded. It is never remembered, and asked about like any other.
    Nobody(&'a str),
}

/// The name of a password in memory.
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

    /// `from` says where it comes from, without a zero byte; what is remembered there is so nowhere else.
    pub(super) fn name_of(&self, whose: &Whose<'_>, from: &str, password: &Password) -> Memory {
        let mut mac = self.mac.clone();
        mac.update(from.as_bytes());
        match whose {
            Whose::Account(account, hash) => {
                for part in [b"\0account\0", account.as_str().as_bytes(), b"\0", hash.fingerprint()] {
                    mac.update(part);
                }
            }
            Whose::Nobody(login) => {
                mac.update(b"\0nobody\0");
                mac.update(&(login.len() as u64).to_be_bytes());
                mac.update(login.as_bytes());
            }
        }
        mac.update(password.expose_secret());
        mac.finalize().into_bytes().into()
    }

    /// Whether the password matches: as remembered, or as `verify` finds out. Of several who ask the same at once, one
    /// verifies and the others wait for him; a mismatch is not remembered, so each of them finds it out.
    pub(super) async fn or_verify<E>(
        &self,
        memory: &Memory,
        now: Timestamp,
        verify: impl Future<Output = Result<bool, E>>,
    ) -> Result<bool, E> {
        if self.verified_at.get(memory).is_some_and(|verified_at| !is_fresh(verified_at, now)) {
            self.verified_at.remove(memory);
        }
        match self.verified_at.get_value_or_guard_async(memory).await {
            Ok(_) => Ok(true),
            Err(guard) => {
                let matches = verify.await?;
                if matches {
                    let _removed_meanwhile = guard.insert(now);
                }
                Ok(matches)
            }
        }
    }
}

/// A clock that was set back must not stretch it.
fn is_fresh(verified_at: Timestamp, now: Timestamp) -> bool {
    now >= verified_at && verified_at.checked_add(FOR).is_some_and(|end| now < end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::password::{Cost, Workspace};

    fn hash_of(password: &Password) -> PasswordHash {
        let mut rng = rand::rand_core::UnwrapErr(SysRng);
        PasswordHash::generate(password, Cost::new(8, 1, 1).unwrap(), &mut rng, &mut Workspace::default())
    }

    #[tokio::test]
    async fn a_password_is_remembered_for_a_while_and_until_it_changes() {
        let remembered = Remembered::new();
        let account = AccountId::anonymous();
        let password = Password::chosen("correct horse").unwrap();
        let (old, new) = (hash_of(&password), hash_of(&password));
        let now = Timestamp::from_millis(1_000_000);
        let name = |hash, from| remembered.name_of(&Whose::Account(&account, hash), from, &password);
        let (memory, other, elsewhere) = (name(&old, "203.0.113.7"), name(&new, "203.0.113.7"), name(&old, "203.0.113.8"));
        let ask = async |memory, now, answer| remembered.or_verify::<()>(memory, now, async { Ok(answer) }).await.unwrap();
        assert!(!ask(&memory, now, false).await);
        assert!(ask(&memory, now, true).await, "a mismatch is not remembered");
        assert!(ask(&memory, now, false).await, "a match is");
        assert!(!ask(&other, now, false).await, "set anew");
        assert!(!ask(&elsewhere, now, false).await, "from elsewhere");
        assert!(!ask(&memory, now.checked_add(FOR).unwrap(), false).await, "too long ago");
        assert!(ask(&memory, now, true).await);
        assert!(!ask(&memory, Timestamp::from_millis(0), false).await, "the clock was set back");
    }

    #[tokio::test]
    async fn of_many_who_ask_at_once_one_verifies() {
        let remembered = Remembered::new();
        let password = Password::chosen("correct horse").unwrap();
        let memory = remembered.name_of(&Whose::Nobody("nemo"), "", &password);
        let verified = std::sync::atomic::AtomicU32::new(0);
        let ask = || {
            remembered.or_verify::<()>(&memory, Timestamp::from_millis(1), async {
                tokio::task::yield_now().await;
                verified.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                Ok(true)
            })
        };
        let answers = futures_util::future::join_all((0..50).map(|_| ask())).await;
        assert!(answers.into_iter().all(|answer| answer == Ok(true)));
        assert_eq!(verified.into_inner(), 1);
    }
}
