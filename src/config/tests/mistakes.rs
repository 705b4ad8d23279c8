//! What is wrong is told at its place, in the words of the operator.

use super::super::*;
use super::{Folder, RULES, config_and};

/// The errors of a config with one target, one rule file, and this at its end (from line 4 on).
fn errors(more: &str) -> String {
    let folder = Folder::with(&[("c.yml", &config_and(more)), ("r.yml", RULES), ("there", "")]);
    folder.load().err().unwrap_or_default()
}

/// What is written, and what is found.
const IN_THE_CONFIG: &[(&str, &str)] = &[
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
        "c.yml:4:50: error: protect[0].until: `2027-02-30` is no day or moment: write 2027-01-01 (its start, UTC) or 2027-01-01T08:00:00+08:00\n",
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
    ("web: {listen_address: 127.0.0.1:1\n", "c.yml:4:6: error: this is not YAML: "),
    ("'mode.x': 1\n", "c.yml:4:1: error: mode.x: unknown key `mode.x`"),
];

#[test]
fn mistakes_in_the_config_are_told_at_their_place() {
    for (more, expected) in IN_THE_CONFIG {
        let found = errors(more);
        if expected.ends_with('\n') {
            let found: String =
                found.lines().filter(|line| !line.contains(": warning: ")).map(|line| format!("{line}\n")).collect();
            assert_eq!(found, *expected, "{more}");
        } else {
            assert!(found.contains(expected), "{more}: {found}");
        }
    }
}

/// What is written, and what is found.
const IN_TARGETS: &[(&str, &str)] = &[
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
];

#[test]
fn mistakes_in_targets_are_told_at_their_place() {
    for (targets, expected) in IN_TARGETS {
        let indented = targets.replace("- {", "    - {");
        let yaml = format!("providers:\n  redis:\n{indented}\nrule_files: [r.yml]\n");
        let folder = Folder::with(&[("c.yml", &yaml), ("r.yml", RULES), ("there", "")]);
        let found = folder.load().err().unwrap_or_default();
        assert_eq!(found, format!("c.yml:{expected}"), "{targets}");
    }
}

/// What is written, and what is found.
const IN_RULES: &[(&str, &str)] = &[
    (
        "{match: 'idle > duration(\"1h\")'}",
        "4:7: error: groups[0].rules[0]: the key `rule` is missing; give the rule a name that no other rule has\n",
    ),
    (
        "{rule: r}",
        "4:7: error: groups[0].rules[0]: the key `match` is missing; say which sessions the rule names, as in `match: idle > duration(\"1h\")`\n",
    ),
    (
        "{rule: r, match: X, mode: enforced}",
        "4:38: error: groups[0].rules[0].mode: `enforced` is no mode; did you mean `enforce`?\n",
    ),
    (
        "{rule: r, match: X, mode: propose}",
        "4:38: error: groups[0].rules[0].mode: propose is not supported by this version yet; write observe or enforce\n",
    ),
    (
        "{rule: r, match: X, group_by: [ip]}",
        "4:32: error: groups[0].rules[0].group_by: not supported by this version yet; leave it out\n",
    ),
    (
        "{rule: r, match: X, victims: X}",
        "4:32: error: groups[0].rules[0].victims: not supported by this version yet; leave it out\n",
    ),
    (
        "{rule: r, match: X, having: X}",
        "4:32: error: groups[0].rules[0].having: not supported by this version yet; leave it out\n",
    ),
    (
        "{rule: r, match: X, keep: 1}",
        "4:32: error: groups[0].rules[0].keep: not supported by this version yet; leave it out\n",
    ),
    (
        "{rule: r, match: X, only_if: q}",
        "4:32: error: groups[0].rules[0].only_if: not supported by this version yet; leave it out\n",
    ),
    (
        "{rule: r, match: X, older_than_alert: true}",
        "4:32: error: groups[0].rules[0].older_than_alert: not supported by this version yet; leave it out\n",
    ),
    (
        "{rule: r, match: X, when: [{query: q}]}",
        "4:40: error: groups[0].rules[0].when[0].query: not supported by this version yet; leave it out\n",
    ),
    (
        "{rule: r, match: X, when: poll}",
        "4:38: error: groups[0].rules[0].when: expected a list; write `[poll]` or `[{alert: 'alertname=\"...\"'}]`\n",
    ),
    (
        "{rule: r, match: X, when: []}",
        "4:38: error: groups[0].rules[0].when: nothing makes this rule active; write `[poll]`, or leave the key out, which means the same\n",
    ),
    (
        "{rule: r, match: X, when: [pol]}",
        "4:39: error: groups[0].rules[0].when[0]: `pol` is no trigger; write poll or {alert: 'alertname=\"...\"'}\n",
    ),
    (
        "{rule: r, match: X, when: [{alert: ''}]}",
        "4:47: error: groups[0].rules[0].when[0].alert: every alert would make this rule active; name the alert, as in 'alertname=\"RedisTooManyConnections\"'\n",
    ),
    (
        "{rule: r, match: X, when: [{alert: 'a=b c'}]}",
        "4:52: error: groups[0].rules[0].when[0].alert: expected a comma between matchers, as in env=\"prod\", team=\"orders\"\n",
    ),
    (
        "{rule: r, match: X, targets: 'env=~\"(\"'}",
        "4:47: error: groups[0].rules[0].targets: `(` is no regular expression: ",
    ),
    (
        "{rule: r, match: X, for: 2 m}",
        "4:37: error: groups[0].rules[0].for: `2 m` is not a duration: write a number and a unit, as in 500ms, 30s, 5m, 1h30m, 7d\n",
    ),
    (
        "{rule: r, match: X, max: 0}",
        "4:37: error: groups[0].rules[0].max: a rule with `max: 0` never kills; use `mode: observe`, or leave the rule out\n",
    ),
    (
        "{rule: r, match: X, order: name desc}",
        "4:39: error: groups[0].rules[0].order: cannot order by `name`: write a numeric or duration field, as in `idle desc` or `omem desc`\n",
    ),
    (
        "{rule: r, match: X, limits: {kills: 5/25h}}",
        "4:48: error: groups[0].rules[0].limits.kills: 1d1h is too long; kills are counted over at most 1d\n",
    ),
    (
        "{rule: r, match: X, limits: {cooldown: 2d}}",
        "4:51: error: groups[0].rules[0].limits.cooldown: 2d is too long; kills are counted over at most 1d\n",
    ),
    (
        "{rule: r, match: X, limits: {share: 101%}}",
        "4:48: error: groups[0].rules[0].limits.share: `101%` is no share: write a percentage from 0% to 100%, as in 25%\n",
    ),
    (
        "{rule: r, match: X, limits: {kill: 1/1m}}",
        "4:41: error: groups[0].rules[0].limits.kill: unknown key `kill`; did you mean `kills`? known keys: kills, fleet, share, cooldown\n",
    ),
    (
        "{rule: r, match: X}\n    - {rule: r, match: X}",
        "5:14: error: groups[0].rules[1].rule: there are two rules `r`: first at r.yml:4:14; budgets are kept by the rule's name: rename one of them\n",
    ),
];

#[test]
fn mistakes_in_rules_are_told_at_their_place() {
    for (rule, expected) in IN_RULES {
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
        ("'idel > duration(\"1h\")'", "5:15"),
        ("kind == \"normal\" && idel > 3", "5:34"),
        ("|\n        kind == \"normal\" &&\n          idel > 3", "7:11"),
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
            "c.yml:4:27",
            "c.yml:5:7",
            "c.yml:6:23",
            "r/a.yml:1:58",
            "r/b.yml:1:58",
            "r/b.yml:1:69",
            "missing.yml"
        ],
        "{found}"
    );
}

#[test]
fn what_is_shown_holds_no_secret_and_does_not_steer_the_terminal() {
    let config = "providers:\n  redis:\n    - {target: a, nodes: ['redis://u:hunter2@h:1']}\n    - {target: b, nodes: [h:2], password: hunter3}\nprometheus: {url: 'https://u:hunter4@h'}\n\"x\\e[31m\\n\": 1\n";
    let folder = Folder::with(&[("c.yml", config)]);
    let findings = Config::load(&folder.0.path().join("c.yml"), [], &Overrides::default()).unwrap_err();
    assert_eq!(findings.0.iter().filter(|finding| finding.severity == Severity::Error).count(), 4, "{findings}");
    for shown in [findings.to_string(), findings.one_line_each(), format!("{findings:?}")] {
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
    assert_eq!(findings.one_line_each().lines().count(), findings.0.len());
    assert!(findings.to_string().contains("\n3 |     - {target: a, nodes: ['redis://*********@h:1']}\n"), "{findings}");
    assert!(findings.render(true).contains("\u{1b}["));
}

/// Pieces of YAML and of rules, which make more trouble than letters.
fn pieces() -> impl proptest::strategy::Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "groups:",
        "rules:",
        "- ",
        "rule: ",
        "match: ",
        "name: ",
        "providers:",
        "redis:",
        "target: ",
        "nodes: ",
        "\n",
        "\n  ",
        "\n    ",
        " ",
        "[",
        "]",
        "{",
        "}",
        ",",
        ": ",
        "'",
        "''",
        "\"",
        "\\",
        "\\u00e9",
        "\\x",
        "|",
        ">-",
        "# c",
        "é",
        "ü@",
        "\u{1F600}",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{2028}",
        "idle > 5",
        "&& idel",
        "~",
        "null",
        "!!str ",
        "&a ",
        "*a",
        "---",
        "? ",
        "password: x",
        "0",
        "h:1",
        "redis://",
        "%YAML 1.2",
    ]);
    proptest::strategy::Strategy::prop_map(proptest::collection::vec(piece, 0..40), |pieces| pieces.concat())
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in pieces(), rules in pieces()) {
        let folder = Folder::with(&[("c.yml", &format!("{text}\nrule_files: [r.yml]\n")), ("r.yml", &rules)]);
        let path = folder.0.path();
        for findings in [
            Config::load(&path.join("c.yml"), [("REAPERD__MODE".to_owned(), text)], &Overrides::default()).err(),
            load_rules(&[path.join("r.yml")]).err(),
        ].into_iter().flatten() {
            assert!(findings.has_errors());
            assert_eq!(findings.one_line_each().lines().count(), findings.0.len(), "{}", findings.one_line_each());
            assert!(findings.to_string().len() > findings.0.len());
        }
    }
}
