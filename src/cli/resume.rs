//! `reaperd resume`: ends a pause.

use std::process::ExitCode;

use anyhow::Context;
use reqwest::Method;
use serde_json::json;

use super::client::{Daemon, NOT_UNDERSTOOD};
use super::pause::told;
use super::table::{Output, print, printable};
use crate::view::status::Status;

/// Ends the pause of everything, or that of one target.
///
/// A pause of everything and one of a target are two: each needs its own resume. A PAUSE file in the storage folder
/// is to be removed instead.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// End the pause of this target only.
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
    /// Which daemon.
    #[command(flatten)]
    pub(super) daemon: Daemon,
}

/// Ends the pause.
///
/// # Errors
/// What the daemon refuses, or that it cannot be reached.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let body = args.target.as_ref().map_or_else(|| json!({}), |target| json!({"target": target}));
    let request = args.daemon.request(Method::POST, "api/v1/resume")?.json(&body);
    args.daemon.send(request).await?;
    let request = args.daemon.request(Method::GET, "api/v1/status")?;
    let status: Status = args.daemon.send(request).await?.json().await.context(NOT_UNDERSTOOD)?;
    match args.output {
        Output::Json => print(&format!("{}\n", json!({"resumed": args.target, "pauses": status.pauses})))?,
        Output::Table => {
            let resumed = printable(args.target.as_deref().unwrap_or("everything"));
            // What still holds is said, so that nobody waits for kills that do not come.
            let left: String = status.pauses.iter().map(|pause| format!("still {}\n", told(pause))).collect();
            print(&format!("resumed: {resumed}\n{left}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
