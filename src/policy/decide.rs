//! Decide: who of the candidates may be killed, and why not the others.
//!
//! Every candidate gets exactly one answer: candidates = kills + spared. The reasons for sparing are a closed set, asked in
//! a fixed order; the first that applies is the answer. Mode is last, so that observe shows what enforce would have done.
//!
//! `decide` runs twice. As a draft, it tells whom to look at again. Then, inside the commit that charges and writes the
//! intents, on what the look said. Whoever was not looked at is not killed.
//!
//! - **share**: what is left of a rule on a node after the earlier reasons, plus what was killed there within
//!   `share_window`, over the most sessions seen there in that window. Above `max(share_floor, share)` nothing of the
//!   rule is killed there. The config's share also holds for all rules together, whatever a rule's own share is. A
//!   share of 100% is no limit.
//! - **budget**: takes what fits, most deserving first: the rule's on the target, the rule's over all targets, the
//!   target's, the fleet's. observe is judged by the durable ledger and a shadow ledger of what observe would have
//!   killed; a ghost is charged once.
//!
//! Nothing here returns a `Result`: refusing is an answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::confirm::{Confirmation, Confirmations};
use super::evaluate::Candidate;
use super::ledger::{Books, Scope};
use super::limits::Limits;
use super::names::{NodeName, RuleName, TargetName};
use super::rule::{Mode, Rate, Rule, Share};
use super::ruleset::RuleSet;
use super::session::{ConnectionId, Session, SessionKey};
use super::time::{ShowDuration, Steady};

/// Why a candidate is not killed: a closed set, in the order in which `decide` asks. First match wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// An operator paused the target or everything.
    Paused,
    /// A protection holds, or is not known not to.
    Protected,
    /// The rule asks for the peer's address, which is hidden.
    PeerUnidentified,
    /// The list or look is older than `max_snapshot_age`, or the session could not be looked at again.
    StaleSnapshot,
    /// Looked at again, it is no longer the same session, or no longer matches.
    Changed,
    /// An earlier rule of this evaluation kills it, or an intent about it is still open.
    Taken,
    /// The rule names too large a part of the node's sessions; nothing of the rule is killed there.
    Share,
    /// The rule killed on this target too recently.
    Cooldown,
    /// A budget is used up.
    Budget,
    /// The mode is observe.
    Observe,
    /// The commit failed, so that the kill could not be recorded.
    Unrecorded,
}

impl Reason {
    /// Every reason, in the order in which `decide` asks.
    pub const ALL: [Self; 11] = [
        Self::Paused,
        Self::Protected,
        Self::PeerUnidentified,
        Self::StaleSnapshot,
        Self::Changed,
        Self::Taken,
        Self::Share,
        Self::Cooldown,
        Self::Budget,
        Self::Observe,
        Self::Unrecorded,
    ];

    /// The name in metrics, journal and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Protected => "protected",
            Self::PeerUnidentified => "peer_unidentified",
            Self::StaleSnapshot => "stale_snapshot",
            Self::Changed => "changed",
            Self::Taken => "taken",
            Self::Share => "share",
            Self::Cooldown => "cooldown",
            Self::Budget => "budget",
            Self::Observe => "observe",
            Self::Unrecorded => "unrecorded",
        }
    }
}

/// A candidate that `decide` permits to kill, once it is committed. Made only here.
#[derive(Clone, Debug)]
pub struct Kill {
    rule: RuleName,
    session: Arc<Session>,
    connection: ConnectionId,
    listed: Steady,
}

impl Kill {
    /// A kill that nobody decided.
    #[cfg(test)]
    pub fn for_test(rule: RuleName, session: Arc<Session>, connection: ConnectionId) -> Self {
        Self { rule, session, connection, listed: Steady::from_millis(0) }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &RuleName {
        &self.rule
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The connection that listed it; the kill goes out on no other.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// When the list that showed it was asked for.
    #[must_use]
    pub fn listed(&self) -> Steady {
        self.listed
    }
}

/// A candidate that is not killed.
#[derive(Clone, Debug)]
pub struct Spared {
    /// The rule.
    pub rule: RuleName,
    /// The session.
    pub session: Arc<Session>,
    /// Why not.
    pub reason: Reason,
    /// More words, where there are any: which protection, which budget.
    pub detail: Option<Arc<str>>,
    /// Whether observe would have killed it, and had not said so before: the shadow ledger is charged.
    pub new_ghost: bool,
}

/// What `decide` answers: candidates = kills + spared, always.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Who goes, once committed.
    pub kills: Vec<Kill>,
    /// Who does not, and why.
    pub spared: Vec<Spared>,
}

impl Plan {
    /// Those that a fresh look has to confirm before they may go (or count as ghosts).
    #[must_use]
    pub fn to_confirm(&self) -> HashSet<(RuleName, SessionKey)> {
        let kills = self.kills.iter().map(|kill| (kill.rule.clone(), kill.session.key.clone()));
        let ghosts = self.spared.iter().filter(|spared| spared.new_ghost);
        kills.chain(ghosts.map(|ghost| (ghost.rule.clone(), ghost.session.key.clone()))).collect()
    }
}

/// What is known of a node when `decide` runs.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts {
    /// When its list was asked for.
    pub listed: Steady,
    /// The connection it was listed on.
    pub connection: ConnectionId,
    /// The most sessions seen there within the share window, replication left out.
    pub most_seen: usize,
}

/// All that `decide` judges by, besides the candidates and the books.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The target.
    pub target: TargetName,
    /// All rules.
    pub rules: Arc<RuleSet>,
    /// The mode that caps every rule's on this target.
    pub mode: Mode,
    /// The limits of the config.
    pub limits: Limits,
    /// Why the target is paused, if it is.
    pub paused: Option<Arc<str>>,
    /// No kill from an older list or look.
    pub max_snapshot_age: Duration,
    /// The nodes that were listed.
    pub nodes: HashMap<NodeName, NodeFacts>,
    /// The sessions about which an intent is open.
    pub open: HashSet<SessionKey>,
    /// The (rule, session) pairs that are ghosts already.
    pub ghosts: HashSet<(RuleName, SessionKey)>,
    /// What a fresh look said; `None` for a draft, which only tells whom to look at.
    pub confirmations: Option<Confirmations>,
}

impl Situation {
    /// Takes every list as too old: nothing is killed on what was found.
    pub fn outdate(&mut self) {
        self.nodes.clear();
    }
}

/// Decides about every candidate: kill, or spare for the first reason that applies, in the order of [`Reason`].
#[must_use]
pub fn decide(found: &[Candidate], situation: &Situation, books: &Books, now: Steady) -> Plan {
    let mut desk = Desk {
        situation,
        books,
        now,
        plan: Plan::default(),
        taken: HashSet::new(),
        union: HashMap::new(),
        spent: 0,
        ghosts: 0,
    };
    for of_one_rule in found.chunk_by(|a, b| a.rule() == b.rule()) {
        desk.decide_rule(of_one_rule);
    }
    desk.plan
}

/// The answer when the commit failed: nobody is killed.
#[must_use]
pub fn unrecorded(found: &[Candidate], rules: &RuleSet) -> Plan {
    let spared = found.iter().map(|candidate| Spared {
        rule: rules.rules()[candidate.rule()].name.clone(),
        session: candidate.session().clone(),
        reason: Reason::Unrecorded,
        detail: None,
        new_ghost: false,
    });
    Plan { kills: Vec::new(), spared: spared.collect() }
}

struct Desk<'a> {
    situation: &'a Situation,
    books: &'a Books,
    now: Steady,
    plan: Plan,
    /// Sessions that an earlier rule of this evaluation kills.
    taken: HashSet<SessionKey>,
    /// By node, what the rules that enforce named within their share.
    union: HashMap<NodeName, HashSet<i64>>,
    /// Kills of this plan, which the books do not show yet.
    spent: usize,
    /// New ghosts of this plan.
    ghosts: usize,
}

/// Why not, with more words.
type Refusal = (Reason, Option<Arc<str>>);

impl Desk<'_> {
    fn decide_rule(&mut self, candidates: &[Candidate]) {
        let Some(first) = candidates.first() else { return };
        let rule = self.situation.rules.rules()[first.rule()].clone();
        let mode = rule.mode.min(self.situation.mode);
        let mut left = Vec::new();
        for candidate in candidates {
            match self.refuse_one(candidate) {
                Some(refusal) => self.spare(&rule, candidate, refusal, false),
                None => left.push(candidate),
            }
        }
        let too_many = self.nodes_above_share(&rule, mode, &left);
        let cooldown = self.cooldown(&rule);
        let mut room = self.room(&rule, mode);
        for candidate in left {
            if let Some(detail) = too_many.get(&candidate.session().key.node) {
                self.spare(&rule, candidate, (Reason::Share, Some(detail.clone())), false);
            } else if let Some(detail) = &cooldown {
                self.spare(&rule, candidate, (Reason::Cooldown, Some(detail.clone())), false);
            } else {
                self.spend(&rule, mode, candidate, &mut room);
            }
        }
    }

    /// The reasons that concern one candidate by itself.
    fn refuse_one(&self, candidate: &Candidate) -> Option<Refusal> {
        let situation = self.situation;
        let key = &candidate.session().key;
        if let Some(reason) = &situation.paused {
            return Some((Reason::Paused, Some(reason.clone())));
        }
        if let Some(protection) = candidate.protection() {
            return Some((Reason::Protected, Some(protection.clone())));
        }
        if candidate.is_unidentified() {
            return Some((Reason::PeerUnidentified, None));
        }
        let Some(node) = situation.nodes.get(&key.node) else { return Some((Reason::StaleSnapshot, None)) };
        if self.now.since(node.listed) > situation.max_snapshot_age {
            return Some((Reason::StaleSnapshot, None));
        }
        if let Some(refusal) = self.unconfirmed(candidate, node) {
            return Some(refusal);
        }
        if situation.open.contains(key) {
            return Some((Reason::Taken, Some("a kill of it is not settled yet".into())));
        }
        self.taken.contains(key).then_some((Reason::Taken, None))
    }

    /// What the fresh look says against the candidate. One that was not looked at is judged later: it does not fit the
    /// budget, or is a ghost already.
    fn unconfirmed(&self, candidate: &Candidate, node: &NodeFacts) -> Option<Refusal> {
        let confirmations = self.situation.confirmations.as_ref()?;
        match confirmations.get(&(candidate.rule(), candidate.session().key.clone()))? {
            Confirmation::Changed => Some((Reason::Changed, None)),
            Confirmation::LookFailed => Some((Reason::StaleSnapshot, Some("it could not be looked at again".into()))),
            Confirmation::Confirmed(connection, _) if *connection != node.connection => {
                Some((Reason::StaleSnapshot, Some("the connection that listed it was lost".into())))
            }
            Confirmation::Confirmed(_, looked) if self.now.since(*looked) > self.situation.max_snapshot_age => {
                Some((Reason::StaleSnapshot, None))
            }
            Confirmation::Confirmed(..) => None,
        }
    }

    /// The nodes on which the rule, alone or with the rules before it, names too large a part of the sessions.
    fn nodes_above_share(&mut self, rule: &Rule, mode: Mode, left: &[&Candidate]) -> HashMap<NodeName, Arc<str>> {
        let mut by_node: HashMap<&NodeName, Vec<i64>> = HashMap::new();
        for candidate in left {
            let key = &candidate.session().key;
            by_node.entry(&key.node).or_default().push(key.id);
        }
        let limits = &self.situation.limits;
        let mut above = HashMap::new();
        for (node, ids) in by_node {
            let seen = self.situation.nodes.get(node).map_or(0, |facts| facts.most_seen);
            let killed = self.books.ledger.on_node(&self.situation.target, node, limits.share_window, self.now);
            // 100% is no limit: what was killed lately and has come back since can be more than was ever seen at once.
            let allowed = |share: Share| match share {
                Share::ALL => usize::MAX,
                share => share.of(seen).max(limits.share_floor),
            };
            let own = rule.limits.share.unwrap_or(limits.share);
            if ids.len() + killed > allowed(own) {
                above.insert(node.clone(), too_large("the rule names", ids.len(), killed, seen, own));
                continue;
            }
            let union = self.union.entry(node.clone()).or_default();
            let both = union.len() + ids.iter().filter(|id| !union.contains(id)).count();
            if both + killed > allowed(limits.share) {
                above.insert(node.clone(), too_large("all rules name", both, killed, seen, limits.share));
            } else if mode == Mode::Enforce {
                union.extend(ids);
            }
        }
        above
    }

    fn cooldown(&self, rule: &Rule) -> Option<Arc<str>> {
        if rule.limits.cooldown.is_zero() {
            return None;
        }
        let last = self.books.ledger.last(&rule.name, &self.situation.target, self.now)?;
        let left = rule.limits.cooldown.saturating_sub(self.now.since(last));
        (!left.is_zero()).then(|| format!("for another {}", ShowDuration(left)).into())
    }

    /// How many more this rule may take, and which budget says so.
    fn room(&self, rule: &Rule, mode: Mode) -> Room {
        let target = &self.situation.target;
        let limits = &self.situation.limits;
        // What this plan has used counts for the scopes that other rules share; each rule comes once in a plan.
        let scopes = [
            (rule.limits.kills, Scope::Rule(&rule.name, target), "the rule's budget on this target", 0),
            (rule.limits.fleet, Scope::RuleFleet(&rule.name), "the rule's budget over all targets", 0),
            (Some(limits.target), Scope::Target(target), "the target's budget", self.used(mode)),
            (Some(limits.fleet), Scope::Fleet, "the fleet's budget", self.used(mode)),
        ];
        let mut room = Room { left: usize::MAX, limit: None };
        for (rate, scope, what, used) in scopes {
            let Some(rate) = rate else { continue };
            let left = self.remaining(scope, rate, mode).saturating_sub(used);
            if left < room.left {
                room = Room { left, limit: Some((what, rate)) };
            }
        }
        room
    }

    fn remaining(&self, scope: Scope<'_>, rate: Rate, mode: Mode) -> usize {
        let left = self.books.ledger.remaining(scope, rate, self.now);
        match mode {
            Mode::Enforce => left,
            Mode::Observe => left.saturating_sub(self.books.shadow.count(scope, rate.window, self.now)),
        }
    }

    /// What this plan has already charged to the target and the fleet.
    fn used(&self, mode: Mode) -> usize {
        match mode {
            Mode::Enforce => self.spent,
            Mode::Observe => self.spent + self.ghosts,
        }
    }

    /// The budget, then the mode.
    fn spend(&mut self, rule: &Rule, mode: Mode, candidate: &Candidate, room: &mut Room) {
        let key = candidate.session().key.clone();
        let pair = (rule.name.clone(), key.clone());
        if mode == Mode::Observe && self.situation.ghosts.contains(&pair) {
            return self.spare(rule, candidate, (Reason::Observe, None), false);
        }
        let (connection, listed) = match self.confirmed(candidate) {
            Some(confirmed) if room.left > 0 => confirmed,
            _ => return self.spare(rule, candidate, (Reason::Budget, room.words()), false),
        };
        room.left -= 1;
        match mode {
            Mode::Observe => {
                self.ghosts += 1;
                self.spare(rule, candidate, (Reason::Observe, None), true);
            }
            Mode::Enforce => {
                self.spent += 1;
                self.taken.insert(key);
                let session = candidate.session().clone();
                self.plan.kills.push(Kill { rule: rule.name.clone(), session, connection, listed });
            }
        }
    }

    /// The connection for the kill, and when the list was asked for that showed the candidate. One that the draft left out, and that was not looked at again, has none, even if budget has come free meanwhile: it waits for the
    /// next evaluation.
    fn confirmed(&self, candidate: &Candidate) -> Option<(ConnectionId, Steady)> {
        let key = &candidate.session().key;
        let node = self.situation.nodes.get(&key.node)?;
        let Some(confirmations) = &self.situation.confirmations else {
            return Some((node.connection, node.listed));
        };
        match confirmations.get(&(candidate.rule(), key.clone()))? {
            Confirmation::Confirmed(connection, _) => Some((*connection, node.listed)),
            Confirmation::Changed | Confirmation::LookFailed => None,
        }
    }

    fn spare(&mut self, rule: &Rule, candidate: &Candidate, (reason, detail): Refusal, new_ghost: bool) {
        let session = candidate.session().clone();
        self.plan.spared.push(Spared { rule: rule.name.clone(), session, reason, detail, new_ghost });
    }
}

/// What is left of the tightest budget.
struct Room {
    left: usize,
    limit: Option<(&'static str, Rate)>,
}

impl Room {
    fn words(&self) -> Option<Arc<str>> {
        self.limit.map(|(what, rate)| format!("{what} of {rate} is used up").into())
    }
}

fn too_large(who: &str, named: usize, killed: usize, seen: usize, share: Share) -> Arc<str> {
    let killed = if killed == 0 { String::new() } else { format!(" and {killed} were killed there lately") };
    format!("{who} {named} of {seen} sessions{killed}; the share is {share}").into()
}
