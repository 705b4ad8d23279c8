//! What people and programs ask the running daemon over HTTP: state, journal, brake, metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::crowd::{Idle, alive};
use super::support::daemon::{Daemon, config};
use super::support::http::{exchange, request};
use super::support::redis_server::RedisServer;
use super::support::{SOON, free_port, wait_until};

/// Whoever is named `leak`, at once, and a rule that only looks.
const RULES: &str = "groups: [{name: t, rules: [\
    {rule: leaks, summary: Leaks hold slots., match: 'name == \"leak\"', mode: enforce, max: 50, \
     limits: {kills: 20/5m, cooldown: 10ms}}, \
    {rule: watch, summary: s, match: 'name == \"odd\"', for: 1h}]}]\n";

/// A daemon that lists its one target when it is asked to, and not otherwise.
struct Scene {
    daemon: Daemon,
    redis: RedisServer,
    _folder: TempDir,
}

impl Scene {
    fn start() -> Self {
        let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
        let config = config(&redis.node()).replace("250ms", "30d");
        let daemon = Daemon::start(folder.path(), &config, RULES);
        wait_until(|| daemon.get("/-/ready").status == 200, SOON, "the first list is done");
        Self { daemon, redis, _folder: folder }
    }

    /// Has the target evaluated, and waits until that is done from beginning to end: until the next one has been.
    #[track_caller]
    fn evaluate(&self) {
        let evaluations = "reaperd_evaluation_duration_seconds_count";
        for _ in 0..2 {
            let before = self.daemon.metric(evaluations).unwrap();
            let answer = self.daemon.post("/api/v1/targets/orders/evaluate", "");
            assert_eq!((answer.status, answer.body.as_str()), (202, ""));
            self.daemon.wait_metric(evaluations, before + 1.0);
        }
    }

    fn journal(&self, query: &str) -> Vec<Value> {
        self.daemon.json(&format!("/api/v1/journal?{query}")).as_array().unwrap().clone()
    }
}

fn sorted(ids: &[Idle]) -> Vec<i64> {
    ids.iter().map(|client| client.id).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn it_is_healthy_at_once_and_ready_when_every_target_was_tried() {
    let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    // The kernel takes connections for it, and nobody ever answers.
    let hangs = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let second = format!("]}}, {{target: hangs, nodes: ['redis://{}']}}]}}", hangs.local_addr().unwrap());
    let daemon = Daemon::start(folder.path(), &config(&redis.node()).replace("]}]}", &second), RULES);
    assert_eq!(daemon.get("/-/healthy").status, 200);
    let up = "reaperd_target_up{target=\"orders\"}";
    daemon.wait_metric(up, 1.0);
    assert_eq!(daemon.get("/-/ready").status, 503);
    assert_eq!(daemon.json("/api/v1/status")["ready"], false);
    drop(hangs);
    wait_until(|| daemon.get("/-/ready").status == 200, SOON, "the second target fails");
    let targets = daemon.json("/api/v1/targets");
    let node = &targets[0]["nodes"][0];
    assert_eq!((&targets[0]["name"], &node["up"]), (&json!("hangs"), &json!(false)));
    assert!(node["error"].as_str().is_some_and(|error| !error.is_empty()), "{node}");
    assert_eq!(targets[1]["nodes"][0]["up"], true);
}

#[test]
fn status_targets_rules_and_sessions_tell_what_is() {
    let scene = Scene::start();
    let clients: Vec<Idle> = (0..25).map(|number| Idle::named(scene.redis.port, &format!("c{number}"))).collect();
    let odd = Idle::named(scene.redis.port, "odd");
    scene.evaluate();
    let status = scene.daemon.json("/api/v1/status");
    assert_eq!((&status["ready"], &status["mode"]), (&json!(true), &json!("enforce")));
    assert_eq!((&status["pauses"], &status["alerts_active"]), (&json!([]), &json!(0)));
    assert_eq!(status["budgets"][0], json!({"scope": "fleet", "limit": "1000/1m", "remaining": 1000}));
    let targets = scene.daemon.json("/api/v1/targets");
    let target = &targets[0];
    assert_eq!((&status["targets"][0]["name"], &status["targets"][0]["rules"]), (&target["name"], &target["rules"]));
    assert_eq!(target["labels"], json!({"target": "orders", "provider": "redis"}));
    assert_eq!((&target["poll_interval"], &target["paused"]), (&json!(2_592_000.0), &json!(false)));
    // With the daemon's own.
    assert_eq!(target["nodes"][0]["sessions"], 27);
    assert_eq!(target["nodes"][0]["node"], scene.redis.node());
    assert_eq!(
        target["rules"],
        json!([
            {"rule": "leaks", "mode": "enforce", "active": true, "candidates": 0},
            {"rule": "watch", "mode": "observe", "active": true, "candidates": 0},
        ])
    );
    let rules = scene.daemon.json("/api/v1/rules");
    let leaks = json!({
        "rule": "leaks", "group": "t", "summary": "Leaks hold slots.", "when": ["poll"], "targets": "",
        "match": "name == \"leak\"", "for": "0s", "mode": "enforce", "limits": {"kills": "20/5m", "cooldown": "10ms"},
        "order": "idle desc", "max": 50, "file": "rules.yml", "line": 1,
    });
    assert_eq!((&rules[0], &rules[1]["for"], rules.as_array().unwrap().len()), (&leaks, &json!("1h"), 2));
    sessions_come_in_pages(&scene, &clients, &odd);
}

fn sessions_come_in_pages(scene: &Scene, clients: &[Idle], odd: &Idle) {
    let page = |query: &str| scene.daemon.json(&format!("/api/v1/targets/orders/sessions{query}"));
    let own = scene.redis.reaperd_id().unwrap();
    let mut wanted: BTreeMap<i64, String> =
        (0..).map(|number| format!("c{number}")).zip(clients).map(|(name, client)| (client.id, name)).collect();
    wanted.extend([(odd.id, "odd".to_owned()), (own, "reaperd".to_owned())]);
    let mut seen = Vec::new();
    for offset in (0..30).step_by(10) {
        let page = page(&format!("?offset={offset}&limit=10"));
        assert_eq!((&page["target"], &page["total"], &page["offset"]), (&json!("orders"), &json!(27), &json!(offset)));
        assert!(page["listed"].is_string());
        let sessions = page["sessions"].as_array().unwrap().clone();
        assert_eq!(sessions.len(), if offset < 20 { 10 } else { 7 });
        seen.extend(sessions.into_iter().map(|session| {
            assert_eq!((&session["kind"], &session["node"]), (&json!("normal"), &json!(scene.redis.node())));
            (session["id"].as_i64().unwrap(), session["name"].as_str().unwrap().to_owned())
        }));
    }
    assert_eq!(seen, wanted.into_iter().collect::<Vec<_>>(), "each once, in the order of ids");
    assert_eq!(page("")["sessions"].as_array().unwrap().len(), 27);
    assert_eq!(page("?offset=27")["sessions"], json!([]));
}

#[test]
fn the_journal_is_filtered_and_gives_the_newest() {
    let scene = Scene::start();
    let leaks: Vec<Idle> = (0..3).map(|_| Idle::named(scene.redis.port, "leak")).collect();
    scene.evaluate();
    scene.daemon.wait_metric("reaperd_outcomes_total{outcome=\"gone\",target=\"orders\"}", 3.0);
    let ids = |entries: &[Value]| {
        entries.iter().map(|entry| entry["session"]["id"].as_i64().unwrap()).collect::<BTreeSet<_>>()
    };
    let wanted: BTreeSet<i64> = leaks.iter().map(|leak| leak.id).collect();
    let intents = scene.journal("kind=intent&target=orders&rule=leaks&since=1h");
    assert_eq!((intents.len(), ids(&intents)), (3, wanted));
    for intent in &intents {
        assert_eq!(
            (&intent["kind"], &intent["target"], &intent["rule"]),
            (&json!("intent"), &json!("orders"), &json!("leaks"))
        );
        assert_eq!((&intent["node"], intent["hash"].as_str().unwrap().len()), (&json!(scene.redis.node()), 64));
        assert!(intent["session"]["addr"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
    let outcomes = scene.journal("kind=outcome");
    assert!(outcomes.iter().all(|outcome| outcome["outcome"] == "gone"), "{outcomes:?}");
    assert_eq!(scene.journal("kind=evaluation")[0]["counts"], json!({"kill": 3}));
    assert_eq!(scene.journal("target=other"), [Value::Null; 0]);
    assert_eq!(scene.journal("rule=watch"), [Value::Null; 0]);
    assert_eq!(scene.journal("since=2100-01-01T00:00:00Z"), [Value::Null; 0]);
    let all = scene.journal("");
    let sequence = |entries: &[Value]| entries.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect::<Vec<_>>();
    let newest = sequence(&all).into_iter().max().unwrap();
    assert!(sequence(&scene.journal("limit=2")).iter().all(|seq| *seq > newest - 2));
    assert_eq!(sequence(&all).into_iter().collect::<BTreeSet<_>>(), (1..=newest).collect());
}

#[test]
fn failures_say_what_is_wrong() {
    let scene = Scene::start();
    for (status, method, path, body) in [
        (404, "POST", "/api/v1/targets/nobody/evaluate", ""),
        (404, "GET", "/api/v1/targets/nobody/sessions", ""),
        (404, "POST", "/api/v1/pause", r#"{"reason":"r","target":"nobody"}"#),
        (404, "POST", "/api/v1/resume", r#"{"target":"nobody"}"#),
        (404, "GET", "/api/v1/nothing", ""),
        (404, "GET", "/api/v1/targets/orders", ""),
        (404, "GET", "/api/v2/status", ""),
        (405, "POST", "/api/v1/status", "{}"),
        (405, "GET", "/api/v1/pause", ""),
        (405, "GET", "/-/reload", ""),
        (405, "DELETE", "/api/v1/targets/orders/sessions", ""),
        (400, "GET", "/api/v1/targets/orders/sessions?limit=1001", ""),
        (400, "GET", "/api/v1/targets/orders/sessions?offset=x", ""),
        (400, "GET", "/api/v1/journal?kind=murder", ""),
        (400, "GET", "/api/v1/journal?since=yesterday", ""),
        (400, "GET", "/api/v1/journal?color=red", ""),
        (400, "POST", "/api/v1/pause", ""),
        (400, "POST", "/api/v1/pause", r#"{"reason":" "}"#),
        (400, "POST", "/api/v1/pause", r#"{"reason":"r","for":"soon"}"#),
        (400, "POST", "/api/v1/pause", r#"{"reason":"r","targets":["orders"]}"#),
        (400, "POST", "/api/v1/resume", "[1,"),
    ] {
        let headers = if method == "GET" { "" } else { "content-type: application/json\r\n" };
        let port = scene.daemon.port;
        let answer = exchange(port, &request(port, method, path, headers, body.as_bytes())).unwrap();
        let detail = answer.problem(status);
        assert!(!detail.is_empty() && detail.len() < 300, "{method} {path}: {detail}");
        if detail.contains("nobody") {
            assert_eq!(detail, "there is no target `nobody`");
        }
    }
    assert_eq!(scene.daemon.metric("reaperd_triggers_total{cause=\"manual\"}"), Some(0.0));
    assert_eq!(
        (scene.daemon.json("/api/v1/status")["pauses"].clone(), scene.journal("kind=pause").len()),
        (json!([]), 0)
    );
}

#[test]
fn evaluate_kills_at_once_pause_brakes_and_resume_lets_go() {
    let scene = Scene::start();
    let first = Idle::named(scene.redis.port, "leak");
    scene.evaluate();
    wait_until(|| !first.is_alive(), SOON, "evaluate kills");

    let paused = scene.daemon.post("/api/v1/pause", r#"{"reason":"drill <1>","target":"orders","for":"1h"}"#).json();
    assert_eq!((&paused["target"], &paused["reason"]), (&json!("orders"), &json!("drill <1>")));
    assert!(paused["until"].as_str().is_some_and(|until| until.ends_with('Z')), "{paused}");
    assert_eq!(scene.daemon.json("/api/v1/status")["pauses"], json!([paused]));
    let second = [Idle::named(scene.redis.port, "leak"), Idle::named(scene.redis.port, "leak")];
    scene.evaluate();
    scene.daemon.wait_metric("reaperd_spared_total{reason=\"paused\",rule=\"leaks\"}", 2.0);
    assert_eq!(alive(&second), 2);
    let target = scene.daemon.json("/api/v1/targets")[0].clone();
    assert_eq!((&target["paused"], &target["rules"][0]["verdicts"]), (&json!(true), &json!({"paused": 2})));
    assert_eq!(scene.daemon.metric("reaperd_target_paused{target=\"orders\"}"), Some(1.0));
    assert_eq!(scene.daemon.metric("reaperd_paused"), Some(0.0));
    let spared = scene.journal("kind=spared");
    assert!(spared.iter().all(|entry| entry["reason"] == "paused"), "{spared:?}");
    let told: Vec<i64> = spared.iter().map(|entry| entry["session"]["id"].as_i64().unwrap()).collect();
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), sorted(&second));

    // The pause of everything is another one.
    assert_eq!(scene.daemon.post("/api/v1/resume", "{}").status, 204);
    scene.evaluate();
    assert_eq!(alive(&second), 2);
    assert_eq!(scene.daemon.post("/api/v1/resume", r#"{"target":"orders"}"#).status, 204);
    scene.evaluate();
    wait_until(|| alive(&second) == 0, SOON, "it kills again");
    let kinds = ["pause", "resume"].map(|kind| scene.journal(&format!("kind={kind}")).len());
    assert_eq!(kinds, [1, 2]);
}

#[test]
fn the_page_for_people_shows_hostile_names_as_text() {
    let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    let config = config(&redis.node()).replace("target: orders", r#"target: '<img src=x onerror="alert(1)">&amp;'"#);
    let daemon = Daemon::start(folder.path(), &config, RULES);
    wait_until(|| daemon.get("/-/ready").status == 200, SOON, "the first list is done");
    daemon.post("/api/v1/pause", r#"{"reason":"<script>alert(2)</script>"}"#).json();
    let page = daemon.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    assert!(!page.body.contains("<img") && !page.body.contains("<script"), "{}", page.body);
    assert!(page.body.contains("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;amp;"), "{}", page.body);
    assert!(page.body.contains("&lt;script&gt;alert(2)"), "{}", page.body);
    // Every link leads somewhere.
    let links: Vec<&str> = page.body.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.len() > 7 && links[0].ends_with("/sessions"), "{links:?}");
    for link in links {
        assert_eq!(daemon.get(link).status, 200, "{link}");
    }
}

/// The names and types in the source, where every metric is declared.
fn declared() -> BTreeMap<String, &'static str> {
    let source = include_str!("../../src/metrics.rs");
    let (_, rest) = source.split_once("\nmetrics! {\n").unwrap();
    let (block, _) = rest.split_once("\n}\n").unwrap();
    let declaration = |line: &'static str| {
        let (name, rest) = line.trim().split_once(": ")?;
        let kind = match rest.split(['[', ';', ' ']).next()? {
            "Histogram" | "HistogramVec" => "histogram",
            "IntCounter" | "IntCounterVec" => "counter",
            _ => "gauge",
        };
        Some((format!("reaperd_{name}"), kind))
    };
    block.lines().filter(|line| !line.trim().starts_with("///")).filter_map(declaration).collect()
}

#[test]
fn every_metric_is_there_from_the_start_with_help_and_zeros() {
    let scene = Scene::start();
    let answer = scene.daemon.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let lines: Vec<&str> = answer.body.lines().collect();
    let mut absent = Vec::new();
    for (name, kind) in declared() {
        let is_typed = lines.contains(&format!("# TYPE {name} {kind}").as_str());
        let helped =
            lines.iter().filter(|line| line.starts_with(&format!("# HELP {name} ")) && line.ends_with('.')).count();
        if (is_typed, helped) != (true, 1) {
            absent.push(name);
        }
    }
    assert!(declared().len() > 30, "{:?}", declared());
    assert_eq!(absent, [""; 0]);

    let series =
        |name: &str| lines.iter().filter(|line| line.starts_with(&format!("{name}{{"))).copied().collect::<Vec<_>>();
    for (name, count) in [
        ("reaperd_alerts_ignored_total", 3),
        ("reaperd_webhook_requests_total", 8),
        ("reaperd_list_failures_total", 5),
        ("reaperd_kill_failures_total", 3),
        ("reaperd_spared_total", 22),
        ("reaperd_outcomes_total", 4),
        ("reaperd_kills_total", 2),
        ("reaperd_would_kill_total", 2),
        ("reaperd_regret_total", 2),
        ("reaperd_candidates", 2),
        ("reaperd_rule_not_applicable", 2),
    ] {
        let found = series(name);
        assert_eq!(found.len(), count, "{name}: {found:?}");
        assert!(found.iter().all(|line| line.ends_with(" 0")), "{found:?}");
    }
    assert_eq!(series("reaperd_triggers_total").len(), 3);
    assert_eq!(series("reaperd_rule_info").len(), 2);
    for (name, value) in
        [("targets", 1.0), ("open_intents", 0.0), ("paused", 0.0), ("config_last_reload_successful", 1.0)]
    {
        assert_eq!(scene.daemon.metric(&format!("reaperd_{name}")), Some(value), "{name}");
    }
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
        assert!(scene.daemon.metric(name).is_some(), "{name}");
    }
}
