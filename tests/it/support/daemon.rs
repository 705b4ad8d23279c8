//! The real binary as a child process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use reaperd::store::journal::{Filter, Reader};
use reaperd::view::journal::{EntryKind, Recorded};
use serde_json::Value;

use super::http::{self, Answer};
use super::{SOON, signal, wait_for, wait_until};

/// A config that enforces, with limits that are in nobody's way, for one target `orders` at `node` (`127.0.0.1:6379`).
/// More top-level keys can be appended.
pub(crate) fn config(node: &str) -> String {
    format!(
        "mode: enforce\n\
         storage: {{path: data}}\n\
         web: {{listen_address: '127.0.0.1:0'}}\n\
         rule_files: [rules.yml]\n\
         poll_interval: 250ms\n\
         limits: {{share: 100%, target: {{kills: 1000/1m}}, fleet: {{kills: 1000/1m}}}}\n\
         providers: {{redis: [{{target: orders, nodes: ['redis://{node}']}}]}}\n"
    )
}

/// A rule file with one rule `idle`: normal sessions that have been idle for two seconds or more. `more` are further
/// keys of the rule, as in `limits: {kills: 20/5s}`.
pub(crate) fn idle_rule(more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "groups: [{{name: t, rules: [{{rule: idle, summary: s, match: 'kind == \"normal\" && idle > duration(\"1s\")', \
         mode: enforce{more}}}]}}]\n"
    )
}

/// A rule file with one rule `victims`: whoever is named `victim`, at once.
pub(crate) fn victims_rule(more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "groups: [{{name: t, rules: [{{rule: victims, summary: s, match: 'name == \"victim\"', mode: enforce{more}}}]}}]\n"
    )
}

/// A running daemon; killed when it is dropped. When a test fails, its log is shown.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) port: u16,
    folder: PathBuf,
    log: Log,
}

type Lines = Arc<Mutex<Vec<String>>>;

struct Log {
    lines: Lines,
    reader: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Writes `reaperd.yml` and `rules.yml` into the folder, starts the daemon and waits until it listens.
    pub(crate) fn start(folder: &Path, config: &str, rules: &str) -> Self {
        write(folder, config, rules);
        Self::start_again(folder)
    }

    /// Starts it with the files that are there.
    pub(crate) fn start_again(folder: &Path) -> Self {
        let (mut child, log) = spawn(folder);
        let listening = || {
            let ended = child.try_wait().unwrap();
            let port = log.find(" msg=listening address=").and_then(|line| line.rsplit(':').next()?.parse().ok());
            assert!(port.is_some() || ended.is_none(), "the daemon ended: {ended:?}\n{}", log.text());
            port
        };
        let port = wait_for(listening, SOON, "the daemon listens");
        Self { child, port, folder: folder.to_owned(), log }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.port, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    pub(crate) fn post(&self, path: &str, json: &str) -> Answer {
        http::post(self.port, path, json.as_bytes()).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        self.get(path).json()
    }

    /// The value of one series, written as `/metrics` does: labels in alphabetical order.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.get("/metrics").body;
        metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until a series has this value.
    #[track_caller]
    pub(crate) fn wait_metric(&self, series: &str, value: f64) {
        let mut last = None;
        let mut reached = || {
            last = self.metric(series);
            last.is_some_and(|last| (last - value).abs() < 1e-9)
        };
        let deadline = super::now() + SOON;
        while !reached() {
            assert!(super::now() < deadline, "{series} should become {value} and is {last:?}");
            std::thread::sleep(super::PAUSE);
        }
    }

    /// How often the target was listed.
    pub(crate) fn lists(&self, target: &str) -> f64 {
        self.metric(&format!("reaperd_list_duration_seconds_count{{target=\"{target}\"}}")).unwrap_or_default()
    }

    /// Waits until the target was evaluated `count` more times from here on, each from beginning to end.
    #[track_caller]
    pub(crate) fn wait_polls(&self, target: &str, count: u32) {
        // The list that is under way may have been asked for before.
        let enough = self.lists(target) + f64::from(count) + 1.0;
        wait_until(|| self.lists(target) >= enough, SOON, "the target is listed again");
    }

    /// The journal's entries of one kind.
    pub(crate) fn journal(&self, kind: EntryKind) -> Vec<Recorded> {
        journal(&self.folder, kind)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        wait_for(|| self.child.try_wait().unwrap(), timeout, "the daemon ends")
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until a log line contains this.
    #[track_caller]
    pub(crate) fn wait_log(&self, part: &str) -> String {
        wait_for(|| self.log.find(part), SOON, &format!("the log says {part}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        self.log.finish();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon in {} ---\n{}", self.folder.display(), self.log());
        }
    }
}

/// Writes config and rules.
pub(crate) fn write(folder: &Path, config: &str, rules: &str) {
    std::fs::write(folder.join("reaperd.yml"), config).unwrap();
    std::fs::write(folder.join("rules.yml"), rules).unwrap();
}

/// Starts a daemon that is not expected to run: its exit code and its stderr.
pub(crate) fn fails(folder: &Path) -> (Option<i32>, String) {
    let (mut child, mut log) = spawn(folder);
    let deadline = super::now() + SOON;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if super::now() > deadline => break None,
            None => std::thread::sleep(super::PAUSE),
        }
    };
    drop(child.kill());
    drop(child.wait());
    log.finish();
    (status.expect("the daemon should have refused to start").code(), log.text())
}

/// The journal's entries of one kind, read beside a daemon or without one.
pub(crate) fn journal(folder: &Path, kind: EntryKind) -> Vec<Recorded> {
    let filter = Filter { kind: Some(kind), ..Filter::default() };
    Reader::open(&folder.join("data")).unwrap().query(&filter).unwrap()
}

/// Checks the whole journal; returns how many entries there are.
#[track_caller]
pub(crate) fn verify_journal(folder: &Path) -> u64 {
    Reader::open(&folder.join("data")).unwrap().verify().unwrap().entries
}

fn spawn(folder: &Path) -> (Child, Log) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reaperd"));
    command.args(["run", "--config.file=reaperd.yml"]).current_dir(folder);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = Lines::default();
    let (stderr, kept) = (child.stderr.take().unwrap(), lines.clone());
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    (child, Log { lines, reader: Some(reader) })
}

impl Log {
    fn find(&self, part: &str) -> Option<String> {
        self.lines.lock().unwrap().iter().find(|line| line.contains(part)).cloned()
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits for the last line of a process that has ended.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}
