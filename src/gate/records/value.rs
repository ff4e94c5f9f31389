//! A record in memory, of whichever kind its key is.

use std::sync::Arc;

use crate::{
    domain::{
        access::AccessRows,
        account::Account,
        session::{CheckSession, Session},
        site::Site,
        token::JudgedToken,
    },
    store::{
        Key, Record, StoreError, Stored,
        record::{HostClaim, NameClaim},
    },
};

/// What an entry takes beside its record, which is about as large as its text: key, and the tables it lies in.
const BESIDE: u32 = 150;

/// A record that may be remembered.
pub(in crate::gate) trait Kept: Record {
    fn of(value: &Value) -> Option<&Arc<Self>>;
}

macro_rules! kinds {
    ($($key:ident: $record:ident),+) => {
        /// A record that checks share, and about how many bytes it takes.
        #[derive(Clone, Debug)]
        pub(in crate::gate) enum Value {
            $($key(u32, Arc<$record>)),+
        }

        impl Value {
            /// # Errors
            /// When the record is damaged, or none that checks read.
            pub fn decode(key: &Key, stored: &Stored) -> Result<Self, StoreError> {
                let bytes = u32::try_from(stored.json.len()).unwrap_or(u32::MAX).saturating_add(BESIDE);
                match key {
                    $(Key::$key(..) => Ok(Self::$key(bytes, Arc::new($record::decode(key, stored)?))),)+
                    _ => Err(StoreError::permanent(format!("no check reads the record {}", key.name()))),
                }
            }

            pub fn bytes(&self) -> u32 {
                match self {
                    $(Self::$key(bytes, _))|+ => *bytes,
                }
            }
        }

        $(impl Kept for $record {
            fn of(value: &Value) -> Option<&Arc<Self>> {
                match value {
                    Value::$key(_, record) => Some(record),
                    _ => None,
                }
            }
        })+
    };
}
kinds!(
    Token: JudgedToken,
    Account: Account,
    Access: AccessRows,
    Site: Site,
    Host: HostClaim,
    Name: NameClaim,
    Session: Session,
    CheckSession: CheckSession
);
