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
/// KEYS[1]  the order of last uses, and then the last use of each token
/// ARGV     for each of them: the token, milliseconds, address or "-"
/// ```
///
/// What is there and cannot be read is written over: the use at hand is the last one that is known. One that is noted again
/// gets its place, in case it was noted before there was an order.
const NOTE: &str = r"#!lua
local function place(token, millis)
  return string.format('%015d %s', math.max(millis, 0), token)
end
for i = 2, #KEYS do
  local token, millis, address = unpack(ARGV, 3 * i - 5, 3 * i - 3)
  local last = redis.pcall('GET', KEYS[i])
  local at = type(last) == 'string' and tonumber(string.match(last, '^(-?%d+) ')) or nil
  local new = tonumber(millis)
  if not at or new >= at then
    if at and new > at then
      redis.call('ZREM', KEYS[1], place(token, at))
    end
    redis.call('ZADD', KEYS[1], 0, place(token, new))
    if new ~= at then
      redis.call('SET', KEYS[i], millis .. ' ' .. address)
    end
  end
end
";
/// ```text
/// KEYS[1]  the last use of one token, KEYS[2]  the order of last uses
/// ARGV[1]  the token
/// ```
///
/// Redis runs it also where its memory is full.
const FORGET: &str = r"#!lua flags=allow-oom
local last = redis.call('GET', KEYS[1])
local at = last and tonumber(string.match(last, '^(-?%d+) '))
if at then
  redis.call('ZREM', KEYS[2], string.format('%015d %s', math.max(at, 0), ARGV[1]))
end
redis.call('DEL', KEYS[1])
";
const NO_ADDRESS: &str = "-";

/// Of tokens of one partition. The script comes along each time: it is short, and whoever gets it need not have it.
pub(super) fn note(keys: &Keyspace, partition: Partition, uses: &[(Partition, &(TokenId, LastUse))]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(NOTE).arg(1 + uses.len()).arg(keys.order_of_uses(partition));
    for (_, (token, _)) in uses {
        command.arg(keys.last_use(token));
    }
    for (_, (token, last)) in uses {
        command.arg(token.as_str()).arg(last.at.as_millis());
        match last.address {
            Some(address) => command.arg(address.to_string()),
            None => command.arg(NO_ADDRESS),
        };
    }
    command
}

pub(super) fn forget(keys: &Keyspace, token: &TokenId) -> Cmd {
    let mut command = redis::cmd("EVAL");
    let order = keys.order_of_uses(Partition::of_id(token.as_str()));
    command.arg(FORGET).arg(2).arg(keys.last_use(token)).arg(order).arg(token.as_str());
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
