//! The Alertmanager webhook.
//!
//! 2xx means that every alert in the request is durably stored or deliberately ignored and counted. 400 is a request
//! that will never be understood, 413 one that is too large, 503 one that may succeed when it is sent again, which
//! Alertmanager does within a second. Nothing here waits for a kill: the engine takes alerts from the store.
//!
//! An alert is ignored when its labels name no target of ours, or when it fires and no rule wants it. A resolved alert
//! of a known target is stored whatever the rules say: they may have changed since it fired, and then it would stay
//! active until it times out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use tokio::sync::Semaphore;

use super::body::{read, room_for};
use super::problem::Problem;
use crate::engine::handle::Handle;
use crate::metrics::Metrics;
use crate::monitoring::alertmanager::{Alert, Pairs, decode};
use crate::policy::directory::Resolution;
use crate::policy::matcher::Labels;
use crate::store::alerts::ReceivedAlert;
use crate::store::{Store, StoreError};

pub(super) const PATH: &str = "/api/v1/alertmanager";

/// 10,000 alerts, about 6 MB, are an outage and not an attack.
const MAX_BODY: usize = 16 << 20;

/// Bodies that are in memory at one time, bytes; further requests wait for their turn.
const MAX_BODIES: usize = 4 * MAX_BODY;

type Stored = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// What the webhook asks of the rest of the daemon.
pub(super) struct Intake {
    /// The target that labels name.
    resolve: Box<dyn Fn(&Pairs<'_>) -> Resolution + Send + Sync>,
    /// Whether a rule is made active by an alert with these labels.
    wants: Box<dyn Fn(&Labels) -> bool + Send + Sync>,
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
            wants: Box::new(move |labels| wanting.wants(labels)),
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
        if alert.firing && !(self.wants)(&labels) {
            return Err("no_rule");
        }
        Ok(ReceivedAlert { fingerprint: alert.fingerprint(), firing: alert.firing, labels, target })
    }

    async fn receive(&self, request: Request) -> Result<(), Problem> {
        let room = self.room.acquire_many(room_for(request.body(), MAX_BODY)).await.map_err(Problem::unavailable)?;
        let body = read(request, MAX_BODY).await?;
        let payload = decode(&body).map_err(Problem::bad_request)?;
        let (received, truncated) = (payload.alerts.len() as u64, payload.truncated_alerts);
        let (mut wanted, mut ignored) = (Vec::new(), Vec::new());
        for alert in &payload.alerts {
            match self.sort(alert) {
                Ok(row) => wanted.push(row),
                Err(reason) => ignored.push(reason),
            }
        }
        drop(payload);
        drop(body);
        drop(room);
        if !wanted.is_empty() {
            (self.store)(wanted)
                .await
                .map_err(|error| Problem::unavailable(format_args!("the alerts could not be stored: {error}")))?;
        }
        self.metrics.alerts_received_total.inc_by(received);
        for reason in ignored {
            self.metrics.alerts_ignored_total.with_label_values(&[reason]).inc();
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
