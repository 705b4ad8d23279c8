//! `kill -9` in the middle of batches of kills, again and again: what was not recorded is not done, what was recorded is
//! not done twice, and no window holds more kills than the budget, restarts included.
//!
//! A proxy before the Redis passes the daemon's commands on one by one and writes them down. When the daemon dies, the
//! rest of its batch never reaches the server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use reaperd::view::journal::{EntryKind, Recorded};

use super::support::crowd::{Busy, Idle, Listener, alive};
use super::support::daemon::{Daemon, config, idle_rule, journal, verify_journal, victims_rule, write};
use super::support::proxy::Proxy;
use super::support::redis_server::RedisServer;
use super::support::resp::Reply;
use super::support::{SOON, wait_until};

const BUDGET: usize = 20;
const WINDOW: Duration = Duration::from_secs(5);
const VICTIMS: usize = 40;
/// After the last cut, and for all victims that are left then.
const REST: Duration = Duration::from_secs(60);

/// Five daemons with a Redis each, at the same time: nearly all of it is waiting for budgets to come free.
#[test]
fn killed_in_the_middle_of_batches_it_neither_exceeds_a_budget_nor_forgets_a_kill() {
    let lanes: [&[usize]; 5] = [&[0, 0], &[1, 2, 1], &[3, 6, 2], &[9, 5, 7], &[12, 1, 16]];
    std::thread::scope(|scope| {
        let lanes = lanes.map(|cuts| (cuts, scope.spawn(move || lane(cuts))));
        for (cuts, lane) in lanes {
            assert!(lane.join().is_ok(), "the lane {cuts:?} failed, see above");
        }
    });
}

/// The daemon dies, but what it had sent arrives later all the same: it counts until it is settled, however long ago it
/// was committed.
#[test]
fn kills_that_are_still_on_their_way_when_the_daemon_dies_count() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::lingering(redis.port);
    let victims = Idle::victims(redis.port, 16);
    proxy.hold_kills();
    let rules = victims_rule("limits: {kills: 8/1s}");
    let mut daemon = Daemon::start(folder.path(), &config(&proxy.node()), &rules);
    wait_until(|| proxy.kills_taken() == 8, SOON, "a whole batch is on its way");
    daemon.kill9();
    let daemon = Daemon::start_again(folder.path());
    // More than a window of polls.
    daemon.wait_polls("orders", 6);
    assert_eq!((daemon.journal(EntryKind::Intent).len(), alive(&victims)), (8, 16));
    proxy.let_go();
    wait_until(|| alive(&victims) == 0, SOON, "all victims are gone");
    daemon.wait_metric("reaperd_open_intents", 0.0);
    let kills = proxy.kills();
    nobody_twice(&kills, &victims);
    all_settled(folder.path(), &kills);
    assert_eq!(proxy.most_kills_within(Duration::from_secs(1)), 8);
}

/// One daemon's lives, each cut when this many kills of it have been passed on, and a last one that may live.
fn lane(cuts: &[usize]) {
    let slow_log = ["--slowlog-log-slower-than", "0", "--slowlog-max-len", "1000000"];
    let redis = RedisServer::start(&slow_log);
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(redis.port, Duration::from_millis(15));
    let victims = Idle::crowd(redis.port, VICTIMS);
    let busy = [Busy::start(redis.port), Busy::start(redis.port)];
    let listeners = [Listener::monitor(redis.port), Listener::subscriber(redis.port, "news")];
    let config = config(&proxy.node());
    write(folder.path(), &config, &idle_rule("limits: {kills: 20/5s}"));

    let in_the_middle = cuts.iter().filter(|cut| cut_off(folder.path(), &proxy, **cut)).count();
    assert!(in_the_middle >= 2, "only {in_the_middle} of {cuts:?} cut a batch in its middle");
    let daemon = Daemon::start_again(folder.path());
    wait_until(|| alive(&victims) == 0, REST, "all victims are gone");
    daemon.wait_metric("reaperd_open_intents", 0.0);

    let kills = proxy.kills();
    // By the clock of the proxy, which knows nothing of restarts.
    let most = proxy.most_kills_within(WINDOW);
    assert!(most <= BUDGET, "{most} kills within {WINDOW:?}");
    nobody_twice(&kills, &victims);
    all_recorded(folder.path(), &kills);
    all_settled(folder.path(), &kills);
    seen_by_the_server(&redis, &kills);
    assert!(busy.iter().all(Busy::is_alive) && listeners.iter().all(Listener::is_alive));
    verify_journal(folder.path());
}

/// Lets a daemon live until `count` of its kills have been passed on (until it has written new intents, if 0). Returns
/// whether that left intents that were not carried out.
fn cut_off(folder: &Path, proxy: &Proxy, count: usize) -> bool {
    let mut daemon = Daemon::start_again(folder);
    let (kills, intents) = (proxy.kills().len(), daemon.journal(EntryKind::Intent).len());
    let far_enough = || match count {
        0 => daemon.journal(EntryKind::Intent).len() > intents,
        _ => proxy.kills().len() >= kills + count,
    };
    wait_until(far_enough, SOON, "the daemon kills");
    daemon.kill9();
    let kills = proxy.kills();
    all_recorded(folder, &kills);
    let done: BTreeSet<i64> = kills.iter().map(|(_, id)| *id).collect();
    journal(folder, EntryKind::Intent).iter().skip(intents).any(|intent| !done.contains(&session(intent)))
}

fn session(intent: &Recorded) -> i64 {
    intent.entry.session.as_ref().unwrap().id
}

fn nobody_twice(kills: &[(Instant, i64)], victims: &[Idle]) {
    let killed: BTreeSet<i64> = kills.iter().map(|(_, id)| *id).collect();
    let wanted: BTreeSet<i64> = victims.iter().map(|victim| victim.id).collect();
    assert_eq!(killed, wanted);
    assert_eq!(kills.len(), killed.len(), "somebody was killed twice: {kills:?}");
}

/// Whoever was killed has an intent, and no intent has two outcomes.
fn all_recorded(folder: &Path, kills: &[(Instant, i64)]) {
    let intents = journal(folder, EntryKind::Intent);
    let intended: BTreeSet<i64> = intents.iter().map(session).collect();
    let missing: Vec<i64> = kills.iter().map(|(_, id)| *id).filter(|id| !intended.contains(id)).collect();
    assert!(missing.is_empty(), "killed without an intent in the journal: {missing:?}");
    let outcomes = journal(folder, EntryKind::Outcome);
    let settled: BTreeSet<i64> = outcomes.iter().map(|outcome| outcome.entry.intent.unwrap()).collect();
    assert_eq!(settled.len(), outcomes.len(), "an intent has two outcomes");
}

/// Nothing stays open for ever, and for everybody who was killed there is an intent that was seen to work.
fn all_settled(folder: &Path, kills: &[(Instant, i64)]) {
    let outcomes = journal(folder, EntryKind::Outcome);
    let outcomes: BTreeMap<i64, String> =
        outcomes.into_iter().map(|outcome| (outcome.entry.intent.unwrap(), outcome.entry.outcome.unwrap())).collect();
    let mut gone = BTreeSet::new();
    for intent in journal(folder, EntryKind::Intent) {
        match outcomes.get(&intent.entry.intent.unwrap()).map(String::as_str) {
            Some("gone") => assert!(gone.insert(session(&intent)), "gone twice: {intent:?}"),
            // The batch was cut before it was this one's turn.
            Some("survived") => {}
            other => panic!("{other:?}: {intent:?}"),
        }
    }
    assert_eq!(gone, kills.iter().map(|(_, id)| *id).collect());
}

/// The server's own record: CLIENT KILL came as often as it was passed on, for the same ids.
fn seen_by_the_server(redis: &RedisServer, kills: &[(Instant, i64)]) {
    let log = redis.cli(&["SLOWLOG", "GET", "-1"]);
    let words = |entry: &Reply| entry.list()[3].list().iter().map(|word| word.text().to_owned()).collect::<Vec<_>>();
    let id = |words: Vec<String>| (words[..2] == ["CLIENT", "KILL"]).then(|| words[3].parse::<i64>().unwrap());
    let seen: Vec<i64> = log.list().iter().map(words).filter(|words| words.len() > 3).filter_map(id).rev().collect();
    assert_eq!(seen, kills.iter().map(|(_, id)| *id).collect::<Vec<_>>());
}
