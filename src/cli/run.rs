//! `reaperd run`: the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::log::{self, LogArgs};
use crate::app::App;
use crate::config::{Config, Overrides};
use crate::engine::handle::Handle;

/// The daemon
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The config file
    #[arg(long = "config.file", default_value = "reaperd.yml", value_name = "FILE")]
    config_file: PathBuf,
    /// Overrides web.listen_address
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    listen_address: Option<String>,
    /// Overrides web.config_file
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// Overrides storage.path
    #[arg(long = "storage.path", value_name = "FOLDER")]
    storage_path: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs until SIGTERM or SIGINT; SIGHUP reloads.
///
/// # Errors
/// What kept it from starting, or made it end early.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    log::start(&args.log)?;
    let listen_address = args.listen_address.as_deref().map(|address| {
        address
            .parse()
            .with_context(|| format!("--web.listen-address: `{address}` is no address and port, as in 127.0.0.1:9911"))
    });
    let overrides = Overrides {
        listen_address: listen_address.transpose()?,
        storage_path: args.storage_path,
        web_config_file: args.web_config_file,
    };
    let load = move || super::load_config(&args.config_file, &overrides).inspect(warn);
    let app = App::build(Box::new(load)).await?;
    let shutdown = CancellationToken::new();
    let handle = app.handle();
    let signals = signals(handle, shutdown.clone())?;
    tokio::select! {
        result = app.run(shutdown) => result?,
        never = signals => match never? {},
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

enum Never {}

/// SIGTERM and SIGINT stop, SIGHUP reloads.
fn signals(handle: Handle, shutdown: CancellationToken) -> anyhow::Result<impl Future<Output = anyhow::Result<Never>>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => stop(&shutdown, "SIGTERM"),
                _ = interrupt.recv() => stop(&shutdown, "SIGINT"),
                // The engine logs how it went.
                _ = hangup.recv() => drop(handle.reload().await),
            }
        }
    })
}

fn stop(shutdown: &CancellationToken, signal: &str) {
    tracing::info!(signal, "stopping");
    shutdown.cancel();
}

/// Warnings of a config that loads, for a person.
fn warn(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{}", warning);
    }
}
