//! A real Alertmanager on a free port of the loopback address, with one receiver: the daemon's webhook.

use std::process::{Child, Command, Stdio};

use reaperd::clock::{Clock, rfc3339};
use serde_json::json;
use tempfile::TempDir;

use super::http;
use super::{SOON, free_port, wait_until};

/// The path of the daemon's webhook.
pub(crate) const WEBHOOK: &str = "/api/v1/alertmanager";

/// How long Alertmanager waits before it tells again of an alert that goes on firing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repeat {
    /// Longer than any test: what fires is told once.
    Never,
    /// Twice a second.
    Often,
}

/// An Alertmanager; ends when it is dropped. When a test fails, its log is shown.
pub(crate) struct Alertmanager {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Alertmanager {
    /// Starts one that posts every alert by itself to the webhook at `daemon`, and waits until it is ready.
    pub(crate) fn start(daemon: u16, repeat: Repeat) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let repeat = match repeat {
            Repeat::Never => "24h",
            Repeat::Often => "500ms",
        };
        let config = format!(
            "route: {{receiver: reaperd, group_by: ['...'], group_wait: 100ms, group_interval: 500ms, repeat_interval: {repeat}}}\n\
             receivers: [{{name: reaperd, webhook_configs: [{{url: 'http://127.0.0.1:{daemon}{WEBHOOK}', send_resolved: true}}]}}]\n"
        );
        std::fs::write(folder.path().join("am.yml"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("prometheus-alertmanager");
        command.args(["--config.file=am.yml", "--storage.path=data", "--cluster.listen-address="]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.expect("prometheus-alertmanager must be installed");
        let mut alertmanager = Self { child, port, folder };
        wait_until(|| alertmanager.is_ready(), SOON, "Alertmanager is ready");
        alertmanager
    }

    fn is_ready(&mut self) -> bool {
        assert!(self.child.try_wait().unwrap().is_none(), "Alertmanager ended at once");
        http::get(self.port, "/-/ready").is_ok_and(|answer| answer.status == 200)
    }

    /// An alert begins to fire, or goes on.
    #[track_caller]
    pub(crate) fn fire(&self, labels: &[(&str, &str)]) {
        self.post(labels, None);
    }

    /// An alert ends.
    #[track_caller]
    pub(crate) fn resolve(&self, labels: &[(&str, &str)]) {
        self.post(labels, Some(rfc3339(Clock::start().wall())));
    }

    #[track_caller]
    fn post(&self, labels: &[(&str, &str)], ends: Option<String>) {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut alert = json!({"labels": labels, "annotations": {"summary": "a test"}});
        if let Some(ends) = ends {
            alert["endsAt"] = json!(ends);
        }
        let answer = http::post(self.port, "/api/v2/alerts", json!([alert]).to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// How many of its requests to the webhook failed, each attempt counted.
    pub(crate) fn failed_requests(&self) -> f64 {
        // In HTTP/1.0, so that the answer is not in chunks.
        let answer = http::exchange(self.port, b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let name = "alertmanager_notification_requests_failed_total{integration=\"webhook\"} ";
        answer.body.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("--- log of Alertmanager ---\n{log}");
        }
    }
}
