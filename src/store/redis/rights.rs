//! Which of the commands that Keygate needs its user may not run. A script finds out: it needs no right but `EVAL`, which is
//! needed anyway, and writes nothing. Where Redis cannot tell, nothing is said.

use redis::{Cmd, RedisError};

use super::keys::Keyspace;
use crate::store::Partition;

/// ```text
/// ARGV    commands, their words between blanks
/// answer  the numbers of those that the user may not run
/// ```
const ASK: &str = r"#!lua flags=no-writes,allow-oom
local denied = {}
for i = 1, #ARGV do
  local words = {}
  for word in string.gmatch(ARGV[i], '%S+') do
    table.insert(words, word)
  end
  if not redis.acl_check_cmd(unpack(words)) then
    table.insert(denied, i)
  end
end
return denied
";

/// What all need, each with what comes after its key.
const COMMANDS: &[(&str, &str)] = &[
    ("GET", ""),
    ("MGET", ""),
    ("HMGET", "id"),
    ("HSETNX", "id 0"),
    ("HINCRBY", "n 1"),
    ("TYPE", ""),
    ("SET", "0"),
    ("ZRANGE", "0 0"),
    ("XRANGE", "- +"),
    ("DEL", ""),
    ("ZADD", "0 0"),
    ("ZREM", "0"),
    ("ZCARD", ""),
    ("XADD", "* json 0"),
    ("XREVRANGE", "+ -"),
    ("XTRIM", "MINID 0"),
];

/// What has no key.
const SCRIPTS: &str = "EVALSHA";

/// What is needed in a cluster as well.
const IN_CLUSTER: &[&str] = &["EXISTS", "CLUSTER INFO", "CLUSTER SLOTS"];

/// The question, and the names of what is asked for.
pub(super) fn question(keys: &Keyspace, in_cluster: bool) -> (Cmd, Vec<&'static str>) {
    let key = keys.never(Partition::DIRECTORY);
    let of_key = COMMANDS.iter().map(|(name, rest)| (*name, format!("{name} {key} {rest}")));
    let scripts = [(SCRIPTS, format!("{SCRIPTS} 0 1 {key}"))];
    let of_cluster = IN_CLUSTER.iter().filter(|_| in_cluster).map(|name| match *name {
        "EXISTS" => ("EXISTS", format!("EXISTS {key}")),
        name => (name, name.to_owned()),
    });
    let (names, commands): (Vec<_>, Vec<_>) = of_key.chain(scripts).chain(of_cluster).unzip();
    let mut question = redis::cmd("EVAL");
    question.arg(ASK).arg(0).arg(commands);
    (question, names)
}

/// What of these names the user may not run.
pub(super) fn denied(answer: Result<Vec<usize>, RedisError>, names: &[&'static str]) -> Vec<&'static str> {
    match answer {
        Ok(numbers) => numbers.into_iter().filter_map(|number| names.get(number.checked_sub(1)?).copied()).collect(),
        Err(error) if error.code() == Some("NOPERM") => vec!["EVAL"],
        Err(_) => Vec::new(),
    }
}
