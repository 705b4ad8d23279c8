//! `providers:`: the targets, and what must be unique among them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use super::place::Place;
use super::section::{Keys, Section, Value};
use super::values::{mode, only};
use super::{TargetConfig, dcs};
use crate::backend::redis::config::{Config as RedisConfig, NodeAddress, TlsConfig};
use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;
use crate::policy::rule::Mode;

const PROVIDERS: Keys = only(&["redis", "dcs"]);
const REDIS: Keys = Keys {
    known: &[
        "target",
        "nodes",
        "username",
        "password_file",
        "labels",
        "poll_interval",
        "max_snapshot_age",
        "mode",
        "tls",
    ],
    later: &["sentinel", "cluster"],
};
const TLS: Keys = only(&["ca_file", "cert_file", "key_file"]);

/// What a target has unless its entry says otherwise.
#[derive(Clone, Copy)]
pub(super) struct Defaults {
    pub(super) mode: Mode,
    pub(super) poll_interval: Duration,
    pub(super) max_snapshot_age: Duration,
}

/// Names and nodes that are taken, with where.
#[derive(Default)]
pub(super) struct Taken {
    names: HashMap<String, Place>,
    nodes: HashMap<String, Place>,
}

impl Taken {
    /// Refuses a target name that another entry has.
    pub(super) fn name(&mut self, value: &Value<'_>) -> Option<TargetName> {
        let name = value.name()?;
        if let Some(first) = self.names.get(name) {
            let message = format!("there are two targets `{name}`: first at {first}");
            value.error(message, Some("budgets are kept by the target's name: rename one of them"));
            return None;
        }
        self.names.insert(name.to_owned(), value.place().clone());
        Some(name.into())
    }

    fn node(&mut self, value: &Value<'_>) -> Option<NodeAddress> {
        let node = value.parse(NodeAddress::parse)?;
        if let Some(first) = self.nodes.insert(node.to_string(), value.place().clone()) {
            let message = format!("the node {node} is already guarded: first at {first}");
            value.error(message, Some("list a node once: it has one budget"));
        }
        Some(node)
    }
}

/// Reads the section.
pub(super) fn targets(value: Option<Value<'_>>, base: &Path, defaults: Defaults) -> Vec<TargetConfig> {
    let Some(section) = value.and_then(|value| value.section(&PROVIDERS)) else { return Vec::new() };
    let mut taken = Taken::default();
    let entries = section.optional("redis").map(|value| value.list()).unwrap_or_default();
    let targets = entries.iter().filter_map(|entry| redis(entry, base, defaults, &mut taken)).collect();
    for entry in section.optional("dcs").map(|value| value.list()).unwrap_or_default() {
        if dcs::provider(&entry, base, defaults, &mut taken).is_some() {
            let help = "keep its entry out of the file until a version can";
            entry.error("this version cannot guard DCS yet", Some(help));
        }
    }
    targets
}

fn redis(value: &Value<'_>, base: &Path, defaults: Defaults, taken: &mut Taken) -> Option<TargetConfig> {
    let section = value.section(&REDIS)?;
    let name = section.required("target", "give the target a name").and_then(|value| taken.name(&value));
    let nodes = nodes(&section, taken);
    let tls = tls(&section, base, &nodes);
    let redis = RedisConfig {
        nodes,
        username: section.optional("username").and_then(|value| value.text().map(str::to_owned)),
        password_file: section.optional("password_file").and_then(|value| value.readable_file(base)),
        tls,
    };
    let labels = section.optional("labels").map(|value| value.labels()).unwrap_or_default();
    let mode = section.optional("mode").as_ref().and_then(mode).unwrap_or(Mode::Enforce);
    let (poll_interval, max_snapshot_age) = pace(&section, defaults);
    let name = name?;
    Some(TargetConfig {
        labels: with_reserved(labels, &name, "redis"),
        name,
        poll_interval,
        max_snapshot_age,
        mode: mode.min(defaults.mode),
        redis,
    })
}

/// How often it is listed, and how old a list may be.
pub(super) fn pace(section: &Section<'_>, defaults: Defaults) -> (Duration, Duration) {
    let read = |key: &str| section.optional(key).and_then(|value| value.positive_duration());
    (
        read("poll_interval").unwrap_or(defaults.poll_interval),
        read("max_snapshot_age").unwrap_or(defaults.max_snapshot_age),
    )
}

fn with_reserved(labels: Labels, target: &TargetName, provider: &str) -> Labels {
    let reserved =
        BTreeMap::from([("target".to_owned(), target.to_string()), ("provider".to_owned(), provider.to_owned())]);
    labels.into_iter().chain(reserved).collect()
}

fn nodes(section: &Section<'_>, taken: &mut Taken) -> Vec<NodeAddress> {
    // Refused already; a hint at `nodes` would only confuse.
    if REDIS.later.iter().any(|key| section.optional(key).is_some()) {
        return Vec::new();
    }
    let Some(value) = section.required("nodes", "list its nodes, as in `nodes: [redis://127.0.0.1:6379]`") else {
        return Vec::new();
    };
    let nodes = value.list();
    if nodes.is_empty() && value.as_text().is_none() {
        value.error("is empty", Some("list its nodes, as in `nodes: [redis://127.0.0.1:6379]`"));
    }
    nodes.iter().filter_map(|node| taken.node(node)).collect()
}

fn tls(section: &Section<'_>, base: &Path, nodes: &[NodeAddress]) -> TlsConfig {
    let Some(value) = section.optional("tls") else { return TlsConfig::default() };
    let Some(section) = value.section(&TLS) else { return TlsConfig::default() };
    if !nodes.is_empty() && nodes.iter().all(|node| !node.tls) {
        value.error("no node of this target speaks TLS", Some("write rediss://host:port, with two s"));
    }
    match (section.optional("cert_file"), section.optional("key_file")) {
        (Some(present), None) => present.error("has no key", Some("add key_file")),
        (None, Some(present)) => present.error("has no certificate", Some("add cert_file")),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let file = |key: &str| section.optional(key).and_then(|value| value.readable_file(base));
    TlsConfig { ca_file: file("ca_file"), cert_file: file("cert_file"), key_file: file("key_file") }
}
