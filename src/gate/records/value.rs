//! A record in memory, of whichever kind its key is.

use std::sync::Arc;

use crate::{
    domain::{
        access::AccessRows,
        account::Account,
        session::{CheckSession, Session},
        site::Site,
        token::Token,
    },
    store::{
        Key, Record, StoreError, Stored,
        record::{HostClaim, NameClaim},
    },
};

/// What an entry takes beside the text of its record: the parsed record's own size, key, and the tables it lies in.
const BESIDE: u32 = 400;

/// A record that checks share.
#[derive(Clone, Debug)]
pub(in crate::gate) struct Value {
    record: Kind,
    /// About how many bytes it takes.
    pub bytes: u32,
}

/// A record that may be remembered.
pub(in crate::gate) trait Kept: Record {
    fn of(value: &Value) -> Option<&Arc<Self>>;
}

macro_rules! kinds {
    ($($key:ident: $record:ident),+) => {
        #[derive(Clone, Debug)]
        enum Kind {
            $($key(Arc<$record>)),+
        }

        impl Value {
            /// # Errors
            /// When the record is damaged, or none that checks read.
            pub fn decode(key: &Key, stored: &Stored) -> Result<Self, StoreError> {
                let record = match key {
                    $(Key::$key(..) => Kind::$key(Arc::new($record::decode(key, stored)?)),)+
                    _ => return Err(StoreError::permanent(format!("no check reads the record {}", key.name()))),
                };
                Ok(Self { record, bytes: u32::try_from(stored.json.len()).unwrap_or(u32::MAX).saturating_add(BESIDE) })
            }
        }

        $(impl Kept for $record {
            fn of(value: &Value) -> Option<&Arc<Self>> {
                match &value.record {
                    Kind::$key(record) => Some(record),
                    _ => None,
                }
            }
        })+
    };
}
kinds!(
    Token: Token,
    Account: Account,
    Access: AccessRows,
    Site: Site,
    Host: HostClaim,
    Name: NameClaim,
    Session: Session,
    CheckSession: CheckSession
);
