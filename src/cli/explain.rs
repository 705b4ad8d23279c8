//! `reaperd explain`: what every rule says about one session, clause by clause.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use super::scene::{self, Judgement, Scene};
use super::table::{Output, Table, print, printable};
use crate::clock::Clock;
use crate::policy::evaluate::lacking;
use crate::policy::expr::{Clause, Tri};
use crate::policy::field::Field;
use crate::policy::rule::Rule;
use crate::policy::session::{SessionKey, Snapshot};
use crate::policy::time::ShowDuration;
use crate::view::plan::{ClauseView, ExplainView, RuleExplanation};
use crate::view::session::SessionView;

/// Shows what every rule says about one session, and why
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    scene: scene::Args,
    /// The session: its address (ip:port) or its id
    #[arg(long, value_name = "ADDR_OR_ID")]
    session: String,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Explains; the exit code is 1 when there is no such session.
///
/// # Errors
/// What is wrong with the config, the rules or the saved list.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock = Clock::start();
    let scenes = scene::scenes(&args.scene, &clock).await?;
    let mut places = scenes.iter().flat_map(|scene| find(scene, &args.session));
    let found = places.next().map(|(scene, snapshot, row)| explain(scene, snapshot, row, &clock));
    for (scene, snapshot, _) in places {
        eprintln!(
            "reaperd: there is another session `{}` on node {} of target {}, which is not explained here; name it by its \
             address, or name its target with --target",
            args.session, snapshot.node, scene.target
        );
    }
    for failure in scenes.iter().flat_map(|scene| scene.failures.iter().map(move |error| (scene, error))) {
        eprintln!("reaperd: target {}: {}", failure.0.target, failure.1);
    }
    let Some(view) = found else {
        let listed: usize = scenes.iter().flat_map(|scene| &scene.snapshots).map(|list| list.sessions.len()).sum();
        eprintln!("reaperd: there is no session `{}` among the {listed} that were listed", args.session);
        return Ok(ExitCode::FAILURE);
    };
    match args.output {
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&view)?))?,
        Output::Table => print(&text(&view))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Every session that is meant: ids are given by each node anew.
fn find<'a>(scene: &'a Scene, wanted: &'a str) -> impl Iterator<Item = (&'a Scene, &'a Arc<Snapshot>, usize)> {
    let id: Option<i64> = wanted.parse().ok();
    let is_it = move |snapshot: &Snapshot, row: usize| match id {
        Some(id) => snapshot.sessions.id(row) == id,
        None => [Field::Addr, Field::Peer].iter().any(|field| snapshot.sessions.text(*field, row) == Some(wanted)),
    };
    scene.snapshots.iter().flat_map(move |snapshot| {
        let rows = (0..snapshot.sessions.len()).filter(move |row| is_it(snapshot, *row));
        rows.map(move |row| (scene, snapshot, row))
    })
}

fn explain(scene: &Scene, snapshot: &Arc<Snapshot>, row: usize, clock: &Clock) -> ExplainView {
    let judgement = scene.judge(clock);
    let session = snapshot.session(row);
    let rules = scene.rules.rules().iter().enumerate();
    ExplainView {
        target: scene.target.as_str().to_owned(),
        rules: rules
            .map(|(index, rule)| {
                let clauses = rule.matches.explain(&snapshot.sessions, row);
                let (verdict, reason, detail) = if scene.active.contains(&index) {
                    verdict(&judgement, (index, rule), snapshot, &session.key, &clauses)
                } else {
                    ("other_target", None, Some(format!("its targets are {}", rule.targets)))
                };
                let clauses = clauses.into_iter().map(clause).collect();
                RuleExplanation { rule: rule.name.as_str().to_owned(), verdict, reason, detail, clauses }
            })
            .collect(),
        session: SessionView::from(&session),
    }
}

/// The verdict, its reason and more words.
type Verdict = (&'static str, Option<String>, Option<String>);

fn verdict(
    judgement: &Judgement,
    (index, rule): (usize, &Rule),
    snapshot: &Snapshot,
    key: &SessionKey,
    clauses: &[Clause],
) -> Verdict {
    let lacking = lacking(rule, snapshot);
    if !lacking.is_empty() {
        return ("not_applicable", None, Some(format!("the target does not list {lacking}")));
    }
    if judgement.plan.kills.iter().any(|kill| *kill.rule() == rule.name && kill.session().key == *key) {
        return ("kill", None, None);
    }
    let mut spared = judgement.plan.spared.iter();
    if let Some(spared) = spared.find(|spared| spared.rule == rule.name && spared.session.key == *key) {
        let detail = spared.detail.as_ref().map(|detail| detail.as_ref().to_owned());
        return ("spared", Some(spared.reason.as_str().to_owned()), detail);
    }
    let mut waiting = judgement.found.waiting.iter();
    if let Some(waiting) = waiting.find(|waiting| waiting.rule == index && waiting.session.key == *key) {
        let detail = format!("it has to match for another {}", ShowDuration(waiting.left));
        return ("pending", None, Some(detail));
    }
    match clauses.iter().find(|clause| clause.value != Tri::True) {
        Some(failed) => ("not_named", None, Some(format!("`{}` is {}", failed.source, word(failed.value)))),
        None => ("not_chosen", None, Some("others go first, up to the rule's max".to_owned())),
    }
}

fn clause(clause: Clause) -> ClauseView {
    ClauseView { value: word(clause.value), clause: clause.source, values: clause.shown }
}

fn word(value: Tri) -> &'static str {
    match value {
        Tri::True => "true",
        Tri::False => "false",
        Tri::Unknown => "unknown",
    }
}

fn text(view: &ExplainView) -> String {
    let mut text = String::new();
    let shown = serde_json::to_value(&view.session).unwrap_or_default();
    let fields: Vec<String> = shown
        .as_object()
        .map(|fields| fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect())
        .unwrap_or_default();
    let mut say = |line: &str| {
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "{}", line.trim_end()).is_ok();
    };
    say(&format!("session on {}: {}", printable(&view.target), printable(&fields.join(" "))));
    for rule in &view.rules {
        let reason = rule.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        let detail = rule.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
        say(&format!("\n{}: {}{reason}{}", printable(&rule.rule), rule.verdict, printable(&detail)));
        let mut table = Table::new(&["value", "clause", "tested"]);
        for clause in &rule.clauses {
            table.row([clause.value, &clause.clause, &clause.values]);
        }
        for line in table.to_string().lines() {
            say(&format!("  {line}"));
        }
    }
    text
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
