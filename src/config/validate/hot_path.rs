//! How old what is remembered may be, and how much is: the section `hot_path`.

use std::time::Duration;

use super::{
    super::{
        mistake::{Noted, quoted},
        settings::HotPath,
    },
    Reader, duration,
    tokens::refuse_above,
};
use crate::domain::time::STALENESS;

/// `in_redis`: the store may be one that takes time to answer.
pub(super) fn hot_path(reader: &mut Reader<'_>, in_redis: bool) -> Result<HotPath, Noted> {
    let max_staleness = reader.text("hot_path.max_staleness", max_staleness);
    let entries = reader.number("hot_path.entries", "1000 to 100000000", |value| (1_000..=100_000_000).contains(&value));
    let memory = reader.number("hot_path.memory_mib", "1 to 1048576", |value| (1..=1_048_576).contains(&value));
    // A read that may take longer could outlast the freshness it was judged by. What is wrong with the timeout by itself
    // has been said.
    let timeout = reader.get("store.timeout").and_then(|node| node.text().ok()).and_then(|text| duration(text).ok());
    if in_redis && let (Ok(max_staleness), Some(timeout)) = (&max_staleness, timeout) {
        refuse_above(reader, ("store.timeout", timeout), ("hot_path.max_staleness", *max_staleness));
    }
    Ok(HotPath { max_staleness: max_staleness?, entries: entries?, bytes: u64::from(memory?) << 20 })
}

fn max_staleness(text: &str) -> Result<Duration, String> {
    let bound = duration(text)?;
    if STALENESS.contains(&bound) { Ok(bound) } else { Err(format!("expected 50ms to 1m, found {}", quoted(text))) }
}
