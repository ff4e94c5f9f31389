//! The script that applies a change, and how its keys and arguments are laid out. Nothing else of this crate
//! runs inside Redis.

use redis::Cmd;

use super::keys::Keyspace;
use crate::store::{Change, Expect, Step};

/// ```text
/// KEYS     one per condition, in their order, then one per step, in their order
/// ARGV[1]  how many conditions there are
/// ARGV[2i], ARGV[2i + 1]  about KEYS[i]
///          a condition: "absent" "" | "present" "" | "version" <number>
///          a step:      "put" <json> | "delete" "" | "add" <member> | "remove" <member>
/// answer   0 when all steps were taken, or the number of the first condition that does not hold
/// ```
///
/// A script that fails half-way is not rolled back, so everything that a write can fail for is looked for before
/// the first one: memory, role and replicas by Redis itself because of the first line (which needs Redis 7 or
/// Valkey); types and permissions by the second loop.
const CHANGE: &str = r"#!lua
local conditions = tonumber(ARGV[1])
for i = 1, conditions do
  local expected = ARGV[2 * i]
  local record = redis.call('GET', KEYS[i])
  local holds
  if expected == 'absent' then
    holds = not record
  elseif expected == 'present' then
    holds = record
  elseif record then
    local readable, value = pcall(cjson.decode, record)
    if not readable or type(value) ~= 'table' or type(value.version) ~= 'number' then
      return redis.error_reply('DAMAGED the record of condition ' .. i .. ' has no version')
    end
    holds = value.version == tonumber(ARGV[2 * i + 1])
  end
  if not holds then
    return i
  end
end

local calls = {
  put = function(key, json) return 'SET', key, json end,
  delete = function(key) return 'DEL', key end,
  add = function(key, member) return 'ZADD', key, 0, member end,
  remove = function(key, member) return 'ZREM', key, member end,
}
for i = conditions + 1, #KEYS do
  local step = ARGV[2 * i]
  if not redis.acl_check_cmd(calls[step](KEYS[i], '')) then
    return redis.error_reply('NOPERM the user may not ' .. step)
  end
  if step == 'add' or step == 'remove' then
    local kind = redis.call('TYPE', KEYS[i]).ok
    if kind ~= 'none' and kind ~= 'zset' then
      return redis.error_reply('WRONGTYPE an index is a ' .. kind)
    end
  end
end

for i = conditions + 1, #KEYS do
  redis.call(calls[ARGV[2 * i]](KEYS[i], ARGV[2 * i + 1]))
end
return 0
";

/// The script and the name Redis knows it by.
#[derive(Clone, Debug)]
pub(super) struct ChangeScript {
    digest: String,
}

impl ChangeScript {
    pub(super) fn new() -> Self {
        Self { digest: redis::Script::new(CHANGE).get_hash().to_owned() }
    }

    /// Runs the script where Redis has it already.
    pub(super) fn by_name(&self, keys: &Keyspace, change: &Change) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.digest);
        add_arguments(&mut command, keys, change);
        command
    }

    /// Runs the script and leaves it there for the next time.
    pub(super) fn in_full(keys: &Keyspace, change: &Change) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(CHANGE);
        add_arguments(&mut command, keys, change);
        command
    }
}

fn add_arguments(command: &mut Cmd, keys: &Keyspace, change: &Change) {
    command.arg(change.expect.len() + change.steps.len());
    for (key, _) in &change.expect {
        command.arg(keys.record(key));
    }
    for step in &change.steps {
        match step {
            Step::Put(key, _) | Step::Delete(key) => command.arg(keys.record(key)),
            Step::AddTo(index, _) | Step::RemoveFrom(index, _) | Step::Clear(index) => command.arg(keys.index(index)),
        };
    }
    command.arg(change.expect.len());
    for (_, expect) in &change.expect {
        match expect {
            Expect::Absent => command.arg("absent").arg(""),
            Expect::Present => command.arg("present").arg(""),
            Expect::Version(version) => command.arg("version").arg(*version),
        };
    }
    for step in &change.steps {
        match step {
            Step::Put(_, stored) => command.arg("put").arg(&stored.json),
            Step::Delete(_) | Step::Clear(_) => command.arg("delete").arg(""),
            Step::AddTo(_, member) => command.arg("add").arg(member),
            Step::RemoveFrom(_, member) => command.arg("remove").arg(member),
        };
    }
}
