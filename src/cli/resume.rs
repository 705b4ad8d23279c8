//! `reaperd resume`: ends a pause.

use std::process::ExitCode;

use reqwest::Method;
use serde_json::json;

use super::client::Daemon;
use super::table::{print, printable};

/// Ends the pause of everything, or that of one target.
///
/// A pause of everything and one of a target are two: each needs its own resume. A PAUSE file in the storage folder
/// is to be removed instead.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// End the pause of this target only.
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,
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
    print(&format!("resumed: {}\n", printable(args.target.as_deref().unwrap_or("everything"))))?;
    Ok(ExitCode::SUCCESS)
}
