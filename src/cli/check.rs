//! `reaperd check`: every mistake in config and rules at once, and how many kills the limits allow.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::table::{Output, Table, print};
use crate::config::{self, Config, Finding, Findings, Overrides, WorstCase, worst_case_kills_per_hour};

/// Checks config and rule files: every mistake at once, and the most kills that the limits allow
///
/// Exits with 1 when something is wrong, and with 3 when there are only warnings and --lint-fatal is given.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The config file, with the rule files that it names; reaperd.yml if no rule files are given either
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Rule files
    #[arg(value_name = "RULE FILES")]
    rules: Vec<PathBuf>,
    /// Exit with 3 when there are warnings
    #[arg(long)]
    lint_fatal: bool,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What was checked.
#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    failed: bool,
    summary: Vec<String>,
    worst_case: Option<WorstCase>,
}

/// Checks.
///
/// # Errors
/// When the answer cannot be printed.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut checked = Checked::default();
    let default = args.rules.is_empty().then(|| PathBuf::from("reaperd.yml"));
    if let Some(file) = args.config_file.clone().or(default) {
        check_config(&file, &mut checked);
    }
    if !args.rules.is_empty() {
        check_rules(&args.rules, &mut checked);
    }
    match args.output {
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&document(&checked))?))?,
        Output::Table => show(&checked)?,
    }
    Ok(match (checked.failed, checked.findings.is_empty()) {
        (true, _) => ExitCode::FAILURE,
        (false, false) if args.lint_fatal => ExitCode::from(3),
        (false, _) => ExitCode::SUCCESS,
    })
}

fn check_config(file: &std::path::Path, checked: &mut Checked) {
    match Config::load(file, config::environment(), &Overrides::default()) {
        Ok(config) => {
            let (targets, rules) = (config.targets.len(), config.rules.len());
            checked.summary.push(format!(
                "{}: {targets} targets, {rules} rules, mode {}",
                file.display(),
                config.mode.as_str()
            ));
            checked.worst_case = Some(worst_case_kills_per_hour(&config));
            checked.findings.extend(config.warnings);
        }
        Err(findings) => fail(checked, findings),
    }
}

fn check_rules(files: &[PathBuf], checked: &mut Checked) {
    match config::load_rules(files) {
        Ok((rules, warnings)) => {
            checked.summary.push(format!("{} rule files: {} rules", files.len(), rules.len()));
            checked.findings.extend(warnings);
        }
        Err(findings) => fail(checked, findings),
    }
}

fn fail(checked: &mut Checked, findings: Findings) {
    checked.failed = true;
    checked.findings.extend(findings.0);
}

fn show(checked: &Checked) -> anyhow::Result<()> {
    let findings = Findings(checked.findings.clone());
    if !findings.0.is_empty() {
        eprint!("{}", findings.render(std::io::stderr().is_terminal()));
    }
    let mut text = String::new();
    for line in &checked.summary {
        writeln!(text, "{line}")?;
    }
    if let Some(worst) = &checked.worst_case {
        writeln!(text, "\nthe limits allow at most {} kills in any hour:", worst.total)?;
        let mut table = Table::new(&["scope", "kills an hour"]);
        for (rule, kills) in &worst.rules {
            table.row([format!("rule {rule}"), kills.to_string()]);
        }
        for (target, kills) in &worst.targets {
            table.row([format!("target {target}"), kills.to_string()]);
        }
        write!(text, "{table}")?;
    }
    print(&text)?;
    Ok(())
}

fn document(checked: &Checked) -> serde_json::Value {
    let finding = |finding: &Finding| {
        json!({
            "severity": finding.severity.as_str(),
            "file": finding.file().map(AsRef::<str>::as_ref),
            "line": finding.line(),
            "column": finding.column(),
            "key": finding.key,
            "message": finding.message,
            "help": finding.help,
        })
    };
    let worst_case = checked.worst_case.as_ref().map(|worst| {
        let by_name = |name: &str, kills: &u64| (name.to_owned(), json!(kills));
        let rules: serde_json::Map<_, _> =
            worst.rules.iter().map(|(rule, kills)| by_name(rule.as_str(), kills)).collect();
        let targets: serde_json::Map<_, _> =
            worst.targets.iter().map(|(target, kills)| by_name(target.as_str(), kills)).collect();
        json!({"total": worst.total, "rules": rules, "targets": targets})
    });
    let findings: Vec<_> = checked.findings.iter().map(finding).collect();
    json!({"ok": !checked.failed, "findings": findings, "worst_case_kills_per_hour": worst_case})
}
