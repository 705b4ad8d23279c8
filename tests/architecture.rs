//! The wall between the rings: which module may name which, and which value is made where.
//!
//! The check is a function of (path, text), so that the tests below can plant violations and see them found.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a module may name of ours, in the words of the ring table. `a::b` allows that part of `a` only.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("policy", &[]),
    ("clock", &["policy"]),
    ("metrics", &["policy"]),
    ("view", &["policy"]),
    ("store", &["policy", "clock", "metrics", "view"]),
    ("backend", &["policy", "clock", "metrics"]),
    ("monitoring", &["policy", "clock", "metrics"]),
    ("engine", &["policy", "clock", "metrics", "view", "store", "backend", "monitoring"]),
    ("http", &["policy", "clock", "metrics", "view", "store", "monitoring", "engine::handle"]),
    ("config", &["policy", "store::Config", "backend::redis::config", "backend::dcs::config", "monitoring::config"]),
    ("app", &["policy", "clock", "metrics", "view", "store", "backend", "monitoring", "engine", "http", "config"]),
    (
        "cli",
        &["policy", "clock", "metrics", "view", "store", "backend", "monitoring", "engine", "http", "config", "app"],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// What ring 0 may not name: I/O, async, clock, serde, tracing, randomness.
const IMPURE: &[&str] = &[
    "tokio::",
    "futures",
    "serde",
    "tracing::",
    "rand::",
    "redis::",
    "rusqlite",
    "axum",
    "reqwest",
    "prometheus",
    "jiff",
    "std::fs",
    "std::env",
    "std::io",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "TcpStream",
    "UdpSocket",
    "println!",
    "eprintln!",
];

/// The parser needs more stack than a worker thread has, so it borrows a thread; that is no effect.
const PARSER: (&str, &str) = ("src/policy/expr/parse.rs", "std::thread");

/// Who may make a value: the constructor's text, and the only places in which it may stand.
const MADE_ONLY_IN: &[(&str, &[&str])] = &[
    ("Snapshot {", &["src/backend/", "src/policy/session.rs"]),
    ("Candidate {", &["src/policy/evaluate.rs"]),
    ("Kill {", &["src/policy/decide.rs"]),
    ("Spared {", &["src/policy/decide.rs"]),
    ("Intent::committed(", &["src/store/"]),
    ("Outcome::Gone", &["src/policy/outcome.rs"]),
    ("Outcome::Survived", &["src/policy/outcome.rs"]),
    // The store knows of a kill that provably never left: its own commit failed, or the answer says so.
    ("Outcome::NotSent", &["src/policy/outcome.rs", "src/store/"]),
    ("Outcome::Unverified", &["src/policy/outcome.rs"]),
    ("Instant::now(", &["src/clock.rs"]),
    ("SystemTime::now(", &["src/clock.rs"]),
];

#[test]
fn modules_name_only_what_their_ring_allows() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(files.len() > 20, "the sources were not found");
    let found: Vec<String> = files.iter().flat_map(|(path, text)| violations(path, text)).collect();
    let mut report = String::new();
    for violation in &found {
        writeln!(report, "{violation}").unwrap();
    }
    assert!(found.is_empty(), "\n{report}");
}

#[test]
fn planted_violations_are_found() {
    for (path, text, part) in [
        ("src/policy/decide.rs", "use crate::store::Store;", "store::Store"),
        ("src/policy/evaluate.rs", "let x = std::fs::read(path);", "std::fs"),
        ("src/policy/rule.rs", "#[derive(serde::Deserialize)]", "serde"),
        ("src/http/api.rs", "use crate::engine::supervisor::Supervisor;", "engine::supervisor"),
        ("src/http/api.rs", "use crate::{clock::Clock, backend::Backend};", "backend::Backend"),
        ("src/backend/redis/mod.rs", "crate::engine::handle::Handle::new()", "engine::handle"),
        ("src/config/mod.rs", "use crate::store::{Config, Store};", "store::Store"),
        ("src/engine/sentence.rs", "let permit = Intent::committed(id, target, kill, now);", "Intent::committed("),
        ("src/engine/sentence.rs", "let one = Snapshot { node, run };", "Snapshot {"),
        ("src/engine/report.rs", "let gone = Outcome::Gone;", "Outcome::Gone"),
        ("src/main.rs", "reaperd::app::run()", "app::run"),
    ] {
        let found = violations(path, text);
        assert!(found.iter().any(|violation| violation.contains(part)), "{path}: {text}: {found:?}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    for (path, text) in [
        ("src/http/api.rs", "use crate::engine::handle::Handle;"),
        ("src/config/mod.rs", "use crate::backend::redis::config::Config;\nuse crate::store::Config as StoreConfig;"),
        ("src/policy/decide.rs", "// a comment may say crate::store::Store\nuse super::ledger::Books;"),
        ("src/policy/decide.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}"),
        ("src/store/intents.rs", "match outcome { Outcome::Gone | Outcome::Survived => a, Outcome::Unverified => b }"),
        ("src/engine/report.rs", "fn f(outcome: Outcome) -> EntryKind { Entry { outcome } }"),
        ("src/main.rs", "fn main() -> ExitCode { reaperd::cli::main() }"),
    ] {
        assert_eq!(violations(path, text), Vec::<String>::new(), "{path}");
    }
}

fn sources(folder: &Path) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap_or_default();
            if stem == "tests" {
                // The tests of a module may build what they need.
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn violations(path: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let module = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').next().unwrap_or_default();
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: module `{module}` has no row in the ring table")];
    };
    let mut found = Vec::new();
    for named in named(&code) {
        let own = named == module || named.starts_with(&format!("{module}::"));
        let is_allowed = |rule: &&str| named == **rule || named.starts_with(&format!("{rule}::"));
        if !own && !allowed.iter().any(|rule| is_allowed(&rule)) {
            found.push(format!("{path}: `{module}` may not name `{named}`"));
        }
    }
    if module == "policy" {
        let impure = IMPURE.iter().filter(|word| code.contains(**word) && (path, **word) != PARSER);
        found.extend(impure.map(|word| format!("{path}: ring 0 names {word}")));
    }
    for (constructor, places) in MADE_ONLY_IN {
        let here = code.match_indices(constructor).any(|(at, _)| is_construction(&code, at, constructor.len()));
        if here && !places.iter().any(|place| path.starts_with(place)) {
            found.push(format!("{path}: `{constructor}` may stand only in {}", places.join(", ")));
        }
    }
    found
}

/// Without comments, and without the tests at the end of the file.
fn code_only(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Not a declaration, a pattern's `impl`, a return type, or the end of a longer name.
fn is_construction(code: &str, at: usize, len: usize) -> bool {
    let (before, after) = (&code[..at], code[at + len..].trim_start());
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
    let longer = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let declares = ["pub struct ", "struct ", "impl ", "enum ", "pub enum "].iter().any(|word| line.contains(word));
    let is_pattern = after.starts_with("=>") || after.starts_with('|');
    !(longer
        || is_pattern
        || declares
        || line.ends_with("-> ")
        || line.contains("let Spared")
        || before.ends_with("for "))
}

/// The paths below `crate::` (or `reaperd::`) that the code names, `use` groups taken apart.
fn named(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "reaperd::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            expand("", &code[at + root.len()..], &mut found);
        }
    }
    found
}

/// Follows `a::b::{c, d::e}` from the start of `rest`.
fn expand(prefix: &str, rest: &str, found: &mut Vec<String>) -> usize {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
    let path = format!("{prefix}{}", &rest[..end]);
    if !rest[end..].starts_with('{') {
        found.push(path.trim_end_matches(':').to_owned());
        return end;
    }
    let mut at = end + 1;
    while at < rest.len() && !rest[at..].starts_with('}') {
        let step = rest[at..].find(|c: char| c.is_alphanumeric() || c == '_' || c == '}').unwrap_or(rest.len() - at);
        at += step;
        if !rest[at..].starts_with('}') {
            at += expand(&path, &rest[at..], found).max(1);
            // `as Name` belongs to the path before it.
            if let Some(alias) = rest[at..].strip_prefix(" as ") {
                at += 4 + alias.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(alias.len());
            }
        }
    }
    at + 1
}
