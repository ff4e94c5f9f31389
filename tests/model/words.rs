//! A way to a violation, told to people.

use std::fmt;

use super::state::Push;
use super::system::{Action, Event};

const NODES: [&str; 2] = ["the first master", "the second master"];

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => write!(f, "time passes"),
            Self::Revoke(key) => write!(f, "record {key} is revoked"),
            Self::Acknowledge(key) => write!(f, "a replica of the store has it: revoking record {key} is acknowledged"),
            Self::CutOff => write!(f, "the first master is cut off"),
            Self::FailOver => write!(f, "the second node becomes the master"),
            Self::Of(event) => event.fmt(f),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Break => write!(f, "the tracking connection breaks, unnoticed"),
            Self::Notice => write!(f, "the replica notices the loss of its link"),
            Self::Connect(node) => write!(f, "it connects to {}, asks for tracking", NODES[node]),
            Self::Track => write!(f, "the store turns tracking on"),
            Self::Handle(Push::Tracking) => write!(f, "the replica hears that tracking is on"),
            Self::Handle(Push::Key(key)) => write!(f, "the replica handles the push of record {key}"),
            Self::Handle(Push::Canary) => write!(f, "the replica handles the push of its canary"),
            Self::Handle(Push::LateCanary) => write!(f, "the replica handles the push of a canary of an earlier link"),
            Self::Handle(Push::SpentCanary) => write!(f, "the replica handles the push of a canary that was counted before"),
            Self::Drop => write!(f, "the replica drops its map; canaries count from now on"),
            Self::SendCanary => write!(f, "the replica sends a canary"),
            Self::ExecuteCanary => write!(f, "the store executes the canary"),
            Self::AnswerCanary => write!(f, "the replica takes the answer to the canary for a proof"),
            Self::ExecuteLateCanary => write!(f, "the store executes a canary of an earlier link"),
            Self::ExpireCanary => write!(f, "the key of a canary expires that was counted before"),
            Self::Forget(key) => write!(f, "the replica forgets record {key} for want of space"),
            Self::EndChange => write!(f, "the replica ends what it has begun with its map"),
            Self::BeginGathering => write!(f, "a worker begins to gather records"),
            Self::Gather => write!(f, "the worker looks up the next record"),
            Self::UseLately(check) => write!(f, "check {check} uses what its worker has gathered lately"),
            Self::Begin => write!(f, "a check begins"),
            Self::LookAtFreshness(check) => write!(f, "check {check} looks how fresh the map is"),
            Self::LookUp(check) => write!(f, "check {check} looks into the map"),
            Self::Join(check) => write!(f, "check {check} joins a read in flight"),
            Self::SendRead(check, node) => write!(f, "check {check} sends a read to {}", NODES[node]),
            Self::ExecuteRead(read) => write!(f, "the store executes read {read}"),
            Self::AnswerRead(read) => write!(f, "the answer to read {read} is there, and goes to the checks that wait for it"),
            Self::LoseRead(read) => write!(f, "read {read} fails"),
            Self::Prove(check) => write!(f, "check {check} has its proof that what it read may be believed"),
        }
    }
}
