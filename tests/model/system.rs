//! What can happen, step by step: to the store, to the connections, in the replica, and that time passes.
//!
//! Where the real thing has an order that this does not have (answers of one connection, reads that end with their link),
//! more can happen here than there.

use super::explorer::{Model, Next};
use super::guards::Guard;
use super::replica::Outcome;
use super::state::{Age, At, Canary, Check, Gathering, Link, Push, Read, Replica, Stage, State};

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub keys: usize,
    /// Both keys are counted together.
    pub one_stripe: bool,
    /// In flight at once.
    pub reads: usize,
    pub checks: usize,
    /// A worker gathers records to have them at hand.
    pub gathers: bool,
    /// `max_staleness`, in discrete instants.
    pub staleness: Age,
    /// A check that has not come to its end by this age gives up.
    pub patience: Age,
    /// Another node may become the master.
    pub failover: bool,
}

pub struct System {
    pub size: Size,
    pub without: Option<Guard>,
}

/// A step.
#[derive(Clone, Copy)]
pub enum Action {
    Tick,
    Revoke(usize),
    Acknowledge(usize),
    CutOff,
    FailOver,
    Of(Event),
}

/// What happens in the replica, or to its connections.
#[derive(Clone, Copy)]
pub enum Event {
    Break,
    Notice,
    Connect(usize),
    Track,
    Handle(Push),
    Drop,
    SendCanary,
    ExecuteCanary,
    AnswerCanary,
    ExecuteLateCanary,
    ExpireCanary,
    EndChange,
    Forget(usize),
    BeginGathering,
    Gather,
    Begin,
    LookAtFreshness(usize),
    LookUp(usize),
    UseLately(usize),
    Join(usize),
    SendRead(usize, usize),
    ExecuteRead(usize),
    AnswerRead(usize),
    LoseRead(usize),
    Prove(usize),
}

impl System {
    /// Those of a failover do nothing where there is none.
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard) && (self.size.failover || !Guard::OF_FAILOVER.contains(&guard))
    }

    fn keys(&self) -> std::ops::Range<usize> {
        0..self.size.keys
    }
}

impl Model for System {
    type State = State;
    type Action = Action;

    /// All is well: there is a link, a canary has just come back, and every record is remembered. From there it also
    /// comes to where nothing has begun yet.
    fn start(&self) -> State {
        let link = Link { stage: Stage::Up, tracked: true, ..Link::default() };
        let map = std::array::from_fn(|key| self.keys().contains(&key).then_some(true));
        let replica = Replica { map, verified: Some(0), link, ..Replica::default() };
        State { replica, ..State::default() }
    }

    fn steps(&self, state: &State) -> Vec<(Action, Next<State>)> {
        let mut steps = Vec::new();
        self.store(state, &mut steps);
        let mut of = Of { system: self, state, steps: &mut steps };
        of.connections();
        of.gathering();
        of.canaries();
        of.checks();
        of.reads();
        let mut later = state.clone();
        self.grow_older(&mut later);
        steps.push((Action::Tick, Next::State(later)));
        steps
    }
}

impl System {
    /// Of an age only that is kept which makes a difference.
    fn grow_older(&self, state: &mut State) {
        let Size { staleness, patience, .. } = self.size;
        let older = |age: &mut Age, at_most| *age = (*age + 1).min(at_most);
        state.acknowledged.iter_mut().flatten().for_each(|age| older(age, staleness + 1));
        let replica = &mut state.replica;
        // Of no use even to the oldest check.
        let too_old = staleness + patience + 1;
        replica.verified = replica.verified.map(|age| age + 1).filter(|&age| age < too_old);
        replica.canary.iter_mut().chain(&mut replica.late).for_each(|canary| older(&mut canary.sent, too_old));
        replica.reads.iter_mut().for_each(|read| older(&mut read.sent, staleness));
        replica.checks.retain(|check| check.began < patience);
        replica.checks.iter_mut().for_each(|check| older(&mut check.began, patience));
    }
}

impl State {
    fn master(&self) -> usize {
        usize::from(self.failed_over)
    }

    /// Whether what is written there reaches a replica of the store.
    fn is_followed(&self, node: usize) -> bool {
        node == 1 || !self.cut_off
    }
}

impl System {
    fn store(&self, state: &State, steps: &mut Vec<(Action, Next<State>)>) {
        let mut step = |action, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            steps.push((action, Next::State(next)));
        };
        let master = state.master();
        for key in self.keys().filter(|&key| !state.revoked[master][key]) {
            step(Action::Revoke(key), &|next| {
                next.revoked[master][key] = true;
                next.replica.link.push(master, Push::Key(key));
                let waits = self.size.failover && self.has(Guard::RevocationWaits);
                if !waits || state.failed_over {
                    next.acknowledge(key);
                }
            });
        }
        if !self.size.failover {
            return;
        }
        for key in self.keys().filter(|&key| state.revoked[0][key] && !state.revoked[1][key] && !state.cut_off) {
            step(Action::Acknowledge(key), &|next| {
                next.revoked[1][key] = true;
                next.acknowledge(key);
            });
        }
        if !state.cut_off {
            step(Action::CutOff, &|next| next.cut_off = true);
        } else if !state.failed_over {
            step(Action::FailOver, &|next| next.failed_over = true);
        }
    }
}

impl State {
    /// The first time counts.
    fn acknowledge(&mut self, key: usize) {
        self.acknowledged[key].get_or_insert(0);
    }
}

impl Link {
    /// Whether there is a way for it to go.
    fn push(&mut self, from: usize, push: Push) -> bool {
        let goes = self.tracked && self.node == from;
        self.queue.extend(goes.then_some(push));
        goes
    }
}

/// The steps of the replica.
struct Of<'a> {
    system: &'a System,
    state: &'a State,
    steps: &'a mut Vec<(Action, Next<State>)>,
}

impl Of<'_> {
    fn now(&self) -> &Replica {
        &self.state.replica
    }

    fn step(&mut self, event: Event, change: impl FnOnce(&mut Replica)) {
        let mut next = self.state.clone();
        change(&mut next.replica);
        self.steps.push((Action::Of(event), Next::State(next)));
    }

    fn connections(&mut self) {
        let system = self.system;
        let link = &self.now().link;
        let (stage, tracked, front) = (link.stage, link.tracked, link.queue.front().copied());
        if tracked {
            self.step(Event::Break, |replica| replica.link.tracked = false);
        }
        let settled = self.now().changing.is_none();
        if !settled {
            self.step(Event::EndChange, |replica| replica.end_change(system));
        }
        if stage == Stage::Down && settled {
            for node in 0..=self.state.master() {
                self.step(Event::Connect(node), |replica| {
                    replica.link = Link { node, stage: Stage::Asked, ..Link::default() };
                    if !system.has(Guard::DropAfterTracking) {
                        replica.drop_map(system);
                    }
                });
            }
        } else if stage != Stage::Down {
            self.step(Event::Notice, |replica| {
                replica.link = Link::default();
                if system.has(Guard::Withdrawal) {
                    replica.verified = None;
                }
                let canary = replica.canary.take();
                replica.spent |= canary.is_some_and(|canary| canary.executed) && !system.has(Guard::KeyOfItsOwn);
                let late = canary.or(replica.late);
                replica.late = late.filter(|canary| !canary.executed && !system.has(Guard::ThisLink));
            });
        }
        if stage == Stage::Asked && !tracked {
            self.step(Event::Track, |replica| {
                replica.link.tracked = true;
                replica.link.queue = [Push::Tracking].into();
            });
        }
        if let Some(push) = front.filter(|_| settled) {
            self.step(Event::Handle(push), |replica| {
                replica.link.queue.pop_front();
                replica.handle(system, push);
            });
        }
        if stage == Stage::Acknowledged && settled {
            self.step(Event::Drop, |replica| {
                replica.drop_map(system);
                replica.link.stage = Stage::Up;
            });
        }
        for key in system.keys().filter(|&key| self.now().map[key].is_some()).collect::<Vec<_>>() {
            self.step(Event::Forget(key), |replica| replica.map[key] = None);
        }
    }

    /// A worker gathers what it may need soon.
    fn gathering(&mut self) {
        let system = self.system;
        if !system.size.gathers {
            return;
        }
        match self.now().gathering {
            None => self.step(Event::BeginGathering, |replica| replica.gathering = Some(Gathering::default())),
            Some(gathering) => self.step(Event::Gather, |replica| replica.gather(system, gathering)),
        }
    }

    fn canaries(&mut self) {
        let system = self.system;
        let replica = self.now();
        let (canary, late, node) = (replica.canary, replica.late, replica.link.node);
        let early = replica.link.stage == Stage::Acknowledged && !system.has(Guard::DropBeforeCanaries);
        if canary.is_none() && (replica.link.stage == Stage::Up || early) {
            self.step(Event::SendCanary, |replica| replica.canary = Some(Canary { sent: 0, node, executed: false }));
        }
        let counts = |node| self.state.is_followed(node) || !system.has(Guard::CanaryWaits);
        if let Some(canary) = canary.filter(|canary| !canary.executed) {
            let counts = counts(canary.node);
            self.step(Event::ExecuteCanary, |replica| {
                replica.canary = Some(Canary { executed: true, ..canary });
                if counts {
                    replica.link.push(canary.node, Push::Canary);
                }
            });
        }
        if let Some(canary) = canary.filter(|canary| canary.executed && !system.has(Guard::PushCounts)) {
            self.step(Event::AnswerCanary, |replica| replica.verified = Some(canary.sent));
        }
        if let Some(canary) = late.filter(|canary| !canary.executed) {
            self.step(Event::ExecuteLateCanary, |replica| {
                let arrives = replica.link.push(canary.node, Push::LateCanary);
                replica.late = arrives.then_some(Canary { executed: true, ..canary });
            });
        }
        let replica = self.now();
        if replica.spent && !replica.link.queue.contains(&Push::SpentCanary) {
            self.step(Event::ExpireCanary, |replica| {
                replica.spent = false;
                let node = replica.link.node;
                replica.link.push(node, Push::SpentCanary);
            });
        }
    }

    fn checks(&mut self) {
        let system = self.system;
        if self.now().checks.len() < system.size.checks {
            let must_refuse = self.state.acknowledged.iter().flatten().any(|&age| age > system.size.staleness);
            let check = Check { must_refuse, began: 0, at: At::Began, dropped: false };
            self.step(Event::Begin, |replica| replica.checks.push(check));
        }
        for number in 0..self.now().checks.len() {
            match self.now().checks[number].at {
                At::Began if system.has(Guard::FreshnessFirst) => self.look_at_freshness(number),
                At::Began => self.look_up_first(number),
                At::Found => self.look_at_freshness(number),
                At::LooksUp { fresh, key } => self.look_up(number, fresh, key),
                At::WantsProof => {
                    let replica = self.now();
                    let check = &replica.checks[number];
                    let of_another_link = check.dropped && system.has(Guard::ProofOfTheSameLink);
                    if replica.is_fresh_for(system, check) && !of_another_link {
                        self.check_step(Event::Prove(number), number, |_| Outcome::Allows);
                    }
                }
                At::Reads { .. } => {}
            }
        }
    }

    fn look_at_freshness(&mut self, number: usize) {
        let system = self.system;
        self.check_step(Event::LookAtFreshness(number), number, |replica| {
            let check = &replica.checks[number];
            let fresh = replica.is_fresh_for(system, check) || !system.has(Guard::Freshness);
            if check.at == At::Found && fresh {
                return Outcome::Allows;
            }
            replica.checks[number].at = At::LooksUp { fresh, key: 0 };
            Outcome::Goes
        });
    }

    /// Where the guard is off.
    fn look_up_first(&mut self, number: usize) {
        let keys = self.system.keys();
        let replica = self.now();
        let all_live = replica.has_at_hand(self.system) || keys.clone().all(|key| replica.map[key] == Some(true));
        let at = if all_live { At::Found } else { At::LooksUp { fresh: false, key: 0 } };
        self.check_step(Event::LookUp(number), number, |replica| {
            replica.checks[number].at = at;
            Outcome::Goes
        });
    }

    fn look_up(&mut self, number: usize, fresh: bool, key: usize) {
        let system = self.system;
        if fresh && key == 0 && self.now().has_at_hand(system) {
            self.check_step(Event::UseLately(number), number, |_| Outcome::Allows);
        }
        if let Some(value) = self.now().map[key].filter(|_| fresh) {
            self.check_step(Event::LookUp(number), number, |replica| replica.learns(system, number, value));
            return;
        }
        let waits = move |replica: &mut Replica, read| {
            replica.checks[number].at = At::Reads { fresh, key, read };
            Outcome::Goes
        };
        for (read, found) in self.now().reads.clone().iter().enumerate() {
            let young = found.sent < system.size.staleness || !system.has(Guard::JoinsYoung);
            let of_this_link = !found.dropped || !system.has(Guard::JoinsThisLink);
            if found.key == key && young && of_this_link {
                self.check_step(Event::Join(number), number, |replica| waits(replica, read));
            }
        }
        // With one master, reads may come by whatever connection there is, at any time.
        let connected = self.now().link.stage == Stage::Up || !system.size.failover;
        if self.now().reads.len() < system.size.reads && connected {
            let anywhere = self.state.failed_over && !system.has(Guard::OneServer);
            let nodes = if anywhere { vec![0, 1] } else { vec![self.now().link.node] };
            for node in nodes {
                self.check_step(Event::SendRead(number, node), number, |replica| {
                    replica.reads.push(Read { key, node, sent: 0, value: None, pushed: false, dropped: false });
                    waits(replica, replica.reads.len() - 1)
                });
            }
        }
    }

    fn reads(&mut self) {
        let system = self.system;
        for (number, read) in self.now().reads.clone().into_iter().enumerate() {
            let Some(value) = read.value else {
                let lives = !self.state.revoked[read.node][read.key];
                self.step(Event::ExecuteRead(number), |replica| replica.reads[number].value = Some(lives));
                continue;
            };
            let stale = (read.pushed && system.has(Guard::NoPushMeanwhile)) || (read.dropped && system.has(Guard::NoDropMeanwhile));
            let mut next = self.state.clone();
            let replica = &mut next.replica;
            let vouched_for = replica.verified.is_some() || !system.has(Guard::KeptIfVouchedFor);
            if !stale && vouched_for {
                replica.map[read.key] = Some(value);
            }
            let violation = replica.end_read(number, |replica, check| replica.learns(system, check, value));
            let next = if violation { Next::Violation } else { Next::State(next) };
            self.steps.push((Action::Of(Event::AnswerRead(number)), next));
        }
        for number in 0..self.now().reads.len() {
            self.step(Event::LoseRead(number), |replica| {
                replica.end_read(number, |_, _| Outcome::Ends);
            });
        }
    }

    /// A step of one check.
    fn check_step(&mut self, event: Event, check: usize, change: impl FnOnce(&mut Replica) -> Outcome) {
        let mut next = self.state.clone();
        let replica = &mut next.replica;
        let outcome = change(replica);
        let violation = replica.settle(check, &outcome);
        let next = if violation { Next::Violation } else { Next::State(next) };
        self.steps.push((Action::Of(event), next));
    }
}
