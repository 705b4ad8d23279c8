//! The config file and the rule files, as values that are fully valid, or a list of everything that is wrong.
//!
//! A file is read once, into a tree of texts with their places ([`tree`]); the environment is laid over it ([`layer`]);
//! each section, target and rule is then decoded by itself, and goes on after a mistake ([`section`]); what must agree
//! between them is checked last. So one load tells every mistake of all files at once, each with file, line and column,
//! or the name of the environment variable.
//!
//! Nothing is guessed and nothing is ignored: a value is what is written, an unknown key is refused, and so is a key
//! that only a later version understands.

mod dcs;
mod findings;
mod glob;
mod layer;
mod place;
mod redact;
mod rule;
mod rules;
mod section;
mod sections;
mod spelling;
mod suggest;
mod targets;
mod tree;
mod values;
mod web;
mod worst_case;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use findings::{Finding, Findings, Severity};
pub use layer::environment;
pub use place::{Place, SourceFile};
pub use rules::load_rules;
pub use web::WebConfig;
pub use worst_case::{WorstCase, worst_case_kills_per_hour};

use crate::backend::redis::config::Config as RedisConfig;
use crate::monitoring::config::{AlertmanagerConfig, PrometheusConfig};
use crate::policy::limits::Limits;
use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;
use crate::policy::protect::Protection;
use crate::policy::rule::{Mode, Rule};
use crate::store::Config as StoreConfig;
use findings::Report;
use section::{Keys, Section, Value};
use targets::Defaults;

/// Everything that the daemon is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Caps every rule's mode.
    pub mode: Mode,
    /// What must survive, where and for how long.
    pub storage: StoreConfig,
    /// Where HTTP is served.
    pub web: WebConfig,
    /// The rules of all files, in the order of the files and in them.
    pub rules: Vec<Arc<Rule>>,
    /// The files they were read from.
    pub rule_file_paths: Vec<PathBuf>,
    /// How often a target is listed, unless it says otherwise.
    pub poll_interval: Duration,
    /// No kill from an older list, unless the target says otherwise.
    pub max_snapshot_age: Duration,
    /// What holds for all rules together.
    pub limits: Limits,
    /// Who is never killed.
    pub protections: Vec<Protection>,
    /// What is guarded, in the order of the file.
    pub targets: Vec<TargetConfig>,
    /// What alerts mean.
    pub alertmanager: AlertmanagerConfig,
    /// Whom to ask queries.
    pub prometheus: Option<PrometheusConfig>,
    /// What is probably not what was meant.
    pub warnings: Vec<Finding>,
}

/// One guarded instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Its name, unique over all providers.
    pub name: TargetName,
    /// The labels of the file and those that reaperd sets: `target`, `provider`, and `instance_id` where there is one.
    pub labels: Labels,
    /// How often it is listed.
    pub poll_interval: Duration,
    /// No kill from an older list.
    pub max_snapshot_age: Duration,
    /// The lower of the config's mode and its own.
    pub mode: Mode,
    /// How it is reached.
    pub redis: RedisConfig,
}

/// What the command line says over file and environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--web.listen-address`.
    pub listen_address: Option<SocketAddr>,
    /// `--web.config.file`.
    pub web_config_file: Option<PathBuf>,
    /// `--storage.path`, relative to the working directory.
    pub storage_path: Option<PathBuf>,
}

const CONFIG: Keys = values::only(&[
    "mode",
    "storage",
    "web",
    "rule_files",
    "poll_interval",
    "max_snapshot_age",
    "limits",
    "protect",
    "providers",
    "alertmanager",
    "prometheus",
]);

impl Config {
    /// Reads the file, its rule files, and the `REAPERD__...` among these environment variables. Relative paths in the
    /// file are relative to it.
    ///
    /// # Errors
    /// Every finding of all files, warnings among them, when one of them is an error.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: &Overrides,
    ) -> Result<Self, Findings> {
        let report = Report::default();
        let config = tree::read(path, &report).and_then(|file| {
            let root = layer::layer(file, environment, &report);
            let section = Value::root(&root, &report).section(&CONFIG)?;
            Some(decode(&section, path.parent().unwrap_or(Path::new("")), &report))
        });
        let config = config.map(|config| config.overridden(overrides, &report));
        let findings = report.finish();
        match config {
            Some(config) if !findings.has_errors() => Ok(Self { warnings: findings.0, ..config }),
            Some(_) | None => Err(findings),
        }
    }

    fn overridden(mut self, overrides: &Overrides, report: &Report) -> Self {
        if overrides.web_config_file.is_some() {
            let place = Place::Outside("--web.config.file".into());
            report.error(&place, "", "not supported by this version yet", Some("leave it out".into()));
        }
        if let Some(address) = overrides.listen_address {
            self.web.listen_address = address;
        }
        if let Some(path) = &overrides.storage_path {
            self.storage.path.clone_from(path);
        }
        self
    }
}

fn decode(root: &Section<'_>, base: &Path, report: &Report) -> Config {
    let duration = |key: &str, seconds: u64| {
        let written = root.optional(key).and_then(|value| value.positive_duration());
        written.unwrap_or(Duration::from_secs(seconds))
    };
    let defaults = Defaults {
        mode: root.optional("mode").as_ref().and_then(values::mode).unwrap_or(Mode::Observe),
        poll_interval: duration("poll_interval", 30),
        max_snapshot_age: duration("max_snapshot_age", 10),
    };
    let targets = targets::targets(root.optional("providers"), base, defaults);
    let rule_file_paths = root.optional("rule_files").map(|value| rule_files(&value, base)).unwrap_or_default();
    let config = Config {
        mode: defaults.mode,
        storage: sections::storage(root.optional("storage"), base),
        web: root.optional("web").map(|value| web::web(&value)).unwrap_or_default(),
        rules: Vec::new(),
        rule_file_paths,
        poll_interval: defaults.poll_interval,
        max_snapshot_age: defaults.max_snapshot_age,
        limits: sections::limits(root.optional("limits")),
        protections: sections::protections(root.optional("protect")),
        targets,
        alertmanager: sections::alertmanager(root.optional("alertmanager"), base),
        prometheus: sections::prometheus(root.optional("prometheus"), base),
        warnings: Vec::new(),
    };
    // Where a target or a pattern was refused, they are not missing.
    if !report.has_errors() {
        if config.targets.is_empty() {
            root.value().warning("there is no target, so nothing is guarded", Some("add one under providers"));
        }
        if config.rule_file_paths.is_empty() {
            root.value().warning("there are no rules, so nobody is named", Some("add `rule_files: [rules/*.yml]`"));
        }
    }
    let rules = rules::read(&config.rule_file_paths, report);
    idle_rules(&rules, &config.targets, report);
    Config { rules: rules.into_iter().map(|loaded| loaded.rule).collect(), ..config }
}

/// The files that the patterns name, each once.
fn rule_files(value: &Value<'_>, base: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for pattern in value.list() {
        let Some(path) = pattern.path(base) else { continue };
        if pattern.as_text().is_some_and(|text| text.contains("**")) {
            pattern.error("`**` is not supported", Some("write `*` for one folder"));
            continue;
        }
        match glob::expand(&path) {
            Ok(found) if found.is_empty() => {
                pattern.error("no file matches", Some("patterns are relative to the config file"))
            }
            Ok(found) => paths.extend(found),
            Err(error) => pattern.error(format!("cannot be searched: {error}"), None),
        }
    }
    let mut seen = std::collections::HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}

/// Warns of rules whose `targets` no target has: mostly a mistyped label.
fn idle_rules(rules: &[rules::Loaded], targets: &[TargetConfig], report: &Report) {
    for loaded in rules {
        let applies = targets.iter().any(|target| loaded.rule.targets.matches(&target.labels));
        if let (Some(place), false, false) = (&loaded.targets, applies, targets.is_empty()) {
            let message = format!("rule `{}` applies to no target of this config", loaded.rule.name);
            report.warning(place, "targets", message, Some("compare with the targets' labels".into()));
        }
    }
}
