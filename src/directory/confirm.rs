//! Changes that were made, and that too few replicas have confirmed. One is no reason to leave the rest of a use case undone:
//! it is noted, and reported when all is done.

use std::cell::RefCell;

use super::{Directory, DirectoryError, Edit};
use crate::store::{CommitError, Key, StoreError};

tokio::task_local! {
    /// Of the use case that this task is at. It runs in one task from its beginning to its end.
    static UNCONFIRMED: RefCell<Option<StoreError>>;
}

/// Notes it for the end. Whether somebody will report it there.
pub(super) fn note(error: &StoreError) -> bool {
    UNCONFIRMED.try_with(|noted| noted.replace(Some(error.clone()))).is_ok()
}

/// Carries a use case out, or several of them, and reports at the end what was not confirmed. One inside another leaves that
/// to the outer one.
///
/// # Errors
/// Those of the case; or that it was done to its end, and is not confirmed.
pub fn reported<'c, T, E>(case: impl Future<Output = Result<T, E>> + Send + 'c) -> impl Future<Output = Result<T, E>> + Send + 'c
where
    T: Send + 'c,
    E: From<StoreError> + Send + 'c,
{
    // A use case is large, and would be held in several places.
    let case = Box::pin(case);
    async move {
        if UNCONFIRMED.try_with(|_| ()).is_ok() {
            return case.await;
        }
        let whole = async {
            let done = case.await?;
            match UNCONFIRMED.with(RefCell::take) {
                Some(error) => Err(error.into()),
                None => Ok(done),
            }
        };
        UNCONFIRMED.scope(RefCell::default(), whole).await
    }
}

/// What is handed over once, and cannot be had again: the text of a token, a cookie, recovery codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed<T> {
    pub over: T,
    /// Otherwise a failover of the store could undo what was done.
    pub confirmed: bool,
}

/// Carries a use case out that has something to hand over: that is lost if it is not handed over, so it is, and beside it
/// stands whether it is confirmed.
///
/// # Errors
/// Those of the case.
pub fn handed_over<'c, T, E>(
    case: impl Future<Output = Result<T, E>> + Send + 'c,
) -> impl Future<Output = Result<Handed<T>, E>> + Send + 'c
where
    T: Send + 'c,
    E: Send + 'c,
{
    let case = Box::pin(case);
    let whole = async {
        let over = case.await?;
        let unconfirmed = UNCONFIRMED.with(RefCell::take);
        if let Some(error) = &unconfirmed {
            tracing::warn!(%error, "something is handed over, and too few replicas of the store have confirmed it");
        }
        Ok(Handed { over, confirmed: unconfirmed.is_none() })
    };
    UNCONFIRMED.scope(RefCell::default(), whole)
}

impl Directory {
    /// There is nothing to delete. It may have been deleted without a confirmation: whoever asks again for that is told that
    /// it has gone when that is confirmed.
    pub(super) async fn gone<T>(&self, key: Key, missing: DirectoryError) -> Result<T, DirectoryError> {
        let mut edit = Edit::default();
        edit.takes_away();
        edit.expect_absent(key);
        match self.store.commit(edit.into_change()?.0).await {
            Err(CommitError::Store(error)) => Err(error.into()),
            Ok(()) | Err(CommitError::Conflict(_) | CommitError::Miscounted(_)) => Err(missing),
        }
    }
}
