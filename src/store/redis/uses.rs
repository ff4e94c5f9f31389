//! How the last use of a token is written down: `<milliseconds since 1970> <address, or ->`, in a string of its own; and its
//! place in the order of last uses, a member of a sorted set of the same hash tag: `<milliseconds, of fifteen digits> <id>`.

use redis::Cmd;

use super::keys::Keyspace;
use crate::{
    domain::{
        time::Timestamp,
        token::{LastUse, TokenId},
    },
    store::{Partition, StoreError},
};

/// ```text
/// KEYS[1]  the last use of one token, KEYS[2]  the order of last uses
/// ARGV[1]  the token, ARGV[2]  milliseconds, ARGV[3]  address or "-"
/// ```
///
/// What is there and cannot be read is written over: the use at hand is the last one that is known. One that is noted again
/// gets its place, in case it was noted before there was an order.
const NOTE: &str = r"#!lua
local last = redis.call('GET', KEYS[1])
local at = last and tonumber(string.match(last, '^(-?%d+) '))
local new = tonumber(ARGV[2])
if at and new < at then
  return
end
local function place(millis)
  return string.format('%015d %s', math.max(millis, 0), ARGV[1])
end
if at and new > at then
  redis.call('ZREM', KEYS[2], place(at))
end
redis.call('ZADD', KEYS[2], 0, place(new))
if new ~= at then
  redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3])
end
";
/// As [`NOTE`], with the first argument only. Redis runs it also where its memory is full.
const FORGET: &str = r"#!lua flags=allow-oom
local last = redis.call('GET', KEYS[1])
local at = last and tonumber(string.match(last, '^(-?%d+) '))
if at then
  redis.call('ZREM', KEYS[2], string.format('%015d %s', math.max(at, 0), ARGV[1]))
end
redis.call('DEL', KEYS[1])
";
const NO_ADDRESS: &str = "-";

/// The script comes along each time: it is short, and whoever gets it need not have it.
pub(super) fn note(keys: &Keyspace, token: &TokenId, last: &LastUse) -> Cmd {
    let mut command = run(NOTE, keys, token);
    command.arg(last.at.as_millis());
    match last.address {
        Some(address) => command.arg(address.to_string()),
        None => command.arg(NO_ADDRESS),
    };
    command
}

pub(super) fn forget(keys: &Keyspace, token: &TokenId) -> Cmd {
    run(FORGET, keys, token)
}

fn run(script: &str, keys: &Keyspace, token: &TokenId) -> Cmd {
    let mut command = redis::cmd("EVAL");
    let order = keys.order_of_uses(Partition::of_id(token.as_str()));
    command.arg(script).arg(2).arg(keys.last_use(token)).arg(order).arg(token.as_str());
    command
}

/// The scripts spell it too.
pub(super) fn place(at: Timestamp, token: &TokenId) -> String {
    format!("{:015} {token}", at.as_millis().max(0))
}

pub(super) fn read_place(place: &str) -> Option<(Timestamp, TokenId)> {
    let (millis, token) = place.split_once(' ')?;
    Some((Timestamp::from_millis(millis.parse().ok()?), TokenId::parse(token)?))
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
