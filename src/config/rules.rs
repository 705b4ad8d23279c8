//! Rule files: groups of rules, whose names are unique over all files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::findings::{Findings, Report};
use super::place::Place;
use super::section::{Keys, Value};
use super::tree;
use super::values::only;
use super::{Finding, rule};
use crate::policy::names::RuleName;
use crate::policy::rule::Rule;

const FILE: Keys = only(&["groups"]);
const GROUP: Keys = only(&["name", "rules"]);

/// A rule and where it says on which targets it applies.
pub(super) struct Loaded {
    pub(super) rule: Arc<Rule>,
    pub(super) targets: Option<Place>,
}

/// Reads rule files alone, without a config: the rules in the order of the files, and what looks wrong about them.
///
/// # Errors
/// Every finding of all files, when one of them is an error.
pub fn load_rules(paths: &[PathBuf]) -> Result<(Vec<Arc<Rule>>, Vec<Finding>), Findings> {
    let report = Report::default();
    let rules = read(paths, &report).into_iter().map(|loaded| loaded.rule).collect();
    let findings = report.finish();
    if findings.has_errors() { Err(findings) } else { Ok((rules, findings.0)) }
}

/// Reads rule files.
pub(super) fn read(paths: &[PathBuf], report: &Report) -> Vec<Loaded> {
    let mut names = HashMap::new();
    let mut rules = Vec::new();
    for path in paths {
        if let Some(root) = tree::read(path, report) {
            file(&Value::root(&root, report), &mut names, &mut rules);
        }
    }
    rules
}

fn file(root: &Value<'_>, names: &mut HashMap<RuleName, Place>, rules: &mut Vec<Loaded>) {
    let Some(section) = root.section(&FILE) else { return };
    let Some(groups) = section.required("groups", "a rule file starts with `groups:`") else { return };
    let mut seen: HashMap<&str, Place> = HashMap::new();
    for group in groups.list() {
        let Some(section) = group.section(&GROUP) else { continue };
        let name = section.required("name", "give the group a name");
        let rules_value = section.required("rules", "a group holds a list of rules");
        let name = name.and_then(|value| Some((value.name()?, value)));
        if let Some((name, value)) = &name
            && let Some(first) = seen.insert(name, value.place().clone())
        {
            value.error(format!("the file has two groups `{name}`: first at {first}"), Some("rename or join them"));
        }
        let name: Arc<str> = name.map(|(name, _)| name).unwrap_or_default().into();
        for value in rules_value.map(|value| value.list()).unwrap_or_default() {
            let Some(decoded) = rule::rule(&value, &name) else { continue };
            let rule = decoded.rule;
            if let Some(first) = names.get(&rule.name) {
                let message = format!("there are two rules `{}`: first at {first}", rule.name);
                decoded.name.error(message, Some("budgets are kept by the rule's name: rename one of them"));
                continue;
            }
            names.insert(rule.name.clone(), decoded.name.place().clone());
            rules.push(Loaded { rule: rule.into(), targets: decoded.targets.map(|value| value.place().clone()) });
        }
    }
}
