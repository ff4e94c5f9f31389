//! Whether a password is an account's. A trait, so that accounts may come from elsewhere one day; here the passwords whose
//! hashes lie in the records. What somebody may who has the right one, is judged by others.

use std::sync::Arc;

use async_trait::async_trait;

use super::hasher::{Busy, Hasher};
use crate::domain::{
    account::{Account, AccountKind},
    password::{Password, PasswordHash},
};

/// Verifies passwords.
#[async_trait]
pub trait Passwords: Send + Sync + 'static {
    /// Whether it is the password of the account. For nobody, and for who has none, it takes as long as for everybody, and
    /// is `false`.
    async fn verify(&self, account: Option<&Account>, password: Password) -> Result<bool, Busy>;
}

/// The passwords of people, by the hashes in their records.
#[derive(Debug)]
pub struct LocalPasswords {
    hasher: Arc<Hasher>,
}

impl LocalPasswords {
    #[must_use]
    pub fn new(hasher: Arc<Hasher>) -> Self {
        Self { hasher }
    }
}

#[async_trait]
impl Passwords for LocalPasswords {
    async fn verify(&self, account: Option<&Account>, password: Password) -> Result<bool, Busy> {
        match account.and_then(hash_of) {
            Some(hash) => self.hasher.verify(hash.clone(), password).await,
            None => self.hasher.verify_nobody(password).await,
        }
    }
}

/// Only people sign in.
pub(super) fn hash_of(account: &Account) -> Option<&PasswordHash> {
    account.password.as_ref().filter(|_| account.kind == AccountKind::Human)
}
