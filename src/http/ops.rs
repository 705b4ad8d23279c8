//! Metrics and health, under the paths of the Prometheus family.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::problem::Problem;
use crate::metrics::{self, Metrics};

/// Loads the config anew; answered by the API, named here beside its siblings.
pub(super) const RELOAD: &str = "/-/reload";

pub(super) struct Ops {
    pub(super) metrics: Arc<Metrics>,
    pub(super) before_scrape: Arc<dyn Fn() + Send + Sync>,
    pub(super) ready: Box<dyn Fn() -> bool + Send + Sync>,
}

pub(super) fn routes(ops: Ops) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/-/healthy", get(async || "reaperd is healthy.\n"))
        .route("/-/ready", get(ready))
        .with_state(Arc::new(ops))
}

async fn scrape(State(ops): State<Arc<Ops>>) -> Result<Response, Problem> {
    // With a thousand targets it takes tens of milliseconds, in which no worker may be missing from the kills.
    let encode = move || {
        (ops.before_scrape)();
        ops.metrics.encode()
    };
    let text = tokio::task::spawn_blocking(encode).await.map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn ready(State(ops): State<Arc<Ops>>) -> (StatusCode, &'static str) {
    if (ops.ready)() {
        (StatusCode::OK, "reaperd is ready.\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "reaperd is not ready: a target has not been listed yet, or it is stopping.\n")
    }
}
