//! All rules and protections together, compiled once per load: identical tests run once for all of them.

use std::collections::HashSet;
use std::sync::Arc;

use super::expr::{Expr, Mask, Program, Want};
use super::protect::{self, Protection};
use super::rule::Rule;
use super::session::Snapshot;

/// The rules in the order of their files, and the protections.
#[derive(Debug)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    protections: Vec<Protection>,
    program: Program,
}

/// What the rules and protections say about the sessions of one snapshot.
pub(super) struct Verdicts {
    /// By rule: the sessions that are known to match; `None` for a rule that was not asked.
    named: Vec<Option<Mask>>,
    /// By rule: those that would match if `ip` were known; `None` where the rule does not test it.
    named_were_ip_known: Vec<Option<Mask>>,
    /// By protection: the sessions for which it is known not to hold.
    unprotected: Vec<Option<Mask>>,
}

/// What one session is to one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The rule does not name it.
    NotNamed,
    /// The rule would name it if its hidden address were known.
    Unidentified,
    /// The rule names it, and this protection holds.
    Protected(Arc<str>),
    /// The rule names it.
    Named,
}

impl RuleSet {
    /// Compiles rules, in the order in which they decide, and protections.
    #[must_use]
    pub fn compile(rules: Vec<Arc<Rule>>, protections: Vec<Protection>) -> Self {
        let slots: Vec<(&Expr, Want)> = rules
            .iter()
            .map(|rule| (&rule.matches, Want::KnownTrue))
            .chain(rules.iter().map(|rule| (&rule.matches, Want::TrueWereIpKnown)))
            .chain(protections.iter().map(|protection| (&protection.matches, Want::KnownFalse)))
            .collect();
        let program = Program::compile(&slots);
        Self { rules, protections, program }
    }

    /// The rules, in the order in which they decide.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The protections.
    #[must_use]
    pub fn protections(&self) -> &[Protection] {
        &self.protections
    }

    /// Runs the rules for which `asked` says so, and the protections that have not expired at wall time `wall`.
    pub(super) fn run(&self, snapshot: &Snapshot, asked: &HashSet<usize>, wall: i64) -> Verdicts {
        let count = self.rules.len();
        let wanted = |slot: usize| {
            if slot < count {
                asked.contains(&slot)
            } else if slot < 2 * count {
                asked.contains(&(slot - count)) && self.rules[slot - count].matches.tests_ip()
            } else {
                self.protections[slot - 2 * count].in_force(wall)
            }
        };
        let mut named = self.program.run(&snapshot.sessions, &wanted);
        let unprotected = named.split_off(2 * count);
        let named_were_ip_known = named.split_off(count);
        Verdicts { named, named_were_ip_known, unprotected }
    }
}

impl Verdicts {
    /// The sessions that the rule names, or would name if their address were known.
    pub(super) fn rows(&self, rule: usize) -> Vec<usize> {
        let mask = self.named_were_ip_known[rule].as_ref().or(self.named[rule].as_ref());
        mask.map_or_else(Vec::new, |mask| mask.iter_ones().collect())
    }

    /// What this session is to the rule.
    pub(super) fn standing(&self, rules: &RuleSet, rule: usize, snapshot: &Snapshot, row: usize) -> Standing {
        let holds = |masks: &[Option<Mask>]| masks[rule].as_ref().is_some_and(|mask| mask.get(row));
        let named = holds(&self.named);
        if !named && !holds(&self.named_were_ip_known) {
            return Standing::NotNamed;
        }
        let configured = || {
            let held = self.unprotected.iter().position(|mask| mask.as_ref().is_some_and(|mask| !mask.get(row)))?;
            Some(rules.protections[held].words(snapshot))
        };
        match protect::always(&rules.rules[rule], snapshot, row).or_else(configured) {
            Some(reason) => Standing::Protected(reason),
            None if named => Standing::Named,
            None => Standing::Unidentified,
        }
    }
}
