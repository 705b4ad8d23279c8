//! What the README shows is true: its files load, and its tables name what there is, no more and no less.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use reaperd::config::{Config, Overrides, load_rules};
use reaperd::policy::decide::Reason;
use reaperd::policy::limits::Limits;

const README: &str = include_str!("../../README.md");
const METRICS: &str = include_str!("../../src/metrics.rs");

/// The YAML blocks that begin so.
fn blocks(first: &str) -> Vec<&'static str> {
    let blocks = README.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| block.starts_with(first)).collect()
}

/// The first cells of the table under a heading, up to `{`.
fn first_cells(heading: &str) -> BTreeSet<String> {
    let section = README.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.map(|line| line.split(['`', '{']).next().unwrap().to_owned()).collect()
}

#[test]
fn the_config_and_the_rules_load_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("rules")).unwrap();
    std::fs::write(path("orders.password"), "secret").unwrap();
    let rules = blocks("groups:");
    assert_eq!(rules.len(), 2);
    for (number, text) in rules.iter().enumerate() {
        std::fs::write(path(&format!("rules/{number}.yml")), text).unwrap();
    }
    let (config, limits) = (blocks("mode:")[0], blocks("limits:")[0]);
    std::fs::write(path("reaperd.yml"), format!("{config}{limits}")).unwrap();
    let config = Config::load(&path("reaperd.yml"), [], &Overrides::default()).unwrap();
    assert_eq!((config.rules.len(), config.targets.len(), config.warnings.len()), (2, 1, 0), "{:?}", config.warnings);
    // The README calls them the defaults.
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn alertmanager_takes_its_config() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alertmanager.yml");
    std::fs::write(&file, blocks("route:")[0]).unwrap();
    let checked = Command::new("amtool").arg("check-config").arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_tables_name_every_metric_reason_and_shipped_rule() {
    let declared = METRICS.split("\nmetrics! {\n").nth(1).unwrap().split("\n}").next().unwrap();
    let names =
        declared.lines().map(str::trim).filter(|line| line.ends_with(';')).filter_map(|line| line.split(':').next());
    let metrics: BTreeSet<String> = names.map(|name| format!("reaperd_{name}")).collect();
    assert!(metrics.len() > 30, "{metrics:?}");
    assert_eq!(first_cells("Metrics"), metrics);

    assert_eq!(first_cells("Why somebody is spared"), Reason::ALL.map(|reason| reason.as_str().to_owned()).into());

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "yml")).collect();
    let rules = load_rules(&files).unwrap().0.iter().map(|rule| rule.name.to_string()).collect();
    assert_eq!(first_cells("Shipped rules"), rules);
}
