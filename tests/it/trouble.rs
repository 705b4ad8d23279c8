//! What goes wrong around the daemon, and what keeps it from killing: it stays up, says what is wrong, and kills nobody
//! whom it should not.

use std::time::Duration;

use reaperd::view::journal::EntryKind;
use serde_json::json;

use super::support::crowd::{Idle, Listener, alive};
use super::support::daemon::{Daemon, config, victims_rule};
use super::support::proxy::Proxy;
use super::support::redis_server::RedisServer;
use super::support::{SOON, free_port, now, wait_until};

const KILLS: &str = "reaperd_kills_total{rule=\"victims\",target=\"orders\"}";
const GONE: &str = "reaperd_outcomes_total{outcome=\"gone\",target=\"orders\"}";
const UP: &str = "reaperd_target_up{target=\"orders\"}";

fn failures(reason: &str) -> String {
    format!("reaperd_list_failures_total{{reason=\"{reason}\",target=\"orders\"}}")
}

fn spared(reason: &str) -> String {
    format!("reaperd_spared_total{{reason=\"{reason}\",rule=\"victims\"}}")
}

#[test]
fn a_dead_redis_is_told_of_and_guarded_once_it_is_there() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &config(&format!("127.0.0.1:{port}")), &victims_rule(""));
    wait_until(|| daemon.get("/-/ready").status == 200, SOON, "the daemon is ready although the target is not");
    wait_until(|| daemon.metric(&failures("connect")) >= Some(2.0), SOON, "every failed poll is counted");
    assert_eq!(daemon.metric(UP), Some(0.0));
    assert_eq!(daemon.get("/-/healthy").status, 200);
    let line = daemon.wait_log("cannot list the node");
    assert!(line.contains("connection refused") && line.contains(&format!("node=127.0.0.1:{port}")), "{line}");

    let redis = RedisServer::start_on(port, &[]);
    let victims = Idle::victims(redis.port, 2);
    daemon.wait_metric(UP, 1.0);
    daemon.wait_metric(GONE, 2.0);
    assert_eq!(alive(&victims), 0);
    daemon.wait_log("the node answers again");
}

/// Ids start again with every run, so after a restart other clients have the ids of those before.
#[test]
fn after_a_restart_of_redis_nobody_answers_for_the_session_that_had_the_id_before() {
    const HOLD: Duration = Duration::from_secs(2);
    let mut redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let before = Idle::victims(redis.port, 6);
    let config = config(&redis.node()).replace("250ms", "500ms");
    let daemon = Daemon::start(folder.path(), &config, &victims_rule("for: 2s"));
    daemon.wait_polls("orders", 1);
    redis.restart();
    let connected = now();
    let after = Idle::victims(redis.port, 6);
    assert!(after.iter().any(|new| before.iter().any(|old| old.id == new.id)), "ids start again");
    wait_until(|| alive(&after) < after.len(), SOON, "the new sessions go, too");
    assert!(now() - connected >= HOLD, "`for` went on over a restart of the server");
    daemon.wait_metric(GONE, 6.0);
}

#[test]
fn intents_that_are_open_when_redis_restarts_settle_as_gone() {
    let mut redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(redis.port, Duration::ZERO);
    let daemon = Daemon::start(folder.path(), &config(&proxy.node()), &victims_rule(""));
    daemon.wait_metric(UP, 1.0);
    proxy.hold_kills();
    let victims = Idle::victims(redis.port, 10);
    // Those that came just after a poll wait for the next one, which waits for the first kills.
    wait_until(|| !daemon.journal(EntryKind::Intent).is_empty(), SOON, "intents are written");
    let open = daemon.journal(EntryKind::Intent).len();
    assert_eq!((alive(&victims), proxy.kills().len()), (10, 0));
    redis.restart();
    let guests = Idle::crowd(redis.port, 20);
    let ids: Vec<i64> = guests.iter().map(|guest| guest.id).collect();
    assert!(victims.iter().any(|victim| ids.contains(&victim.id)), "ids start again");
    proxy.let_go();
    daemon.wait_metric("reaperd_open_intents", 0.0);
    let outcomes = daemon.journal(EntryKind::Outcome);
    assert_eq!(outcomes.len(), open);
    assert!(outcomes.iter().all(|outcome| outcome.entry.outcome.as_deref() == Some("gone")), "{outcomes:?}");
    assert_eq!(daemon.metric(KILLS), Some(0.0), "no answer, no kill");
    daemon.wait_polls("orders", 2);
    assert_eq!((alive(&guests), proxy.kills().len()), (20, 0), "the ids are somebody else's now");
}

#[test]
fn a_wrong_password_is_named_without_showing_it_and_a_right_one_is_found_without_a_restart() {
    let redis = RedisServer::start(&["--requirepass", "right-one"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong-one\n").unwrap();
    let config = config(&redis.node()).replace("target: orders,", "target: orders, password_file: password,");
    let daemon = Daemon::start(folder.path(), &config, &victims_rule(""));
    wait_until(|| daemon.metric(&failures("auth")) >= Some(1.0), SOON, "the failed login is counted");
    let line = daemon.wait_log("cannot list the node");
    assert!(line.contains("reason=auth") && line.contains("check username and password_file"), "{line}");
    std::fs::write(&file, "right-one\n").unwrap();
    daemon.wait_metric(UP, 1.0);
    for text in [daemon.log(), daemon.get("/api/v1/status").body] {
        assert!(!text.contains("wrong-one") && !text.contains("right-one"), "{text}");
    }
}

#[test]
fn observe_kills_nobody_and_counts_each_ghost_once() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let victims = Idle::victims(redis.port, 5);
    let config = config(&redis.node()).replace("mode: enforce", "mode: observe").replace("250ms", "50ms");
    let daemon = Daemon::start(folder.path(), &config, &victims_rule(""));
    daemon.wait_polls("orders", 10);
    assert_eq!(alive(&victims), 5);
    assert_eq!(daemon.metric("reaperd_would_kill_total{rule=\"victims\"}"), Some(5.0));
    assert_eq!(daemon.metric(&spared("observe")), Some(5.0));
    assert_eq!(daemon.metric(KILLS), Some(0.0));
    assert_eq!(daemon.metric("reaperd_candidates{rule=\"victims\",target=\"orders\"}"), Some(5.0));
    assert!(daemon.journal(EntryKind::Intent).is_empty());
    assert_eq!(daemon.journal(EntryKind::Spared).len(), 5, "only a change of verdict is written");
}

/// The mode of a target and of a rule cap in the same way.
#[test]
fn the_lowest_mode_holds() {
    let (first, second) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let folder = tempfile::tempdir().unwrap();
    let (observed, enforced) = (Idle::victims(first.port, 1), Idle::victims(second.port, 1));
    let targets = format!("{{target: orders, mode: observe, nodes: ['redis://{}']}}, ", first.node());
    let config = config(&second.node()).replace("{target: orders", &format!("{targets}{{target: others"));
    let daemon = Daemon::start(folder.path(), &config, &victims_rule(""));
    daemon.wait_metric("reaperd_kills_total{rule=\"victims\",target=\"others\"}", 1.0);
    daemon.wait_metric("reaperd_would_kill_total{rule=\"victims\"}", 1.0);
    assert_eq!((alive(&observed), alive(&enforced)), (1, 0));
}

#[test]
fn protections_hold() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let admin = Idle::named(redis.port, "admin");
    let sentinel = Idle::named(redis.port, "sentinel-0123abcd-cmd");
    let expired = Idle::named(redis.port, "intern");
    let victims = Idle::victims(redis.port, 3);
    let quiet = Listener::subscriber(redis.port, "news");
    let protect = "protect:\n\
                   - {match: 'name == \"admin\"', reason: operators}\n\
                   - {match: 'name == \"intern\"', reason: internship, until: 2020-01-01}\n";
    // A rule about everybody: it names neither pubsub nor our own connection.
    let rules = victims_rule("").replace("name == \"victim\"", "age >= duration(\"0s\")");
    let daemon = Daemon::start(folder.path(), &(config(&redis.node()) + protect), &rules);
    daemon.wait_metric(GONE, 4.0);
    daemon.wait_polls("orders", 3);
    assert_eq!((alive(&victims), expired.is_alive()), (0, false));
    assert!(admin.is_alive() && sentinel.is_alive() && quiet.is_alive());
    assert!(redis.reaperd_id().is_some());
    assert_eq!(daemon.metric(&spared("protected")), Some(4.0));
    let reasons = daemon.journal(EntryKind::Spared).into_iter().filter_map(|spared| spared.entry.detail);
    let reasons: Vec<String> = reasons.collect();
    for reason in ["operators", "our own connection", "a link of Sentinel", "kind pubsub is not named by the rule"] {
        assert!(reasons.iter().any(|told| told.contains(reason)), "{reason}: {reasons:?}");
    }
}

#[test]
fn a_rule_with_for_needs_two_snapshots() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let victims = Idle::victims(redis.port, 2);
    let config = config(&redis.node()).replace("250ms", "1h");
    let daemon = Daemon::start(folder.path(), &config, &victims_rule("for: 1ms"));
    daemon.wait_metric(UP, 1.0);
    wait_until(|| daemon.get("/-/ready").status == 200, SOON, "the first list is done");
    assert_eq!((alive(&victims), daemon.lists("orders")), (2, 1.0));
    assert_eq!(daemon.post("/api/v1/targets/orders/evaluate", "{}").status, 202);
    daemon.wait_metric(GONE, 2.0);
    assert_eq!((alive(&victims), daemon.lists("orders")), (0, 2.0));
}

#[test]
fn a_pause_brakes_and_survives_a_restart() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let victims = Idle::victims(redis.port, 3);
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let file = folder.path().join("data/PAUSE");
    std::fs::write(&file, "an incident\n").unwrap();
    let mut daemon = Daemon::start(folder.path(), &config(&redis.node()), &victims_rule(""));
    daemon.wait_metric(&spared("paused"), 3.0);
    assert_eq!(daemon.metric("reaperd_paused"), Some(1.0));
    let pause = daemon.post("/api/v1/pause", &json!({"reason": "a drill", "for": "1h"}).to_string());
    assert_eq!(pause.status, 200, "{pause:?}");
    std::fs::remove_file(&file).unwrap();
    daemon.wait_polls("orders", 2);
    daemon.kill9();

    let daemon = Daemon::start_again(folder.path());
    daemon.wait_metric(&spared("paused"), 3.0);
    daemon.wait_polls("orders", 2);
    assert_eq!(alive(&victims), 3);
    let status = daemon.json("/api/v1/status");
    assert_eq!(status["pauses"][0]["reason"], "a drill", "{status}");
    assert_eq!(daemon.post("/api/v1/resume", "{}").status, 204);
    daemon.wait_metric(GONE, 3.0);
    assert_eq!(alive(&victims), 0);
}

#[test]
fn the_pause_of_one_target_leaves_the_others_guarded() {
    let (first, second) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let folder = tempfile::tempdir().unwrap();
    let targets = format!("{{target: orders, nodes: ['redis://{}']}}, ", first.node());
    let config = config(&second.node()).replace("{target: orders", &format!("{targets}{{target: others"));
    let daemon = Daemon::start(folder.path(), &config, &victims_rule(""));
    assert_eq!(daemon.post("/api/v1/pause", r#"{"reason": "a drill", "target": "orders"}"#).status, 200);
    assert_eq!(daemon.post("/api/v1/pause", r#"{"reason": "a drill", "target": "nothing"}"#).status, 404);
    let (paused, free) = (Idle::victims(first.port, 2), Idle::victims(second.port, 2));
    daemon.wait_metric("reaperd_outcomes_total{outcome=\"gone\",target=\"others\"}", 2.0);
    daemon.wait_metric(&spared("paused"), 2.0);
    assert_eq!((alive(&paused), alive(&free)), (2, 0));
    assert_eq!(daemon.metric("reaperd_target_paused{target=\"orders\"}"), Some(1.0));
    assert_eq!(daemon.metric("reaperd_target_paused{target=\"others\"}"), Some(0.0));
    assert_eq!(daemon.post("/api/v1/resume", r#"{"target": "orders"}"#).status, 204);
    daemon.wait_metric(GONE, 2.0);
}

#[test]
fn budgets_survive_a_restart() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(redis.port, Duration::ZERO);
    let victims = Idle::victims(redis.port, 12);
    let mut daemon = Daemon::start(folder.path(), &config(&proxy.node()), &victims_rule("limits: {kills: 5/3s}"));
    daemon.wait_metric(KILLS, 5.0);
    daemon.kill9();
    let daemon = Daemon::start_again(folder.path());
    daemon.wait_metric(&spared("budget"), 7.0);
    assert_eq!((alive(&victims), proxy.kills().len()), (7, 5));
    wait_until(|| alive(&victims) == 0, SOON, "all are gone in the end");
    assert_eq!((proxy.kills().len(), proxy.most_kills_within(Duration::from_secs(3))), (12, 5));
}

#[test]
fn a_node_that_hangs_does_not_keep_the_others_unguarded() {
    let (well, hung) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let folder = tempfile::tempdir().unwrap();
    let nodes = config(&well.node()).replace("']}]}", &format!("', 'redis://{}']}}]}}", hung.node()));
    let daemon = Daemon::start(folder.path(), &format!("{nodes}max_snapshot_age: 4s\n"), &victims_rule(""));
    daemon.wait_polls("orders", 2);
    hung.signal("STOP");
    let on_the_hung_one = format!("reaperd_node_up{{node=\"{}\",target=\"orders\"}}", hung.node());
    daemon.wait_metric(&on_the_hung_one, 0.0);
    let victims = Idle::victims(well.port, 5);
    wait_until(|| alive(&victims) == 0, SOON, "the other node is guarded");
    assert_eq!(daemon.metric(UP), Some(0.0));
    hung.signal("CONT");
    daemon.wait_metric(UP, 1.0);
}
