//! `reaperd demo`: a real redis-server, an unruly crowd of real connections, and the daemon on top of them.
//!
//! Nothing here is simulated. The server is a child process on a free port, the crowd are TCP connections from several
//! loopback addresses, the daemon is the one that `reaperd run` runs, with the shipped rules tightened (`rules.yml`). What is
//! printed is read from the daemon's journal, and who is alive in the end is what the server's own client list says.
//!
//! The server is in a process group of its own, so that Ctrl-C reaches only this process, which stops the daemon first
//! and then the server, by its pid. A panic, an error or a signal while things start end the server as well.

mod config;
mod crowd;
mod follow;
mod report;
mod screen;
mod server;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::log;
use super::table::{Output, print};
use crate::app::App;
use crate::clock::Clock;
use crate::policy::time::{ShowDuration, parse_duration};
use config::Folder;
use crowd::Crowd;
use follow::Follower;
use report::Report;
use screen::Screen;
use server::Server;

/// The slowest rule of the demo needs this long for its last batch, on a machine that is not too busy.
const SHORTEST: Duration = Duration::from_secs(15);
const PRINT: &str = "cannot print what happens, so the demo ends";
/// How often the journal is read.
const TICK: Duration = Duration::from_millis(200);

/// A real redis-server, an unruly crowd and the daemon: see what it kills, what it spares, and why
///
/// Exits with 0 only if all the unruly are gone and everybody else is alive.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How long to run, at least 15s; until Ctrl-C without
    #[arg(long = "for", value_name = "DURATION", value_parser = lasts)]
    lasts: Option<Duration>,
    /// How to print the table at the end; with json, what happens until then is told on stderr
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// What the daemon logs to stderr: error, warn, info, debug or trace
    #[arg(long = "log.level", default_value = "warn", value_name = "LEVEL")]
    log_level: String,
}

fn lasts(text: &str) -> Result<Duration, String> {
    let lasts = parse_duration(text).map_err(|error| error.to_string())?;
    if lasts < SHORTEST {
        return Err(format!("the last kills need {}: write that or more", ShowDuration(SHORTEST)));
    }
    Ok(lasts)
}

/// Runs the demo and cleans up after it, whatever happens.
///
/// # Errors
/// What kept it from starting, or made it end early.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    log::start(&log::LogArgs::at(&args.log_level))?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(signals(stop.clone())?);
    let folder = Folder::create()?;
    let Some(mut server) = Server::start(folder.path(), &stop).await? else { return interrupted() };
    let played = play(&args, &folder, &server, &stop).await;
    // Whatever happened, and before anything else can go wrong.
    server.stop().await;
    let Some(report) = played? else { return interrupted() };
    match args.output {
        Output::Table => print(&report.shown())?,
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn interrupted() -> anyhow::Result<ExitCode> {
    bail!("interrupted before the demo began")
}

/// The first signal ends the demo in order; there is nothing a second one could do faster.
fn signals(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        stop.cancel();
    })
}

/// The crowd comes, then the daemon; in the end the daemon goes first. `None` when it was stopped before it began.
async fn play(
    args: &Args,
    folder: &Folder,
    server: &Server,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Report>> {
    let Some(crowd) = stop.run_until_cancelled(Crowd::gather(server.address)).await else { return Ok(None) };
    let crowd = crowd?;
    let app = App::build(folder.write_config(server.address)?).await?;
    let clock = Clock::start();
    let mut screen = Screen::new(args.output, clock.clone());
    let url = format!("http://{}", app.local_addr());
    let mut follower = Follower::open(folder.storage(), &app.handle().rules())?;
    screen.introduce(&crowd, server, follower.rules(), &url, folder.storage(), args.lasts).context(PRINT)?;
    let shutdown = CancellationToken::new();
    let mut daemon = JoinSet::new();
    daemon.spawn(app.run(shutdown.clone()));
    let watched = tokio::select! {
        watched = watch(&mut follower, &mut screen, args.lasts, &clock, stop) => watched,
        Some(ended) = daemon.join_next() => ended?.and_then(|()| bail!("the daemon ended early")),
    };
    let report = match watched {
        Ok(()) => Report::make(&crowd, server.address, &follower, &url, screen.elapsed()).await.map(Some),
        Err(error) => Err(error),
    };
    shutdown.cancel();
    while let Some(ended) = daemon.join_next().await {
        ended?.context("the daemon did not stop well")?;
    }
    report
}

/// Tells what the journal tells, until the time is over or somebody stops the demo.
async fn watch(
    follower: &mut Follower,
    screen: &mut Screen,
    lasts: Option<Duration>,
    clock: &Clock,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let start = clock.steady();
    while lasts.is_none_or(|lasts| clock.steady().since(start) < lasts) {
        for line in follower.news()? {
            screen.tell(&line).context(PRINT)?;
        }
        if stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            break;
        }
    }
    for line in follower.news()? {
        screen.tell(&line).context(PRINT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_that_cannot_end_well_is_refused() {
        assert_eq!(lasts("30s"), Ok(Duration::from_secs(30)));
        assert!(lasts("14s").unwrap_err().contains("15s"));
        assert!(lasts("soon").unwrap_err().contains("is not a duration"));
    }
}
