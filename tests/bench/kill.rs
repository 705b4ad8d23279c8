//! 10,000 idle sessions of a real server: the daemon's whole way (list, look, commit of all intents, kills, answers),
//! against one `CLIENT KILL LADDR`, which needs no list and no record, and stops the server meanwhile. A kill by id walks
//! all clients of the server; what that alone costs is told by a client that sends bare kills and keeps no record.
//!
//! The sessions were listed once before, as they are in any server that is polled: the first listing of a connection
//! costs a server three times as much as the next.

use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::crowd::{Crowd, Gone};
use crate::daemon::Daemon;
use crate::harness::{Bar, Line, ROUNDS, Report, Unit, cpu_of, exact_cpu_of, median, quantile, wall};
use crate::redis::{Connection, Probe, RedisServer, wait_for};

const SESSIONS: usize = 10_000;
/// Redis counts idle time in whole seconds.
const IDLE: Duration = Duration::from_millis(2500);

/// As many as the daemon.
const IN_FLIGHT: usize = 32;

const RULE: &str = r#"rule: idle, summary: s, match: 'kind == "normal" && idle > duration("1s")', mode: enforce,
    limits: {kills: 100000/1m, share: 100%}"#;

/// What a round saw, in seconds.
#[derive(Default)]
struct Seen {
    total: Vec<f64>,
    /// From the first to the last connection that was closed.
    closing: Vec<f64>,
    ping_p99: Vec<f64>,
    ping_max: Vec<f64>,
    daemon_cpu: Vec<f64>,
    server_cpu: Vec<f64>,
}

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    raise_open_files()?;
    let (mut laddr, mut bare, mut ours) = (Seen::default(), Seen::default(), Seen::default());
    for _ in 0..ROUNDS {
        one_command(&mut laddr)?;
        by_bare_kills(&mut bare)?;
        by_the_daemon(&mut ours)?;
    }
    let limit = "limit: one CLIENT KILL LADDR";
    let whole = median(laddr.total);
    let mut line = |what: &str, ours, against: &str, theirs, bar| {
        let (what, against) = (what.to_owned(), against.to_owned());
        report.add(Line { what, unit: Unit::Seconds, ours, against, theirs, bar });
    };
    line(
        "10000 idle sessions gone, from the first, wall",
        median(ours.closing.clone()),
        limit,
        whole,
        Bar::AtMost(2.5),
    );
    line("the same, from the trigger", median(ours.total.clone()), limit, whole, Bar::AtMost(2.5));
    let bare_limit = "limit: bare CLIENT KILL ID, 32 in flight";
    line("the same, from the trigger", median(ours.total), bare_limit, median(bare.total), Bar::Times);
    line("PING p99 meanwhile", median(ours.ping_p99), "the limit", 0.01, Bar::AtMost(1.0));
    line("longest PING meanwhile", median(ours.ping_max), limit, median(laddr.ping_max), Bar::Times);
    line("CPU of the daemon", median(ours.daemon_cpu), "the server's meanwhile", median(ours.server_cpu), Bar::Times);
    Ok(())
}

/// The limit.
fn one_command(seen: &mut Seen) -> anyhow::Result<()> {
    let server = RedisServer::start(SESSIONS)?;
    let mut admin = Connection::open(server.address(2))?;
    let crowd = crowd(&server, &mut admin)?;
    let probe = Probe::start(server.address(2))?;
    std::thread::sleep(IDLE);
    let sent = wall();
    let killed = admin.ask(&format!("CLIENT KILL LADDR {}", server.address(1)))?;
    anyhow::ensure!(killed == SESSIONS.to_string(), "CLIENT KILL LADDR killed {killed}");
    seen.note(sent, crowd.gone()?, probe)
}

/// The limit for killing exactly these: the commands, and nothing else.
fn by_bare_kills(seen: &mut Seen) -> anyhow::Result<()> {
    let server = RedisServer::start(SESSIONS)?;
    let mut admin = Connection::open(server.address(2))?;
    let crowd = crowd(&server, &mut admin)?;
    let list = admin.ask("CLIENT LIST")?;
    let laddr = format!("laddr={} ", server.address(1));
    let victims = list.lines().filter(|line| line.contains(&laddr));
    let ids: Vec<&str> = victims.filter_map(|line| line.strip_prefix("id=")?.split(' ').next()).collect();
    let probe = Probe::start(server.address(2))?;
    std::thread::sleep(IDLE);
    let sent = wall();
    let mut waiting = 0;
    for id in ids {
        if waiting == IN_FLIGHT {
            admin.reply("CLIENT KILL")?;
            waiting -= 1;
        }
        admin.send(&format!("CLIENT KILL ID {id} TYPE normal"))?;
        waiting += 1;
    }
    for _ in 0..waiting {
        admin.reply("CLIENT KILL")?;
    }
    seen.note(sent, crowd.gone()?, probe)
}

/// What users get.
fn by_the_daemon(seen: &mut Seen) -> anyhow::Result<()> {
    let server = RedisServer::start(SESSIONS)?;
    let mut admin = Connection::open(server.address(2))?;
    let daemon = Daemon::start(server.address(2), RULE)?;
    let crowd = crowd(&server, &mut admin)?;
    let probe = Probe::start(server.address(2))?;
    std::thread::sleep(IDLE);
    let (daemon_before, server_before) = (exact_cpu_of(daemon.process())?, cpu_of(server.process())?);
    let trigger = wall();
    daemon.evaluate()?;
    let gone = crowd.gone().with_context(|| daemon.log())?;
    seen.daemon_cpu.push((exact_cpu_of(daemon.process())? - daemon_before).as_secs_f64());
    seen.server_cpu.push((cpu_of(server.process())? - server_before).as_secs_f64());
    seen.note(trigger, gone, probe)?;
    let killed = |daemon: &Daemon| daemon.metric(r#"reaperd_outcomes_total{outcome="gone",target="orders"}"#);
    wait_for("the outcomes", || killed(&daemon).is_ok_and(|killed| killed >= 10_000.0)).with_context(|| daemon.log())
}

/// All of them, accepted and once listed by the server.
fn crowd(server: &RedisServer, admin: &mut Connection) -> anyhow::Result<Crowd> {
    let crowd = Crowd::connect(server.address(1), SESSIONS)?;
    wait_for("the server to accept all connections", || admin.clients().is_ok_and(|clients| clients > SESSIONS))?;
    admin.ask("CLIENT LIST")?;
    Ok(crowd)
}

impl Seen {
    fn note(&mut self, trigger: Duration, gone: Gone, probe: Probe) -> anyhow::Result<()> {
        let pings = probe.stop(trigger, gone.last)?;
        self.total.push((gone.last - trigger).as_secs_f64());
        self.closing.push((gone.last - gone.first).as_secs_f64());
        self.ping_p99.push(quantile(pings.clone(), 0.99));
        self.ping_max.push(quantile(pings, 1.0));
        Ok(())
    }
}

/// The bench has one end of each connection, and the server the other.
fn raise_open_files() -> anyhow::Result<()> {
    let needed = SESSIONS as u64 + 500;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
        let too_low = maximum.is_some_and(|maximum| maximum < needed);
        anyhow::ensure!(!too_low, "the hard limit of open files must be {needed} or more: ulimit -Hn {needed}");
    }
    Ok(())
}
