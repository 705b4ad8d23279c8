//! kill -9 of a real process: what it was told is committed is on disk afterwards.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;
use crate::policy::intent::Answer;

const FOLDER: &str = "REAPERD_TEST_STORE";

/// Not a test of its own: what the next one starts as another process.
#[tokio::test]
async fn victim() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let config = Config { path: folder.into(), retention: Duration::from_secs(3600) };
    let Opened { store, .. } = Store::open(&config, Clock::start()).unwrap();
    for round in 0.. {
        let (one, two) = tokio::join!(
            store.commit("orders".into(), kill_all(round..round + 3)),
            store.commit("payments".into(), kill_all(round..round + 2)),
        );
        for id in [ids(&one.unwrap()), ids(&two.unwrap())].concat() {
            println!("permit {}", id.0);
        }
        store.answered(vec![(IntentId(round), Answer::Accepted)]).await.unwrap();
    }
}

#[tokio::test]
async fn permits_survive_a_kill() {
    let place = Place::new();
    let mut permitted = BTreeSet::new();
    for _ in 0..4 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::victim", "--nocapture"])
            .env(FOLDER, place.dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        for (index, line) in lines.enumerate() {
            if index == 40 {
                victim.kill().unwrap();
            }
            // The last line may be cut.
            if let Ok(line) = line
                && let Some(id) = line.strip_prefix("permit ").and_then(|id| id.parse::<i64>().ok())
            {
                assert!(permitted.insert(id), "{id} was permitted twice");
            }
        }
        victim.wait().unwrap();
        let verified = place.reader().verify().unwrap();
        assert!(verified.entries >= permitted.len() as u64);
    }
    assert!(permitted.len() > 100, "{}", permitted.len());
    let Opened { store, .. } = place.open();
    let on_disk: i64 = place.value("SELECT count(*) FROM intents");
    let known: i64 = place.value(&format!("SELECT count(*) FROM intents WHERE id <= {}", permitted.last().unwrap()));
    assert_eq!(known, *permitted.last().unwrap());
    assert_eq!(charged(&store), usize::try_from(on_disk).unwrap());
}
