//! The Alertmanager webhook.
//!
//! 2xx means that every alert in the request is durably stored or deliberately ignored and counted. 400 is a request
//! that will never be understood, 413 one that is too large, 503 one that may succeed when it is sent again, which
//! Alertmanager does within a second. Nothing here waits for a kill: the engine takes alerts from the store.
//!
//! An alert is ignored when its labels name no target of ours, or when it fires and no rule wants it. A resolved alert
//! of a known target is stored whatever the rules say: they may have changed since it fired, and then it would stay
//! active until it times out.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use tokio::sync::Semaphore;

use super::body::read;
use super::problem::Problem;
use crate::engine::handle::Handle;
use crate::metrics::Metrics;
use crate::monitoring::alertmanager::{Alert, Pairs, decode};
use crate::policy::directory::Resolution;
use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;
use crate::store::ReceivedAlert;
use crate::store::{Store, StoreError};

pub(super) const PATH: &str = "/api/v1/alertmanager";

/// 10,000 alerts, about 6 MB, are an outage and not an attack.
const MAX_BODY: usize = 16 << 20;

/// Bodies that are in memory at one time, bytes; what does not fit is to be sent again.
const MAX_BODIES: usize = 4 * MAX_BODY;

type Stored = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Whether some rule is made active on the target by an alert with these labels.
type Wants = dyn Fn(&TargetName, &Labels) -> bool + Send + Sync;

/// What the webhook asks of the rest of the daemon.
pub(super) struct Intake {
    /// The target that labels name.
    resolve: Box<dyn Fn(&Pairs<'_>) -> Resolution + Send + Sync>,
    /// Whether a rule is made active by an alert with these labels.
    wants: Box<Wants>,
    /// Stores alerts durably.
    store: Box<dyn Fn(Vec<ReceivedAlert>) -> Stored + Send + Sync>,
    metrics: Arc<Metrics>,
    room: Semaphore,
}

impl Intake {
    pub(super) fn new(handle: Handle, store: Store, metrics: Arc<Metrics>) -> Self {
        let wanting = handle.clone();
        Self {
            resolve: Box::new(move |labels| handle.resolve(labels)),
            wants: Box::new(move |target, labels| wanting.wants(target, labels)),
            store: Box::new(move |alerts| {
                let store = store.clone();
                Box::pin(async move { store.receive_alerts(alerts).await })
            }),
            metrics,
            room: Semaphore::new(MAX_BODIES),
        }
    }

    /// The row to store, or why the alert is ignored.
    fn sort(&self, alert: &Alert<'_>) -> Result<ReceivedAlert, &'static str> {
        let target = match (self.resolve)(&alert.labels) {
            Resolution::Target(target) => target,
            Resolution::Unknown { label, value } => {
                tracing::debug!("alert ignored: there is no target `{value}`, which its label `{label}` names");
                return Err("unknown_target");
            }
            Resolution::NoLabel => return Err("no_target_label"),
        };
        let labels = alert.labels.to_labels();
        if alert.firing && !(self.wants)(&target, &labels) {
            return Err("no_rule");
        }
        Ok(ReceivedAlert { fingerprint: alert.fingerprint(), firing: alert.firing, labels, target })
    }

    async fn receive(&self, request: Request) -> Result<(), Problem> {
        let body = read(request, MAX_BODY, &self.room).await?;
        let payload = decode(&body.bytes).map_err(Problem::bad_request)?;
        let (received, truncated) = (payload.alerts.len() as u64, payload.truncated_alerts);
        let (mut wanted, mut ignored) = (Vec::new(), BTreeMap::new());
        for alert in &payload.alerts {
            match self.sort(alert) {
                Ok(row) => wanted.push(row),
                Err(reason) => *ignored.entry(reason).or_insert(0) += 1,
            }
        }
        drop(payload);
        drop(body);
        if !wanted.is_empty() {
            (self.store)(wanted).await.map_err(|error| {
                self.metrics.store_failures_total.inc();
                Problem::unavailable(format_args!("the alerts could not be stored: {error}"))
            })?;
        }
        self.metrics.alerts_received_total.inc_by(received);
        for (reason, count) in ignored {
            self.metrics.alerts_ignored_total.with_label_values(&[reason]).inc_by(count);
        }
        if truncated > 0 {
            self.metrics.alerts_truncated_total.inc_by(truncated);
            tracing::warn!(
                truncated,
                "Alertmanager left alerts out of its request: set max_alerts of the webhook receiver to 0"
            );
        }
        Ok(())
    }
}

pub(super) fn routes(intake: Intake) -> Router {
    Router::new().route(PATH, post(receive)).with_state(Arc::new(intake))
}

async fn receive(State(intake): State<Arc<Intake>>, request: Request) -> Result<StatusCode, Problem> {
    intake.receive(request).await.map(|()| StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::body::Body;
    use axum::response::IntoResponse;
    use futures_util::StreamExt;
    use tower::ServiceExt;

    use super::*;

    /// A target `orders`, a rule on `alertname="Storm"`, and a store that keeps or refuses.
    struct Fixture {
        metrics: Arc<Metrics>,
        stored: Arc<Mutex<Vec<ReceivedAlert>>>,
        full: bool,
        room: usize,
    }

    impl Fixture {
        fn new() -> Self {
            Self { metrics: Metrics::new(), stored: Arc::default(), full: false, room: MAX_BODIES }
        }

        fn routes(&self) -> Router {
            let (stored, full) = (self.stored.clone(), self.full);
            routes(Intake {
                resolve: Box::new(|labels| match labels.get("target") {
                    Some("orders") => Resolution::Target("orders".into()),
                    Some(other) => Resolution::Unknown { label: "target".to_owned(), value: other.to_owned() },
                    None => Resolution::NoLabel,
                }),
                wants: Box::new(|_, labels| labels.get("alertname").is_some_and(|name| name == "Storm")),
                store: Box::new(move |alerts| {
                    let result = if full { Err(StoreError::Full) } else { Ok(()) };
                    if !full {
                        stored.lock().unwrap().extend(alerts);
                    }
                    Box::pin(std::future::ready(result))
                }),
                metrics: self.metrics.clone(),
                room: Semaphore::new(self.room),
            })
        }

        async fn post(&self, body: impl Into<Body>) -> (u16, String) {
            let mut request = Request::new(body.into());
            *request.method_mut() = axum::http::Method::POST;
            *request.uri_mut() = PATH.parse().unwrap();
            let response = self.routes().oneshot(request).await.into_response();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }

        fn ignored(&self, reason: &str) -> u64 {
            self.metrics.alerts_ignored_total.with_label_values(&[reason]).get()
        }
    }

    fn alert(status: &str, name: &str, target: Option<&str>) -> serde_json::Value {
        let mut labels = serde_json::json!({"alertname": name});
        if let Some(target) = target {
            labels["target"] = target.into();
        }
        let fingerprint = format!("{status}-{name}");
        serde_json::json!({"status": status, "labels": labels, "annotations": {"a": "b"}, "fingerprint": fingerprint})
    }

    fn payload(alerts: &[serde_json::Value]) -> String {
        serde_json::json!({"version": "4", "status": "firing", "alerts": alerts, "truncatedAlerts": 2}).to_string()
    }

    #[tokio::test]
    async fn what_a_rule_wants_is_stored_and_the_rest_is_counted() {
        let fixture = Fixture::new();
        let body = payload(&[
            alert("firing", "Storm", Some("orders")),
            alert("firing", "Other", Some("orders")),
            alert("resolved", "Other", Some("orders")),
            alert("firing", "Storm", Some("nobody")),
            alert("firing", "Storm", None),
            alert("resolved", "Storm", None),
        ]);
        assert_eq!(fixture.post(body).await, (200, String::new()));
        let stored = fixture.stored.lock().unwrap().clone();
        let told: Vec<_> =
            stored.iter().map(|row| (row.fingerprint.as_str(), row.firing, row.target.as_str())).collect();
        assert_eq!(told, [("firing-Storm", true, "orders"), ("resolved-Other", false, "orders")]);
        assert_eq!(stored[0].labels.len(), 2);
        let ignored = ["no_rule", "unknown_target", "no_target_label"].map(|reason| fixture.ignored(reason));
        assert_eq!(ignored, [1, 1, 2]);
        assert_eq!(fixture.metrics.alerts_received_total.get(), 6);
        assert_eq!(fixture.metrics.alerts_truncated_total.get(), 2);
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_is_to_be_sent_again_and_not_counted() {
        let fixture = Fixture { full: true, ..Fixture::new() };
        let body = payload(&[alert("firing", "Storm", Some("orders")), alert("firing", "Storm", None)]);
        let (status, problem) = fixture.post(body).await;
        assert_eq!(status, 503);
        assert!(problem.contains(&StoreError::Full.to_string()), "{problem}");
        assert_eq!(fixture.metrics.store_failures_total.get(), 1);
        assert_eq!((fixture.metrics.alerts_received_total.get(), fixture.ignored("no_target_label")), (0, 0));
        // Nothing to store: a full store does not matter.
        assert_eq!(fixture.post(payload(&[alert("firing", "Storm", None)])).await.0, 200);
    }

    #[tokio::test]
    async fn hostile_bodies_store_nothing() {
        let fixture = Fixture::new();
        let honest = payload(&[alert("firing", "Storm", Some("orders"))]);
        let mut bodies: Vec<Vec<u8>> =
            (0..honest.len()).step_by(7).map(|end| honest.as_bytes()[..end].to_vec()).collect();
        bodies.push(honest.replace("Storm", "\u{e9}").into_bytes().into_iter().filter(|byte| *byte != 0xa9).collect());
        bodies.push(honest.replace("\"firing\"", "7").into_bytes());
        bodies.push(b"[]".to_vec());
        bodies.push([b'['].repeat(1 << 20));
        for body in bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            let (status, problem) = fixture.post(body).await;
            assert_eq!(status, 400, "{shown}");
            assert!(problem.starts_with("{\"title\":\"Bad Request\",\"status\":400,\"detail\":\""), "{problem}");
        }
        assert_eq!(fixture.stored.lock().unwrap().len(), 0);
        assert_eq!(fixture.post(honest).await.0, 200);
    }

    #[tokio::test]
    async fn the_limit_is_16_mib_whatever_the_length_header_says() {
        let fixture = Fixture::new();
        let big = "x".repeat(1 << 20);
        let padded = |bytes: usize| {
            let honest = payload(&[alert("firing", "Storm", Some("orders"))]);
            honest.clone() + &" ".repeat(bytes - honest.len())
        };
        assert_eq!(fixture.post(padded(MAX_BODY)).await.0, 200);
        assert_eq!(fixture.post(padded(MAX_BODY + 1)).await.0, 413);
        for chunks in [17, 40, 70] {
            let chunk = big.clone();
            let endless = futures_util::stream::iter((0..chunks).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
            assert_eq!(fixture.post(Body::from_stream(endless)).await.0, 413, "{chunks} MiB");
        }
    }

    #[tokio::test]
    async fn ten_thousand_alerts_are_stored() {
        let fixture = Fixture::new();
        let alerts: Vec<_> = (0..10_000).map(|_| alert("firing", "Storm", Some("orders"))).collect();
        assert_eq!(fixture.post(payload(&alerts)).await.0, 200);
        assert_eq!(fixture.stored.lock().unwrap().len(), 10_000);
    }

    #[tokio::test]
    async fn a_body_that_is_cut_off_stores_nothing() {
        let fixture = Fixture::new();
        let honest = payload(&[alert("firing", "Storm", Some("orders"))]);
        let parts = [Ok(honest), Err(std::io::Error::other("reset"))];
        let (status, problem) = fixture.post(Body::from_stream(futures_util::stream::iter(parts))).await;
        assert_eq!(status, 400);
        assert!(problem.contains("cut off"), "{problem}");
        assert_eq!(fixture.stored.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn bodies_share_their_room_and_give_it_back() {
        let fixture = Fixture { room: 1000, ..Fixture::new() };
        let routes = fixture.routes();
        let post = async |body: Body| {
            let request = Request::post(PATH).body(body).unwrap();
            routes.clone().oneshot(request).await.unwrap().status().as_u16()
        };
        let honest = payload(&[alert("firing", "Storm", Some("orders"))]);
        let padded = |length: usize| Body::from(honest.clone() + &" ".repeat(length - honest.len()));
        for _ in 0..3 {
            assert_eq!(post(padded(1000)).await, 200);
            assert_eq!(post(padded(1001)).await, 503);
            assert_eq!(post(padded(MAX_BODY + 1)).await, 413);
        }
        // One that has sent 800 bytes and stalls holds as much, and nothing once it is gone.
        let sent = futures_util::stream::iter([Ok::<_, std::io::Error>("x".repeat(800))]);
        let stalls = Body::from_stream(sent.chain(futures_util::stream::pending()));
        let mut stalled = std::pin::pin!(post(stalls));
        assert!(futures_util::poll!(stalled.as_mut()).is_pending());
        assert_eq!(post(padded(500)).await, 503);
        stalled.set(post(Body::empty()));
        assert_eq!(post(padded(500)).await, 200);
    }

    /// Such a client sees the answer only when the server has read what it sends.
    #[tokio::test]
    async fn a_client_that_sends_40_mb_before_it_reads_gets_its_413() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let fixture = Fixture::new();
        let bound = crate::http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = bound.local_addr();
        let guard = crate::http::Guard::new(address, std::time::Duration::from_secs(60), fixture.metrics.clone());
        let router = crate::http::guarded(fixture.routes(), guard);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(bound.serve(router, crate::http::Limits::default(), tokio_util::sync::CancellationToken::new()));

        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 40000000\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; 40_000_000]).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large"), "{answer}");
        assert_eq!(fixture.metrics.webhook_requests_total.with_label_values(&["413"]).get(), 1);
    }
}
