//! Which target the labels of an alert name.
//!
//! The first of the configured labels that the alert carries decides; there is no fall-through, so that an alert about an
//! instance that is not ours never ends up at a target that another of its labels happens to name.

use std::collections::HashMap;

use super::names::{NodeName, TargetName};

/// The targets by everything they are called: name, instance id, node addresses.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    labels: Vec<String>,
    handles: HashMap<String, TargetName>,
}

/// What the labels of an alert name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// This target.
    Target(TargetName),
    /// This label decides, and its value is no target of ours.
    Unknown {
        /// The label.
        label: String,
        /// Its value.
        value: String,
    },
    /// None of the configured labels is there.
    NoLabel,
}

impl Directory {
    /// A directory in which these labels are asked, in this order.
    #[must_use]
    pub fn new(labels: Vec<String>) -> Self {
        Self { labels, handles: HashMap::new() }
    }

    /// Adds a target under its name, its instance id and its nodes. A name that is taken stays with its first target.
    pub fn add(&mut self, target: &TargetName, instance_id: Option<&str>, nodes: &[NodeName]) {
        let nodes = nodes.iter().map(NodeName::as_str);
        for handle in [target.as_str()].into_iter().chain(instance_id).chain(nodes) {
            self.handles.entry(handle.to_owned()).or_insert_with(|| target.clone());
        }
    }

    /// The target that labels name; `get` gives the value of a label. (A lookup, so that the many alerts that name
    /// nothing of ours need not be copied into a map to find that out.)
    #[must_use]
    pub fn resolve<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> Resolution {
        let Some((label, value)) = self.labels.iter().find_map(|label| {
            // As in Prometheus, an empty label is one that is not there.
            let value = get(label).filter(|value| !value.is_empty())?;
            Some((label, value))
        }) else {
            return Resolution::NoLabel;
        };
        // redis_exporter's `instance` and `addr` may carry the scheme.
        let handle = value.strip_prefix("redis://").or_else(|| value.strip_prefix("rediss://")).unwrap_or(value);
        match self.handles.get(handle) {
            Some(target) => Resolution::Target(target.clone()),
            None => Resolution::Unknown { label: label.clone(), value: value.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_that_is_there_decides() {
        let mut directory = Directory::new(["dcs_instance_id", "target", "instance"].map(str::to_owned).to_vec());
        directory.add(&"orders".into(), Some("c8300"), &["127.0.0.1:6379".into()]);
        let resolve = |pairs: &[(&str, &str)]| {
            directory.resolve(|label| pairs.iter().find(|(name, _)| *name == label).map(|(_, value)| *value))
        };
        let orders = Resolution::Target("orders".into());
        assert_eq!(resolve(&[("target", "orders")]), orders);
        assert_eq!(resolve(&[("dcs_instance_id", "c8300"), ("target", "other")]), orders);
        assert_eq!(resolve(&[("instance", "redis://127.0.0.1:6379")]), orders);
        assert_eq!(resolve(&[("instance", "127.0.0.1:6379")]), orders);
        let unknown = Resolution::Unknown { label: "target".to_owned(), value: "nope".to_owned() };
        assert_eq!(resolve(&[("target", "nope"), ("instance", "127.0.0.1:6379")]), unknown);
        assert_eq!(resolve(&[("job", "redis")]), Resolution::NoLabel);
    }
}
