//! Alerts that a real Alertmanager posts: what they start, what they end, and what they survive.

use std::path::Path;

use reaperd::view::journal::EntryKind;
use serde_json::json;
use tempfile::TempDir;

use super::support::alertmanager::{Alertmanager, Repeat, WEBHOOK};
use super::support::crowd::{Busy, Idle, alive};
use super::support::daemon::{Daemon, config};
use super::support::redis_server::RedisServer;
use super::support::{SOON, free_port, now, wait_until};

const STORM: (&str, &str) = ("alertname", "RedisTooManyConnections");
const BY_ALERT: &str = "reaperd_triggers_total{cause=\"alert\"}";
const ACTIVE: &str = "reaperd_alerts_active";
const RECEIVED: &str = "reaperd_alerts_received_total";

/// One rule `storm`, which the alert makes active: whoever is named `leak`, at once.
const RULES: &str = "groups: [{name: t, rules: [{rule: storm, summary: s, mode: enforce, match: 'name == \"leak\"', \
                     when: [{alert: 'alertname=\"RedisTooManyConnections\"'}]}]}]\n";

/// A daemon's folder, and the port that it is to listen on, known before it runs.
struct Place {
    folder: TempDir,
    port: u16,
}

impl Place {
    fn new(config: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let config = config.replace("'127.0.0.1:0'", &format!("'127.0.0.1:{port}'"));
        super::support::daemon::write(folder.path(), &config, RULES);
        Self { folder, port }
    }

    fn start(&self) -> Daemon {
        Daemon::start_again(self.path())
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn leaks(redis: &RedisServer) -> Vec<Idle> {
    (0..3).map(|_| Idle::named(redis.port, "leak")).collect()
}

#[track_caller]
fn die(leaks: &[Idle]) {
    wait_until(|| alive(leaks) == 0, SOON, "the leaks are gone");
}

/// They are still there after the daemon has looked a few times.
#[track_caller]
fn live(daemon: &Daemon, target: &str, leaks: &[Idle]) {
    daemon.wait_polls(target, 3);
    assert_eq!(alive(leaks), leaks.len());
}

fn is_active(daemon: &Daemon, target: usize) -> bool {
    daemon.json("/api/v1/targets")[target]["rules"][0]["active"].as_bool().unwrap()
}

fn ignored(reason: &str) -> String {
    format!("reaperd_alerts_ignored_total{{reason=\"{reason}\"}}")
}

#[test]
fn an_alert_leads_to_kills_on_the_target_that_it_names_and_nowhere_else() {
    let (orders, payments) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let second = format!("]}}, {{target: payments, nodes: ['redis://{}']}}]}}", payments.node());
    let place = Place::new(&config(&orders.node()).replace("]}]}", &second));
    let daemon = place.start();
    let alertmanager = Alertmanager::start(place.port, Repeat::Never);
    let busy = [Busy::start(orders.port), Busy::start(payments.port)];
    let (on_orders, on_payments) = (leaks(&orders), leaks(&payments));

    let foreign = free_port();
    for (reason, labels) in [
        ("no_rule", [("alertname", "RedisDown"), ("target", "orders")]),
        ("unknown_target", [STORM, ("target", "nobody")]),
        ("unknown_target", [STORM, ("instance", &format!("redis://127.0.0.1:{foreign}"))]),
        ("no_target_label", [STORM, ("job", "redis")]),
    ] {
        let before = daemon.metric(&ignored(reason)).unwrap();
        alertmanager.fire(&labels);
        daemon.wait_metric(&ignored(reason), before + 1.0);
    }
    // The first label that is there decides: `target` comes before `instance`.
    alertmanager.fire(&[STORM, ("target", "nobody"), ("instance", &orders.node())]);
    daemon.wait_metric(&ignored("unknown_target"), 3.0);
    live(&daemon, "orders", &on_orders);
    live(&daemon, "payments", &on_payments);
    assert_eq!(daemon.metric(BY_ALERT), Some(0.0));

    alertmanager.fire(&[STORM, ("instance", &format!("redis://{}", orders.node()))]);
    die(&on_orders);
    live(&daemon, "payments", &on_payments);
    assert!(is_active(&daemon, 0) && !is_active(&daemon, 1));
    assert_eq!(daemon.metric(BY_ALERT), Some(1.0));

    alertmanager.fire(&[STORM, ("target", "payments")]);
    die(&on_payments);
    for target in ["orders", "payments"] {
        daemon.wait_metric(&format!("reaperd_outcomes_total{{outcome=\"gone\",target=\"{target}\"}}"), 3.0);
    }
    assert!(busy.iter().all(Busy::is_alive));
    assert_eq!((daemon.metric(ACTIVE), daemon.metric(RECEIVED)), (Some(2.0), Some(7.0)));
    let triggers: Vec<_> =
        daemon.journal(EntryKind::Evaluation).into_iter().map(|entry| entry.entry.detail.unwrap()).collect();
    assert_eq!(triggers, ["alert", "alert"]);
}

#[test]
fn a_firing_alert_is_evaluated_at_once() {
    let redis = RedisServer::start(&[]);
    let place = Place::new(&config(&redis.node()).replace("250ms", "1h"));
    let daemon = place.start();
    let alertmanager = Alertmanager::start(place.port, Repeat::Never);
    wait_until(|| daemon.get("/-/ready").status == 200, SOON, "the first list is done");
    let leaks = leaks(&redis);
    alertmanager.fire(&[STORM, ("addr", &redis.node())]);
    die(&leaks);
    let polls = daemon.metric("reaperd_triggers_total{cause=\"poll\"}");
    assert_eq!((polls, daemon.metric(BY_ALERT)), (Some(1.0), Some(1.0)), "it did not wait for a poll");
}

#[test]
fn what_fires_stays_active_until_resolved_and_firing_again_is_a_new_activation() {
    let redis = RedisServer::start(&[]);
    let place = Place::new(&config(&redis.node()));
    let daemon = place.start();
    let alertmanager = Alertmanager::start(place.port, Repeat::Never);
    let labels = [STORM, ("target", "orders")];
    alertmanager.fire(&labels);
    daemon.wait_metric(ACTIVE, 1.0);
    for _ in 0..3 {
        die(&leaks(&redis));
    }
    assert_eq!((daemon.metric(RECEIVED), daemon.metric(BY_ALERT)), (Some(1.0), Some(1.0)), "told once, polled since");

    alertmanager.resolve(&labels);
    daemon.wait_metric(ACTIVE, 0.0);
    let newcomers = leaks(&redis);
    live(&daemon, "orders", &newcomers);
    assert!(!is_active(&daemon, 0));
    assert_eq!((daemon.metric(RECEIVED), daemon.metric(BY_ALERT)), (Some(2.0), Some(1.0)), "resolved starts nothing");

    alertmanager.fire(&labels);
    die(&newcomers);
    daemon.wait_metric(BY_ALERT, 2.0);
    assert_eq!(daemon.metric(RECEIVED), Some(3.0));
}

#[test]
fn a_daemon_that_is_down_gets_the_alert_when_it_is_back() {
    let redis = RedisServer::start(&[]);
    let place = Place::new(&config(&redis.node()));
    let alertmanager = Alertmanager::start(place.port, Repeat::Never);
    let leaks = leaks(&redis);
    alertmanager.fire(&[STORM, ("target", "orders")]);
    wait_until(|| alertmanager.failed_requests() > 0.0, SOON, "Alertmanager finds nobody there");
    let daemon = place.start();
    die(&leaks);
    assert_eq!(daemon.metric(RECEIVED), Some(1.0));
}

/// Somebody else holds the database for longer than the daemon waits for it.
#[test]
fn what_cannot_be_stored_is_answered_503_and_comes_again() {
    let redis = RedisServer::start(&[]);
    let place = Place::new(&config(&redis.node()));
    let daemon = place.start();
    let alertmanager = Alertmanager::start(place.port, Repeat::Never);
    let leaks = leaks(&redis);
    let database = rusqlite::Connection::open(place.path().join("data/reaperd.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    alertmanager.fire(&[STORM, ("target", "orders")]);
    let refused = || daemon.metric("reaperd_webhook_requests_total{code=\"503\"}").unwrap() > 0.0;
    wait_until(refused, SOON, "the webhook answers 503");
    live(&daemon, "orders", &leaks);
    assert!(daemon.metric("reaperd_store_failures_total").unwrap() > 0.0);
    assert_eq!((daemon.metric(ACTIVE), daemon.metric(RECEIVED)), (Some(0.0), Some(0.0)));
    database.execute_batch("ROLLBACK").unwrap();
    die(&leaks);
    daemon.wait_metric(RECEIVED, 1.0);
    assert!(alertmanager.failed_requests() > 0.0);
}

#[test]
fn alerts_that_fire_survive_kill_9() {
    let redis = RedisServer::start(&[]);
    let place = Place::new(&config(&redis.node()));
    let mut daemon = place.start();
    let alertmanager = Alertmanager::start(place.port, Repeat::Never);
    let labels = [STORM, ("target", "orders")];
    alertmanager.fire(&labels);
    daemon.wait_metric(ACTIVE, 1.0);
    daemon.kill9();
    let newcomers = leaks(&redis);
    let daemon = place.start();
    die(&newcomers);
    assert_eq!((daemon.metric(ACTIVE), daemon.metric(RECEIVED)), (Some(1.0), Some(0.0)), "nobody told it again");
    alertmanager.resolve(&labels);
    daemon.wait_metric(ACTIVE, 0.0);
    live(&daemon, "orders", &leaks(&redis));
}

#[test]
fn an_alert_times_out_when_nobody_delivers_it_any_more() {
    let redis = RedisServer::start(&[]);
    let place = Place::new(&(config(&redis.node()) + "alertmanager: {alert_timeout: 4s}\n"));
    let daemon = place.start();
    let alertmanager = Alertmanager::start(place.port, Repeat::Often);
    alertmanager.fire(&[STORM, ("target", "orders")]);
    daemon.wait_metric(ACTIVE, 1.0);
    let begin = now();
    wait_until(|| begin.elapsed().as_secs() >= 6, SOON, "time passes");
    assert_eq!(daemon.metric(BY_ALERT), Some(1.0), "repeats refresh: it neither timed out nor began anew");
    die(&leaks(&redis));

    drop(alertmanager);
    daemon.wait_metric(ACTIVE, 0.0);
    live(&daemon, "orders", &leaks(&redis));
    assert!(!is_active(&daemon, 0));
    daemon.wait_log("were not delivered again within alert_timeout");
}

#[test]
fn an_alert_that_timed_out_while_the_daemon_was_down_kills_nobody() {
    let redis = RedisServer::start(&[]);
    let place = Place::new(&(config(&redis.node()) + "alertmanager: {alert_timeout: 1s}\n"));
    let mut daemon = place.start();
    let alert = json!({"status": "firing", "labels": {"alertname": STORM.1, "target": "orders"}});
    assert_eq!(daemon.post(WEBHOOK, &json!({"version": "4", "alerts": [alert]}).to_string()).status, 200);
    daemon.kill9();
    let begin = now();
    let leaks = leaks(&redis);
    wait_until(|| begin.elapsed().as_millis() > 1000, SOON, "time passes");
    let daemon = place.start();
    live(&daemon, "orders", &leaks);
    daemon.wait_metric(ACTIVE, 0.0);
    assert_eq!(daemon.metric(BY_ALERT), Some(0.0));
}
