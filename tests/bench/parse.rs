//! CLIENT LIST into columns, against the obvious parser and against finding the line ends alone. To give the memory back
//! is part of it: every poll does.

use std::collections::HashMap;
use std::hint::black_box;

use reaperd::backend::redis::client_list::parse;
use reaperd::policy::names::NodeName;

use crate::harness::{Bar, Line, Report, Unit, interleave, timed};
use crate::sessions::client_list;

const SESSIONS: u64 = 100_000;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let text = client_list(SESSIONS);
    let node = NodeName::from("127.0.0.1:6379");
    let mut ours = || {
        let text = text.clone();
        let (time, sessions) = timed(|| parse(text, &node).map(|sessions| sessions.len()));
        anyhow::ensure!(sessions? as u64 == SESSIONS, "our parser lost sessions");
        Ok(time)
    };
    let mut naive = || {
        let (time, sessions) = timed(|| naive(&text).len());
        anyhow::ensure!(sessions as u64 == SESSIONS, "the naive parser lost sessions");
        Ok(time)
    };
    let mut lines = || Ok(timed(|| memchr::memchr_iter(b'\n', black_box(text.as_bytes())).count()).0);
    let [ours, naive, lines] = interleave([&mut ours, &mut naive, &mut lines])?;
    let what = format!("CLIENT LIST of {SESSIONS} sessions, {} MB, CPU", text.len() / 1_000_000);
    let against = "String to String map per session".to_owned();
    report.add(Line { what, unit: Unit::Seconds, ours, against, theirs: naive, bar: Bar::AtLeast(10.0) });
    let (what, against) = ("the same".to_owned(), "limit: memchr counts the lines".to_owned());
    report.add(Line { what, unit: Unit::Seconds, ours, against, theirs: lines, bar: Bar::Times });
    Ok(())
}

/// What one writes first, and what client libraries do.
fn naive(text: &str) -> Vec<HashMap<String, String>> {
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.lines().map(|line| line.split(' ').filter_map(pair).collect()).collect()
}
