//! How the last use of a token is written down: `<milliseconds since 1970> <address, or ->`, in a string of its own.

use redis::Cmd;

use super::keys::Keyspace;
use crate::{
    domain::{
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    store::StoreError,
};

/// ```text
/// KEYS[1]  the last use of one token
/// ARGV[1]  milliseconds, ARGV[2]  address or "-"
/// ```
///
/// What is there and cannot be read is written over: the use at hand is the last one that is known.
const NOTE: &str = r"#!lua
local last = redis.call('GET', KEYS[1])
local at = last and tonumber(string.match(last, '^(-?%d+) '))
if not at or tonumber(ARGV[1]) > at then
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
end
";
const NO_ADDRESS: &str = "-";

/// The script comes along each time: it is short, and whoever gets it need not have it.
pub(super) fn note(keys: &Keyspace, token: &TokenId, last: &LastUse) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(NOTE).arg(1).arg(keys.last_use(token)).arg(last.at.as_millis());
    match last.address {
        Some(address) => command.arg(address.to_string()),
        None => command.arg(NO_ADDRESS),
    };
    command
}

/// # Errors
/// `permanent`, naming `key`, when somebody else has written there.
pub(super) fn read(key: &str, value: &[u8]) -> Result<LastUse, StoreError> {
    parse(value).ok_or_else(|| StoreError::permanent(format!("{key} in Redis is damaged: it is no last use")))
}

fn parse(value: &[u8]) -> Option<LastUse> {
    let (at, address) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let address = if address == NO_ADDRESS { None } else { Some(address.parse().ok()?) };
    Some(LastUse { at: Timestamp::from_millis(at.parse().ok()?), address })
}
