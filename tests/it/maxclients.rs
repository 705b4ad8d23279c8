//! A Redis that lets nobody in any more is freed over the connection that was opened before.

use super::support::crowd::{Idle, alive};
use super::support::daemon::{Daemon, config, idle_rule};
use super::support::redis_server::RedisServer;
use super::support::{SOON, wait_for};

#[test]
fn a_full_server_is_freed_and_lets_a_new_client_in() {
    const MAX: usize = 40;
    let redis = RedisServer::start(&["--maxclients", &MAX.to_string()]);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &config(&redis.node()), &idle_rule(""));
    daemon.wait_metric("reaperd_target_up{target=\"orders\"}", 1.0);
    let own = redis.reaperd_id().unwrap();

    let mut leaked = Vec::new();
    while let Some(client) = Idle::try_connect(redis.port) {
        leaked.push(client);
        assert!(leaked.len() <= MAX);
    }
    assert_eq!(alive(&leaked), MAX - 1, "all slots but reaperd's own are taken by the leak");
    let guest = wait_for(|| Idle::try_connect(redis.port), SOON, "a new client gets in");

    daemon.wait_metric("reaperd_outcomes_total{outcome=\"gone\",target=\"orders\"}", 39.0);
    assert_eq!(alive(&leaked), 0);
    assert_eq!(redis.reaperd_id(), Some(own));
    assert_eq!(daemon.metric("reaperd_target_up{target=\"orders\"}"), Some(1.0));
    drop(guest);
}
