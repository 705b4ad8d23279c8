//! The commands that people and scripts run beside the daemon, or without one: exit codes, tables and JSON.

use std::path::Path;
use std::process::{Command, Stdio};

use reaperd::view::journal::EntryKind;
use serde_json::{Value, json};

use super::support::crowd::{Busy, Idle, alive};
use super::support::daemon::{Daemon, config, verify_journal, write};
use super::support::redis_server::RedisServer;
use super::support::{SOON, free_port, wait_until};

/// One rule of each kind: it kills, it only looks, it waits, it is for others.
const RULES: &str = "groups: [{name: t, rules: [\
    {rule: leaks, summary: s, match: 'name == \"leak\" && db == 0', mode: enforce, limits: {kills: 2/1m}}, \
    {rule: watch, summary: s, match: 'name == \"odd\"'}, \
    {rule: waits, summary: s, match: 'name == \"late\"', for: 2m, mode: enforce, limits: {kills: 2/1m}}, \
    {rule: others, summary: s, match: 'name == \"leak\"', targets: 'env=\"test\"'}, \
    {rule: storm, summary: s, match: 'name == \"stormy\"', when: [{alert: 'alertname=\"Storm\"'}], mode: enforce, \
     limits: {kills: 2/1m}}]}]\n";

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The whole answer of a command that succeeded.
    #[track_caller]
    fn good(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// What a command says that failed without an answer.
    #[track_caller]
    fn failed(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{self:?}");
        assert!(self.stderr.starts_with("reaperd: "), "{self:?}");
        self.stderr
    }
}

fn reaperd(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reaperd"));
    let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The cells of the row that begins with `first`, under a heading that begins with `heading`.
#[track_caller]
fn row<'a>(table: &'a str, heading: &str, first: &str) -> Vec<&'a str> {
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let starts = |line: &Vec<&str>, word: &str| line.first() == Some(&word);
    lines.find(|line| starts(line, heading)).unwrap_or_else(|| panic!("no {heading}:\n{table}"));
    lines.find(|line| starts(line, first)).unwrap_or_else(|| panic!("no {first}:\n{table}"))
}

#[test]
fn status_pause_and_resume_talk_to_the_daemon() {
    let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    let daemon = Daemon::start(folder.path(), &config(&redis.node()), RULES);
    wait_until(|| daemon.get("/-/ready").status == 200, SOON, "the first list is done");
    let url = format!("http://127.0.0.1:{}", daemon.port);
    let ran = |words: &[&str]| reaperd(folder.path(), &[words, &["--url", &url]].concat());

    let status = ran(&["status"]).good();
    assert!(status.starts_with(concat!("reaperd ", env!("CARGO_PKG_VERSION"), ", mode enforce, ready\n")), "{status}");
    assert_eq!(row(&status, "TARGET", "orders"), ["orders", "redis", "enforce", "1/1", "1", "250ms", "-"]);
    assert_eq!(row(&status, "BUDGET", "fleet"), ["fleet", "1000/1m", "1000"]);
    let told: Value = serde_json::from_str(&ran(&["status", "-o", "json"]).good()).unwrap();
    let (own, mut asked) = (daemon.json("/api/v1/status"), told.clone());
    assert_eq!(asked.as_object_mut().unwrap().remove("targets").unwrap()[0]["name"], "orders");
    assert!(asked.as_object().unwrap().iter().all(|(key, value)| own[key] == *value), "{told}");

    let paused = ran(&["pause", "--target", "orders", "--reason", "a drill", "--for", "30m"]).good();
    assert!(paused.starts_with("paused: orders, until 20") && paused.ends_with(": a drill\n"), "{paused}");
    assert_eq!(ran(&["pause", "--reason", "all"]).good(), "paused: everything, until `reaperd resume`: all\n");
    let status = ran(&["status"]).good();
    assert!(status.contains("paused: orders, until 20") && status.contains("paused: everything"), "{status}");
    assert_eq!(row(&status, "TARGET", "orders").last(), Some(&"paused"));
    let leak = Idle::named(redis.port, "leak");
    daemon.wait_polls("orders", 2);
    let resumed = ran(&["resume"]).good();
    assert!(resumed.starts_with("resumed: everything\nstill paused: orders, until 20"), "{resumed}");
    daemon.wait_polls("orders", 2);
    assert!(leak.is_alive());
    let resumed: Value = serde_json::from_str(&ran(&["resume", "--target", "orders", "-o", "json"]).good()).unwrap();
    assert_eq!(resumed, serde_json::json!({"resumed": "orders", "pauses": []}));
    wait_until(|| !leak.is_alive(), SOON, "it kills again");

    assert_eq!(
        ran(&["pause", "--target", "nobody", "--reason", "r"]).failed(),
        "reaperd: there is no target `nobody`\n"
    );
    assert_eq!(ran(&["resume", "--target", "nobody"]).failed(), "reaperd: there is no target `nobody`\n");
    // What is not understood is said before anything is asked.
    assert_eq!(ran(&["pause"]).code, Some(2));
    assert_eq!(ran(&["pause", "--reason", "r", "--for", "soon"]).code, Some(2));
}

#[test]
fn without_a_daemon_they_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for words in [&["status"][..], &["status", "-o", "json"], &["pause", "--reason", "r"], &["resume"]] {
        let says = reaperd(folder.path(), &[words, &["--url", &nobody]].concat()).failed();
        assert!(says.contains(&nobody) && says.contains("Connection refused"), "{says}");
    }
    let redis = RedisServer::start(&[]);
    let says = reaperd(folder.path(), &["status", "--url", &format!("http://{}", redis.node())]).failed();
    assert!(says.contains(&redis.node()), "{says}");
    assert!(reaperd(folder.path(), &["status", "--url", "127.0.0.1:9911"]).failed().contains("http://"));
}

/// Victims of every verdict, and a bystander.
struct Crowd {
    leaks: Vec<Idle>,
    odd: Idle,
    late: Idle,
    stormy: Idle,
    busy: Busy,
}

impl Crowd {
    fn start(port: u16) -> Self {
        let named = |name| Idle::named(port, name);
        let leaks = (0..3).map(|_| named("leak")).collect();
        Self { leaks, odd: named("odd"), late: named("late"), stormy: named("stormy"), busy: Busy::start(port) }
    }

    fn all_live(&self) -> bool {
        let others = [&self.odd, &self.late, &self.stormy];
        alive(&self.leaks) == 3 && others.iter().all(|client| client.is_alive()) && self.busy.is_alive()
    }
}

fn ids(sessions: &Value) -> Vec<i64> {
    sessions.as_array().unwrap().iter().map(|entry| entry["session"]["id"].as_i64().unwrap()).collect()
}

#[test]
fn plan_names_whom_it_would_kill_and_kills_nobody() {
    let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    write(folder.path(), &config(&redis.node()), RULES);
    let crowd = Crowd::start(redis.port);
    let ran = reaperd(folder.path(), &["plan", "--config.file=reaperd.yml", "-o", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let view = ran.json();
    assert!(view["at"].as_str().unwrap().ends_with('Z'), "{view}");
    assert_eq!(view["errors"], json!([]));
    let plans = view["plans"].as_array().unwrap();
    let names: Vec<&str> = plans.iter().map(|plan| plan["rule"].as_str().unwrap()).collect();
    assert_eq!(names, ["leaks", "watch", "waits", "storm"], "`others` is not for this target");
    for plan in plans {
        let keys: Vec<&str> = plan.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["guard", "kills", "mode", "pending", "rule", "spared", "target"]);
        assert_eq!((&plan["target"], &plan["guard"]), (&json!("orders"), &Value::Null));
    }
    let lists = |plan: usize| ["kills", "spared", "pending"].map(|list| ids(&plans[plan][list]));
    let leaks: Vec<i64> = crowd.leaks.iter().map(|leak| leak.id).collect();
    assert_eq!(lists(0), [leaks[..2].to_vec(), leaks[2..].to_vec(), vec![]], "the budget takes two");
    assert_eq!(plans[0]["spared"][0]["reason"], "budget");
    assert_eq!(lists(1), [vec![], vec![crowd.odd.id], vec![]]);
    assert_eq!(plans[1]["spared"][0]["reason"], "observe");
    assert_eq!(lists(2), [vec![], vec![], vec![crowd.late.id]]);
    assert_eq!(plans[2]["pending"][0]["for_left"], 120.0);
    assert_eq!(lists(3), [vec![crowd.stormy.id], vec![], vec![]], "as if the alert fired");

    let table = reaperd(folder.path(), &["plan", "--rule", "leaks"]).good();
    assert!(table.starts_with("leaks on orders (enforce): 2 kill, 1 spare\n"), "{table}");
    assert_eq!(row(&table, "VERDICT", "kill")[1], leaks[0].to_string());
    assert_eq!(row(&table, "VERDICT", "spare")[1], leaks[2].to_string());
    assert!(reaperd(folder.path(), &["plan", "--rule", "nothing"]).failed().contains("there is no rule `nothing`"));
    assert!(reaperd(folder.path(), &["plan", "--target", "nobody"]).failed().contains("there are: orders"));
    assert!(crowd.all_live());
    assert!(!folder.path().join("data").exists(), "a plan leaves nothing behind");
}

#[test]
fn plan_fails_when_a_target_cannot_be_listed_and_still_tells_the_others() {
    let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    let down = format!("127.0.0.1:{}", free_port());
    let second = format!("]}}, {{target: down, nodes: ['redis://{down}']}}]}}");
    write(folder.path(), &config(&redis.node()).replace("]}]}", &second), RULES);
    let leak = Idle::named(redis.port, "leak");
    let ran = reaperd(folder.path(), &["plan", "-o", "json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let view = ran.json();
    let plans = view["plans"].as_array().unwrap();
    assert!(plans.iter().all(|plan| plan["target"] == "orders"), "of `down`, nothing is known: {view}");
    assert_eq!(ids(&plans[0]["kills"]), [leak.id]);
    assert_eq!((&view["errors"][0]["target"], &view["errors"][0]["node"]), (&json!("down"), &json!(down)));
    assert!(ran.stderr.contains(&down), "{ran:?}");
    let ran = reaperd(folder.path(), &["plan", "--target", "down"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert_eq!(reaperd(folder.path(), &["plan", "--target", "orders"]).code, Some(0));
    assert!(leak.is_alive());
}

#[test]
fn plan_and_explain_read_a_saved_list_without_a_server() {
    let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    let leak = Idle::named(redis.port, "leak");
    std::fs::write(folder.path().join("list.txt"), redis.cli(&["CLIENT", "LIST"]).text()).unwrap();
    drop(redis);
    std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let saved = ["--rules", "rules.yml", "--snapshot", "list.txt", "-o", "json"];
    let view = reaperd(folder.path(), &[&["plan"][..], &saved].concat()).json();
    let leaks = view["plans"].as_array().unwrap().iter().find(|plan| plan["rule"] == "leaks").unwrap();
    assert_eq!(ids(&leaks["kills"]), [leak.id]);
    let id = leak.id.to_string();
    let view = reaperd(folder.path(), &[&["explain", "--session", &id][..], &saved].concat()).json();
    assert_eq!((&view["session"]["name"], &view["rules"][0]["verdict"]), (&json!("leak"), &json!("kill")));
    std::fs::write(folder.path().join("list.txt"), "no client list\n").unwrap();
    assert!(reaperd(folder.path(), &[&["plan"][..], &saved].concat()).failed().contains("list.txt:1"));
}

#[test]
fn explain_tells_every_rule_s_clauses_and_verdict() {
    let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    write(folder.path(), &config(&redis.node()), RULES);
    let crowd = Crowd::start(redis.port);
    let explain = |session: &str| reaperd(folder.path(), &["explain", "--session", session, "-o", "json"]);
    let verdicts = |session: i64| {
        let view = explain(&session.to_string()).json();
        let word = |rule: &Value| {
            let words = ["verdict", "reason"].iter().filter_map(|key| rule[key].as_str());
            words.collect::<Vec<_>>().join(" ")
        };
        view["rules"].as_array().unwrap().iter().map(word).collect::<Vec<_>>()
    };
    let none = "not_named";
    assert_eq!(verdicts(crowd.leaks[0].id), ["kill", none, none, "other_target", none]);
    assert_eq!(verdicts(crowd.leaks[2].id), ["spared budget", none, none, "other_target", none]);
    assert_eq!(verdicts(crowd.odd.id), [none, "spared observe", none, "other_target", none]);
    assert_eq!(verdicts(crowd.late.id), [none, none, "pending", "other_target", none]);

    let view = explain(&crowd.odd.id.to_string()).json();
    assert_eq!((&view["target"], &view["session"]["id"]), (&json!("orders"), &json!(crowd.odd.id)));
    assert_eq!(
        view["rules"][0]["clauses"],
        json!([
            {"clause": "name == \"leak\"", "value": "false", "values": "name = \"odd\""},
            {"clause": "db == 0", "value": "true", "values": "db = 0"},
        ])
    );
    let address = view["session"]["addr"].as_str().unwrap();
    assert_eq!(explain(address).json()["session"]["id"], crowd.odd.id);
    let text = reaperd(folder.path(), &["explain", "--session", address]).good();
    assert!(text.contains("\nleaks: not_named: `name == \"leak\"` is false\n"), "{text}");

    assert!(explain("999999").failed().contains("there is no session `999999`"));
    assert!(explain("1.2.3.4:5").failed().contains("there is no session `1.2.3.4:5`"));
    assert!(crowd.all_live());
}

#[test]
fn check_tells_every_mistake_and_its_exit_code_how_bad_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str]| reaperd(folder.path(), &[&["check"][..], arguments].concat());
    let labelled = config("127.0.0.1:6379").replace("target: orders", "target: orders, labels: {env: test}");
    write(folder.path(), &labelled, RULES);
    let good = check(&["--lint-fatal"]).good();
    assert!(good.starts_with("reaperd.yml: 1 targets, 5 rules, mode enforce\n"), "{good}");
    assert_eq!(row(&good, "SCOPE", "rule"), ["rule", "leaks", "120"]);
    let worst = check(&["-o", "json"]).json();
    assert_eq!((&worst["ok"], &worst["findings"]), (&json!(true), &json!([])));
    assert_eq!(worst["worst_case_kills_per_hour"]["rules"]["leaks"], 120);
    assert_eq!(check(&["rules.yml"]).good(), "1 rule files: 5 rules\n");

    // A lint: without an anchor it matches anywhere.
    std::fs::write(folder.path().join("lint.yml"), RULES.replace("'name == \"odd\"'", "'name.matches(\"odd\")'"))
        .unwrap();
    assert_eq!(check(&["lint.yml"]).code, Some(0));
    let fatal = check(&["--lint-fatal", "lint.yml"]);
    assert_eq!(fatal.code, Some(3), "{fatal:?}");
    assert!(fatal.stderr.contains("lint.yml:1:") && fatal.stderr.contains("warning"), "{fatal:?}");
    assert_eq!(check(&["--lint-fatal", "-o", "json", "lint.yml"]).json()["findings"][0]["severity"], "warning");

    let wrong = labelled.replace("mode: enforce", "mode: brutal") + "colour: red\n";
    write(folder.path(), &wrong, &RULES.replace("db == 0", "db == \"0\"").replace("2m", "2 minutes"));
    let bad = check(&["-o", "json"]);
    assert_eq!((bad.code, bad.json()["ok"].clone()), (Some(1), json!(false)));
    let document = bad.json();
    let mut places: Vec<(&str, i64)> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            assert!(
                finding["severity"] == "error" && finding["column"].is_u64() && finding["key"].is_string(),
                "{finding}"
            );
            (finding["file"].as_str().unwrap(), finding["line"].as_i64().unwrap())
        })
        .collect();
    places.sort_unstable();
    assert_eq!(places, [("reaperd.yml", 1), ("reaperd.yml", 8), ("rules.yml", 1), ("rules.yml", 1)], "{document}");
    let bad = check(&["--lint-fatal"]);
    assert_eq!((bad.code, bad.stdout.as_str()), (Some(1), ""));
    for part in ["`brutal`", "colour", "rules.yml:1:"] {
        assert!(bad.stderr.contains(part), "{part}: {}", bad.stderr);
    }
    assert_eq!(check(&["--config.file=missing.yml"]).code, Some(1));
}

#[test]
fn the_journal_is_printed_and_verified_beside_the_daemon_and_without_it() {
    let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    let leaks: Vec<Idle> = (0..2).map(|_| Idle::named(redis.port, "leak")).collect();
    let mut daemon = Daemon::start(folder.path(), &config(&redis.node()), RULES);
    daemon.wait_metric("reaperd_outcomes_total{outcome=\"gone\",target=\"orders\"}", 2.0);
    let journal =
        |arguments: &[&str]| reaperd(folder.path(), &[&["journal", "--storage.path=data"][..], arguments].concat());
    let lines = |arguments: &[&str]| {
        let text = journal(&[&["-o", "json"][..], arguments].concat()).good();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let intents = lines(&["--kind", "intent", "--target", "orders", "--rule", "leaks", "--since", "1h"]);
    let told: Vec<i64> = intents.iter().map(|line| line["session"]["id"].as_i64().unwrap()).collect();
    assert_eq!(told, [leaks[0].id, leaks[1].id]);
    let recorded = daemon.journal(EntryKind::Intent);
    assert_eq!(intents, recorded.iter().map(|entry| serde_json::to_value(entry).unwrap()).collect::<Vec<_>>());
    assert_eq!(lines(&["--target", "nobody"]).len(), 0);
    let table = journal(&["--kind", "outcome"]).good();
    assert_eq!(row(&table, "SEQ", &lines(&["--kind", "outcome"])[0]["seq"].to_string())[7..], ["gone,", "accepted"]);
    assert_eq!(journal(&["--kind", "murder"]).code, Some(2));

    let whole = journal(&["verify"]).good();
    let document: Value = serde_json::from_str(&journal(&["verify", "-o", "json"]).good()).unwrap();
    assert_eq!((&document["whole"], &document["first_seq"]), (&json!(true), &json!(1)));
    assert!(whole.starts_with("the journal is whole: ") && whole.contains("from number 1"), "{whole}");
    daemon.kill9();
    assert!(whole.contains(&format!("{} entries", verify_journal(folder.path()))), "{whole}");
    let database = rusqlite::Connection::open(folder.path().join("data/reaperd.db")).unwrap();
    let forged = database.execute("UPDATE journal SET text = replace(text, 'gone', 'lost') WHERE kind = 'outcome'", []);
    assert_eq!(forged, Ok(2));
    let first = lines(&["--kind", "outcome"])[0]["seq"].to_string();
    assert!(journal(&["verify"]).failed().contains(&first));
    let broken = journal(&["verify", "-o", "json"]);
    assert_eq!((broken.code, broken.json()["broken_at"].to_string()), (Some(1), first));
    assert!(reaperd(folder.path(), &["journal", "--storage.path=nowhere"]).failed().contains("nowhere"));
}
