//! The Alertmanager webhook, by CPU time of the server for each request: a server that reads the body and answers 200
//! is the limit. Reading payloads and finding their targets comes first by itself, then in the daemon with all that
//! holds for a request there, and at last with every alert durably stored, which is a line of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use reaperd::monitoring::alertmanager::decode;
use reaperd::monitoring::config::AlertmanagerConfig;
use reaperd::policy::directory::{Directory, Resolution};

use crate::daemon::Daemon;
use crate::harness::{Bar, Line, Report, Unit, exact_cpu_of, interleave};
use crate::load;
use crate::redis::RedisServer;

/// Set in a child process that is one of the servers.
pub(crate) const SERVE: &str = "REAPERD_BENCH_SERVE";

const CONSTANT: &str = "constant";
const INTAKE: &str = "intake";
const PATH: &str = "/api/v1/alertmanager";

/// Alerts in a request, requests of a round, and what they may cost in constants.
const SIZES: [(usize, usize, f64); 3] = [(1, 20_000, 1.5), (20, 8_000, 3.0), (200, 2_000, 4.0)];

const RULE: &str = r#"rule: storm, summary: s, when: [{alert: 'alertname="RedisTooManyConnections"'}],
    match: 'kind == "normal" && idle > duration("1h")', mode: enforce"#;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let redis = RedisServer::start(100)?;
    let daemon = Daemon::start(redis.address(2), RULE)?;
    let (constant, intake) = (Server::start(CONSTANT)?, Server::start(INTAKE)?);
    for (alerts, requests, bar) in SIZES {
        let (others, ours) = (payload(alerts, "cache-7"), payload(alerts, "orders"));
        let kilobytes = ours.len() / 1000;
        let (others, ours) = (load::post(PATH, &others), load::post(PATH, &ours));
        let turn = |process: u32, address: SocketAddr, request: &Arc<[u8]>, requests: usize| {
            let before = exact_cpu_of(process)?;
            load::send(address, request, requests)?;
            let spent = exact_cpu_of(process)?.saturating_sub(before);
            anyhow::Ok(Duration::from_secs_f64(spent.as_secs_f64() / requests as f64))
        };
        let (process, address) = (daemon.process(), daemon.address);
        let [constant, intake, ignored, stored] = interleave([
            &mut || turn(constant.process(), constant.address, &ours, requests),
            &mut || turn(intake.process(), intake.address, &ours, requests),
            &mut || turn(process, address, &others, requests),
            &mut || turn(process, address, &ours, requests / 10),
        ])?;
        let mut line = |what: String, ours, against: &str, theirs, bar| {
            let against = against.to_owned();
            report.add(Line { what, unit: Unit::Seconds, ours, against, theirs, bar });
        };
        let limit = "limit: axum reads it, answers 200";
        line(
            format!("{alerts} alerts, {kilobytes} KB: read, target found, CPU"),
            intake,
            limit,
            constant,
            Bar::AtMost(bar),
        );
        line("the daemon, alerts of nobody's".to_owned(), ignored, limit, constant, Bar::AtMost(bar));
        line("the daemon, every alert stored".to_owned(), stored, "the daemon, storing none", ignored, Bar::Times);
    }
    Ok(())
}

/// Runs one of the servers; the parent ends it.
pub(crate) fn serve(kind: &str) -> anyhow::Result<()> {
    let router = match kind {
        CONSTANT => Router::new().route(PATH, post(async |_: Bytes| StatusCode::OK)),
        INTAKE => {
            let mut directory = Directory::new(AlertmanagerConfig::default().target_labels);
            directory.add(&"orders".into(), None, &["127.0.0.1:6379".into()]);
            Router::new().route(PATH, post(intake)).with_state(Arc::new(directory))
        }
        other => bail!("{SERVE}: there is no server `{other}`"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        Ok(axum::serve(listener, router).await?)
    })
}

async fn intake(State(directory): State<Arc<Directory>>, body: Bytes) -> StatusCode {
    let Ok(payload) = decode(&body) else { return StatusCode::BAD_REQUEST };
    let target = |alert: &reaperd::monitoring::alertmanager::Alert<'_>| {
        matches!(directory.resolve(|label| alert.labels.get(label)), Resolution::Target(_))
    };
    if payload.alerts.iter().all(target) { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

/// A server in a process of its own, so that its CPU time is its own.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).env(SERVE, kind).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        // From here on, whatever fails ends the child.
        let mut server = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        server.address = line.trim().parse().context("the server did not tell its address")?;
        Ok(server)
    }

    fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What Alertmanager posts, about 830 bytes an alert, all about one target.
fn payload(alerts: usize, target: &str) -> String {
    let mut body = String::from(r#"{"receiver":"reaperd","status":"firing","alerts":["#);
    for alert in 0..alerts {
        let comma = if alert == 0 { "" } else { "," };
        body.push_str(&format!(
            r#"{comma}{{"status":"firing","labels":{{"alertname":"RedisTooManyConnections","cluster":"prod-eu-1",
"instance":"10.12.{}.{}:9121","job":"redis-exporter","namespace":"shop","pod":"redis-exporter-{alert}",
"region":"eu-central-1","severity":"critical","target":"{target}","team":"storage"}},
"annotations":{{"description":"{target} has 9874 of 10000 connections in use for more than five minutes.",
"runbook_url":"https://runbooks.example.com/redis/too-many-connections","summary":"Too many connections on {target}"}},
"startsAt":"2026-11-24T07:41:12.317Z","endsAt":"0001-01-01T00:00:00Z",
"generatorURL":"http://prometheus.monitoring:9090/graph?g0.expr=redis_connected_clients+%2F+redis_config_maxclients+%3E+0.9\u0026g0.tab=1",
"fingerprint":"{alert:016x}"}}"#,
            alert / 200,
            alert % 200 + 1,
        ));
    }
    body.push_str(
        r#"],"groupLabels":{"alertname":"RedisTooManyConnections"},
"commonLabels":{"alertname":"RedisTooManyConnections","cluster":"prod-eu-1","severity":"critical","team":"storage"},
"commonAnnotations":{},"externalURL":"http://alertmanager.monitoring:9093","version":"4",
"groupKey":"{}:{alertname=\"RedisTooManyConnections\"}","truncatedAlerts":0}"#,
    );
    body.replace('\n', "")
}
