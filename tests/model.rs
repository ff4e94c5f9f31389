//! The machine that map, pushes, reads and reconnects make together, as a small model of which every state is looked at: no
//! check that begins later than `max_staleness` after an acknowledged revocation lets anybody in; and for each guard that is
//! taken away, a shortest way in which one does.

mod explorer;
mod guards;
mod replica;
mod state;
mod system;
mod words;

use std::env;

use explorer::walk;
use guards::Guard;
use system::{Action, Size, System};

/// One of everything.
const SMALL: Size =
    Size { keys: 1, one_stripe: true, reads: 1, checks: 1, gathers: false, staleness: 1, patience: 1, failover: false };
/// And a worker that has at hand what it has gathered lately.
const GATHERING: Size = Size { gathers: true, ..SMALL };
const FAILOVER: Size = Size { failover: true, ..SMALL };

fn is_full() -> bool {
    env::var_os("KEYGATE_TEST_FULL").is_some()
}

fn told(way: &[Action]) -> String {
    let lines: Vec<_> = way.iter().zip(1..).map(|(action, number)| format!("{number:>4}. {action}")).collect();
    lines.join("\n")
}

/// Nobody gets in, also without a guard that is not needed there.
fn holds(size: Size, without: Option<Guard>) {
    let walked = walk(&System { size, without });
    println!("{} states: {size:?}, without {without:?}", walked.states);
    assert!(walked.violation.is_none(), "{size:?}: somebody gets in:\n{}", told(&walked.violation.unwrap_or_default()));
    assert!(walked.states > 10_000, "the model has hardly moved");
}

/// Somebody gets in without the guard.
fn is_missed(guard: Guard, size: Size) {
    let walked = walk(&System { size, without: Some(guard) });
    let way = walked.violation.unwrap_or_else(|| panic!("nobody misses {guard:?} in {} states of {size:?}", walked.states));
    println!("without {guard:?} somebody gets in, after {} states:\n{}\n", walked.states, told(&way));
}

#[test]
fn nobody_gets_in_later_than_the_bound() {
    holds(SMALL, None);
    holds(GATHERING, None);
    if is_full() {
        for size in [
            Size { keys: 2, one_stripe: false, ..GATHERING },
            Size { patience: 2, ..SMALL },
            Size { staleness: 2, ..SMALL },
            Size { checks: 2, ..SMALL },
            Size { reads: 2, checks: 2, ..SMALL },
            Size { keys: 2, ..SMALL },
            Size { keys: 2, one_stripe: false, ..SMALL },
        ] {
            holds(size, None);
        }
    }
}

#[test]
fn nobody_gets_in_later_than_the_bound_over_a_failover() {
    holds(FAILOVER, None);
    if is_full() {
        holds(Size { patience: 2, ..FAILOVER }, None);
        holds(Size { checks: 2, ..FAILOVER }, None);
        holds(Size { gathers: true, ..FAILOVER }, None);
    }
}

#[test]
fn each_guard_is_missed() {
    for guard in Guard::OF_ONE_MASTER {
        is_missed(guard, SMALL);
    }
}

#[test]
fn each_guard_of_what_was_gathered_is_missed() {
    for guard in Guard::OF_GATHERING {
        is_missed(guard, GATHERING);
    }
}

#[test]
fn each_guard_is_missed_over_a_failover() {
    for guard in Guard::OF_FAILOVER {
        // What one check does to another takes two of them, and so many more states.
        let takes_two = matches!(guard, Guard::KeptIfVouchedFor | Guard::JoinsThisLink);
        if !takes_two {
            is_missed(guard, FAILOVER);
        } else if is_full() {
            is_missed(guard, Size { checks: 2, ..FAILOVER });
        }
    }
}

/// With one master it only keeps the usual case short.
#[test]
fn freshness_is_withdrawn_for_the_sake_of_failovers() {
    holds(SMALL, Some(Guard::Withdrawal));
    is_missed(Guard::Withdrawal, FAILOVER);
}
