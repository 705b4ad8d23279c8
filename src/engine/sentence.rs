//! The sentence as code: trigger -> snapshot -> settle -> evaluate -> confirm -> decide + intent -> act -> record.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join;
use tokio_util::sync::CancellationToken;

use super::guard::Guard;
use super::journal;
use super::mailbox::Trigger;
use super::memory::NodeState;
use super::settings::Settings;
use super::shared::Shared;
use crate::backend::{Backend, Listing};
use crate::policy::confirm::confirm;
use crate::policy::decide::{NodeFacts, Plan, Situation, decide, unrecorded};
use crate::policy::evaluate::{Candidate, Found, Question, evaluate};
use crate::policy::intent::{Answer, Intent, IntentId};
use crate::policy::names::{NodeName, TargetName};
use crate::policy::outcome::{self, Open, Outcome, Progress};
use crate::policy::session::{SessionKey, Snapshot};
use crate::policy::time::Steady;
use crate::store::{Committed, Decision, Settled, Store, StoreError};

/// A `for` timer goes on over a gap of this many poll intervals.
const GAP_POLLS: u32 = 3;

/// After so many kills their answers are recorded.
const BATCH: usize = 512;

/// What is known before the commit; until then everything may be dropped without a trace.
struct Prepared {
    found: Found,
    situation: Situation,
}

/// A shutdown lets a committed plan go on for this long.
const FINISH: Duration = Duration::from_secs(5);

/// What may have changed between the commit and the moment in which a kill would be sent.
struct Brake {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    target: TargetName,
    max_age: Duration,
    shutdown: CancellationToken,
    stopping: OnceLock<Steady>,
}

impl Brake {
    /// Why this intent must not be sent any more, if so.
    fn holds(&self, intent: &Intent) -> Option<String> {
        let now = self.shared.clock.steady();
        if self.shutdown.is_cancelled() && now.since(*self.stopping.get_or_init(|| now)) > FINISH {
            return Some("the daemon is stopping".to_owned());
        }
        if !self.shared.is_in_force(&self.settings) {
            return Some("the config was reloaded".to_owned());
        }
        // The disk or the server may have stalled: who was idle then may be at work now.
        if now.since(intent.listed()) > self.max_age {
            return Some("the list that showed it is too old".to_owned());
        }
        self.shared.paused(&self.target).map(|reason| format!("paused: {reason}"))
    }
}

impl<B: Backend> Guard<B> {
    /// Runs the sentence once. Cancelled by a shutdown up to the commit, not after it.
    pub(super) async fn handle(&mut self, trigger: Trigger) {
        let settings = self.refresh();
        self.count_trigger(trigger);
        let shutdown = self.shutdown.clone();
        let Some(prepared) = shutdown.run_until_cancelled(self.prepare(&settings)).await else { return };
        if prepared.found.candidates.is_empty() {
            return self.record(&settings, &prepared.found, &Committed::default(), trigger);
        }
        let committed = self.commit(&settings, &prepared, trigger).await;
        self.act(&settings, &committed.intents, &prepared.situation, trigger).await;
        if !self.shared.is_in_force(&settings) {
            // What was found under the old configuration was not killed; the new one may find it again.
            self.entry.mailbox.post(trigger.cause, trigger.at);
        }
        self.record(&settings, &prepared.found, &committed, trigger);
    }

    async fn prepare(&mut self, settings: &Arc<Settings>) -> Prepared {
        let snapshots = self.snapshot().await;
        self.settle(&snapshots).await;
        let found = self.evaluate(settings, &snapshots);
        let mut situation = self.situation(settings, &snapshots);
        if !found.candidates.is_empty() {
            self.confirm(&found.candidates, &mut situation).await;
        }
        Prepared { found, situation }
    }

    /// Snapshot: a node that could not be listed has no candidates; the others go on.
    async fn snapshot(&mut self) -> Vec<Arc<Snapshot>> {
        let started = self.shared.clock.steady();
        let listing = self.backend.list().await;
        let took = self.shared.clock.steady().since(started);
        self.shared.metrics.list_duration_seconds.with_label_values(&[self.name.as_str()]).observe(took.as_secs_f64());
        let snapshots = self.whole(listing);
        self.publish(|published| {
            for snapshot in &snapshots {
                let state = NodeState { error: None, tried: true, snapshot: Some(snapshot.clone()) };
                published.nodes.insert(snapshot.node.clone(), state);
            }
        });
        for snapshot in &snapshots {
            self.memory.seen.entry(snapshot.node.clone()).or_default().add(snapshot.at, snapshot.seen());
            let regretted = self.memory.ghosts.watch(snapshot);
            self.count_regrets(&regretted);
        }
        self.count_listing();
        snapshots
    }

    /// The whole snapshots of a listing or look; failures are published, counted and logged here.
    fn whole(&mut self, listing: Listing) -> Vec<Arc<Snapshot>> {
        let mut snapshots = Vec::new();
        for answer in listing {
            match answer {
                Ok(snapshot) => {
                    self.note_node_up(&snapshot.node);
                    snapshots.push(Arc::new(snapshot));
                }
                Err(error) => self.note_node_error(&error),
            }
        }
        self.count_up();
        snapshots
    }

    /// Settle: what these lists or looks show of open intents.
    async fn settle(&mut self, snapshots: &[Arc<Snapshot>]) {
        let settled = outcome::settle(&self.memory.open, snapshots);
        self.close_intents(settled).await;
    }

    /// Looks at the sessions of open intents, and gives up on those that could not be looked at for too long.
    pub(super) async fn settle_by_look(&mut self) {
        let unsent = outcome::unsent(&self.memory.open);
        self.close_intents(unsent).await;
        let keys: Vec<SessionKey> = self.memory.open.iter().map(|open| open.key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        let listing = self.backend.look(&keys).await;
        let snapshots = self.whole(listing);
        self.settle(&snapshots).await;
        let late = outcome::expire(&self.memory.open, self.shared.clock.steady());
        self.close_intents(late).await;
    }

    /// Open intents on nodes that are not the target's any more: nobody can look at their sessions.
    pub(super) async fn give_up_nodes(&mut self, nodes: &[NodeName]) {
        let gone = self.memory.open.iter().filter(|open| !nodes.contains(&open.key.node)).cloned();
        let given_up = outcome::give_up(&gone.collect::<Vec<_>>());
        self.close_intents(given_up).await;
    }

    async fn close_intents(&mut self, settled: Vec<(IntentId, Outcome)>) {
        if settled.is_empty() {
            return;
        }
        let rows = settled.iter().map(|(id, outcome)| Settled { id: *id, outcome: *outcome, detail: None }).collect();
        match self.shared.store.settle(rows).await {
            Ok(()) => {
                self.count_outcomes(&settled);
                self.forget_open(&settled);
            }
            // They stay open: the next list or look settles them again.
            Err(error) => self.note_store_error("record what became of kills", &error),
        }
    }

    fn forget_open(&mut self, settled: &[(IntentId, Outcome)]) {
        if settled.is_empty() {
            return;
        }
        let settled: HashSet<IntentId> = settled.iter().map(|(id, _)| *id).collect();
        self.memory.open.retain(|open| !settled.contains(&open.id));
        let open = self.memory.open.len();
        self.publish(|published| published.open = open);
    }

    fn evaluate(&mut self, settings: &Settings, snapshots: &[Arc<Snapshot>]) -> Found {
        let timer = self.shared.metrics.evaluation_duration_seconds.start_timer();
        let active = self.active(settings);
        let question = Question {
            rules: &settings.rules,
            active: &active,
            snapshots,
            wall: self.shared.clock.wall(),
            gap: self.target.poll_interval * GAP_POLLS,
        };
        let found = evaluate(question, &mut self.memory.pending);
        timer.observe_duration();
        found
    }

    fn situation(&mut self, settings: &Settings, snapshots: &[Arc<Snapshot>]) -> Situation {
        let now = self.shared.clock.steady();
        let window = settings.limits.share_window;
        let mut nodes = HashMap::new();
        for snapshot in snapshots {
            let most_seen = self.memory.seen.get_mut(&snapshot.node).map_or(0, |seen| seen.most(window, now));
            let facts = NodeFacts { listed: snapshot.at, connection: snapshot.connection, most_seen };
            nodes.insert(snapshot.node.clone(), facts);
        }
        Situation {
            target: self.name.clone(),
            rules: settings.rules.clone(),
            mode: self.target.mode,
            limits: settings.limits,
            paused: self.shared.paused(&self.name),
            max_snapshot_age: self.target.max_snapshot_age,
            nodes,
            open: self.memory.open.iter().map(|open| open.key.clone()).collect(),
            ghosts: self.memory.ghosts.pairs(),
            confirmations: None,
        }
    }

    /// Confirm: a draft of the plan tells whom to look at again; the look tells who of them is still the same.
    async fn confirm(&mut self, candidates: &[Candidate], situation: &mut Situation) {
        let draft = self.shared.store.with_books(|books, now| decide(candidates, situation, books, now));
        let wanted = draft.to_confirm();
        let rules = situation.rules.clone();
        let name = |candidate: &Candidate| rules.rules()[candidate.rule()].name.clone();
        let again: Vec<Candidate> = candidates
            .iter()
            .filter(|candidate| wanted.contains(&(name(candidate), candidate.session().key.clone())))
            .cloned()
            .collect();
        let mut keys: Vec<SessionKey> = again.iter().map(|candidate| candidate.session().key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let looks = if keys.is_empty() { Vec::new() } else { self.backend.look(&keys).await };
        let looks = self.whole(looks);
        situation.confirmations = Some(confirm(&again, &looks, &rules, self.shared.clock.wall()));
    }

    /// Decide + intent, inside the commit that makes both durable. What could not be committed is not killed.
    async fn commit(&mut self, settings: &Arc<Settings>, prepared: &Prepared, trigger: Trigger) -> Committed {
        let candidates = prepared.found.candidates.clone();
        let mut situation = prepared.situation.clone();
        let before = self.memory.verdicts.clone();
        let (shared, captured) = (self.shared.clone(), settings.clone());
        let decision = Box::new(move |books: &_, now| {
            // The brake may have been pulled since the evaluation, and a protection or a budget may be another.
            situation.paused = shared.paused_as_known(&situation.target);
            if !shared.is_in_force(&captured) {
                situation.outdate();
            }
            let plan = decide(&candidates, &situation, books, now);
            let entries = journal::of_plan(&situation, &plan, &before, trigger.cause);
            Decision { plan, entries }
        });
        match self.shared.store.commit(self.name.clone(), decision).await {
            Ok(committed) => committed,
            Err(error) => {
                self.note_store_error("record a plan, so that nobody is killed", &error);
                let Plan { spared, .. } = unrecorded(&prepared.found.candidates, &prepared.situation.rules);
                Committed { intents: Vec::new(), spared }
            }
        }
    }

    /// Act: every committed intent is sent once, or provably not at all. What the server said to one batch is written
    /// while it works on the next.
    async fn act(&mut self, settings: &Arc<Settings>, intents: &[Intent], situation: &Situation, trigger: Trigger) {
        self.open_intents(intents);
        let brake = Brake {
            shared: self.shared.clone(),
            settings: settings.clone(),
            target: self.name.clone(),
            max_age: self.target.max_snapshot_age,
            shutdown: self.shutdown.clone(),
            stopping: OnceLock::new(),
        };
        let gate = |intent: &Intent| brake.holds(intent);
        let store = self.shared.store.clone();
        let mut answered = Vec::new();
        for batch in intents.chunks(BATCH) {
            let writing = write_answers(&store, std::mem::take(&mut answered));
            let (written, answers) = join(writing, self.backend.kill(batch, &gate)).await;
            self.note_written(written);
            self.count_answers(batch, &answers, situation, trigger);
            self.note_answers(&answers);
            answered = answers;
        }
        let written = write_answers(&store, answered).await;
        self.note_written(written);
    }

    fn open_intents(&mut self, intents: &[Intent]) {
        let now = self.shared.clock.steady();
        self.memory.open.extend(intents.iter().map(|intent| Open {
            id: intent.id(),
            rule: intent.rule().clone(),
            key: intent.session().key.clone(),
            progress: Progress::Lost(now),
        }));
        let open = self.memory.open.len();
        self.publish(|published| published.open = open);
    }

    fn note_answers(&mut self, answers: &[(IntentId, Answer)]) {
        let now = self.shared.clock.steady();
        let progress = |answer: &Answer| match answer {
            Answer::NotSent(_) => Progress::Unsent,
            Answer::Accepted | Answer::NoSuchSession | Answer::Refused(_) => Progress::Answered(now),
            Answer::Unanswered(_) => Progress::Lost(now),
        };
        let by_id: HashMap<IntentId, &Answer> = answers.iter().map(|(id, answer)| (*id, answer)).collect();
        for open in &mut self.memory.open {
            if let Some(answer) = by_id.get(&open.id) {
                open.progress = progress(answer);
            }
        }
    }

    fn note_written(&mut self, written: Result<Vec<(IntentId, Outcome)>, StoreError>) {
        match written {
            Ok(not_sent) => {
                self.count_outcomes(&not_sent);
                self.forget_open(&not_sent);
            }
            // What was sent is settled by a look, what was not by the next attempt to record it.
            Err(error) => self.note_store_error("record the answers to kills", &error),
        }
    }
}

/// Writes answers; returns what they alone settle.
async fn write_answers(
    store: &Store,
    answers: Vec<(IntentId, Answer)>,
) -> Result<Vec<(IntentId, Outcome)>, StoreError> {
    let not_sent = outcome::of_answers(&answers);
    if !answers.is_empty() {
        store.answered(answers).await?;
    }
    Ok(not_sent)
}
