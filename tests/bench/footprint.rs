//! What the daemon costs when nothing happens, with one target that answers.

use std::time::Duration;

use crate::daemon::Daemon;
use crate::harness::{Bar, Line, ROUNDS, Report, Unit, exact_cpu_of, median};
use crate::redis::RedisServer;

/// Long enough for what a start needs to be given back.
const SETTLE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(10);

const RULE: &str = r#"rule: idle, summary: s, match: 'kind == "normal" && idle > duration("1h")', mode: enforce"#;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let server = RedisServer::start(100)?;
    let mut ready = Vec::new();
    for _ in 1..ROUNDS {
        ready.push(Daemon::start(server.address(2), RULE)?.ready.as_secs_f64());
    }
    let daemon = Daemon::start(server.address(2), RULE)?;
    ready.push(daemon.ready.as_secs_f64());
    std::thread::sleep(SETTLE);
    let resident = daemon.resident()?;
    let before = exact_cpu_of(daemon.process())?;
    std::thread::sleep(IDLE);
    let idle = (exact_cpu_of(daemon.process())? - before).as_secs_f64() / IDLE.as_secs_f64();
    let mut line = |what: &str, unit, ours, theirs| {
        let (what, against) = (what.to_owned(), "the limit".to_owned());
        report.add(Line { what, unit, ours, against, theirs, bar: Bar::AtMost(1.0) });
    };
    line("resident memory, idle", Unit::Megabytes, resident / 1e6, 18.0);
    line("from start to ready, wall", Unit::Seconds, median(ready), 0.05);
    line("CPU between polls", Unit::MillisecondsPerSecond, idle * 1e3, 0.5);
    Ok(())
}
