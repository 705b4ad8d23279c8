//! The main job: exactly the abusive sessions die, and metrics and journal tell so.

use std::collections::BTreeSet;

use reaperd::view::journal::EntryKind;

use super::support::crowd::{Busy, Deaf, Idle, Listener, alive};
use super::support::daemon::{Daemon, config, idle_rule, verify_journal};
use super::support::redis_server::RedisServer;
use super::support::{SOON, wait_until};

#[test]
fn exactly_the_forty_idle_sessions_die() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let idle = Idle::crowd(redis.port, 40);
    let busy: Vec<Busy> = (0..10).map(|_| Busy::start(redis.port)).collect();
    let monitors = [Listener::monitor(redis.port), Listener::monitor(redis.port)];
    let subscribers = [Listener::subscriber(redis.port, "a"), Listener::subscriber(redis.port, "b")];
    let daemon = Daemon::start(folder.path(), &config(&redis.node()), &idle_rule(""));
    daemon.wait_metric("reaperd_outcomes_total{outcome=\"gone\",target=\"orders\"}", 40.0);
    let own = redis.reaperd_id().unwrap();
    daemon.wait_polls("orders", 4);

    assert_eq!(alive(&idle), 0);
    assert!(busy.iter().all(Busy::is_alive));
    assert!(monitors.iter().chain(&subscribers).all(Listener::is_alive));
    let others = busy.iter().map(|client| client.id).chain(monitors.iter().chain(&subscribers).map(|other| other.id));
    let left: BTreeSet<i64> = others.chain([own]).collect();
    assert_eq!(left.len(), 15);
    assert_eq!(redis.ids(), left, "the others and reaperd's own connection, nobody else");

    assert_eq!(daemon.metric("reaperd_kills_total{rule=\"idle\",target=\"orders\"}"), Some(40.0));
    for outcome in ["survived", "not_sent", "unverified"] {
        let series = format!("reaperd_outcomes_total{{outcome=\"{outcome}\",target=\"orders\"}}");
        assert_eq!(daemon.metric(&series), Some(0.0), "{outcome}");
    }
    assert_eq!(daemon.metric("reaperd_open_intents"), Some(0.0));
    assert_eq!(redis.reaperd_id(), Some(own), "it did not have to connect anew");
    journal_tells_all(&daemon, &idle);
    verify_journal(folder.path());
}

/// An intent and an outcome each, in the store and over the API.
fn journal_tells_all(daemon: &Daemon, idle: &[Idle]) {
    let ids: BTreeSet<i64> = idle.iter().map(|client| client.id).collect();
    let intents = daemon.journal(EntryKind::Intent);
    let intended: Vec<i64> = intents.iter().map(|intent| intent.entry.session.as_ref().unwrap().id).collect();
    assert_eq!(intended.len(), ids.len());
    assert_eq!(intended.into_iter().collect::<BTreeSet<_>>(), ids);
    let outcomes = daemon.journal(EntryKind::Outcome);
    let number = |entry: &reaperd::view::journal::Recorded| entry.entry.intent.unwrap();
    assert_eq!(outcomes.len(), ids.len());
    assert!(outcomes.iter().all(|outcome| outcome.entry.outcome.as_deref() == Some("gone")));
    assert_eq!(
        outcomes.iter().map(number).collect::<BTreeSet<_>>(),
        intents.iter().map(number).collect::<BTreeSet<_>>()
    );
    for (kind, count) in [("intent", 40), ("outcome", 40)] {
        let told = daemon.json(&format!("/api/v1/journal?kind={kind}&limit=1000"));
        assert_eq!(told.as_array().unwrap().len(), count, "{kind}");
    }
}

#[test]
fn a_subscriber_that_does_not_read_goes_and_one_that_reads_stays() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let deaf = Deaf::subscriber(redis.port, "news");
    let listener = Listener::subscriber(redis.port, "news");
    let rules = "groups: [{name: t, rules: [{rule: swollen, summary: s, mode: enforce, \
                 match: 'kind == \"pubsub\" && omem > 1000000', for: 500ms}]}]\n";
    let daemon = Daemon::start(folder.path(), &config(&redis.node()), rules);
    let news = "x".repeat(64 << 10);
    let publish = || {
        redis.cli(&["PUBLISH", "news", &news]);
        !redis.ids().contains(&deaf.id)
    };
    wait_until(publish, SOON, "the deaf subscriber is gone");
    daemon.wait_metric("reaperd_kills_total{rule=\"swollen\",target=\"orders\"}", 1.0);
    daemon.wait_polls("orders", 2);
    assert!(listener.is_alive());
    assert_eq!(daemon.metric("reaperd_kills_total{rule=\"swollen\",target=\"orders\"}"), Some(1.0));
}
