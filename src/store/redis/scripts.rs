//! The two scripts that apply a change, and how their keys and arguments are laid out.

use rand::{TryRng as _, rngs::SysRng};
use redis::Cmd;

use super::{keys::Keyspace, sequence::PLACES};
use crate::store::{Change, Expect, Step, Trail};

/// What an entry of a trail has: one field of this name, with the line in it. The script spells it too.
pub(super) const ENTRY_FIELD: &str = "json";

/// Redis refuses this one where its memory is full.
const ORDINARY: &str = "#!lua
local takes_away = false
";

/// Redis runs this one also where its memory is full, and it goes on where an entry cannot be written.
const TAKES_AWAY: &str = "#!lua flags=allow-oom
local takes_away = true
";

/// ```text
/// KEYS     one per condition, in their order, then one per step, in their order; where it must hold, the
///          first three steps raise the sequence of the partition
/// ARGV[1]  how many conditions there are
/// ARGV[2i], ARGV[2i + 1]  about KEYS[i]
///          a condition: "absent" "" | "version" <number> | "count" <number>
///          a step:      "mark" <random id> | "raise" "" | "tell <how many>" <random number> | "entry" <json> | "put" <json>
///                       | "until <milliseconds since 1970>" <json> | "delete" "" | "add" <member> | "remove" <member>
/// answer   {0, ""} when all steps were taken, or {number of the first condition that does not hold, ""};
///          {0, <error>} when all steps but entries were taken: only where rights are taken away
/// ```
///
/// A script that fails half-way is not rolled back, so everything that a write can fail for is looked for before
/// the first one: memory, role and replicas by Redis itself because of the first line (which needs Redis 7 or
/// Valkey); types and permissions by the second loop. Entries, and the sequence, are the first steps: that a stream has
/// used up its ids is seen only when one is added, and then nothing else has been written. Where rights are taken away nothing is
/// looked for in advance about an entry, because its failure does not stop the script.
const CHANGE: &str = r"
local conditions = tonumber(ARGV[1])
for i = 1, conditions do
  local expected = ARGV[2 * i]
  local holds
  if expected == 'count' then
    holds = redis.call('ZCARD', KEYS[i]) == tonumber(ARGV[2 * i + 1])
  else
    local record = redis.call('GET', KEYS[i])
    if expected == 'absent' then
      holds = not record
    elseif record then
      local readable, value = pcall(cjson.decode, record)
      if not readable or type(value) ~= 'table' or type(value.version) ~= 'number' then
        return redis.error_reply('DAMAGED ' .. KEYS[i] .. ' has no version')
      end
      holds = value.version == tonumber(ARGV[2 * i + 1])
    end
  end
  if not holds then
    return {i, ''}
  end
end

local raised = 0
local calls = {
  mark = function(key, id) return 'HSETNX', key, 'id', id end,
  raise = function(key) return 'HINCRBY', key, 'n', 1 end,
  tell = function(key, random, places) return 'HINCRBY', key, 't' .. raised % places, random end,
  entry = function(key, json) return 'XADD', key, '*', 'json', json end,
  put = function(key, json) return 'SET', key, json end,
  ['until'] = function(key, json, millis) return 'SET', key, json, 'PXAT', millis end,
  delete = function(key) return 'DEL', key end,
  add = function(key, member) return 'ZADD', key, 0, member end,
  remove = function(key, member) return 'ZREM', key, member end,
}
local function call_of(i, argument)
  local name, operand = string.match(ARGV[2 * i], '^(%a+) ?(.*)$')
  return calls[name](KEYS[i], argument, operand)
end
local types = { mark = 'hash', raise = 'hash', entry = 'stream', add = 'zset', remove = 'zset' }
local function may_fail(step)
  return takes_away and step == 'entry'
end

for i = conditions + 1, #KEYS do
  local step = ARGV[2 * i]
  if not may_fail(step) then
    if not redis.acl_check_cmd(call_of(i, '')) then
      return redis.error_reply('NOPERM the user may not ' .. step .. ' at ' .. KEYS[i])
    end
    if types[step] then
      local found = redis.call('TYPE', KEYS[i]).ok
      if found ~= 'none' and found ~= types[step] then
        return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found)
      end
    end
  end
end

local failure = ''
for i = conditions + 1, #KEYS do
  local step, argument = ARGV[2 * i], ARGV[2 * i + 1]
  if may_fail(step) then
    local answer = redis.pcall(call_of(i, argument))
    if type(answer) == 'table' and answer.err then
      failure = answer.err
    end
  else
    local answer = redis.call(call_of(i, argument))
    if step == 'raise' then
      raised = answer
    end
  end
end
return {0, failure}
";

/// A script and the name Redis knows it by.
#[derive(Clone, Debug)]
pub(super) struct ChangeScript {
    text: String,
    digest: String,
}

#[derive(Clone, Debug)]
pub(super) struct ChangeScripts {
    ordinary: ChangeScript,
    takes_away: ChangeScript,
}

impl ChangeScripts {
    pub(super) fn new() -> Self {
        Self { ordinary: ChangeScript::new(ORDINARY), takes_away: ChangeScript::new(TAKES_AWAY) }
    }

    pub(super) fn of(&self, change: &Change) -> &ChangeScript {
        if change.takes_away { &self.takes_away } else { &self.ordinary }
    }
}

impl ChangeScript {
    fn new(head: &str) -> Self {
        let text = format!("{head}{CHANGE}");
        Self { digest: redis::Script::new(&text).get_hash().to_owned(), text }
    }

    /// Runs the script where Redis has it already.
    pub(super) fn by_name(&self, keys: &Keyspace, change: &Change) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.digest);
        add_arguments(&mut command, keys, change);
        command
    }

    /// Runs the script and leaves it there for the next time.
    pub(super) fn in_full(&self, keys: &Keyspace, change: &Change) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&self.text);
        add_arguments(&mut command, keys, change);
        command
    }
}

fn add_arguments(command: &mut Cmd, keys: &Keyspace, change: &Change) {
    let conditions = change.expect.len() + change.counts.len();
    let sequence = change.is_to_hold().then(|| keys.sequence(change.partition()));
    let raises = if change.is_to_hold() { 3 } else { 0 };
    command.arg(conditions + raises + change.entries.len() + change.steps.len());
    for (key, _) in &change.expect {
        command.arg(keys.record(key));
    }
    for (index, _) in &change.counts {
        command.arg(keys.index(index));
    }
    if let Some(key) = &sequence {
        command.arg(key).arg(key).arg(key);
    }
    for _ in &change.entries {
        command.arg(keys.trail(Trail::Changes));
    }
    for step in &change.steps {
        match step {
            Step::Put(key, _) | Step::PutUntil(key, _, _) | Step::Delete(key) => command.arg(keys.record(key)),
            Step::AddTo(index, _) | Step::RemoveFrom(index, _) | Step::Clear(index) => command.arg(keys.index(index)),
        };
    }
    command.arg(conditions);
    for (_, expect) in &change.expect {
        match expect {
            Expect::Absent => command.arg("absent").arg(""),
            Expect::Version(version) => command.arg("version").arg(*version),
        };
    }
    for (_, count) in &change.counts {
        command.arg("count").arg(*count);
    }
    if sequence.is_some() {
        command.arg("mark").arg(format!("{:032x}", random())).arg("raise").arg("");
        // So few bits that no number of raises makes their sum too large.
        command.arg(format!("tell {PLACES}")).arg((random() >> 104).to_string());
    }
    for entry in &change.entries {
        command.arg("entry").arg(&entry.json);
    }
    for step in &change.steps {
        match step {
            Step::Put(_, stored) => command.arg("put").arg(&stored.json),
            Step::PutUntil(_, stored, time) => command.arg(format!("until {}", time.as_millis().max(1))).arg(&stored.json),
            Step::Delete(_) | Step::Clear(_) => command.arg("delete").arg(""),
            Step::AddTo(_, member) => command.arg("add").arg(member),
            Step::RemoveFrom(_, member) => command.arg("remove").arg(member),
        };
    }
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).unwrap_or_else(|error| panic!("the operating system has no random bytes: {error}"));
    u128::from_le_bytes(bytes)
}
