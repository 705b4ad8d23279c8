//! Whatever is committed, answered, settled and restarted in whatever order: no window ever holds more kills than
//! the budget, when `decide` asks the ledger.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::policy::intent::Answer;
use crate::policy::outcome::Outcome;
use crate::policy::rule::Rate;
use crate::policy::time::Steady;
use crate::store::Settled;

const RATE: Rate = Rate { kills: 3, window: Duration::from_millis(40) };

/// One step of a life.
#[derive(Clone, Debug)]
enum Step {
    /// Commit as many of this many as the budget allows.
    Commit(i64),
    /// The server carries out an open intent.
    Act(usize),
    /// The server answers one; if it did not act before, it does now.
    Answer(usize),
    /// The call ends without an answer.
    Silence(usize),
    /// The kill of one that the server has not carried out never left.
    NotSent(usize),
    /// A look settles one; if the server did not act before, it does at the last moment.
    Settle(usize),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The daemon stops and starts.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1i64..5).prop_map(Step::Commit),
        4 => any::<usize>().prop_map(Step::Act),
        3 => any::<usize>().prop_map(Step::Answer),
        1 => any::<usize>().prop_map(Step::Silence),
        1 => any::<usize>().prop_map(Step::NotSent),
        3 => any::<usize>().prop_map(Step::Settle),
        4 => (0u64..30).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// The servers' side: which intents may still be carried out, and when each one was.
#[derive(Default)]
struct World {
    open: Vec<IntentId>,
    acted: BTreeMap<IntentId, Steady>,
}

impl World {
    fn pick(&self, index: usize) -> Option<IntentId> {
        (!self.open.is_empty()).then(|| self.open[index % self.open.len()])
    }

    fn act(&mut self, id: IntentId, now: Steady) {
        self.acted.entry(id).or_insert(now);
    }

    fn close(&mut self, id: IntentId) {
        self.open.retain(|other| *other != id);
    }

    /// The most kills in any window.
    fn most(&self) -> usize {
        let mut times: Vec<Steady> = self.acted.values().copied().collect();
        times.sort();
        let within = |start: &Steady| times.iter().filter(|at| *at >= start && at.since(*start) <= RATE.window).count();
        times.iter().map(within).max().unwrap_or(0)
    }
}

async fn live(steps: Vec<Step>) -> World {
    let place = Place::new();
    let mut store = place.open().store;
    let mut world = World::default();
    for step in steps {
        match step {
            Step::Commit(count) => {
                let decide: Decide = Box::new(move |books, now| {
                    plan((0..count).map(kill).take(books.ledger.remaining(Scope::Fleet, RATE, now)).collect())
                });
                world.open.extend(ids(&store.commit("orders".into(), decide).await.unwrap()));
            }
            Step::Act(index) => {
                if let Some(id) = world.pick(index) {
                    world.act(id, place.clock.steady());
                }
            }
            Step::Answer(index) => {
                if let Some(id) = world.pick(index) {
                    world.act(id, place.clock.steady());
                    store.answered(vec![(id, Answer::Accepted)]).await.unwrap();
                }
            }
            Step::Silence(index) => {
                if let Some(id) = world.pick(index) {
                    store.answered(vec![(id, Answer::Unanswered("timed out".to_owned()))]).await.unwrap();
                }
            }
            Step::NotSent(index) => {
                if let Some(id) = world.pick(index).filter(|id| !world.acted.contains_key(id)) {
                    store.answered(vec![(id, Answer::NotSent("no connection".to_owned()))]).await.unwrap();
                    world.close(id);
                }
            }
            Step::Settle(index) => {
                if let Some(id) = world.pick(index) {
                    world.act(id, place.clock.steady());
                    store.settle(vec![Settled { id, outcome: Outcome::Gone, detail: None }]).await.unwrap();
                    world.close(id);
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Restart => {
                store.close().await;
                let opened = place.open();
                let open: Vec<IntentId> = opened.open_intents.iter().map(|intent| intent.id).collect();
                assert_eq!(open, world.open);
                store = opened.store;
            }
        }
    }
    place.reader().verify().unwrap();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_window_holds_more_kills_than_the_budget(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let world = runtime.block_on(live(steps));
        prop_assert!(world.most() <= RATE.kills as usize, "{} in a window: {:?}", world.most(), world.acted);
    }
}
