//! The environment over the file: `REAPERD__WEB__LISTEN_ADDRESS=...` is `web.listen_address`.
//!
//! Only single values at known keys can be set this way; any other variable with the prefix is a mistake and refused.
//! Which layer wins is decided by the `config` crate, which is given nothing but texts, so that it has nothing to guess.

use std::collections::HashMap;
use std::sync::Arc;

use config::{ConfigError, Source, Value, ValueKind};
use serde_saphyr::granit_parser::ScalarStyle;

use super::findings::Report;
use super::place::Place;
use super::suggest::nearest;
use super::tree::{Entry, Kind, Node};

const PREFIX: &str = "REAPERD__";

/// The keys that the environment may set.
const KEYS: [&str; 15] = [
    "mode",
    "storage.path",
    "storage.retention",
    "web.listen_address",
    "web.config_file",
    "poll_interval",
    "max_snapshot_age",
    "limits.target.kills",
    "limits.fleet.kills",
    "limits.share",
    "limits.share_window",
    "limits.share_floor",
    "alertmanager.alert_timeout",
    "prometheus.url",
    "prometheus.username",
];

/// The environment variable that sets a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The process's environment variables that are meant for the config. What is not UTF-8 is shown with replacement
/// characters, and then refused by whoever reads it.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

/// The file with the environment over it.
pub(super) fn layer(file: Node, environment: impl IntoIterator<Item = (String, String)>, report: &Report) -> Node {
    let mut set = Layer::default();
    for (name, text) in environment {
        if !name.starts_with(PREFIX) {
            continue;
        }
        match KEYS.iter().find(|key| variable(key) == name) {
            // The origin is how the value is recognised after the layers were merged.
            Some(key) => drop(set.0.insert((*key).to_owned(), Value::new(Some(&name), text))),
            None => refuse(&name, report),
        }
    }
    if set.0.is_empty() {
        return file;
    }
    let layers = config::Config::builder().add_source(Layer(table(&file))).add_source(set);
    match layers.build() {
        Ok(merged) => merge(Some(&file), &merged.cache),
        Err(error) => {
            report.error(&file.place, "", format!("the environment cannot be laid over the file: {error}"), None);
            file
        }
    }
}

fn refuse(name: &str, report: &Report) {
    let known: Vec<String> = KEYS.iter().map(|key| variable(key)).collect();
    let help = match nearest(name, known.iter().map(String::as_str)) {
        Some(variable) => format!("did you mean {variable}?"),
        None => format!("the environment can set {}; lists and sections are set in the file", KEYS.join(", ")),
    };
    report.error(&Place::Outside(name.into()), "", "no key can be set by this environment variable", Some(help));
}

/// One layer: texts by the paths of their keys.
#[derive(Clone, Debug, Default)]
struct Layer(HashMap<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// The file's entries under the sections that the environment can reach. The others stay out: `config` would take a dot
/// in an unknown key for a path.
fn table(file: &Node) -> HashMap<String, Value> {
    let Kind::Map(entries) = &file.kind else { return HashMap::new() };
    let reachable = |entry: &&Entry| KEYS.iter().any(|key| key.split('.').next() == Some(&entry.key));
    entries.iter().filter(reachable).map(|entry| (entry.key.clone(), value(&entry.value))).collect()
}

fn value(node: &Node) -> Value {
    let kind = match &node.kind {
        Kind::Null | Kind::Broken => ValueKind::Nil,
        Kind::Text(text, _) => ValueKind::String(text.clone()),
        Kind::List(items) => ValueKind::Array(items.iter().map(value).collect()),
        Kind::Map(entries) => {
            ValueKind::Table(entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect())
        }
    };
    Value::new(None, kind)
}

/// The tree of the merged layers: the file's nodes, with their places, except where the environment has won.
fn merge(file: Option<&Node>, merged: &Value) -> Node {
    if let (Some(variable), ValueKind::String(text)) = (merged.origin(), &merged.kind) {
        let place = Place::Outside(variable.into());
        return Node { place, kind: Kind::Text(text.clone(), ScalarStyle::Plain) };
    }
    let entries = match file.map(|node| &node.kind) {
        Some(Kind::Map(entries)) => entries.as_slice(),
        None | Some(Kind::Null) => &[],
        // Not what the environment's key asks for: the decoder says so.
        Some(Kind::Text(..) | Kind::List(_) | Kind::Broken) => return file.cloned().unwrap_or_else(nothing),
    };
    let ValueKind::Table(table) = &merged.kind else { return file.cloned().unwrap_or_else(nothing) };
    let mut all: Vec<Entry> = Vec::new();
    for entry in entries {
        let value = table.get(&entry.key).map_or_else(|| entry.value.clone(), |value| merge(Some(&entry.value), value));
        all.push(Entry { value, ..entry.clone() });
    }
    let mut added: Vec<&String> = table.keys().filter(|key| entries.iter().all(|entry| entry.key != **key)).collect();
    added.sort();
    for key in added {
        let value = merge(None, &table[key]);
        all.push(Entry { key: key.clone(), place: value.place.clone(), value });
    }
    Node { place: file.map_or_else(|| nothing().place, |node| node.place.clone()), kind: Kind::Map(all) }
}

fn nothing() -> Node {
    Node { place: Place::Outside(Arc::from("the environment")), kind: Kind::Null }
}

#[cfg(test)]
mod tests {
    use super::super::place::SourceFile;
    use super::super::tree;
    use super::*;

    fn layered(yaml: &str, environment: &[(&str, &str)]) -> (Node, String) {
        let report = Report::default();
        let file = tree::parse(SourceFile::new("f", yaml.to_owned()).into(), &report).unwrap();
        let environment = environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let node = layer(file, environment, &report);
        (node, report.finish().one_line_each())
    }

    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "null".to_owned(),
            Kind::Broken => "broken".to_owned(),
            Kind::Text(text, _) => format!("{text}@{}", node.place),
            Kind::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Kind::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|entry| format!("{}={}", entry.key, shown(&entry.value))).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn the_environment_wins_and_all_else_stays_as_written() {
        let yaml = "mode: no\nlimits:\n  share: 1.10\n  target: {kills: 5/1m}\na.b: [0123]\n";
        let (node, findings) = layered(
            yaml,
            &[("REAPERD__LIMITS__SHARE", "012"), ("REAPERD__STORAGE__PATH", "/x"), ("PATH", "/bin"), ("REAPERD", "1")],
        );
        assert_eq!(findings, "");
        assert_eq!(
            shown(&node),
            "{mode=no@f:1:7 limits={share=012@REAPERD__LIMITS__SHARE target={kills=5/1m@f:4:19}} \
             a.b=[0123@f:5:7] storage={path=/x@REAPERD__STORAGE__PATH}}"
        );
    }

    #[test]
    fn it_does_not_hide_a_section_of_the_wrong_type() {
        for (yaml, expected) in [
            ("web: 5", "{web=5@f:1:6}"),
            ("web: [a]", "{web=[a@f:1:7]}"),
            ("web:", "{web={listen_address=x@REAPERD__WEB__LISTEN_ADDRESS}}"),
            ("", "{web={listen_address=x@REAPERD__WEB__LISTEN_ADDRESS}}"),
        ] {
            assert_eq!(shown(&layered(yaml, &[("REAPERD__WEB__LISTEN_ADDRESS", "x")]).0), expected, "{yaml}");
        }
    }

    #[test]
    fn a_mistyped_variable_is_refused() {
        let (_, findings) = layered("", &[("REAPERD__WEB__LISTEN_ADRESS", "x"), ("REAPERD__RULE_FILES", "x")]);
        let lines: Vec<&str> = findings.lines().collect();
        assert_eq!(
            lines[0],
            "REAPERD__WEB__LISTEN_ADRESS: error: no key can be set by this environment variable; \
             did you mean REAPERD__WEB__LISTEN_ADDRESS?"
        );
        assert!(lines[1].starts_with("REAPERD__RULE_FILES: error: no key can be set"), "{}", lines[1]);
    }
}
