//! What a server says of itself, by one `INFO`; a user who may not ask is told so. Judges nothing.

use redis::{Cmd, RedisError};

use crate::store::live::{Answer, Facts};

/// `+info` lets a user ask it.
pub(super) fn question() -> Cmd {
    let mut command = redis::cmd("INFO");
    command.arg(&["server", "memory", "persistence", "replication"]);
    command
}

pub(super) fn answer(answer: Result<String, RedisError>) -> Answer {
    match answer {
        Ok(text) => facts(&text).map_or(Answer::Hidden, Answer::Told),
        Err(error) if error.code() == Some("NOPERM") => Answer::Hidden,
        Err(error) => Answer::Away(error.to_string()),
    }
}

/// `None` where something is missing, as it may be where somebody stands between.
fn facts(text: &str) -> Option<Facts> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Some(Facts {
        version: field("valkey_version").or_else(|| field("redis_version"))?.to_owned(),
        role: field("role")?.to_owned(),
        append_only: field("aof_enabled")? == "1",
        eviction: field("maxmemory_policy")?.to_owned(),
        replicas: field("connected_slaves")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_in_part_is_not_believed() {
        let whole = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.0.0\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n\
                     role:master\r\nconnected_slaves:2\r\n";
        let facts = facts(whole).unwrap();
        assert_eq!((facts.version.as_str(), facts.append_only, facts.replicas), ("9.0.0", true, 2));
        assert_eq!(answer(Ok(whole.replace("role", "rule"))), Answer::Hidden);
    }
}
