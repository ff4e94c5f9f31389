//! A clock that is behind, for what was done a while ago.

use std::time::Duration;

use keygate::{
    clock::{Clock, SystemClock},
    domain::time::Timestamp,
};

pub struct Behind(pub Duration);

impl Clock for Behind {
    fn now(&self) -> Timestamp {
        let behind = i64::try_from(self.0.as_millis()).expect("not so long ago");
        Timestamp::from_millis(SystemClock.now().as_millis() - behind)
    }
}
