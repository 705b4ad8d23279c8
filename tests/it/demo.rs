//! `reaperd demo` as a person runs it: it ends well, tells so, and leaves nothing behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::support::{SOON, signal, wait_for, wait_until};

/// A demo that keeps its folder where the test can see it.
fn start(temp: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reaperd"));
    command.arg("demo").args(arguments).env("TMPDIR", temp);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The processes of this machine that work in a folder below `temp`: what a demo has left behind.
fn working_in(temp: &Path) -> Vec<PathBuf> {
    let temp = temp.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let works_there = |process: &PathBuf| std::fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(&temp));
    processes.filter(works_there).collect()
}

#[test]
fn the_unruly_go_everybody_else_stays_and_nothing_is_left_behind() {
    let temp = tempfile::tempdir().unwrap();
    // Five seconds more than it needs, for a machine that is busy with other tests.
    let demo = start(temp.path(), &["--for", "20s", "-o", "json"]);
    wait_until(|| working_in(temp.path()).len() == 1, SOON, "one redis-server");
    let output = demo.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], true);
    let groups = report["groups"].as_array().unwrap();
    let roles: BTreeSet<&str> = groups.iter().filter_map(|group| group["role"].as_str()).collect();
    assert_eq!(roles, BTreeSet::from(["healthy", "unruly"]));
    for group in groups {
        let expected = if group["role"] == "unruly" { &Value::from(0) } else { &group["started"] };
        assert_eq!(&group["alive"], expected, "{group}");
        assert_ne!(group["started"], 0, "{group}");
    }
    let idle = report["rules"].as_array().unwrap().iter().find(|rule| rule["rule"] == "idle-session").unwrap();
    assert_eq!((&idle["kills"], &idle["gone"]), (&Value::from(40), &Value::from(40)), "{idle}");
    assert!(idle["most_in_a_window"].as_u64().unwrap() <= 15, "{idle}");
    for words in ["protected: consoles of operators", "wait for the budget", "would kill", "/api/v1/status"] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    assert_eq!(working_in(temp.path()), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_signal_ends_it_with_the_table_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let demo = start(temp.path(), &[]);
    let journal = || {
        let folder = std::fs::read_dir(temp.path()).ok()?.next()?.ok()?.path();
        folder.join("data").is_dir().then_some(())
    };
    wait_for(journal, SOON, "the daemon of the demo");
    signal(demo.id(), "INT");
    let output = demo.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    // Too early for the rules, which it says.
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("VERDICT") && told.contains("40 STILL THERE"), "{told}");
    assert!(told.contains("It was stopped before the rules had the time that they need."), "{told}");
    assert_eq!(working_in(temp.path()), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn without_a_redis_server_it_says_what_to_install() {
    let temp = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_reaperd"));
    let output = command.args(["demo", "--for", "15s"]).env("PATH", temp.path()).env("TMPDIR", temp.path()).output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("apt-get install redis-server") && told.contains("make demo"), "{told}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}
