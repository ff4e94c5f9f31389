//! Walks through every state that can be reached, breadth first, so that what it finds first is a shortest way there. It
//! knows nothing of what the states mean.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

/// Something that moves in steps from one state to the next.
pub trait Model {
    type State: Clone + Hash;
    type Action: Copy;

    fn start(&self) -> Self::State;
    /// Every step that can be taken from a state.
    fn steps(&self, state: &Self::State) -> Vec<(Self::Action, Next<Self::State>)>;
}

/// Where a step leads.
pub enum Next<S> {
    State(S),
    /// What must never be.
    Violation,
}

/// What a walk came to.
pub struct Walk<A> {
    pub states: usize,
    /// The steps of a shortest way to a violation, the last of which is the violation.
    pub violation: Option<Vec<A>>,
}

/// Of every state only a hash of 64 bits is kept: of ten million states, two are taken for one with a chance of three in a
/// million.
pub fn walk<M: Model>(model: &M) -> Walk<M::Action> {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let start = model.start();
    let mut seen = HashSet::from([hasher.hash_one(&start)]);
    // Of every state found the number of the one before, and the step from there.
    let mut ways: Vec<(usize, Option<M::Action>)> = vec![(0, None)];
    let mut waiting = VecDeque::from([(0, start)]);
    while let Some((number, state)) = waiting.pop_front() {
        for (action, next) in model.steps(&state) {
            match next {
                Next::Violation => {
                    let mut way = vec![action];
                    let mut at = number;
                    while let (before, Some(step)) = ways[at] {
                        way.push(step);
                        at = before;
                    }
                    way.reverse();
                    return Walk { states: ways.len(), violation: Some(way) };
                }
                Next::State(next) => {
                    if seen.insert(hasher.hash_one(&next)) {
                        waiting.push_back((ways.len(), next));
                        ways.push((number, Some(action)));
                    }
                }
            }
        }
    }
    Walk { states: ways.len(), violation: None }
}
