//! Whole loads: what is wrong is told at its place, what is right survives as written.

mod mistakes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::policy::ledger::HORIZON;
use crate::policy::rule::{Order, Rate, When};

/// Files in a folder of their own.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn load_with(&self, environment: &[(&str, &str)], overrides: &Overrides) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let loaded = Config::load(&self.0.path().join("c.yml"), environment, overrides);
        loaded.map_err(|findings| self.shown(&findings))
    }

    fn load(&self) -> Result<Config, String> {
        self.load_with(&[], &Overrides::default())
    }

    /// One finding a line, with the paths as the files were named.
    fn shown(&self, findings: &Findings) -> String {
        findings.one_line_each().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// A config that loads, with `more` at its end.
fn config_and(more: &str) -> String {
    format!("providers:\n  redis: [{{target: a, nodes: [h:1]}}]\nrule_files: [r.yml]\n{more}")
}

const RULES: &str = "groups: [{name: g, rules: [{rule: r, match: 'idle > duration(\"1h\")'}]}]\n";

#[test]
fn the_environment_and_the_command_line_are_named() {
    let folder = Folder::with(&[("c.yml", &config_and("web: {listen_address: 127.0.0.1:1}\n")), ("r.yml", RULES)]);
    let overrides = Overrides::default();
    let found = folder.load_with(&[("REAPERD__WEB__LISTEN_ADDRESS", "here")], &overrides).unwrap_err();
    assert_eq!(
        found,
        "REAPERD__WEB__LISTEN_ADDRESS: error: web.listen_address: `here` is no address and port: write as in \
         127.0.0.1:9911 or [::1]:9911\n"
    );
    let config = folder.load_with(&[("REAPERD__WEB__LISTEN_ADDRESS", "[::1]:2")], &overrides).unwrap();
    assert_eq!(config.web.listen_address.to_string(), "[::1]:2");
    let overrides = Overrides {
        listen_address: Some("127.0.0.1:3".parse().unwrap()),
        storage_path: Some("store".into()),
        web_config_file: None,
    };
    let config = folder.load_with(&[("REAPERD__WEB__LISTEN_ADDRESS", "[::1]:2")], &overrides).unwrap();
    assert_eq!(config.web.listen_address.to_string(), "127.0.0.1:3");
    assert_eq!(config.storage.path, Path::new("store"));
    let overrides = Overrides { web_config_file: Some("web.yml".into()), ..overrides };
    let found = folder.load_with(&[], &overrides).unwrap_err();
    assert_eq!(found, "--web.config.file: error: not supported by this version yet; leave it out\n");
}

#[test]
fn values_survive_as_written() {
    let config = r#"
providers:
  redis:
    - {target: no, nodes: [h:1], username: 0x1F, labels: {version: 1.10, on: yes, zip: 0123, e: 8300e10, null_: "null"}}
    - {target: 0123, nodes: [h:2]}
    - {target: 8300e10, nodes: [h:3]}
    - {target: 1_000, nodes: [h:4]}
rule_files: [r.yml]
"#;
    let rules = "groups: [{name: 012, rules: [{rule: 1.0, summary: 2027-01-01, match: id > 0}]}]\n";
    let folder = Folder::with(&[("c.yml", config), ("r.yml", rules)]);
    // The environment makes the whole file go through the `config` crate.
    let config = folder.load_with(&[("REAPERD__POLL_INTERVAL", "7s")], &Overrides::default()).unwrap();
    let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["no", "0123", "8300e10", "1_000"]);
    assert_eq!(config.targets[0].redis.username.as_deref(), Some("0x1F"));
    let labels: Vec<(&str, &str)> =
        config.targets[0].labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        labels,
        [
            ("e", "8300e10"),
            ("null_", "null"),
            ("on", "yes"),
            ("provider", "redis"),
            ("target", "no"),
            ("version", "1.10"),
            ("zip", "0123")
        ]
    );
    assert_eq!(config.rules[0].name.as_str(), "1.0");
    assert_eq!(&*config.rules[0].group, "012");
    assert_eq!(&*config.rules[0].summary, "2027-01-01");
    assert_eq!(config.poll_interval, Duration::from_secs(7));
}

#[test]
fn dcs_is_checked_and_then_refused() {
    let entry = "name: north, region: cn-north-4, project_id: 8300e10, credentials: {access_key: 0123, secret_key_file: there}, instances: [{id: c8300, target: t}]";
    let yaml = format!("providers: {{dcs: [{{{entry}}}]}}\n");
    let folder = Folder::with(&[("c.yml", &yaml), ("there", "s")]);
    let found = folder.load().unwrap_err();
    let errors: Vec<&str> = found.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(
        errors,
        [
            "c.yml:1:19: error: providers.dcs[0]: this version cannot guard DCS yet; keep its entry out of the file until a version can"
        ]
    );
    let report = Report::default();
    let file = SourceFile::new("d", format!("{{{entry}}}"));
    let node = tree::parse(file.into(), &report).unwrap();
    let defaults = Defaults { mode: Mode::Observe, poll_interval: HORIZON, max_snapshot_age: HORIZON };
    let value = Value::root(&node, &report);
    let provider = dcs::provider(&value, folder.0.path(), defaults, &mut targets::Taken::default()).unwrap();
    assert_eq!(provider.project_id.as_deref(), Some("8300e10"));
    assert_eq!(provider.max_snapshot_age, Duration::from_secs(60));
    for (bad, expected) in [
        ("{profile: a, environment: true}", "credentials: name exactly one way to get credentials"),
        ("{environment: yes}", "credentials.environment: can only be true"),
        ("{access_key: a}", "credentials: the key `secret_key_file` is missing"),
        ("{iam: {domain: a, user: b}}", "credentials.iam: the key `password_file` is missing"),
    ] {
        let yaml = format!("providers: {{dcs: [{{name: n, region: r, credentials: {bad}}}]}}\n");
        let found = Folder::with(&[("c.yml", &yaml)]).load().unwrap_err();
        assert!(found.contains(&format!("providers.dcs[0].{expected}")), "{found}");
        assert!(found.contains("providers.dcs[0]: no instance is named"), "{found}");
    }
}

/// The example of the documentation, without what this version refuses.
const EXAMPLE: &str = r#"
mode: enforce
storage: {path: /var/lib/reaperd, retention: 90d}
web: {listen_address: 127.0.0.1:9911}
rule_files: [rules/*.yml]
poll_interval: 30s
max_snapshot_age: 10s
limits: {target: {kills: 50/1m}, fleet: {kills: 200/1m}, share: 25%, share_window: 10m, share_floor: 3}
protect:
  - {match: 'user == "admin"', reason: operators, until: 2027-01-01}
providers:
  redis:
    - target: orders
      nodes: [rediss://127.0.0.1:6379, "redis://[::1]:6380"]
      username: reaperd
      password_file: orders.password
      labels: {env: prod}
      poll_interval: 10s
      mode: observe
      tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}
alertmanager: {urls: ["http://127.0.0.1:9093"], target_labels: [dcs_instance_id, instance_id, target, instance, addr], alert_timeout: 5h}
prometheus: {url: http://127.0.0.1:9090}
"#;

const EXAMPLE_RULES: &str = r#"
groups:
  - name: connection-leaks
    rules:
      - rule: idle-too-long
        summary: Idle normal sessions hold connection slots.
        when: [poll]
        targets: 'env="prod"'
        match: kind == "normal" && idle > duration("30m")
        for: 2m
        mode: enforce
        limits: {kills: 20/1m, share: 25%}
      - rule: connection-storm
        when: [{alert: 'alertname="RedisTooManyConnections"'}]
        targets: env="dev"
        match: kind == "normal" && idle > duration("60s")
        order: age asc
        max: 50
"#;

#[test]
fn the_example_of_the_documentation_loads() {
    let files = [
        ("c.yml", EXAMPLE),
        ("rules/a.yml", EXAMPLE_RULES),
        ("orders.password", "p"),
        ("ca.pem", ""),
        ("cert.pem", ""),
        ("key.pem", ""),
    ];
    let folder = Folder::with(&files);
    let config = folder.load().unwrap();
    let inside = |name: &str| Some(folder.0.path().join(name));
    let minute = Duration::from_secs(60);
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!(config.storage, StoreConfig { path: "/var/lib/reaperd".into(), retention: 90 * 24 * 60 * minute });
    assert_eq!(config.web, WebConfig::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.rule_file_paths, [folder.0.path().join("rules/a.yml")]);
    assert_eq!((config.poll_interval, config.max_snapshot_age), (minute / 2, minute / 6));
    assert_eq!(config.protections[0].until, Some(1_798_761_600_000));
    let [target] = config.targets.as_slice() else { panic!("{:?}", config.targets) };
    assert_eq!((target.mode, target.poll_interval), (Mode::Observe, minute / 6));
    assert_eq!(target.labels.get("target").map(String::as_str), Some("orders"));
    assert_eq!(target.redis.password_file, inside("orders.password"));
    assert_eq!(target.redis.tls.key_file, inside("key.pem"));
    let nodes: Vec<_> = target.redis.nodes.iter().map(|node| (node.to_string(), node.tls)).collect();
    assert_eq!(nodes, [("127.0.0.1:6379".to_owned(), true), ("[::1]:6380".to_owned(), false)]);
    assert_eq!(config.prometheus.unwrap().url, "http://127.0.0.1:9090");
    let [idle, storm] = config.rules.as_slice() else { panic!("{:?}", config.rules) };
    assert_eq!((idle.source.line, idle.hold, idle.order), (5, 2 * minute, Order::default()));
    assert_eq!(idle.limits.kills, Some(Rate { kills: 20, window: minute }));
    assert!(idle.targets.matches(&target.labels) && !storm.targets.matches(&target.labels));
    assert!(matches!(storm.when.as_slice(), [When::Alert(_)]));
    assert_eq!((storm.max, storm.mode, storm.order.descending), (Some(50), Mode::Observe, false));
    let warnings: Vec<String> =
        config.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect();
    assert_eq!(
        warnings,
        [
            "alertmanager.urls: this version does not read silences yet",
            "prometheus: this version does not query Prometheus yet",
            "targets: rule `connection-storm` applies to no target of this config"
        ]
    );
}

#[test]
fn an_empty_config_loads_and_guards_nothing() {
    for text in ["", "# nothing\n", "mode: observe\nweb:\nproviders:\n"] {
        let config = Folder::with(&[("c.yml", text)]).load().unwrap();
        assert_eq!((config.mode, config.alertmanager), (Mode::Observe, AlertmanagerConfig::default()), "{text}");
        assert_eq!(config.warnings.len(), 2);
    }
    let found = Folder::with(&[]).load().unwrap_err();
    assert_eq!(found, "c.yml: error: cannot be read: No such file or directory (os error 2)\n");
}

#[test]
fn a_rule_that_kills_without_its_own_limit_is_warned_of() {
    let rules = "groups:\n- name: g\n  rules:\n    - {rule: r, match: id > 0, mode: enforce, limits: {share: 5%}}\n";
    let config = Folder::with(&[("c.yml", &config_and("")), ("r.yml", rules)]).load().unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert_eq!((config.warnings[0].line(), config.warnings[0].column()), (4, 38));
}

#[test]
fn the_worst_case_is_what_the_tightest_limits_allow() {
    let config = r#"
mode: enforce
limits: {target: {kills: 50/1m}, fleet: {kills: 200/7m}}
providers:
  redis:
    - {target: a, nodes: [h:1], labels: {env: prod}}
    - {target: b, nodes: [h:2], labels: {env: dev}}
    - {target: c, nodes: [h:3], mode: observe}
rule_files: [r.yml]
"#;
    let rules = r#"
groups:
  - name: g
    rules:
      - {rule: twenty, match: id > 0, mode: enforce, limits: {kills: 20/1m}}
      - {rule: prod, match: id > 0, mode: enforce, targets: env="prod", limits: {kills: 5/7m, fleet: 3/7m}}
      - {rule: slow, match: id > 0, mode: enforce, max: 5, limits: {kills: 20/1m, cooldown: 25m}}
      - {rule: seen, match: id > 0, limits: {kills: 20/1m}}
      - {rule: any, match: id > 0, mode: enforce, targets: target="b"}
"#;
    let config = Folder::with(&[("c.yml", config), ("r.yml", rules)]).load().unwrap();
    let worst = worst_case_kills_per_hour(&config);
    let rules: Vec<u64> = worst.rules.iter().map(|(_, kills)| *kills).collect();
    // ceil(60 / 7) = 9 windows of 7 minutes, ceil(60 / 25) = 3 cooldowns.
    assert_eq!(rules, [2 * 20 * 60, 9 * 3, 2 * 3 * 5, 0, 50 * 60]);
    let targets: Vec<u64> = worst.targets.iter().map(|(_, kills)| *kills).collect();
    assert_eq!(targets, [20 * 60 + 9 * 5 + 3 * 5, 50 * 60, 0]);
    assert_eq!(worst.total, 200 * 9);
}

#[test]
fn the_shipped_rules_load_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let paths: Vec<PathBuf> = glob::expand(&folder.join("*.yml")).unwrap();
    let (rules, warnings) = load_rules(&paths).unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(warnings, []);
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "forgotten-monitor",
            "idle-session",
            "long-blocked-client",
            "never-used-connection",
            "swollen-output-buffer",
            "swollen-query-buffer"
        ]
    );
    for rule in rules {
        assert!(rule.summary.contains("Right ") && rule.summary.contains("Wrong "), "{}: {}", rule.name, rule.summary);
        assert!(rule.mode == Mode::Enforce && rule.limits.kills.is_some(), "{}", rule.name);
        assert!(!rule.hold.is_zero(), "{}", rule.name);
    }
}
