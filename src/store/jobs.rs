//! What each kind of job writes, and what it changes outside of the database once that is on disk.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rusqlite::Connection;

use super::error::StoreError;
use super::intents::{self, ChargeChange};
use super::journal::Chain;
use super::pauses::{self, Pause};
use super::queue::Work;
use super::writer::Shared;
use super::{Committed, Decide, Decision, alerts};
use crate::clock::{Reading, rfc3339};
use crate::policy::decide::{Kill, Spared};
use crate::policy::intent::{Intent, IntentId};
use crate::policy::ledger::{Books, Charge, Ledger};
use crate::policy::names::TargetName;
use crate::policy::time::Steady;
use crate::view::journal::{Entry, EntryKind};

/// The numbers that jobs go through; a job that fails gives them back.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    chain: Chain,
    next_intent: i64,
    next_ghost: i64,
}

impl Counters {
    /// Takes them from what is on disk. Ghosts are not on disk: their numbers go on.
    pub(super) fn reload(&mut self, db: &Connection) -> rusqlite::Result<()> {
        *self = Self { chain: Chain::load(db)?, next_intent: intents::next_id(db)?, ..self.clone() };
        Ok(())
    }
}

/// Intents that are written, but not yet on disk: only then they become permits.
pub(super) struct PendingCommit {
    target: TargetName,
    at: Steady,
    kills: Vec<(IntentId, Kill)>,
    spared: Vec<Spared>,
}

impl PendingCommit {
    fn charge(&self, ledger: &mut Ledger) {
        for (id, kill) in &self.kills {
            ledger.charge(Charge {
                id: *id,
                target: self.target.clone(),
                node: kill.session().key.node.clone(),
                rule: kill.rule().clone(),
                committed: self.at,
                ended: None,
            });
        }
    }

    /// The permits. Only for a commit that succeeded.
    pub(super) fn committed(self) -> Committed {
        let permit = |(id, kill)| Intent::committed(id, self.target.clone(), kill, self.at);
        Committed { intents: self.kills.into_iter().map(permit).collect(), spared: self.spared }
    }
}

/// What a job changes outside of the database.
pub(super) struct Effect {
    at: Steady,
    pub(super) committed: Option<PendingCommit>,
    /// Charges of the shadow ledger, open until the commit.
    ghosts: Vec<Charge>,
    ended: Vec<(IntentId, Duration)>,
    taken_back: Vec<IntentId>,
    pub(super) entries: u64,
    pub(super) alerts: bool,
    pub(super) pauses: Option<Vec<Pause>>,
}

impl Effect {
    /// Nothing yet.
    pub(super) fn none(at: Steady) -> Self {
        Self {
            at,
            committed: None,
            ghosts: Vec::new(),
            ended: Vec::new(),
            taken_back: Vec::new(),
            entries: 0,
            alerts: false,
            pauses: None,
        }
    }

    /// Before the commit: charges what is written, so that the next job decides on it.
    pub(super) fn charge(&self, books: &mut Books) {
        self.committed.iter().for_each(|pending| pending.charge(&mut books.ledger));
        self.ghosts.iter().for_each(|ghost| books.shadow.charge(ghost.clone()));
    }

    /// After the commit: what is over ends.
    pub(super) fn settle(&self, books: &mut Books) {
        self.ended.iter().for_each(|(id, lag)| books.ledger.end(*id, self.at.plus(*lag)));
        self.taken_back.iter().for_each(|id| books.ledger.take_back(*id));
        self.ghosts.iter().for_each(|ghost| books.shadow.end(ghost.id, self.at));
    }

    /// After a failed commit: the shadow ledger, which is not replayed, forgets its new charges.
    pub(super) fn forget_ghosts(&self, books: &mut Books) {
        self.ghosts.iter().for_each(|ghost| books.shadow.take_back(ghost.id));
    }
}

/// Writes a job's rows.
pub(super) fn perform(
    db: &Connection,
    shared: &Shared,
    counters: &mut Counters,
    work: Work,
) -> Result<Effect, StoreError> {
    let now = shared.clock.reading();
    let mut job = Performing { db, counters, effect: Effect::none(now.steady), now };
    let written = match work {
        Work::Commit { target, decide } => {
            let decision = job.decide(shared, &target, decide)?;
            job.commit(target, decision)
        }
        Work::Answered(answers) => answers.iter().try_for_each(|(id, answer)| {
            let changed = intents::answer(db, *id, answer, &job.now.stamp)?;
            job.changed(*id, changed)
        }),
        Work::Settle(settled) => settled.iter().try_for_each(|settled| {
            let changed = intents::settle(db, settled, &job.now.stamp)?;
            job.changed(settled.id, changed)
        }),
        Work::Record(entries) => entries.iter().try_for_each(|entry| job.append(entry)),
        Work::Receive(received) => {
            job.effect.alerts = true;
            received.iter().try_for_each(|alert| alerts::receive(db, alert, job.now.stamp.wall))
        }
        Work::Resolve(rows) => {
            job.effect.alerts = true;
            rows.iter().try_for_each(|row| alerts::resolve(db, row))
        }
        Work::Pause(pause) => job.pause(&pause),
        Work::Resume(target) => job.resume(target.as_ref()),
    };
    written.map_err(|error| StoreError::write(&shared.file, &error))?;
    Ok(job.effect)
}

/// One job, on its way.
struct Performing<'a> {
    db: &'a Connection,
    counters: &'a mut Counters,
    now: Reading,
    effect: Effect,
}

impl Performing<'_> {
    fn append(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        self.counters.chain.append(self.db, self.now.stamp.wall, entry)?;
        self.effect.entries += 1;
        Ok(())
    }

    /// Runs `decide` on the books. A panic in it must not end the writer.
    fn decide(&self, shared: &Shared, target: &TargetName, decide: Decide) -> Result<Decision, StoreError> {
        let books = shared.books();
        catch_unwind(AssertUnwindSafe(|| decide(&books, self.now.steady)))
            .map_err(|panic| StoreError::Panicked { target: target.to_string(), message: panic_words(&*panic) })
    }

    fn commit(&mut self, target: TargetName, decision: Decision) -> rusqlite::Result<()> {
        let Decision { plan, entries } = decision;
        entries.iter().try_for_each(|entry| self.append(entry))?;
        let mut kills = Vec::with_capacity(plan.kills.len());
        for kill in plan.kills {
            let id = IntentId(self.counters.next_intent);
            self.counters.next_intent += 1;
            let entry = intents::insert(self.db, id, &target, &kill, &self.now.stamp)?;
            self.append(&entry)?;
            kills.push((id, kill));
        }
        let at = self.now.steady;
        for ghost in plan.spared.iter().filter(|spared| spared.new_ghost) {
            self.counters.next_ghost += 1;
            self.effect.ghosts.push(Charge {
                id: IntentId(self.counters.next_ghost),
                target: target.clone(),
                node: ghost.session.key.node.clone(),
                rule: ghost.rule.clone(),
                committed: at,
                ended: None,
            });
        }
        self.effect.committed = Some(PendingCommit { target, at, kills, spared: plan.spared });
        Ok(())
    }

    /// Notes what became of a charge, and writes the outcome's entry.
    fn changed(&mut self, id: IntentId, (change, entry): (ChargeChange, Option<Entry>)) -> rusqlite::Result<()> {
        match change {
            ChargeChange::None => {}
            ChargeChange::Ended { lag } => self.effect.ended.push((id, lag)),
            ChargeChange::TakenBack => self.effect.taken_back.push(id),
        }
        entry.iter().try_for_each(|entry| self.append(entry))
    }

    fn pause(&mut self, pause: &Pause) -> rusqlite::Result<()> {
        pauses::begin(self.db, pause)?;
        let mut entry = Entry::new(EntryKind::Pause);
        entry.target = pause.target.as_ref().map(ToString::to_string);
        entry.detail = Some(match pause.until {
            Some(until) => format!("{} (until {})", pause.reason, rfc3339(until)),
            None => pause.reason.clone(),
        });
        self.append(&entry)?;
        self.effect.pauses = Some(pauses::all(self.db)?);
        Ok(())
    }

    fn resume(&mut self, target: Option<&TargetName>) -> rusqlite::Result<()> {
        pauses::end(self.db, target)?;
        let mut entry = Entry::new(EntryKind::Resume);
        entry.target = target.map(ToString::to_string);
        self.append(&entry)?;
        self.effect.pauses = Some(pauses::all(self.db)?);
        Ok(())
    }
}

/// What a panic said.
pub(super) fn panic_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
