//! The guards of the design, each of which can be taken away.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// What is remembered is used only for `max_staleness` after a canary was sent that has come back.
    Freshness,
    /// It is the push of a canary that counts, and not the answer to its command.
    PushCounts,
    /// Only the outstanding canary counts, and once: each has a key of its own.
    KeyOfItsOwn,
    /// A canary counts only on the link it was sent for.
    ThisLink,
    /// Freshness is read before the map is looked into.
    FreshnessFirst,
    /// The map is dropped after tracking has been acknowledged, and not before.
    DropAfterTracking,
    /// A canary counts only if it was sent after the map was dropped.
    DropBeforeCanaries,
    /// What was read is not kept where a push of its stripe has been handled meanwhile.
    NoPushMeanwhile,
    /// What was read is not kept where the map was dropped meanwhile.
    NoDropMeanwhile,
    /// What a worker has gathered lately is used only while nothing has changed since.
    NoChangeSince,
    /// That something changes is counted from before the first of it was looked up.
    CountedFromTheFirst,
    /// A change is counted once it is out of the map, and not before.
    CountedLast,
    /// A read that began longer than `max_staleness` ago is not joined.
    JoinsYoung,
    /// Over a failover: what takes away is acknowledged once a replica of the store has it.
    RevocationWaits,
    /// Over a failover: a canary counts once a replica of the store has it.
    CanaryWaits,
    /// Over a failover: what is read without freshness counts once a canary shows that the store may be believed.
    ReadIsProved,
    /// Over a failover: what is read counts only where the link has stayed the same since freshness was looked at, or until the
    /// canary came.
    ProofOfTheSameLink,
    /// Over a failover: what is read while nothing is vouched for is not kept.
    KeptIfVouchedFor,
    /// Over a failover: a read of an earlier link is not joined.
    JoinsThisLink,
    /// Over a failover: reads go where pushes come from.
    OneServer,
    /// Over a failover: freshness is withdrawn at the first sign of a loss, and what it was about with it.
    Withdrawal,
}

impl Guard {
    /// Those that a single master needs.
    pub const OF_ONE_MASTER: [Self; 10] = [
        Self::Freshness,
        Self::PushCounts,
        Self::KeyOfItsOwn,
        Self::ThisLink,
        Self::FreshnessFirst,
        Self::DropAfterTracking,
        Self::DropBeforeCanaries,
        Self::NoPushMeanwhile,
        Self::NoDropMeanwhile,
        Self::JoinsYoung,
    ];

    /// Those that a worker needs that has at hand what it has gathered lately.
    pub const OF_GATHERING: [Self; 3] = [Self::NoChangeSince, Self::CountedFromTheFirst, Self::CountedLast];

    /// Those that are needed where another node may become the master.
    pub const OF_FAILOVER: [Self; 7] = [
        Self::RevocationWaits,
        Self::CanaryWaits,
        Self::ReadIsProved,
        Self::ProofOfTheSameLink,
        Self::KeptIfVouchedFor,
        Self::JoinsThisLink,
        Self::OneServer,
    ];
}
