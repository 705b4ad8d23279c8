//! What changes between the commit of a plan and the moment in which a kill would be sent stops it there: a pause, a
//! reload, a list that has become too old. What was not sent is taken back, and everybody it was meant for lives.

use std::path::Path;
use std::time::Duration;

use reaperd::view::journal::EntryKind;

use super::support::crowd::{Idle, alive};
use super::support::daemon::{Daemon, config, journal, verify_journal, victims_rule, write};
use super::support::proxy::Proxy;
use super::support::redis_server::RedisServer;
use super::support::{SOON, wait_until};

const VICTIMS: usize = 120;

struct Scene {
    folder: tempfile::TempDir,
    proxy: Proxy,
    victims: Vec<Idle>,
    daemon: Daemon,
    _redis: RedisServer,
}

impl Scene {
    /// A daemon that is in the middle of killing them all, through a proxy that passes on a kill every 20 ms.
    fn start(change: impl FnOnce(String) -> String) -> Self {
        let redis = RedisServer::start(&[]);
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(redis.port, Duration::from_millis(20));
        let victims = Idle::victims(redis.port, VICTIMS);
        let daemon = Daemon::start(folder.path(), &change(config(&proxy.node())), &victims_rule(""));
        wait_until(|| proxy.kills().len() >= 5, SOON, "the first kills");
        Self { folder, proxy, victims, daemon, _redis: redis }
    }

    /// Everybody whose kill was sent is gone, everybody else lives, and each intent says so.
    fn stopped(&self, why: &str) {
        self.daemon.wait_metric("reaperd_open_intents", 0.0);
        let sent = self.proxy.kills().len();
        assert!(sent < VICTIMS, "nothing was stopped");
        assert_eq!(alive(&self.victims), VICTIMS - sent);
        let outcomes = journal(self.folder.path(), EntryKind::Outcome);
        let unsent: Vec<_> = outcomes.iter().filter(|one| one.entry.outcome.as_deref() == Some("not_sent")).collect();
        assert_eq!((outcomes.len(), unsent.len()), (VICTIMS, VICTIMS - sent));
        let words = |one: &&&reaperd::view::journal::Recorded| {
            one.entry.detail.as_deref().is_some_and(|detail| detail.contains(why))
        };
        assert_eq!(unsent.iter().filter(words).count(), unsent.len(), "{:?}", unsent.first());
        verify_journal(self.folder.path());
    }
}

/// A poll that will not come again during the test.
fn rarely(config: String) -> String {
    config.replace("poll_interval: 250ms", "poll_interval: 10m")
}

#[test]
fn a_pause_stops_a_batch_in_its_middle() {
    let scene = Scene::start(rarely);
    let answer = scene.daemon.post("/api/v1/pause", r#"{"reason": "incident 7"}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    scene.stopped("paused: incident 7");
}

#[test]
fn the_pause_file_stops_a_batch_in_its_middle() {
    let scene = Scene::start(rarely);
    std::fs::write(scene.folder.path().join("data/PAUSE"), "incident 8\n").unwrap();
    scene.stopped("incident 8");
}

#[test]
fn a_reload_stops_what_was_planned_under_the_old_config() {
    let scene = Scene::start(rarely);
    let protected = format!(
        "{}\nprotect: [{{match: 'name != \"reaperd\"', reason: everybody}}]\n",
        rarely(config(&scene.proxy.node()))
    );
    write(scene.folder.path(), &protected, &victims_rule(""));
    assert_eq!(scene.daemon.post("/-/reload", "").status, 200);
    scene.stopped("the config was reloaded");
    // The new config was asked at once, and spared them.
    let spared = |folder: &Path| journal(folder, EntryKind::Spared).len();
    wait_until(|| spared(scene.folder.path()) > 0, SOON, "the sessions are judged again");
}

#[test]
fn nobody_is_killed_from_a_list_that_has_become_too_old() {
    let scene = Scene::start(|config| format!("{}\nmax_snapshot_age: 1s\n", rarely(config)));
    scene.stopped("too old");
}
