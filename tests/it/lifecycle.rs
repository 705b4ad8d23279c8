//! Starting, reloading and stopping: what is refused at the start, what a reload keeps, how it ends.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use reaperd::view::journal::EntryKind;

use super::support::crowd::{Idle, alive};
use super::support::daemon::{Daemon, config, fails, journal, verify_journal, victims_rule, write};
use super::support::proxy::Proxy;
use super::support::redis_server::RedisServer;
use super::support::{SOON, free_port, wait_until};

const KILLS: &str = "reaperd_kills_total{rule=\"victims\",target=\"orders\"}";
const GONE: &str = "reaperd_outcomes_total{outcome=\"gone\",target=\"orders\"}";
const UP: &str = "reaperd_target_up{target=\"orders\"}";
const RELOADED: &str = "reaperd_config_last_reload_successful";

fn reload(daemon: &Daemon) {
    let answer = daemon.post("/-/reload", "");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn sigterm_in_the_middle_of_a_batch_finishes_it_settles_and_exits_0() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(redis.port, Duration::from_millis(15));
    let victims = Idle::victims(redis.port, 40);
    let mut daemon = Daemon::start(folder.path(), &config(&proxy.node()), &victims_rule(""));
    wait_until(|| proxy.kills().len() >= 3, SOON, "the batch is under way");
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0));
    assert!(daemon.log().contains("msg=stopped"));

    // All 40 were one committed plan.
    assert_eq!((proxy.kills().len(), alive(&victims)), (40, 0));
    let (intents, outcomes) = (journal(folder.path(), EntryKind::Intent), journal(folder.path(), EntryKind::Outcome));
    assert_eq!((intents.len(), outcomes.len()), (40, 40));
    assert!(outcomes.iter().all(|outcome| outcome.entry.outcome.as_deref() == Some("gone")));
    verify_journal(folder.path());
}

#[test]
fn a_reload_with_a_mistake_changes_nothing_and_says_where_it_is() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &config(&redis.node()), &victims_rule(""));
    daemon.wait_metric(UP, 1.0);
    let own = redis.reaperd_id();
    assert!(own.is_some());
    assert_eq!(daemon.metric(RELOADED), Some(1.0));

    let rules = folder.path().join("rules.yml");
    let broken = victims_rule("").replace("name ==", "nmae ==");
    let column = broken.find("nmae").unwrap() + 1;
    std::fs::write(&rules, &broken).unwrap();
    let answer = daemon.post("/-/reload", "");
    assert_eq!(answer.status, 500);
    for part in ["unknown field `nmae`".to_owned(), format!("rules.yml:1:{column}"), "did you mean `name`?".to_owned()]
    {
        assert!(answer.body.contains(&part), "{part}: {}", answer.body);
    }
    assert_eq!(daemon.metric(RELOADED), Some(0.0));
    let status = daemon.json("/api/v1/status");
    assert!(status["reload_error"].as_str().unwrap().contains("nmae"), "{status}");
    let first = Idle::victims(redis.port, 1);
    daemon.wait_metric(GONE, 1.0);
    assert_eq!(alive(&first), 0, "the old rules are in force");

    std::fs::write(&rules, victims_rule("").replace("\"victim\"", "\"other\"")).unwrap();
    daemon.signal("HUP");
    daemon.wait_metric(RELOADED, 1.0);
    let (second, other) = (Idle::victims(redis.port, 1), Idle::named(redis.port, "other"));
    daemon.wait_metric(GONE, 2.0);
    assert_eq!((alive(&second), other.is_alive()), (1, false), "the new rules are in force");
    assert_eq!(redis.reaperd_id(), own, "the connection was kept");
    assert_eq!(daemon.journal(EntryKind::Reload).len(), 1);
}

#[test]
fn a_reload_keeps_for_timers() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let victims = Idle::victims(redis.port, 2);
    let config = config(&redis.node()).replace("250ms", "1h");
    let daemon = Daemon::start(folder.path(), &config, &victims_rule("for: 1ms"));
    wait_until(|| daemon.get("/-/ready").status == 200, SOON, "the first list is done");
    // Limits and mode do not change what the rule means.
    write(folder.path(), &config, &victims_rule("for: 1ms, limits: {kills: 9/1m}"));
    reload(&daemon);
    assert_eq!((alive(&victims), daemon.lists("orders")), (2, 1.0));
    assert_eq!(daemon.post("/api/v1/targets/orders/evaluate", "{}").status, 202);
    daemon.wait_metric(GONE, 2.0);
    assert_eq!((alive(&victims), daemon.lists("orders")), (0, 2.0), "the list before the reload counts");
}

#[test]
fn a_reload_keeps_budgets_and_connections() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let victims = Idle::victims(redis.port, 5);
    let config = config(&redis.node());
    let daemon = Daemon::start(folder.path(), &config, &victims_rule("limits: {kills: 2/1h}"));
    daemon.wait_metric(GONE, 2.0);
    let own = redis.reaperd_id();
    write(folder.path(), &config, &victims_rule("limits: {kills: 3/1h}"));
    reload(&daemon);
    daemon.wait_metric(GONE, 3.0);
    daemon.wait_polls("orders", 3);
    assert_eq!((alive(&victims), daemon.metric(KILLS)), (2, Some(3.0)), "one more, not three more");
    assert_eq!(daemon.metric("reaperd_budget_remaining{scope=\"rule/victims/orders\"}"), Some(0.0));
    assert!(own.is_some() && redis.reaperd_id() == own);
}

#[test]
fn targets_start_and_stop_with_a_reload() {
    let (first, second) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (config(&first.node()), config(&second.node()).replace("orders", "payments"));
    let both = old.replace("providers: {redis: [", &format!("providers: {{redis: [{}, ", target(&second, "payments")));
    let daemon = Daemon::start(folder.path(), &old, &victims_rule(""));
    daemon.wait_metric(UP, 1.0);
    let victims = Idle::victims(second.port, 2);
    assert!(second.reaperd_id().is_none());

    write(folder.path(), &both, &victims_rule(""));
    reload(&daemon);
    daemon.wait_metric("reaperd_outcomes_total{outcome=\"gone\",target=\"payments\"}", 2.0);
    assert_eq!((alive(&victims), daemon.metric("reaperd_targets")), (0, Some(2.0)));
    assert_eq!(daemon.get("/api/v1/targets/payments/sessions").status, 200);
    let (own, kept) = (first.reaperd_id(), second.reaperd_id());
    assert!(own.is_some() && kept.is_some());

    write(folder.path(), &new, &victims_rule(""));
    reload(&daemon);
    wait_until(|| first.reaperd_id().is_none(), SOON, "the connection to the removed target is closed");
    assert_eq!(daemon.get("/api/v1/targets/orders/sessions").status, 404);
    assert_eq!((daemon.metric(UP), daemon.metric("reaperd_targets")), (None, Some(1.0)));
    let spared = Idle::victims(first.port, 1);
    daemon.wait_polls("payments", 3);
    assert_eq!((alive(&spared), second.reaperd_id()), (1, kept));
    // And back again.
    write(folder.path(), &both, &victims_rule(""));
    reload(&daemon);
    wait_until(|| alive(&spared) == 0, SOON, "the target is guarded again");
}

fn target(redis: &RedisServer, name: &str) -> String {
    format!("{{target: {name}, nodes: ['redis://{}']}}", redis.node())
}

#[test]
fn a_target_that_moves_is_reached_anew() {
    let (first, second) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &config(&first.node()), &victims_rule(""));
    daemon.wait_metric(UP, 1.0);
    let victims = Idle::victims(second.port, 1);
    write(folder.path(), &config(&second.node()), &victims_rule(""));
    reload(&daemon);
    daemon.wait_metric(GONE, 1.0);
    assert_eq!(alive(&victims), 0);
    wait_until(|| first.reaperd_id().is_none(), SOON, "the old connection is closed");
}

#[test]
fn what_only_a_restart_can_change_is_refused_by_a_reload() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let before = config(&redis.node());
    let daemon = Daemon::start(folder.path(), &before, &victims_rule(""));
    daemon.wait_metric(UP, 1.0);
    let port = free_port();
    for (key, changed) in [
        ("storage", before.replace("path: data", "path: elsewhere")),
        ("web.listen_address", before.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))),
    ] {
        // Rules that come with it are not taken either.
        write(folder.path(), &changed, &victims_rule("").replace("\"victim\"", "\"other\""));
        let answer = daemon.post("/-/reload", "");
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains(key) && answer.body.contains("needs a restart"), "{}", answer.body);
        assert_eq!(daemon.metric(RELOADED), Some(0.0));
    }
    let victims = Idle::victims(redis.port, 1);
    daemon.wait_metric(GONE, 1.0);
    assert_eq!(alive(&victims), 0);
    assert!(!folder.path().join("elsewhere").exists());
    write(folder.path(), &before, &victims_rule(""));
    daemon.signal("HUP");
    daemon.wait_metric(RELOADED, 1.0);
}

#[test]
fn a_second_daemon_on_the_same_storage_is_refused_and_kill_9_leaves_no_lock() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(folder.path(), &config(&redis.node()), &victims_rule(""));
    let (code, said) = fails(folder.path());
    assert_eq!(code, Some(1));
    let holder = format!("in use by another reaperd (pid {})", daemon.pid());
    assert!(said.contains(&holder), "{said}");
    daemon.wait_metric(UP, 1.0);
    daemon.kill9();
    let daemon = Daemon::start_again(folder.path());
    daemon.wait_metric(UP, 1.0);
    verify_journal(folder.path());
}

#[test]
fn addresses_that_cannot_or_must_not_be_served_are_refused() {
    let taken = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (public, free) = (format!("0.0.0.0:{}", free_port()), free_port());
    for (address, words) in [(taken.as_str(), "another process listens there"), (public.as_str(), "authentication")] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&format!("127.0.0.1:{free}")).replace("127.0.0.1:0", address);
        write(folder.path(), &config, &victims_rule(""));
        let (code, said) = fails(folder.path());
        assert_eq!(code, Some(1), "{address}");
        assert!(said.contains(address) && said.contains(words), "{address}: {said}");
    }
}

/// Every mistake is told at once, with file, line and column.
#[test]
fn mistakes_in_the_files_are_told_with_their_place() {
    let config = config("127.0.0.1:6379");
    let folder = tempfile::tempdir().unwrap();
    let said = |folder: &Path| {
        let (code, said) = fails(folder);
        assert_eq!(code, Some(1), "{said}");
        assert!(!folder.join("data").exists(), "nothing is written before the config is known to be right");
        said
    };
    let missing = said(folder.path());
    assert!(missing.contains("reaperd.yml") && missing.contains("No such file"), "{missing}");

    let broken = config.replace("poll_interval: 250ms", "pol_interval: 250ms");
    let rules = victims_rule("for: 5").replace("name ==", "nmae ==");
    write(folder.path(), &broken, &rules);
    let told = said(folder.path());
    let column = |part: &str| rules.find(part).unwrap() + 1;
    for part in [
        "reaperd.yml:5:1".to_owned(),
        "did you mean `poll_interval`?".to_owned(),
        format!("rules.yml:1:{}", column("nmae")),
        format!("rules.yml:1:{}", column("5")),
    ] {
        assert!(told.contains(&part), "{part}: {told}");
    }

    std::fs::remove_file(folder.path().join("rules.yml")).unwrap();
    for (files, places) in
        [("rules.yml", ["rules.yml", "cannot be read"]), ("rules/*.yml", ["reaperd.yml:4:14", "no file"])]
    {
        std::fs::write(folder.path().join("reaperd.yml"), config.replace("rules.yml", files)).unwrap();
        let told = said(folder.path());
        assert!(places.iter().all(|place| told.contains(place)), "{told}");
    }
}
