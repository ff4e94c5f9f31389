//! What Redis says unasked on a tracking connection.

use redis::{PushInfo, PushKind, Value};

/// One message of Redis, in the order in which it came.
pub(super) enum Told {
    /// These keys have changed, or gone.
    Changed(Vec<Vec<u8>>),
    /// Everything has gone (`FLUSHALL`, `FLUSHDB`), or may have.
    Everything,
    /// The connection is over.
    Disconnected,
    /// Of no interest.
    Other,
}

impl Told {
    pub(super) fn read(push: PushInfo) -> Self {
        match push.kind {
            PushKind::Disconnection => Self::Disconnected,
            PushKind::Invalidate => Self::changed(push.data).unwrap_or(Self::Everything),
            _ => Self::Other,
        }
    }

    /// `None` for whatever is no list of keys: null is how Redis says "everything".
    fn changed(mut data: Vec<Value>) -> Option<Self> {
        let (Some(Value::Array(keys)), true) = (data.pop(), data.is_empty()) else { return None };
        let bytes = |key| match key {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        };
        keys.into_iter().map(bytes).collect::<Option<_>>().map(Self::Changed)
    }
}
