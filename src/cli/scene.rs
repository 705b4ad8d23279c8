//! What `plan` and `explain` judge: targets that are listed live, or a saved list.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::app;
use crate::backend::redis::{RedisBackend, client_list};
use crate::backend::{Backend, NodeError};
use crate::clock::Clock;
use crate::config::{self, Overrides};
use crate::engine::settings::{Settings, TargetSettings};
use crate::policy::decide::{NodeFacts, Plan, Situation, decide};
use crate::policy::evaluate::{Found, Question, evaluate};
use crate::policy::ledger::Books;
use crate::policy::limits::Limits;
use crate::policy::names::TargetName;
use crate::policy::pending::Pending;
use crate::policy::rule::Mode;
use crate::policy::ruleset::RuleSet;
use crate::policy::session::Snapshot;
use crate::policy::time::Steady;

/// Where the sessions and the rules come from.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// The config file; its targets are listed live
    #[arg(long = "config.file", default_value = "reaperd.yml", value_name = "FILE")]
    config_file: PathBuf,
    /// Only this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Rule files, instead of a config; with --snapshot
    #[arg(long, num_args = 1.., value_name = "FILE", requires = "snapshot", conflicts_with_all = ["config_file", "target"])]
    rules: Vec<PathBuf>,
    /// A saved CLIENT LIST, instead of a live target; with --rules
    #[arg(long, value_name = "FILE", requires = "rules")]
    snapshot: Option<PathBuf>,
}

/// One target with its sessions and the rules that may name them.
pub(super) struct Scene {
    /// The target.
    pub target: TargetName,
    /// The mode that caps every rule's there.
    pub mode: Mode,
    /// All rules.
    pub rules: Arc<RuleSet>,
    /// The rules whose `targets` match, as if all their triggers had come.
    pub active: HashSet<usize>,
    /// The nodes that could be listed.
    pub snapshots: Vec<Arc<Snapshot>>,
    /// The nodes that could not.
    pub failures: Vec<NodeError>,
    /// When it is judged.
    pub now: Steady,
    limits: Limits,
    max_snapshot_age: std::time::Duration,
}

/// What the rules find and `decide` answers, with unused budgets.
pub(super) struct Judgement {
    /// Candidates, waiting sessions, rules that are not applicable.
    pub found: Found,
    /// Kills and spared.
    pub plan: Plan,
}

/// Loads the rules and lists the sessions.
///
/// # Errors
/// What is wrong with the config, the rules or the saved list. A target that cannot be listed is no error here: see
/// [`Scene::failures`].
pub(super) async fn scenes(args: &Args, clock: &Clock) -> anyhow::Result<Vec<Scene>> {
    match &args.snapshot {
        Some(snapshot) => Ok(vec![saved(snapshot, &args.rules, clock)?]),
        None => live(args, clock).await,
    }
}

fn saved(snapshot: &PathBuf, rules: &[PathBuf], clock: &Clock) -> anyhow::Result<Scene> {
    let (rules, _) =
        config::load_rules(rules).map_err(|findings| anyhow::anyhow!("the rules cannot be used\n{findings}"))?;
    let text = std::fs::read_to_string(snapshot).with_context(|| format!("cannot read {}", snapshot.display()))?;
    if text.trim_start().starts_with('{') {
        bail!(
            "{}: it looks like a DCS JSON page, which this version cannot read; save a CLIENT LIST",
            snapshot.display()
        );
    }
    let now = clock.steady();
    let list = client_list::snapshot_from_text(text, &"saved".into(), now)
        .map_err(|error| anyhow::anyhow!("{}:{}: {}", snapshot.display(), error.line, error.message))?;
    let active = (0..rules.len()).collect();
    Ok(Scene {
        target: "saved".into(),
        mode: Mode::Enforce,
        rules: Arc::new(RuleSet::compile(rules, Vec::new())),
        active,
        snapshots: vec![Arc::new(list)],
        failures: Vec::new(),
        now,
        limits: Limits::default(),
        max_snapshot_age: std::time::Duration::from_secs(60),
    })
}

async fn live(args: &Args, clock: &Clock) -> anyhow::Result<Vec<Scene>> {
    let config = super::load_config(&args.config_file, &Overrides::default()).map_err(anyhow::Error::msg)?;
    let settings = app::settings(&config);
    let wanted: BTreeMap<&TargetName, &Arc<TargetSettings>> = settings
        .targets
        .iter()
        .filter(|(name, _)| args.target.as_ref().is_none_or(|target| target == name.as_str()))
        .collect();
    if wanted.is_empty() {
        let known: Vec<&str> = settings.targets.keys().map(TargetName::as_str).collect();
        bail!("there is no target `{}`; there are: {}", args.target.as_deref().unwrap_or_default(), known.join(", "));
    }
    let mut scenes = Vec::new();
    for target in wanted.into_values() {
        scenes.push(listed(&settings, target, clock).await);
    }
    Ok(scenes)
}

async fn listed(settings: &Settings, target: &TargetSettings, clock: &Clock) -> Scene {
    let listing = RedisBackend::new(target.redis.clone(), clock.clone()).list().await;
    let mut scene = Scene {
        target: target.name.clone(),
        mode: target.mode,
        rules: settings.rules.clone(),
        active: settings.rules_for(target),
        snapshots: Vec::new(),
        failures: Vec::new(),
        now: clock.steady(),
        limits: settings.limits,
        max_snapshot_age: target.max_snapshot_age,
    };
    for answer in listing {
        match answer {
            Ok(snapshot) => scene.snapshots.push(Arc::new(snapshot)),
            Err(error) => scene.failures.push(error),
        }
    }
    scene
}

impl Scene {
    /// Judges the sessions as the daemon would at its first trigger.
    #[must_use]
    pub(super) fn judge(&self, clock: &Clock) -> Judgement {
        let question = Question {
            rules: &self.rules,
            active: &self.active,
            snapshots: &self.snapshots,
            wall: clock.wall(),
            gap: std::time::Duration::ZERO,
        };
        let found = evaluate(question, &mut Pending::default());
        let facts = |snapshot: &Arc<Snapshot>| NodeFacts {
            listed: snapshot.at,
            connection: snapshot.connection,
            most_seen: snapshot.seen(),
        };
        let situation = Situation {
            target: self.target.clone(),
            rules: self.rules.clone(),
            mode: self.mode,
            limits: self.limits,
            paused: None,
            max_snapshot_age: self.max_snapshot_age,
            nodes: self.snapshots.iter().map(|snapshot| (snapshot.node.clone(), facts(snapshot))).collect(),
            open: HashSet::new(),
            ghosts: HashSet::new(),
            confirmations: None,
        };
        let plan = decide(&found.candidates, &situation, &Books::default(), self.now);
        Judgement { found, plan }
    }
}
