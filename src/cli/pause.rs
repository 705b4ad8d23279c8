//! `reaperd pause`: the emergency brake.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use reqwest::Method;
use serde_json::json;

use super::client::{Daemon, NOT_UNDERSTOOD};
use super::table::{Output, print, printable};
use crate::policy::time::{DurationError, ShowDuration, parse_duration};
use crate::view::status::PauseView;

/// Stops all killing, or that on one target, until `resume` or for a while.
///
/// The daemon goes on watching, and tells what it would have killed. Without the daemon's HTTP, a file named PAUSE in
/// its storage folder does the same.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Pause this target only.
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,
    /// Why, for the next operator and the journal.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// For how long, as in 30m; until `resume` without.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(super) lasts: Option<Duration>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
    /// Which daemon.
    #[command(flatten)]
    pub(super) daemon: Daemon,
}

fn duration(text: &str) -> Result<Duration, DurationError> {
    parse_duration(text)
}

/// Pauses, and says until when.
///
/// # Errors
/// What the daemon refuses, or that it cannot be reached.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut body = json!({"reason": args.reason});
    if let Some(target) = &args.target {
        body["target"] = json!(target);
    }
    if let Some(lasts) = args.lasts {
        body["for"] = json!(ShowDuration(lasts).to_string());
    }
    let request = args.daemon.request(Method::POST, "api/v1/pause")?.json(&body);
    let response = args.daemon.send(request).await?;
    let pause: PauseView = response.json().await.context(NOT_UNDERSTOOD)?;
    match args.output {
        Output::Json => print(&format!("{}\n", serde_json::to_string(&pause)?))?,
        Output::Table => print(&format!("{}\n", told(&pause)))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A pause in one line.
pub(super) fn told(pause: &PauseView) -> String {
    let what = pause.target.as_deref().unwrap_or("everything");
    let until = match &pause.until {
        Some(until) => format!("until {until}"),
        None if pause.by_file => "until that file is removed".to_owned(),
        None => "until `reaperd resume`".to_owned(),
    };
    printable(&format!("paused: {what}, {until}: {}", pause.reason))
}
