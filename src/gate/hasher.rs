//! Where passwords are hashed: off the threads that answer requests.

use crate::domain::password::{Cost, Password, PasswordHash, Workspace};

/// Too many passwords are waiting already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

#[derive(Debug)]
pub struct Hasher {
    cost: Cost,
}

impl Hasher {
    #[must_use]
    pub fn new(cost: Cost) -> Self {
        Self { cost }
    }

    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Busy> {
        let cost = self.cost;
        let hash = move || {
            let mut rng = rand::rand_core::UnwrapErr(rand::rngs::SysRng);
            PasswordHash::generate(&password, cost, &mut rng, &mut Workspace::default())
        };
        tokio::task::spawn_blocking(hash).await.map_err(|_| Busy)
    }
}
