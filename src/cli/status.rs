//! `reaperd status`: what a running daemon sees and does.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use reqwest::Method;

use super::client::Daemon;
use super::pause::told;
use super::table::{Output, Table, print, printable};
use crate::policy::time::ShowDuration;
use crate::view::status::{Status, TargetView};

/// Shows the state of the running daemon: targets, rules, budgets and pauses.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
    /// Which daemon.
    #[command(flatten)]
    pub(super) daemon: Daemon,
}

/// Prints the state.
///
/// # Errors
/// That the daemon cannot be reached or its answer not be understood.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let request = args.daemon.request(Method::GET, "api/v1/status")?;
    let text = args.daemon.send(request).await?.text().await.context("the daemon's answer was cut off")?;
    match args.output {
        Output::Json => print(&(text + "\n"))?,
        Output::Table => {
            let status = serde_json::from_str(&text)
                .context("the daemon's answer is not understood: is it another version? -o json shows it as it is")?;
            print(&shown(&status))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The state for people.
fn shown(status: &Status) -> String {
    let mut text = head(status);
    for table in [targets(&status.targets), rules(&status.targets), budgets(status)] {
        if !table.is_empty() {
            text.push('\n');
            text += &table.to_string();
        }
    }
    text
}

fn head(status: &Status) -> String {
    let ready = if status.ready { "ready" } else { "NOT READY: a target has not been listed yet" };
    let mut lines = vec![
        format!("reaperd {}, mode {}, {ready}", status.version, status.mode),
        format!("started {}, config of {}", status.started, status.reloaded),
        format!("{} active alerts, {} open intents", status.alerts_active, status.open_intents),
    ];
    if !status.reload_successful {
        lines.push("THE LAST RELOAD FAILED, the config before it is in force:".to_owned());
        lines.extend(status.reload_error.iter().flat_map(|error| error.lines()).map(|line| format!("  {line}")));
    }
    lines.extend(status.pauses.iter().map(told));
    let mut text = String::new();
    for line in lines {
        // Writing to a String cannot fail.
        writeln!(text, "{}", printable(&line)).ok();
    }
    text
}

fn targets(targets: &[TargetView]) -> Table {
    let mut table = Table::new(&["target", "provider", "mode", "nodes up", "sessions", "poll", "state"]);
    for target in targets {
        let up = target.nodes.iter().filter(|node| node.up == Some(true)).count();
        let sessions: u64 = target.nodes.iter().filter_map(|node| node.sessions).sum();
        let errors = target.nodes.iter().filter_map(|node| node.error.as_deref());
        let state: Vec<&str> = target.paused.then_some("paused").into_iter().chain(errors).collect();
        table.row([
            target.name.clone(),
            target.provider.clone(),
            target.mode.clone(),
            format!("{up}/{}", target.nodes.len()),
            sessions.to_string(),
            std::time::Duration::try_from_secs_f64(target.poll_interval)
                .map_or_else(|_| "?".to_owned(), |interval| ShowDuration(interval).to_string()),
            state.join("; "),
        ]);
    }
    table
}

fn rules(targets: &[TargetView]) -> Table {
    let mut table = Table::new(&["target", "rule", "mode", "active", "candidates", "verdicts"]);
    for (target, rule) in targets.iter().flat_map(|target| target.rules.iter().map(move |rule| (target, rule))) {
        let verdicts: Vec<String> = rule.verdicts.iter().map(|(verdict, count)| format!("{verdict} {count}")).collect();
        let verdicts = match &rule.not_applicable {
            Some(fields) => format!("not applicable: the target lacks {fields}"),
            None => verdicts.join(", "),
        };
        table.row([
            target.name.clone(),
            rule.rule.clone(),
            rule.mode.clone(),
            if rule.active { "yes" } else { "no" }.to_owned(),
            rule.candidates.to_string(),
            verdicts,
        ]);
    }
    table
}

fn budgets(status: &Status) -> Table {
    let mut table = Table::new(&["budget", "limit", "remaining"]);
    for budget in &status.budgets {
        table.row([budget.scope.clone(), budget.limit.clone(), budget.remaining.to_string()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the API gives it.
    const STATUS: &str = r#"{
        "version": "0.1.0", "started": "2026-11-24T07:00:00Z", "ready": true, "mode": "enforce",
        "reload_successful": false, "reloaded": "2026-11-24T07:00:01Z", "reload_error": "rules/a.yml:3: no\nb.yml:1: no",
        "pauses": [{"target": "orders", "reason": "drill\u001b[2J", "until": "2026-11-24T09:00:00Z"}, {"reason": "all"}],
        "budgets": [{"scope": "fleet", "limit": "200/1m", "remaining": 160}], "alerts_active": 1, "open_intents": 2,
        "targets": [{
            "name": "orders", "provider": "redis", "labels": {}, "mode": "enforce", "poll_interval": 10.0, "paused": true,
            "nodes": [
                {"node": "127.0.0.1:6379", "up": true, "sessions": 55},
                {"node": "127.0.0.1:6380", "up": false, "error": "connection refused"}
            ],
            "rules": [
                {"rule": "idle", "mode": "enforce", "active": true, "candidates": 42, "verdicts": {"kill": 40, "share": 2}},
                {"rule": "storm", "mode": "observe", "active": false, "candidates": 0, "not_applicable": "lib_name"}
            ]
        }]
    }"#;

    #[test]
    fn the_state_fits_a_terminal() {
        let text = shown(&serde_json::from_str(STATUS).unwrap());
        let expected = "\
reaperd 0.1.0, mode enforce, ready
started 2026-11-24T07:00:00Z, config of 2026-11-24T07:00:01Z
1 active alerts, 2 open intents
THE LAST RELOAD FAILED, the config before it is in force:
  rules/a.yml:3: no
  b.yml:1: no
paused: orders, until 2026-11-24T09:00:00Z: drill\\u{1b}[2J
paused: everything, until `reaperd resume`: all

TARGET  PROVIDER  MODE     NODES UP  SESSIONS  POLL  STATE
orders  redis     enforce  1/2       55        10s   paused; connection refused

TARGET  RULE   MODE     ACTIVE  CANDIDATES  VERDICTS
orders  idle   enforce  yes     42          kill 40, share 2
orders  storm  observe  no      0           not applicable: the target lacks lib_name

BUDGET  LIMIT   REMAINING
fleet   200/1m  160
";
        assert_eq!(text, expected);
    }
}
