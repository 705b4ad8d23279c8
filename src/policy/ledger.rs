//! The kill budgets: exact sliding windows over what was committed.
//!
//! A charge counts from its commit until one window after its *end*: the moment the server answered the kill, or a
//! later look settled it. Until then the kill may still be carried out at any moment, so it counts as if it happened
//! now. Hence, whatever the network delays: the kills that a server carries out in **any** window of length W number
//! at most N. (Take the last committed of them: when it was committed, all the others of that window were counted.)
//!
//! A charge whose kill provably never left is taken back. Nothing else ever is. The ledger is a replay of the
//! intents on disk: at start and after a failed commit.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::intent::IntentId;
use super::names::{NodeName, RuleName, TargetName};
use super::rule::Rate;
use super::time::Steady;

/// The longest window, cooldown or share window that a config may ask for: older charges are forgotten.
pub const HORIZON: Duration = Duration::from_secs(24 * 60 * 60);

/// One committed kill.
#[derive(Clone, Debug)]
pub struct Charge {
    /// The intent; the shadow ledger counts its own.
    pub id: IntentId,
    /// Where.
    pub target: TargetName,
    /// On which node.
    pub node: NodeName,
    /// By which rule.
    pub rule: RuleName,
    /// When it was committed.
    pub committed: Steady,
    /// When it was answered or settled; `None` while the kill may still be carried out.
    pub ended: Option<Steady>,
}

impl Charge {
    /// Whether it counts in the window of this length that ends `now`.
    #[must_use]
    pub fn counts(&self, now: Steady, window: Duration) -> bool {
        self.ended.is_none_or(|ended| ended >= now.minus(window))
    }
}

/// Whose budget is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope<'a> {
    /// A rule on a target.
    Rule(&'a RuleName, &'a TargetName),
    /// A rule on all targets.
    RuleFleet(&'a RuleName),
    /// All rules on a target.
    Target(&'a TargetName),
    /// Everything.
    Fleet,
}

impl Scope<'_> {
    fn covers(&self, charge: &Charge) -> bool {
        match self {
            Scope::Rule(rule, target) => charge.rule == **rule && charge.target == **target,
            Scope::RuleFleet(rule) => charge.rule == **rule,
            Scope::Target(target) => charge.target == **target,
            Scope::Fleet => true,
        }
    }
}

/// The charges of the last [`HORIZON`].
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    charges: VecDeque<Charge>,
    /// Where in `charges` an open charge is; `removed` counts what was dropped from the front.
    open: HashMap<IntentId, usize>,
    removed: usize,
    /// The longest time from a commit to its end: a charge that was committed longer before a window has no part in it,
    /// unless it is open.
    slowest: Duration,
}

/// The end of a charge that was taken back: before any window.
const NEVER: Steady = Steady::from_millis(i64::MIN);

impl Ledger {
    /// The ledger that these charges, oldest commit first, amount to.
    #[must_use]
    pub fn replay(charges: impl IntoIterator<Item = Charge>) -> Self {
        let mut ledger = Self::default();
        for charge in charges {
            ledger.charge(charge);
        }
        ledger
    }

    /// Adds a charge. One that seems older than the charge before it (the clock of an earlier boot may have been behind)
    /// is taken as just as old, which at most keeps it for longer.
    pub fn charge(&mut self, mut charge: Charge) {
        if let Some(last) = self.charges.back() {
            charge.committed = charge.committed.max(last.committed);
        }
        match charge.ended {
            None => {
                self.open.insert(charge.id, self.removed + self.charges.len());
            }
            Some(ended) => self.slowest = self.slowest.max(ended.since(charge.committed)),
        }
        self.charges.push_back(charge);
    }

    /// The kill of this charge cannot be carried out after `at`: it was answered, or settled by a look. (`at` lies in the
    /// future for a kill of which nothing more was heard.)
    pub fn end(&mut self, id: IntentId, at: Steady) {
        if let Some(position) = self.open.remove(&id)
            && let Some(charge) = self.charges.get_mut(position - self.removed)
        {
            charge.ended = Some(at);
            self.slowest = self.slowest.max(at.since(charge.committed));
        }
    }

    /// The kill of this charge provably never left: it does not count at all.
    pub fn take_back(&mut self, id: IntentId) {
        if let Some(position) = self.open.remove(&id)
            && let Some(charge) = self.charges.get_mut(position - self.removed)
        {
            charge.ended = Some(NEVER);
        }
    }

    /// Forgets what is older than [`HORIZON`].
    pub fn forget(&mut self, now: Steady) {
        while self.charges.front().is_some_and(|charge| !charge.counts(now, HORIZON)) {
            self.charges.pop_front();
            self.removed += 1;
        }
    }

    /// How many charges count in the window of this length that ends `now`.
    #[must_use]
    pub fn count(&self, scope: Scope<'_>, window: Duration, now: Steady) -> usize {
        self.counting(window, now).filter(|charge| scope.covers(charge)).count()
    }

    /// The charges that count in the window of this length that ends `now`.
    pub fn counting(&self, window: Duration, now: Steady) -> impl Iterator<Item = &Charge> {
        let ended = self.since(now.minus(window).minus(self.slowest)).filter(|charge| charge.ended.is_some());
        let open = self.open.values().filter_map(|position| self.charges.get(position - self.removed));
        ended.filter(move |charge| charge.counts(now, window)).chain(open)
    }

    /// The charges that were committed at this moment or later, newest first.
    fn since(&self, since: Steady) -> impl Iterator<Item = &Charge> {
        self.charges.iter().rev().take_while(move |charge| charge.committed >= since)
    }

    /// How many more kills this rate allows now.
    #[must_use]
    pub fn remaining(&self, scope: Scope<'_>, rate: Rate, now: Steady) -> usize {
        (rate.kills as usize).saturating_sub(self.count(scope, rate.window, now))
    }

    /// How many kills were committed on a node within the last `window`.
    #[must_use]
    pub fn on_node(&self, target: &TargetName, node: &NodeName, window: Duration, now: Steady) -> usize {
        let here = |charge: &&Charge| charge.target == *target && charge.node == *node && charge.ended != Some(NEVER);
        self.since(now.minus(window)).filter(here).count()
    }

    /// When the rule last had a kill under way on the target: `now` while one is. One of which nothing more was heard
    /// counts from its commit.
    #[must_use]
    pub fn last(&self, rule: &RuleName, target: &TargetName, now: Steady) -> Option<Steady> {
        self.charges
            .iter()
            .filter(|charge| charge.rule == *rule && charge.target == *target)
            .map(|charge| match charge.ended {
                None => now,
                Some(ended) if ended > now => charge.committed,
                Some(ended) => ended,
            })
            .max()
            .filter(|last| *last > NEVER)
    }

    /// Whether nothing is charged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.charges.is_empty()
    }
}

/// What budgets are decided on: the durable ledger, and the shadow ledger that observe charges (per process).
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What was committed to be killed.
    pub ledger: Ledger,
    /// What would have been, had the mode been enforce.
    pub shadow: Ledger,
}
