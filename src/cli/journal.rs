//! `reaperd journal`: what was done, and whether the record of it is whole.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::table::{Output, Table, print};
use crate::clock::Clock;
use crate::policy::time::{millis, parse_duration};
use crate::store::journal::{Broken, Filter, Reader, Verified, VerifyError};
use crate::view::journal::{EntryKind, Recorded};

/// How many entries are read at a time.
const PAGE: usize = 1_000;

/// Shows what was done, and checks that the record of it is whole
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The storage folder of the daemon, which may be running
    #[arg(long = "storage.path", default_value = "/var/lib/reaperd", value_name = "FOLDER", global = true)]
    storage_path: PathBuf,
    /// Only entries about this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only entries about this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only entries of this kind, as in the column KIND
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<EntryKind>,
    /// Only entries of the last while, as in 2h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
    /// How to print the answer; json is one object a line
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Computes the hash chain anew: it detects corruption, not a determined forger
    Verify,
}

fn kind(text: &str) -> Result<EntryKind, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| "there is no such kind; intent, outcome, spared and evaluation are the usual ones".to_owned())
}

/// Prints the journal, or verifies it; the exit code is 1 when it is broken.
///
/// # Errors
/// When it cannot be read.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let reader = Reader::open(&args.storage_path)?;
    match args.command {
        Some(Command::Verify) => verify(&reader, args.output),
        None => show(&reader, args),
    }
}

fn verify(reader: &Reader, output: Output) -> anyhow::Result<ExitCode> {
    match (reader.verify(), output) {
        (Ok(verified), Output::Json) => {
            let Verified { entries, first_seq, last_hash } = verified;
            let whole = json!({"whole": true, "entries": entries, "first_seq": first_seq, "last_hash": last_hash});
            print(&format!("{whole}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        (Err(VerifyError::Broken(Broken { seq, what })), Output::Json) => {
            print(&format!("{}\n", json!({"whole": false, "broken_at": seq, "what": what})))?;
            Ok(ExitCode::FAILURE)
        }
        (Ok(verified), Output::Table) => {
            let whole = format!(
                "the journal is whole: {} entries from number {}, last hash {}\n",
                verified.entries, verified.first_seq, verified.last_hash
            );
            print(&whole)?;
            Ok(ExitCode::SUCCESS)
        }
        (Err(VerifyError::Broken(broken)), Output::Table) => {
            eprintln!("reaperd: {broken}");
            Ok(ExitCode::FAILURE)
        }
        (Err(error @ VerifyError::Store(_)), _) => Err(error.into()),
    }
}

/// Page by page, so that a journal of any size can be printed.
fn show(reader: &Reader, args: &Args) -> anyhow::Result<ExitCode> {
    let since = args.since.map(|since| Clock::start().wall() - millis(since));
    let mut filter = Filter {
        target: args.target.clone(),
        rule: args.rule.clone(),
        kind: args.kind,
        since,
        limit: Some(PAGE),
        ..Filter::default()
    };
    loop {
        let page = reader.query(&filter)?;
        let Some(last) = page.last() else { return Ok(ExitCode::SUCCESS) };
        match args.output {
            Output::Json => print(&lines(&page)?)?,
            Output::Table => print(&table(&page, filter.after_seq.is_none()).to_string())?,
        }
        filter.after_seq = Some(last.seq);
    }
}

fn lines(page: &[Recorded]) -> serde_json::Result<String> {
    let line = |recorded| serde_json::to_string(recorded).map(|text| text + "\n");
    page.iter().map(line).collect()
}

fn table(page: &[Recorded], is_first: bool) -> Table {
    let headings = ["seq", "at", "kind", "target", "rule", "session", "what"];
    let mut table = if is_first { Table::new(&headings) } else { Table::default() };
    for recorded in page {
        let entry = &recorded.entry;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let session = entry.session.as_ref().map_or_else(String::new, |session| {
            format!("{} {}", session.id, session.addr.as_deref().unwrap_or_default())
        });
        let kind = entry.kind.as_str().to_owned();
        let (target, rule) = (text(&entry.target), text(&entry.rule));
        table.row([recorded.seq.to_string(), recorded.at.clone(), kind, target, rule, session, what(recorded)]);
    }
    table
}

fn what(recorded: &Recorded) -> String {
    let entry = &recorded.entry;
    let counts = entry.counts.iter().map(|(name, count)| format!("{name} {count}"));
    let words = [&entry.outcome, &entry.reason, &entry.detail].into_iter().flatten().cloned();
    words.chain(counts).collect::<Vec<_>>().join(", ")
}
