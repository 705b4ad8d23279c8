//! `reaperd plan`: who would be killed now, and why; never kills.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;

use super::scene::{self, Scene};
use super::table::{Output, Table, print, printable};
use crate::clock::{Clock, rfc3339};
use crate::policy::names::RuleName;
use crate::policy::time::ShowDuration;
use crate::view::plan::{Killed, NodeFailure, PendingView, PlanView, RulePlan, SparedView};
use crate::view::session::SessionView;

/// Shows who would be killed now and why; never kills
///
/// Lists the targets of a config live, or reads a saved CLIENT LIST, and decides as the daemon would at its first
/// trigger, with every alert firing and every budget unused.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    scene: scene::Args,
    /// Only this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Plans; the exit code is 1 when a target could not be listed.
///
/// # Errors
/// What is wrong with the config, the rules or the saved list.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock = Clock::start();
    let scenes = scene::scenes(&args.scene, &clock).await?;
    if let Some(rule) = &args.rule
        && !scenes.iter().any(|scene| scene.rules.rules().iter().any(|known| known.name.as_str() == rule))
    {
        bail!("there is no rule `{rule}`");
    }
    let wanted = |rule: &RuleName| args.rule.as_ref().is_none_or(|wanted| wanted == rule.as_str());
    let view = PlanView {
        at: rfc3339(clock.wall()),
        // A target of which nothing could be listed has no plan: that it has no candidates is not known.
        plans: scenes
            .iter()
            .filter(|scene| !scene.snapshots.is_empty())
            .flat_map(|scene| plans(scene, &clock, &wanted))
            .collect(),
        errors: scenes.iter().flat_map(failures).collect(),
    };
    match args.output {
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&view)?))?,
        Output::Table => print(&text(&view))?,
    }
    for failure in &view.errors {
        eprintln!("reaperd: target {}: node {}: {}", failure.target, failure.node, failure.error);
    }
    Ok(if view.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failures(scene: &Scene) -> Vec<NodeFailure> {
    let failure = |error: &crate::backend::NodeError| NodeFailure {
        target: scene.target.as_str().to_owned(),
        node: error.node.as_str().to_owned(),
        error: error.message.clone(),
    };
    scene.failures.iter().map(failure).collect()
}

fn plans(scene: &Scene, clock: &Clock, wanted: &dyn Fn(&RuleName) -> bool) -> Vec<RulePlan> {
    let judgement = scene.judge(clock);
    let mut plans: BTreeMap<usize, RulePlan> = BTreeMap::new();
    for index in &scene.active {
        let rule = &scene.rules.rules()[*index];
        let lacking = judgement.found.not_applicable.iter().find(|(known, _)| known == index);
        let plan = RulePlan {
            target: scene.target.as_str().to_owned(),
            rule: rule.name.as_str().to_owned(),
            mode: rule.mode.min(scene.mode).as_str().to_owned(),
            kills: judgement
                .plan
                .kills
                .iter()
                .filter(|kill| *kill.rule() == rule.name)
                .map(|kill| Killed { session: SessionView::from(&**kill.session()) })
                .collect(),
            spared: spared(&judgement, &rule.name),
            pending: pending(&judgement, *index),
            not_applicable: lacking.map(|(_, fields)| fields.to_string()),
            guard: None,
        };
        plans.insert(*index, plan);
    }
    let wanted = |plan: &RulePlan| wanted(&plan.rule.as_str().into());
    plans.into_values().filter(wanted).collect()
}

fn spared(judgement: &scene::Judgement, rule: &RuleName) -> Vec<SparedView> {
    let of_rule = judgement.plan.spared.iter().filter(|spared| spared.rule == *rule);
    let view = |spared: &crate::policy::decide::Spared| SparedView {
        session: SessionView::from(&*spared.session),
        reason: spared.reason.as_str().to_owned(),
        detail: spared.detail.as_ref().map(|detail| detail.as_ref().to_owned()),
    };
    of_rule.map(view).collect()
}

fn pending(judgement: &scene::Judgement, rule: usize) -> Vec<PendingView> {
    let of_rule = judgement.found.waiting.iter().filter(|waiting| waiting.rule == rule);
    let view = |waiting: &crate::policy::evaluate::Waiting| PendingView {
        session: SessionView::from(&*waiting.session),
        for_left: waiting.left.as_secs_f64(),
    };
    of_rule.map(view).collect()
}

/// A paragraph a rule; rules that find nobody are one line.
fn text(view: &PlanView) -> String {
    let mut text = String::new();
    for plan in &view.plans {
        let head = format!("{} on {} ({})", printable(&plan.rule), printable(&plan.target), plan.mode);
        if let Some(fields) = &plan.not_applicable {
            line(&mut text, &format!("{head}: not applicable, the target does not list {fields}"));
            continue;
        }
        let counts = [(plan.kills.len(), "kill"), (plan.spared.len(), "spare"), (plan.pending.len(), "pending")];
        let counts: Vec<String> =
            counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let counts = if counts.is_empty() { "nobody".to_owned() } else { counts.join(", ") };
        line(&mut text, &format!("{head}: {counts}"));
        if !(plan.kills.is_empty() && plan.spared.is_empty() && plan.pending.is_empty()) {
            line(&mut text, &table(plan).to_string());
        }
    }
    text
}

fn table(plan: &RulePlan) -> Table {
    let mut table = Table::new(&["verdict", "id", "addr", "kind", "user", "name", "age", "idle", "why"]);
    for kill in &plan.kills {
        table.row(row("kill", &kill.session, String::new()));
    }
    for spared in &plan.spared {
        let why = match &spared.detail {
            Some(detail) => format!("{}: {detail}", spared.reason),
            None => spared.reason.clone(),
        };
        table.row(row("spare", &spared.session, why));
    }
    for pending in &plan.pending {
        table.row(row(
            "pending",
            &pending.session,
            format!("has to match for another {}", seconds(Some(pending.for_left))),
        ));
    }
    table
}

fn row(verdict: &str, session: &SessionView, why: String) -> [String; 9] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    [
        verdict.to_owned(),
        session.id.to_string(),
        text(&session.addr),
        text(&session.kind),
        text(&session.user),
        text(&session.name),
        seconds(session.age),
        seconds(session.idle),
        why,
    ]
}

/// Seconds as a duration for people.
pub(super) fn seconds(value: Option<f64>) -> String {
    let duration = |value: f64| std::time::Duration::try_from_secs_f64(value).ok();
    value.and_then(duration).map_or_else(String::new, |value| ShowDuration(value).to_string())
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ok = writeln!(text, "{line}").is_ok();
}
