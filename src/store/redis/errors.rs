//! The way from the driver's errors to ours: which of them go away, which leave a change open, and which mean that the
//! connection has to be another one.

use std::{error::Error, io, sync::Arc};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::{StoreError, Trouble};

/// Whether the connection will not get better by itself. A server that has become a replica stays connected, while its
/// address, or a sentinel, may lead to the new master.
pub(super) fn ends_the_link(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Client | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly) => true,
        _ => is_refused_login(error) || error.is_connection_dropped(),
    }
}

fn is_refused_login(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// `ERR max number of clients reached`: Redis has no code for it.
fn is_full(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error.detail().is_some_and(|detail| detail.contains("max number of clients"))
}

fn is_transient(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io => !is_bad_certificate(error),
        ErrorKind::Server(kind) => {
            matches!(
                kind,
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
            ) || is_full(error)
        }
        // BUSY: somebody's script runs for too long. NOREPLICAS: too few replicas to accept a write.
        _ => matches!(error.code(), Some("BUSY" | "NOREPLICAS")),
    }
}

/// rustls reports a certificate that it does not trust as an IO error; waiting does not help there.
fn is_bad_certificate(error: &RedisError) -> bool {
    let source = error.source();
    // The driver hands its inner error out together with the pointer it keeps it by.
    let shared = source.and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let inner = shared.and_then(|shared| shared.downcast_ref::<io::Error>());
    inner.is_some_and(|inner| inner.kind() == io::ErrorKind::InvalidData)
}

pub(super) fn store_error(error: &RedisError) -> StoreError {
    let message = format!("Redis: {error}");
    match error.code() {
        Some("OOM") => StoreError::permanent(message).with(Trouble::Full),
        _ if is_transient(error) => StoreError::transient(message),
        _ => StoreError::permanent(message),
    }
}

/// The error of a change. An answer from Redis that is an error means that nothing was done; no answer, or one
/// that makes no sense, leaves it open.
pub(super) fn commit_error(error: &RedisError) -> StoreError {
    let is_open = match error.kind() {
        ErrorKind::Io => !error.is_connection_refusal() && !is_bad_certificate(error),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => true,
        _ => false,
    };
    let mut error = store_error(error);
    if is_open {
        error.message.push_str("; the change may or may not have been applied");
        error.trouble = Trouble::Open;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_error(kind: io::ErrorKind) -> RedisError {
        io::Error::new(kind, "why").into()
    }

    fn code(code: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some("why".to_owned()))
    }

    fn server(kind: ServerErrorKind) -> RedisError {
        (ErrorKind::Server(kind), "why").into()
    }

    #[test]
    fn what_may_get_better_in_a_moment_is_transient() {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
        for kind in [BusyLoading, TryAgain, ClusterDown, MasterDown, ReadOnly] {
            assert!(is_transient(&server(kind)), "{kind:?}");
        }
        for name in ["BUSY", "NOREPLICAS"] {
            assert!(is_transient(&code(name)), "{name}");
        }
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::ConnectionRefused, io::ErrorKind::BrokenPipe] {
            assert!(is_transient(&io_error(kind)), "{kind}");
        }
    }

    #[test]
    fn what_an_operator_must_mend_is_not() {
        use ServerErrorKind::{CrossSlot, Moved, NoPerm, NoScript, ResponseError};
        for kind in [CrossSlot, Moved, NoPerm, NoScript, ResponseError] {
            assert!(!is_transient(&server(kind)), "{kind:?}");
        }
        for name in ["OOM", "WRONGTYPE", "NOAUTH", "WRONGPASS", "MISCONF", "DAMAGED"] {
            assert!(!is_transient(&code(name)), "{name}");
        }
        assert!(!is_transient(&(ErrorKind::AuthenticationFailed, "why").into()));
        assert!(!is_transient(&io_error(io::ErrorKind::InvalidData)), "a certificate");
    }

    #[test]
    fn only_a_lost_answer_leaves_a_change_open() {
        let is_open = |error: RedisError| commit_error(&error).message.contains("may or may not");
        assert!(is_open(io_error(io::ErrorKind::TimedOut)) && is_open(io_error(io::ErrorKind::ConnectionReset)));
        assert!(!is_open(io_error(io::ErrorKind::ConnectionRefused)) && !is_open(io_error(io::ErrorKind::InvalidData)));
        assert!(!is_open(code("BUSY")) && !is_open(server(ServerErrorKind::ReadOnly)));
    }
}
