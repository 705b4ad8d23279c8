//! The command line, one file a subcommand. stdout is the answer, stderr is the log.

mod check;
mod client;
mod demo;
mod explain;
mod journal;
mod log;
mod pause;
mod plan;
mod resume;
mod run;
mod scene;
mod status;
mod table;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Overrides};

/// Finds abusive client sessions of Redis-compatible servers by rule files and kills exactly those, within budgets.
#[derive(Debug, Parser)]
#[command(name = "reaperd", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Plan(plan::Args),
    Explain(explain::Args),
    Journal(journal::Args),
    Status(status::Args),
    Pause(pause::Args),
    Resume(resume::Args),
    Demo(demo::Args),
}

/// Parses the command line, runs the command, and says in one paragraph what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    // A second call fails, which is fine: there is one provider then.
    drop(rustls::crypto::ring::default_provider().install_default());
    let cli = Cli::parse();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run::run(args).await,
            Command::Check(args) => check::run(&args),
            Command::Plan(args) => plan::run(args).await,
            Command::Explain(args) => explain::run(args).await,
            Command::Journal(args) => journal::run(&args),
            Command::Status(args) => status::run(args).await,
            Command::Pause(args) => pause::run(args).await,
            Command::Resume(args) => resume::run(args).await,
            Command::Demo(args) => demo::run(args).await,
        }
    });
    // A blocking call that hangs (a read of a dead disk) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result.unwrap_or_else(|error| fail(&error))
}

/// A few threads are enough: the work is waiting.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(4));
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("reaperd: {error:#}");
    ExitCode::FAILURE
}

/// Loads the config; the error is every finding, ready to be read.
fn load_config(file: &Path, overrides: &Overrides) -> Result<Config, String> {
    Config::load(file, config::environment(), overrides).map_err(|findings| findings.to_string())
}
