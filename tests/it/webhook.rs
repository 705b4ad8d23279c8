//! The webhook on a real socket: hostile bodies, huge ones, clients that stall, and who may post at all.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::alertmanager::WEBHOOK;
use super::support::crowd::{Busy, Idle, alive};
use super::support::daemon::{Daemon, config};
use super::support::http::{self, Answer, exchange, request};
use super::support::redis_server::RedisServer;
use super::support::{SOON, now, wait_until};

const ACTIVE: &str = "reaperd_alerts_active";
const RECEIVED: &str = "reaperd_alerts_received_total";
const JSON: &str = "content-type: application/json\r\n";

/// One rule that `alertname="Storm"` makes active, one that polls do.
const RULES: &str = "groups: [{name: t, rules: [\
    {rule: storm, summary: s, mode: enforce, match: 'name == \"leak\"', when: [{alert: 'alertname=\"Storm\"'}]}, \
    {rule: polled, summary: s, mode: enforce, match: 'name == \"other\"'}]}]\n";

struct Scene {
    daemon: Daemon,
    redis: RedisServer,
    _folder: TempDir,
}

impl Scene {
    fn start() -> Self {
        let (redis, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
        let daemon = Daemon::start(folder.path(), &config(&redis.node()), RULES);
        Self { daemon, redis, _folder: folder }
    }

    fn send(&self, bytes: &[u8]) -> Answer {
        exchange(self.daemon.port, bytes).unwrap()
    }

    /// Posts this body to the webhook.
    fn post(&self, body: &[u8]) -> Answer {
        self.send(&request(self.daemon.port, "POST", WEBHOOK, JSON, body))
    }

    /// A request to the webhook of which only a part was sent.
    fn half(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.daemon.port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }

    fn answered(&self, code: u16) -> f64 {
        self.daemon.metric(&format!("reaperd_webhook_requests_total{{code=\"{code}\"}}")).unwrap()
    }

    /// The daemon guards as if nothing had been: both an alert and a poll lead to kills, and nobody else dies.
    fn works(&self) {
        let busy = Busy::start(self.redis.port);
        let by_poll = Idle::named(self.redis.port, "other");
        wait_until(|| !by_poll.is_alive(), SOON, "the polled rule kills");
        assert_eq!(self.post(&payload(&[storm(0, "firing")])).status, 200);
        let leaks: Vec<Idle> = (0..3).map(|_| Idle::named(self.redis.port, "leak")).collect();
        wait_until(|| alive(&leaks) == 0, SOON, "the alert's rule kills");
        assert!(busy.is_alive());
    }

    /// The most memory that the daemon has had so far, in MiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() >> 10
    }
}

/// An alert as Alertmanager words it, about 600 bytes.
fn storm(number: usize, status: &str) -> Value {
    json!({
        "status": status,
        "labels": {
            "alertname": "Storm", "target": "orders", "severity": "page", "job": "redis", "number": number.to_string(),
            "cluster": "north-4", "team": "payments", "namespace": "orders-production",
        },
        "annotations": {
            "summary": "Redis has too many connections",
            "description": format!("{number} of 10000 connections of this instance are in use, which is above 90%."),
            "runbook_url": "https://runbooks.example.com/redis/too-many-connections",
        },
        "startsAt": "2026-11-24T07:00:00.000Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.com:9090/graph?g0.expr=redis_connected_clients+%3E+9000&g0.tab=1",
        "fingerprint": format!("{number:016x}"),
    })
}

fn payload(alerts: &[Value]) -> Vec<u8> {
    json!({"version": "4", "receiver": "reaperd", "status": "firing", "alerts": alerts}).to_string().into_bytes()
}

#[test]
fn hostile_bodies_are_refused_whole_and_change_nothing() {
    let scene = Scene::start();
    let honest = String::from_utf8(payload(&[storm(1, "firing"), storm(2, "firing")])).unwrap();
    let replaced = |from: &str, to: &str| {
        assert!(honest.contains(from), "{from}");
        honest.replacen(from, to, 1).into_bytes()
    };
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "true",
        "7",
        "\"x\"",
        "[]",
        "{}",
        "[[]]",
        "\0",
        "<alerts/>",
        "alerts=1",
        r#"{"version":"4"}"#,
        r#"{"version":"4","alerts":null}"#,
        r#"{"version":"4","alerts":[null]}"#,
        r#"{"version":"3","alerts":[]}"#,
        r#"{"version":4,"alerts":[]}"#,
        r#"{"version":"4","alerts":[[]]}"#,
        r#"["4",[],0]"#,
        r#"{"version":"4","alerts":[],"truncatedAlerts":1e400}"#,
    ]
    .map(|body| body.as_bytes().to_vec())
    .to_vec();
    bodies.extend((1..honest.len()).step_by(97).map(|end| honest.as_bytes()[..end].to_vec()));
    bodies.push(replaced(r#""firing""#, r#""burning""#));
    bodies.push(replaced(r#""orders""#, "7"));
    bodies.push(replaced(r#""orders""#, r#""\ud800""#));
    bodies.push(replaced(r#""labels":{"#, r#""labels":["#));
    bodies.push((honest.clone() + &honest).into_bytes());
    let mut not_utf8 = replaced("orders-production", "orders-\u{e9}");
    not_utf8.retain(|byte| *byte != 0xa9);
    bodies.push(not_utf8);
    bodies.push(honest.encode_utf16().flat_map(u16::to_le_bytes).collect());
    for open in ["[", r#"{"a":"#, r#"{"alerts":["#, r#"{"version":"4","x":["#] {
        bodies.push(open.repeat(200_000).into_bytes());
    }
    for body in &bodies {
        let detail = scene.post(body).problem(400);
        assert!(!detail.is_empty() && detail.len() < 1000, "{detail}");
    }
    let count = |count: usize| f64::from(u32::try_from(count).unwrap());
    assert_eq!(scene.answered(400), count(bodies.len()));
    assert_eq!((scene.daemon.metric(ACTIVE), scene.daemon.metric(RECEIVED)), (Some(0.0), Some(0.0)));
    scene.works();
}

/// `head` of a chunked request to the webhook, then `chunks` of 1 MiB, all of it before the answer is read.
fn chunked(scene: &Scene, chunks: usize) -> Answer {
    let head = format!(
        "POST {WEBHOOK} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
    );
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let mut stream = scene.half(head.as_bytes());
    for _ in 0..chunks {
        stream.write_all(chunk.as_bytes()).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    http::read(&mut stream).unwrap()
}

#[test]
fn huge_bodies_are_refused_and_ten_thousand_alerts_are_not() {
    let scene = Scene::start();
    // Clients that read only when they have sent everything; several at a time.
    let mib_40 = vec![b' '; 40 << 20];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| scene.post(&mib_40).problem(413));
            scope.spawn(|| chunked(&scene, 40).problem(413));
        }
    });
    // One that asks first need not send at all.
    let asks = format!(
        "POST {WEBHOOK} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{JSON}expect: 100-continue\r\ncontent-length: 41943040\r\n\r\n"
    );
    http::read(&mut scene.half(asks.as_bytes())).unwrap().problem(413);
    assert_eq!((scene.answered(413), scene.answered(503)), (9.0, 0.0));

    let alerts: Vec<Value> = (0..10_000).map(|number| storm(number, "firing")).collect();
    let body = payload(&alerts);
    assert!((5 << 20..8 << 20).contains(&body.len()), "{}", body.len());
    let begin = now();
    assert_eq!(scene.post(&body).status, 200);
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}: Alertmanager gives up after 10 s");
    scene.daemon.wait_metric(ACTIVE, 10_000.0);
    assert_eq!(scene.daemon.metric(RECEIVED), Some(10_000.0));
    assert_eq!(scene.daemon.metric("reaperd_triggers_total{cause=\"alert\"}"), Some(1.0), "one evaluation, not 10,000");
    scene.works();

    // All but the last are resolved; the rule stays active until that one is, too.
    let resolved: Vec<Value> = (0..9_999).map(|number| storm(number, "resolved")).collect();
    assert_eq!(scene.post(&payload(&resolved)).status, 200);
    scene.daemon.wait_metric(ACTIVE, 1.0);
    let leak = Idle::named(scene.redis.port, "leak");
    wait_until(|| !leak.is_alive(), SOON, "the last alert keeps the rule active");
    assert_eq!(scene.post(&payload(&[storm(9_999, "resolved")])).status, 200);
    scene.daemon.wait_metric(ACTIVE, 0.0);
    let leak = Idle::named(scene.redis.port, "leak");
    scene.daemon.wait_polls("orders", 3);
    assert!(leak.is_alive());

    let peak = scene.peak();
    assert!(peak < 200, "the daemon has had {peak} MiB");
}

#[test]
fn alerts_that_alertmanager_left_out_are_counted_and_told() {
    let scene = Scene::start();
    let body = json!({"version": "4", "alerts": [storm(1, "firing")], "truncatedAlerts": 12}).to_string();
    assert_eq!(scene.post(body.as_bytes()).status, 200);
    assert_eq!(scene.daemon.metric("reaperd_alerts_truncated_total"), Some(12.0));
    let line = scene.daemon.wait_log("max_alerts");
    assert!(line.contains("truncated=12") && line.contains("level=warn"), "{line}");
}

#[test]
fn resolved_without_firing_starts_nothing() {
    let scene = Scene::start();
    let leak = Idle::named(scene.redis.port, "leak");
    assert_eq!(scene.post(&payload(&[storm(1, "resolved"), storm(2, "resolved")])).status, 200);
    scene.daemon.wait_metric(RECEIVED, 2.0);
    scene.daemon.wait_polls("orders", 3);
    assert!(leak.is_alive());
    assert_eq!(scene.daemon.metric("reaperd_triggers_total{cause=\"alert\"}"), Some(0.0));
    // The group's status does not count: the alert's does.
    let group = json!({"version": "4", "status": "resolved", "alerts": [storm(1, "firing")]}).to_string();
    assert_eq!(scene.post(group.as_bytes()).status, 200);
    wait_until(|| !leak.is_alive(), SOON, "the alert fires");
}

#[test]
fn requests_that_stall_hold_nobody_up() {
    let scene = Scene::start();
    let honest = request(scene.daemon.port, "POST", WEBHOOK, JSON, &payload(&[storm(1, "firing")]));
    let announced = |length: usize| {
        format!(
            "POST {WEBHOOK} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{JSON}content-length: {length}\r\n\r\n{{\"ver"
        )
    };
    let mut stalled: Vec<TcpStream> = Vec::new();
    for _ in 0..16 {
        stalled.push(scene.half(b""));
        stalled.push(scene.half(&honest[..40]));
        stalled.push(scene.half(announced(16 << 20).as_bytes()));
        stalled.push(scene.half(announced(40 << 20).as_bytes()));
    }
    let (split, begin) = (honest.len() - 5, now());
    let mut late = scene.half(&honest[..split]);
    scene.works();
    assert_eq!(scene.daemon.get("/-/healthy").status, 200);
    assert!(begin.elapsed() < Duration::from_secs(9), "it waited until the others had timed out");
    late.write_all(&honest[split..]).unwrap();
    assert_eq!(http::read(&mut late).unwrap().status, 200);
    drop(stalled);
    assert_eq!(scene.answered(200), 2.0);
}

#[test]
fn only_this_machine_s_own_programs_may_post() {
    let scene = Scene::start();
    let port = scene.daemon.port;
    let body = payload(&[]);
    let with = |host: &str, headers: &str| {
        let length = body.len();
        let head =
            format!("POST {WEBHOOK} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{host}{headers}\r\n");
        scene.send(&[head.as_bytes(), &body].concat())
    };
    let here = format!("host: 127.0.0.1:{port}\r\n");
    for (host, headers, status) in [
        (here.as_str(), JSON, 200),
        ("host: localhost:80\r\n", JSON, 200),
        ("host: [::1]:9911\r\n", "content-type: application/json; charset=utf-8\r\n", 200),
        (&here, &format!("{JSON}origin: http://127.0.0.1:{port}\r\nsec-fetch-site: same-origin\r\n"), 200),
        (&here, "", 415),
        (&here, "content-type: text/plain\r\n", 415),
        (&here, "content-type: application/x-www-form-urlencoded\r\n", 415),
        (&here, "content-type: application/jsonp\r\n", 415),
        (&here, &format!("{JSON}origin: https://evil.example\r\n"), 403),
        (&here, &format!("{JSON}origin: http://127.0.0.1:{}\r\n", port ^ 1), 403),
        (&here, &format!("{JSON}origin: null\r\n"), 403),
        (&here, &format!("{JSON}sec-fetch-site: cross-site\r\n"), 403),
        ("host: evil.example\r\n", JSON, 421),
        ("host: 127.0.0.1.evil.example\r\n", JSON, 421),
        ("host: localhost@evil.example\r\n", JSON, 421),
        (&format!("{here}host: evil.example\r\n"), JSON, 421),
        ("", JSON, 421),
    ] {
        let answer = with(host, headers);
        if status == 200 {
            assert_eq!(answer.status, 200, "{host}{headers}{answer:?}");
        } else {
            answer.problem(status);
        }
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    // What only reads is refused under a foreign name, too.
    for path in ["/", "/metrics", "/api/v1/status", "/-/ready"] {
        let rebound = format!("GET {path} HTTP/1.1\r\nhost: evil.example:{port}\r\nconnection: close\r\n\r\n");
        scene.send(rebound.as_bytes()).problem(421);
    }
    scene.send(&request(port, "GET", WEBHOOK, "", b"")).problem(405);
    scene.send(&request(port, "PUT", WEBHOOK, JSON, &body)).problem(405);
    for (code, count) in [(200, 4.0), (415, 4.0), (403, 4.0), (421, 5.0)] {
        assert_eq!(scene.answered(code), count, "{code}");
    }
}
