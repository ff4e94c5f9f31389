//! What a store says of itself when it is asked: its servers, and the settings of theirs that decide what may be claimed of
//! what is kept in it. Judges them; asks nobody.

/// What there is to know of a store at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// What it is, such as `embedded` or `redis`.
    pub kind: &'static str,
    /// How many replicas must confirm what takes away.
    pub wait_replicas: u32,
    /// Those that hold records of ours and may change them. None where the store is a part of this process.
    pub servers: Vec<Server>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As one would connect to it; without a password.
    pub address: String,
    pub answer: Answer,
    /// What is needed of it and its user may not do, as far as that is known: commands.
    pub denied: Vec<&'static str>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does not answer, for this reason.
    Away(String),
    /// It answers, and does not let this user see how it is set up.
    Hidden,
    Told(Facts),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub version: String,
    /// `master` or `slave`, in its own words.
    pub role: String,
    /// Whether changes are in a file of its own when it starts again.
    pub append_only: bool,
    /// What it does when its memory is full.
    pub eviction: String,
    /// How many replicas are connected to it.
    pub replicas: u32,
}

/// What is to be said of how a store is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It must not be used like this.
    Unfit(String),
    /// Some of what is done with it will fail.
    Denied(String),
    /// It limits what may be claimed.
    Warning(String),
}

impl Finding {
    #[must_use]
    pub fn as_str(&self) -> &str {
        let (Self::Unfit(sentence) | Self::Denied(sentence) | Self::Warning(sentence)) = self;
        sentence
    }
}

impl Live {
    /// A store in this process, for which it alone is responsible.
    #[must_use]
    pub const fn embedded() -> Self {
        Self { kind: "embedded", wait_replicas: 0, servers: Vec::new() }
    }

    /// Whether all of its servers answer.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.servers.iter().all(|server| !matches!(server.answer, Answer::Away(_)))
    }

    /// In the order of the servers.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.servers.iter().flat_map(|server| about_rights(server).into_iter().chain(self.findings_of(server))).collect()
    }

    fn findings_of(&self, Server { address, answer, .. }: &Server) -> Vec<Finding> {
        let facts = match answer {
            Answer::Away(_) => return Vec::new(),
            Answer::Hidden => {
                let sentence = format!(
                    "cannot see how Redis at {address} is set up: let its user run INFO (`+info`), or make sure yourself that \
                     it has `maxmemory-policy noeviction` and `appendonly yes`"
                );
                return vec![Finding::Warning(sentence)];
            }
            Answer::Told(facts) => facts,
        };
        let mut findings = Vec::new();
        if facts.eviction != "noeviction" {
            findings.push(Finding::Unfit(format!(
                "Redis at {address} throws records away when its memory is full (`maxmemory-policy {}`), and a revoked token's \
                 successor or a ban could be among them: set it to `noeviction`",
                facts.eviction
            )));
        }
        if !facts.append_only {
            findings.push(Finding::Warning(format!(
                "Redis at {address} has no `appendonly yes`: when it starts again, what was revoked since its last snapshot is \
                 back in force"
            )));
        }
        findings.extend(self.about_replicas(address, facts.replicas).map(Finding::Warning));
        findings
    }

    /// A master that was replaced cannot vouch for anything any more when the replicas that have confirmed a change to its
    /// successor, and those that would confirm a canary to it, must have one in common: n + m ≥ data nodes − 1, and both are
    /// `wait_replicas`.
    fn about_replicas(&self, address: &str, replicas: u32) -> Option<String> {
        let asked = self.wait_replicas;
        let enough = replicas.div_ceil(2);
        if asked > replicas {
            Some(format!(
                "Redis at {address} has {replicas} of the {asked} replicas that `store.wait_replicas` asks for: no change that \
                 takes away is confirmed, and every check is refused"
            ))
        } else if asked < enough {
            Some(format!(
                "Redis at {address} has {replicas} replicas, and `store.wait_replicas` is {asked}: after a failover what was \
                 revoked may be allowed by the master that was replaced; {enough} exclude that"
            ))
        } else {
            None
        }
    }
}

fn about_rights(Server { address, denied, .. }: &Server) -> Option<Finding> {
    let sentence = || {
        format!(
            "the user of Redis at {address} may not run {} for keys of `store.prefix`, so some of what Keygate does will fail: \
             give it the rights that the README lists",
            denied.join(", ")
        )
    };
    (!denied.is_empty()).then(|| Finding::Denied(sentence()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(wait_replicas: u32, answer: Answer) -> Live {
        Live { kind: "redis", wait_replicas, servers: vec![Server { address: "db:6379".to_owned(), answer, denied: Vec::new() }] }
    }

    fn facts() -> Facts {
        Facts {
            version: "7.0.15".to_owned(),
            role: "master".to_owned(),
            append_only: true,
            eviction: "noeviction".to_owned(),
            replicas: 0,
        }
    }

    #[test]
    fn a_store_that_keeps_everything_is_not_spoken_of() {
        assert_eq!(live(0, Answer::Told(facts())).findings(), []);
        assert_eq!(Live::embedded().findings(), []);
        assert!(Live::embedded().is_reachable());
        let away = live(0, Answer::Away("refused".to_owned()));
        assert!(away.findings().is_empty() && !away.is_reachable());
    }

    #[test]
    fn eviction_is_refused_and_what_may_be_lost_is_warned_of() {
        let found = live(0, Answer::Told(Facts { eviction: "allkeys-lru".to_owned(), append_only: false, ..facts() })).findings();
        let [Finding::Unfit(evicts), Finding::Warning(forgets)] = found.as_slice() else { panic!("{found:?}") };
        assert!(evicts.contains("maxmemory-policy allkeys-lru") && forgets.contains("appendonly yes"));
        let hidden = live(0, Answer::Hidden).findings();
        assert!(matches!(hidden.as_slice(), [Finding::Warning(sentence)] if sentence.starts_with("cannot see")), "{hidden:?}");
    }

    #[test]
    fn what_a_user_may_not_do_is_named() {
        let mut live = live(0, Answer::Told(facts()));
        live.servers[0].denied = vec!["XADD", "XTRIM"];
        let found = live.findings();
        assert!(
            matches!(found.as_slice(), [Finding::Denied(sentence)] if sentence.contains("may not run XADD, XTRIM for")),
            "{found:?}"
        );
    }

    #[test]
    fn quorums_of_changes_and_canaries_must_meet() {
        let about = |asked, replicas| live(asked, Answer::Told(Facts { replicas, ..facts() })).findings().len();
        for (asked, replicas, findings) in [(0, 0, 0), (0, 1, 1), (1, 1, 0), (1, 2, 0), (1, 3, 1), (2, 3, 0), (2, 4, 0), (2, 1, 1)]
        {
            assert_eq!(about(asked, replicas), findings, "{asked} of {replicas}");
        }
    }
}
