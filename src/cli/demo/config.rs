//! The demo's folder, config and rules.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::app::LoadConfig;
use crate::config::{Config, Overrides};

const RULES: &str = include_str!("rules.yml");

/// The config that the daemon of the demo loads.
fn config(server: SocketAddr) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ok = write!(
        text,
        r#"# The config of `reaperd demo`; its rules are in rules.yml, its journal is in data/.
mode: enforce
storage: {{path: data}}
web: {{listen_address: "127.0.0.1:0"}}
rule_files: [rules.yml]
poll_interval: 1s
# In production the default share of 25% is right: a rule that names more is probably wrong. In this crowd most clients are
# unruly on purpose.
limits: {{share: 90%, target: {{kills: 100/1m}}, fleet: {{kills: 100/1m}}}}
protect:
  - {{match: 'name.startsWith("admin-")', reason: consoles of operators}}
providers:
  redis:
    - {{target: demo, nodes: ["redis://{server}"]}}
"#
    )
    .is_ok();
    text
}

/// A folder of this run, removed in the end.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it; nobody else may look into it.
    pub(super) fn create() -> anyhow::Result<Self> {
        let name = format!("reaperd-demo-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the daemon keeps its journal.
    pub(super) fn storage(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Writes config and rules, and returns how to load them. The environment has no part in it.
    pub(super) fn write_config(&self, server: SocketAddr) -> anyhow::Result<LoadConfig> {
        let file = self.path.join("reaperd.yml");
        for (path, text) in [(&file, config(server).as_str()), (&self.path.join("rules.yml"), RULES)] {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Box::new(move || {
            Config::load(&file, std::iter::empty(), &Overrides::default()).map_err(|findings| findings.to_string())
        }))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::load_rules;

    #[test]
    fn the_config_loads_without_a_warning() {
        let folder = Folder::create().unwrap();
        let load = folder.write_config("127.0.0.1:6379".parse().unwrap()).unwrap();
        let config = load().unwrap();
        assert_eq!(config.warnings.len(), 0, "{:?}", config.warnings);
    }

    /// A rule that is added to the shipped ones belongs into the demo too.
    #[test]
    fn the_rules_are_the_shipped_ones_by_name() {
        let folder = Folder::create().unwrap();
        drop(folder.write_config("127.0.0.1:6379".parse().unwrap()).unwrap());
        let names = |paths: &[PathBuf]| -> BTreeSet<String> {
            load_rules(paths).unwrap().0.iter().map(|rule| rule.name.to_string()).collect()
        };
        let shipped: Vec<PathBuf> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("rules"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
            .collect();
        assert_eq!(names(&[folder.path().join("rules.yml")]), names(&shipped));
    }
}
