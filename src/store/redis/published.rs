//! How what a server says of itself is written down: a string with an end, and its id in a sorted set of those that have one.

use std::time::Duration;

use redis::Cmd;

use super::keys::Keyspace;
use crate::domain::id::ReplicaId;

/// ```text
/// KEYS[1]  the ids, KEYS[2]  what this one says
/// ARGV[1]  its id, ARGV[2]  what it says, ARGV[3]  milliseconds until that is forgotten
/// ```
///
/// Whoever publishes removes the ids of those whose time is over, so that they do not add up.
const PUT: &str = r"#!lua
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if redis.call('TYPE', KEYS[1] .. ':' .. id).ok == 'none' then
    redis.call('ZREM', KEYS[1], id)
  end
end
";

pub(super) fn put(keys: &Keyspace, replica: &ReplicaId, said: &str, keep: Duration) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(PUT).arg(2).arg(keys.published()).arg(keys.published_by(replica));
    command.arg(replica.as_str()).arg(said).arg(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX).max(1));
    command
}
