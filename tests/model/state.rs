//! What there is: the store, and a replica of Keygate that remembers what it has read of it. Replicas share nothing but the
//! store, so one stands for all.

use std::collections::VecDeque;

/// How many discrete instants ago something was, as far as it makes a difference.
pub type Age = u8;
/// The most keys there are; how many there are is a matter of [`super::system::Size`].
pub const KEYS: usize = 2;

#[derive(Clone, Hash, Default)]
pub struct State {
    /// Which records are revoked on the master, and on the node that a failover makes the master.
    pub revoked: [[bool; KEYS]; 2],
    /// Since when a revocation has been acknowledged.
    pub acknowledged: [Option<Age>; KEYS],
    /// The first master has lost its replicas, and whoever votes on masters.
    pub cut_off: bool,
    /// The second node is the master; the first does not know.
    pub failed_over: bool,
    pub replica: Replica,
}

/// One process of Keygate.
#[derive(Clone, Hash, Default)]
pub struct Replica {
    /// What is remembered: whether the record lives.
    pub map: [Option<bool>; KEYS],
    /// A change of the map that is half done: nothing else is handled meanwhile, but checks go on.
    pub changing: Option<Changing>,
    /// A worker looks up one record after the other, to have all of them at hand.
    pub gathering: Option<Gathering>,
    /// It has all of them at hand, and all live. Whether any has changed since.
    pub lately: Option<bool>,
    /// When the last canary that came back was sent.
    pub verified: Option<Age>,
    pub link: Link,
    /// The one that is outstanding.
    pub canary: Option<Canary>,
    /// One of an earlier link, which the store may still get to see. Where its guard is there it is ignored when it comes
    /// back, so it is there only where the guard is not.
    pub late: Option<Canary>,
    /// There is the key of a canary that has come back; when it expires it is pushed once more. Only without its guard, as
    /// above.
    pub spent: bool,
    pub reads: Vec<Read>,
    pub checks: Vec<Check>,
}

/// What goes out of the map.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Changing {
    Key(usize),
    Everything,
}

#[derive(Clone, Copy, Hash, Default)]
pub struct Gathering {
    /// The next record to be looked up.
    pub key: usize,
    /// Something has changed since the first one was.
    pub changed: bool,
}

/// The connection that pushes come by.
#[derive(Clone, Hash, Default)]
pub struct Link {
    pub node: usize,
    pub stage: Stage,
    /// Whether the store pushes into it: from when it has executed `CLIENT TRACKING` until the connection breaks, which
    /// the replica notices later.
    pub tracked: bool,
    /// What is on its way to the replica, and will come in this order, or not at all.
    pub queue: VecDeque<Push>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Stage {
    #[default]
    Down,
    /// Tracking has been asked for.
    Asked,
    /// It has been acknowledged.
    Acknowledged,
    /// The map was dropped; canaries count.
    Up,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Push {
    /// No push, but the answer to `CLIENT TRACKING`, which comes by the same way.
    Tracking,
    Key(usize),
    Canary,
    LateCanary,
    SpentCanary,
}

#[derive(Clone, Copy, Hash)]
pub struct Canary {
    pub sent: Age,
    pub node: usize,
    pub executed: bool,
}

#[derive(Clone, Hash)]
pub struct Read {
    pub key: usize,
    pub node: usize,
    pub sent: Age,
    /// Once the store has executed it.
    pub value: Option<bool>,
    /// A push of its stripe has been handled since it began.
    pub pushed: bool,
    /// The map was dropped since it began.
    pub dropped: bool,
}

#[derive(Clone, Hash)]
pub struct Check {
    /// It began later than `max_staleness` after a revocation was acknowledged that it is about.
    pub must_refuse: bool,
    pub began: Age,
    pub at: At,
    /// The map was dropped since it reads the store for want of freshness.
    pub dropped: bool,
}

/// How far a check has come. It needs every record, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    Began,
    /// It knows whether what is remembered may be used, and comes to this record.
    LooksUp {
        fresh: bool,
        key: usize,
    },
    /// Where the guard is off: it has found every record in the map, and all of them live, before it looked whether they
    /// may be used.
    Found,
    /// It waits for this read.
    Reads {
        fresh: bool,
        key: usize,
        read: usize,
    },
    /// It has read all it needs for want of freshness, and waits for a canary to show that the store may be believed.
    WantsProof,
}
