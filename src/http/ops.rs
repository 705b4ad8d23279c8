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
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "reaperd is not ready: a target has not been listed yet, or it is stopping.\n",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::Body;
    use axum::extract::Request;
    use tower::ServiceExt;

    use super::*;

    async fn get(routes: &Router, path: &str) -> (u16, String, Option<String>) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap(), kind)
    }

    #[tokio::test]
    async fn scrapes_refresh_first_and_readiness_follows_the_engine() {
        let metrics = Metrics::new();
        let ready = Arc::new(AtomicBool::new(false));
        let (asked, refreshed) = (ready.clone(), metrics.clone());
        let routes = routes(Ops {
            metrics,
            before_scrape: Arc::new(move || refreshed.snapshot_age_seconds.with_label_values(&["orders"]).set(1.5)),
            ready: Box::new(move || asked.load(Ordering::Relaxed)),
        });
        let (status, text, kind) = get(&routes, "/metrics").await;
        assert_eq!((status, kind.as_deref()), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
        assert!(text.contains("reaperd_snapshot_age_seconds{target=\"orders\"} 1.5"), "{text}");
        assert_eq!(get(&routes, "/-/healthy").await.0, 200);
        assert_eq!(get(&routes, "/-/ready").await.0, 503);
        ready.store(true, Ordering::Relaxed);
        assert_eq!(get(&routes, "/-/ready").await.0, 200);
    }
}
