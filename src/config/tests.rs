//! Whole loads: what is wrong is told at its place, what is right survives as written.

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

/// The errors of a config with one target, one rule file, and this at its end (from line 4 on).
fn errors(more: &str) -> String {
    let folder = Folder::with(&[("c.yml", &config_and(more)), ("r.yml", RULES), ("there", "")]);
    folder.load().err().unwrap_or_default()
}

#[test]
fn mistakes_in_the_config_are_told_at_their_place() {
    for (more, expected) in [
        (
            "mod: observe\n",
            "c.yml:4:1: error: mod: unknown key `mod`; did you mean `mode`? known keys: mode, storage, web, rule_files, poll_interval, max_snapshot_age, limits, protect, providers, alertmanager, prometheus\n",
        ),
        ("mode: enfroce\n", "c.yml:4:7: error: mode: `enfroce` is no mode; did you mean `enforce`?\n"),
        (
            "mode: propose\n",
            "c.yml:4:7: error: mode: propose is not supported by this version yet; write observe or enforce\n",
        ),
        ("mode: [observe]\n", "c.yml:4:7: error: mode: expected a text, found a list\n"),
        ("mode:\n", "c.yml:4:1: error: mode: has no value; write a text or leave the key out\n"),
        (
            "mode: observe\nmode: enforce\n",
            "c.yml:5:1: error: mode: the key `mode` is here twice: first at c.yml:4:1; keep one of them\n",
        ),
        (
            "poll_interval: 30\n",
            "c.yml:4:16: error: poll_interval: `30` is not a duration: write a number and a unit, as in 500ms, 30s, 5m, 1h30m, 7d\n",
        ),
        ("poll_interval: 0s\n", "c.yml:4:16: error: poll_interval: must be longer than 0\n"),
        (
            "storage: {retention: 1h}\n",
            "c.yml:4:22: error: storage.retention: 1h is too short; budgets need the kills of the last 1d: write 1d or more\n",
        ),
        (
            "storage: {postgres: 'host=a'}\n",
            "c.yml:4:11: error: storage.postgres: not supported by this version yet; leave it out\n",
        ),
        ("storage: /var/lib/reaperd\n", "c.yml:4:10: error: storage: expected a map, found a text\n"),
        (
            "web: {listen_address: ':9911'}\n",
            "c.yml:4:23: error: web.listen_address: `:9911` is no address and port: write as in 127.0.0.1:9911 or [::1]:9911\n",
        ),
        (
            "web: {config_file: web.yml}\n",
            "c.yml:4:7: error: web.config_file: not supported by this version yet; leave it out\n",
        ),
        (
            "web: {tokens: [{name: am}]}\n",
            "c.yml:4:7: error: web.tokens: not supported by this version yet; leave it out\n",
        ),
        (
            "limits: {share: 25}\n",
            "c.yml:4:17: error: limits.share: `25` is no share: write a percentage from 0% to 100%, as in 25%\n",
        ),
        (
            "limits: {target: {kills: 50}}\n",
            "c.yml:4:26: error: limits.target.kills: `50` is no rate: write kills per window, as in 20/1m\n",
        ),
        (
            "limits: {fleet: {kills: 50/2d}}\n",
            "c.yml:4:25: error: limits.fleet.kills: 2d is too long; kills are counted over at most 1d\n",
        ),
        (
            "limits: {share_window: 25h}\n",
            "c.yml:4:24: error: limits.share_window: 1d1h is too long; kills are counted over at most 1d\n",
        ),
        ("limits: {share_floor: -1}\n", "c.yml:4:23: error: limits.share_floor: `-1` is no whole number from 0 on\n"),
        (
            "protect: [{match: user == \"admin\"}]\n",
            "c.yml:4:11: error: protect[0]: the key `reason` is missing; say why, for who reads it in the journal\n",
        ),
        (
            "protect: [{macth: a, reason: b}]\n",
            "c.yml:4:11: error: protect[0]: the key `match` is missing; say whom it protects, as in `match: user == \"admin\"`\nc.yml:4:12: error: protect[0].macth: unknown key `macth`; did you mean `match`? known keys: match, reason, until\n",
        ),
        (
            "protect: [{match: user == \"a\", reason: b, until: 2027-02-30}]\n",
            "c.yml:4:49: error: protect[0].until: `2027-02-30` is no day or moment: write 2027-01-01 (its start, UTC) or 2027-01-01T08:00:00+08:00\n",
        ),
        (
            "alertmanager: {alert_timeout: 5}\n",
            "c.yml:4:31: error: alertmanager.alert_timeout: `5` is not a duration: write a number and a unit, as in 500ms, 30s, 5m, 1h30m, 7d\n",
        ),
        (
            "alertmanager: {target_labels: []}\n",
            "c.yml:4:31: error: alertmanager.target_labels: no alert could name a target; list labels, or leave the key out\n",
        ),
        (
            "alertmanager: {password_file: nope}\n",
            "c.yml:4:31: error: alertmanager.password_file: nope cannot be read: No such file or directory (os error 2)\n",
        ),
        ("a: &x 1\nb: *x\n", "aliases are not supported"),
        (
            "mode: !!str observe\n",
            "c.yml:4:13: error: tags are not supported; leave it out: values are read as they are written\n",
        ),
        ("---\nmode: observe\n", "c.yml:4:1: error: a second document starts here; keep one in a file\n"),
        ("web: {listen_address: 127.0.0.1:1\n", "c.yml:5:1: error: this is not YAML: "),
        ("'mode.x': 1\n", "c.yml:4:1: error: mode.x: unknown key `mode.x`; known keys: "),
    ] {
        let found = errors(more);
        if expected.ends_with('\n') {
            let found: String =
                found.lines().filter(|line| !line.contains(": warning: ")).map(|line| format!("{line}\n")).collect();
            assert_eq!(found, expected, "{more}");
        } else {
            assert!(found.contains(expected), "{more}: {found}");
        }
    }
}

#[test]
fn mistakes_in_targets_are_told_at_their_place() {
    for (targets, expected) in [
        ("- {nodes: [h:1]}", "3:7: error: providers.redis[0]: the key `target` is missing; give the target a name\n"),
        ("- {target: '', nodes: [h:1]}", "3:16: error: providers.redis[0].target: is empty; give it a name\n"),
        (
            "- {target: a/b, nodes: [h:1]}",
            "3:16: error: providers.redis[0].target: `a/b` is no name; leave out slashes and control characters, and spaces at the ends\n",
        ),
        (
            "- {target: a}",
            "3:7: error: providers.redis[0]: the key `nodes` is missing; list its nodes, as in `nodes: [redis://127.0.0.1:6379]`\n",
        ),
        (
            "- {target: a, nodes: []}",
            "3:26: error: providers.redis[0].nodes: is empty; list its nodes, as in `nodes: [redis://127.0.0.1:6379]`\n",
        ),
        ("- {target: a, nodes: h:1}", "3:26: error: providers.redis[0].nodes: expected a list, found a text\n"),
        (
            "- {target: a, nodes: [h]}",
            "3:27: error: providers.redis[0].nodes[0]: no host and port: write redis://host:port, as in redis://127.0.0.1:6379 or redis://[::1]:6379\n",
        ),
        (
            "- {target: a, nodes: ['redis://:s3@h:1']}",
            "3:27: error: providers.redis[0].nodes[0]: user and password do not belong here: use username and password_file\n",
        ),
        (
            "- {target: a, nodes: [h:1, 'redis://h:1']}",
            "3:32: error: providers.redis[0].nodes[1]: the node h:1 is already guarded: first at c.yml:3:27; list a node once: it has one budget\n",
        ),
        (
            "- {target: a, nodes: [h:1]}\n- {target: a, nodes: [h:2]}",
            "4:16: error: providers.redis[1].target: there are two targets `a`: first at c.yml:3:16; budgets are kept by the target's name: rename one of them\n",
        ),
        (
            "- {target: a, sentinel: {}}",
            "3:19: error: providers.redis[0].sentinel: not supported by this version yet; leave it out\n",
        ),
        (
            "- {target: a, cluster: 'redis://h:1'}",
            "3:19: error: providers.redis[0].cluster: not supported by this version yet; leave it out\n",
        ),
        (
            "- {target: a, nodes: [h:1], password_file: nope}",
            "3:48: error: providers.redis[0].password_file: nope cannot be read: No such file or directory (os error 2)\n",
        ),
        (
            "- {target: a, nodes: [h:1], labels: {target: x}}",
            "3:42: error: providers.redis[0].labels.target: the label `target` is reserved; reaperd sets target, provider, instance_id itself\n",
        ),
        (
            "- {target: a, nodes: [h:1], labels: {a-b: x}}",
            "3:42: error: providers.redis[0].labels.a-b: `a-b` is no label name; use letters, digits and underscores, and no digit first\n",
        ),
        (
            "- {target: a, nodes: [h:1], labels: {a: [x]}}",
            "3:45: error: providers.redis[0].labels.a: expected a text, found a list\n",
        ),
        (
            "- {target: a, nodes: [h:1], tls: {ca_file: there}}",
            "3:38: error: providers.redis[0].tls: no node of this target speaks TLS; write rediss://host:port, with two s\n",
        ),
        (
            "- {target: a, nodes: ['rediss://h:1'], tls: {cert_file: there}}",
            "3:61: error: providers.redis[0].tls.cert_file: has no key; add key_file\n",
        ),
        (
            "- {target: a, nodes: [h:1], mode: propose}",
            "3:39: error: providers.redis[0].mode: propose is not supported by this version yet; write observe or enforce\n",
        ),
    ] {
        let indented = targets.replace("- {", "    - {");
        let yaml = format!("providers:\n  redis:\n{indented}\nrule_files: [r.yml]\n");
        let folder = Folder::with(&[("c.yml", &yaml), ("r.yml", RULES), ("there", "")]);
        let found = folder.load().err().unwrap_or_default();
        assert_eq!(found, format!("c.yml:{expected}"), "{targets}");
    }
}

#[test]
fn mistakes_in_rules_are_told_at_their_place() {
    for (rule, expected) in [
        (
            "{match: 'idle > duration(\"1h\")'}",
            "4:7: error: groups[0].rules[0]: the key `rule` is missing; give the rule a name that no other rule has\n",
        ),
        (
            "{rule: r}",
            "4:7: error: groups[0].rules[0]: the key `match` is missing; say which sessions the rule names, as in `match: idle > duration(\"1h\")`\n",
        ),
        (
            "{rule: r, match: '', mode: enforced}",
            "4:34: error: groups[0].rules[0].mode: `enforced` is no mode; did you mean `enforce`?\n",
        ),
        (
            "{rule: r, match: X, mode: propose}",
            "4:33: error: groups[0].rules[0].mode: propose is not supported by this version yet; write observe or enforce\n",
        ),
        (
            "{rule: r, match: X, group_by: [ip]}",
            "4:27: error: groups[0].rules[0].group_by: not supported by this version yet; leave it out\n",
        ),
        (
            "{rule: r, match: X, victims: X}",
            "4:27: error: groups[0].rules[0].victims: not supported by this version yet; leave it out\n",
        ),
        (
            "{rule: r, match: X, having: X}",
            "4:27: error: groups[0].rules[0].having: not supported by this version yet; leave it out\n",
        ),
        (
            "{rule: r, match: X, keep: 1}",
            "4:27: error: groups[0].rules[0].keep: not supported by this version yet; leave it out\n",
        ),
        (
            "{rule: r, match: X, only_if: q}",
            "4:27: error: groups[0].rules[0].only_if: not supported by this version yet; leave it out\n",
        ),
        (
            "{rule: r, match: X, older_than_alert: true}",
            "4:27: error: groups[0].rules[0].older_than_alert: not supported by this version yet; leave it out\n",
        ),
        (
            "{rule: r, match: X, when: [{query: q}]}",
            "4:35: error: groups[0].rules[0].when[0].query: not supported by this version yet; leave it out\n",
        ),
        (
            "{rule: r, match: X, when: poll}",
            "4:33: error: groups[0].rules[0].when: expected a list; write `[poll]` or `[{alert: 'alertname=\"...\"'}]`\n",
        ),
        (
            "{rule: r, match: X, when: []}",
            "4:33: error: groups[0].rules[0].when: nothing makes this rule active; write `[poll]`, or leave the key out, which means the same\n",
        ),
        (
            "{rule: r, match: X, when: [pol]}",
            "4:34: error: groups[0].rules[0].when[0]: `pol` is no trigger; write poll or {alert: 'alertname=\"...\"'}\n",
        ),
        (
            "{rule: r, match: X, when: [{alert: ''}]}",
            "4:42: error: groups[0].rules[0].when[0].alert: every alert would make this rule active; name the alert, as in 'alertname=\"RedisTooManyConnections\"'\n",
        ),
        (
            "{rule: r, match: X, when: [{alert: 'a=b c'}]}",
            "4:47: error: groups[0].rules[0].when[0].alert: expected a comma between matchers, as in env=\"prod\", team=\"orders\"\n",
        ),
        (
            "{rule: r, match: X, targets: 'env=~\"(\"'}",
            "4:41: error: groups[0].rules[0].targets: `(` is no regular expression: ",
        ),
        (
            "{rule: r, match: X, for: 2 m}",
            "4:32: error: groups[0].rules[0].for: `2 m` is not a duration: write a number and a unit, as in 500ms, 30s, 5m, 1h30m, 7d\n",
        ),
        (
            "{rule: r, match: X, max: 0}",
            "4:32: error: groups[0].rules[0].max: a rule with `max: 0` never kills; use `mode: observe`, or leave the rule out\n",
        ),
        (
            "{rule: r, match: X, order: name desc}",
            "4:34: error: groups[0].rules[0].order: cannot order by `name`: write a numeric or duration field, as in `idle desc` or `omem desc`\n",
        ),
        (
            "{rule: r, match: X, limits: {kills: 5/25h}}",
            "4:43: error: groups[0].rules[0].limits.kills: 1d1h is too long; kills are counted over at most 1d\n",
        ),
        (
            "{rule: r, match: X, limits: {cooldown: 2d}}",
            "4:46: error: groups[0].rules[0].limits.cooldown: 2d is too long; kills are counted over at most 1d\n",
        ),
        (
            "{rule: r, match: X, limits: {share: 101%}}",
            "4:43: error: groups[0].rules[0].limits.share: `101%` is no share: write a percentage from 0% to 100%, as in 25%\n",
        ),
        (
            "{rule: r, match: X, limits: {kill: 1/1m}}",
            "4:36: error: groups[0].rules[0].limits.kill: unknown key `kill`; did you mean `kills`? known keys: kills, fleet, share, cooldown\n",
        ),
        (
            "{rule: r, match: X}\n    - {rule: r, match: X}",
            "5:14: error: groups[0].rules[1].rule: there are two rules `r`: first at r.yml:4:14; budgets are kept by the rule's name: rename one of them\n",
        ),
    ] {
        let rule = rule.replace("match: X", "match: id > 0").replace("match: ''", "match: id > 0");
        let rules = format!("groups:\n- name: g\n  rules:\n    - {rule}\n");
        let folder = Folder::with(&[("c.yml", &config_and("")), ("r.yml", &rules)]);
        let found = folder.load().err().unwrap_or_default();
        let expected = format!("r.yml:{expected}");
        let is_equal = if expected.ends_with('\n') { found == expected } else { found.starts_with(&expected) };
        assert!(is_equal, "{rule}\n{found}{expected}");
    }
}

#[test]
fn mistakes_of_an_expression_have_their_column_however_it_is_written() {
    for (written, place) in [
        ("'idel > duration(\"1h\")'", "4:28"),
        ("kind == \"normal\" && idel > 3", "4:47"),
        ("|\n        kind == \"normal\" &&\n          idel > 3", "6:11"),
    ] {
        let rules = format!("groups:\n- name: g\n  rules:\n    - rule: r\n      match: {written}\n");
        let folder = Folder::with(&[("r.yml", &rules)]);
        let findings = load_rules(&[folder.0.path().join("r.yml")]).unwrap_err();
        let found = folder.shown(&findings);
        assert!(found.starts_with(&format!("r.yml:{place}: error: groups[0].rules[0].match: ")), "{place}: {found}");
    }
}

#[test]
fn all_findings_of_all_files_come_at_once() {
    let config = "poll_interval: x\nproviders:\n  redis:\n    - {target: a, nodes: [h]}\n    - {nodes: [h:2]}\nrule_files: [r/*.yml, none/*.yml, r/b.yml, missing.yml]\n";
    let bad = |name: &str| {
        format!("groups: [{{name: g, rules: [{{rule: {name}, match: id > 0, for: x}}, {{rule: s, match: id > 0}}]}}]")
    };
    let folder = Folder::with(&[("c.yml", config), ("r/b.yml", &bad("b")), ("r/a.yml", &bad("a"))]);
    let found = folder.load_with(&[("REAPERD__MODE", "of")], &Overrides::default()).unwrap_err();
    let places: Vec<&str> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "REAPERD__MODE",
            "c.yml:1:16",
            "c.yml:4:26",
            "c.yml:5:7",
            "c.yml:6:23",
            "r/a.yml:1:64",
            "r/b.yml:1:64",
            "r/b.yml:1:76",
            "missing.yml"
        ],
        "{found}"
    );
}

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
    let file = SourceFile { name: "d".into(), text: format!("{{{entry}}}") };
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
